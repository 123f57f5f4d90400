"""What of a stream's rows is kept in history, and for how long."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field as Setting

from streams.kernels import NO_MINUTE, roll_up, select_delayed, select_notable
from tsad.delayed import DelayedScores
from tsad.engine import StreamOutput
from tsad.observations import ObservationBatch, ObservationStatus, RowFlag
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays
from tsad.settings import Duration, Frozen

__all__ = ["HistorySettings", "Keeper"]

_MINUTE_NS = 60_000_000_000
_DAY = 86_400.0


class HistorySettings(Frozen):
    """What is kept of a stream.

    ``notable`` (the default) keeps rows with a small p-value, alarms and their surroundings, and one-minute rollups of
    everything.
    """

    keep: Literal["notable", "full"] = "notable"
    p_value: float = Setting(default=0.001, gt=0, le=1, description="rows up to this p-value are notable")
    surroundings_rows: int = Setting(default=30, ge=0, description="rows before and after alarms that are kept")
    rollups: bool = Setting(default=True, description="one-minute rollups of every channel")
    retention: Duration = Setting(default=30 * _DAY, description="age in event time at which rows are deleted")


class Keeper:
    """Chooses the rows of one stream that go to history, and rolls all of them up.

    Parameters
    ----------
    settings
        What to keep.
    stream_id
        The stream's number in the history file.
    n_detectors
        Scores in a row.
    delays
        Rows after which more is said of a row.
    """

    def __init__(
        self, settings: HistorySettings, stream_id: int, n_detectors: int, delays: tuple[int, ...] = ()
    ) -> None:
        self._settings = settings
        self._stream_id = stream_id
        self._n_detectors = n_detectors
        self._rollups = SeriesArrays(
            {
                "minute": Field(np.int64, NO_MINUTE),
                "lowest_p": Field(np.float64, np.nan),
                "count": Field(np.int64, 0, (PER_CHANNEL,)),
                "low": Field(np.float32, 0, (PER_CHANNEL,)),
                "high": Field(np.float32, 0, (PER_CHANNEL,)),
                "total": Field(np.float64, 0, (PER_CHANNEL,)),
            },
        )
        slots = max(settings.surroundings_rows, 1)
        self._recent = SeriesArrays(
            {
                "whole": Field(np.int64, 0, (slots, 6)),
                "real": Field(np.float64, 0, (slots, n_detectors + 3)),
                "values": Field(np.float32, 0, (slots, PER_CHANNEL)),
                "head": Field(np.int64),
                "size": Field(np.int64),
                "after": Field(np.int64),
            },
        )

        self._later = SeriesArrays(
            {
                "marks": Field(np.bool_, 0, (max(delays, default=0) + 1,)),
                "seen": Field(np.int64),
                "after": Field(np.int64),
            }
        )

    def keep(self, output: StreamOutput, channel_counts: npt.NDArray[np.int32]) -> dict[str, pa.Table]:
        """Rows to append to the history, by table name.

        Parameters
        ----------
        output
            What the engine made of a batch.
        channel_counts
            int32[n_series], channels of every series.
        """
        tables = {}
        if len(output.rows):
            tables["samples"] = self._samples(output, channel_counts)
            if self._settings.rollups:
                tables["rollups"] = self._roll_up(output, channel_counts)
            if output.delayed is not None:
                tables["delayed_scores"] = self._delayed(output, output.delayed, len(channel_counts))
        late = output.set_aside_status == ObservationStatus.LATE
        late |= output.set_aside_status == ObservationStatus.CORRECTION
        if late.any():
            kept = self._late(output.set_aside.take(late), channel_counts)
            tables["samples"] = pa.concat_tables([tables["samples"], kept]) if "samples" in tables else kept
        return tables

    def _samples(self, output: StreamOutput, channel_counts: npt.NDArray[np.int32]) -> pa.Table:
        rows, calibrated = output.rows, output.calibrated
        whole = np.stack(
            [rows.times, rows.partitions, rows.offsets, rows.flags, output.reason, calibrated.on],
            axis=1,
            dtype=np.int64,
        )
        real = np.stack([*output.scores.values(), output.verdict, calibrated.p_values, calibrated.thresholds], axis=1)
        if self._settings.keep == "full":
            return self._table(rows.series, whole, real, rows.values, channel_counts)
        recent, width = self._recent, rows.values.shape[1]
        recent.reserve(len(channel_counts), width)
        parts = []
        start = 0
        capacity = len(rows) + 2 * recent.whole.shape[1] + 1
        while start < len(rows):
            out = (
                np.empty(capacity, np.int32),
                np.empty((capacity, 6), np.int64),
                np.empty((capacity, real.shape[1])),
                np.empty((capacity, recent.width), np.float32),
            )
            values = rows.values
            start, m = select_notable(
                start, rows.series, whole, real, values, calibrated.p_values, calibrated.on, self._settings.p_value,
                self._settings.surroundings_rows, recent.whole, recent.real, recent.values, recent.head, recent.size,
                recent.after, *out,
            )  # fmt: skip
            parts.append([array[:m] for array in out])
        series, whole, real, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        return self._table(series, whole, real, values, channel_counts)

    def _table(
        self,
        series: npt.NDArray[np.int32],
        whole: npt.NDArray[np.int64],
        real: npt.NDArray[np.float64],
        values: npt.NDArray[np.float32],
        channel_counts: npt.NDArray[np.int32],
    ) -> pa.Table:
        d = self._n_detectors
        return pa.table(
            {
                "stream_id": np.full(len(series), self._stream_id, np.int16),
                "series": series,
                "time": pa.array(np.ascontiguousarray(whole[:, 0]).view("datetime64[ns]")),
                "values": _lists(values, channel_counts[series]),
                "flags": whole[:, 3].astype(np.uint8),
                "scores": _lists(real[:, :d], np.full(len(series), d, np.int32)),
                "verdict": _nullable(real[:, d]),
                "p_value": _nullable(real[:, d + 1]),
                "threshold": _nullable(real[:, d + 2]),
                "alarm": whole[:, 5].astype(np.bool_),
                "reason": whole[:, 4].astype(np.uint8),
                "partition": whole[:, 1].astype(np.int32),
                "record_offset": np.ascontiguousarray(whole[:, 2]),
            },
        )

    def _delayed(self, output: StreamOutput, delayed: DelayedScores, n_series: int) -> pa.Table:
        keep = np.ones(len(delayed), np.bool_)
        if self._settings.keep != "full":
            a = self._later
            a.reserve(n_series)
            select_delayed(
                output.rows.series, output.calibrated.p_values, output.calibrated.on, self._settings.p_value,
                delayed.rows, delayed.delays, a.marks, a.seen, a.after, keep,
            )  # fmt: skip
        return pa.table(
            {
                "stream_id": np.full(np.count_nonzero(keep), self._stream_id, np.int16),
                "series": delayed.series[keep],
                "time": pa.array(delayed.times[keep].view("datetime64[ns]")),
                "delay": delayed.delays[keep],
                "score": _nullable(delayed.scores[keep]),
                "level": _nullable(delayed.levels[keep]),
            }
        )

    def _late(self, late: ObservationBatch, channel_counts: npt.NDArray[np.int32]) -> pa.Table:
        """Observations that came too late to be scored, as rows of their own."""
        n, width = len(late), int(channel_counts.max(initial=1))
        if late.channels is None:
            values = late.values
        else:
            values = np.full((n, width), np.nan, np.float32)
            values[np.arange(n), late.channels] = late.values[:, 0]
        zeros = np.zeros(n, np.int64)
        whole = np.stack([late.times, late.partitions, late.offsets, zeros + RowFlag.LATE, zeros, zeros], axis=1)
        return self._table(late.series, whole, np.full((n, self._n_detectors + 3), np.nan), values, channel_counts)

    def _roll_up(self, output: StreamOutput, channel_counts: npt.NDArray[np.int32]) -> pa.Table:
        rows, a = output.rows, self._rollups
        a.reserve(len(channel_counts), rows.values.shape[1])
        parts = []
        start = 0
        capacity = max(len(rows) // 8, 4 * a.width + 64)
        while start < len(rows):
            out = (
                np.empty(capacity, np.int32),
                np.empty(capacity, np.int64),
                np.empty(capacity, np.int16),
                np.empty(capacity, np.int32),
                np.empty(capacity, np.float32),
                np.empty(capacity, np.float32),
                np.empty(capacity, np.float64),
                np.empty(capacity, np.float64),
            )
            start, m = roll_up(
                start, rows.series, rows.times, rows.values, output.calibrated.p_values, channel_counts, _MINUTE_NS,
                a.minute, a.count, a.low, a.high, a.total, a.lowest_p, *out,
            )  # fmt: skip
            parts.append([array[:m] for array in out])
        series, minute, channel, count, low, high, mean, lowest_p = (
            np.concatenate(c) for c in zip(*parts, strict=True)
        )
        return pa.table(
            {
                "stream_id": np.full(len(series), self._stream_id, np.int16),
                "series": series,
                "channel": channel,
                "minute": pa.array(minute.view("datetime64[ns]")),
                "count": count,
                "low": low,
                "high": high,
                "mean": mean,
                "lowest_p_value": _nullable(lowest_p),
            },
        )

    def state(self, n_series: int) -> dict[str, npt.NDArray[Any]]:
        """Open minutes, the recent rows that an alarm would make worth keeping, and which of them are notable."""
        parts = {"rollups": self._rollups, "recent": self._recent, "later": self._later}
        return {
            f"{part}|{name}": array
            for part, arrays in parts.items()
            for name, array in arrays.state(n_series, fitted=False).items()
        }

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        for part, arrays in (("rollups", self._rollups), ("recent", self._recent), ("later", self._later)):
            arrays.restore({key.split("|")[1]: value for key, value in state.items() if key.startswith(f"{part}|")})


def _lists(values: npt.NDArray[Any], lengths: npt.NDArray[np.int32]) -> pa.Array:
    """Rows of a matrix as lists of the given lengths, NaN as null."""
    n, width = values.shape
    if n and (lengths == width).all():
        flat = np.ascontiguousarray(values).reshape(-1)
        offsets = np.arange(0, n * width + 1, width, dtype=np.int32)
    else:
        flat = values[np.arange(width) < lengths[:, None]]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, from_pandas=True))


def _nullable(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values), from_pandas=True)
