"""Range-based precision and recall: existence, overlap, position and fragmentation of each range.

Source: N. Tatbul, T. J. Lee, S. Zdonik, M. Alam, J. Gottschlich, "Precision and Recall for Time Series", NeurIPS 2018,
section 4.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.segments import NO_ANOMALY, PrecisionRecallF1, harmonic_mean
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)
from tsad.compiled import compiled

__all__ = ["Bias", "Cardinality", "oracle_best_range_based_f1", "range_based"]

Cardinality = Literal["one", "reciprocal"]
Bias = Literal["flat", "front", "middle", "back"]

ORACLE_THRESHOLDS = 100
_BIASES = ("flat", "front", "middle", "back")


def range_based(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    alpha: float = 0.0,
    precision_alpha: float = 0.0,
    cardinality: Cardinality = "one",
    bias: Bias = "flat",
    on_undefined: OnUndefined = "warn",
) -> PrecisionRecallF1:
    """Range-based precision, recall and F1.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    alpha : float
        Weight of bare existence in the recall of an event: `alpha` for at least one hit, the rest for the overlap.
    precision_alpha : float
        The same for precision. The definition has 0 here; some published comparisons pass `alpha`.
    cardinality : {"one", "reciprocal"}
        "reciprocal" divides the overlap of a range by the number of ranges that it overlaps.
    bias : {"flat", "front", "middle", "back"}
        Which positions of a range weigh more.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1]; all 0 when nothing is predicted.

    Notes
    -----
    Source: Tatbul et al., NeurIPS 2018, section 4. Rewards, by choice of settings, finding events, covering them, being
    early, or not fragmenting. How it is fooled: a short event weighs as much as a long one, and a false alarm is cheap
    when many one-step alarms hit; the settings change the order of detectors.

    Examples
    --------
    >>> range_based([0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 1], alpha=0.5)
    PrecisionRecallF1(precision=0.5, recall=0.75, f1=0.6)
    """
    _check(alpha, precision_alpha, cardinality, bias)
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PrecisionRecallF1(*[undefined("range_based", NO_ANOMALY, on_undefined)] * 3)
    return _measure(y, b, alpha, precision_alpha, cardinality, bias)


def oracle_best_range_based_f1(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    alpha: float = 0.2,
    cardinality: Cardinality = "reciprocal",
    bias: Bias = "flat",
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> float:
    """Best range-based F1 over 100 thresholds between the lowest and the highest score, chosen with the labels.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder. Steps with score > threshold are predicted.
    alpha, cardinality, bias
        As in `range_based`; the defaults are TSB-AD's R-based-F1.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Source: Tatbul et al., NeurIPS 2018, section 4; settings of TSB-AD. Rewards what `range_based` rewards. How it is
    fooled: as `range_based`, and the threshold cannot be known in operation.

    Examples
    --------
    >>> oracle_best_range_based_f1([0, 0, 1, 1, 0], [0.1, 0.2, 0.9, 0.8, 0.1])
    1.0
    """
    _check(alpha, 0.0, cardinality, bias)
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("oracle_best_range_based_f1", NO_ANOMALY, on_undefined)
    thresholds = np.linspace(s.min(), s.max(), ORACLE_THRESHOLDS)
    return max(_measure(y, (s > th).astype(np.uint8), alpha, 0.0, cardinality, bias).f1 for th in thresholds)


def _check(alpha: float, precision_alpha: float, cardinality: str, bias: str) -> None:
    for name, value in (("alpha", alpha), ("precision_alpha", precision_alpha)):
        if not 0 <= value <= 1:
            raise InvalidInputError(f"{name} must be in [0, 1], got {value}")
    if cardinality not in ("one", "reciprocal"):
        raise InvalidInputError(f'cardinality must be "one" or "reciprocal", got {cardinality!r}')
    if bias not in _BIASES:
        raise InvalidInputError(f'bias must be "flat", "front", "middle" or "back", got {bias!r}')


def _measure(
    y: NDArray[np.uint8],
    b: NDArray[np.uint8],
    alpha: float,
    precision_alpha: float,
    cardinality: Cardinality,
    bias: Bias,
) -> PrecisionRecallF1:
    if not b.any():
        return PrecisionRecallF1(0.0, 0.0, 0.0)
    recall = _mean_reward(y, b, alpha, cardinality, bias)
    precision = _mean_reward(b, y, precision_alpha, cardinality, bias)
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def _mean_reward(
    ranges: NDArray[np.uint8], others: NDArray[np.uint8], alpha: float, cardinality: Cardinality, bias: Bias
) -> float:
    """Return the mean reward of the runs in `ranges` for being covered by `others`."""
    total, count = _rewards(ranges, others, alpha, cardinality == "reciprocal", _BIASES.index(bias))
    return float(total / count)


@compiled
def _rewards(
    ranges: NDArray[np.uint8], others: NDArray[np.uint8], alpha: float, reciprocal: bool, bias: int
) -> tuple[float, int]:
    T = ranges.size
    total = 0.0
    count = 0
    t = 0
    while t < T:
        if not ranges[t]:
            t += 1
            continue
        first = t
        while t < T and ranges[t]:
            t += 1
        n = t - first
        whole = 0.0
        covered = 0.0
        overlapping = 0
        for i in range(n):
            if bias == 0:
                weight = 1
            elif bias == 1:
                weight = n - i
            elif bias == 2:
                weight = min(i + 1, n - i)
            else:
                weight = i + 1
            whole += weight
            if others[first + i]:
                covered += weight
                if i == 0 or not others[first + i - 1]:
                    overlapping += 1
        factor = 1.0 / overlapping if reciprocal and overlapping > 1 else 1.0
        total += alpha * (overlapping > 0) + (1.0 - alpha) * factor * covered / whole
        count += 1
    return total, count
