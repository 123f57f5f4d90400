"""The engine: observations in, scores and alarms out. The daemon and the backtest both drive this one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.adoption import joined_states
from tsad.alarms import ANOMALY_RULE, SEVERITIES, SILENCE_RULE, AlarmBook, AlarmTransition
from tsad.alignment import Aligner
from tsad.calibration.tail import CalibrationFit
from tsad.deadline import LateAnswers
from tsad.detectors.base import Detector
from tsad.interventions import Effect, Intervention, concerned_series, plan_maintenance
from tsad.learning import SeriesLearning
from tsad.maintenance import MaintenancePlan
from tsad.observations import ObservationBatch, ObservationStatus, RowBatch, RowFlag
from tsad.quality import RangeLimits, screen
from tsad.quality.alarms import sensor_transitions
from tsad.quality.clocks import ClockWatch
from tsad.quality.sensors import SensorWatch
from tsad.series import SeriesTable
from tsad.settings import StreamSettings
from tsad.silence import SilenceWatch
from tsad.stream_output import FitReport, StreamOutput
from tsad.tiers import RowScores, TierRows, Tiers, joined
from tsad.transitions import alarm_transitions

__all__ = ["FitReport", "StreamEngine", "StreamOutput"]


class StreamEngine:
    """Runs one stream: quality, alignment, warm-up, detectors, calibration, fusion, alarms.

    Where `StreamSettings.early` asks for it, a new series is first watched by a light detector, which needs few rows;
    when the training part is full, the stream's own detectors take over. Rows and fits of that first time say so.

    The result depends only on the order of observations within each series (and, for silence, within each source
    partition): not on how they were cut into batches, not on other series, and on a clock only where a deadline is set.

    Parameters
    ----------
    settings
        What the stream is like and what is wanted of it.
    clock
        Seconds that only rise, where `StreamSettings.deadline` is given: then what networks say depends on it too.

    Examples
    --------
    >>> from tsad.settings import StreamSettings
    >>> engine = StreamEngine(StreamSettings(name="pumps", step=1, train_rows=80))
    >>> engine.table.add("pump-1")
    0
    """

    def __init__(self, settings: StreamSettings, clock: Callable[[], float] = monotonic) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.channels)
        self._range_limits = RangeLimits(settings.ranges, self.table)
        self._tiers = Tiers(settings, clock)
        self._aligner = Aligner(
            settings.step_ns,
            hold=settings.hold_rows,
            allowed_delay=round(settings.allowed_delay * 1e9),
            cell=settings.cell,
            max_ahead=round(settings.max_ahead * 1e9),
        )
        self._silence = _silence_watch(settings, self.table) if settings.silent_after else None
        self._sensors = SensorWatch(settings.sensors, self.table) if settings.sensors else None
        sensors = settings.sensors
        self._clocks = (
            ClockWatch(self.table, settings.step_ns, sensors.clear_rows) if sensors and sensors.clock else None
        )
        self._learning = SeriesLearning(settings.train_rows, self._tiers, self._sensors, self.table)
        self._book = AlarmBook(settings.name)
        self.maintenance = MaintenancePlan(settings.name)
        """When nothing is learnt."""
        self.tell_leading = False
        """Whether to tell the leading channel of every row, not of alarms alone."""
        self._newest = 0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def detectors(self) -> dict[str, Detector]:
        """The stream's own detectors."""
        return self._tiers.own.detectors

    @property
    def delays(self) -> tuple[int, ...]:
        """Rows after which more is said of a row, the settled score last; () where nothing more is said."""
        return self._tiers.own.delays

    def is_fitted(self, series: int) -> bool:
        """Whether `series` is scored by the stream's own detectors already."""
        return self._tiers.is_fitted(series)

    @property
    def fit_count(self) -> int:
        """Series that were learnt."""
        return self._learning.fit_count

    @property
    def model_count(self) -> int:
        """Models that were learnt, those of the first time among them."""
        return self._learning.model_count

    @property
    def is_stopping(self) -> Callable[[], bool]:
        """Whether learning is to be broken off."""
        return self._learning.is_stopping

    @is_stopping.setter
    def is_stopping(self, asked: Callable[[], bool]) -> None:
        self._learning.is_stopping = asked

    @property
    def newest(self) -> int:
        """The newest event time of a row, ns UTC; 0 before the first."""
        return self._newest

    def choices(self, series: int) -> tuple[str, ...]:
        """What the stream's own detectors chose for `series` by themselves, and why, in words."""
        return self._tiers.own.choices(series)

    def drifting(self) -> int:
        """How many series score higher in quiet time than they did when they were learnt."""
        return self._tiers.own.drifting(len(self.table))

    def drifting_assets(self) -> list[str]:
        """The assets of these series."""
        assets = self.table.assets
        return [assets[series] for series in self._tiers.own.drifting_series(len(assets))]

    def recall(self, known: LateAnswers) -> None:
        """Repeat what the clock decided of rows that are read again; call it after `restore`."""
        self._tiers.recall(known)

    # ------------------------------------------------------------------------------------------------- one batch

    def process(self, batch: ObservationBatch) -> StreamOutput:
        """Take in observations, in source order, of series that are in `table`.

        Raises
        ------
        StoppedError
            `is_stopping` said so. The engine is of no use then: a part of the batch has gone in.
        """
        n_series = len(self.table)
        self._learning.reserve(n_series)
        counts: Counter[str] = Counter()
        batch = self._screened(batch, counts)
        rows, status = self._aligner.align(batch, self.table.channel_counts)
        for value, count in zip(*np.unique(status, return_counts=True), strict=True):
            counts[ObservationStatus(value).name.lower()] += int(count)
        aside = np.flatnonzero(status)
        usable = status != ObservationStatus.FUTURE
        transitions = self._watch_silence(batch if usable.all() else batch.take(usable))
        if len(rows):
            self._newest = max(self._newest, int(rows.times.max()))
        self._tiers.reserve(n_series, self.table.width)
        if self.maintenance and len(rows):
            marked = self.maintenance.mark(self.table.assets, rows.series, rows.times)
            rows.flags[marked] |= np.uint8(RowFlag.MAINTENANCE)
        if self._clocks is not None:
            transitions += self._clocks.watch(batch, status, self._book)
        seen = rows
        if self._sensors is not None:
            rows, faults = self._sensors.judge_declared(rows)
        fits, early, scored = self._learning.take(rows)
        if self._sensors is not None:
            faults += self._sensors.judge(rows, scored)
            transitions += sensor_transitions(self._book, self.table, rows, faults, counts)
        said, told = self._score(rows, early, scored, counts)
        return StreamOutput(
            rows=seen,
            judged=rows,
            scores=said.scores,
            reason=said.reason,
            verdict=said.verdict,
            calibrated=said.calibrated,
            leading=said.leading,
            late=said.late,
            delayed=said.delayed,
            transitions=transitions + told,
            fits=fits,
            set_aside=batch.take(aside),
            set_aside_status=status[aside],
            counts=counts,
        )

    def _screened(self, batch: ObservationBatch, counts: Counter[str]) -> ObservationBatch:
        low, high = self._range_limits.of(batch)
        values, quality = screen(batch.values, low, high)
        if quality.not_finite:
            counts["value_not_finite"] += quality.not_finite
        if quality.out_of_range:
            counts["value_out_of_range"] += quality.out_of_range
        if values is batch.values:
            return batch
        return ObservationBatch(
            batch.series, batch.times, values, batch.channels, batch.partitions, batch.offsets, batch.arrivals
        )

    def _watch_silence(self, batch: ObservationBatch) -> list[AlarmTransition]:
        if self._silence is None:
            return []
        transitions = []
        for change in self._silence.watch(batch):
            position = (int(batch.partitions[change.observation]), int(batch.offsets[change.observation]))
            # What a controller's assets say in another partition is another alarm: partitions have no common order.
            rule = f"comms/{position[0]}" if change.kind.startswith("comms") else SILENCE_RULE
            transitions.append(
                self._book.step(change.kind, change.subject, rule, change.time, position, severity="medium")
            )
        return transitions

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> CalibrationFit:
        """Learn `series` from a quiet prefix; the next row is scored.

        Parameters
        ----------
        series
            Number in `table`.
        train, times
            float32[t, c] on the time grid, and int64[t].

        Raises
        ------
        NotEnoughDataError
            A detector or the calibration needs more rows.
        """
        return self._learning.fit(series, train, times)

    # ------------------------------------------------------------------------------------------------- scoring

    def _score(
        self, rows: RowBatch, early: npt.NDArray[np.intp], own: npt.NDArray[np.intp], counts: Counter[str]
    ) -> tuple[RowScores, list[AlarmTransition]]:
        early_part = self._tiers.score_early(rows, early)
        transitions = [] if early_part is None else self._transitions(early_part)
        counts["scored_early"] += len(early)
        transitions += self._hand_over(rows) if len(own) != len(rows) else []
        own_part = self._tiers.score_own(rows, own)
        if own_part.found.drifts:
            counts["calibration_drift"] += own_part.found.drifts
        transitions += self._transitions(own_part)
        said = joined(len(rows), own_part, early_part, leading=self.tell_leading)
        if said.late:
            counts["network_late"] += len(np.unique(np.concatenate(list(said.late.values()))))
        return said, transitions

    def _hand_over(self, rows: RowBatch) -> list[AlarmTransition]:
        """Retire the first tier of series whose own detectors take over; its standing alarms end with it."""
        done = []
        for series in self._tiers.retire(rows):
            asset = self.table.assets[series]
            if not self._book.is_active(asset, ANOMALY_RULE):
                continue
            last = np.flatnonzero((rows.series == series) & ((rows.flags & RowFlag.EARLY) != 0))[-1]
            position = (int(rows.partitions[last]), int(rows.offsets[last]))
            done.append(
                self._book.step(
                    "alarm.cleared", asset, ANOMALY_RULE, int(rows.times[last]), position, severity=SEVERITIES[0]
                )
            )
        return done

    def _transitions(self, part: TierRows) -> list[AlarmTransition]:
        return alarm_transitions(self._book, self.table, part.rows, part.found, self.settings)

    # ------------------------------------------------------------------------------------------------- operators

    def learn(self, intervention: Intervention) -> list[Effect]:
        """Let what an operator said change what is learnt, between two batches; returns what it changed, by asset.

        An asset that is not known yet has nothing to change. Of maintenance, assets that come later are marked too.
        """
        plan_maintenance(self.maintenance, intervention)
        return [self._learn_from(intervention, series) for series in self.concerned(intervention)]

    def concerned(self, intervention: Intervention) -> list[int]:
        """Series that an intervention is about."""
        return concerned_series(self.table, intervention)

    def _learn_from(self, one: Intervention, series: int) -> Effect:
        tier = self._tiers.of(series)
        before = None if tier is None else tier.figures(series)
        windows, clusters, rows = 0, 0, 0
        if one.kind == "restore":
            if tier is not None and one.learnt:
                tier.restore_learnt(series, one.learnt)
        elif tier is not None:
            windows, clusters = tier.say(series, one.start, one.end, one.said, episode=one.episode)
        if one.unlearns:
            rows = self._learning.forget(series, one.start, one.end)
        after = None if tier is None else tier.figures(series)
        return Effect(self.table.assets[series], windows, clusters, rows, before, after)

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """What `learn` can change of a series, for an intervention of kind ``restore``; empty while it is not scored.

        A series that is still watched by the first detector has nothing to be put back later: it is learnt anew then.
        """
        return self._tiers.own.learnt(series) if self.is_fitted(series) else {}

    # ------------------------------------------------------------------------------------------------- state

    def state(self, *, fitted: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that the next batch depends on, as named arrays and JSON-ready values.

        Parameters
        ----------
        fitted
            What changes only when a series is fitted (models), or else all the rest (streaming state).
        """
        n = len(self.table)
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {
            "aligner": self._aligner.state(n, fitted=fitted),
        }
        if self._sensors is not None:
            parts["sensors"] = self._sensors.state(n, fitted=fitted)
        if not fitted:
            if self._silence is not None:
                parts["silence"] = self._silence.state(n)
            if self._clocks is not None:
                parts["clocks"] = self._clocks.state(n)
        arrays = {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}
        arrays |= self._learning.state(n, fitted=fitted) | self._tiers.state(n, fitted=fitted)
        extra = {
            "table": self.table.state(),
            "book": self._book.state(),
            "fits": self.fit_count,
            "models": self.model_count,
            "newest": self._newest,
            "maintenance": self.maintenance.state(),
        }
        return arrays, {} if fitted else extra

    def restore(self, arrays: dict[str, npt.NDArray[Any]], extra: dict[str, Any]) -> None:
        """Continue from the union of both states.

        Raises
        ------
        SnapshotError
            The state was made with other settings or by another version.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        self.table.restore(extra["table"])
        self._book.restore(extra["book"])
        self._newest = extra["newest"]
        self.maintenance.restore(extra["maintenance"])
        n = len(self.table)
        self._aligner.restore(parts.get("aligner", {}))
        self._learning.restore(parts, extra["fits"], extra["models"])
        self._tiers.restore(arrays, n, self.table.width)
        if self._sensors is not None:
            self._sensors.restore(parts.get("sensors", {}))
        if self._clocks is not None:
            self._clocks.restore(parts.get("clocks", {}))
        if self._silence is not None and "silence" in parts:
            self._silence.restore(parts["silence"])

    def adopt(self, learnt: Sequence[tuple[str, Sequence[str], Mapping[str, npt.NDArray[Any]]]]) -> None:
        """Take over series that another engine with the same settings learnt; their windows start anew.

        Parameters
        ----------
        learnt
            Asset, channels, and the union of both states of an engine of that one series.

        Raises
        ------
        SnapshotError
            A state is of other detectors or of another version.
        """
        known = len(self.table)
        for asset, channels, _ in learnt:
            series = self.table.add(asset)
            for channel in channels if self.settings.channels is None else ():
                self.table.add_channel(series, channel)
        n = len(self.table)
        watched = ("sensors",) if self._sensors is not None else ()
        prefixes = tuple(f"{part}|" for part in (*self._tiers.own.parts, *watched))
        tier = self._tiers.own
        own = {**tier.state(known, fitted=True), **tier.state(known, fitted=False)}
        if self._sensors is not None:
            sensors = {**self._sensors.state(known, fitted=True), **self._sensors.state(known, fitted=False)}
            own |= {f"sensors|{name}": array for name, array in sensors.items()}
        states = [{k: v for k, v in state.items() if k.startswith(prefixes)} for _, _, state in learnt]
        if known:
            states = [own, *states]
        union = joined_states(states, [known] * bool(known) + [1] * len(learnt))
        tier.restore(union, n, self.table.width, self.settings.alarm.false_alarms_per_day)
        if self._sensors is not None:
            self._sensors.restore({k.removeprefix("sensors|"): v for k, v in union.items() if k.startswith("sensors|")})
        self._learning.reserve(n)
        self._learning.adopted(range(known, n))
        self._aligner.begin_broken(range(known, n))

    def relearn(self, extra: dict[str, Any]) -> list[AlarmTransition]:
        """Take over from a stored state nothing but the alarms: their counts go on, open ones are closed.

        Parameters
        ----------
        extra
            The JSON-ready part of a stored streaming state.
        """
        self._book.restore(extra["book"])
        return self._book.close_all(extra["newest"])


def _silence_watch(settings: StreamSettings, table: SeriesTable) -> SilenceWatch:
    after = settings.silent_after
    return SilenceWatch(
        None if after == "auto" else round(float(after or 0) * 1e9),
        table,
        reports=settings.train_rows,
        step=settings.step_ns,
        controllers=settings.controllers,
    )
