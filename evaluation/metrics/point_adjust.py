"""Point adjustment (PA) and PA%K: diagnostics only, never a ranking.

Sources: H. Xu et al., "Unsupervised Anomaly Detection via Variational Auto-Encoder for Seasonal KPIs in Web
Applications", WWW 2018, section 4 (the adjustment); S. Kim et al., "Towards a Rigorous Evaluation of Time-Series
Anomaly Detection", AAAI 2022, sections 3 and 4 (why a random score wins under it, and PA%K).

Under point adjustment one lucky step pays for a whole event, so a random score does well on long events. Every result
here carries what a uniform random score reaches on the same labels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
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
    check_labels,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)

__all__ = [
    "OraclePointAdjusted",
    "PaKCurve",
    "PointAdjusted",
    "oracle_best_point_adjusted_f1",
    "oracle_pa_k_curve",
    "pa_k",
    "pa_k_area",
    "point_adjust",
    "point_adjusted_f1",
    "random_point_adjusted_f1",
    "simulated_random_point_adjusted_f1",
]

PERCENTAGES = np.arange(101)


class PointAdjusted(NamedTuple):
    """Point-adjusted precision, recall, F1, and the F1 of a uniform random score on the same labels."""

    precision: float
    recall: float
    f1: float
    random_f1: float


class OraclePointAdjusted(NamedTuple):
    """Best point-adjusted F1 over all thresholds, where it is, and the F1 of a uniform random score."""

    f1: float
    threshold: float
    random_f1: float


class PaKCurve(NamedTuple):
    """Best F1 for each percentage K = 0 ... 100, and the area under that curve."""

    area: float
    f1: NDArray[np.float64]


def point_adjust(labels: ArrayLike, predictions: ArrayLike, *, k: float = 0.0) -> NDArray[np.uint8]:
    """Fill every event of which more than `k` percent are predicted.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    k : float
        Percentage that must be exceeded. 0 is point adjustment, 100 fills nothing.

    Returns
    -------
    ndarray of uint8

    Examples
    --------
    >>> point_adjust([1, 1, 1, 0, 1], [0, 1, 0, 1, 0])
    array([1, 1, 1, 1, 0], dtype=uint8)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not 0 <= k <= 100:
        raise InvalidInputError(f"k must be a percentage in [0, 100], got {k}")
    if not y.any():
        return b
    lengths, hits = _event_hits(y, b)
    filled = hits * 100.0 > k * lengths
    events = event_index(y)
    return np.where((events >= 0) & filled[events], 1, b).astype(np.uint8)


