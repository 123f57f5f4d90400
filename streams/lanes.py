"""What a stream does with the records of its topic: one lane for each kind of stream."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.decoding import NumericDecoder, Rejected
from connectors.history.database import StoredSnapshot
from connectors.sources.base import Position, RecordBatch
from streams.configuration import NumericStream
from streams.errors import StateMismatchError
from streams.models import adopt_models
from streams.part_evidence import PartEvidenceBatch
from streams.scored_series import ScoredSeries, SeriesRows
from streams.snapshots import arrays_from_bytes, arrays_to_bytes, settings_fingerprint
from tsad.alarms import AlarmTransition
from tsad.deadline import LateAnswers
from tsad.fusion.part_events import PartEventKind
from tsad.interventions import LearningEngine
from tsad.observations import ObservationBatch, ObservationStatus, RowBatch
from tsad.series import SeriesTable
from tsad.stream_output import FitReport

__all__ = ["CommittedLane", "Lane", "LaneOutput", "NumericLane", "StatefulLane", "StoredState"]


@dataclass(slots=True)
class LaneOutput:
    """What a lane made of some records: rows by table, dead letters, alarm transitions, fits, counts.

    `learnt_jointly` tells that something was learnt from several partitions at once. Which records it was learnt from
    depends on how they were interleaved, so the result is stored in the transaction of the first scores it gives.
    `evidence` is what the records say of parts, for lanes that join; `final` are the rows that became final, as
    detectors saw them, with their series.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    rejected: list[tuple[RecordBatch, Rejected]] = field(default_factory=list)
    transitions: list[AlarmTransition] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    learnt_jointly: bool = False
    evidence: PartEvidenceBatch | None = None
    final: tuple[RowBatch, SeriesTable] | None = None


class Lane(Protocol):
    """Handles the records of one stream."""

    name: str
    topic: str

    @property
    def retentions(self) -> Mapping[int, float]:
        """For how many seconds rows are kept, by stream number."""

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Take in records, in order per partition."""


class CommittedLane(Protocol):
    """A lane whose state is part of every transaction that its records lead to.

    So it never reads again: what it joins comes from several topics, and their order is not the same twice.
    """

    name: str

    def committed_state(self, positions: dict[Position, int], *, whole: bool) -> list[StoredSnapshot]:
        """The state to store, the main part of kind ``committed``; none if nothing has changed since it was stored.

        Parameters
        ----------
        positions
            Up to where records were taken in.
        whole
            The engines' states are stored too, so that what was only noted since the last time may go.
        """

    def committed(self) -> None:
        """It was stored."""

    def restore_committed(self, stored: Mapping[str, StoredSnapshot]) -> None:
        """Continue from a stored state, by kind.

        Raises
        ------
        StateMismatchError
            It was made with other settings.
        SnapshotError
            It is damaged, or of another version.
        """


class StatefulLane(Lane, Protocol):
    """A lane that learns, and so has a state to be continued from."""

    def engines(self) -> Mapping[str, LearningEngine]:
        """The engines that operators' words are for, by their streams' names."""

    @property
    def fit_count(self) -> int:
        """How much has been learnt: series, or models."""

    def drifting(self) -> int:
        """How many series score higher in quiet time than they did when they were learnt."""

    def drifting_assets(self) -> list[str]:
        """The assets of these series."""

    def new_series(self) -> SeriesRows:
        """Series that are new, or have new channels, since the last call, as rows of the history's table."""

    def snapshots(self, positions: dict[Position, int]) -> list[StoredSnapshot]:
        """The state to store: streaming always, models when something was learnt since the last call."""

    def store_models_again(self) -> None:
        """Put the models into the next snapshot too: the last one was not written."""

    def relearn(self, streaming: StoredSnapshot) -> list[AlarmTransition]:
        """Start anew, but let alarms count on; returns the closing of those that were open."""

    def restore(self, streaming: StoredSnapshot, fitted: StoredSnapshot) -> None:
        """Continue from a stored state.

        Raises
        ------
        StateMismatchError
            It was made with other settings.
        SnapshotError
            It is damaged, or of another version.
        """


class StoredState:
    """How a lane's state becomes snapshots, and what it must match to be continued from.

    Parameters
    ----------
    name, fingerprint
        Of the stream, and of the settings that its state depends on.
    """

    def __init__(self, name: str, fingerprint: str) -> None:
        self._name = name
        self._fingerprint = fingerprint
        self._stored_models = -1

    def snapshots(
        self,
        positions: dict[Position, int],
        models: int,
        streaming: tuple[dict[str, npt.NDArray[Any]], dict[str, Any]],
        fitted: Callable[[], dict[str, npt.NDArray[Any]]],
    ) -> list[StoredSnapshot]:
        """Snapshots of a state; `fitted` makes the models' arrays when they are needed."""
        extra = {"fingerprint": self._fingerprint}
        arrays, more = streaming
        stored = [StoredSnapshot(self._name, "streaming", positions, arrays_to_bytes(arrays), {**extra, **more})]
        if models != self._stored_models:
            self._stored_models = models
            stored.append(StoredSnapshot(self._name, "fitted", positions, arrays_to_bytes(fitted()), extra))
        return stored

    def store_models_again(self) -> None:
        """Put the models into the next snapshot too."""
        self._stored_models = -1

    def opened(
        self, streaming: StoredSnapshot, fitted: StoredSnapshot
    ) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """The union of both stored states.

        Raises
        ------
        StateMismatchError
            They were made with other settings.
        SnapshotError
            They are damaged.
        """
        if streaming.extra["fingerprint"] != self._fingerprint:
            raise StateMismatchError(
                f"stream {self._name!r}: the stored state was learnt with other settings. Put the old settings back, "
                f"or start once with --relearn {self._name} to learn it anew from here on",
            )
        return {**arrays_from_bytes(streaming.arrays), **arrays_from_bytes(fitted.arrays)}, dict(streaming.extra)

    def continued(self, models: int) -> None:
        """Note that the models are stored as they are."""
        self._stored_models = models


