"""When odd events become one alarm, and when that alarm is over: in event time, partition by partition."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["EventChange", "EventEpisodes"]

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class EventChange:
    """An event of the batch made an asset's alarm ``raised``, ``updated`` or ``cleared``."""

    event: int
    asset: str
    kind: str


@dataclass(slots=True)
class _Open:
    partition: int
    last: int
    level: int
    told: list[str] = field(default_factory=list)


class EventEpisodes:
    """Joins the odd events of an asset to episodes.

    An episode opens with an odd event and is over when its partition's event time has gone on for `off_delay` without
    another one. It is told again when it grows more severe, or odd in another way (at most 20 ways an episode). Event
    time is the highest seen in the partition, so a late event neither clears nor prolongs anything into the past. How
    partitions are interleaved does not matter as long as the events of an asset come in one of them.

    Parameters
    ----------
    off_delay
        Nanoseconds.
    """

    def __init__(self, off_delay: int) -> None:
        self._off_delay = off_delay
        self._watermarks: dict[int, int] = {}
        self._open: dict[str, _Open] = {}

    def walk(
        self,
        times: npt.NDArray[np.int64],
        partitions: npt.NDArray[np.int32],
        odd: npt.NDArray[np.bool_],
        about: Callable[[int], tuple[str, str, int]],
    ) -> Iterator[EventChange]:
        """Take in n events in order; yields what changed.

        Parameters
        ----------
        times, partitions, odd
            int64[n], int32[n], bool[n].
        about
            Of an odd event: its asset, in which way it is odd, and its severity level.
        """
        parts: dict[int, tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]] = {}
        for partition in np.unique(partitions).tolist():
            own = np.flatnonzero(partitions == partition)
            mark = self._watermarks.get(partition, np.iinfo(np.int64).min)
            parts[partition] = own, np.maximum.accumulate(np.maximum(times[own], mark))
        for event in np.flatnonzero(odd).tolist():
            yield from self._clear(parts, event)
            own, marks = parts[int(partitions[event])]
            now = int(marks[np.searchsorted(own, event)])
            asset, way, level = about(event)
            episode = self._open.get(asset)
            if episode is None:
                self._open[asset] = _Open(int(partitions[event]), now, level, [way])
                yield EventChange(event, asset, "raised")
                continue
            episode.partition, episode.last = int(partitions[event]), now
            worse = level > episode.level
            another = way not in episode.told and len(episode.told) < _MOST_TOLD
            if another:
                episode.told.append(way)
            episode.level = max(episode.level, level)
            if worse or another:
                yield EventChange(event, asset, "updated")
        yield from self._clear(parts, len(times))
        self._watermarks |= {partition: int(marks[-1]) for partition, (_, marks) in parts.items()}

    def _clear(
        self, parts: Mapping[int, tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]], until: int
    ) -> Iterator[EventChange]:
        """Close the episodes whose time is up by event `until`, the earliest first."""
        due = []
        for asset, episode in self._open.items():
            if episode.partition not in parts:
                continue
            own, marks = parts[episode.partition]
            place = int(np.searchsorted(marks, episode.last + self._off_delay, side="right"))
            if place < len(own) and own[place] <= until:
                due.append((int(own[place]), episode.last, asset))
        for event, _, asset in sorted(due):
            del self._open[asset]
            yield EventChange(event, asset, "cleared")

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        return {
            "watermarks": {str(partition): mark for partition, mark in self._watermarks.items()},
            "open": {asset: asdict(episode) for asset, episode in self._open.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self._watermarks = {int(partition): mark for partition, mark in state["watermarks"].items()}
        self._open = {asset: _Open(**episode) for asset, episode in state["open"].items()}
