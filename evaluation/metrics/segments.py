"""Events and ranked scores: the two views of a series that most metrics start from."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_ANOMALY", "PrecisionRecallF1", "Ranking", "event_bounds", "event_index", "harmonic_mean", "rank"]

NO_ANOMALY = "no step is labelled anomalous"


class PrecisionRecallF1(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1] or NaN where undefined."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores sorted once, ties kept together.

    Attributes
    ----------
    order : ndarray of int64
        Steps from the highest score to the lowest; ties in time order.
    group : ndarray of int64
        For each step the position of its score in `distinct`.
    distinct : ndarray of float64
        The distinct scores, highest first.
    counts : ndarray of int64
        Steps per distinct score.
    """

    order: NDArray[np.int64]
    group: NDArray[np.int64]
    distinct: NDArray[np.float64]
    counts: NDArray[np.int64]

    def per_group(self, weights: NDArray[np.float64] | NDArray[np.uint8]) -> NDArray[np.float64]:
        """Sum `weights` (one a step) over the steps of each distinct score."""
        return np.bincount(self.group, weights=weights, minlength=self.distinct.size).astype(np.float64, copy=False)


def rank(scores: NDArray[np.float64]) -> Ranking:
    """Sort scores once, from the highest to the lowest.

    Examples
    --------
    >>> rank(np.array([0.1, 0.9, 0.1])).counts
    array([1, 2])
    """
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    ranked = scores[order]
    fresh = np.empty(ranked.size, dtype=np.bool_)
    fresh[0] = True
    np.not_equal(ranked[1:], ranked[:-1], out=fresh[1:])
    firsts = np.flatnonzero(fresh)
    group = np.empty(ranked.size, dtype=np.int64)
    group[order] = np.cumsum(fresh) - 1
    counts = np.diff(np.append(firsts, ranked.size)).astype(np.int64)
    return Ranking(order=order, group=group, distinct=ranked[firsts], counts=counts)


def event_bounds(labels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last step (inclusive) of each run of ones.

    Examples
    --------
    >>> event_bounds(np.array([1, 1, 0, 0, 1], dtype=np.uint8))
    (array([0, 4]), array([1, 4]))
    """
    # signed, because differences of unsigned or boolean labels wrap around
    edges = np.diff(labels.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1).astype(np.int64), np.flatnonzero(edges == -1).astype(np.int64) - 1


def event_index(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each step the number of its event, or -1 outside events.

    Examples
    --------
    >>> event_index(np.array([1, 1, 0, 0, 1], dtype=np.uint8))
    array([ 0,  0, -1, -1,  1])
    """
    begins = np.diff(labels.astype(np.int8), prepend=0) == 1
    return np.where(labels == 1, np.cumsum(begins) - 1, -1).astype(np.int64)


def harmonic_mean(precision: float, recall: float) -> float:
    """Return F1, and 0 where both are 0.

    Examples
    --------
    >>> harmonic_mean(0.5, 1.0)
    0.6666666666666666
    """
    total = precision + recall
    return 2.0 * precision * recall / total if total != 0 else 0.0
