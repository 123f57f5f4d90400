"""The engine: observations in, scores and alarms out. The daemon and the backtest both drive this one."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import ANOMALY_RULE, SEVERITIES, SILENCE_RULE, AlarmBook, AlarmTransition, Verdict
from tsad.alignment import Aligner
from tsad.calibration.episodes import CalibratedScores, CalibrationFit, EpisodeCalibrator
from tsad.calibration.monitor import CalibrationMonitor
from tsad.calibration.persistence import PersistenceFilter
from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.registry import create_detector
from tsad.errors import NotEnoughDataError
from tsad.explanation import leading_channels, number, severity_of
from tsad.fusion import harmonic_score
from tsad.kernels.episodes import CLEAR, NOTHING, RAISE
from tsad.observations import ObservationBatch, ObservationStatus, RowBatch, RowFlag
from tsad.quality import screen
from tsad.series import SeriesTable
from tsad.series_arrays import Field, SeriesArrays, by_series
from tsad.settings import StreamSettings
from tsad.silence import SilenceWatch
from tsad.stream_output import FitReport, StreamOutput
from tsad.warm_up import WarmUp

__all__ = ["FitReport", "StreamEngine", "StreamOutput"]

_MONITOR_ROWS = 96


class StreamEngine:
    """Runs one stream: quality, alignment, warm-up, detectors, calibration, fusion, alarms.

    The result depends only on the order of observations within each series (and, for silence, within each source
    partition): not on how they were cut into batches, not on a clock, not on other series.

    Parameters
    ----------
    settings
        What the stream is like and what is wanted of it.

    Examples
    --------
    >>> from tsad.settings import StreamSettings
    >>> engine = StreamEngine(StreamSettings(name="pumps", step=1, train_rows=80))
    >>> engine.table.add("pump-1")
    0
    """

    def __init__(self, settings: StreamSettings) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.channels)
        self.detectors: dict[str, Detector] = {d.name: create_detector(d.name, d.options) for d in settings.detectors}
        self._aligner = Aligner(
            settings.step_ns,
            hold=settings.hold_rows,
            allowed_delay=round(settings.allowed_delay * 1e9),
            cell=settings.cell,
            max_ahead=round(settings.max_ahead * 1e9),
        )
        self._warm_up = WarmUp(settings.train_rows)
        policy = settings.alarm.policy(settings.step)
        self._persistence = PersistenceFilter(*settings.alarm.persistence(settings.step))
        self._calibrator = EpisodeCalibrator(policy, settings.rows_per_day)
        # With several detectors each gets its own p-values, and the combination its own calibration behind them.
        self._members = {name: EpisodeCalibrator(policy, settings.rows_per_day) for name in self.detectors}
        self._monitor = CalibrationMonitor(max(_MONITOR_ROWS, *(d.window for d in self.detectors.values())))
        self._silence = SilenceWatch(round(settings.silent_after * 1e9)) if settings.silent_after else None
        self._series = SeriesArrays({"fitted": Field(np.bool_)})
        self._book = AlarmBook(settings.name)
        self.fit_count = 0
        self._newest = 0

    def __len__(self) -> int:
        return len(self.table)

    def is_fitted(self, series: int) -> bool:
        """Whether `series` is scored already."""
        return series < self._series.capacity and bool(self._series.fitted[series])

    def drifting(self) -> int:
        """How many series score higher in quiet time than they did when they were learnt."""
        return int(np.count_nonzero(self._monitor.drifting[: len(self.table)]))

    # ------------------------------------------------------------------------------------------------- one batch

    def process(self, batch: ObservationBatch) -> StreamOutput:
        """Take in observations, in source order, of series that are in `table`."""
        n_series = len(self.table)
        self._series.reserve(n_series)
        counts: Counter[str] = Counter()
        batch = self._screened(batch, counts)
        rows, status = self._aligner.align(batch, self.table.channel_counts)
        for value, count in zip(*np.unique(status, return_counts=True), strict=True):
            counts[ObservationStatus(value).name.lower()] += int(count)
        aside = np.flatnonzero(status)
        usable = status != ObservationStatus.FUTURE
        transitions = self._watch_silence(batch if usable.all() else batch.take(usable), n_series)
        if len(rows):
            self._newest = max(self._newest, int(rows.times.max()))
        for detector in self.detectors.values():
            detector.reserve(n_series, self.table.width)
        fits, scored = self._learn(rows)
        output = self._score(rows, scored, counts)
        return StreamOutput(
            rows=rows,
            transitions=transitions + output["transitions"],
            fits=fits,
            set_aside=batch.take(aside),
            set_aside_status=status[aside],
            counts=counts,
            **{key: output[key] for key in ("scores", "reason", "verdict", "calibrated")},
        )

    def _screened(self, batch: ObservationBatch, counts: Counter[str]) -> ObservationBatch:
        low, high = self._range_arrays(batch)
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

    def _range_arrays(
        self, batch: ObservationBatch
    ) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]:
        """Physical ranges in the shape of the batch's values."""
        ranges = self.settings.ranges
        if not ranges or not len(batch):
            return None, None
        table = np.empty((len(self.table), self.table.width, 2), dtype=np.float32)
        table[...] = (-np.inf, np.inf)
        for series in range(len(self.table)):
            for column, channel in enumerate(self.table.channel_names(series)):
                if channel in ranges:
                    table[series, column] = ranges[channel]
        if batch.channels is None:
            limits = table[batch.series, : batch.values.shape[1]]
            return limits[..., 0], limits[..., 1]
        limits = table[batch.series, batch.channels][:, None]
        return limits[..., 0], limits[..., 1]

    def _watch_silence(self, batch: ObservationBatch, n_series: int) -> list[AlarmTransition]:
        if self._silence is None:
            return []
        transitions = []
        for change in self._silence.watch(batch, n_series):
            position = (int(batch.partitions[change.observation]), int(batch.offsets[change.observation]))
            kind = "stream.resumed" if change.resumed else "stream.silent"
            asset = self.table.assets[change.series]
            transitions.append(
                self._book.step(kind, asset, SILENCE_RULE, change.time, position, severity="medium")  # type: ignore[arg-type]
            )
        return transitions

    # ------------------------------------------------------------------------------------------------- learning

    def _learn(self, rows: RowBatch) -> tuple[list[FitReport], npt.NDArray[np.intp]]:
        """Feed rows of series that are still new to the warm-up; returns the rows to be scored."""
        waiting = ~self._series.fitted[rows.series]
        if not waiting.any():
            return [], np.arange(len(rows))
        reports: list[FitReport] = []
        late = [np.flatnonzero(~waiting)]
        positions = np.flatnonzero(waiting)
        for series, own in by_series(rows.series[positions]):
            rest = positions[own]
            while len(rest) and not self._series.fitted[series]:
                taken = self._warm_up.take(
                    series, rows.values[rest], rows.times[rest], self.table.channel_count(series)
                )
                if self._warm_up.is_full(series):
                    reports.append(self._fit(series, int(rows.times[rest[taken - 1]])))
                rest = rest[taken:]
            late.append(rest)
        return reports, np.sort(np.concatenate(late))

    def _fit(self, series: int, time: int) -> FitReport:
        train, times = self._warm_up.rows(series)
        asset = self.table.assets[series]
        try:
            calibration = self.fit(series, train, times)
        except NotEnoughDataError as error:
            self._warm_up.forget_oldest(series)
            return FitReport(asset, time, len(train), None, str(error))
        self._warm_up.drop(series)
        return FitReport(asset, time, len(train), calibration, None)

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
        prefix = {name: detector.fit(series, train, times) for name, detector in self.detectors.items()}
        verdict = next(iter(prefix.values()))
        if len(prefix) > 1:
            p_values = np.empty((len(prefix), len(train)))
            for row, (name, scores) in enumerate(prefix.items()):
                self._members[name].fit(series, scores)
                p_values[row] = self._members[name].prefix_p_values(series, scores)
            # Rows where only some detectors speak have another distribution; they calibrate only if they must.
            complete = ~np.isnan(p_values).any(axis=0)
            enough = complete.sum() > 2 * self._calibrator.policy.off_delay_rows
            verdict = np.where(complete, harmonic_score(p_values), np.nan) if enough else harmonic_score(p_values)
        calibration = self._calibrator.fit(series, self._persistence.prime(series, verdict))
        self._monitor.fit(series, calibration.scores)
        self._series.reserve(series + 1)
        self._series.fitted[series] = True
        self.fit_count += 1
        return calibration

    # ------------------------------------------------------------------------------------------------- scoring

    def _score(self, rows: RowBatch, where: npt.NDArray[np.intp], counts: Counter[str]) -> dict[str, Any]:
        m = len(rows)
        everything = len(where) == m
        own = rows if everything else rows.take(where)
        breaks = (own.flags & RowFlag.BREAK) != 0
        said = {name: detector.score(own) for name, detector in self.detectors.items()}
        first = next(iter(said.values()))
        members: dict[str, CalibratedScores] = {}
        if len(said) == 1:
            verdict, reason = first.score, first.reason
        else:
            members = {name: self._members[name].update(own.series, s.score, breaks) for name, s in said.items()}
            verdict = harmonic_score(np.stack([members[name].p_values for name in said]))
            reason = np.where(np.isnan(verdict), first.reason, Unscored.SCORED).astype(np.uint8)
        verdict = self._persistence.apply(own.series, verdict, breaks)
        calibrated = self._calibrator.update(own.series, verdict, breaks)
        drifts = self._monitor.update(own.series, verdict, calibrated.on)
        if drifts:
            counts["calibration_drift"] += drifts
        transitions = self._transitions(own, said, members, verdict, calibrated)
        if everything:
            scores = {name: s.score for name, s in said.items()}
            return {
                "scores": scores, "reason": reason, "verdict": verdict, "calibrated": calibrated,
                "transitions": transitions,
            }  # fmt: skip
        spread = CalibratedScores(
            _spread(calibrated.p_values, where, m, np.nan),
            _spread(calibrated.rates, where, m, np.nan),
            _spread(calibrated.thresholds, where, m, np.nan),
            _spread(calibrated.on, where, m, False),
            _spread(calibrated.events, where, m, NOTHING),
        )
        return {
            "scores": {name: _spread(s.score, where, m, np.nan) for name, s in said.items()},
            "reason": _spread(reason, where, m, Unscored.WARMING_UP),
            "verdict": _spread(verdict, where, m, np.nan),
            "calibrated": spread,
            "transitions": transitions,
        }

    def _transitions(
        self,
        rows: RowBatch,
        said: dict[str, Scores],
        members: dict[str, CalibratedScores],
        verdict: npt.NDArray[np.float64],
        calibrated: CalibratedScores,
    ) -> list[AlarmTransition]:
        transitions = []
        budget = self.settings.alarm.false_alarms_per_day / self.settings.rows_per_day
        for i in np.flatnonzero(calibrated.events):
            event = calibrated.events[i]
            series = int(rows.series[i])
            asset = self.table.assets[series]
            rate = calibrated.rates[i]
            verdicts = tuple(
                Verdict(name, number(s.score[i]), number((members[name] if members else calibrated).p_values[i]))
                for name, s in said.items()
            )
            # The detector that found the row oddest explains it.
            leader = min(verdicts, key=lambda v: 2.0 if v.p_value is None else v.p_value).detector
            names = self.table.channel_names(series)
            transitions.append(
                self._book.step(
                    "alarm.raised" if event == RAISE else "alarm.cleared" if event == CLEAR else "alarm.updated",
                    asset,
                    ANOMALY_RULE,
                    int(rows.times[i]),
                    (int(rows.partitions[i]), int(rows.offsets[i])),
                    severity=SEVERITIES[0] if event == CLEAR else severity_of(rate, budget),
                    details={
                        "score": number(verdict[i]),
                        "threshold": number(calibrated.thresholds[i]),
                        "p_value": number(calibrated.p_values[i]),
                        "one_in_days": number(1.0 / (rate * self.settings.rows_per_day)),
                        "contributions": leading_channels(names, rows.values[i], said[leader], int(i)),
                        "verdicts": verdicts,
                    },
                ),
            )
        return transitions

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
            "calibrator": self._calibrator.state(n, fitted=fitted),
            "monitor": self._monitor.state(n, fitted=fitted),
            "persistence": self._persistence.state(n, fitted=fitted),
            "aligner": self._aligner.state(n, fitted=fitted),
            "series": self._series.state(n, fitted=fitted),
            **{f"member:{name}": member.state(n, fitted=fitted) for name, member in self._members.items()},
            **{f"detector:{name}": d.state(n, fitted=fitted) for name, d in self.detectors.items()},
        }
        if not fitted:
            parts["warm_up"] = self._warm_up.state()
            if self._silence is not None:
                parts["silence"] = self._silence.state(n)
        arrays = {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}
        extra = {
            "table": self.table.state(),
            "book": self._book.state(),
            "fits": self.fit_count,
            "newest": self._newest,
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
        self.fit_count, self._newest = extra["fits"], extra["newest"]
        n = len(self.table)
        self._aligner.restore(parts.get("aligner", {}))
        self._calibrator.restore(parts.get("calibrator", {}))
        self._monitor.restore(parts.get("monitor", {}))
        self._calibrator.set_budget(self.settings.alarm.false_alarms_per_day)
        self._persistence.restore(parts.get("persistence", {}))
        self._series.restore(parts.get("series", {}))
        for name, member in self._members.items():
            member.restore(parts.get(f"member:{name}", {}))
        for name, detector in self.detectors.items():
            detector.reserve(n, self.table.width)
            detector.restore(parts.get(f"detector:{name}", {}))
        self._warm_up.restore(parts.get("warm_up", {}))
        if self._silence is not None and "silence" in parts:
            self._silence.restore(parts["silence"])

    def relearn(self, extra: dict[str, Any]) -> list[AlarmTransition]:
        """Take over from a stored state nothing but the alarms: their counts go on, open ones are closed.

        Parameters
        ----------
        extra
            The JSON-ready part of a stored streaming state.
        """
        self._book.restore(extra["book"])
        return self._book.close_all(extra["newest"])


def _spread(values: npt.NDArray[Any], where: npt.NDArray[np.intp], m: int, fill: Any) -> npt.NDArray[Any]:
    """`values` at the places `where` of an array of length m."""
    out = np.full(m, fill, dtype=values.dtype)
    out[where] = values
    return out
