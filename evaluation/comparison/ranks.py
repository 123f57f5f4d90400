"""Average ranks of several detectors over series, and which of them cannot be told apart.

J. Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.comparison.paired import FEWEST_SERIES, TIE
from evaluation.errors import InvalidInputError

__all__ = ["SIGNIFICANCE", "Ranks", "average_ranks", "critical_difference", "groups"]

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Ranks:
    """Detectors ranked on every series; rank 1 is the best, ties share the mean of their ranks.

    Attributes
    ----------
    series
        Series with a value of every detector: only they can be ranked.
    average : tuple of float
        One a detector, in their order.
    friedman_statistic, friedman_p_value
        Friedman's chi-squared with correction for ties: are the detectors all alike?
    iman_davenport_p_value
        Of the less conservative F statistic made from it.
    critical_difference
        Nemenyi's: average ranks closer than this are not told apart at level `SIGNIFICANCE`.
    groups
        Largest sets of detectors (by position) that are not told apart, each with at least two.
    """

    series: int
    average: tuple[float, ...]
    friedman_statistic: float
    friedman_p_value: float
    iman_davenport_p_value: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]


def average_ranks(values: NDArray[np.float64], *, higher_is_better: bool = True) -> Ranks | None:
    """Rank detectors over series.

    Parameters
    ----------
    values : ndarray of float64, shape (series, detectors)
        NaN where a detector has none; such series are left out.
    higher_is_better
        Which values get rank 1.

    Returns
    -------
    Ranks or None
        None for fewer than three detectors, or than `FEWEST_SERIES` complete series: the test has no meaning then.

    Raises
    ------
    InvalidInputError
        `values` is not a matrix.

    Examples
    --------
    >>> found = average_ranks(np.array([[0.9, 0.5, 0.1]] * 5))
    >>> found.average, found.friedman_statistic, round(found.critical_difference, 2), found.groups
    ((1.0, 2.0, 3.0), 10.0, 1.48, ((0, 1), (1, 2)))
    """
    if values.ndim != 2:
        raise InvalidInputError(f"ranks need a matrix of series by detectors, got {values.ndim} dimensions")
    complete = values[np.isfinite(values).all(axis=1)]
    series, detectors = complete.shape
    if detectors < 3 or series < FEWEST_SERIES:
        return None
    signed = -complete if higher_is_better else complete
    # Equal up to TIE is equal, as for pairs.
    ranked = stats.rankdata(np.round(signed / TIE), axis=1)
    average = ranked.mean(axis=0)
    statistic = _friedman(ranked)
    wide = critical_difference(detectors, series)
    return Ranks(
        series=series,
        average=tuple(float(rank) for rank in average),
        friedman_statistic=statistic,
        friedman_p_value=float(stats.chi2.sf(statistic, detectors - 1)),
        iman_davenport_p_value=_iman_davenport(statistic, series, detectors),
        critical_difference=wide,
        groups=groups(average.tolist(), wide),
    )


def _friedman(ranked: NDArray[np.float64]) -> float:
    """Friedman's statistic from ranks, shape (series, detectors), corrected for ties; 0 where all are tied."""
    series, detectors = ranked.shape
    middle = (detectors + 1) / 2
    spread = float(((ranked - middle) ** 2).sum())
    if spread == 0.0:
        return 0.0
    between = float(((ranked.sum(axis=0) - series * middle) ** 2).sum())
    return float((detectors - 1) * between / spread)


def _iman_davenport(statistic: float, series: int, detectors: int) -> float:
    rest = series * (detectors - 1) - statistic
    if rest <= 1e-9:
        return 0.0  # every series ranks them alike
    return float(stats.f.sf((series - 1) * statistic / rest, detectors - 1, (detectors - 1) * (series - 1)))


@cache
def critical_difference(detectors: int, series: int) -> float:
    """Return Nemenyi's critical difference of average ranks at level `SIGNIFICANCE`.

    Parameters
    ----------
    detectors, series
        At least 2 and at least 1.

    Raises
    ------
    InvalidInputError
        There are fewer.

    Examples
    --------
    Section 3.2.2 of Demšar's paper, four classifiers on fourteen data sets:

    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    if detectors < 2 or series < 1:
        raise InvalidInputError(f"{detectors} detectors on {series} series have no critical difference")
    quantile = float(stats.studentized_range.ppf(1 - SIGNIFICANCE, detectors, math.inf)) / math.sqrt(2)
    return quantile * float(np.sqrt(detectors * (detectors + 1) / (6 * series)))


def groups(average: Sequence[float], wide: float) -> tuple[tuple[int, ...], ...]:
    """Return the largest sets whose average ranks all lie closer together than the critical difference.

    Parameters
    ----------
    average
        Ranks.
    wide
        The critical difference.

    Examples
    --------
    >>> groups([3.0, 1.0, 1.5, 2.6], 1.2)
    ((1, 2), (2, 3), (3, 0))
    """
    order = sorted(range(len(average)), key=lambda place: average[place])
    found: list[tuple[int, ...]] = []
    last = -1
    for start, first in enumerate(order):
        stop = start
        while stop + 1 < len(order) and average[order[stop + 1]] - average[first] < wide:
            stop += 1
        if stop > start and stop > last:
            found.append(tuple(order[start : stop + 1]))
        last = max(last, stop)
    return tuple(found)