def point_adjusted_f1(
    labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn"
) -> PointAdjusted:
    """Point-wise precision, recall and F1 after point adjustment, beside the value of a random score.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PointAdjusted
        Each in [0, 1].

    Notes
    -----
    Source: Xu et al., WWW 2018, section 4. Rewards one hit in every long event. How it is fooled: by a random score,
    see `random_f1`; a detector whose F1 is not clearly above it has shown nothing.

    Examples
    --------
    >>> result = point_adjusted_f1([0, 0, 1, 1, 1, 1, 0, 0], [0, 1, 0, 0, 1, 0, 0, 0])
    >>> round(result.f1, 4), round(result.random_f1, 4)
    (0.8889, 0.7705)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PointAdjusted(*[undefined("point_adjusted_f1", NO_ANOMALY, on_undefined)] * 4)
    return PointAdjusted(*pa_k(y, b, k=0.0), random_point_adjusted_f1(y))


def pa_k(
    labels: ArrayLike, predictions: ArrayLike, *, k: float, on_undefined: OnUndefined = "warn"
) -> PrecisionRecallF1:
    """Point-wise precision, recall and F1 after filling events of which more than `k` percent are predicted (PA%K).

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    k : float
        Percentage that must be exceeded.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1].

    Notes
    -----
    Source: Kim et al., AAAI 2022, section 4. Rewards covering more than `k` percent of each event. How it is fooled:
    at small `k` like point adjustment; `k` is a free choice, so report `pa_k_area`.

    Examples
    --------
    >>> pa_k([1, 1, 1, 1], [1, 1, 0, 0], k=50).recall
    0.5
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PrecisionRecallF1(*[undefined("pa_k", NO_ANOMALY, on_undefined)] * 3)
    adjusted = point_adjust(y, b, k=k)
    hit, predicted = int(np.sum(y & adjusted)), int(np.sum(adjusted))
    precision = hit / predicted if predicted else 0.0
    recall = hit / int(np.sum(y))
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def pa_k_area(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> float:
    """Area under F1 after PA%K over K = 0 ... 100 percent, at one fixed threshold.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Source: Kim et al., AAAI 2022, section 4. Rewards events covered in large part. How it is fooled: its left end is
    point adjustment, so a random score still gains from long events.

    Examples
    --------
    >>> pa_k_area([0, 1, 1, 0], [0, 1, 1, 0])
    1.0
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return undefined("pa_k_area", NO_ANOMALY, on_undefined)
    lengths, hits = _event_hits(y, b)
    filled = hits[None, :] * 100 > PERCENTAGES[:, None] * lengths[None, :]
    hit = np.where(filled, lengths, hits).sum(axis=1)
    false = int(np.sum(b)) - int(hits.sum())
    return _area(2.0 * hit / (hit + false + lengths.sum()))


def oracle_pa_k_curve(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> PaKCurve:
    """Best F1 after PA%K over all thresholds, chosen with the labels, for each K, and the area under it.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PaKCurve
        The area and F1 by K, all in [0, 1].

    Notes
    -----
    Source: Kim et al., AAAI 2022, section 4. Rewards what `pa_k_area` rewards. How it is fooled: a new threshold is
    chosen with the labels at every K.

    Examples
    --------
    >>> oracle_pa_k_curve([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.2]).area
    1.0
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        value = undefined("oracle_pa_k_curve", NO_ANOMALY, on_undefined)
        return PaKCurve(value, np.full(PERCENTAGES.size, value))
    prepared = _prepare(y, rank(s))
    f1 = np.array([float(_f1_curve(prepared, int(k)).max()) for k in PERCENTAGES])
    return PaKCurve(_area(f1), f1)


def oracle_best_point_adjusted_f1(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> OraclePointAdjusted:
    """Best point-adjusted F1 over all thresholds, chosen with the labels, beside the value of a random score.

    Parameters
    ----------
    labels, scores, nan_policy, on_undefined
        As in `oracle_pa_k_curve`.

    Returns
    -------
    OraclePointAdjusted
        F1 in [0, 1], its threshold (predict where score >= threshold), and `random_f1`.

    Notes
    -----
    Source: Xu et al., WWW 2018, section 4, which also takes the best threshold. Rewards one high score in every event.
    How it is fooled: by a random score. On the labels of MSL and SMAP one reaches 0.91 and 0.96.

    Examples
    --------
    >>> oracle_best_point_adjusted_f1([0, 1, 1, 1, 0], [0.1, 0.2, 0.9, 0.3, 0.4]).f1
    1.0
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return OraclePointAdjusted(*[undefined("oracle_best_point_adjusted_f1", NO_ANOMALY, on_undefined)] * 3)
    ranking = rank(s)
    curve = _f1_curve(_prepare(y, ranking), 0)
    best = int(np.argmax(curve))
    return OraclePointAdjusted(float(curve[best]), float(ranking.distinct[best]), random_point_adjusted_f1(y))


def random_point_adjusted_f1(labels: ArrayLike, *, on_undefined: OnUndefined = "warn") -> float:
    """Return the point-adjusted F1 that a uniform random score expects at its best threshold.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In (0, 1]. With threshold d an event of n steps is filled with probability 1 - d**n, and a normal step is
        predicted with probability 1 - d; this is the F1 of the expected counts, maximised over d. The mean of
        simulated best values is a little higher, see `simulated_random_point_adjusted_f1`.

    Examples
    --------
    >>> labels = np.zeros(10_000)
    >>> labels[:1000] = 1
    >>> round(random_point_adjusted_f1(labels), 6)
    0.974779
    """
    y = check_labels(labels)
    if not y.any():
        return undefined("random_point_adjusted_f1", NO_ANOMALY, on_undefined)
    starts, ends = event_bounds(y)
    lengths, counts = np.unique(ends - starts + 1, return_counts=True)
    anomalous, normal = int(np.sum(y)), int(np.sum(y == 0))

    def f1(share: NDArray[np.float64]) -> NDArray[np.float64]:
        missed = np.exp(np.log1p(-np.minimum(share, 1 - 1e-16))[:, None] * lengths[None, :])
        hit = (1.0 - missed) @ (lengths * counts)
        return np.asarray(2.0 * hit / (hit + share * normal + anomalous))

    shares = np.geomspace(1e-7, 1.0, 1001)
    at = int(np.argmax(f1(shares)))
    # the maximum is smooth, so one finer grid around it is exact to far more digits than are printed
    finer = np.linspace(shares[max(0, at - 1)], shares[min(shares.size - 1, at + 1)], 1001)
    return float(f1(finer).max())


def simulated_random_point_adjusted_f1(
    labels: ArrayLike, generator: np.random.Generator, *, repeats: int = 3, on_undefined: OnUndefined = "warn"
) -> float:
    """Return the mean best point-adjusted F1 of uniform random scores.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    generator : numpy.random.Generator
        Where the scores come from.
    repeats : int
        Number of random scores.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In (0, 1].

    Examples
    --------
    >>> simulated_random_point_adjusted_f1([1, 1, 1, 1], np.random.default_rng(7))
    1.0
    """
    check_at_least("repeats", repeats, 1)
    y = check_labels(labels)
    if not y.any():
        return undefined("simulated_random_point_adjusted_f1", NO_ANOMALY, on_undefined)
    best = [float(_f1_curve(_prepare(y, rank(generator.random(y.size))), 0).max()) for _ in range(repeats)]
    return float(np.mean(best))


def _event_hits(y: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the length of each event and how many of its steps are predicted."""
    starts, ends = event_bounds(y)
    before = np.concatenate(([0], np.cumsum(b, dtype=np.int64)))
    return ends - starts + 1, before[ends + 1] - before[starts]


class _Prepared(NamedTuple):
    """What the curves of all percentages share: events, and per anomalous step its event and the rank of its score."""

    groups: int
    lengths: NDArray[np.int64]
    events: NDArray[np.int64]
    group: NDArray[np.int64]
    ordered: NDArray[np.int64]
    false: NDArray[np.int64]


def _prepare(y: NDArray[np.uint8], ranking: Ranking) -> _Prepared:
    starts, ends = event_bounds(y)
    anomalous = y == 1
    groups = ranking.distinct.size
    events = event_index(y)[anomalous]
    group = ranking.group[anomalous]
    return _Prepared(
        groups=groups,
        lengths=ends - starts + 1,
        events=events,
        group=group,
        ordered=group[np.lexsort((group, events))],
        false=np.cumsum(np.bincount(ranking.group[~anomalous], minlength=groups)),
    )


def _f1_curve(prepared: _Prepared, k: int) -> NDArray[np.float64]:
    """Return F1 after PA%K at each distinct score, highest first."""
    groups, lengths, events, group, ordered, false = prepared
    # an event is filled by the step that makes its share exceed k percent, taken from the highest score down
    needed = lengths * k // 100 + 1
    firsts = np.cumsum(lengths) - lengths
    filled = np.where(needed <= lengths, ordered[firsts + np.minimum(needed, lengths) - 1], groups)
    hit = np.cumsum(np.bincount(np.minimum(group, filled[events]), minlength=groups))
    return np.asarray(2.0 * hit / (hit + false + group.size))


def _area(f1_by_k: NDArray[np.float64]) -> float:
    return float(np.sum(0.5 * (f1_by_k[1:] + f1_by_k[:-1])) / (f1_by_k.size - 1))
