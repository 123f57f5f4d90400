"""Brings what several sources tell into the order in which it arrived."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.fusion.part_events import PartEventKind, PartEvents

__all__ = ["ArrivalMerge"]


class ArrivalMerge:
    """Holds events back until no source can tell an earlier one.

    Sources are the partitions of each kind of event. What is let go depends on what each source tells, and not on how
    their reading was interleaved, as long as no source lags behind the others by more than `hold`: for that long, in
    time of arrival, a source that is silent or behind holds the others back.

    Parameters
    ----------
    kinds
        Kinds of events that are expected.
    hold
        Nanoseconds.
    """

    def __init__(self, kinds: frozenset[PartEventKind], hold: int) -> None:
        self._kinds = kinds
        self._hold = hold
        self._newest: dict[tuple[int, int], int] = {}
        self._held = PartEvents.joined([])
        self._partitions = np.zeros(0, np.int32)

    def __len__(self) -> int:
        """Events that are held."""
        return len(self._held)

    def add(self, events: PartEvents, partitions: npt.NDArray[np.int32]) -> None:
        """Take in events of one kind, in the order of each partition."""
        if not len(events):
            return
        kind = int(events.kind[0])
        arrival = events.arrival.copy()
        for partition in np.unique(partitions).tolist():
            own = partitions == partition
            # Within a source an event arrives no earlier than the one before it.
            before = self._newest.get((kind, partition), 0)
            arrival[own] = np.maximum.accumulate(np.maximum(arrival[own], before))
            self._newest[kind, partition] = int(arrival[own][-1])
        late = PartEvents(
            events.kind, arrival, events.stream, events.part, events.first, events.last, events.score, events.detail
        )
        self._held = PartEvents.joined([self._held, late])
        self._partitions = np.concatenate([self._partitions, partitions])

    def release(self) -> PartEvents:
        """Let go what nothing can come before any more, in order of arrival."""
        if not self._newest:
            return self._held
        newest = max(self._newest.values())
        until = newest - self._hold
        if {kind for kind, _ in self._newest} >= {int(kind) for kind in self._kinds}:
            until = max(until, min(self._newest.values()))
        free = self._held.arrival < until
        where = np.flatnonzero(free)
        order = where[np.lexsort((self._partitions[where], self._held.kind[where], self._held.arrival[where]))]
        out = self._held.take(order)
        rest = np.flatnonzero(~free)
        self._held, self._partitions = self._held.take(rest), self._partitions[rest]
        return out

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """What `restore` needs, as named arrays and JSON-ready values."""
        held = self._held
        arrays: dict[str, npt.NDArray[Any]] = {
            "kind": held.kind, "arrival": held.arrival, "stream": held.stream, "first": held.first, "last": held.last,
            "score": held.score, "detail": held.detail, "partitions": self._partitions,
        }  # fmt: skip
        newest = [[kind, partition, at] for (kind, partition), at in self._newest.items()]
        return arrays, {"parts": list(held.part), "newest": newest}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        columns = {name: array for name, array in arrays.items() if name != "partitions"}
        self._held = PartEvents(part=list(extra["parts"]), **columns)
        self._partitions = arrays["partitions"]
        self._newest = {(kind, partition): at for kind, partition, at in extra["newest"]}
