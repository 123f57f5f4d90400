"""How often every value came: the tables that all event detectors share."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tsad.errors import ConfigurationError
from tsad.events.batch import FIRST_VALUE, EventBatch

__all__ = ["EntityCounts", "check_half_life", "decay", "offsets_of"]

_Number = TypeVar("_Number", bound=np.generic)


def check_half_life(name: str, half_life: float | None) -> float | None:
    """Return the half-life, checked.

    Raises
    ------
    ConfigurationError
        It is not above 0.
    """
    if half_life is not None and not half_life > 0:
        raise ConfigurationError(f"{name}: half_life is {half_life}; give a number of events above 0, or None")
    return half_life


def decay(half_life: float | None, events: int) -> float:
    """Weight of what was there before `events` newer ones came; 1 where nothing is forgotten.

    Examples
    --------
    >>> decay(100, 200), decay(None, 200)
    (0.25, 1.0)
    """
    return 1.0 if half_life is None else float(0.5 ** (events / half_life))


class EntityCounts:
    """Counts of every value of m attributes, one attribute behind the other.

    Attributes
    ----------
    offsets
        int64[m + 1], where each attribute's values begin: value `code` of attribute i stands at ``offsets[i] + code``.
    counts
        float64[e], with decay, so not whole.
    """

    def __init__(self, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.float64]) -> None:
        self.offsets = offsets
        self.counts = counts

    @classmethod
    def of(cls, events: EventBatch) -> "EntityCounts":
        """Count a batch.

        Examples
        --------
        >>> counts = EntityCounts.of(EventBatch(("a", "b"), np.array([[2, 2], [3, 2]], np.int32)))
        >>> counts.of_attribute(0).tolist(), counts.of_attribute(1).tolist()
        ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0])
        """
        m = len(events.attributes)
        empty = cls(np.arange(m + 1, dtype=np.int64) * FIRST_VALUE, np.zeros(m * FIRST_VALUE))
        return empty.plus(events, 1.0)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """int64[m], codes of each attribute."""
        return np.diff(self.offsets)

    def of_attribute(self, place: int) -> npt.NDArray[np.float64]:
        """Counts of one attribute's values by code."""
        return self.counts[self.offsets[place] : self.offsets[place + 1]]

    def totals(self) -> npt.NDArray[np.float64]:
        """float64[m], events counted."""
        return np.add.reduceat(self.counts, self.offsets[:-1])

    def plus(self, events: EventBatch, weight: float) -> "EntityCounts":
        """Return the counts times `weight`, plus a batch."""
        sizes = np.maximum(self.sizes, events.sizes())
        fresh = self.laid_out(self.counts, sizes) * weight
        offsets = offsets_of(sizes)
        np.add.at(fresh, (events.codes + offsets[:-1]).ravel(), 1.0)
        return EntityCounts(offsets, fresh)

    def laid_out(self, values: npt.NDArray[_Number], sizes: npt.NDArray[np.int64]) -> npt.NDArray[_Number]:
        """Return values a row an entity, with room for `sizes` values of each attribute; new ones are 0."""
        offsets = offsets_of(sizes)
        fresh = np.zeros((int(offsets[-1]), *values.shape[1:]), values.dtype)
        for place, size in enumerate(self.sizes):
            start = self.offsets[place]
            fresh[offsets[place] : offsets[place] + size] = values[start : start + size]
        return fresh

    def unseen(self, events: EventBatch) -> npt.NDArray[np.bool_]:
        """bool[n, m], values that were never counted."""
        if not len(events):
            return np.zeros(events.codes.shape, np.bool_)
        return np.asarray(self.at(events) == 0)

    def at(self, events: EventBatch) -> npt.NDArray[np.float64]:
        """float64[n, m], counts of the events' values; 0 for codes that are newer than the table."""
        inside = events.codes < self.sizes
        return np.where(inside, self.counts[np.where(inside, events.codes, 0) + self.offsets[:-1]], 0.0)

    def frequent(self, place: int, count: int) -> npt.NDArray[np.int32]:
        """Codes of the most frequent values of an attribute, the most frequent first; ties by code."""
        own = self.of_attribute(place)
        order = np.argsort(-own, kind="stable")[:count]
        return order[own[order] > 0].astype(np.int32)


def offsets_of(sizes: npt.NDArray[np.int64] | Sequence[int]) -> npt.NDArray[np.int64]:
    """int64[m + 1], where each of several tables begins when they stand one behind the other."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
