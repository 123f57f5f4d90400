"""Numeric series of a stream: the engine that scores them, and what of them is kept."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.retention import HistorySettings, Keeper
from tsad.alarms import AlarmTransition
from tsad.engine import StreamEngine, StreamOutput
from tsad.observations import ObservationBatch, RowBatch
from tsad.series import SeriesTable
from tsad.settings import StreamSettings

__all__ = ["NewSeries", "ScoredSeries", "SeriesRows"]

SeriesRows = list[tuple[int, int, str, tuple[str, ...]]]
"""``(stream id, series, asset, channels)``, as in the history's table."""

_KEEPER = "keeper|"


class NewSeries:
    """Tells which series of a table the history does not know yet.

    Parameters
    ----------
    stream_id
        Number of the stream in the history file.
    table
        Its series.
    """

    def __init__(self, stream_id: int, table: SeriesTable) -> None:
        self._stream_id = stream_id
        self._table = table
        self._channels: list[int] = []
        self._version = -1

    def since_last(self) -> SeriesRows:
        """Series that are new, or have new channels, since the last call, as rows of the history's table."""
        table = self._table
        fresh: SeriesRows = []
        if self._version == table.version:
            return fresh
        self._version = table.version
        for series in range(len(table)):
            count = table.channel_count(series)
            if series >= len(self._channels):
                self._channels.append(-1)
            if self._channels[series] != count:
                self._channels[series] = count
                fresh.append((self._stream_id, series, table.assets[series], table.channel_names(series)))
        return fresh

    def known(self) -> None:
        """The history knows all that the table holds, for it was restored."""
        self._channels = [self._table.channel_count(series) for series in range(len(self._table))]


class ScoredSeries:
    """Scores the numeric series of one stream and chooses what is kept of them.

    Parameters
    ----------
    settings, history
        What the stream is like, and what is kept of it.
    stream_id
        Its number in the history file.
    clock
        Seconds that only rise, for deadlines.
    """

    def __init__(
        self,
        settings: StreamSettings,
        history: HistorySettings,
        stream_id: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.engine = StreamEngine(settings, clock)
        self.stream_id = stream_id
        self._keeper = Keeper(history, stream_id, len(settings.detectors), self.engine.delays)
        self._new = NewSeries(stream_id, self.engine.table)

    def process(self, observations: ObservationBatch) -> tuple[StreamOutput, dict[str, Any]]:
        """Score; returns what the engine made of it, and the rows to keep by table."""
        result = self.engine.process(observations)
        tables = self._keeper.keep(result, self.engine.table.channel_counts)
        if result.late:
            tables["late_answers"] = pa.concat_tables(
                [self._late(name, result.rows.take(rows)) for name, rows in result.late.items()]
            )
        over = [one for one in result.transitions if one.kind == "alarm.cleared"] if self.engine.delays else []
        if over:
            tables["settled_episodes"] = self._to_be_redrawn(over)
        return result, tables

    def _to_be_redrawn(self, over: Sequence[AlarmTransition]) -> pa.Table:
        """Episodes that are over, for the time when the settled scores of their rows are there."""
        delay, step = self.engine.delays[-1], self.engine.settings.step_ns
        n = len(over)
        # Rows come up to half a step off the grid.
        before = delay * step + step // 2
        return pa.table(
            {
                "episode_id": [one.episode_id for one in over],
                "stream_id": np.full(n, self.stream_id, np.int16),
                "series": np.array([self.engine.table.find(one.asset) for one in over], np.int32),
                "delay": np.full(n, delay, np.int16),
                "oldest": pa.array([one.started - before for one in over], pa.timestamp("ns")),
                "ended": pa.array([one.time for one in over], pa.timestamp("ns")),
            }
        )

    def _late(self, detector: str, rows: RowBatch) -> pa.Table:
        return pa.table(
            {
                "stream_id": np.full(len(rows), self.stream_id, np.int16),
                "detector": [detector] * len(rows),
                "series": rows.series,
                "time": pa.array(rows.times.view("datetime64[ns]")),
            }
        )

    def new_series(self) -> SeriesRows:
        """Series that are new, or have new channels, since the last call, as rows of the history's table."""
        return self._new.since_last()

    def state(self, *, fitted: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """State of the engine, and with the streaming one the keeper's."""
        arrays, extra = self.engine.state(fitted=fitted)
        if not fitted:
            kept = self._keeper.state(len(self.engine.table))
            arrays = arrays | {_KEEPER + name: array for name, array in kept.items()}
        return arrays, extra

    def restore(self, arrays: dict[str, npt.NDArray[Any]], extra: dict[str, Any]) -> None:
        """Continue from the union of both states.

        Raises
        ------
        SnapshotError
            They are damaged, or of another version.
        """
        self._keeper.restore({k.removeprefix(_KEEPER): v for k, v in arrays.items() if k.startswith(_KEEPER)})
        self.engine.restore({k: v for k, v in arrays.items() if not k.startswith(_KEEPER)}, extra)
        self._new.known()
