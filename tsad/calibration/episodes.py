"""Cluster-calibrated tail: what a score means, and which scores make an alarm, for a budget of false alarms a day.

The specification is the project's own calibration note (docs/calibration.md tells it in short): the tail is fitted to
*clusters* of exceedances, because scores are autocorrelated and a drifting stretch is one alarm, not hundreds. The
excess of a cluster's peak over a low quantile is taken as exponential with an uncertain mean, which gives a closed
predictive tail. Quiet time goes on teaching it; alarmed clusters enter as censored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.calibration.tail import CalibrationFit, ClusterSpans, TailFit, cluster_spans, fit_tail
from tsad.errors import NotEnoughDataError
from tsad.interventions import CalibrationFigures
from tsad.kernels.episodes import BAD, calibrate, credit
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["AlarmPolicy", "CalibratedScores", "EpisodeCalibrator"]

_RANKS = 1024
_KEPT_CLUSTERS = 32  # of either kind, quiet and alarmed
_NO_TIMES, _NONE_FROZEN = np.zeros(0, np.int64), np.zeros(0, np.bool_)
_LEARNT = (
    "clusters", "excess", "exposure", "governor", "decay", "log_began", "log_ended", "log_excess", "log_cap",
    "log_said", "log_decay", "log_now", "log_next",
)  # fmt: skip
_OPEN = ("open_said", "open_began")
_PROVISIONAL = 10.0  # multiples of one false alarm's expected exposure before the fit stops being provisional


@dataclass(frozen=True, slots=True)
class AlarmPolicy:
    """When an alarm is raised and cleared.

    Attributes
    ----------
    false_alarms_per_day
        Accepted false episodes a day and series. There is no threshold to set.
    off_delay_rows
        An alarm clears when its score has stayed under the off-level for more than this many rows; the same number
        of rows separates clusters.
    off_share
        Off-level, as the share of the way from the tail's start to the raising threshold (hysteresis).
    governor_step, governor_limit
        How far every raised alarm lifts the threshold (log scale), and the limit of that.
    memory_rows
        Over how many quiet rows old clusters are forgotten.
    """

    false_alarms_per_day: float = 1.0
    off_delay_rows: int = 32
    off_share: float = 0.25
    governor_step: float = 0.1
    governor_limit: float = 3.0
    memory_rows: int = 20_000

    def __post_init__(self) -> None:
        if not (np.isfinite(self.false_alarms_per_day) and self.false_alarms_per_day > 0):
            raise ValueError(
                f"false_alarms_per_day is {self.false_alarms_per_day}; give a finite number above 0, e.g. 0.1",
            )


@dataclass(frozen=True, slots=True)
class CalibratedScores:
    """Scores in the one language of alarms, all of length m.

    Attributes
    ----------
    p_values
        float64, chance of a score at least this high in one row when all is well. For display, order and fusion.
    rates
        float64, episodes a row whose peak reaches this score.
    thresholds
        float64, the score above which this row would raise.
    on
        bool, whether the alarm stands after this row.
    events
        uint8, ``NOTHING``, ``RAISE``, ``ESCALATE`` or ``CLEAR`` of `tsad.kernels.episodes`.
    """

    p_values: npt.NDArray[np.float64]
    rates: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    on: npt.NDArray[np.bool_]
    events: npt.NDArray[np.uint8]

    def take(self, where: npt.NDArray[np.intp]) -> "CalibratedScores":
        """The rows at `where`."""
        return CalibratedScores(
            self.p_values[where], self.rates[where], self.thresholds[where], self.on[where], self.events[where]
        )


class EpisodeCalibrator:
    """Calibrates the scores of many series and raises and clears their alarms.

    Parameters
    ----------
    policy
        The budget and the clearing rule.
    rows_per_day
        Rows of the time grid in a day.
    prior_clusters
        Clusters of mean excess 1 that count besides those that are seen, in what is known of the excess (not of how
        often there is one). For scores that are negative logarithms of p-values: as far as these hold, the excess over
        any level is exponential of mean 1, whatever the data. 0: nothing is known beforehand.

    Raises
    ------
    ValueError
        `prior_clusters` is negative or not a number.
    """

    def __init__(self, policy: AlarmPolicy, rows_per_day: float, prior_clusters: float = 0.0) -> None:
        if not prior_clusters >= 0:
            raise ValueError(f"prior_clusters is {prior_clusters}; give 0 or more")
        self.policy = policy
        self.rows_per_day = rows_per_day
        self.prior_clusters = prior_clusters
        self._arrays = SeriesArrays(
            {
                "budget": Field(np.float64, fitted=True),
                "forget": Field(np.float64, fitted=True),
                "u": Field(np.float64, fitted=True),
                "clusters": Field(np.float64),
                "excess": Field(np.float64),
                "exposure": Field(np.float64),
                "governor": Field(np.float64),
                "is_open": Field(np.bool_),
                "peak": Field(np.float64),
                "cap": Field(np.float64, np.nan),
                "last_above": Field(np.int64),
                "on": Field(np.bool_),
                "last_off": Field(np.int64),
                "now": Field(np.int64),
                "level": Field(np.int64),
                "alarm_peak": Field(np.float64),
                "ranks": Field(np.float64, 0, (_RANKS,), fitted=True),
                "n_ranks": Field(np.int64, fitted=True),
                "n_prefix": Field(np.int64, fitted=True),
                "tail_share": Field(np.float64, fitted=True),
                "tail_mean": Field(np.float64, fitted=True),
                "tail_shape": Field(np.float64, fitted=True),
                # The open cluster, and the newest closed ones (quiet, alarmed), for what is said of them later.
                "open_said": Field(np.uint8),
                "open_began": Field(np.int64),
                "open_ended": Field(np.int64),
                "decay": Field(np.float64),
                "log_began": Field(np.int64, 0, (2, _KEPT_CLUSTERS)),
                "log_ended": Field(np.int64, 0, (2, _KEPT_CLUSTERS)),
                "log_excess": Field(np.float64, 0, (2, _KEPT_CLUSTERS)),
                "log_cap": Field(np.float64, np.nan, (2, _KEPT_CLUSTERS)),
                "log_said": Field(np.uint8, 0, (2, _KEPT_CLUSTERS)),
                "log_decay": Field(np.float64, 0, (2, _KEPT_CLUSTERS)),
                "log_now": Field(np.int64, 0, (2, _KEPT_CLUSTERS)),
                "log_next": Field(np.int64, 0, (2,)),
            },
        )

    @property
    def levels(self) -> npt.NDArray[np.int64]:
        """int64[n_series], severity level (0 to 3) that the standing or last alarm has reached."""
        return self._arrays.level

    @property
    def peaks(self) -> npt.NDArray[np.float64]:
        """float64[n_series], highest score of the standing or last alarm."""
        return self._arrays.alarm_peak

    def reserve(self, n_series: int) -> None:
        """Have room for `n_series` series."""
        self._arrays.reserve(n_series)

    def fit(
        self, series: int, scores: npt.NDArray[np.float64], times: npt.NDArray[np.int64] | None = None
    ) -> CalibrationFit:
        """Learn what is usual for `series`; alarm and cluster state start afresh.

        Parameters
        ----------
        series
            Number of the series.
        scores
            float64[n], honest scores of a quiet prefix; NaN rows are left out.
        times
            int64[n], their event times, where clusters are to be kept for what operators say of them later.

        Raises
        ------
        NotEnoughDataError
            Fewer than ``2 * off_delay_rows + 1`` scores: not even two clusters could be told apart.
        ValueError
            A score is infinite.
        """
        infinite = np.flatnonzero(np.isinf(scores))
        if infinite.size:
            raise ValueError(f"score in row {infinite[0]} is infinite; detectors answer NaN where they cannot say")
        known = ~np.isnan(scores)
        scores = np.asarray(scores[known], dtype=np.float64)
        gap = self.policy.off_delay_rows
        if len(scores) <= 2 * gap:
            raise NotEnoughDataError(
                f"calibration needs at least {2 * gap + 1} scored rows (off-delay {gap}), there are {len(scores)}",
            )
        tail = fit_tail(scores, gap, self.prior_clusters)
        budget = self.policy.false_alarms_per_day / self.rows_per_day
        above = scores[scores > tail.start]
        ranks = np.sort(scores)
        if len(ranks) > _RANKS:
            ranks = np.quantile(ranks, np.linspace(0.0, 1.0, _RANKS))
        self.reserve(series + 1)
        a = self._arrays
        clusters = max(tail.clusters, 1.0)
        mean_excess = float(np.mean(above - tail.start)) if len(above) else 0.0
        if not mean_excess > 0:
            mean_excess = tail.excess / clusters
        shape = clusters + self.prior_clusters
        for name, value in {
            "budget": budget,
            "forget": 1.0 - 1.0 / max(len(scores), self.policy.memory_rows),
            "u": tail.start,
            "clusters": tail.clusters,
            "excess": tail.excess,
            "exposure": tail.exposure,
            "governor": 0.0,
            "is_open": False,
            "cap": np.nan,
            "on": False,
            "now": 0,
            "level": 0,
            "n_ranks": len(ranks),
            "n_prefix": len(scores),
            "tail_share": max(len(above), 1) / len(scores),
            "tail_mean": mean_excess + (1.0 - mean_excess) * self.prior_clusters / shape,
            "tail_shape": shape,
            "open_said": 0,
            "decay": 0.0,
            "log_next": 0,
            "log_said": 0,
        }.items():
            getattr(a, name)[series] = value
        if times is not None:
            self._keep_clusters(series, times[known], cluster_spans(scores, tail.start, gap))
        a.ranks[series] = 0.0
        a.ranks[series, : len(ranks)] = ranks
        max_budget = (tail.clusters + 1.0) / tail.exposure * self.rows_per_day
        flags = []
        if tail.exposure < _PROVISIONAL / budget:
            flags.append("provisional")
        if tail.degenerate:
            flags.append("degenerate_tail")
        if self.policy.false_alarms_per_day > max_budget:
            flags.append("budget_above_max")
        return CalibrationFit(tail, max_budget, tuple(flags), scores)

    def _keep_clusters(self, series: int, times: npt.NDArray[np.int64], spans: ClusterSpans) -> None:
        """Note the newest clusters of a prefix."""
        a = self._arrays
        first, last, excesses = (part[-_KEPT_CLUSTERS:] for part in spans)
        n = len(first)
        a.log_began[series, 0, :n], a.log_ended[series, 0, :n] = times[first], times[last]
        a.log_excess[series, 0, :n], a.log_cap[series, 0, :n] = excesses, np.nan
        a.log_decay[series, 0, :n], a.log_now[series, 0, :n] = 0.0, 0
        a.log_next[series, 0] = n

    def say(self, series: int, start: int, end: int, said: int, *, quiet: bool = False) -> int:
        """Heed what an operator says of the clusters of a period; returns how many it changed anything for.

        The weight of a cluster in S and K is taken back, as far as it has not been forgotten, and given anew. A bad
        alarmed cluster also takes back its step of the governor. Saying 0 takes back what was said before. A cluster
        that is still open is counted accordingly when it ends; of either kind the newest 32 can be spoken of.

        Parameters
        ----------
        series
            Number of the series.
        start, end
            Event times, ns UTC, both included.
        said
            ``BAD``, ``FALSE_ALARM`` or 0.
        quiet
            Of clusters without an alarm too: a period that nobody saw at the time.
        """
        a = self._arrays
        changed = 0
        if series >= a.capacity or not a.n_prefix[series]:
            return 0
        for kind in (0, 1) if quiet else (1,):
            for at in range(min(int(a.log_next[series, kind]), _KEPT_CLUSTERS)):
                before = int(a.log_said[series, kind, at])
                overlaps = a.log_began[series, kind, at] <= end and a.log_ended[series, kind, at] >= start
                if not overlaps or before == said:
                    continue
                a.log_said[series, kind, at] = said
                self._reweigh(series, kind, at, before, said)
                changed += 1
        alarmed = not np.isnan(a.cap[series])
        overlaps = a.open_began[series] <= end and a.open_ended[series] >= start
        if a.is_open[series] and overlaps and (alarmed or quiet) and a.open_said[series] != said:
            a.open_said[series] = said
            changed += 1
        return changed

    def onset(self, series: int, start: int, end: int) -> int:
        """Where the alarmed clusters of a period began, if that is before `start` (event times, ns UTC)."""
        a = self._arrays
        n = min(int(a.log_next[series, 1]), _KEPT_CLUSTERS)
        began, ended = a.log_began[series, 1, :n], a.log_ended[series, 1, :n]
        found = began[(began <= end) & (ended >= start)].tolist()
        if a.is_open[series] and not np.isnan(a.cap[series]) and a.open_began[series] <= end:
            found.append(int(a.open_began[series]))
        return int(min([start, *found]))

    def threshold(self, series: int) -> float:
        """The score above which the next row would raise."""
        a = self._arrays
        fixed = self.tail(series).threshold(float(a.budget[series]))
        return float(a.u[series] + (fixed - a.u[series]) * np.exp(a.governor[series]))

    def _reweigh(self, series: int, kind: int, at: int, before: int, said: int) -> None:
        a = self._arrays
        y, cap = float(a.log_excess[series, kind, at]), float(a.log_cap[series, kind, at])
        old, new = credit(y, cap, before), credit(y, cap, said)
        left = float(np.exp(a.decay[series] - a.log_decay[series, kind, at]))
        a.excess[series] += (new[0] - old[0]) * left
        a.clusters[series] = max(a.clusters[series] + (new[1] - old[1]) * left, 0.0)
        # What is left of nothing is a token: the tail must go on having a mean.
        a.excess[series] = max(a.excess[series], 1e-9 * max(abs(a.u[series]), 1e-6))
        rows = float(a.now[series] - a.log_now[series, kind, at])
        step = self.policy.governor_step * max(0.0, 1.0 - rows * float(a.budget[series]))
        if kind == 1 and BAD in (before, said):
            lifted = a.governor[series] + (step if before == BAD else -step)
            a.governor[series] = min(max(lifted, 0.0), self.policy.governor_limit)

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """What operators' words can change of a series, as arrays of length 1."""
        return {name: array for name, array in self._arrays.one(series).items() if name in _LEARNT or name in _OPEN}

    def restore_learnt(self, series: int, learnt: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put back what `learnt` gave; alarm and open cluster stay as they are."""
        a = self._arrays
        for name in _LEARNT:
            getattr(a, name)[series] = learnt[name][0]
        # Of a cluster that was open then and is still, what was said since is taken back too.
        same = a.open_began[series] == learnt["open_began"][0]
        a.open_said[series] = learnt["open_said"][0] if same else 0

    def update(
        self,
        series: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float64],
        breaks: npt.NDArray[np.bool_],
        times: npt.NDArray[np.int64] = _NO_TIMES,
        frozen: npt.NDArray[np.bool_] = _NONE_FROZEN,
    ) -> CalibratedScores:
        """Take in scores, row by row and in order.

        Parameters
        ----------
        series, scores, breaks
            int32[m], float64[m] and bool[m]: series number, score (NaN changes nothing), and whether time before the
            row is missing.
        times, frozen
            int64[m] and bool[m]: event times, where clusters are to be kept for what operators say of them later, and
            the rows from which nothing is learnt; both may be left out.

        Raises
        ------
        ValueError
            A score is infinite.
        """
        infinite = np.flatnonzero(np.isinf(scores))
        if infinite.size:
            raise ValueError(f"score in row {infinite[0]} is infinite; detectors answer NaN where they cannot say")
        m = len(series)
        if m:
            self.reserve(int(series.max()) + 1)
        result = CalibratedScores(
            np.empty(m), np.empty(m), np.empty(m), np.empty(m, dtype=np.bool_), np.empty(m, dtype=np.uint8)
        )
        a, policy = self._arrays, self.policy
        calibrate(
            series, scores, breaks, times, frozen, policy.off_delay_rows, self.prior_clusters, policy.off_share,
            policy.governor_step, policy.governor_limit, a.budget, a.forget, a.u, a.clusters, a.excess, a.exposure,
            a.governor, a.is_open, a.peak, a.cap, a.last_above, a.on, a.last_off, a.now, a.level, a.alarm_peak, a.ranks,
            a.n_ranks, a.tail_share, a.tail_mean, a.tail_shape, a.n_prefix, a.open_said, a.open_began, a.open_ended,
            a.decay, a.log_began, a.log_ended, a.log_excess, a.log_cap, a.log_said, a.log_decay, a.log_now, a.log_next,
            result.p_values, result.rates, result.thresholds, result.on, result.events,
        )  # fmt: skip
        return result

    def prefix_p_values(self, series: int, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """p-values of `scores` under the fit of `series`, without learning from them: float64[n]."""
        a = self._arrays
        n = len(scores)
        throwaway = EpisodeCalibrator(self.policy, self.rows_per_day, self.prior_clusters)
        throwaway._arrays.restore(a.one(series))
        return throwaway.update(np.zeros(n, np.int32), scores, np.zeros(n, np.bool_)).p_values

    def set_budget(self, false_alarms_per_day: float) -> None:
        """Change the budget of all fitted series; what they have learnt stays."""
        self.policy = replace(self.policy, false_alarms_per_day=false_alarms_per_day)
        fitted = self._arrays.n_prefix > 0
        self._arrays.budget[fitted] = false_alarms_per_day / self.rows_per_day

    def tail(self, series: int) -> TailFit:
        """The tail of `series` as it stands now."""
        a = self._arrays
        return TailFit(
            float(a.u[series]),
            float(a.clusters[series]),
            float(a.excess[series]),
            float(a.exposure[series]),
            False,
            self.prior_clusters,
        )

    def figures(self, series: int) -> CalibrationFigures:
        """The calibration of `series` as it stands now, for people."""
        tail = self.tail(series)
        return CalibrationFigures(
            tail.clusters, tail.excess, tail.exposure, self.governor(series), self.threshold(series)
        )

    def governor(self, series: int) -> float:
        """How far recent alarms have lifted the threshold of `series` (log scale)."""
        return float(self._arrays.governor[series])

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._arrays.restore(state)
