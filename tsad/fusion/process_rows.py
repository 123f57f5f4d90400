"""The newest scored rows of one step, to find the worst one of an interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ProcessRows"]

_CHUNK = 1024


class ProcessRows:
    """Rows in order of event time, kept for a while.

    Parameters
    ----------
    keep
        For how long, ns of event time.

    Examples
    --------
    >>> rows = ProcessRows(10)
    >>> for time, score in enumerate([1.0, 5.0, 2.0, float("nan")]):
    ...     rows.add(time, score, 7)
    >>> rows.worst(0, 2), rows.worst(2, 3), rows.worst(3, 3), rows.worst(8, 9)
    ((1, 5.0, 7), (2, 2.0, 7), None, None)
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.newest = -1
        self._count = 0
        self._times = np.zeros(_CHUNK, np.int64)
        self._scores = np.zeros(_CHUNK)
        self._channels = np.zeros(_CHUNK, np.int32)

    def add(self, time: int, score: float, channel: int) -> None:
        """Add a row; one that is not newer than the newest, or has no score, only moves the time on."""
        if time <= self.newest:
            return
        self.newest = time
        if score != score:  # noqa: PLR0124 - NaN
            return
        if self._count == len(self._times):
            self._make_room()
        self._times[self._count], self._scores[self._count], self._channels[self._count] = time, score, channel
        self._count += 1

    def _make_room(self) -> None:
        first = int(np.searchsorted(self._times[: self._count], self.newest - self._keep))
        kept = self._count - first
        room = max(_CHUNK, 2 * kept)
        for name in ("_times", "_scores", "_channels"):
            old = getattr(self, name)
            fresh = np.zeros(room, old.dtype)
            fresh[:kept] = old[first : self._count]
            setattr(self, name, fresh)
        self._count = kept

    def worst(self, first: int, last: int) -> tuple[int, float, int] | None:
        """Time, score and channel of the highest score in ``first <= time <= last``; the earliest of equals."""
        start, stop = np.searchsorted(self._times[: self._count], (first, last + 1)).tolist()
        if start == stop:
            return None
        where = start + int(self._scores[start:stop].argmax())
        return int(self._times[where]), float(self._scores[where]), int(self._channels[where])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `restore` needs."""
        first = int(np.searchsorted(self._times[: self._count], self.newest - self._keep))
        own = slice(first, self._count)
        return {
            "times": self._times[own].copy(), "scores": self._scores[own].copy(),
            "channels": self._channels[own].copy(), "newest": np.array([self.newest]),
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._count = len(state["times"])
        room = max(_CHUNK, 2 * self._count)
        for name in ("times", "scores", "channels"):
            fresh = np.zeros(room, getattr(self, "_" + name).dtype)
            fresh[: self._count] = state[name]
            setattr(self, "_" + name, fresh)
        self.newest = int(state["newest"][0])
