"""Parts: what inspections, genealogy and the process tell of them, joined and judged."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.history.database import StoredSnapshot
from connectors.sources.base import Position
from streams.arrival_merge import ArrivalMerge
from streams.configuration import InspectionStream, JoiningSettings
from streams.errors import StateMismatchError
from streams.lanes import LaneOutput
from streams.part_evidence import PartEvidenceBatch
from streams.snapshots import arrays_from_bytes, arrays_to_bytes
from tsad.alarms import AlarmTransition
from tsad.errors import SnapshotError
from tsad.fusion.part_engine import PartEngine, PartVerdicts
from tsad.fusion.part_events import PartEventKind, PartEvents

__all__ = ["PartLane"]

_FORMAT = 1
_FREE_TO_CHANGE = {
    "genealogy_stream", "process_stream", "hold", "wait", "max_open", "false_parts", "closer_imaging", "rule",
    "decide_by",
}  # fmt: skip


class PartLane:
    """Joins what the lanes of one daemon tell, judges parts, and keeps each amendment.

    It has no topic of its own. Its state is stored in every commit in which it was told something.

    Parameters
    ----------
    stream, settings
        The inspection stream, and how it is joined.
    stream_id
        Number of the stream of parts in the history file.
    """

    def __init__(self, stream: InspectionStream, settings: JoiningSettings, stream_id: int) -> None:
        self.name = stream.parts_name
        self.retentions: Mapping[int, float] = {stream_id: stream.retention}
        self._settings = settings
        self._stream_id = stream_id
        self._sources = (stream.name, settings.genealogy_stream, settings.process_stream)
        kinds = {PartEventKind.IMAGE} if settings.views else set()
        kinds |= {PartEventKind.INTERVAL, PartEventKind.ROW} if settings.steps else set()
        self._merge = ArrivalMerge(frozenset(kinds), round(settings.hold * 1e9))
        self._engine = PartEngine(self.name, settings)
        self._numbers = {name: number for number, name in enumerate(settings.streams)}
        text = json.dumps(
            {"format": _FORMAT, **settings.model_dump(mode="json", exclude=_FREE_TO_CHANGE)}, sort_keys=True
        )
        self._fingerprint = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self._changed = False

    def join(self, told: Mapping[str, PartEvidenceBatch | None]) -> LaneOutput:
        """Take in what lanes tell, by stream; returns what is known of parts now."""
        out = LaneOutput()
        for source in self._sources:
            evidence = told.get(source) if source is not None else None
            if evidence is None or not len(evidence):
                continue
            self._changed = True
            self._engine.channels |= {k: v for k, v in evidence.channels.items() if k in self._numbers}
            events, partitions = self._events(evidence, out)
            self._merge.add(events, partitions)
        events = self._merge.release()
        if not len(events):
            return out
        found = self._engine.process(events)
        out.counts += found.counts
        out.transitions = found.transitions
        out.rows = len(found.joined)
        if out.rows:
            out.tables["parts"] = self._rows(found)
        return out

    def _events(self, evidence: PartEvidenceBatch, out: LaneOutput) -> tuple[PartEvents, npt.NDArray[np.int32]]:
        stream = np.array([self._numbers.get(name, -1) for name in evidence.streams], np.int32)
        detail = np.array(evidence.details, np.int32)
        if evidence.kind is PartEventKind.IMAGE:
            detail = np.array(
                [
                    self._engine.model(name, model)
                    for name, model in zip(evidence.streams, evidence.models, strict=True)
                ],
                np.int32,
            )
        elif evidence.kind is PartEventKind.INTERVAL and (stream < 0).any():
            out.counts["other_station"] += int((stream < 0).sum())
        events = PartEvents(
            np.full(len(evidence), evidence.kind, np.uint8), np.array(evidence.arrivals, np.int64), stream,
            evidence.parts, np.array(evidence.first, np.int64), np.array(evidence.last, np.int64),
            np.array(evidence.scores, np.float64), detail,
        )  # fmt: skip
        known = np.flatnonzero(stream >= 0)
        return events.take(known), np.array(evidence.partitions, np.int32)[known]

    def _rows(self, found: PartVerdicts) -> pa.Table:
        joined, names, steps = found.joined, np.array(self._settings.streams), len(self._settings.steps)
        m = len(joined)
        began = found.began
        known = began >= 0
        place = np.maximum(began, 0)
        every = np.arange(m)
        channel = [
            self._engine.channel(str(names[s]), int(joined.detail[i, s])) if s >= 0 else None
            for i, s in enumerate(began.tolist())
        ]
        missing = np.isnan(joined.score)
        decided = found.decided_by
        return pa.table(
            {
                "stream_id": pa.array(np.full(m, self._stream_id), pa.int16()),
                "part_id": joined.part,
                "amendment": joined.amendment,
                "final": joined.final,
                "time": pa.array(joined.time.view("datetime64[ns]")),
                "scores": _lists(joined.score),
                "p_values": _lists(found.p_values),
                "p_value": pa.array(found.fused, from_pandas=True),
                "method": pa.array(found.method.tolist(), pa.string()),
                "decided_by": pa.array([str(names[s]) if s >= 0 else None for s in decided.tolist()], pa.string()),
                "flagged": found.flagged,
                "missing": pa.array([names[row].tolist() for row in missing], pa.list_(pa.string())),
                "station": pa.array([str(names[s]) if s >= 0 else None for s in began.tolist()], pa.string()),
                "channel": pa.array(channel, pa.string()),
                "began": pa.array(joined.when[every, place].view("datetime64[ns]"), mask=~known),
                "shared_by": pa.array(joined.shared[:, :steps].max(axis=1, initial=1), pa.int32()),
                "closer_imaging": found.closer,
            }
        )

    # ------------------------------------------------------------------------------------------------- state

    def committed_state(self, positions: dict[Position, int], *, whole: bool) -> list[StoredSnapshot]:  # noqa: ARG002
        """See `CommittedLane.committed_state`."""
        if not self._changed:
            return []
        engine, extra = self._engine.state()
        merge, held = self._merge.state()
        arrays = {f"engine|{name}": array for name, array in engine.items()}
        arrays |= {f"merge|{name}": array for name, array in merge.items()}
        extra = {"fingerprint": self._fingerprint, "engine": extra, "merge": held}
        extra["channels"] = {step: list(names) for step, names in self._engine.channels.items()}
        return [StoredSnapshot(self.name, "committed", positions, arrays_to_bytes(arrays), extra)]

    def committed(self) -> None:
        """See `CommittedLane.committed`."""
        self._changed = False

    def restore_committed(self, stored: Mapping[str, StoredSnapshot]) -> None:
        """See `CommittedLane.restore_committed`."""
        one = stored["committed"]
        if one.extra["fingerprint"] != self._fingerprint:
            raise StateMismatchError(
                f"stream {self.name!r}: the stored state was made with other settings of joining. Put the old settings "
                f"back, or start once with --relearn {self.name} to learn it anew from here on"
            )
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"engine": {}, "merge": {}}
        for key, array in arrays_from_bytes(one.arrays).items():
            part, _, name = key.partition("|")
            parts[part][name] = array
        try:
            self._engine.restore(parts["engine"], one.extra["engine"])
            self._merge.restore(parts["merge"], one.extra["merge"])
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"the stored state of {self.name!r} cannot be read: {error!r}") from error
        self._engine.channels = {step: tuple(names) for step, names in one.extra["channels"].items()}

    def relearn(self, stored: StoredSnapshot) -> list[AlarmTransition]:
        """Start anew; returns the closing of alarms that were open."""
        self._changed = True
        return self._engine.relearn(stored.extra["engine"])


def _lists(matrix: npt.NDArray[np.float64]) -> pa.Array:
    """Rows of a matrix as lists, with null for NaN."""
    m, width = matrix.shape
    offsets = pa.array(np.arange(0, m * width + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.reshape(-1), from_pandas=True))
