"""TaPR and eTaPR: time-series aware precision and recall.

Sources: W.-S. Hwang, J.-H. Yun, J. Kim, H. C. Kim, "Time-Series Aware Precision and Recall for Anomaly Detection",
CIKM 2019, section 3 (TaPR); W.-S. Hwang, J.-H. Yun, J. Kim, B. G. Min, "Do you know existing accuracy metrics
overrate time-series anomaly detections?", SAC 2022, section 4 (eTaPR).

Both first ask which ranges are detected and then how far they are covered. After an event lies an ambiguous zone in
which a prediction still counts, with a weight that falls along a sigmoid from 1 to 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.segments import NO_ANOMALY, event_bounds, harmonic_mean
from evaluation.metrics.validation import OnUndefined, check_at_least, check_labels_and_predictions, undefined
from tsad.compiled import compiled

__all__ = ["TimeAware", "etapr", "tapr"]

SIGMOID_RANGE = 6.0


class TimeAware(NamedTuple):
    """Precision, recall and F1, and the detection and portion scores that they are made of."""

    precision: float
    recall: float
    f1: float
    precision_detection: float
    precision_portion: float
    recall_detection: float
    recall_portion: float


@compiled
def _overlaps(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    zone_ends: NDArray[np.int64],
    run_starts: NDArray[np.int64],
    run_ends: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of event and prediction that overlap and their overlap; bounds are inclusive steps."""
    most = 2 * starts.size + run_starts.size
    event = np.empty(most, np.int64)
    run = np.empty(most, np.int64)
    overlap = np.empty(most, np.float64)
    found = 0
    j = 0
    for k in range(starts.size):
        zone = zone_ends[k] - ends[k]
        while j < run_starts.size and run_ends[j] < starts[k]:
            j += 1
        i = j
        while i < run_starts.size and run_starts[i] <= zone_ends[k]:
            inside = min(ends[k], run_ends[i]) - max(starts[k], run_starts[i]) + 1
            total = float(max(inside, 0))
            for t in range(max(ends[k] + 1, run_starts[i]), min(zone_ends[k], run_ends[i]) + 1):
                v = -SIGMOID_RANGE + 2.0 * SIGMOID_RANGE * (t - ends[k] - 1) / (zone - 1)
                total += 1.0 / (1.0 + np.exp(v))
            event[found] = k
            run[found] = i
            overlap[found] = total
            found += 1
            i += 1
    return event[:found], run[:found], overlap[:found]


