"""How rare the values of an event are, one by one: the simplest baseline."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tsad.events.base import EventDetector, EventScores, Explanation
from tsad.events.batch import EventBatch
from tsad.events.entities import EntityCounts, check_half_life, decay
from tsad.events.packing import pack_json, taken, unpack_json

__all__ = ["MarginalDetector"]


class MarginalDetector(EventDetector):
    """Sum over the attributes of the negative logarithm of each value's frequency.

    It sees rare and unseen values, and no odd combination of usual ones.

    Parameters
    ----------
    smoothing
        Added to the count of every value, and of one value that nobody has seen.
    half_life
        Events after which a count weighs half in `partial_fit`; None forgets nothing.
    """

    name: ClassVar[str] = "marginal"
    summary: ClassVar[str] = "sum of the negative log-frequencies of an event's values; sees no combinations"

    def __init__(self, *, smoothing: float = 1.0, half_life: float | None = None) -> None:
        super().__init__()
        if not smoothing > 0:
            raise ValueError(f"smoothing is {smoothing}; it must be above 0, e.g. 1")
        self._smoothing = smoothing
        self._half_life = check_half_life(self.name, half_life)
        self._entities = EntityCounts(np.zeros(1, np.int64), np.zeros(0))

    def _learn(self, training: EventBatch, judging: EventBatch) -> None:  # noqa: ARG002
        self._entities = EntityCounts.of(training)

    def _log_total(self) -> npt.NDArray[np.float64]:
        entities = self._entities
        seen = np.add.reduceat((entities.counts > 0).astype(np.float64), entities.offsets[:-1])
        return np.log(entities.totals() + self._smoothing * (seen + 1))

    def _surprise(self, events: EventBatch) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = self._log_total() - np.log(self._entities.at(events) + self._smoothing)
        return found

    def score(self, events: EventBatch) -> EventScores:
        """Score events; see `EventDetector.score`."""
        surprise = self._surprise(self.checked(events))
        score = np.zeros(len(events))
        for column in surprise.T:  # in a fixed order
            score += column
        return EventScores(score, self._entities.unseen(events))

    def explain(self, events: EventBatch, count: int = 3) -> Explanation:
        """Name the rarest value; the most frequent ones are expected, whatever the others are."""
        surprise = self._surprise(self.checked(events))
        n, m = events.codes.shape
        expected = np.full((n, m, count), -1, np.int32)
        probability = np.full((n, m, count), np.nan)
        for place, total in enumerate(self._log_total()):
            likely = self._entities.frequent(place, count)
            expected[:, place, : len(likely)] = likely
            counts = self._entities.of_attribute(place)[likely]
            probability[:, place, : len(likely)] = (counts + self._smoothing) / np.exp(total)
        return Explanation(surprise, expected, probability)

    def partial_fit(self, events: EventBatch) -> None:
        """Add newer events to the counts; see `EventDetector.partial_fit`."""
        self._entities = self._entities.plus(self.checked(events), decay(self._half_life, len(events)))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Counts and attributes."""
        return {
            "description": pack_json({"attributes": self.attributes, "report": self.report}),
            "offsets": self._entities.offsets.copy(),
            "counts": self._entities.counts.copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; see `EventDetector.restore`."""
        description = unpack_json(taken(state, "description"))
        entities = EntityCounts(taken(state, "offsets"), taken(state, "counts"))
        self.attributes, self.report = tuple(description["attributes"]), description["report"]
        self._entities = entities
