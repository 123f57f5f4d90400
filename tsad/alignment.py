"""Event time: brings the observations of every series onto its own time grid, causally.

Nothing here depends on how observations were cut into batches or on what other series do, so a replay, a backtest
and the live daemon make the same rows.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.alignment import FIRST, LAST, MEAN, UNUSED, align
from tsad.observations import ObservationBatch, RowBatch
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["Aligner"]

_CELL_RULES = {"first": FIRST, "last": LAST, "mean": MEAN}


class Aligner:
    """Turns observations into rows: one row a series and grid cell, in order of event time per series.

    The grid of a series starts at its first observation; an observation belongs to the nearest cell, so jitter of up
    to half a step is harmless. A row becomes final when all its channels have reported (``cell="first"``) or when the
    series has moved on by more than `allowed_delay`. Values missing then are held from before for up to `hold` steps,
    never interpolated. A gap of up to `hold` whole cells is filled by held rows; a longer one is left out and the row
    behind it carries `RowFlag.BREAK`.

    Parameters
    ----------
    step
        Grid step in ns.
    hold
        For how many steps a value may stand in for a missing one.
    allowed_delay
        How far out of order observations may come, in ns.
    cell
        What counts when a channel reports more than once in a cell: ``first`` (rows are final at once), ``last`` or
        ``mean`` (rows are final when the next cell begins).
    max_ahead
        How far the event time may lie ahead of the arrival time, in ns, before the observation is set aside.
    """

    def __init__(
        self,
        step: int,
        *,
        hold: int = 3,
        allowed_delay: int = 0,
        cell: str = "first",
        max_ahead: int = 300_000_000_000,
    ) -> None:
        self.step = step
        self.hold = hold
        self.max_ahead = max_ahead
        self._rule = _CELL_RULES[cell]
        slots = 1 + -(-allowed_delay // step)
        self._arrays = SeriesArrays(
            {
                "started": Field(np.bool_),
                "phase": Field(np.int64),
                "head": Field(np.int64),
                "newest": Field(np.int64),
                "pending": Field(np.float64, 0, (slots, PER_CHANNEL)),
                "pending_count": Field(np.int32, 0, (slots, PER_CHANNEL)),
                "pending_time": Field(np.int64, UNUSED, (slots,)),
                "last_values": Field(np.float32, np.nan, (PER_CHANNEL,)),
                "last_cell": Field(np.int64, 0, (PER_CHANNEL,)),
                "last_row": Field(np.float32, np.nan, (PER_CHANNEL,)),
                "last_time": Field(np.int64, UNUSED),
                "last_row_cell": Field(np.int64, -1),
                "broken": Field(np.bool_),
            },
        )
        self._slots = slots

    def begin_broken(self, series: Iterable[int]) -> None:
        """Let the first row of each series say that the time before it is missing: what it was learnt from is past."""
        for number in series:
            self._arrays.reserve(number + 1)
            self._arrays.broken[number] = True

    def align(
        self,
        batch: ObservationBatch,
        channel_counts: npt.NDArray[np.int32],
    ) -> tuple[RowBatch, npt.NDArray[np.uint8]]:
        """Take in observations.

        Parameters
        ----------
        batch
            Observations in source order.
        channel_counts
            int32[n_series], how many channels every series has now.

        Returns
        -------
        rows, status
            The rows that became final, and uint8[n] of `ObservationStatus`.
        """
        n = len(batch)
        width = max(int(channel_counts.max(initial=1)), batch.values.shape[1] if batch.channels is None else 1)
        a = self._arrays
        a.reserve(len(channel_counts), width)
        status = np.zeros(n, dtype=np.uint8)
        channels = np.empty(0, dtype=np.int32) if batch.channels is None else batch.channels
        capacity = n + n // 4 + self._slots * (self.hold + 2) + 1
        parts: list[tuple[npt.NDArray[Any], ...]] = []
        start = 0
        while start < n:
            source = np.empty(capacity, dtype=np.int64)
            out = (
                np.empty(capacity, dtype=np.int32),
                np.empty(capacity, dtype=np.int64),
                np.empty((capacity, a.width), dtype=np.float32),
                np.empty(capacity, dtype=np.uint8),
            )
            start, m = align(
                start, batch.series, batch.times, batch.values, channels, batch.arrivals, self.max_ahead, self.step,
                self.hold, self._rule, channel_counts, a.started, a.phase, a.head, a.newest, a.pending,
                a.pending_count, a.pending_time, a.last_values, a.last_cell, a.last_row, a.last_time,
                a.last_row_cell, a.broken, status, source, *out,
            )  # fmt: skip
            parts.append((*(array[:m] for array in out), source[:m]))
        if not parts:
            parts.append(
                (
                    np.empty(0, np.int32),
                    np.empty(0, np.int64),
                    np.empty((0, a.width), np.float32),
                    np.empty(0, np.uint8),
                    np.empty(0, np.int64),
                ),
            )
        series, times, values, flags, source = (
            parts[0] if len(parts) == 1 else tuple(np.concatenate(column) for column in zip(*parts, strict=True))
        )
        rows = RowBatch(series, times, values, flags, batch.partitions[source], batch.offsets[source])
        return rows, status

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._arrays.restore(state)
