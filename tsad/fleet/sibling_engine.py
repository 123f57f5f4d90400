"""The sibling engine: final rows of a stream in, what siblings say of each asset and alarms out.

The counterpart of `tsad.engine` for assets that are judged against each other.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import AlarmBook, AlarmTransition
from tsad.calibration.episodes import EpisodeCalibrator
from tsad.calibration.persistence import PersistenceFilter
from tsad.calibration.tail import CalibrationFit
from tsad.detectors.base import Scores, Unscored
from tsad.errors import SnapshotError, StoppedError
from tsad.fleet.groups import SiblingGroups
from tsad.fleet.sibling_comparison import GroupComparison, SiblingVerdicts
from tsad.fleet.sibling_settings import DETECTOR, SiblingStream
from tsad.fleet.waiting_rows import WaitingRows
from tsad.interventions import Effect, Intervention, concerned_series, plan_maintenance
from tsad.maintenance import MaintenancePlan
from tsad.observations import ObservationBatch, RowBatch, RowFlag
from tsad.scoring_tier import TierScores
from tsad.series import SeriesTable
from tsad.stream_output import StreamOutput
from tsad.transitions import alarm_transitions

__all__ = ["SiblingEngine"]

_ABOUT_THE_ROW = RowFlag.BREAK | RowFlag.IMPUTED | RowFlag.HELD | RowFlag.MASKED | RowFlag.MAINTENANCE


class SiblingEngine:
    """Judges every asset of a group against the others of its group, time step by time step.

    Rows wait until their step is complete or closed by event time (`tsad.fleet.waiting_rows.WaitingRows`, with the law
    of what depends on the order of rows). How an asset follows the median of its siblings is learnt from the first
    steps of the group, of an asset that comes later from its own first rows (`GroupComparison`). The largest distance
    of a channel from what the siblings lead to expect is the score; its calibration, budget and alarms are of its own.

    Parameters
    ----------
    stream
        Who is compared, and how.

    Examples
    --------
    >>> from tsad.fleet.sibling_settings import SiblingSettings
    >>> engine = SiblingEngine(SiblingStream("nodes.siblings", 60.0, SiblingSettings(groups={"rack": "node-*"})))
    >>> engine.table.add("node-1")
    0
    """

    def __init__(self, stream: SiblingStream) -> None:
        self.stream = stream
        self.table = SeriesTable(stream.channels)
        self.maintenance = MaintenancePlan(stream.name)
        """When nothing is learnt, besides the times that rows say themselves."""
        self.is_stopping: Callable[[], bool] = lambda: False
        """Whether learning is to be broken off."""
        self.changes = 0
        """Rises with everything that operators change."""
        self._groups = SiblingGroups(stream.siblings.matchers(), self.table)
        step = round(stream.step * 1e9)
        self._waiting = WaitingRows(step, stream.siblings.wait_rows, stream.ahead_rows, self._groups)
        self._calibrator = EpisodeCalibrator(stream.alarm.policy(stream.step), stream.rows_per_day)
        self._persistence = PersistenceFilter(*stream.alarm.persistence(stream.step))
        self._comparison = GroupComparison(
            tuple(stream.siblings.groups), stream.siblings.train_rows, self.table, self._groups, self._calibrate
        )
        self._book = AlarmBook(stream.name)
        self._newest = 0

    @property
    def newest(self) -> int:
        """The newest event time of a row, ns UTC; 0 before the first."""
        return self._newest

    @property
    def fit_count(self) -> int:
        """Assets that were learnt."""
        return self._comparison.fit_count

    @property
    def waiting(self) -> int:
        """Rows whose step is not closed yet."""
        return len(self._waiting)

    # ------------------------------------------------------------------------------------------------- one batch

    def process(self, rows: RowBatch) -> StreamOutput:
        """Take in final rows of series that are in `table`, in order per series, values by its channels.

        What comes back are the rows of closed steps of assets that are learnt. Their values are the distances by
        channel from what the siblings lead to expect, signed, in units of its healthy 99th percentile.

        Raises
        ------
        StoppedError
            `is_stopping` said so. The engine is of no use then: a part of the batch has gone in.
        """
        counts: Counter[str] = Counter()
        self._groups.follow()
        own = self._groups.of[rows.series] >= 0
        counts["without_siblings"] += int((~own).sum())
        rows = rows if own.all() else rows.take(own)
        if len(rows):
            self._newest = max(self._newest, int(rows.times.max()))
        flags = rows.flags & np.uint8(_ABOUT_THE_ROW)
        if self.maintenance and len(rows):
            flags[self.maintenance.mark(self.table.assets, rows.series, rows.times)] |= np.uint8(RowFlag.MAINTENANCE)
        values = self._groups.as_group(rows.series, rows.values)
        closed, steps, late = self._waiting.take(replace(rows, values=values, flags=flags, faults=None))
        counts["late"] += late
        found = self._comparison.judge(closed, steps)
        counts += found.counts
        return self._alarmed(found, counts)

    def _calibrate(self, series: int, errors: npt.NDArray[np.float64], times: npt.NDArray[np.int64]) -> CalibrationFit:
        if self.is_stopping():
            raise StoppedError("learning was broken off; the batch is to be processed anew")
        return self._calibrator.fit(series, self._persistence.prime(series, errors), times)

    def _alarmed(self, found: SiblingVerdicts, counts: Counter[str]) -> StreamOutput:
        rows = found.rows
        breaks = (rows.flags & RowFlag.BREAK) != 0
        frozen = (rows.flags & RowFlag.MAINTENANCE) != 0
        errors = np.nan_to_num(np.abs(found.ratios), nan=-1.0).max(axis=1, initial=-1.0).astype(np.float64)
        errors[errors < 0] = np.nan
        verdict = self._persistence.apply(rows.series, errors, breaks)
        calibrated = self._calibrator.update(rows.series, verdict, breaks, rows.times, frozen)
        reason = np.where(np.isnan(errors), Unscored.VALUES_MISSING, Unscored.SCORED).astype(np.uint8)
        counts["unscored"] += int(np.isnan(errors).sum())
        told = np.flatnonzero(calibrated.events)
        transitions: list[AlarmTransition] = []
        if len(told):
            said = TierScores(
                {DETECTOR: self._explained(found, errors, reason, told)}, {}, verdict[told], reason[told],
                calibrated.take(told), 0, {},
            )  # fmt: skip
            readings = replace(rows.take(told), values=self._groups.as_own(rows.series[told], found.values[told]))
            transitions = alarm_transitions(self._book, self.table, readings, said, self.stream)
        none = np.zeros(0, np.int32)
        kept = replace(rows, values=self._groups.as_own(rows.series, found.ratios))
        return StreamOutput(
            rows=kept,
            scores={DETECTOR: errors},
            reason=reason,
            verdict=verdict,
            calibrated=calibrated,
            transitions=transitions,
            fits=found.fits,
            set_aside=ObservationBatch(
                none,
                np.zeros(0, np.int64),
                np.zeros((0, 1), np.float32),
                None,
                none,
                none.astype(np.int64),
                none.astype(np.int64),
            ),
            set_aside_status=np.zeros(0, np.uint8),
            counts=counts,
        )

    def _explained(
        self, found: SiblingVerdicts, errors: npt.NDArray[np.float64], reason: npt.NDArray[np.uint8],
        where: npt.NDArray[np.intp],
    ) -> Scores:  # fmt: skip
        """What is said of the rows at `where`, with shares, expected values and bands in the channels' own units."""
        series = found.rows.series[where]
        weight = np.nan_to_num(found.ratios[where].astype(np.float64)) ** 2
        total = weight.sum(axis=1, keepdims=True)
        shares = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        expected, band = self._comparison.expected(series, found.group[where])
        own = self._groups.as_own
        return Scores(
            errors[where], reason[where], np.nan_to_num(own(series, shares)), own(series, expected),
            own(series, expected - band), own(series, expected + band),
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------- operators

    def concerned(self, intervention: Intervention) -> list[int]:
        """Series that an intervention is about."""
        return concerned_series(self.table, intervention)

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """What `learn` can change of a series, for an intervention of kind ``restore``; empty while it is new."""
        return self._calibrator.learnt(series) if self._comparison.is_learnt(series) else {}

    def learn(self, intervention: Intervention) -> list[Effect]:
        """Let what an operator said change the calibration, and the rows that are still to be learnt from."""
        self.changes += 1
        plan_maintenance(self.maintenance, intervention)
        return [self._learn_from(intervention, series) for series in self.concerned(intervention)]

    def _learn_from(self, one: Intervention, series: int) -> Effect:
        known = self._comparison.is_learnt(series)
        before = self._calibrator.figures(series) if known else None
        clusters, rows = 0, 0
        if one.kind == "restore":
            if known and one.learnt:
                self._calibrator.restore_learnt(series, one.learnt)
        elif known:
            clusters = self._calibrator.say(series, one.start, one.end, one.said, quiet=not one.episode)
        if one.unlearns:
            rows = self._comparison.forget(series, one.start, one.end)
        after = self._calibrator.figures(series) if known else None
        return Effect(self.table.assets[series], 0, clusters, rows, before, after)

    # ------------------------------------------------------------------------------------------------- state

    def state(self, *, fitted: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that the next batch depends on, as named arrays and JSON-ready values.

        Parameters
        ----------
        fitted
            What changes only when an asset is learnt, or else all the rest.
        """
        self._groups.follow()
        n = len(self.table)
        parts = {
            "calibrator": self._calibrator.state(n, fitted=fitted),
            "persistence": self._persistence.state(n, fitted=fitted),
            "comparison": self._comparison.state(fitted=fitted),
            "waiting": {} if fitted else self._waiting.state(),
        }
        arrays = {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}
        extra = {
            "table": self.table.state(),
            "columns": self._groups.state(),
            "book": self._book.state(),
            "fits": self.fit_count,
            "newest": self._newest,
            "maintenance": self.maintenance.state(),
        }
        return arrays, {} if fitted else extra

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from the union of both states.

        Raises
        ------
        SnapshotError
            The state is damaged, or of other settings or another version.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        try:
            self.table.restore(extra["table"])
            self._groups.restore(extra["columns"])
            self._book.restore(extra["book"])
            self._newest = extra["newest"]
            self.maintenance.restore(extra["maintenance"])
            self._calibrator.restore(parts["calibrator"])
            self._persistence.restore(parts["persistence"])
            self._comparison.restore(parts["comparison"], extra["fits"])
            self._waiting.restore(parts["waiting"])
        except KeyError as error:
            raise SnapshotError(f"the stored state of {self.stream.name!r} lacks {error}; learn it anew") from error
        self._calibrator.set_budget(self.stream.alarm.false_alarms_per_day)

    def relearn(self, extra: Mapping[str, Any]) -> list[AlarmTransition]:
        """Take over from a stored state the alarms alone: their counts go on, open ones are closed.

        Series keep their numbers, so that what is kept of them stays theirs.
        """
        if self.table.shared_channels == _tuple(extra["table"]["shared_channels"]):
            self.table.restore(extra["table"])
        self._book.restore(extra["book"])
        return self._book.close_all(extra["newest"])


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
