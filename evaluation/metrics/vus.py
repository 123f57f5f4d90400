"""Range-AUC and the volume under the surface (VUS): curves with soft labels around events, averaged over widths.

Source: J. Paparrizos et al., "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series Anomaly
Detection", PVLDB 15(11), 2022, sections 4 and 5; the variant "opt" is the one that its authors' package and TSB-AD
compute today: a soft step counts as a label only where it is predicted. The two differ a lot, so every table names
its variant.

A width only moves the soft steps near events, so the kernel sorts the series once, keeps for each nearby step the
distances to its two nearest events, and then pays per width for those steps and the 250 thresholds alone.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.segments import NO_ANOMALY, event_bounds
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_at_least,
    check_labels_and_scores,
    check_scores,
    undefined,
)
from tsad.compiled import compiled

__all__ = ["CurveAreas", "VusVariant", "autocorrelation_period", "range_auc", "vus", "vus_pr", "vus_roc"]

VusVariant = Literal["opt", "2022"]

THRESHOLDS = 250
PERIOD_ROWS = 20_000
SHORTEST_LAG, LONGEST_LAG = 3, 400
LARGEST_OFFSET = 300
_NEVER = np.iinfo(np.int64).max


class CurveAreas(NamedTuple):
    """Area (or volume) under the ROC surface and under the precision-recall surface."""

    roc: float
    pr: float


@compiled
def _soft_steps(
    starts: NDArray[np.int64], ends: NDArray[np.int64], T: int, reach: int, late: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the steps that can get a soft label: step, its distance, and at which half-widths it is reached.

    `late` is added to what a step after an event needs. Of all events only the two nearest count: already two
    overlapping soft labels add up to more than 1 and are capped there.
    """
    K = starts.size
    step = np.empty(T, np.int64)
    distance = np.empty(T, np.int64)
    once = np.empty(T, np.int64)
    twice = np.empty(T, np.int64)
    found = 0
    for gap in range(K + 1):
        first = ends[gap - 1] + 1 if gap > 0 else 0
        last = starts[gap] - 1 if gap < K else T - 1
        for t in range(first, last + 1):
            if gap > 0 and t - ends[gap - 1] + late > reach and gap < K and starts[gap] - t > reach:
                continue
            one = _NEVER
            two = _NEVER
            near = 0
            for j in range(max(0, gap - 2), min(K, gap + 2)):
                d = t - ends[j] if j < gap else starts[j] - t
                need = d + late if j < gap else d
                if need < one:
                    two = one
                    one = need
                    near = d
                elif need < two:
                    two = need
            if one <= reach:
                step[found] = t
                distance[found] = near
                once[found] = one
                twice[found] = two
                found += 1
    return step[:found], distance[:found], once[:found], twice[:found]


