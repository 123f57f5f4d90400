"""Siblings: the final rows of one numeric stream, each asset judged against the others of its group."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from connectors.history.database import StoredSnapshot
from connectors.sources.base import Position
from streams.configuration import NumericStream
from streams.errors import StateMismatchError
from streams.lanes import LaneOutput
from streams.retention import HistorySettings, Keeper
from streams.scored_series import NewSeries, SeriesRows
from streams.snapshots import SNAPSHOT_FORMAT, arrays_from_bytes, arrays_to_bytes
from tsad.alarms import AlarmTransition
from tsad.errors import SnapshotError
from tsad.fleet.sibling_engine import SiblingEngine
from tsad.fleet.sibling_settings import SiblingStream
from tsad.observations import RowBatch
from tsad.series import SeriesTable

__all__ = ["SiblingLane"]

_FORMAT = 1
_FREE_TO_CHANGE = {"wait_rows"}
_MOST_NOTES = 64
_KEEPER = "keeper|"
_ROW = ("series", "times", "values", "flags", "partitions", "offsets")


class _Stored(NamedTuple):
    """What the history holds.

    Attributes
    ----------
    notes, noted
        Notes behind the whole state, and their bytes.
    number, size
        Of the whole state, and its bytes.
    fits, changes
        Assets learnt and changes by operators that it holds.
    """

    notes: int = 0
    noted: int = 0
    number: int = 0
    size: int = 0
    fits: int = -1
    changes: int = 0


class SiblingLane:
    """Judges the assets of a numeric stream against their siblings, and keeps what is said as a stream of its own.

    It has no topic and never reads again, for the order of rows from several partitions is not the same twice. Every
    transaction stores the rows that it was told, which are few; where the engines' states are stored, its whole state
    is stored too, and the rows before that are void. After a crash the rows since then are taken in again and write
    nothing.

    Parameters
    ----------
    source, stream
        The numeric stream, and the derived one.
    stream_id
        Number of the derived stream in the history file.
    """

    def __init__(self, source: NumericStream, stream: SiblingStream, stream_id: int) -> None:
        self.name = stream.name
        self.source = source.name
        self.engine = SiblingEngine(stream)
        history: HistorySettings = source.history
        self.retentions: Mapping[int, float] = {stream_id: history.retention}
        self._keeper = Keeper(history, stream_id, 1)
        self._series = NewSeries(stream_id, self.engine.table)
        settings = stream.siblings.model_dump(mode="json", exclude=_FREE_TO_CHANGE)
        settings["alarm"].pop("false_alarms_per_day")
        text = json.dumps(
            {"format": [SNAPSHOT_FORMAT, _FORMAT], "step": stream.step, "channels": stream.channels, **settings},
            sort_keys=True,
        )
        self._fingerprint = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        # Series of the source by number, as of a version of its table.
        self._numbers: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._columns: dict[int, npt.NDArray[np.int32]] = {}
        self._source_version = -1
        # What was told since the last commit, each time with the table where that is new.
        self._told: list[tuple[RowBatch, Mapping[str, Any] | None]] = []
        self._told_version = -1
        self._stored = _Stored()
        self._offered: _Stored | None = None
        self._whole_due = True

    @property
    def fit_count(self) -> int:
        """Assets that were learnt."""
        return self.engine.fit_count

    def new_series(self) -> SeriesRows:
        """Series that are new, or have new channels, since the last call, as rows of the history's table."""
        return self._series.since_last()

    def join(self, final: tuple[RowBatch, SeriesTable] | None) -> LaneOutput:
        """Take in rows that became final, with their series; returns what siblings say of steps that are closed."""
        out = LaneOutput()
        if final is None or not len(final[0]):
            return out
        rows = self._own(*final)
        table = self.engine.table
        self._told.append((rows, table.state() if table.version != self._told_version else None))
        self._told_version = table.version
        found = self.engine.process(rows)
        out.counts, out.transitions, out.fits, out.rows = found.counts, found.transitions, found.fits, len(found.rows)
        out.tables = self._keeper.keep(found, self.engine.table.channel_counts)
        return out

    def _own(self, rows: RowBatch, source: SeriesTable) -> RowBatch:
        """The rows by this stream's numbers: the source may be learnt anew, and number its series otherwise then."""
        if self._source_version != source.version:
            self._source_version = source.version
            table = self.engine.table
            self._numbers = np.array([table.add(asset) for asset in source.assets], np.int32)
            self._columns = {}
            for series, number in enumerate(self._numbers.tolist() if table.shared_channels is None else ()):
                names = source.channel_names(series)
                columns = np.array([table.add_channel(number, name) for name in names], np.int32)
                if (columns != np.arange(len(columns))).any():
                    self._columns[series] = columns
        values = rows.values
        if self._columns:
            values = np.full((len(rows), max(values.shape[1], self.engine.table.width)), np.nan, np.float32)
            values[:, : rows.values.shape[1]] = rows.values
            for series, columns in self._columns.items():
                own = np.flatnonzero(rows.series == series)
                values[own] = np.nan
                values[own[:, None], columns] = rows.values[own, : len(columns)]
        return replace(rows, series=self._numbers[rows.series], values=values, faults=None)

    # ------------------------------------------------------------------------------------------------- state

    def committed_state(self, positions: dict[Position, int], *, whole: bool) -> list[StoredSnapshot]:
        """See `CommittedLane.committed_state`."""
        before, engine = self._stored, self.engine
        self._offered = None
        # Notes beyond the size of the whole state are dearer than to store that again.
        if not (whole or self._whole_due or before.noted > before.size or before.notes >= _MOST_NOTES):
            if not self._told:
                return []
            note = self._note(positions)
            self._offered = before._replace(notes=before.notes + 1, noted=before.noted + len(note.arrays))
            return [note]
        if not (self._whole_due or self._told or before.notes or engine.changes != before.changes):
            return []
        number = before.number + 1
        arrays, extra = engine.state(fitted=False)
        arrays |= {_KEEPER + name: array for name, array in self._keeper.state(len(engine.table)).items()}
        extra |= {"fingerprint": self._fingerprint, "number": number}
        stored = [StoredSnapshot(self.name, "committed", positions, arrays_to_bytes(arrays), extra)]
        self._offered = _Stored(0, 0, number, len(stored[0].arrays), engine.fit_count, engine.changes)
        if engine.fit_count != before.fits:
            learnt = arrays_to_bytes(engine.state(fitted=True)[0])
            stored.append(StoredSnapshot(self.name, "fitted", positions, learnt, {}))
        return stored

    def _note(self, positions: dict[Position, int]) -> StoredSnapshot:
        """The rows that were told since the last commit."""
        batches = [rows for rows, _ in self._told]
        width = max(rows.values.shape[1] for rows in batches)
        arrays: dict[str, npt.NDArray[Any]] = {"cuts": np.cumsum([len(rows) for rows in batches])}
        for name in _ROW:
            parts = [getattr(rows, name) for rows in batches]
            if name == "values":
                parts = [np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=np.nan) for p in parts]
            arrays[name] = np.concatenate(parts)
        extra = {"number": self._stored.number, "tables": [table for _, table in self._told]}
        return StoredSnapshot(self.name, _note_kind(self._stored.notes), positions, arrays_to_bytes(arrays), extra)

    def committed(self) -> None:
        """See `CommittedLane.committed`."""
        if self._offered is not None:
            self._stored, self._offered = self._offered, None
            self._whole_due, self._told = False, []

    def restore_committed(self, stored: Mapping[str, StoredSnapshot]) -> None:
        """See `CommittedLane.restore_committed`."""
        one = stored["committed"]
        if one.extra["fingerprint"] != self._fingerprint:
            raise StateMismatchError(
                f"stream {self.name!r}: the stored state was learnt with other settings of siblings. Put the old "
                f"settings back, or start once with --relearn {self.name} to learn it anew from here on"
            )
        learnt = stored.get("fitted")
        arrays = arrays_from_bytes(one.arrays) | ({} if learnt is None else arrays_from_bytes(learnt.arrays))
        try:
            self._keeper.restore({k.removeprefix(_KEEPER): v for k, v in arrays.items() if k.startswith(_KEEPER)})
            self.engine.restore({k: v for k, v in arrays.items() if not k.startswith(_KEEPER)}, one.extra)
            number = int(one.extra["number"])
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"the stored state of {self.name!r} cannot be read: {error!r}") from error
        notes, noted = 0, 0
        fits, changes = self.engine.fit_count, self.engine.changes
        while (note := stored.get(_note_kind(notes))) is not None and note.extra["number"] == number:
            self._take_again(note)
            notes, noted = notes + 1, noted + len(note.arrays)
        self._stored = _Stored(notes, noted, number, len(one.arrays), fits, changes)
        self._whole_due = False
        self._series.known()

    def _take_again(self, note: StoredSnapshot) -> None:
        """Take in what was told in one commit; its output was written by that commit."""
        told = arrays_from_bytes(note.arrays)
        rows = RowBatch(**{name: told[name] for name in _ROW})
        start = 0
        for stop, table in zip(told["cuts"].tolist(), note.extra["tables"], strict=True):
            if table is not None:
                self._follow(table)
            found = self.engine.process(rows.take(np.arange(start, stop)))
            self._keeper.keep(found, self.engine.table.channel_counts)
            start = stop

    def _follow(self, state: Mapping[str, Any]) -> None:
        """Take in the series and channels that a stored table knows."""
        table = self.engine.table
        for series, asset in enumerate(state["assets"]):
            number = table.add(asset)
            for channel in state["channels"][series] if state["channels"] is not None else ():
                table.add_channel(number, channel)

    def relearn(self, stored: Mapping[str, StoredSnapshot]) -> list[AlarmTransition]:
        """Start anew, but let alarms count on; returns the closing of those that were open."""
        # Notes behind the old state are void as soon as another has been stored.
        self._stored = self._stored._replace(number=int(stored["committed"].extra["number"]))
        return self.engine.relearn(stored["committed"].extra)


def _note_kind(place: int) -> str:
    return f"told-{place}"
