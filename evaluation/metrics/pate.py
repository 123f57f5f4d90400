"""PATE: proximity-aware evaluation with buffers before and after each event.

Source: R. Ghorbani, M. J. T. Reinders, D. M. J. Tax, "PATE: Proximity-Aware Time series anomaly Evaluation",
KDD 2024, sections 3 and 4. The closed forms of the weights are this project's own.

All thresholds are evaluated at once. The steps enter in the order of their scores. What a step adds to the true
positives depends on its buffer alone, except that a step before an event counts only once the event itself has a
hit; so it enters at the lower of its own score and the event's best. The false negatives do not depend on the
buffers at all and are swept once for all of them.
"""

import warnings
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import FewDistinctScoresWarning, InvalidInputError
from evaluation.metrics.segments import (
    NO_ANOMALY,
    PrecisionRecallF1,
    Ranking,
    event_bounds,
    event_index,
    harmonic_mean,
    rank,
)
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_at_least,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)
from tsad.compiled import compiled

__all__ = ["Interpolation", "buffer_sizes", "pate", "pate_f1", "pate_precision_recall_f1"]

Interpolation = Literal["trapezoid", "step"]

FEW_DISTINCT_SCORES = 20
# Recalls this close are equal: they come from sums in different order.
RECALL_TOLERANCE = 1e-12


