"""Joins what is known of parts: intervals at steps, rows of the process, and images."""

import heapq
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError
from tsad.fusion.part_events import JoinedParts, PartEventKind, PartEvents
from tsad.fusion.part_settings import PartSettings
from tsad.fusion.process_rows import ProcessRows
from tsad.fusion.transport import TransportDelay

__all__ = ["PartJoiner"]

_FIRST_ROOM = 256
_SLACK = 512  # entries of closed parts that a list may hold besides those of open ones
_INTERVAL, _IMAGE = int(PartEventKind.INTERVAL), int(PartEventKind.IMAGE)
_PER_STREAM = ("score", "version", "when", "detail", "shared", "seen", "ended")
_PER_PART = ("opened", "amendment", "time", "missing_steps", "missing_views")
_NEVER = -1
_REMEMBERED = 10_000  # closed parts whose late records are told from those of unknown ones


class PartJoiner:
    """Keeps the open parts and says what is known of each, as it comes to be known.

    The clock is the arrival of events, which come in its order; event times only say what belongs together. So nothing
    is joined before it was there, and the result does not depend on how events were cut into batches.

    A part opens with its first record. As soon as all steps have their rows, or all cameras their images, it is told;
    again with each further record (amended); for the last time when everything is there, or `wait` after it was opened.
    Memory: at most `max_open` parts; beyond it the oldest is closed as it is.

    Parameters
    ----------
    settings
        Which streams there are, and how long to wait.
    """

    def __init__(self, settings: PartSettings) -> None:
        self.settings = settings
        self._steps, self._k = len(settings.steps), len(settings.streams)
        self._wait = round(settings.wait * 1e9)
        self._rows = [ProcessRows(round(settings.keep_rows * 1e9)) for _ in settings.steps]
        self._slots: dict[str, int] = {}
        self._ids: list[str | None] = []
        self._free: list[int] = []
        self._order: deque[tuple[int, int, int]] = deque()  # opened, slot, generation
        self._closed: dict[str, None] = {}
        # End, ticket, start, slot, generation of intervals whose rows have not all come.
        self._waiting: list[list[tuple[int, int, int, int, int]]] = [[] for _ in settings.steps]
        self._places: list[list[tuple[int, int, int]]] = [[] for _ in settings.steps]  # end, slot, generation
        self._strays: deque[tuple[int, int, int, float, int]] = deque()  # arrival, view, captured, score, version
        self._ticket = 0
        self._clock = -1
        steps = {name: number for number, name in enumerate(settings.steps)}
        # By stream: the step before a camera, and how far an image may be off, ns.
        self._after: list[int | None] = [None] * self._steps
        self._after += [None if view.after is None else steps[view.after] for view in settings.views]
        self._tolerance = [0] * self._steps + [round(view.tolerance * 1e9) for view in settings.views]
        self._views_after = [
            tuple(view for view, after in enumerate(self._after) if after == step) for step in range(self._steps)
        ]
        self.delays = [
            TransportDelay(
                None if view.transport_delay is None else round(view.transport_delay * 1e9),
                round(view.tolerance * 1e9),
            )
            for view in settings.views
        ]
        self._grow(_FIRST_ROOM)
        self._begin()

    # ------------------------------------------------------------------------------------------------- room

    def _grow(self, room: int) -> None:
        k = self._k
        fills: dict[str, tuple[Any, float, tuple[int, ...]]] = {
            "score": (np.float64, np.nan, (k,)), "version": (np.int32, -1, (k,)), "when": (np.int64, 0, (k,)),
            "detail": (np.int32, -1, (k,)), "shared": (np.int32, 1, (k,)), "seen": (np.bool_, 0, (k,)),
            "ended": (np.int64, _NEVER, (k,)),
            "opened": (np.int64, 0, ()), "amendment": (np.int32, 0, ()), "time": (np.int64, 0, ()),
            "missing_steps": (np.int32, 0, ()), "missing_views": (np.int32, 0, ()), "generation": (np.int64, 0, ()),
        }  # fmt: skip
        old = len(self._ids)
        for name, (dtype, fill, shape) in fills.items():
            array = np.full((room, *shape), fill, dtype)
            if old:
                array[:old] = getattr(self, "_" + name)
            setattr(self, "_" + name, array)
        self._free += range(room - 1, old - 1, -1)
        self._ids += [None] * (room - old)

    _score: npt.NDArray[np.float64]
    _version: npt.NDArray[np.int32]
    _when: npt.NDArray[np.int64]
    _detail: npt.NDArray[np.int32]
    _shared: npt.NDArray[np.int32]
    _seen: npt.NDArray[np.bool_]
    _ended: npt.NDArray[np.int64]
    _opened: npt.NDArray[np.int64]
    _amendment: npt.NDArray[np.int32]
    _time: npt.NDArray[np.int64]
    _missing_steps: npt.NDArray[np.int32]
    _missing_views: npt.NDArray[np.int32]
    _generation: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Open parts."""
        return len(self._slots)

    def _begin(self) -> None:
        self._told: list[tuple[str, int, bool, int]] = []
        self._copies: list[list[npt.NDArray[Any]]] = [[] for _ in range(5)]
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------------------------------------------- events

    def take(self, events: PartEvents) -> JoinedParts:
        """Take in events, in order of arrival; returns the parts of which more is known now.

        An event that arrives before an earlier one counts as arriving with it.
        """
        self._begin()
        kinds, streams = events.kind.tolist(), events.stream.tolist()
        first, last, arrivals = events.first.tolist(), events.last.tolist(), events.arrival.tolist()
        scores, details = events.score.tolist(), events.detail.tolist()
        for i, kind in enumerate(kinds):
            if arrivals[i] > self._clock:
                self._clock = arrivals[i]
                if self._order and self._order[0][0] + self._wait <= self._clock:
                    self._close_due()
                if self._strays and self._strays[0][0] + self._wait <= self._clock:
                    self._drop_strays()
            if kind == _INTERVAL:
                self._interval(events.part[i], streams[i], first[i], last[i], details[i])
            elif kind == _IMAGE:
                self._image(events.part[i], streams[i], first[i], scores[i], details[i])
            else:
                self._row(streams[i], first[i], scores[i], details[i])
        return self._joined()

    def _slot(self, part: str, why: str | None) -> int | None:
        """Room of an open part, which is opened if need be; None where it was closed before."""
        slot = self._slots.get(part)
        if slot is not None:
            return slot
        if part in self._closed:
            return None
        if why is not None:
            self._counts[why] += 1
        if len(self._slots) >= self.settings.max_open:
            self._counts["closed_early"] += 1
            self._close(self._oldest())
        if not self._free:
            self._grow(min(2 * len(self._ids), max(self.settings.max_open, _FIRST_ROOM)))
        slot = self._free.pop()
        self._slots[part], self._ids[slot] = slot, part
        self._score[slot], self._version[slot], self._when[slot] = np.nan, -1, 0
        self._detail[slot], self._shared[slot], self._seen[slot], self._ended[slot] = -1, 1, False, _NEVER
        self._opened[slot], self._amendment[slot], self._time[slot] = self._clock, 0, 0
        self._missing_steps[slot], self._missing_views[slot] = self._steps, self._k - self._steps
        self._order.append((self._clock, slot, int(self._generation[slot])))
        if len(self._order) > 2 * len(self._slots) + _SLACK:
            self._sweep()
        return slot

    def _sweep(self) -> None:
        """Forget what the lists still hold of closed parts."""
        lives = self._lives
        self._order = deque(one for one in self._order if lives(one[1], one[2]))
        self._places = [[one for one in places if lives(one[1], one[2])] for places in self._places]
        self._waiting = [[one for one in waiting if lives(one[3], one[4])] for waiting in self._waiting]
        for waiting in self._waiting:
            heapq.heapify(waiting)

    def _interval(self, part: str | None, step: int, start: int, end: int, shared: int) -> None:
        assert part is not None
        slot = self._slot(part, None)
        if slot is None:
            self._counts["late_interval"] += 1
            return
        if self._ended[slot, step] != _NEVER:
            self._counts["repeated_interval"] += 1
            return
        self._ended[slot, step], self._shared[slot, step] = end, shared
        generation = int(self._generation[slot])
        self._ticket += 1
        rows = self._rows[step]
        views = self._views_after[step]
        for view in views:
            if self._seen[slot, view]:  # the image was there first
                self._travelled(view, int(self._when[slot, view]) - end)
        if views:
            insort(self._places[step], (end, slot, generation))
        if rows.newest >= end:
            self._resolve(step, start, end, slot)
        else:
            heapq.heappush(self._waiting[step], (end, self._ticket, start, slot, generation))
        if views and self._strays:
            self._try_strays(views, end)

    def _row(self, step: int, time: int, score: float, channel: int) -> None:
        self._rows[step].add(time, score, channel)
        waiting = self._waiting[step]
        while waiting and waiting[0][0] <= time:
            end, _, start, slot, generation = heapq.heappop(waiting)
            if self._lives(slot, generation):
                self._resolve(step, start, end, slot)

    def _resolve(self, step: int, start: int, end: int, slot: int) -> None:
        """All rows of an interval are there: the worst one speaks for it."""
        found = self._rows[step].worst(start, end)
        if found is None:
            self._counts["interval_without_rows"] += 1
        else:
            self._when[slot, step], self._score[slot, step], self._detail[slot, step] = found
            self._version[slot, step] = 0
        self._seen[slot, step] = True
        self._missing_steps[slot] -= 1
        self._told_of(slot, end)

    # ------------------------------------------------------------------------------------------------- images

    def _image(self, part: str | None, stream: int, captured: int, score: float, version: int) -> None:
        if part is not None:
            slot = self._slot(part, "unknown_part")
            if slot is None:
                self._counts["late_image"] += 1
                return
            after = self._after[stream]
            if after is not None and self._ended[slot, after] != _NEVER:
                self._travelled(stream, captured - int(self._ended[slot, after]))
            self._see(slot, stream, captured, score, version)
            return
        match = self._by_time(stream, captured)
        if match is None and self._after[stream] is None:
            self._counts["unmatched_image"] += 1
        elif match is None:
            self._strays.append((self._clock, stream, captured, score, version))
            if len(self._strays) > self.settings.max_open:
                self._strays.popleft()
                self._counts["unmatched_image"] += 1
        else:
            self._join_by_time(match, stream, captured, score, version)

    def _join_by_time(self, match: int, stream: int, captured: int, score: float, version: int) -> None:
        self._counts["joined_by_time" if match >= 0 else "ambiguous_image"] += 1
        if match >= 0:
            self._see(match, stream, captured, score, version)

    def _see(self, slot: int, stream: int, captured: int, score: float, version: int) -> None:
        if self._seen[slot, stream]:
            self._counts["image_again"] += 1  # inspected again, or corrected: the newest stands
        else:
            self._missing_views[slot] -= 1
            self._seen[slot, stream] = True
        self._score[slot, stream], self._version[slot, stream], self._when[slot, stream] = score, version, captured
        self._told_of(slot, captured)

    def _travelled(self, stream: int, delay: int) -> None:
        if self.delays[stream - self._steps].add(delay):
            self._counts["clock_offset"] += 1

    def _by_time(self, stream: int, captured: int) -> int | None:
        """Room of the part that an image without an id belongs to; None for none yet, -1 for several.

        It is the one that left the step before the camera a transport delay ago.
        """
        step, delay = self._after[stream], self.delays[stream - self._steps].delay
        if step is None or delay is None:
            return None
        left, tolerance = captured - delay, self._tolerance[stream]
        places = self._places[step]
        found = {
            slot
            for _, slot, generation in places[
                bisect_left(places, (left - tolerance, -1, -1)) : bisect_left(places, (left + tolerance + 1, -1, -1))
            ]
            if self._lives(slot, generation) and not self._seen[slot, stream]
        }
        if len(found) > 1:
            return -1
        return found.pop() if found else None

    def _try_strays(self, views: tuple[int, ...], end: int) -> None:
        """See whether images that waited belong to an interval that has come."""
        for _ in range(len(self._strays)):
            stray = self._strays.popleft()
            _, view, captured, score, version = stray
            delay = self.delays[view - self._steps].delay if view in views else None
            near = delay is not None and abs(captured - delay - end) <= self._tolerance[view]
            match = self._by_time(view, captured) if near else None
            if match is None:
                self._strays.append(stray)
            else:
                self._join_by_time(match, view, captured, score, version)

    def _drop_strays(self) -> None:
        while self._strays and self._strays[0][0] + self._wait <= self._clock:
            self._strays.popleft()
            self._counts["unmatched_image"] += 1

    # ------------------------------------------------------------------------------------------------- telling, closing

    def _lives(self, slot: int, generation: int) -> bool:
        return bool(self._generation[slot] == generation) and self._ids[slot] is not None

    def _told_of(self, slot: int, time: int) -> None:
        self._time[slot] = max(self._time[slot], time)
        steps, views = self._missing_steps[slot], self._missing_views[slot]
        if steps == 0 and views == 0:
            self._close(slot)
        elif (steps == 0 and self._steps > 0) or (views == 0 and self._k > self._steps):
            self._tell(slot, final=False)

    def _tell(self, slot: int, *, final: bool) -> None:
        self._amendment[slot] += 1
        part = self._ids[slot]
        assert part is not None
        self._told.append((part, int(self._amendment[slot]), final, int(self._time[slot])))
        stored: tuple[npt.NDArray[Any], ...] = (self._score, self._version, self._when, self._detail, self._shared)
        for copies, array in zip(self._copies, stored, strict=True):
            copies.append(array[slot].copy())

    def _close(self, slot: int) -> None:
        if self._missing_views[slot] > 0:
            self._counts["image_missing"] += 1
        if self._missing_steps[slot] > 0:
            self._counts["process_missing"] += 1
        self._counts["closed"] += 1
        self._tell(slot, final=True)
        part = self._ids[slot]
        assert part is not None
        del self._slots[part]
        self._ids[slot] = None
        self._generation[slot] += 1
        self._free.append(slot)
        self._closed[part] = None
        if len(self._closed) > _REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def _oldest(self) -> int:
        while True:
            _, slot, generation = self._order.popleft()
            if self._lives(slot, generation):
                return slot

    def _close_due(self) -> None:
        while self._order and self._order[0][0] + self._wait <= self._clock:
            _, slot, generation = self._order.popleft()
            if self._lives(slot, generation):
                self._close(slot)

    def _joined(self) -> JoinedParts:
        m = len(self._told)
        parts, amendments, finals, times = zip(*self._told, strict=True) if m else ((), (), (), ())

        def stacked(place: int, kind: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.stack(self._copies[place]) if m else np.zeros((0, self._k), kind)

        return JoinedParts(
            list(parts), np.array(amendments, np.int32), np.array(finals, np.bool_), np.array(times, np.int64),
            stacked(0, np.float64), stacked(1, np.int32), stacked(2, np.int64), stacked(3, np.int32),
            stacked(4, np.int32), self._counts,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- state

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that the next events depend on, as named arrays and JSON-ready values."""
        self._sweep()
        slots = np.array([slot for _, slot, _ in self._order], np.intp)
        number = {slot: place for place, slot in enumerate(slots.tolist())}
        arrays = {name: getattr(self, "_" + name)[slots] for name in (*_PER_STREAM, *_PER_PART)}
        for step, rows in enumerate(self._rows):
            arrays |= {f"rows{step}|{name}": array for name, array in rows.state().items()}
            places = sorted((end, number[slot]) for end, slot, _ in self._places[step])
            waiting = [
                (end, ticket, start, number[slot]) for end, ticket, start, slot, _ in sorted(self._waiting[step])
            ]
            arrays[f"places{step}"] = np.array(places, np.int64).reshape(-1, 2)
            arrays[f"waiting{step}"] = np.array(waiting, np.int64).reshape(-1, 4)
        extra = {
            "open": [self._ids[slot] for slot in slots.tolist()],
            "closed": list(self._closed),
            "strays": [list(stray) for stray in self._strays],
            "delays": [delay.state() for delay in self.delays],
            "ticket": self._ticket,
            "clock": self._clock,
        }
        return arrays, extra

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from a stored state.

        Raises
        ------
        SnapshotError
            It is of other streams, or of another version.
        """
        n = len(extra["open"])
        try:
            if arrays["score"].shape != (n, self._k) or len(extra["delays"]) != len(self.delays):
                raise SnapshotError(f"the stored parts have {arrays['score'].shape[1]} streams, the settings {self._k}")
            self._ids, self._free, self._slots = [], [], {}
            self._grow(max(n, _FIRST_ROOM))
            self._free = [slot for slot in self._free if slot >= n]
            for name in (*_PER_STREAM, *_PER_PART):
                getattr(self, "_" + name)[:n] = arrays[name]
            for step, rows in enumerate(self._rows):
                prefix = f"rows{step}|"
                rows.restore({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
                self._places[step] = [(end, slot, 0) for end, slot in arrays[f"places{step}"].tolist()]
                self._waiting[step] = [(*one, 0) for one in arrays[f"waiting{step}"].tolist()]
        except KeyError as error:
            raise SnapshotError(f"the stored parts lack {error}; they were made by another version") from error
        for slot, part in enumerate(extra["open"]):
            self._ids[slot], self._slots[part] = part, slot
        self._order = deque((int(self._opened[slot]), slot, 0) for slot in range(n))
        self._closed = dict.fromkeys(extra["closed"])
        self._strays = deque((a, b, c, float(d), e) for a, b, c, d, e in extra["strays"])
        for delay, stored in zip(self.delays, extra["delays"], strict=True):
            delay.restore(stored)
        self._ticket, self._clock = int(extra["ticket"]), int(extra["clock"])
