"""Genealogy: which part was at which station from when to when."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from connectors.decoding import Rejected, decode_time
from connectors.sources.base import RecordBatch
from streams.configuration import GenealogyStream
from streams.lanes import LaneOutput
from streams.part_evidence import PartEvidenceBatch
from tsad.fusion.part_events import PartEventKind

__all__ = ["GenealogyLane"]

_MOST_PARTS = 10_000
_GENEALOGY = pa.schema(
    [
        ("stream_id", pa.int16()),
        ("part_id", pa.string()),
        ("station", pa.string()),
        ("started", pa.timestamp("ns")),
        ("time", pa.timestamp("ns")),
        ("shared_by", pa.int32()),
        ("partition", pa.int32()),
        ("record_offset", pa.int64()),
    ]
)


class GenealogyLane:
    """Checks and keeps intervals of parts at stations.

    A record is ``{"part_id": "p1", "station": "press", "started": …, "ended": …}``; ``part_ids`` in place of
    ``part_id`` names all parts of a batch, each of which gets the interval.

    Parameters
    ----------
    settings, stream_id
        What the stream is like, and its number in the history file.
    """

    def __init__(self, settings: GenealogyStream, stream_id: int) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retentions: Mapping[int, float] = {stream_id: settings.retention}
        self._settings = settings
        self._stream_id = stream_id

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Check and keep records."""
        out = LaneOutput()
        rows: list[dict[str, Any]] = []
        evidence = PartEvidenceBatch(PartEventKind.INTERVAL)
        for batch in batches:
            for index, value in enumerate(batch.values):
                try:
                    parts, station, interval = self._checked(batch, index, value)
                except _BadIntervalError as error:
                    out.rejected.append((batch, Rejected(index, error.reason, str(error))))
                    continue
                out.counts["accepted"] += 1
                evidence.add_interval(batch, index, parts, station, interval)
                rows += [
                    {
                        "stream_id": self._stream_id,
                        "part_id": part,
                        "station": station,
                        "started": interval[0],
                        "time": interval[1],
                        "shared_by": len(parts),
                        "partition": batch.partition,
                        "record_offset": int(batch.offsets[index]),
                    }
                    for part in parts
                ]
        out.rows = len(rows)
        if rows:
            out.tables["genealogy"] = pa.Table.from_pylist(rows, schema=_GENEALOGY)
            out.evidence = evidence
        return out

    def _checked(
        self, batch: RecordBatch, index: int, value: bytes | None
    ) -> tuple[tuple[str, ...], str, tuple[int, int]]:
        if not value:
            raise _BadIntervalError("empty_message", "the record has no value")
        try:
            document = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _BadIntervalError("malformed_json", str(error)) from error
        if not isinstance(document, dict):
            raise _BadIntervalError("wrong_type", "the record is not a JSON object")
        parts = document.get("part_ids", [document.get("part_id")])
        if not isinstance(parts, list) or not all(isinstance(part, str) and part for part in parts) or not parts:
            raise _BadIntervalError("missing_field", "neither 'part_id' nor 'part_ids' holds ids")
        if len(parts) > _MOST_PARTS:
            raise _BadIntervalError("too_many_parts", f"the batch has {len(parts)} parts, {_MOST_PARTS} are taken")
        station = document.get("station")
        if not isinstance(station, str) or not station:
            raise _BadIntervalError("missing_field", "the field 'station' is missing")
        try:
            started, ended = (
                decode_time(document.get(name), self._settings.time_unit) for name in ("started", "ended")
            )
        except (ValueError, OverflowError) as error:
            raise _BadIntervalError("bad_time", f"'started' or 'ended': {error}") from error
        if ended < started:
            raise _BadIntervalError("bad_time", "the interval ends before it starts")
        ahead = (ended - int(batch.arrivals[index])) / 1e9
        if int(batch.arrivals[index]) > 0 and ahead > self._settings.max_ahead:
            raise _BadIntervalError("time_in_future", f"the interval ends {ahead:.0f} s after its record arrived")
        return tuple(dict.fromkeys(parts)), station, (started, ended)


class _BadIntervalError(Exception):
    """A record that goes to the dead letters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
