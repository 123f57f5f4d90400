"""Categorical events: kept, scored one by one, and counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from connectors.event_decoding import DecodedEvents, EventDecoder
from connectors.history.database import StoredSnapshot
from connectors.sources.base import Position, RecordBatch
from streams.configuration import EventStream
from streams.lanes import LaneOutput, StoredState
from streams.retention import HistorySettings
from streams.scored_series import ScoredSeries, SeriesRows
from streams.snapshots import settings_fingerprint
from tsad.alarms import AlarmTransition
from tsad.events.engine import EventEngine
from tsad.events.rates import EventCounter
from tsad.events.records import EventOutput, EventRecords
from tsad.interventions import LearningEngine

__all__ = ["EventLane"]

_EVENTS, _RATES = "events|", "rates|"


class EventLane:
    """Decodes and keeps the events of one stream; scores them, and their number, where the settings ask for it.

    Parameters
    ----------
    settings
        What the stream is like.
    stream_ids
        Numbers in the history file by name, of the stream and of its rate.
    """

    def __init__(self, settings: EventStream, stream_ids: Mapping[str, int]) -> None:
        self.name = settings.name
        self.topic = settings.topic
        self._stream_id = stream_ids[settings.name]
        scoring, rate = settings.scoring, settings.rate
        attributes = scoring.attributes if scoring else ()
        self._decoder = EventDecoder(
            settings.time, settings.time_unit, attributes, max_ahead=round(settings.max_ahead * 1e9)
        )
        self._engine = EventEngine(settings.name, scoring) if scoring else None
        self._rates: ScoredSeries | None = None
        self.retentions: dict[int, float] = {self._stream_id: settings.retention}
        if rate is not None:
            rate_id = stream_ids[settings.rate_name]
            self.retentions[rate_id] = settings.retention
            # A row a step is little: all are kept, so that a rate can be looked at.
            history = HistorySettings(keep="full", rollups=False, retention=settings.retention)
            stream = rate.stream(settings.rate_name)
            self._rates = ScoredSeries(stream, history, rate_id)
            self._counter = EventCounter(settings.name, stream.step_ns, self._rates.engine.table)
        self._stored = StoredState(settings.name, settings_fingerprint(settings))

    def engines(self) -> Mapping[str, LearningEngine]:
        """The engine that operators' words are for, by its stream's name: that of the rate."""
        return {} if self._rates is None else {self._rates.engine.settings.name: self._rates.engine}

    @property
    def fit_count(self) -> int:
        """Models of events and series of rates that were learnt."""
        events = self._engine.fit_count if self._engine else 0
        return events + (self._rates.engine.fit_count if self._rates else 0)

    @property
    def _model_count(self) -> int:
        """Models that were learnt, those of the first time among them."""
        events = self._engine.fit_count if self._engine else 0
        return events + (self._rates.engine.model_count if self._rates else 0)

    def drifting(self) -> int:
        """Rates that score higher in quiet time than they did when they were learnt."""
        return self._rates.engine.drifting() if self._rates else 0

    def drifting_assets(self) -> list[str]:
        """See `StatefulLane.drifting_assets`."""
        return self._rates.engine.drifting_assets() if self._rates else []

    def handle(self, batches: Sequence[RecordBatch]) -> LaneOutput:
        """Decode, score, and keep all events."""
        out = LaneOutput()
        for batch in batches:
            decoded = self._decoder.decode(batch)
            out.rejected += [(batch, rejected) for rejected in decoded.rejected]
            n = len(decoded.times)
            out.rows += n
            out.counts["accepted"] += n
            if not n:
                continue
            partitions = np.full(n, batch.partition, np.int32)
            offsets = batch.offsets[decoded.kept]
            said = None
            if self._engine is not None:
                said = self._engine.process(EventRecords(decoded.times, decoded.columns, partitions, offsets))
                out.transitions += said.transitions
                out.fits += said.fits
                out.counts.update(said.counts)
                out.learnt_jointly |= any(fit.problem is None for fit in said.fits)
            _append(out.tables, "events", self._rows(decoded, partitions, offsets, said))
            if self._rates is not None:
                self._count(self._rates, decoded.times, partitions, offsets, out)
        return out

    def _count(
        self,
        rates: ScoredSeries,
        times: npt.NDArray[np.int64],
        partitions: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        out: LaneOutput,
    ) -> None:
        observations = self._counter.count(times, partitions, offsets)
        if not len(observations):
            return
        result, tables = rates.process(observations)
        out.transitions += result.transitions
        out.fits += result.fits
        out.counts["rate_rows"] += len(result.rows)
        for table, rows in tables.items():
            _append(out.tables, table, rows)

    def _rows(
        self,
        decoded: DecodedEvents,
        partitions: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
        said: EventOutput | None,
    ) -> pa.Table:
        n = len(decoded.times)
        columns: dict[str, Any] = {
            "stream_id": np.full(n, self._stream_id, np.int16),
            "time": pa.array(decoded.times.view("datetime64[ns]")),
            "payload": pa.array(decoded.payloads, pa.string()),
            "partition": partitions,
            "record_offset": offsets,
        }
        if said is not None:
            scores = np.stack(list(said.scores.values()), axis=1)
            scored = ~np.isnan(said.p_values)
            columns |= {
                "scores": _lists(scores, scored),
                "verdict": pa.array(said.verdict, from_pandas=True),
                "p_value": pa.array(said.p_values, from_pandas=True),
                "threshold": pa.array(said.thresholds, from_pandas=True),
                "odd": pa.array(said.odd, mask=~scored),
                "unseen": pa.array(said.unseen, mask=~scored),
            }  # fmt: skip
        return pa.table(columns)

    def new_series(self) -> SeriesRows:
        """See `StatefulLane.new_series`."""
        return self._rates.new_series() if self._rates else []

    def _state(self, *, fitted: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {}
        extra: dict[str, Any] = {}
        if self._engine is not None:
            own, extra["events"] = self._engine.state(fitted=fitted)
            arrays |= {_EVENTS + name: array for name, array in own.items()}
        if self._rates is not None:
            own, extra["rates"] = self._rates.state(fitted=fitted)
            arrays |= {_RATES + name: array for name, array in own.items()}
            extra["counter"] = self._counter.state()
        return arrays, extra

    def snapshots(self, positions: dict[Position, int]) -> list[StoredSnapshot]:
        """See `StatefulLane.snapshots`."""
        if self._engine is None and self._rates is None:
            return []
        return self._stored.snapshots(
            positions, self._model_count, self._state(fitted=False), lambda: self._state(fitted=True)[0]
        )

    def store_models_again(self) -> None:
        """See `StatefulLane.store_models_again`."""
        self._stored.store_models_again()

    def relearn(self, streaming: StoredSnapshot) -> list[AlarmTransition]:
        """See `StatefulLane.relearn`."""
        closed: list[AlarmTransition] = []
        if self._engine is not None and "events" in streaming.extra:
            closed += self._engine.relearn(streaming.extra["events"])
        if self._rates is not None and "rates" in streaming.extra:
            closed += self._rates.engine.relearn(streaming.extra["rates"])
        return closed

    def restore(self, streaming: StoredSnapshot, fitted: StoredSnapshot) -> None:
        """See `StatefulLane.restore`."""
        arrays, extra = self._stored.opened(streaming, fitted)

        def part(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

        if self._engine is not None:
            self._engine.restore(part(_EVENTS), extra["events"])
        if self._rates is not None:
            self._rates.restore(part(_RATES), extra["rates"])
            self._counter.restore(extra["counter"])
        self._stored.continued(self._model_count)


def _append(tables: dict[str, pa.Table], name: str, rows: pa.Table) -> None:
    tables[name] = pa.concat_tables([tables[name], rows]) if name in tables else rows


def _lists(scores: npt.NDArray[np.float64], there: npt.NDArray[np.bool_]) -> pa.Array:
    """Rows of a matrix as lists, null where nothing is there."""
    n, width = scores.shape
    offsets = pa.array(np.arange(0, n * width + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(scores.reshape(-1)), mask=pa.array(~there))
