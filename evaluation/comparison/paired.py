"""Differences between two detectors on the same series.

>>> found = paired_difference(np.array([0.9, 0.8, 0.7, 0.9, 0.6]), np.array([0.5, 0.6, 0.7, 0.4, 0.3]))
>>> round(found.difference, 3), found.won, found.tied, found.lost
(0.28, 4, 1, 0)
>>> found.low < found.difference < found.high
True
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.errors import InvalidInputError

__all__ = ["CONFIDENCE", "FEWEST_SERIES", "RESAMPLES", "TIE", "PairedDifference", "holm", "paired_difference"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST_SERIES = 5
"""With fewer series neither an interval nor a p-value says anything: even four wins of four have p 0.125."""
TIE = 1e-9
"""Differences up to this one are ties: what remains is the order in which numbers were added."""

_EXACT = 50
_CHUNK = 4_000_000  # resampled series held at a time: 32 MB


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First detector minus second, over the series where both have a value.

    Attributes
    ----------
    series
        How many that are.
    first_mean, second_mean, difference
        Means over them; NaN without any.
    low, high
        Percentile interval of the mean difference, by a bootstrap over series; None for fewer than `FEWEST_SERIES`.
    won, tied, lost
        Series on which the first is better, equal up to `TIE`, worse.
    p_value
        Wilcoxon's signed-rank test, two-sided; None for fewer than `FEWEST_SERIES`.
    """

    series: int
    first_mean: float
    second_mean: float
    difference: float
    low: float | None
    high: float | None
    won: int
    tied: int
    lost: int
    p_value: float | None


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """Compare two detectors.

    Parameters
    ----------
    first, second : ndarray of float64, shape (S,)
        Values on the same series in the same order; NaN where there is none.
    higher_is_better
        Which way is won.
    resamples, seed
        Of the bootstrap. Pairs with equally many series share their resamples, so swapping the two detectors
        changes the sign of everything and nothing else.

    Raises
    ------
    InvalidInputError
        The two are not equally long, or `resamples` is below 100.

    References
    ----------
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    F. Wilcoxon, Biometrics Bulletin 1, 1945; zeros are split between both signs, as in J. Demšar, JMLR 7, 2006.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise InvalidInputError(f"pairs need equally many series, got shapes {first.shape} and {second.shape}")
    if resamples < 100:
        raise InvalidInputError(f"resamples is {resamples}; an interval needs at least 100")
    both = np.isfinite(first) & np.isfinite(second)
    count = int(both.sum())
    if not count:
        return PairedDifference(0, np.nan, np.nan, np.nan, None, None, 0, 0, 0, None)
    differences = first[both] - second[both]
    differences[np.abs(differences) <= TIE] = 0.0
    low = high = p_value = None
    if count >= FEWEST_SERIES:
        low, high = _interval(differences, resamples, seed)
        p_value = _signed_rank(differences)
    gains = differences if higher_is_better else -differences
    return PairedDifference(
        series=count,
        first_mean=float(first[both].mean()),
        second_mean=float(second[both].mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        won=int((gains > 0).sum()),
        tied=int((gains == 0).sum()),
        lost=int((gains < 0).sum()),
        p_value=p_value,
    )


def _interval(differences: NDArray[np.float64], resamples: int, seed: int) -> tuple[float, float]:
    size = differences.size
    generator = np.random.default_rng([seed, size])
    means = np.empty(resamples)
    step = max(1, _CHUNK // size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(size, size=(rows, size))
        means[start : start + rows] = differences[drawn].mean(axis=1)
    tail = (1.0 - CONFIDENCE) / 2.0
    # The two ends mirror each other exactly only if both are read by the same rule from their own side.
    return float(np.quantile(means, tail)), -float(np.quantile(-means, tail))


def _signed_rank(differences: NDArray[np.float64]) -> float:
    """The two-sided p-value of Wilcoxon's test: how likely random signs are to part the ranks at least as far.

    Exact up to `_EXACT` series, ties and zeros included, by adding up one rank after the other; normal beyond.
    """
    # Doubled, so that the ranks of ties are whole numbers. Zeros have ranks too, half of each on either side.
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)
    signed = np.sign(differences).astype(np.int64) * doubled
    observed = abs(int(signed.sum()))
    moving = doubled[differences != 0]
    if not moving.size:
        return 1.0
    if differences.size > _EXACT:
        return float(2 * stats.norm.sf(observed / np.sqrt(np.sum(moving.astype(np.float64) ** 2))))
    total = int(moving.sum())
    # The chance that the ranks with a positive sign add up to each number.
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in moving:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[:-rank]
        chances = (chances + shifted) / 2
    parted = np.abs(2 * np.arange(total + 1) - total)
    return float(min(1.0, chances[parted >= observed].sum()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for how many there are, after Holm; None stays None and is not counted.

    References
    ----------
    S. Holm, Scandinavian Journal of Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        corrected[place] = largest
    return corrected
