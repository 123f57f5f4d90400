"""What a stream does with the records of its topic: one lane for each kind of stream."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.alarm_event import alarm_event, encode_event
from connectors.decoding import NumericDecoder, Rejected, decode_time
from connectors.history.database import StoredSnapshot
from connectors.sources.base import Position, RecordBatch
from streams.configuration import EventStream, InspectionStream, NumericStream
from streams.errors import StateMismatchError
from streams.retention import Keeper
from streams.snapshots import arrays_from_bytes, arrays_to_bytes, settings_fingerprint
from tsad.alarms import AlarmTransition
from tsad.engine import FitReport, StreamEngine
from tsad.observations import ObservationBatch, ObservationStatus

__all__ = ["EventLane", "Lane", "LaneOutput", "NumericLane", "encode_transition"]


@dataclass(slots=True)
class LaneOutput:
    """What a lane made of some records: rows by table, dead letters, alarm transitions, fits, counts."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    rejected: list[tuple[RecordBatch, Rejected]] = field(default_factory=list)
    transitions: list[AlarmTransition] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0


class Lane(Protocol):
    """Handles the records of one stream."""

    name: str
    topic: str
    retention: float

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Take in records, in order per partition."""


class NumericLane:
    """Decodes, scores and keeps one numeric stream."""

    def __init__(self, settings: NumericStream, stream_id: int) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retention = settings.history.retention
        self.stream_id = stream_id
        self._settings = settings
        self.engine = StreamEngine(settings)
        self._decoder = NumericDecoder(settings.message, self.engine.table)
        self._keeper = Keeper(settings.history, self.stream_id, len(settings.detectors))
        self._known_channels: list[int] = []
        self._known_version = -1
        self._stored_fits = -1

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Decode, score, and choose what to keep."""
        out = LaneOutput()
        decoded = []
        for batch in batches:
            one = self._decoder.decode(batch)
            out.rejected += [(batch, rejected) for rejected in one.rejected]
            out.counts.update(one.ignored)
            decoded.append(one.observations)
        observations = _concatenate(decoded, self.engine.table.width)
        if not len(observations):
            return out
        result = self.engine.process(observations)
        out.counts.update(result.counts)
        out.tables = self._keeper.keep(result, self.engine.table.channel_counts)
        out.transitions = result.transitions
        out.fits = result.fits
        out.rows = len(result.rows)
        for index in np.flatnonzero(result.set_aside_status == ObservationStatus.FUTURE):
            out.rejected.append(_future(batches, result.set_aside, int(index)))
        return out

    def new_series(self) -> list[tuple[int, int, str, tuple[str, ...]]]:
        """Series that are new, or have new channels, since the last call, as rows of the history's table."""
        table = self.engine.table
        fresh: list[tuple[int, int, str, tuple[str, ...]]] = []
        if self._known_version == table.version:
            return fresh
        self._known_version = table.version
        for series in range(len(table)):
            count = table.channel_count(series)
            if series >= len(self._known_channels):
                self._known_channels.append(-1)
            if self._known_channels[series] != count:
                self._known_channels[series] = count
                fresh.append((self.stream_id, series, table.assets[series], table.channel_names(series)))
        return fresh

    def snapshots(self, positions: dict[Position, int]) -> list[StoredSnapshot]:
        """The state to store: streaming always, models when a series was fitted since the last call."""
        extra = {"fingerprint": settings_fingerprint(self._settings)}
        arrays, more = self.engine.state(fitted=False)
        kept = {f"keeper|{name}": array for name, array in self._keeper.state(len(self.engine.table)).items()}
        stored = [
            StoredSnapshot(self.name, "streaming", positions, arrays_to_bytes({**arrays, **kept}), {**extra, **more})
        ]
        if self.engine.fit_count != self._stored_fits:
            self._stored_fits = self.engine.fit_count
            arrays, _ = self.engine.state(fitted=True)
            stored.append(StoredSnapshot(self.name, "fitted", positions, arrays_to_bytes(arrays), extra))
        return stored

    def store_models_again(self) -> None:
        """Put the models into the next snapshot too: the last one was not written."""
        self._stored_fits = -1

    def relearn(self, streaming: StoredSnapshot) -> list[AlarmTransition]:
        """Start anew, but let alarms count on; returns the closing of those that were open."""
        return self.engine.relearn(dict(streaming.extra))

    def restore(self, streaming: StoredSnapshot, fitted: StoredSnapshot) -> None:
        """Continue from a stored state.

        Raises
        ------
        StateMismatchError
            It was made with other settings.
        SnapshotError
            It is damaged, or of another version.
        """
        if streaming.extra["fingerprint"] != settings_fingerprint(self._settings):
            raise StateMismatchError(
                f"stream {self.name!r}: the stored state was learnt with other settings. Put the old settings back, or "
                f"start once with --relearn {self.name} to learn it anew from here on",
            )
        arrays = arrays_from_bytes(streaming.arrays)
        self._keeper.restore({k.removeprefix("keeper|"): v for k, v in arrays.items() if k.startswith("keeper|")})
        own = {k: v for k, v in arrays.items() if not k.startswith("keeper|")}
        self.engine.restore({**own, **arrays_from_bytes(fitted.arrays)}, dict(streaming.extra))
        self._stored_fits = self.engine.fit_count
        self._known_channels = [self.engine.table.channel_count(s) for s in range(len(self.engine.table))]


