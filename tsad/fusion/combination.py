"""Rules that make one p-value of several.

Each takes float64[k, m], one row a stream and one column a part, NaN where a stream is missing, and returns
float64[m]: NaN where all are missing, the p-value itself where only one is there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from tsad.errors import ConfigurationError, NotEnoughDataError

__all__ = [
    "RULES",
    "Dependence",
    "brown",
    "cauchy",
    "combine",
    "e_value_mean",
    "fisher",
    "harmonic",
    "stouffer",
    "tippett",
]

PValues = npt.NDArray[np.float64]
_TINY = np.finfo(np.float64).tiny


def _alone(p: PValues, combined: PValues) -> PValues:
    """`combined`, but the only p-value where there is one, and NaN where there is none."""
    known = ~np.isnan(p)
    count = known.sum(axis=0)
    only = np.where(known, p, 0.0).sum(axis=0)
    return np.where(count == 0, np.nan, np.where(count == 1, only, np.clip(combined, _TINY, 1.0)))


def _fisher_statistic(p: PValues) -> PValues:
    return np.asarray(-2.0 * np.log(np.where(np.isnan(p), 1.0, np.maximum(p, _TINY))).sum(axis=0))


def fisher(p: PValues) -> PValues:
    """Fisher's rule: for independent streams, where one strong signal should win.

    Source: R. A. Fisher, "Statistical Methods for Research Workers", 4th edition, 1932, section 21.1.

    Examples
    --------
    >>> round(float(fisher(np.array([[0.01], [0.2]]))[0]), 5)
    0.01443
    """
    degrees = (~np.isnan(p)).sum(axis=0)
    return _alone(p, special.gammaincc(np.maximum(degrees, 1), _fisher_statistic(p) / 2.0))


def stouffer(p: PValues, weights: npt.NDArray[np.float64] | None = None) -> PValues:
    """Stouffer's rule: for independent streams, where several weak signals that agree should win.

    Source: T. Lipták, "On the combination of independent tests", 1958 (with weights).

    Examples
    --------
    >>> round(float(stouffer(np.array([[0.05], [0.05]]))[0]), 5)
    0.01
    """
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    known = ~np.isnan(p)
    # At p = 1 the normal deviate is infinite and would drown all others.
    z = -special.ndtri(np.clip(np.where(known, p, 0.5), _TINY, 1.0 - 1e-16))
    total = np.where(known, w[:, None] * z, 0.0).sum(axis=0)
    length = np.sqrt(np.where(known, (w**2)[:, None], 0.0).sum(axis=0))
    return _alone(p, special.ndtr(-total / np.where(length > 0, length, 1.0)))


def tippett(p: PValues) -> PValues:
    """The smallest p-value times their number (Bonferroni): right under any dependence, never too often.

    Examples
    --------
    >>> float(tippett(np.array([[0.01], [0.5]]))[0])
    0.02
    """
    count = (~np.isnan(p)).sum(axis=0)
    return _alone(p, count * np.where(np.isnan(p), 1.0, p).min(axis=0))


def cauchy(p: PValues) -> PValues:
    """Cauchy combination: hardly touched by dependence where p-values are very small.

    Source: Y. Liu, J. Xie, "Cauchy combination test", Journal of the American Statistical Association 115 (2020).

    Examples
    --------
    >>> round(float(cauchy(np.array([[0.01], [0.5]]))[0]), 5)
    0.01998
    """
    known = ~np.isnan(p)
    count = np.maximum(known.sum(axis=0), 1)
    # Near 1 the statistic runs to minus infinity and would veto what the other streams see.
    bounded = np.clip(np.where(known, p, 0.5), 1e-300, 0.999)
    # tan((1/2 - p) * pi) = 1 / tan(p * pi), which keeps its digits where p is small.
    mean = np.where(known, 1.0 / np.tan(np.pi * bounded), 0.0).sum(axis=0) / count
    combined = np.where(mean > 0, np.arctan2(1.0, mean) / np.pi, 0.5 - np.arctan(mean) / np.pi)
    return _alone(p, combined)


def harmonic(p: PValues) -> PValues:
    """Harmonic mean times ``e * ln k``: right under any dependence.

    Source: V. Vovk, R. Wang, "Combining p-values via averaging", Biometrika 107 (2020), section 3 (two p-values: 2).
    """
    known = ~np.isnan(p)
    count = known.sum(axis=0)
    inverse = np.where(known, 1.0 / np.where(known, np.maximum(p, _TINY), 1.0), 0.0).sum(axis=0)
    factor = np.where(count <= 2, 2.0, np.e * np.log(np.maximum(count, 3)))
    return _alone(p, factor * count / np.maximum(inverse, _TINY))


def e_value_mean(p: PValues) -> PValues:
    """Mean of e-values ``1/2 * p ** (-1/2)``, turned back: right under any dependence, and where p-values are rough.

    Source: V. Vovk, R. Wang, "E-values: calibration, combination and applications", Annals of Statistics 49 (2021).
    """
    known = ~np.isnan(p)
    e = np.where(known, 0.5 / np.sqrt(np.where(known, np.maximum(p, _TINY), 1.0)), 0.0).sum(axis=0)
    return _alone(p, np.maximum(known.sum(axis=0), 1) / np.maximum(e, _TINY))


class Dependence:
    """How the p-values of streams hang together on good parts: the covariance of ``-2 ln p`` by pair of streams.

    Each p-value is uniform when all is well, so its own variance is 4; only pairs are estimated. Negative ones are
    taken as none, which can only make a combined p-value larger.

    Parameters
    ----------
    covariance
        float64[k, k].
    pairs
        int64[k, k], on how many parts each rests.

    Source: G. Poole, D. Gibbs, I. Shmulevich, B. Bernard, T. Knijnenburg, "Combining dependent P-values with an
    empirical adaptation of Brown's method", Bioinformatics 32 (2016).
    """

    def __init__(self, covariance: npt.NDArray[np.float64], pairs: npt.NDArray[np.int64]) -> None:
        self.covariance = covariance
        self.pairs = pairs

    @classmethod
    def fit(cls, p_values: PValues) -> "Dependence":
        """Estimate it on good parts.

        Parameters
        ----------
        p_values
            float64[k, m], NaN where a stream is missing.

        Raises
        ------
        NotEnoughDataError
            There are no parts.
        """
        k, m = p_values.shape
        if not m:
            raise NotEnoughDataError("dependence needs good parts, none are there")
        w = -2.0 * np.log(np.maximum(p_values, _TINY))
        covariance = np.diag(np.full(k, 4.0))
        pairs = np.zeros((k, k), np.int64)
        known = ~np.isnan(w)
        for i in range(k):
            pairs[i, i] = int(known[i].sum())
            for j in range(i):
                both = known[i] & known[j]
                pairs[i, j] = pairs[j, i] = int(both.sum())
                if pairs[i, j] > 1 and w[i, both].std() > 0 and w[j, both].std() > 0:
                    correlation = float(np.corrcoef(w[i, both], w[j, both])[0, 1])
                    covariance[i, j] = covariance[j, i] = 4.0 * max(0.0, correlation)
        return cls(covariance, pairs)

    def fewest_pairs(self, streams: npt.NDArray[np.intp]) -> int:
        """On how many parts the weakest known pair among `streams` rests."""
        own = self.pairs[np.ix_(streams, streams)]
        return int(own[~np.eye(len(streams), dtype=bool)].min()) if len(streams) > 1 else int(own.min(initial=0))


def brown(p: PValues, dependence: Dependence) -> PValues:
    """Fisher's statistic against a chi-square that is scaled for dependence (empirical Brown).

    Source: M. B. Brown, "A method for combining non-independent, one-sided tests of significance", Biometrics 31
    (1975); estimated as by Poole and others (see `Dependence`).

    Examples
    --------
    >>> p = np.array([[0.01], [0.01]])
    >>> tied, free = np.full((2, 2), 4.0), np.diag([4.0, 4.0])
    >>> many = np.full((2, 2), 500)
    >>> [round(float(brown(p, Dependence(c, many))[0]), 5) for c in (tied, free)]
    [0.01, 0.00102]
    """
    known = ~np.isnan(p)
    statistic = _fisher_statistic(p)
    combined = np.full(p.shape[1], np.nan)
    for pattern in np.unique(known, axis=1).T:
        k = int(pattern.sum())
        if not k:
            continue
        own = (known == pattern[:, None]).all(axis=0)
        variance = float(dependence.covariance[np.ix_(pattern, pattern)].sum())
        scale = variance / (4.0 * k)  # variance / (2 * mean), with a mean of 2 a stream
        degrees = 8.0 * k * k / variance
        combined[own] = special.gammaincc(degrees / 2.0, statistic[own] / (2.0 * scale))
    return _alone(p, combined)


RULES: Mapping[str, Callable[[PValues], PValues]] = {
    "fisher": fisher,
    "stouffer": stouffer,
    "tippett": tippett,
    "cauchy": cauchy,
    "harmonic": harmonic,
    "e-values": e_value_mean,
}
"""Rules that need nothing but p-values; ``brown`` needs `Dependence` too."""


def combine(
    p: PValues, rule: str, dependence: Dependence | None = None, min_pairs: int = 200
) -> tuple[PValues, npt.NDArray[Any]]:
    """Combine by a rule, with Cauchy standing in for Brown where too few pairs are known.

    Parameters
    ----------
    p
        float64[k, m].
    rule
        ``brown`` or one of `RULES`.
    dependence
        Of the streams, for ``brown``.
    min_pairs
        Good parts on which every pair of a part's streams must rest.

    Returns
    -------
    combined, methods
        float64[m], and str[m]: the rule that was used for each part; ``single`` for one stream, empty for none.

    Raises
    ------
    ConfigurationError
        There is no such rule.
    """
    known = ~np.isnan(p)
    count = known.sum(axis=0)
    if rule != "brown" and rule not in RULES:
        raise ConfigurationError(f"combination rule {rule!r} is unknown; use brown, {', '.join(RULES)}")
    methods = np.full(p.shape[1], rule, dtype="<U16")
    if rule == "brown":
        combined = cauchy(p)
        methods[:] = "cauchy"
        for pattern in np.unique(known, axis=1).T if dependence is not None else ():
            streams = np.flatnonzero(pattern)
            if len(streams) > 1 and dependence is not None and dependence.fewest_pairs(streams) >= min_pairs:
                own = (known == pattern[:, None]).all(axis=0)
                combined[own] = brown(p[:, own], dependence)
                methods[own] = "brown"
    else:
        combined = RULES[rule](p)
    methods[count == 1] = "single"
    methods[count == 0] = ""
    return combined, methods
