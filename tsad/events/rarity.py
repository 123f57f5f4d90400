"""The rarest value of an event, measured by its own attribute."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tsad.events.base import EventScores
from tsad.events.batch import EventBatch
from tsad.events.marginal import MarginalDetector

__all__ = ["RarityDetector"]

_ONCE = 1.5  # counts that have faded still count as one below this


class RarityDetector(MarginalDetector):
    """The largest surprise among the values of an event, each by how much of its attribute is as rare.

    The surprise of a value is -log of the chance that its attribute brings a value that came at most as often, new
    values included. So a new value in an attribute of five words is odd, and one in an attribute whose values are all
    different is not; and one new value is not lost among other attributes, as it is in the sum of `marginal`.

    The chance of a new value is that of A. M. Turing and I. J. Good ("The Population Frequencies of Species and the
    Estimation of Population Parameters", Biometrika 40, 1953): the share of values that came once.

    Parameters
    ----------
    smoothing
        Added to the values that came once, so that nothing is impossible.
    half_life
        Events after which a count weighs half in `partial_fit`; None forgets nothing.
    """

    name: ClassVar[str] = "rarity"
    summary: ClassVar[str] = "the rarest value of an event, by how much of its attribute is as rare"

    def __init__(self, *, smoothing: float = 0.5, half_life: float | None = None) -> None:
        super().__init__(smoothing=smoothing, half_life=half_life)
        self._table = np.zeros(0)
        self._newcomer = np.zeros(0)

    def _learn(self, training: EventBatch, judging: EventBatch) -> None:
        super()._learn(training, judging)
        self._prepare()

    def partial_fit(self, events: EventBatch) -> None:
        """Add newer events to the counts; see `EventDetector.partial_fit`."""
        super().partial_fit(events)
        self._prepare()

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; see `EventDetector.restore`."""
        super().restore(state)
        self._prepare()

    def _prepare(self) -> None:
        """Surprise by entity, and of a new value by attribute."""
        entities = self._entities
        self._table = np.zeros(len(entities.counts))
        self._newcomer = np.zeros(len(entities.sizes))
        for place, (start, stop) in enumerate(zip(entities.offsets[:-1], entities.offsets[1:], strict=True)):
            counts = entities.counts[start:stop]
            total = float(counts.sum()) + self._smoothing
            fresh = float(counts[counts < _ONCE].sum()) + self._smoothing
            order = np.argsort(counts, kind="stable")
            rising = counts[order]
            # Values of one count are equally rare: the mass up to the last of them.
            mass = np.cumsum(rising)[np.searchsorted(rising, rising, side="right") - 1]
            surprise = np.empty(len(counts))
            surprise[order] = -np.log(np.minimum((fresh + mass) / total, 1.0))
            self._newcomer[place] = -np.log(min(fresh / total, 1.0))
            self._table[start:stop] = np.where(counts > 0, surprise, self._newcomer[place])

    def _surprise(self, events: EventBatch) -> npt.NDArray[np.float64]:
        entities = self._entities
        inside = events.codes < entities.sizes
        where = np.where(inside, events.codes, 0) + entities.offsets[:-1]
        return np.asarray(np.where(inside, self._table[where], self._newcomer))

    def score(self, events: EventBatch) -> EventScores:
        """Score events; see `EventDetector.score`."""
        surprise = self._surprise(self.checked(events))
        return EventScores(surprise.max(axis=1), self._entities.unseen(events))