@compiled
def _missed_weight(
    order: NDArray[np.int64],
    group: NDArray[np.int64],
    groups: int,
    event: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the weight of missed steps (false negatives) after each distinct score has entered."""
    T = order.size
    K = starts.size
    hits_tree = np.zeros(T, np.int64)  # one Fenwick tree an event, laid over the event's own steps
    offset_tree = np.zeros(T, np.int64)
    run = np.zeros(T, np.int64)  # length of a detected run, kept at both of its ends; 0 = not detected
    hits = np.zeros(K, np.int64)
    offset_sum = np.zeros(K, np.int64)
    first = np.empty(K, np.int64)
    current = np.empty(K, np.float64)
    total = 0.0
    for k in range(K):
        n = ends[k] - starts[k] + 1
        first[k] = n
        current[k] = n
        total += n
    lost = 0.0  # compensation: after every step is detected the sum must be exactly 0
    missed = np.empty(groups, np.float64)
    for i in range(T):
        t = order[i]
        k = event[t]
        if k >= 0:
            a = starts[k]
            n = ends[k] - a + 1
            o = t - a
            left = run[t - 1] if o > 0 else 0
            right = run[t + 1] if o < n - 1 else 0
            length = left + right + 1
            run[t] = length
            run[t - left] = length
            run[t + right] = length
            hits[k] += 1
            offset_sum[k] += o
            first[k] = min(first[k], o)
            j = o + 1
            while j <= n:
                hits_tree[a + j - 1] += 1
                offset_tree[a + j - 1] += o
                j += j & -j
            r = run[a + first[k]]
            value = float(n - hits[k])
            if r < n - 1:
                near_hits = 0
                near_offsets = 0
                j = r + 1
                while j > 0:
                    near_hits += hits_tree[a + j - 1]
                    near_offsets += offset_tree[a + j - 1]
                    j -= j & -j
                far_missed = (n - 1 - r) - (hits[k] - near_hits)
                far_offsets = (n * (n - 1) - r * (r + 1)) // 2 - (offset_sum[k] - near_offsets)
                value -= (r + 1) * (far_offsets - 0.5 * r * far_missed) / (0.5 * n * (n - 1))
            step = value - current[k] - lost
            new_total = total + step
            lost = (new_total - total) - step
            total = new_total
            current[k] = value
        g = group[t]
        if i + 1 == T or group[order[i + 1]] != g:
            missed[g] = max(total, 0.0)
    return missed


@compiled
def _buffer_gain(
    group: NDArray[np.int64],
    groups: int,
    best: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    early: int,
    delay: int,
) -> NDArray[np.float64]:
    """Return what the buffer steps add to the true positives, by the distinct score at which they start to count."""
    T = group.size
    K = starts.size
    gain = np.zeros(groups, np.float64)
    free = 0  # first step that no post buffer has taken
    for k in range(K):
        a = starts[k]
        z = ends[k]
        half = 0.5 * (z - a)
        before = max(a - early, free)
        E = a - before
        for t in range(before, a):
            gain[max(group[t], best[k])] += (E - (a - t)) / (E + half)
        last = starts[k + 1] - 1 if k + 1 < K else T - 1
        D = min(delay, last - z)
        for t in range(z + 1, z + D + 1):
            gain[group[t]] += (D - (t - z)) / (D + half)
        free = z + D + 1
    return gain


def buffer_sizes(largest: int, splits: int, *, include_zero: bool) -> list[int]:
    """Return the buffer sizes that PATE averages over.

    Parameters
    ----------
    largest : int
        The largest buffer, in steps.
    splits : int
        Number of equal parts that the largest buffer is cut into.
    include_zero : bool
        Whether the empty buffer is one of the sizes.

    Returns
    -------
    list of int

    Examples
    --------
    >>> buffer_sizes(20, 4, include_zero=True)
    [0, 5, 10, 15, 20]
    >>> buffer_sizes(20, 1, include_zero=False)
    [20]
    """
    check_at_least("buffer", largest, 0)
    check_at_least("splits", splits, 1)
    grid = np.linspace(0, largest, splits + 1) if include_zero else np.linspace(largest / splits, largest, splits)
    return [int(size) for size in grid]


def pate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    early: int = 100,
    delay: int = 100,
    splits: int = 1,
    include_zero: bool = True,
    drop_intermediate: bool = True,
    max_thresholds: int | None = None,
    interpolation: Interpolation = "trapezoid",
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> float:
    """Proximity-aware area under the precision-recall curve, averaged over buffer sizes.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    early, delay : int
        Largest buffer before and after an event, in steps: an expert's tolerance, the series' period
        (`evaluation.metrics.vus.autocorrelation_period`), or the detector's window.
    splits : int
        Each buffer is cut into this many equal parts; PATE is the mean over all pairs of sizes.
    include_zero : bool
        Whether the empty buffer belongs to the sizes (the released default); the paper's experiments leave it out.
    drop_intermediate : bool
        Skip thresholds at which the number of detected anomalous steps stays the same on both sides. The released
        default; it also drops points that matter inside the buffers.
    max_thresholds : int or None
        None uses every remaining distinct score. A number uses that many equally spaced percentiles of them, as
        the released `Big_Data=True` does with 250.
    interpolation : {"trapezoid", "step"}
        How the area is summed. "trapezoid" equals the released implementation and flatters tied scores; "step"
        sums recall gained times precision, like average precision.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1]; 1 is best.

    Warns
    -----
    FewDistinctScoresWarning
        With "trapezoid" and fewer than 20 distinct scores.

    Notes
    -----
    Source: Ghorbani, Reinders and Tax, KDD 2024, sections 3 and 4. Rewards early hits shortly before an event (if
    the event itself is hit too), late hits shortly after it, and early hits inside it. How it is fooled: the curve
    starts at (recall 0, precision 1) and is joined by straight lines, so that a constant score gets at least 0.5;
    read it beside `interpolation="step"` and the trivial predictors. Time O(T log T) plus O(T) a pair of buffers.

    Examples
    --------
    >>> labels = [0, 0, 0, 1, 1, 1, 0, 0]
    >>> scores = [0.1, 0.2, 0.6, 0.9, 0.8, 0.3, 0.4, 0.1]
    >>> round(pate(labels, scores, early=2, delay=2, interpolation="step"), 6)
    0.88649
    """
    if interpolation not in ("trapezoid", "step"):
        raise InvalidInputError(f'interpolation must be "trapezoid" or "step", got {interpolation!r}')
    if max_thresholds is not None:
        check_at_least("max_thresholds", max_thresholds, 2)
    early_sizes = buffer_sizes(early, splits, include_zero=include_zero)
    delay_sizes = buffer_sizes(delay, splits, include_zero=include_zero)
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("pate", NO_ANOMALY, on_undefined)
    ranking = rank(s)
    if interpolation == "trapezoid" and ranking.distinct.size < FEW_DISTINCT_SCORES:
        warnings.warn(
            f"only {ranking.distinct.size} distinct scores: PATE joins its points by straight lines from precision 1, "
            f'which flatters tied scores; compare with interpolation="step"',
            FewDistinctScoresWarning,
            stacklevel=2,
        )
    starts, ends = event_bounds(y)
    found = ranking.per_group(y)
    chosen = _chosen_groups(ranking, found, drop_intermediate=drop_intermediate, max_thresholds=max_thresholds)
    predicted = np.cumsum(ranking.counts)[chosen]
    missed = _missed_weight(ranking.order, ranking.group, ranking.distinct.size, event_index(y), starts, ends)[chosen]
    best = np.minimum.reduceat(ranking.group, _alternating(starts, ends, y.size))[::2]
    areas: dict[tuple[int, int], float] = {}
    pairs = list(product(early_sizes, delay_sizes))
    for pair in pairs:
        if pair not in areas:
            gain = _buffer_gain(ranking.group, ranking.distinct.size, best, starts, ends, *pair)
            hit = np.cumsum(found + gain)[chosen]
            areas[pair] = _area(hit / predicted, _ratio(hit, hit + missed), interpolation)
    return float(np.mean([areas[pair] for pair in pairs]))


def _alternating(starts: NDArray[np.int64], ends: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Return event starts and first steps after events in turn, as `ufunc.reduceat` wants them."""
    bounds = np.empty(2 * starts.size, dtype=np.int64)
    bounds[::2] = starts
    bounds[1::2] = ends + 1
    return bounds[:-1] if bounds[-1] == steps else bounds