class EventLane:
    """Keeps and counts categorical events, or image-inspection results."""

    def __init__(self, settings: EventStream | InspectionStream, stream_id: int) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retention = settings.retention
        self._settings = settings
        self._stream_id = stream_id
        self._inspections = isinstance(settings, InspectionStream)

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Check and keep records."""
        out = LaneOutput()
        rows: list[dict[str, Any]] = []
        for batch in batches:
            for index, value in enumerate(batch.values):
                try:
                    rows.append(self._row(batch, index, value))
                except (ValueError, RecursionError) as error:
                    malformed = isinstance(error, msgspec.DecodeError | RecursionError)
                    reason = "malformed_json" if malformed else "wrong_type"
                    out.rejected.append((batch, Rejected(index, reason, str(error))))
        out.rows = len(rows)
        out.counts["accepted"] = len(rows)
        if rows:
            table = pa.Table.from_pylist(rows, schema=_INSPECTIONS if self._inspections else _EVENTS)
            out.tables["inspections" if self._inspections else "events"] = table
        return out

    def _row(self, batch: RecordBatch, index: int, value: bytes | None) -> dict[str, Any]:
        if not value:
            raise ValueError("the record has no value")
        document = msgspec.json.decode(value)
        if not isinstance(document, dict):
            raise ValueError("the record is not a JSON object")  # noqa: TRY004 - bad data, not a bad call
        if self._settings.time not in document:
            raise ValueError(f"the field {self._settings.time!r} is missing")
        row = {
            "stream_id": self._stream_id,
            "time": decode_time(document[self._settings.time], self._settings.time_unit),
            "payload": value.decode(),
            "partition": batch.partition,
            "record_offset": int(batch.offsets[index]),
        }
        if self._inspections:
            row |= _inspection(document)
        return row


_POSITION_FIELDS = [("partition", pa.int32()), ("record_offset", pa.int64())]
_EVENTS = pa.schema(
    [("stream_id", pa.int16()), ("time", pa.timestamp("ns")), ("payload", pa.string()), *_POSITION_FIELDS]
)
_INSPECTIONS = pa.schema(
    [
        ("stream_id", pa.int16()),
        ("inspection_id", pa.string()),
        ("part_id", pa.string()),
        ("station", pa.string()),
        ("camera", pa.string()),
        ("time", pa.timestamp("ns")),
        ("score", pa.float64()),
        ("payload", pa.string()),
        *_POSITION_FIELDS,
    ]
)


def _inspection(document: dict[str, Any]) -> dict[str, Any]:
    """Columns of an inspection result.

    Raises
    ------
    ValueError
        It has no id, or no score.
    """
    identity = document.get("inspection_id")
    if not isinstance(identity, str) or not identity:
        raise ValueError("the field 'inspection_id' is missing")
    score = document.get("raw_score", document.get("pred_score"))
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ValueError("neither 'raw_score' nor 'pred_score' is a number")  # noqa: TRY004 - bad data, not a bad call
    names = ("part_id", "station", "camera")
    texts = {name: None if document.get(name) is None else str(document[name]) for name in names}
    return {"inspection_id": identity, "score": float(score), **texts}


def encode_transition(transition: AlarmTransition) -> bytes:
    """The body of a transition's webhook."""
    return encode_event(alarm_event(transition))


def _future(batches: Sequence[RecordBatch], aside: ObservationBatch, index: int) -> tuple[RecordBatch, Rejected]:
    """The dead letter of an observation from the future."""
    partition, offset = int(aside.partitions[index]), int(aside.offsets[index])
    batch = next(b for b in batches if b.partition == partition and len(b) and b.offsets[0] <= offset < b.next_offset)
    ahead = (int(aside.times[index]) - int(aside.arrivals[index])) / 1e9
    where = int(np.searchsorted(batch.offsets, offset))
    return batch, Rejected(where, "time_in_future", f"the event time lies {ahead:.0f} s ahead of the arrival")


def _concatenate(batches: list[ObservationBatch], width: int) -> ObservationBatch:
    """One batch of many, wide values padded to the same width."""
    if len(batches) == 1:
        return batches[0]

    def joined(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(batch, name) for batch in batches])

    wide = batches[0].channels is None
    values = [batch.values for batch in batches]
    if wide:
        width = max(width, *(v.shape[1] for v in values))
        values = [
            np.pad(v, ((0, 0), (0, width - v.shape[1])), constant_values=np.nan) if v.shape[1] < width else v
            for v in values
        ]
    return ObservationBatch(
        series=joined("series"),
        times=joined("times"),
        values=np.concatenate(values),
        channels=None if wide else joined("channels"),
        partitions=joined("partitions"),
        offsets=joined("offsets"),
        arrivals=joined("arrivals"),
    )