@compiled
def _areas_by_width(
    bins: NDArray[np.int64],
    predicted: NDArray[np.int64],
    inside: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    soft_bin: NDArray[np.int64],
    soft_distance: NDArray[np.int64],
    soft_once: NDArray[np.int64],
    soft_twice: NDArray[np.int64],
    first_width: int,
    last_width: int,
    late: int,
    always: bool,
    trapezoid: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the areas under ROC and precision-recall curves for each width; soft steps are sorted by `soft_once`."""
    T = bins.size
    K = starts.size
    J = predicted.size
    P = inside[J - 1]
    low = starts.copy()
    high = ends.copy()
    best = np.full(K, J, np.int64)  # the first threshold that predicts a step of the extended event
    for k in range(K):
        for t in range(starts[k], ends[k] + 1):
            best[k] = min(best[k], bins[t])
    roc = np.empty(last_width - first_width + 1)
    pr = np.empty(last_width - first_width + 1)
    soft = np.empty(J)
    segments = np.empty(J, np.int64)
    for width in range(first_width, last_width + 1):
        half = width // 2
        soft[:] = 0.0
        for i in range(soft_bin.size):
            if soft_once[i] > half:
                break
            value = 1.0 if soft_twice[i] <= half else np.sqrt(1.0 - soft_distance[i] / width)
            soft[soft_bin[i]] += value
        segments[:] = 0
        number = 0
        current = J
        reached = -2
        for k in range(K):
            while low[k] > max(0, starts[k] - half):
                low[k] -= 1
                best[k] = min(best[k], bins[low[k]])
            while high[k] < min(T - 1, ends[k] + max(0, half - late)):
                high[k] += 1
                best[k] = min(best[k], bins[high[k]])
            if number > 0 and low[k] <= reached + 1:
                current = min(current, best[k])
            else:
                if number > 0:
                    segments[current] += 1
                number += 1
                current = best[k]
            reached = high[k]
        segments[current] += 1
        whole = 0.0
        for j in range(J):
            whole += soft[j]
        area_roc = 0.0
        area_pr = 0.0
        tpr_before = 0.0
        fpr_before = 0.0
        precision_before = 1.0
        soft_hit = 0.0
        existing = 0
        for j in range(J):
            soft_hit += soft[j]
            existing += segments[j]
            hit = inside[j] + soft_hit
            positives = 0.5 * (P + P + (whole if always else soft_hit))
            tpr = min(hit / positives, 1.0) * existing / number
            normal = T - positives
            fpr = (predicted[j] - hit) / normal if normal > 0 else np.nan
            precision = hit / predicted[j]
            area_roc += (fpr - fpr_before) * 0.5 * (tpr + tpr_before)
            area_pr += (tpr - tpr_before) * (0.5 * (precision + precision_before) if trapezoid else precision)
            tpr_before = tpr
            fpr_before = fpr
            precision_before = precision
        area_roc += (1.0 - fpr_before) * 0.5 * (1.0 + tpr_before)
        roc[width - first_width] = area_roc
        pr[width - first_width] = area_pr
    return roc, pr


def _surface(
    y: NDArray[np.uint8], s: NDArray[np.float64], first_width: int, last_width: int, late: int, *, current: bool
) -> CurveAreas:
    starts, ends = event_bounds(y)
    ranked = -np.sort(-s)
    thresholds = ranked[np.linspace(0, s.size - 1, THRESHOLDS).astype(np.int64)]
    bins = np.searchsorted(-thresholds, -s, side="left").astype(np.int64)
    predicted = np.cumsum(np.bincount(bins, minlength=THRESHOLDS))
    inside = np.cumsum(np.bincount(bins[y == 1], minlength=THRESHOLDS))
    step, distance, once, twice = _soft_steps(starts, ends, s.size, last_width // 2, late)
    order = np.argsort(once, kind="stable")
    roc, pr = _areas_by_width(
        bins,
        predicted,
        inside,
        starts,
        ends,
        bins[step[order]],
        distance[order],
        once[order],
        twice[order],
        first_width,
        last_width,
        late,
        not current,
        not current,
    )
    return CurveAreas(float(np.mean(roc)), float(np.mean(pr)))


def vus(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    window: int,
    variant: VusVariant = "opt",
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> CurveAreas:
    """Volume under the ROC surface and under the precision-recall surface (VUS-ROC, VUS-PR).

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    window : int
        Largest width of the soft labels in steps; every width from 0 to this one enters with equal weight. Use the
        period of the series, see `autocorrelation_period`.
    variant : {"opt", "2022"}
        "opt": soft steps count as labels only where predicted, step rule; what the authors' package computes today.
        "2022": the paper's first release, as the PATE package bundles it: soft steps always count, the extension
        after an event is one step shorter, trapezoid rule.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is anomalous, and for ROC when all are.

    Returns
    -------
    CurveAreas
        Both in [0, 1].

    Notes
    -----
    Source: Paparrizos et al., PVLDB 15(11), 2022, section 5. Rewards high scores in and near events, and finding every
    event. How it is fooled: wide windows pay for alarms around events, up to half the window away. The 250 thresholds
    are ranks, so in long series the top scores share few of them.

    Examples
    --------
    >>> areas = vus([0, 0, 0, 1, 1, 0, 0, 0], [0.1, 0.1, 0.7, 0.9, 0.6, 0.2, 0.1, 0.3], window=2)
    >>> round(areas.roc, 4), round(areas.pr, 4)
    (0.9377, 0.869)
    """
    if variant not in ("opt", "2022"):
        raise InvalidInputError(f'variant must be "opt" or "2022", got {variant!r}')
    check_at_least("window", window, 0)
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return CurveAreas(*[undefined("vus", NO_ANOMALY, on_undefined)] * 2)
    areas = _surface(y, s, 0, window, late=1 if variant == "2022" else 0, current=variant == "opt")
    return _without_normal("vus_roc", y, areas, on_undefined)


def _without_normal(name: str, y: NDArray[np.uint8], areas: CurveAreas, on_undefined: OnUndefined) -> CurveAreas:
    if y.all():
        return CurveAreas(undefined(name, "every step is labelled anomalous", on_undefined), areas.pr)
    return areas


def vus_roc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    window: int,
    variant: VusVariant = "opt",
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> float:
    """Volume under the ROC surface (VUS-ROC).

    Parameters
    ----------
    labels, scores, window, variant, nan_policy, on_undefined
        As in `vus`.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Source: Paparrizos et al., PVLDB 15(11), 2022, section 5. Rewards high scores in and near events, and finding every
    event. How it is fooled: rare anomalies leave a useless top of the ranking nearly unpunished.

    Examples
    --------
    >>> vus_roc([0, 1, 0], [0.0, 1.0, 0.0], window=0)
    1.0
    """
    return vus(labels, scores, window=window, variant=variant, nan_policy=nan_policy, on_undefined=on_undefined).roc


def vus_pr(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    window: int,
    variant: VusVariant = "opt",
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> float:
    """Volume under the precision-recall surface (VUS-PR).

    Parameters
    ----------
    labels, scores, window, variant, nan_policy, on_undefined
        As in `vus`.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Source: Paparrizos et al., PVLDB 15(11), 2022, section 5. Rewards high scores in and near events, and finding every
    event. How it is fooled: wide windows pay for alarms up to half a window away.

    Examples
    --------
    >>> vus_pr([0, 1, 0], [0.0, 1.0, 0.0], window=0)
    1.0
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if y.all():  # only ROC needs a normal step, so nothing is to be warned of here
        on_undefined = float("nan")
    return vus(y, s, window=window, variant=variant, on_undefined=on_undefined).pr


def range_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    window: int,
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> CurveAreas:
    """Range-AUC-ROC and Range-AUC-PR: one width of soft labels, always counted, trapezoid rule.

    Parameters
    ----------
    labels, scores, nan_policy, on_undefined
        As in `vus`.
    window : int
        Width of the soft labels in steps.

    Returns
    -------
    CurveAreas
        Both in [0, 1].

    Notes
    -----
    Source: Paparrizos et al., PVLDB 15(11), 2022, section 4. Rewards what `vus` rewards at one width. How it is
    fooled: the width is a free choice that changes the order of detectors, which is why `vus` averages over it.

    Examples
    --------
    >>> range_auc([0, 0, 1, 1, 0], [0.1, 0.2, 0.9, 0.8, 0.1], window=0)
    CurveAreas(roc=1.0, pr=1.0)
    """
    check_at_least("window", window, 0)
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return CurveAreas(*[undefined("range_auc", NO_ANOMALY, on_undefined)] * 2)
    return _without_normal("range_auc", y, _surface(y, s, window, window, late=0, current=False), on_undefined)


def autocorrelation_period(values: ArrayLike, *, fallback: int = 125) -> int:
    """Return the period of a series by its autocorrelation, the usual window for VUS and PATE.

    Parameters
    ----------
    values : array_like
        One channel; of a multivariate series the first. Only the first 20 000 rows are used.
    fallback : int
        Returned when no lag stands out: 125 in the VUS package and TSB-AD, 100 in the PATE package.

    Returns
    -------
    int
        The lag in 3 ... 400 with the highest strict local maximum of the autocorrelation, if it lies at most 300
        and at least 3 lags after lag 3; else `fallback`.

    Notes
    -----
    Source: the rule of the VUS package (Paparrizos et al. 2022, section 6).

    Examples
    --------
    >>> autocorrelation_period(np.sin(np.arange(2000) * 2 * np.pi / 50))
    50
    >>> autocorrelation_period(np.zeros(2000))
    125
    """
    x = check_scores(values, name="values")[:PERIOD_ROWS]
    x = np.where(np.isfinite(x), x, np.nanmean(x[np.isfinite(x)]) if np.isfinite(x).any() else 0.0)
    centred = x - x.mean()
    spectrum = np.fft.rfft(centred, 2 * centred.size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum))[: min(LONGEST_LAG + 1, centred.size)]
    lags = correlation[SHORTEST_LAG:]
    inner = lags[1:-1]
    peaks = np.flatnonzero((inner > lags[:-2]) & (inner > lags[2:])) + 1
    if not centred.any() or peaks.size == 0:
        return fallback
    offset = int(peaks[np.argmax(lags[peaks])])
    return offset + SHORTEST_LAG if SHORTEST_LAG <= offset <= LARGEST_OFFSET else fallback
