"""The daemon's heart: records in, one transaction after another out. One thread drives it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

import numpy as np
import structlog

from connectors.errors import HistoryError
from connectors.history.database import Commit, History
from connectors.sources.base import Gap, Position, RecordBatch
from connectors.webhooks.endpoint import Endpoint
from streams.annunciator import Annunciator
from streams.commit_tables import dead_letter_table, fits_table
from streams.configuration import Configuration, EventStream, GenealogyStream, InspectionStream, NumericStream, Stream
from streams.errors import StateMismatchError
from streams.event_lane import EventLane
from streams.genealogy_lane import GenealogyLane
from streams.inspection_lane import InspectionLane
from streams.intervention_desk import InterventionDesk
from streams.lanes import CommittedLane, Lane, LaneOutput, NumericLane, StatefulLane
from streams.part_evidence import PartEvidenceBatch
from streams.part_lane import PartLane
from streams.sibling_lane import SiblingLane
from streams.statistics import Statistics
from tsad.alarms import AlarmTransition
from tsad.deadline import LateAnswers
from tsad.interventions import LearningEngine
from tsad.maintenance import MaintenancePlan
from tsad.observations import RowBatch
from tsad.series import SeriesTable

__all__ = ["Pipeline"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Restored:
    """Where to begin reading, and up to where outputs exist already."""

    resume: dict[Position, int]
    committed: dict[Position, int]


class Pipeline:
    """Decodes, scores and commits.

    The state of the engines is stored less often than results are. After a crash it stands at older positions than
    the results do: records in between are read again, bring the engines up to date, and write nothing.

    Parameters
    ----------
    configuration
        What to do.
    history
        The open history file.
    endpoints
        Receivers of alarm events.
    now
        The wall clock, for the outbox's times alone.
    clock
        Seconds that only rise, for the deadlines of networks.
    is_stopping
        Whether learning is to be broken off.
    relearn
        Streams whose stored state is dropped.

    Raises
    ------
    StateMismatchError
        Stored state, or a model to be taken over, was made with other settings.
    SnapshotError
        A model to be taken over cannot be read.
    """

    def __init__(
        self,
        configuration: Configuration,
        history: History,
        *,
        endpoints: Sequence[Endpoint] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
        is_stopping: Callable[[], bool] = lambda: False,
        relearn: Collection[str] = (),
    ) -> None:
        self._configuration = configuration
        self._history = history
        numbers = history.stream_ids(configuration.scored_by())
        self.desk = InterventionDesk(
            history, list(configuration.scored_by()), configuration.alarms.maintenance,
            configuration.alarms.kept_changes,
        )  # fmt: skip
        self.annunciator = Annunciator(
            history, endpoints, limits=configuration.alarms.limits(), settings=configuration.alarms, now=now,
            desk=self.desk,
        )  # fmt: skip
        self.statistics = Statistics()
        joined = {
            stream.joining.process_stream
            for stream in configuration.streams
            if isinstance(stream, InspectionStream) and stream.joining is not None
        }
        self._lanes: list[Lane] = [
            _lane(stream, numbers, tells=stream.name in joined, clock=clock) for stream in configuration.streams
        ]
        self._part_lanes = [
            PartLane(stream, stream.joining, numbers[stream.parts_name])
            for stream in configuration.streams
            if isinstance(stream, InspectionStream) and stream.joining is not None
        ]
        self._sibling_lanes = [
            SiblingLane(stream, siblings, numbers[siblings.name])
            for stream in configuration.numeric_streams
            if (siblings := stream.sibling_stream()) is not None
        ]
        inspections = [lane for lane in self._lanes if isinstance(lane, InspectionLane)]
        self._with_commits: list[CommittedLane] = [*inspections, *self._part_lanes, *self._sibling_lanes]
        self._stateful: list[StatefulLane] = [lane for lane in self._lanes if isinstance(lane, NumericLane | EventLane)]
        self.engines: dict[str, LearningEngine] = {
            name: engine for lane in self._stateful for name, engine in lane.engines().items()
        }
        self.engines |= {lane.name: lane.engine for lane in self._sibling_lanes}
        for name, engine in self.engines.items():
            engine.maintenance = MaintenancePlan(name, configuration.alarms.maintenance)
            engine.is_stopping = is_stopping
        self._continued: set[str] = set()
        self._commit = Commit()
        self.desk.catch_up(self.annunciator.at())
        restored = self._restore(relearn)
        self._committed = restored.committed
        self.positions: dict[Position, int] = dict(restored.resume)
        self._snapshot_due = self._unsaved = True
        # Partitions that the stored states know where to read on in: of any other nothing may be committed without one.
        self._begun = set(restored.committed)

    # ------------------------------------------------------------------------------------------------ restoring

    def _restore(self, relearn: Collection[str]) -> _Restored:
        committed = self._history.positions()
        stored = self._history.snapshots()
        late = self._history.late_answers()
        derived: list[PartLane | SiblingLane] = [*self._part_lanes, *self._sibling_lanes]
        unknown = sorted(set(relearn) - {lane.name for lane in (*self._lanes, *derived)})
        if unknown:
            raise StateMismatchError(f"--relearn {unknown[0]}: the configuration has no such stream")
        resume = dict(committed)
        for lane in self._stateful:
            streaming = stored.get((lane.name, "streaming"))
            fitted = stored.get((lane.name, "fitted"))
            if streaming is None or fitted is None:
                continue
            if lane.name in relearn:
                self.desk.relearnt(lane.engines(), self._commit)
                for transition in lane.relearn(streaming):
                    self._tell(transition)
                continue
            lane.restore(streaming, fitted)
            if isinstance(lane, NumericLane):
                before = {partition: offset for (topic, partition), offset in committed.items() if topic == lane.topic}
                lane.recall(LateAnswers(before, late.get(lane.name, {})))
            self._continued.add(lane.name)
            self.statistics.fitted[lane.name] = lane.fit_count
            self.statistics.drifting[lane.name] = lane.drifting()
            for position, offset in streaming.positions.items():
                if position[0] == lane.topic:
                    resume[position] = min(resume.get(position, offset), offset)
        for with_commits in self._with_commits:
            state = {kind: one for (name, kind), one in stored.items() if name == with_commits.name}
            if "committed" not in state:
                continue
            if isinstance(with_commits, PartLane) and with_commits.name in relearn:
                for transition in with_commits.relearn(state["committed"]):
                    self._tell(transition)
                continue
            if isinstance(with_commits, SiblingLane) and {with_commits.name, with_commits.source} & set(relearn):
                self.desk.relearnt([with_commits.name], self._commit)
                for transition in with_commits.relearn(state):
                    self._tell(transition)
                continue
            with_commits.restore_committed(state)
            if isinstance(with_commits, SiblingLane):
                self.statistics.fitted[with_commits.name] = with_commits.fit_count
        for numeric in (lane for lane in self._lanes if isinstance(lane, NumericLane)):
            for asset in numeric.adopt_models():
                _log.info("a model was taken over", stream=numeric.name, asset=asset)
                self.statistics.fitted[numeric.name] = numeric.fit_count
        return _Restored(resume, committed)

    # ------------------------------------------------------------------------------------------------ records

    @property
    def pending_records(self) -> int:
        """Records taken in since the last commit."""
        return self._commit.records

    def handle(self, batches: Sequence[RecordBatch]) -> None:
        """Take in records, in order per partition. Nothing is visible outside before `commit`.

        Raises
        ------
        StoppedError
            `is_stopping` said so. Nothing may be committed after that: the records are read again at the next start.
        """
        again, fresh = [], []
        for batch in batches:
            old, new = batch.split(self._committed.get((batch.topic, batch.partition), 0))
            if len(old):
                again.append(old)
            if len(new):
                fresh.append(new)
            self.positions[batch.topic, batch.partition] = batch.next_offset
        if again:
            self._run(again, mute=True)
        if fresh:
            self._run(fresh, mute=False)

    def _run(self, batches: Sequence[RecordBatch], *, mute: bool) -> None:
        told: dict[str, PartEvidenceBatch | None] = {}
        final: dict[str, tuple[RowBatch, SeriesTable] | None] = {}
        for lane in self._lanes:
            own = [batch for batch in batches if batch.topic == lane.topic]
            if not own or (mute and lane.name not in self._continued):
                continue
            output = lane.handle(own)
            self._snapshot_due |= output.learnt_jointly
            if mute:
                continue
            records = sum(len(batch) for batch in own)
            self._take(lane, output, records)
            told[lane.name], final[lane.name] = output.evidence, output.final
        # Read again, records say nothing new of parts and siblings: their state is that of the last commit already.
        if not mute:
            for part_lane in self._part_lanes:
                self._take(part_lane, part_lane.join(told), 0)
            for sibling_lane in self._sibling_lanes:
                self._take(sibling_lane, sibling_lane.join(final.get(sibling_lane.source)), 0)
            for batch in batches:
                self._commit.records += len(batch)
                self._commit.positions[batch.topic, batch.partition] = batch.next_offset

    def _take(self, lane: Lane | PartLane | SiblingLane, output: LaneOutput, records: int) -> None:
        commit = self._commit
        counts = output.counts
        counts["records"] += records
        counts["rows"] += output.rows
        for batch, rejected in output.rejected:
            counts[f"dead_letter_{rejected.reason}"] += 1
            commit.append("dead_letters", dead_letter_table(batch, rejected.index, rejected.reason, rejected.detail))
        for name, count in counts.items():
            if count:
                commit.counts[lane.name, name] += count
        for table, rows in output.tables.items():
            commit.append(table, rows)
        if output.fits:
            commit.append("fits", fits_table(lane.name, output.fits))
        for fit in output.fits:
            if fit.problem:
                _log.warning("a series could not be learnt yet", stream=lane.name, asset=fit.asset, problem=fit.problem)
        for transition in output.transitions:
            self._tell(transition)
        if isinstance(lane, NumericLane | EventLane):
            commit.series += lane.new_series()
            self.statistics.fitted[lane.name] = lane.fit_count
            self.statistics.drifting[lane.name] = lane.drifting()
        elif isinstance(lane, SiblingLane):
            commit.series += lane.new_series()
            self.statistics.fitted[lane.name] = lane.fit_count

    def drifting_assets(self) -> dict[str, list[str]]:
        """Assets that score higher in quiet time than they did when they were learnt, by stream."""
        return {lane.name: lane.drifting_assets() for lane in self._stateful}

    def _tell(self, transition: AlarmTransition) -> None:
        self.desk.follow(transition, self.annunciator.at())
        self._commit.transitions.append(transition)
        self._commit.counts[transition.stream, transition.kind] += 1

    def note_gaps(self, gaps: Sequence[Gap]) -> None:
        """Enter records that were gone before they could be read into the dead letters.

        Call it before the records that follow a gap are handled.
        """
        for gap in gaps:
            position = (gap.topic, gap.partition)
            self.positions[position] = gap.found
            if gap.found < gap.expected:
                # The topic was made anew: its offsets mean other records now, and all of them are new.
                self._committed[position] = gap.found
                detail = f"the topic was made anew: offset {gap.expected} was next, reading goes on at {gap.found}"
                lost = 0
            else:
                # What was committed already was only to be read again for the engines' sake, and is not lost.
                first = max(gap.expected, self._committed.get(position, gap.expected))
                lost = gap.found - first
                if lost <= 0:
                    _log.warning(
                        "records to read again have expired; engines go on without them",
                        topic=gap.topic,
                        partition=gap.partition,
                        expected=gap.expected,
                        found=gap.found,
                    )
                    continue
                detail = f"offsets {first} to {gap.found - 1} were deleted at the source before they were read"
            batch = RecordBatch(
                gap.topic, gap.partition, [None], np.array([gap.expected], np.int64), np.zeros(1, np.int64)
            )
            self._commit.append("dead_letters", dead_letter_table(batch, 0, "records_expired", detail))
            self._commit.positions[position] = gap.found
            for lane in self._lanes:
                if lane.topic == gap.topic:
                    self._commit.counts[lane.name, "dead_letter_records_expired"] += lost

    # ------------------------------------------------------------------------------------------------ committing

    def commit(self, *, snapshot: bool) -> bool:
        """Write what has come together; returns whether there was anything.

        Parameters
        ----------
        snapshot
            Store the engines' state too. The first commit always does, the first one of a partition, and one after a
            model was learnt jointly.

        Raises
        ------
        HistoryError
            The transaction failed; everything is kept, and the next call tries again.
        """
        commit = self._commit
        reading_again = any(
            self.positions.get(position, offset) < offset for position, offset in self._committed.items()
        )
        new_partition = not self.positions.keys() <= self._begun
        if new_partition and reading_again:
            return False
        snapshot = (snapshot or self._snapshot_due or new_partition) and not reading_again
        positions = dict(self.positions)
        if not reading_again and self.desk.heed(self.engines, positions):
            # What was heeded is stored with the state behind it, so that no record is read again across it.
            snapshot = self._unsaved = True
            self.desk.put_into(commit)
        nothing_new = not commit.records and not commit.positions
        if nothing_new and not (snapshot and self._unsaved):
            return False
        commit.snapshots = [
            stored for lane in self._with_commits for stored in lane.committed_state(positions, whole=snapshot)
        ]
        if snapshot:
            commit.snapshots += [stored for lane in self._stateful for stored in lane.snapshots(positions)]
        for name, engine in self.engines.items():
            self.annunciator.reached(name, engine.newest)
        try:
            with self.annunciator.lock:
                quiet = self.annunciator.take(commit.transitions, commit)
                self._history.commit(commit)
                self.annunciator.taken()
            self.statistics.quiet_transitions += quiet
        except HistoryError:
            for lane in self._stateful if snapshot else ():
                lane.store_models_again()
            raise
        self.desk.written()
        for with_commits in self._with_commits:
            with_commits.committed()
        self._snapshot_due = self._snapshot_due and not snapshot
        self._unsaved = not snapshot
        if snapshot:
            self._begun.update(positions)
        self._committed.update(commit.positions)
        self.statistics.committed(commit)
        self._commit = Commit()
        return True

    def expire(self) -> int:
        """Delete rows beyond their retention (by event time), and the oldest beyond the file's size; returns rows."""
        lanes: list[Lane | PartLane | SiblingLane] = [*self._lanes, *self._part_lanes, *self._sibling_lanes]
        deleted = self._history.delete_older(
            {number: seconds for lane in lanes for number, seconds in lane.retentions.items()}
        )
        deleted += self._history.shrink(self._configuration.history.max_bytes)
        return deleted


def _lane(stream: Stream, numbers: Mapping[str, int], *, tells: bool, clock: Callable[[], float]) -> Lane:
    if isinstance(stream, NumericStream):
        return NumericLane(stream, numbers[stream.name], tells=tells, clock=clock)
    if isinstance(stream, EventStream):
        return EventLane(stream, numbers)
    if isinstance(stream, GenealogyStream):
        return GenealogyLane(stream, numbers[stream.name])
    return InspectionLane(stream, numbers[stream.name])
