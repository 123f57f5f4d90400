"""Affiliation precision and recall: how far predictions lie from events, measured against chance.

Source: A. Huet, J. M. Navarro, D. Rossi, "Local Evaluation of Time Series Anomaly Detection Algorithms", KDD 2022,
sections 3 and 4. A step is the half-open interval [i, i+1). The series is cut into one zone an event, at the midpoints
between neighbours. Inside a zone a distance becomes the chance that a uniformly drawn point lies farther away.

All distances are piecewise linear, so every mean is an integral in closed form: time O(T), and no step is visited
twice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.metrics.segments import NO_ANOMALY, event_bounds, harmonic_mean
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_labels,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)
from tsad.compiled import compiled

__all__ = ["Affiliation", "affiliation", "affiliation_by_event", "affiliation_floor", "oracle_best_affiliation_f1"]

ORACLE_THRESHOLDS = 100


class Affiliation(NamedTuple):
    """Affiliation precision, recall, F1; the F1 of an alarm at every step, and how far F1 is above that."""

    precision: float
    recall: float
    f1: float
    floor: float
    f1_above_floor: float


@compiled
def _farther(D: float, n: float, m: float, zone: float) -> float:
    """Integrate, over distances from 0 to D, the chance that a uniform point of the zone is farther from the event."""
    within = 0.5 * D * D if m >= D else 0.5 * m * m + m * (D - m)
    return D - (n * D + 0.5 * D * D + within) / zone


@compiled
def _open_gap(low: float, high: float, border: float, hit: float) -> float:
    """Integrate D + min(D, distance to the border) from low to high, D = distance to the only hit.

    The border lies on the far side: border <= low <= high <= hit.
    """
    near = 0.5 * ((hit - low) ** 2 - (hit - high) ** 2)
    middle = 0.5 * (border + hit)
    left = min(high, middle)
    right = max(low, middle)
    bound = 0.0
    if left > low:
        bound += 0.5 * ((left - border) ** 2 - (low - border) ** 2)
    if high > right:
        bound += 0.5 * ((hit - right) ** 2 - (hit - high) ** 2)
    return near + bound


@compiled
def _closed_gap(low: float, high: float, before: float, after: float) -> float:
    """Integrate twice the distance to the nearer of two hits, from low to high between them."""
    middle = 0.5 * (before + after)
    left = min(high, middle)
    right = max(low, middle)
    total = 0.0
    if left > low:
        total += (left - before) ** 2 - (low - before) ** 2
    if high > right:
        total += (after - right) ** 2 - (after - high) ** 2
    return total


@compiled
def _by_event(
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    run_starts: NDArray[np.int64],
    run_ends: NDArray[np.int64],
    T: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision (NaN without prediction in the zone) and recall of each event; bounds are inclusive steps."""
    K = starts.size
    precision = np.full(K, np.nan)
    recall = np.zeros(K)
    run = 0
    for k in range(K):
        a = float(starts[k])
        z = float(ends[k] + 1)
        n = z - a
        left_border = 0.5 * (ends[k - 1] + 1 + starts[k]) if k > 0 else 0.0
        right_border = 0.5 * (ends[k] + 1 + starts[k + 1]) if k + 1 < K else float(T)
        zone = right_border - left_border
        m = min(a - left_border, right_border - z)
        while run < run_starts.size and run_ends[run] + 1 <= left_border:
            run += 1
        j = run
        length = 0.0
        near = 0.0
        cost = 0.0
        before = -1.0  # end of the last hit; none yet
        while j < run_starts.size and run_starts[j] < right_border:
            u = max(float(run_starts[j]), left_border)
            v = min(float(run_ends[j] + 1), right_border)
            length += v - u
            if u < a:
                near += _farther(a - u, n, m, zone) - _farther(a - min(v, a), n, m, zone)
            if v > z:
                near += _farther(v - z, n, m, zone) - _farther(max(u, z) - z, n, m, zone)
            near += max(0.0, min(v, z) - max(u, a))
            if before < 0.0:
                if u > a:
                    cost += _open_gap(a, min(z, u), left_border, u)
            elif min(z, u) > max(a, before):
                cost += _closed_gap(max(a, before), min(z, u), before, u)
            before = v
            j += 1
        if length > 0.0:
            precision[k] = near / length
            if before < z:  # mirrored: the zone's right border becomes the left one
                cost += _open_gap(-z, -max(a, before), -right_border, -before)
            recall[k] = 1.0 - cost / (zone * n)
    return precision, recall