def _zone_ends(starts: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last step of each ambiguous zone, or of the event where it has none.

    A zone that would pass the first step of the next event is cut before it; one of less than two steps is dropped.
    Zones may pass the end of the series, which stretches their sigmoid but adds no step.
    """
    last = ends + 1 + lengths
    following = np.append(starts[1:], last[-1])
    last = np.where(last > following, following - 1, last)
    return np.where(last - ends >= 2, last, ends)


def tapr(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    theta: float = 0.5,
    delta: int = 0,
    alpha: float = 0.5,
    on_undefined: OnUndefined = "warn",
) -> TimeAware:
    """Time-series aware precision and recall (TaPR).

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    theta : float
        Share of an event (a prediction) that must be covered for it to count as detected (correct).
    delta : int
        Length of the ambiguous zone after an event, in steps.
    alpha : float
        Weight of the detection score against the portion score.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    TimeAware
        Each in [0, 1]; all 0 when nothing is predicted.

    Notes
    -----
    Source: Hwang et al., CIKM 2019, section 3. Rewards detecting each event to at least `theta`, then covering it. How
    it is fooled: precision averages over predictions, however short, so many one-step hits hide one long false alarm.

    Examples
    --------
    >>> result = tapr([0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 1])
    >>> result.precision, result.recall
    (0.5, 0.75)
    """
    _check(theta=theta, alpha=alpha)
    check_at_least("delta", delta, 0)
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return TimeAware(*[undefined("tapr", NO_ANOMALY, on_undefined)] * 7)
    if not b.any():
        return TimeAware(*[0.0] * 7)
    starts, ends = event_bounds(y)
    run_starts, run_ends = event_bounds(b)
    zones = _zone_ends(starts, ends, np.full(starts.size, delta)) if delta else ends
    event, run, overlap = _overlaps(starts, ends, zones, run_starts, run_ends)
    of_events = np.bincount(event, weights=overlap, minlength=starts.size) / (ends - starts + 1)
    of_runs = np.bincount(run, weights=overlap, minlength=run_starts.size) / (run_ends - run_starts + 1)
    scores = [
        (float(np.mean(share >= theta)), float(np.mean(np.minimum(share, 1.0)))) for share in (of_runs, of_events)
    ]
    precision, recall = (alpha * detected + (1.0 - alpha) * portion for detected, portion in scores)
    return TimeAware(precision, recall, harmonic_mean(precision, recall), *scores[0], *scores[1])


def etapr(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    theta_p: float = 0.5,
    theta_r: float = 0.1,
    delta: float = 0.0,
    on_undefined: OnUndefined = "warn",
) -> TimeAware:
    """Enhanced time-series aware precision and recall (eTaPR).

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    theta_p : float
        Share of a prediction that must lie on events for it to count as correct.
    theta_r : float
        Share of an event that must be covered for it to count as detected: 0.1 in the authors' command line, 0.01 in
        the comparison of PATE.
    delta : float
        Length of the ambiguous zone as a share of its event.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    TimeAware
        Each in [0, 1]; all 0 when nothing is predicted.

    Notes
    -----
    Source: Hwang et al., SAC 2022, section 4. Rewards events detected by predictions that are themselves mostly right;
    long predictions weigh by the root of their length. How it is fooled: a prediction just over `theta_p` counts as
    fully correct in its detection half, and one just below loses everything.

    Examples
    --------
    >>> result = etapr([0, 1, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0])
    >>> result.precision, result.recall
    (1.0, 0.75)
    """
    _check(theta_p=theta_p, theta_r=theta_r)
    check_at_least("delta", delta, 0)
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return TimeAware(*[undefined("etapr", NO_ANOMALY, on_undefined)] * 7)
    if not b.any():
        return TimeAware(*[0.0] * 7)
    starts, ends = event_bounds(y)
    run_starts, run_ends = event_bounds(b)
    zones = _zone_ends(starts, ends, np.floor(delta * (ends - starts)).astype(np.int64)) if delta else ends
    event, run, overlap = _overlaps(starts, ends, zones, run_starts, run_ends)
    of_events, of_runs = _pruned(
        event, run, overlap, ends - starts + 1, run_ends - run_starts + 1, theta_p=theta_p, theta_r=theta_r
    )
    detected, correct = of_events > 0, of_runs > 0
    weights = np.sqrt(run_ends - run_starts + 1.0)
    recall_detection = float(np.mean(detected))
    recall_portion = float(np.mean(detected * np.minimum(of_events, 1.0)))
    precision_detection = float(np.sum(weights * correct) / weights.sum())
    precision_portion = float(np.sum(weights * np.minimum(of_runs, 1.0)) / weights.sum())
    precision = 0.5 * (precision_detection + precision_portion)
    recall = 0.5 * (recall_detection + recall_portion)
    return TimeAware(
        precision,
        recall,
        harmonic_mean(precision, recall),
        precision_detection,
        precision_portion,
        recall_detection,
        recall_portion,
    )


def _pruned(
    event: NDArray[np.int64],
    run: NDArray[np.int64],
    overlap: NDArray[np.float64],
    event_lengths: NDArray[np.int64],
    run_lengths: NDArray[np.int64],
    *,
    theta_p: float,
    theta_r: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the covered share of events and predictions after those below their share have lost their overlaps."""
    left = overlap.copy()
    while True:
        of_events = np.bincount(event, weights=left, minlength=event_lengths.size) / event_lengths
        short_events = (of_events > 0) & (of_events < theta_r)
        left[short_events[event]] = 0.0
        of_runs = np.bincount(run, weights=left, minlength=run_lengths.size) / run_lengths
        short_runs = (of_runs > 0) & (of_runs < theta_p)
        left[short_runs[run]] = 0.0
        if not short_events.any() and not short_runs.any():
            return of_events, of_runs


def _check(**shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise InvalidInputError(f"{name} must be in [0, 1], got {value}")