class NumericLane:
    """Decodes, scores and keeps one numeric stream.

    Parameters
    ----------
    settings, stream_id
        What the stream is like, and its number in the history file.
    tells
        Its scores are joined with parts.
    clock
        Seconds that only rise, for deadlines.
    """

    def __init__(
        self,
        settings: NumericStream,
        stream_id: int,
        *,
        tells: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self.retentions: Mapping[int, float] = {stream_id: settings.history.retention}
        self._series = ScoredSeries(settings, settings.history, stream_id, clock)
        self._decoder = NumericDecoder(settings.message, self._series.engine.table)
        self._stored = StoredState(settings.name, settings_fingerprint(settings))
        self._models = settings.models
        self._tells = self._series.engine.tell_leading = tells

    def adopt_models(self) -> list[str]:
        """Take over the models of assets that are not known yet; returns those.

        Raises
        ------
        SnapshotError
            A folder holds no model of this version.
        StateMismatchError
            A model was learnt with other settings.
        """
        return adopt_models(self._series.engine, self._models)

    def engines(self) -> Mapping[str, LearningEngine]:
        """See `StatefulLane.engines`."""
        return {self.name: self._series.engine}

    @property
    def fit_count(self) -> int:
        """Series that were learnt."""
        return self._series.engine.fit_count

    def drifting(self) -> int:
        """Series that score higher in quiet time than they did when they were learnt."""
        return self._series.engine.drifting()

    def drifting_assets(self) -> list[str]:
        """See `StatefulLane.drifting_assets`."""
        return self._series.engine.drifting_assets()

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Decode, score, and choose what to keep."""
        out = LaneOutput()
        decoded = []
        for batch in batches:
            one = self._decoder.decode(batch)
            out.rejected += [(batch, rejected) for rejected in one.rejected]
            out.counts.update(one.ignored)
            decoded.append(one.observations)
        observations = _concatenate(decoded, self._series.engine.table.width)
        if not len(observations):
            return out
        result, out.tables = self._series.process(observations)
        out.counts.update(result.counts)
        out.transitions = result.transitions
        out.fits = result.fits
        out.rows = len(result.rows)
        out.final = (result.rows if result.judged is None else result.judged, self._series.engine.table)
        for index in np.flatnonzero(result.set_aside_status == ObservationStatus.FUTURE):
            out.rejected.append(_future(batches, result.set_aside, int(index)))
        if self._tells and len(result.rows):
            table = self._series.engine.table
            channels = {asset: table.channel_names(series) for series, asset in enumerate(table.assets)}
            out.evidence = PartEvidenceBatch(PartEventKind.ROW)
            out.evidence.add_rows(result, _arrivals(batches, result.rows), table.assets, channels)
        return out

    def recall(self, known: LateAnswers) -> None:
        """Repeat what the clock decided of rows that are read again; call it after `restore`."""
        self._series.engine.recall(known)

    def new_series(self) -> SeriesRows:
        """See `StatefulLane.new_series`."""
        return self._series.new_series()

    def snapshots(self, positions: dict[Position, int]) -> list[StoredSnapshot]:
        """See `StatefulLane.snapshots`."""
        return self._stored.snapshots(
            positions,
            self._series.engine.model_count,
            self._series.state(fitted=False),
            lambda: self._series.state(fitted=True)[0],
        )

    def store_models_again(self) -> None:
        """See `StatefulLane.store_models_again`."""
        self._stored.store_models_again()

    def relearn(self, streaming: StoredSnapshot) -> list[AlarmTransition]:
        """See `StatefulLane.relearn`."""
        return self._series.engine.relearn(dict(streaming.extra))

    def restore(self, streaming: StoredSnapshot, fitted: StoredSnapshot) -> None:
        """See `StatefulLane.restore`."""
        self._series.restore(*self._stored.opened(streaming, fitted))
        self._stored.continued(self._series.engine.model_count)


def _arrivals(batches: Sequence[RecordBatch], rows: RowBatch) -> npt.NDArray[np.int64]:
    """int64[m], arrival of the record that made each row final."""
    found = np.zeros(len(rows), np.int64)
    for batch in batches:
        own = (rows.partitions == batch.partition) & (rows.offsets < batch.next_offset)
        if len(batch):
            own &= rows.offsets >= batch.offsets[0]
            found[own] = batch.arrivals[np.searchsorted(batch.offsets, rows.offsets[own])]
    return found


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
