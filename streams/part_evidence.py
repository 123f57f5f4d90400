"""What lanes tell of parts: images, intervals at stations, and scored rows of the process, before they are joined."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from connectors.inspection.record import InspectionRecord
from connectors.sources.base import RecordBatch
from tsad.fusion.part_events import PartEventKind
from tsad.observations import RowBatch
from tsad.stream_output import StreamOutput

__all__ = ["PartEvidenceBatch"]

_LEAST_P = 1e-300


class PartEvidenceBatch:
    """Events of one kind, with the names of their streams, cameras' models, and where they came from.

    Parameters
    ----------
    kind
        Of all events.
    """

    def __init__(self, kind: PartEventKind) -> None:
        self.kind = kind
        self.streams: list[str] = []
        self.parts: list[str | None] = []
        self.models: list[str] = []
        self.arrivals: list[int] = []
        self.partitions: list[int] = []
        self.first: list[int] = []
        self.last: list[int] = []
        self.scores: list[float] = []
        self.details: list[int] = []
        self.channels: dict[str, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.streams)

    def add_image(self, batch: RecordBatch, index: int, record: InspectionRecord, captured: int) -> None:
        """Add an image."""
        self._add(batch.partition, int(batch.arrivals[index]), f"{record.station}/{record.camera}", record.part_id)
        self.models.append("" if record.model is None else record.model.key)
        self._say(captured, captured, record.score, 0)

    def add_interval(
        self, batch: RecordBatch, index: int, parts: Sequence[str], station: str, interval: tuple[int, int]
    ) -> None:
        """Add the interval of one part, or of all the parts of a batch."""
        for part in parts:
            self._add(batch.partition, int(batch.arrivals[index]), station, part)
            self.models.append("")
            self._say(*interval, 0.0, len(parts))

    def add_rows(
        self,
        result: StreamOutput,
        arrivals: npt.NDArray[np.int64],
        assets: Sequence[str],
        channels: dict[str, tuple[str, ...]],
    ) -> None:
        """Add scored rows of a numeric stream; one without a p-value only moves its station's time on."""
        rows: RowBatch = result.rows
        m = len(rows)
        p = result.calibrated.p_values
        self.streams += [assets[s] for s in rows.series.tolist()]
        self.parts += [None] * m
        self.models += [""] * m
        self.arrivals += arrivals.tolist()
        self.partitions += rows.partitions.tolist()
        self.first += rows.times.tolist()
        self.last += rows.times.tolist()
        self.scores += (-np.log(np.maximum(p, _LEAST_P))).tolist()
        self.details += (np.full(m, -1) if result.leading is None else result.leading).tolist()
        self.channels |= channels

    def _add(self, partition: int, arrival: int, stream: str, part: str | None) -> None:
        self.partitions.append(partition)
        self.arrivals.append(arrival)
        self.streams.append(stream)
        self.parts.append(part)

    def _say(self, first: int, last: int, score: float, detail: int) -> None:
        self.first.append(first)
        self.last.append(last)
        self.scores.append(score)
        self.details.append(detail)
