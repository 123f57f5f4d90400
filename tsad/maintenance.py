"""Times in which nothing is learnt and alarms are suppressed by design: single windows, and weekly calendars."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from fnmatch import fnmatchcase
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from pydantic import AwareDatetime, Field, field_validator, model_validator

from tsad.setting_types import Frozen

__all__ = ["MaintenanceCover", "MaintenancePlan", "MaintenanceRule", "MaintenanceWindow", "WeeklyTimes"]

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE_NS = 60 * 10**9
_QUARTER_NS = 15 * _MINUTE_NS  # zones change their offset at full quarters of an hour
_DAY_NS = 1440 * _MINUTE_NS
_WEEK_NS = 7 * _DAY_NS
_EPOCH_WEEKDAY_NS = 3 * _DAY_NS  # the epoch was a Thursday
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WeeklyTimes(Frozen):
    """The same time on some days of every week, in a zone's own time."""

    days: tuple[Day, ...] = Field(default=_DAYS, min_length=1)
    begins: time_of_day = Field(description="such as 22:00")
    ends: time_of_day = Field(description="at or before `begins`: on the next day")
    time_zone: str = Field(default="UTC", description="an IANA name, such as Europe/Berlin")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"time_zone {value!r} is not known; give an IANA name such as Europe/Berlin") from error
        return value

    def ends_after(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """int64[n], when the window that covers each time ends (ns UTC); 0 where none does."""
        zone = ZoneInfo(self.time_zone)
        quarters, where = np.unique(times // _QUARTER_NS, return_inverse=True)
        offsets = np.array(
            [
                ((_EPOCH + timedelta(minutes=15 * int(q))).astimezone(zone).utcoffset() or timedelta())
                // timedelta(seconds=1)
                for q in quarters
            ],
            np.int64,
        )
        local = (times + offsets[where] * 10**9 + _EPOCH_WEEKDAY_NS) % _WEEK_NS
        begins, ends = _since_midnight(self.begins), _since_midnight(self.ends)
        length = ends - begins if ends > begins else ends - begins + _DAY_NS
        found = np.zeros(len(times), np.int64)
        for day in self.days:
            since = (local - (_DAYS.index(day) * _DAY_NS + begins)) % _WEEK_NS
            inside = since < length
            found[inside] = np.maximum(found[inside], times[inside] + length - since[inside])
        return found


class MaintenanceRule(Frozen):
    """A time of maintenance that is known beforehand: a single window, or a weekly calendar."""

    streams: tuple[str, ...] = Field(default=("*",), description="names, with * and ?")
    assets: tuple[str, ...] = Field(default=("*",), description="names, with * and ?")
    reason: str = Field(min_length=1, description="why; it stands with every alarm that is suppressed")
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    weekly: WeeklyTimes | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        single = self.start is not None and self.end is not None
        if (self.start is None) != (self.end is None) or single == (self.weekly is not None):
            raise ValueError("give either start and end, or weekly")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end.isoformat()} is not after start {self.start.isoformat()}")
        return self

    def ends_after(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """int64[n], when the maintenance that covers each time ends (ns UTC); 0 where there is none."""
        if self.weekly is not None:
            return self.weekly.ends_after(times)
        assert self.start is not None
        assert self.end is not None
        start, end = _nanoseconds(self.start), _nanoseconds(self.end)
        return np.where((times >= start) & (times < end), end, 0)

    def concerns(self, stream: str, asset: str) -> bool:
        """Whether it is about an asset."""
        return _fits(stream, self.streams) and _fits(asset, self.assets)


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """A window that somebody declared while the service ran; times in ns UTC, `end` not included."""

    number: int
    assets: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class MaintenanceCover:
    """Why an alarm is suppressed, and until when (ns UTC)."""

    reason: str
    until: int


class MaintenancePlan:
    """All maintenance of one stream.

    Parameters
    ----------
    stream
        Its name.
    rules
        What is known beforehand.

    Examples
    --------
    >>> nights = MaintenanceRule(reason="cleaning", weekly={"days": ["mon"], "begins": "22:00", "ends": "02:00"})
    >>> plan = MaintenancePlan("pumps", [nights])
    >>> monday_late = int(datetime(2025, 1, 6, 23, tzinfo=UTC).timestamp()) * 10**9
    >>> plan.cover("pump-1", monday_late).reason, plan.cover("pump-1", monday_late + 4 * 3600 * 10**9)
    ('cleaning', None)
    """

    def __init__(self, stream: str, rules: Sequence[MaintenanceRule] = ()) -> None:
        self._stream = stream
        self._rules = [rule for rule in rules if _fits(stream, rule.streams)]
        self.windows: dict[int, MaintenanceWindow] = {}

    def __bool__(self) -> bool:
        return bool(self._rules or self.windows)

    def add(self, window: MaintenanceWindow) -> None:
        """Take in a window that somebody declared."""
        self.windows[window.number] = window

    def end(self, number: int, at: int) -> None:
        """Let a declared window end at a time, if that is earlier."""
        window = self.windows[number]
        kept = MaintenanceWindow(
            number, window.assets, window.start, max(window.start, min(window.end, at)), window.reason
        )
        self.windows[number] = kept

    def cover(self, asset: str, time: int) -> MaintenanceCover | None:
        """The maintenance of an asset at a time; of several the one that ends last."""
        found: MaintenanceCover | None = None
        at = np.array([time], np.int64)
        covers = [
            MaintenanceCover(rule.reason, int(rule.ends_after(at)[0]))
            for rule in self._rules
            if _fits(asset, rule.assets)
        ]
        covers += [
            MaintenanceCover(one.reason, one.end)
            for one in self.windows.values()
            if one.start <= time < one.end and fnmatchcase(asset, one.assets)
        ]
        for one in covers:
            if one.until and (found is None or one.until > found.until):
                found = one
        return found

    def mark(
        self, assets: Sequence[str], series: npt.NDArray[np.int32], times: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """bool[m], which rows lie in maintenance.

        Parameters
        ----------
        assets
            By series number.
        series, times
            int32[m] and int64[m] (ns UTC).
        """
        marked = np.zeros(len(times), np.bool_)
        numbers = np.unique(series)

        def of(fits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
            return np.isin(series, numbers[fits])

        for rule in self._rules:
            own = of(np.array([_fits(assets[s], rule.assets) for s in numbers], np.bool_))
            if own.any():
                marked[own] |= rule.ends_after(times[own]) > 0
        for one in self.windows.values():
            own = (times >= one.start) & (times < one.end)
            if own.any():
                marked |= own & of(np.array([fnmatchcase(assets[s], one.assets) for s in numbers], np.bool_))
        return marked

    def state(self) -> list[dict[str, Any]]:
        """The declared windows, as JSON-ready values."""
        return [asdict(one) for one in self.windows.values()]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Continue from a stored state; what is known beforehand comes from the settings."""
        self.windows = {one["number"]: MaintenanceWindow(**one) for one in state}


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, one) for one in patterns)


def _since_midnight(at: time_of_day) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 10**9


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1_000
