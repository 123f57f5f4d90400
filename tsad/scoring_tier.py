"""A tier: detectors, and all that turns their scores into alarms."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.calibration.episodes import CalibratedScores, EpisodeCalibrator
from tsad.calibration.monitor import CalibrationMonitor
from tsad.calibration.persistence import PersistenceFilter
from tsad.calibration.tail import CalibrationFit
from tsad.deadline import Timekeeper
from tsad.delayed import DelayedRows, DelayedScores
from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.registry import create_detector
from tsad.fusion import PRIOR_CLUSTERS, harmonic_score
from tsad.interventions import CalibrationFigures
from tsad.kernels.episodes import BAD
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import Field, SeriesArrays
from tsad.settings import DetectorSettings, StreamSettings

__all__ = ["ScoringTier", "TierScores"]

_MONITOR_ROWS = 96
_MOST_MONITOR_ROWS = 1_024  # a window of many scales reaches far back, and its newest rows count most


@dataclass(frozen=True, slots=True)
class TierScores:
    """What a tier says of m rows.

    Attributes
    ----------
    said
        By detector.
    members
        Calibrated scores by detector where there are several.
    verdict
        float64[m], the score that alarms are decided on, after on-delay.
    reason
        uint8[m] of `Unscored`.
    calibrated
        p-values, rates, thresholds and alarm state of the verdict.
    drifts
        Series whose calibration was found broken.
    late
        bool[m] by detector, rows that a network was not asked about in time; only detectors that were late.
    delayed
        What is said later of rows; None from a tier that says nothing more.
    """

    said: dict[str, Scores]
    members: dict[str, CalibratedScores]
    verdict: npt.NDArray[np.float64]
    reason: npt.NDArray[np.uint8]
    calibrated: CalibratedScores
    drifts: int
    late: dict[str, npt.NDArray[np.bool_]]
    delayed: DelayedScores | None = None

    def p_values(self, detector: str) -> npt.NDArray[np.float64]:
        """float64[m], p-values of one detector."""
        return (self.members[detector] if self.members else self.calibrated).p_values

    def leading(self) -> npt.NDArray[np.int32]:
        """int32[m], the channel that contributes most by the detector that finds the row oddest; -1 for none."""
        names = list(self.said)
        p = np.stack([self.p_values(name) for name in names])
        leader = np.where(np.isnan(p), 2.0, p).argmin(axis=0)
        found = np.full(p.shape[1], -1, np.int32)
        for place, name in enumerate(names):
            own = np.flatnonzero(leader == place)
            shares = np.nan_to_num(self.said[name].contributions[own], nan=-1.0)
            if shares.size:
                best = shares.argmax(axis=1)
                found[own] = np.where(shares[np.arange(len(own)), best] > 0, best, -1)
        return found


class ScoringTier:
    """Detectors, their calibration and fusion, on-delay, the alarm state and the drift monitor of many series.

    Parameters
    ----------
    detectors
        Which ones; several are combined.
    settings
        Step, budget and delays.
    timekeeper
        Sets deadlines to networks; None: they take the time they need.
    settled
        Say more of rows later, if there is one detector alone that can: the verdict of several is made of p-values,
        which scores at a delay have none of.
    """

    def __init__(
        self,
        detectors: Sequence[DetectorSettings],
        settings: StreamSettings,
        timekeeper: Timekeeper | None = None,
        *,
        settled: bool = False,
    ) -> None:
        self.detectors: dict[str, Detector] = {d.name: create_detector(d.name, d.options) for d in detectors}
        only = next(iter(self.detectors.values()))
        self.delays = only.delays if settled and len(self.detectors) == 1 else ()
        """Rows after which more is said of a row."""
        self._delayed = DelayedRows(self.delays) if self.delays else None
        if self.delays:
            only.give_delayed()
        policy = settings.alarm.policy(settings.step)
        self._persistence = PersistenceFilter(*settings.alarm.persistence(settings.step))
        # With several detectors each gets its own p-values, and the combination its own calibration behind them.
        prior = PRIOR_CLUSTERS if len(detectors) > 1 else 0.0
        self._calibrator = EpisodeCalibrator(policy, settings.rows_per_day, prior)
        self._members = {name: EpisodeCalibrator(policy, settings.rows_per_day) for name in self.detectors}
        windows = [d.window for d in self.detectors.values()]
        self._monitor = CalibrationMonitor(min(max(_MONITOR_ROWS, *windows), _MOST_MONITOR_ROWS))
        self._series = SeriesArrays({"fitted": Field(np.bool_)})
        self._timekeeper = timekeeper
        self._networks = [name for name, detector in self.detectors.items() if detector.cost == "foundation"]
        # While a network runs, which lets go of the interpreter, the lighter detectors score.
        beside = timekeeper is not None and 0 < len(self._networks) < len(self.detectors)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="networks") if beside else None

    @property
    def parts(self) -> tuple[str, ...]:
        """What the names of stored arrays begin with."""
        own = ("calibrator", "monitor", "persistence", "series", *(("delayed",) if self._delayed else ()))
        return (*own, *(f"{kind}:{name}" for name in self.detectors for kind in ("member", "detector")))

    @property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """bool[n], which series are scored; `reserve` makes room."""
        return self._series.fitted

    def reserve(self, n_series: int, width: int) -> None:
        """Have room for `n_series` series of up to `width` channels."""
        self._series.reserve(n_series)
        if self._delayed is not None:
            self._delayed.reserve(n_series)
        for detector in self.detectors.values():
            detector.reserve(n_series, width)

    def drifting(self, n_series: int) -> int:
        """How many of the first series score higher in quiet time than they did when they were learnt."""
        return int(np.count_nonzero(self._monitor.drifting[:n_series]))

    def drifting_series(self, n_series: int) -> npt.NDArray[np.intp]:
        """Which of the first series these are."""
        return np.flatnonzero(self._monitor.drifting[:n_series])

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> CalibrationFit:
        """Learn `series` from a quiet prefix; the next row is scored.

        Parameters
        ----------
        series
            Its number.
        train, times
            float32[t, c] on the time grid, and int64[t].

        Raises
        ------
        NotEnoughDataError
            A detector or the calibration needs more rows.
        """
        prefix = {}
        for name, detector in self.detectors.items():
            if self._delayed is None:
                prefix[name] = detector.fit(series, train, times)
                continue
            prefix[name], later = detector.fit_with_delays(series, train, times)
            self._delayed.fit(series, later)
        verdict = next(iter(prefix.values()))
        if len(prefix) > 1:
            p_values = np.empty((len(prefix), len(train)))
            for row, (name, scores) in enumerate(prefix.items()):
                self._members[name].fit(series, scores, times)
                p_values[row] = self._members[name].prefix_p_values(series, scores)
            # Rows where only some detectors speak have another distribution; they calibrate only if they must.
            complete = ~np.isnan(p_values).any(axis=0)
            enough = complete.sum() > 2 * self._calibrator.policy.off_delay_rows
            verdict = np.where(complete, harmonic_score(p_values), np.nan) if enough else harmonic_score(p_values)
        calibration = self._calibrator.fit(series, self._persistence.prime(series, verdict), times)
        self._monitor.fit(series, calibration.scores)
        self._series.reserve(series + 1)
        self._series.fitted[series] = True
        return calibration

    def choices(self, series: int) -> tuple[str, ...]:
        """What the detectors chose for `series` when they last learnt it, and why."""
        return tuple(
            f"{name}: {text}" for name, detector in self.detectors.items() for text in detector.choices(series)
        )

    def retire(self, series: int) -> None:
        """Score `series` no longer."""
        self._series.fitted[series] = False

    def score(self, rows: RowBatch) -> TierScores:
        """Score rows of fitted series, in order."""
        breaks = (rows.flags & RowFlag.BREAK) != 0
        frozen = (rows.flags & RowFlag.MAINTENANCE) != 0
        said = self._said(rows)
        first = next(iter(said.values()))
        late = {name: said[name].reason == Unscored.LATE for name in self._networks}
        members: dict[str, CalibratedScores] = {}
        if len(said) == 1:
            verdict, reason = first.score, first.reason
        else:
            members = {
                name: self._members[name].update(rows.series, s.score, breaks, rows.times, frozen)
                for name, s in said.items()
            }
            verdict = harmonic_score(np.stack([members[name].p_values for name in said]))
            reason = np.where(np.isnan(verdict), first.reason, Unscored.SCORED).astype(np.uint8)
        verdict = self._persistence.apply(rows.series, verdict, breaks)
        calibrated = self._calibrator.update(rows.series, verdict, breaks, rows.times, frozen)
        drifts = self._monitor.update(rows.series, verdict, calibrated.on | frozen)
        late = {name: missed for name, missed in late.items() if missed.any()}
        delayed = None
        if self._delayed is not None and first.delayed is not None:
            delayed = self._delayed.find(rows, first.delayed)
        return TierScores(said, members, verdict, reason, calibrated, drifts, late, delayed)

    def _said(self, rows: RowBatch) -> dict[str, Scores]:
        """What every detector says of rows; networks as far as they are in time."""
        if self._timekeeper is None or not self._networks:
            return {name: detector.score(rows) for name, detector in self.detectors.items()}
        deadlines = self._timekeeper.deadline(rows, self._networks)

        def networks() -> dict[str, Scores]:
            return {name: self.detectors[name].score_by(rows, deadline) for name, deadline in deadlines.items()}

        if self._worker is None:
            return networks()
        asked = self._worker.submit(networks)
        try:
            others = {name: one.score(rows) for name, one in self.detectors.items() if name not in deadlines}
        finally:
            # Their state must not change behind whoever catches an error.
            answered = asked.result()
        return {name: answered[name] if name in answered else others[name] for name in self.detectors}

    # ------------------------------------------------------------------------------------------------- operators

    def say(self, series: int, start: int, end: int, said: int, *, episode: bool = False) -> tuple[int, int]:
        """Heed what an operator says of a period; returns how many windows and clusters it changed anything for.

        Parameters
        ----------
        series
            Its number, of a series that is scored.
        start, end, said
            See `EpisodeCalibrator.say`.
        episode
            The period is that of an alarm, and begins where its cluster did.
        """
        windows = 0
        if said == BAD:
            first = self._calibrator.onset(series, start, end) if episode else start
            windows = sum(detector.exclude(series, first, end) for detector in self.detectors.values())
        quiet = not episode
        for member in self._members.values():
            member.say(series, start, end, said, quiet=quiet)
        return windows, self._calibrator.say(series, start, end, said, quiet=quiet)

    def _fitted_members(self) -> dict[str, EpisodeCalibrator]:
        """Calibrations of the members of a combination; a single detector needs none."""
        return self._members if len(self._members) > 1 else {}

    def figures(self, series: int) -> CalibrationFigures:
        """The calibration of a series as it stands."""
        return self._calibrator.figures(series)

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """What operators' words can change of a series, by ``part|name``, as arrays of length 1."""
        parts = {
            "calibrator": self._calibrator.learnt(series),
            **{f"member:{name}": member.learnt(series) for name, member in self._fitted_members().items()},
            **{f"detector:{name}": detector.learnt(series) for name, detector in self.detectors.items()},
        }
        return {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}

    def restore_learnt(self, series: int, learnt: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put back what `learnt` gave."""
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, array in learnt.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        self._calibrator.restore_learnt(series, parts["calibrator"])
        for name, member in self._fitted_members().items():
            member.restore_learnt(series, parts[f"member:{name}"])
        for name, detector in self.detectors.items():
            detector.restore_learnt(series, parts.get(f"detector:{name}", {}))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first series learnt by fitting, or else their streaming state, by ``part|name``."""
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {
            "calibrator": self._calibrator.state(n_series, fitted=fitted),
            "monitor": self._monitor.state(n_series, fitted=fitted),
            "persistence": self._persistence.state(n_series, fitted=fitted),
            "series": self._series.state(n_series, fitted=fitted),
            **({"delayed": self._delayed.state(n_series, fitted=fitted)} if self._delayed else {}),
            **{f"member:{name}": member.state(n_series, fitted=fitted) for name, member in self._members.items()},
            **{f"detector:{name}": d.state(n_series, fitted=fitted) for name, d in self.detectors.items()},
        }
        return {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], n_series: int, width: int, budget: float) -> None:
        """Continue from the union of both states, with a budget of false alarms a day that may have changed.

        Raises
        ------
        SnapshotError
            The state was made with other settings or by another version.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        self._calibrator.restore(parts.get("calibrator", {}))
        self._calibrator.set_budget(budget)
        self._monitor.restore(parts.get("monitor", {}))
        self._persistence.restore(parts.get("persistence", {}))
        self._series.restore(parts.get("series", {}))
        if self._delayed is not None:
            self._delayed.restore(parts.get("delayed", {}))
        for name, member in self._members.items():
            member.restore(parts.get(f"member:{name}", {}))
        for name, detector in self.detectors.items():
            detector.reserve(n_series, width)
            detector.restore(parts.get(f"detector:{name}", {}))
