"""Image-inspection results: checked, kept, and handed on to be joined."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.decoding import Rejected
from connectors.errors import BadInspectionError
from connectors.history.database import StoredSnapshot
from connectors.inspection.record import InspectionRecord, content_digest, decode_inspection, identity_digest
from connectors.sources.base import Position, RecordBatch
from streams.configuration import InspectionStream
from streams.lanes import LaneOutput
from streams.part_evidence import PartEvidenceBatch
from streams.snapshots import arrays_from_bytes, arrays_to_bytes
from tsad.fusion.part_events import PartEventKind

__all__ = ["InspectionCheck", "InspectionLane"]

_REMEMBERED = 10_000  # inspections whose repetition is recognised
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


class InspectionCheck:
    """Tells which records of a stream can be used: those that the HTTP door takes, and those that the lane keeps.

    Parameters
    ----------
    settings
        What the stream is like.
    """

    def __init__(self, settings: InspectionStream) -> None:
        self._settings = settings
        self._views = None if settings.joining is None else {(v.station, v.camera) for v in settings.joining.views}

    def record(self, value: bytes | None, arrival: int) -> tuple[InspectionRecord, int]:
        """Check one record that came at `arrival` (ns UTC; 0: nobody knows); returns it and its time of capture.

        Raises
        ------
        BadInspectionError
            It cannot be used.
        """
        record, captured = decode_inspection(value, self._settings.time, self._settings.time_unit)
        ahead = (captured - arrival) / 1e9
        if arrival > 0 and ahead > self._settings.max_ahead:
            raise BadInspectionError("time_in_future", f"the image was taken {ahead:.0f} s after it arrived")
        if self._views is not None:
            if record.station is None or record.camera is None:
                raise BadInspectionError("missing_camera", "'station' or 'camera' is missing; joining needs both")
            if (record.station, record.camera) not in self._views:
                raise BadInspectionError(
                    "unknown_camera", f"camera {record.camera!r} at {record.station!r} is not among joining.views"
                )
        return record, captured


class InspectionLane:
    """Checks, keeps and counts image-inspection results; what came already is recognised among the newest 10,000.

    The same id with the same content is passed over; with another content it is a correction, which is kept beside the
    first and takes its place in joining.

    Parameters
    ----------
    settings, stream_id
        What the stream is like, and its number in the history file.
    """

    def __init__(self, settings: InspectionStream, stream_id: int) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retentions: Mapping[int, float] = {stream_id: settings.retention}
        self._check = InspectionCheck(settings)
        self._joined = settings.joining is not None
        self._stream_id = stream_id
        self._known: dict[int, int] = {}
        self._changed = False

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Check and keep records."""
        out = LaneOutput()
        rows: list[dict[str, Any]] = []
        evidence = PartEvidenceBatch(PartEventKind.IMAGE)
        for batch in batches:
            for index, value in enumerate(batch.values):
                try:
                    record, captured = self._check.record(value, int(batch.arrivals[index]))
                    assert value is not None
                    fresh = self._is_new(record, value, out)
                except BadInspectionError as error:
                    out.rejected.append((batch, Rejected(index, error.reason, str(error))))
                    continue
                if fresh:
                    rows.append(self._row(batch, index, record, captured, value))
                    evidence.add_image(batch, index, record, captured)
        out.rows = len(rows)
        out.counts["accepted"] = len(rows)
        if rows:
            out.tables["inspections"] = pa.Table.from_pylist(rows, schema=_INSPECTIONS)
            if self._joined:
                out.evidence = evidence
        return out

    def _is_new(self, record: InspectionRecord, value: bytes, out: LaneOutput) -> bool:
        identity, content = identity_digest(record.inspection_id), content_digest(value)
        before = self._known.get(identity)
        if before == content:
            out.counts["duplicate"] += 1
            return False
        if before is not None:
            out.counts["correction"] += 1
        self._changed = True
        self._known[identity] = content
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return True

    def _row(
        self, batch: RecordBatch, index: int, record: InspectionRecord, captured: int, value: bytes
    ) -> dict[str, Any]:
        return {
            "stream_id": self._stream_id,
            "inspection_id": record.inspection_id,
            "part_id": record.part_id,
            "station": record.station,
            "camera": record.camera,
            "time": captured,
            "score": record.score,
            "payload": value.decode(),
            "partition": batch.partition,
            "record_offset": int(batch.offsets[index]),
        }

    # ------------------------------------------------------------------------------------------------- state

    def committed_state(self, positions: dict[Position, int], *, whole: bool) -> list[StoredSnapshot]:  # noqa: ARG002
        """See `CommittedLane.committed_state`."""
        if not self._changed:
            return []
        known: npt.NDArray[np.int64] = np.array(list(self._known.items()), np.int64).reshape(-1, 2)
        return [StoredSnapshot(self.name, "committed", positions, arrays_to_bytes({"known": known}), {})]

    def committed(self) -> None:
        """See `CommittedLane.committed`."""
        self._changed = False

    def restore_committed(self, stored: Mapping[str, StoredSnapshot]) -> None:
        """See `CommittedLane.restore_committed`."""
        self._known = dict(arrays_from_bytes(stored["committed"].arrays)["known"].tolist())