def affiliation_by_event(labels: ArrayLike, predictions: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return affiliation precision and recall of each event.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.

    Returns
    -------
    tuple of ndarray
        Precision (NaN where nothing is predicted in the event's zone) and recall, in time order.

    Examples
    --------
    >>> affiliation_by_event([0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0])
    (array([1.]), array([1.]))
    """
    y, b = check_labels_and_predictions(labels, predictions)
    precision, recall = _by_event(*event_bounds(y), *event_bounds(b), y.size)
    return precision, recall


def affiliation(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> Affiliation:
    """Affiliation precision, recall and F1, with the floor that an alarm at every step reaches.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous, and for the precision when nothing is predicted.

    Returns
    -------
    Affiliation
        Precision and recall in [0, 1]; without prediction precision is NaN, recall and F1 are 0. `f1_above_floor` is
        (F1 - floor) / (1 - floor): 0 for an alarm at every step, negative below that.

    Notes
    -----
    Source: Huet, Navarro and Rossi, KDD 2022, sections 3 and 4. Rewards alarms near events and events that have an
    alarm near them, however long they are. How it is fooled: an alarm at every step gets recall 1 and precision just
    above 0.5, and 1 % random alarms get about the same F1 of 0.68. Never read it without the floor.

    Examples
    --------
    >>> result = affiliation([0, 0, 0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0, 0, 0, 0])
    >>> round(result.precision, 4), round(result.recall, 4), round(result.floor, 4)
    (0.85, 0.95, 0.6842)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return Affiliation(*[undefined("affiliation", NO_ANOMALY, on_undefined)] * 5)
    floor = affiliation_floor(y)
    if b.any():
        precision, recall, f1 = _means(y, b)
    else:
        precision, recall, f1 = undefined("affiliation precision", "nothing is predicted", on_undefined), 0.0, 0.0
    above = (
        (f1 - floor) / (1.0 - floor)
        if floor < 1.0
        else undefined("affiliation f1_above_floor", "an alarm at every step is already right", on_undefined)
    )
    return Affiliation(precision, recall, f1, floor, above)


def _means(y: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[float, float, float]:
    by_precision, by_recall = affiliation_by_event(y, b)
    precision = float(np.mean(by_precision[~np.isnan(by_precision)]))
    recall = float(np.mean(by_recall))
    return precision, recall, harmonic_mean(precision, recall)


def affiliation_floor(labels: ArrayLike, *, on_undefined: OnUndefined = "warn") -> float:
    """Return the affiliation F1 of an alarm at every step.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In (0.66, 1].

    Examples
    --------
    >>> round(affiliation_floor([0, 0, 0, 0, 1, 0, 0, 0, 0]), 4)
    0.6721
    """
    y = check_labels(labels)
    if not y.any():
        return undefined("affiliation_floor", NO_ANOMALY, on_undefined)
    return _means(y, np.ones_like(y))[2]


def oracle_best_affiliation_f1(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> float:
    """Best affiliation F1 over 100 thresholds between the lowest and the highest score, chosen with the labels.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder. Steps with score > threshold are predicted.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1]; 0 for a constant score, which predicts nothing at any of these thresholds.

    Notes
    -----
    Source: Huet, Navarro and Rossi, KDD 2022; the thresholds are TSB-AD's. Rewards what `affiliation` rewards. How it
    is fooled: as `affiliation`, and the threshold cannot be known in operation.

    Examples
    --------
    >>> oracle_best_affiliation_f1([0, 0, 1, 1, 0], [0.1, 0.2, 0.9, 0.8, 0.1])
    1.0
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("oracle_best_affiliation_f1", NO_ANOMALY, on_undefined)
    best = 0.0
    for threshold in np.linspace(s.min(), s.max(), ORACLE_THRESHOLDS):
        b = (s > threshold).astype(np.uint8)
        if b.any():
            best = max(best, _means(y, b)[2])
    return best
