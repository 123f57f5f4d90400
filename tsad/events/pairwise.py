"""How much seldomer two values of an event meet than their own frequencies let expect."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tsad.events.base import EventDetector, EventScores, Explanation
from tsad.events.batch import EventBatch
from tsad.events.entities import EntityCounts, check_half_life, decay
from tsad.events.packing import pack_json, taken, unpack_json
from tsad.kernels.ape_baselines import pair_ratios

__all__ = ["PairwiseConditionalDetector"]


class PairwiseConditionalDetector(EventDetector):
    """Largest ratio of marginal to conditional frequency over all pairs of attributes, as a logarithm.

    The ratio of a pair is P(a) P(b) / P(a, b) from smoothed counts. Unseen values have no frequency, so a pair with one
    is never odd by this rule; they are flagged.

    Source: the rule of K. Das and J. Schneider, "Detecting anomalous records in categorical datasets", KDD 2007, for
    single attributes on each side.

    Parameters
    ----------
    smoothing
        Added to every count.
    half_life
        Events after which a count weighs half in `partial_fit`; None forgets nothing.
    """

    name: ClassVar[str] = "pairwise-conditional"
    summary: ClassVar[str] = "largest ratio of expected to seen frequency over pairs of values (Das, Schneider 2007)"

    def __init__(self, *, smoothing: float = 1.0, half_life: float | None = None) -> None:
        super().__init__()
        if not smoothing > 0:
            raise ValueError(f"smoothing is {smoothing}; it must be above 0, e.g. 1")
        self._smoothing = smoothing
        self._half_life = check_half_life(self.name, half_life)
        self._entities = EntityCounts(np.zeros(1, np.int64), np.zeros(0))
        self._keys = np.zeros(0, np.int64)
        self._counts = np.zeros(0)
        self._total = 0.0

    def _learn(self, training: EventBatch, judging: EventBatch) -> None:  # noqa: ARG002
        self._entities = EntityCounts.of(training)
        self._keys, self._counts = _pairs(training, self._entities.offsets)
        self._total = float(len(training))

    def _ratios(self, events: EventBatch) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        n, m = events.codes.shape
        score, by_attribute = np.empty(n), np.empty((n, m))
        pair_ratios(
            events.codes, self._entities.offsets, self._entities.counts, self._total, self._keys, self._counts,
            self._smoothing, score, by_attribute,
        )  # fmt: skip
        return score, by_attribute

    def score(self, events: EventBatch) -> EventScores:
        """Score events; see `EventDetector.score`."""
        return EventScores(self._ratios(self.checked(events))[0], self._entities.unseen(events))

    def explain(self, events: EventBatch, count: int = 3) -> Explanation:
        """Name the attributes of the oddest pairs; expected are the values that the partner in that pair usually meets.

        Among values the one is odd whose largest ratio with the others is highest; both sides of a lone odd pair have
        the same, and the first attribute is named.
        """
        by_attribute = self._ratios(self.checked(events))[1]
        n, m = events.codes.shape
        expected = np.full((n, m, count), -1, np.int32)
        probability = np.full((n, m, count), np.nan)
        for r, i in np.ndindex(n, m):
            known = [j for j in range(m) if j != i and self._seen(j, int(events.codes[r, j]))]
            if not known:
                continue
            # The partner with the steadiest habits says most about what was expected.
            found = [self._given(i, j, int(events.codes[r, j])) for j in known]
            values, shares = max(found, key=lambda one: float(one[1].max()))
            order = np.argsort(-shares, kind="stable")[:count]
            expected[r, i, : len(order)] = values[order]
            probability[r, i, : len(order)] = shares[order]
        return Explanation(by_attribute, expected, probability)

    def _seen(self, place: int, code: int) -> bool:
        own = self._entities.of_attribute(place)
        return code < len(own) and own[code] > 0

    def _given(self, i: int, j: int, code: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Values of attribute i that came with one value of attribute j, and how often among these."""
        offsets, rows = self._entities.offsets, int(self._entities.offsets[-1])
        values = np.flatnonzero(self._entities.of_attribute(i) > 0)
        one, other = offsets[i] + values, offsets[j] + code
        keys = one * rows + other if i < j else other * rows + one
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        met = np.where(self._keys[at] == keys, self._counts[at], 0.0)
        return values[met > 0].astype(np.int32), met[met > 0] / met.sum()

    def partial_fit(self, events: EventBatch) -> None:
        """Add newer events to the counts; see `EventDetector.partial_fit`."""
        weight = decay(self._half_life, len(self.checked(events)))
        before, rows = self._entities, int(self._entities.offsets[-1])
        self._entities = before.plus(events, weight)
        # Keys are of rows, and rows move when a vocabulary grows.
        moved = _moved(before.offsets, self._entities.offsets)
        old = moved[self._keys // rows] * int(self._entities.offsets[-1]) + moved[self._keys % rows]
        new, added = _pairs(events, self._entities.offsets)
        keys, where = np.unique(np.concatenate((old, new)), return_inverse=True)
        counts = np.zeros(len(keys))
        np.add.at(counts, where, np.concatenate((self._counts * weight, added)))
        self._keys, self._counts = keys, counts
        self._total = self._total * weight + len(events)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Counts of values and of pairs."""
        return {
            "description": pack_json({"attributes": self.attributes, "report": self.report, "total": self._total}),
            "offsets": self._entities.offsets.copy(),
            "entity_counts": self._entities.counts.copy(),
            "pair_keys": self._keys.copy(),
            "pair_counts": self._counts.copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; see `EventDetector.restore`."""
        description = unpack_json(taken(state, "description"))
        self._entities = EntityCounts(taken(state, "offsets"), taken(state, "entity_counts"))
        self._keys, self._counts = taken(state, "pair_keys"), taken(state, "pair_counts")
        self._total = float(description["total"])
        self.attributes, self.report = tuple(description["attributes"]), description["report"]


def _pairs(events: EventBatch, offsets: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Keys of all pairs of values, sorted, and how often each came."""
    rows = events.codes + offsets[:-1]
    keys: list[npt.NDArray[np.int64]] = []
    counts: list[npt.NDArray[np.int64]] = []
    for i, j in combinations(range(rows.shape[1]), 2):
        found, count = np.unique(rows[:, i] * offsets[-1] + rows[:, j], return_counts=True)
        keys.append(found)
        counts.append(count)
    joined = np.concatenate(keys)
    order = np.argsort(joined, kind="stable")
    return joined[order], np.concatenate(counts)[order].astype(np.float64)


def _moved(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each row of the old tables stands in the new ones."""
    sizes = np.diff(before)
    return np.arange(before[-1]) + np.repeat(after[:-1] - before[:-1], sizes)
