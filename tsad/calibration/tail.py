"""The tail of quiet scores: where it starts, and the clusters of exceedances above it.

Scores are autocorrelated, so the tail is fitted to clusters: the excess of a cluster's peak over the start is taken as
exponential with an uncertain mean, which gives a closed predictive tail.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tsad.kernels.episodes import episode_rate, static_threshold

__all__ = ["CalibrationFit", "ClusterSpans", "TailFit", "cluster_spans", "fit_tail"]

_SHARES = (0.10, 0.05, 0.02, 0.01)  # of the rows above a possible start

ClusterSpans = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class TailFit:
    """The start of the tail, and the clusters above it.

    Attributes
    ----------
    start
        u, the quantile above which a row belongs to the tail.
    clusters, excess, exposure
        K, the number of clusters; S, the sum of their peaks' excesses over u; N, the rows seen.
    degenerate
        There was no excess to fit; a token one stands in.
    prior_clusters
        Clusters of mean excess 1 that count besides; see `tsad.calibration.episodes.EpisodeCalibrator`.
    """

    start: float
    clusters: float
    excess: float
    exposure: float
    degenerate: bool
    prior_clusters: float = 0.0

    def rate(self, score: float) -> float:
        """Clusters a row whose peak reaches `score`."""
        return float(episode_rate(score, self.start, self.clusters, self.excess, self.exposure, self.prior_clusters))

    def threshold(self, rate: float) -> float:
        """The score that is reached `rate` times a row."""
        return float(static_threshold(rate, self.start, self.clusters, self.excess, self.exposure, self.prior_clusters))


@dataclass(frozen=True, slots=True)
class CalibrationFit:
    """What was learnt from a prefix.

    Attributes
    ----------
    tail
        The fitted tail.
    max_budget
        Episodes a day that the detector makes at all; a larger budget cannot be spent.
    flags
        ``provisional`` (too little exposure for the budget), ``degenerate_tail``, ``budget_above_max``.
    scores
        float64[n], the finite scores of the prefix that all this was learnt from.
    """

    tail: TailFit
    max_budget: float
    flags: tuple[str, ...]
    scores: npt.NDArray[np.float64] = field(repr=False, compare=False)


def cluster_spans(scores: npt.NDArray[np.float64], start: float, gap: int) -> ClusterSpans:
    """First row, last row and the peak's excess of every cluster above `start`."""
    above = np.flatnonzero(scores > start)
    if above.size == 0:
        return above, above, np.zeros(0)
    cuts = np.flatnonzero(np.diff(above) > gap)
    first = np.concatenate(([0], cuts + 1))
    peaks = np.maximum.reduceat(scores[above], first)
    return above[first], above[np.append(cuts, len(above) - 1)], peaks - start


def _clusters(scores: npt.NDArray[np.float64], start: float, gap: int) -> tuple[int, float]:
    """Number of clusters above `start`, and the sum of their peaks' excesses."""
    excesses = cluster_spans(scores, start, gap)[2]
    return len(excesses), float(np.sum(excesses))


def fit_tail(scores: npt.NDArray[np.float64], gap: int, prior_clusters: float = 0.0) -> TailFit:
    """Fit the tail to honest prefix scores (leave-one-out or held out).

    Parameters
    ----------
    scores
        float64[n], finite.
    gap
        Rows that separate two clusters.
    prior_clusters
        See `TailFit`.

    Examples
    --------
    >>> scores = np.where(np.arange(400) % 50 == 0, 2.0, np.linspace(0, 1, 400))
    >>> tail = fit_tail(scores, gap=32)
    >>> bool(tail.threshold(1e-4) > tail.threshold(1e-3) > tail.start)
    True
    """
    best: tuple[int, float, float] | None = None
    for share in _SHARES:
        start = float(np.quantile(scores, 1.0 - share))
        count, excess = _clusters(scores, start, gap)
        if best is None or count > best[0]:
            best = (count, excess, start)
    assert best is not None
    count, excess, start = best
    degenerate = excess <= 1e-9 * max(abs(start), 1e-9)
    if degenerate:
        excess = max(count, 1) * 0.05 * max(abs(start), 1e-6)
    return TailFit(start, float(count), excess, float(len(scores)), degenerate, prior_clusters)