def _chosen_groups(
    ranking: Ranking, found: NDArray[np.float64], *, drop_intermediate: bool, max_thresholds: int | None
) -> NDArray[np.int64]:
    """Return the positions of the distinct scores to use as thresholds, highest first."""
    groups = ranking.distinct.size
    chosen = np.arange(groups)
    if drop_intermediate and groups > 2:
        keep = np.ones(groups, dtype=np.bool_)
        keep[1:-1] = (found[1:-1] > 0) | (found[2:] > 0)
        chosen = chosen[keep]
    if max_thresholds is None:
        return chosen
    thresholds = np.percentile(ranking.distinct[chosen], np.linspace(100, 0, max_thresholds))
    # a threshold between two distinct scores predicts what the upper of them predicts
    at_least = np.searchsorted(-ranking.distinct, -thresholds, side="right") - 1
    return np.maximum(at_least, 0)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _area(precision: NDArray[np.float64], recall: NDArray[np.float64], interpolation: Interpolation) -> float:
    """Return the area under the points, without those where recall falls back."""
    keep = recall >= np.maximum.accumulate(recall) - RECALL_TOLERANCE
    p = np.concatenate(([1.0], precision[keep]))
    gained = np.diff(recall[keep], prepend=0.0)
    heights = p[1:] if interpolation == "step" else 0.5 * (p[1:] + p[:-1])
    return float(np.sum(gained * heights))


def pate_precision_recall_f1(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    early: int = 100,
    delay: int = 100,
    on_undefined: OnUndefined = "warn",
) -> PrecisionRecallF1:
    """Proximity-weighted precision, recall and F1 of 0/1 predictions for one pair of buffers.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    early, delay : int
        Buffer before and after an event, in steps.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1]; 0 where nothing is predicted.

    Notes
    -----
    Source, what it rewards, how it is fooled: see `pate` and `pate_f1`.

    Examples
    --------
    >>> pate_precision_recall_f1([0, 0, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], early=2, delay=2)
    PrecisionRecallF1(precision=0.7, recall=0.5833333333333334, f1=0.6363636363636365)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    check_at_least("early", early, 0)
    check_at_least("delay", delay, 0)
    if not y.any():
        return PrecisionRecallF1(*[undefined("pate_precision_recall_f1", NO_ANOMALY, on_undefined)] * 3)
    return _weighted(y, b, [(early, delay)])[0]


def pate_f1(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    early: int = 100,
    delay: int = 100,
    splits: int = 1,
    include_zero: bool = True,
    on_undefined: OnUndefined = "warn",
) -> float:
    """Proximity-weighted F1 of 0/1 predictions, averaged over buffer sizes (PATE-F1).

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    early, delay, splits, include_zero
        The buffers, as in `pate`.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1]; 0 when nothing is predicted.

    Notes
    -----
    Source: Ghorbani, Reinders and Tax, KDD 2024, section 4 (binary variant). Rewards what `pate` rewards, at one
    threshold. How it is fooled: alarms just after an event earn weight even when the event itself was missed, and
    buffers as long as the gaps between events leave nothing that counts as false.

    Examples
    --------
    >>> round(pate_f1([0, 0, 1, 1, 0, 0], [0, 1, 1, 0, 0, 0], early=2, delay=2), 6)
    0.568182
    """
    early_sizes = buffer_sizes(early, splits, include_zero=include_zero)
    delay_sizes = buffer_sizes(delay, splits, include_zero=include_zero)
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return undefined("pate_f1", NO_ANOMALY, on_undefined)
    return float(np.mean([result.f1 for result in _weighted(y, b, list(product(early_sizes, delay_sizes)))]))


def _weighted(y: NDArray[np.uint8], b: NDArray[np.uint8], pairs: list[tuple[int, int]]) -> list[PrecisionRecallF1]:
    if not b.any():
        return [PrecisionRecallF1(0.0, 0.0, 0.0)] * len(pairs)
    ranking = rank(b.astype(np.float64))  # group 0 is then "predicted"
    starts, ends = event_bounds(y)
    groups = ranking.distinct.size
    missed = float(_missed_weight(ranking.order, ranking.group, groups, event_index(y), starts, ends)[0])
    best = np.minimum.reduceat(ranking.group, _alternating(starts, ends, y.size))[::2]
    found = float(ranking.per_group(y)[0])
    results = []
    for early, delay in pairs:
        hit = found + float(_buffer_gain(ranking.group, groups, best, starts, ends, early, delay)[0])
        precision = hit / int(ranking.counts[0])
        recall = hit / (hit + missed) if hit + missed > 0 else 0.0
        results.append(PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall)))
    return results
