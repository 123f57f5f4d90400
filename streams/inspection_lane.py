"""Image-inspection results: checked and kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from connectors.decoding import Rejected, decode_time
from connectors.sources.base import RecordBatch
from streams.configuration import InspectionStream
from streams.lanes import LaneOutput

__all__ = ["InspectionLane"]

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
        ("partition", pa.int32()),
        ("record_offset", pa.int64()),
    ]
)


class InspectionLane:
    """Keeps and counts image-inspection results.

    Parameters
    ----------
    settings, stream_id
        What the stream is like, and its number in the history file.
    """

    def __init__(self, settings: InspectionStream, stream_id: int) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retentions: Mapping[int, float] = {stream_id: settings.retention}
        self._settings = settings
        self._stream_id = stream_id

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
            out.tables["inspections"] = pa.Table.from_pylist(rows, schema=_INSPECTIONS)
        return out

    def _row(self, batch: RecordBatch, index: int, value: bytes | None) -> dict[str, Any]:
        if not value:
            raise ValueError("the record has no value")
        document = msgspec.json.decode(value)
        if not isinstance(document, dict):
            raise ValueError("the record is not a JSON object")  # noqa: TRY004 - bad data, not a bad call
        if self._settings.time not in document:
            raise ValueError(f"the field {self._settings.time!r} is missing")
        return {
            "stream_id": self._stream_id,
            "time": decode_time(document[self._settings.time], self._settings.time_unit),
            "payload": value.decode(),
            "partition": batch.partition,
            "record_offset": int(batch.offsets[index]),
            **_inspection(document),
        }


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
