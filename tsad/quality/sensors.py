"""Broken sensors: told apart from odd processes row by row, masked, and raised as alarms of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.sensors import (
    COUNTER_RULE,
    HIGH_RULE,
    JUMP_RULE,
    LOOP_RULE,
    LOW_RULE,
    RATE_RULE,
    STUCK_RULE,
    UNIT_RULE,
    declared,
    judge,
)
from tsad.observations import RowBatch, RowFlag
from tsad.quality.faults import UNIT_CHANGES, Fault, SensorFault
from tsad.quality.profile import ChannelProfile, learn_channel
from tsad.quality.settings import SensorSettings
from tsad.series import SeriesTable
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["FaultChange", "SensorWatch"]

_RULES = {
    "stuck": STUCK_RULE,
    "spike": JUMP_RULE,
    "dropout": JUMP_RULE,
    "unit_change": UNIT_RULE,
    "saturated": LOW_RULE | HIGH_RULE,
    "counter_reset": COUNTER_RULE,
}
_FACTORS = np.array([factor for _, factor, _ in UNIT_CHANGES])
_OFFSETS = np.array([offset for _, _, offset in UNIT_CHANGES])


@dataclass(frozen=True, slots=True)
class FaultChange:
    """A fault that began to be told, or is over; `row` is the index of the row that showed it."""

    row: int
    series: int
    fault: SensorFault
    raised: bool


def _channel_fields(**fills: tuple[npt.DTypeLike, float]) -> dict[str, Field]:
    return {name: Field(dtype, fill, (PER_CHANNEL,)) for name, (dtype, fill) in fills.items()}


class SensorWatch:
    """Judges the sensors of a stream from their rows, causally and row by row.

    What is declared (current loops, counters) is judged from the first row on, the rest from the row after the
    training part. The cost is the same for every row and channel, and what is said of a series depends on the order
    of its rows alone.

    Parameters
    ----------
    settings
        What is looked for.
    table
        The stream's series.
    """

    def __init__(self, settings: SensorSettings, table: SeriesTable) -> None:
        self.settings = settings
        self.table = table
        types: dict[type, npt.DTypeLike] = {int: np.int32, float: np.float64}
        learnt = {
            one.name: Field(types[one.type], 0, (PER_CHANNEL,), fitted=True)  # type: ignore[index]
            for one in fields(ChannelProfile)
        }
        nan, i4, i8, f4, f8, u1 = np.nan, np.int32, np.int64, np.float32, np.float64, np.uint8
        self._learnt = SeriesArrays(
            {
                **learnt,
                **_channel_fields(
                    last=(f4, nan), run=(i4, 0), run_since=(i8, 0), good=(f4, nan), gone=(i4, 0), away=(i4, 0),
                    away_since=(i8, 0), away_last=(f8, 0), away_sum=(f8, 0), away_squares=(f8, 0), maps=(i4, 0),
                    end_run=(i4, 0), end_since=(i8, 0), fault=(u1, 0), since=(i8, 0), quiet=(i4, 0), unit=(i4, -1),
                ),
            }
        )  # fmt: skip
        self._declared = SeriesArrays(
            _channel_fields(last=(f8, nan), count=(i4, 0), fault=(u1, 0), since=(i8, 0), quiet=(i4, 0))
        )
        self._rules = np.zeros((0, 0), np.int32)
        self._rules_version = -1

    def learn(self, series: int, train: npt.NDArray[np.float32]) -> None:
        """Learn what is usual of the sensors of `series` from its training part, float32[t, c]."""
        a = self._learnt
        a.reserve(series + 1, self.table.width)
        for c, name in enumerate(self.table.channel_names(series)):
            if c >= train.shape[1]:
                break
            profile = learn_channel(train[:, c], name, self.settings)
            for one in fields(ChannelProfile):
                getattr(a, one.name)[series, c] = getattr(profile, one.name)
            # The last row of the training part is what the next one is compared with.
            known = np.flatnonzero(~np.isnan(train[:, c]))
            if len(known):
                a.last[series, c] = a.good[series, c] = train[known[-1], c]
                a.gone[series, c] = len(train) - 1 - known[-1]
                a.run[series, c] = 1

    def judges(self, series: int, channel: int, kind: str) -> bool:
        """Whether the training part allows to look for faults of `kind` (a `Fault` in small letters) in a channel."""
        self._learnt.reserve(series + 1, channel + 1)
        return bool(self._learnt.rules[series, channel] & _RULES[kind])

    def judge_declared(self, rows: RowBatch) -> tuple[RowBatch, list[FaultChange]]:
        """Judge current loops and counters of all `rows`; returns the rows with faults masked, counters as rates."""
        rows = self._own(rows)
        rules = self._declared_rules(rows)
        if not rules.any() or not len(rows):
            return rows, []
        a = self._declared
        a.reserve(len(self.table), rows.values.shape[1])
        changes: list[FaultChange] = []
        start = 0
        while start < len(rows):
            where, channel, fault, since, unit, raised = self._out(len(rows))
            unit[:] = -1
            start, m = declared(
                start, rows.series, rows.times, rows.values, rows.flags, rules, self.table.channel_counts,
                self.settings.clear_rows, a.last, a.count, a.fault, a.since, a.quiet, rows.faults, where,
                channel, fault, since, raised,
            )  # fmt: skip
            changes += self._changes(rows, (where, channel, fault, since, unit, raised), m)
        self._flag(rows)
        return rows, changes

    def judge(self, rows: RowBatch, where: npt.NDArray[np.intp]) -> list[FaultChange]:
        """Judge the rows at `where`, of series that are learnt; faults are masked in place.

        Parameters
        ----------
        rows
            What `judge_declared` returned.
        where
            Rising.
        """
        if not len(where):
            return []
        a = self._learnt
        a.reserve(len(self.table), rows.values.shape[1])
        changes: list[FaultChange] = []
        start = 0
        while start < len(where):
            out = self._out(len(where))
            start, m = judge(
                start, where, rows.series, rows.times, rows.values, rows.flags, self.table.channel_counts,
                self.settings.clear_rows, self.settings.spike_rows, _FACTORS, _OFFSETS, a.rules, a.resolution,
                a.stuck_after, a.usual_step, a.limit, a.step_rms, a.lowest, a.highest, a.low_end, a.high_end,
                a.low_after, a.high_after, a.last, a.run, a.run_since, a.good, a.gone, a.away, a.away_since,
                a.away_last, a.away_sum, a.away_squares, a.maps, a.end_run, a.end_since, a.fault, a.since, a.quiet,
                a.unit, rows.faults, *out,
            )  # fmt: skip
            changes += self._changes(rows, out, m)
        self._flag(rows)
        return changes

    def _own(self, rows: RowBatch) -> RowBatch:
        """The rows with values of their own, so that history keeps what the sensors said; flags are shared."""
        return RowBatch(
            rows.series, rows.times, rows.values.copy(), rows.flags, rows.partitions, rows.offsets,
            np.zeros(rows.values.shape, np.uint8),
        )  # fmt: skip

    def _declared_rules(self, rows: RowBatch) -> npt.NDArray[np.int32]:
        shape = (len(self.table), rows.values.shape[1])
        if self._rules_version != self.table.version or self._rules.shape != shape:
            self._rules = np.zeros(shape, np.int32)
            for series in range(len(self.table)):
                for column, name in enumerate(self.table.channel_names(series)):
                    if name in self.settings.current_loop:
                        self._rules[series, column] = LOOP_RULE
                    elif name in self.settings.counters:
                        self._rules[series, column] = RATE_RULE
            self._rules_version = self.table.version
        return self._rules

    def _out(self, n_rows: int) -> tuple[npt.NDArray[Any], ...]:
        """Room for events: row, channel, fault, since, unit, raised; the loops are called again when it is full."""
        room = 4 * self.table.width + n_rows // 4
        types = (np.int64, np.int32, np.uint8, np.int64, np.int32, np.bool_)
        return tuple(np.empty(room, dtype) for dtype in types)

    def _changes(self, rows: RowBatch, out: Sequence[npt.NDArray[Any]], m: int) -> list[FaultChange]:
        found = []
        for row, channel, fault, since, unit, raised in zip(*(column[:m].tolist() for column in out), strict=True):
            series = int(rows.series[row])
            name = self.table.channel_names(series)[channel]
            said = UNIT_CHANGES[unit][0] if fault == Fault.UNIT_CHANGE else None
            found.append(FaultChange(row, series, SensorFault(name, Fault(fault).name.lower(), since, said), raised))
        return found

    @staticmethod
    def _flag(rows: RowBatch) -> None:
        assert rows.faults is not None
        rows.flags[rows.faults.any(axis=1)] |= np.uint8(RowFlag.MASKED)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""
        state = {f"learnt/{name}": array for name, array in self._learnt.state(n_series, fitted=fitted).items()}
        if not fitted:
            own = self._declared.state(n_series, fitted=False)
            state |= {f"declared/{name}": array for name, array in own.items()}
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        for prefix, arrays in (("learnt/", self._learnt), ("declared/", self._declared)):
            arrays.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
