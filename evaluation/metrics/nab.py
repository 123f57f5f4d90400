"""NAB score: early hits in a window pay most, false detections cost by their distance from the window before.

Source: A. Lavin and S. Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark",
ICMLA 2015, section III, with the weights of its three application profiles. Here the events of the labels are the
windows; NAB itself widens its labels to windows first, which `evaluation.datasets` does for that data set.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from evaluation.errors import InvalidInputError
from evaluation.metrics.segments import NO_ANOMALY, event_bounds, event_index
from evaluation.metrics.validation import OnUndefined, check_labels_and_predictions, undefined

__all__ = ["NabProfile", "nab_score"]

NabProfile = Literal["standard", "reward_low_fp_rate", "reward_low_fn_rate"]


class _Weights(NamedTuple):
    hit: float
    false: float
    miss: float


_PROFILES: dict[str, _Weights] = {
    "standard": _Weights(1.0, 0.11, 1.0),
    "reward_low_fp_rate": _Weights(1.0, 0.22, 1.0),
    "reward_low_fn_rate": _Weights(1.0, 0.11, 2.0),
}
_FARTHEST = 3.0
"""Window lengths behind a window beyond which a false detection costs its whole weight."""


def _reward(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scaled sigmoid: 0.99 at the start of a window (-1), 0 at its end (0), -1 far behind it."""
    return np.where(position > _FARTHEST, -1.0, 2.0 * expit(-5.0 * position) - 1.0)


def nab_score(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    profile: NabProfile = "standard",
    on_undefined: OnUndefined = "warn",
) -> float:
    """NAB score of one series: 1 for every window detected at its first step and nothing else, 0 for silence.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step; events of the labels are the windows.
    profile : {"standard", "reward_low_fp_rate", "reward_low_fn_rate"}
        Weights of a false detection (0.11, 0.22, 0.11) and of a missed window (1, 1, 2).
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        1 or less, not bounded below. NAB prints it times 100. Every predicted step outside windows is a detection of
        its own, as in NAB: an alarm that stands for 100 steps costs 100 times.

    Raises
    ------
    InvalidInputError
        When labels and predictions differ in length or are not 0/1, or the profile is unknown.

    Notes
    -----
    A window of n steps that ends at z pays its first detected step t by the sigmoid of -(z - t + 1) / n; a false
    detection at t costs by the sigmoid of (t - z) / (n - 1) for the window before it, and its whole weight where
    there is none (one-step windows count as two steps there). Rewards early hits. How it is fooled: alarms shortly
    after a window cost next to nothing, and its value changes with the length of windows.

    Examples
    --------
    >>> nab_score([0, 0, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0])
    1.0
    >>> nab_score([0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
    0.0
    """
    if profile not in _PROFILES:
        raise InvalidInputError(f"profile is {profile!r}; choose one of {', '.join(get_args(NabProfile))}")
    weights = _PROFILES[profile]
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return undefined("nab_score", NO_ANOMALY, on_undefined)
    starts, ends = event_bounds(y)
    lengths = ends - starts + 1
    predicted = np.flatnonzero(b)
    event = event_index(y)[predicted]
    inside = event >= 0
    found, first = np.unique(event[inside], return_index=True)
    steps = predicted[inside][first]
    hits = _reward(-(ends[found] - steps + 1) / lengths[found]) / _reward(np.array(-1.0))
    outside = predicted[~inside]
    before = np.searchsorted(ends, outside) - 1
    behind = (outside - ends[before]) / np.maximum(lengths[before] - 1, 1)
    false = np.where(before >= 0, _reward(behind), -1.0)
    missed = starts.size - found.size
    raw = weights.hit * hits.sum() + weights.false * false.sum() - weights.miss * missed
    silent, perfect = -weights.miss * starts.size, weights.hit * starts.size
    return float((raw - silent) / (perfect - silent))
