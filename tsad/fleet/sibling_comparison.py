"""Closed time steps of groups: learnt from at first, then judged."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.calibration.tail import CalibrationFit
from tsad.errors import NotEnoughDataError
from tsad.fleet.comparison import FEWEST_SIBLINGS
from tsad.fleet.following import Following, judge, learn, median_of_group
from tsad.fleet.groups import SiblingGroups
from tsad.fleet.learning_rows import LearningRows, SiblingRows
from tsad.fleet.sibling_settings import ENOUGH
from tsad.observations import RowBatch, RowFlag
from tsad.series import SeriesTable
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays
from tsad.stream_output import FitReport

__all__ = ["Calibrate", "GroupComparison", "SiblingVerdicts"]

Calibrate = Callable[[int, npt.NDArray[np.float64], npt.NDArray[np.int64]], CalibrationFit]
"""Learns from the honest errors of a series, and their times, what is usual."""

_FEWEST = FEWEST_SIBLINGS + 1
_UNUSED = np.uint8(RowFlag.IMPUTED | RowFlag.MAINTENANCE)


@dataclass(slots=True)
class SiblingVerdicts:
    """What siblings say of m rows.

    Attributes
    ----------
    rows
        The rows, in order of their steps per series; their values are not used.
    values, ratios, group
        float32[m, n] each, by column of the group: the readings, their signed distance from what the siblings lead to
        expect in units of its healthy 99th percentile, and the median of the siblings in deviations.
    fits, counts
        Who was learnt, and what happened.
    """

    rows: RowBatch
    values: npt.NDArray[np.float32]
    ratios: npt.NDArray[np.float32]
    group: npt.NDArray[np.float32]
    fits: list[FitReport] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Block:
    """Closed steps of one group: m rows, by `at` (step) and `place` (member); float32[t, k, n] values."""

    group: int
    members: npt.NDArray[np.int32]
    rows: RowBatch
    steps: npt.NDArray[np.int64]
    at: npt.NDArray[np.intp]
    place: npt.NDArray[np.int32]
    learnable: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]

    def part(self, first: int, last: int, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
        """The rows of steps from `first` to `last`, not included, as far as they lie at `where`."""
        return np.flatnonzero(where & (self.at >= first) & (self.at < last))


class GroupComparison:
    """Learns how assets follow their group, and judges them.

    A group is learnt jointly from its first `train_rows` steps at which four members have usable rows: all members that
    have four in five of them. The others, and assets that come later, are learnt one by one when they have
    `train_rows` rows, against those that are learnt. Rows of maintenance are passed over in learning, and so
    are rows that were only held.

    Parameters
    ----------
    names
        Of the groups.
    train_rows
        Steps.
    table, groups
        The assets, and who belongs together.
    calibrate
        Learns what errors are usual.
    """

    def __init__(
        self, names: tuple[str, ...], train_rows: int, table: SeriesTable, groups: SiblingGroups, calibrate: Calibrate
    ) -> None:
        self._names = names
        self._train_rows = train_rows
        self._table = table
        self._groups = groups
        self._calibrate = calibrate
        self._learning = LearningRows()
        learnt = {name: Field(np.float64, np.nan, (PER_CHANNEL,), fitted=True) for name in Following._fields}
        self._series = SeriesArrays({**learnt, "fitted": Field(np.bool_, fitted=True), "judged": Field(np.int64)})
        # Steps that are kept to learn from, and those at which too few spoke.
        self._steps = np.zeros(len(names), np.int64)
        self._lonely = np.zeros(len(names), np.int64)
        self._is_learnt = np.zeros(len(names), np.bool_)
        self.fit_count = 0
        """Assets that were learnt."""

    def is_learnt(self, series: int) -> bool:
        """Whether `series` is judged."""
        return series < len(self._series.fitted) and bool(self._series.fitted[series])

    def forget(self, series: int, start: int, end: int) -> int:
        """Drop rows of a period that are still to be learnt from; returns how many."""
        return self._learning.forget_period(series, start, end)

    def expected(
        self, series: npt.NDArray[np.int32], group: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What siblings lead to expect of rows, and how far from it is usual: float64[m, n], in the channels' units."""
        a, n = self._series, group.shape[1]
        location, scale, level, slope, usual = (getattr(a, name)[series][:, :n] for name in Following._fields)
        return location + scale * (level + slope * group), scale * usual

    # ------------------------------------------------------------------------------------------------- one batch

    def judge(self, rows: RowBatch, steps: npt.NDArray[np.int64]) -> SiblingVerdicts:
        """Take in the rows of closed steps, values by column of the group; returns those of learnt assets."""
        self._series.reserve(len(self._groups.of), self._groups.width)
        none = np.zeros((0, rows.values.shape[1]), np.float32)
        out = SiblingVerdicts(rows.take(np.zeros(0, np.intp)), none, none, none)
        found: list[tuple[RowBatch, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = []
        of = self._groups.of[rows.series]
        for group in np.unique(of).tolist():
            block = self._block(group, rows.take(of == group), steps[of == group])
            first, last = 0, len(block.values)
            while first < last:
                if self._is_learnt[group]:
                    first, part = self._compare(block, first, out)
                    found.append(part)
                else:
                    first = self._gather(block, first, out)
        if found:
            batches, *arrays = zip(*found, strict=True)
            names = [name for name in RowBatch.__dataclass_fields__ if name != "faults"]
            out.rows = RowBatch(**{name: np.concatenate([getattr(b, name) for b in batches]) for name in names})
            out.values, out.ratios, out.group = (np.concatenate(array) for array in arrays)
        return out

    def _block(self, group: int, rows: RowBatch, steps: npt.NDArray[np.int64]) -> _Block:
        members = self._groups.members[group]
        grid, at = np.unique(steps, return_inverse=True)
        place = self._groups.place[rows.series]
        held = (rows.flags & RowFlag.IMPUTED) != 0
        values = np.full((len(grid), len(members), rows.values.shape[1]), np.nan, np.float32)
        values[at[~held], place[~held]] = rows.values[~held]
        learnable = ((rows.flags & _UNUSED) == 0) & ~np.isnan(rows.values).all(axis=1)
        return _Block(group, members, rows, steps, at, place, learnable, values)

    # ------------------------------------------------------------------------------------------------- learning

    def _gather(self, block: _Block, first: int, out: SiblingVerdicts) -> int:
        """Keep steps to learn the group from, until there are enough; returns how far it came."""
        group = block.group
        speaking = np.bincount(block.at[block.learnable], minlength=len(block.values))
        good = speaking >= _FEWEST
        so_far = self._steps[group] + np.cumsum(good[first:])
        last = first + min(int(np.searchsorted(so_far, self._train_rows)) + 1, len(so_far))
        self._learning.add(_kept(block, block.part(first, last, block.learnable & good[block.at])))
        self._steps[group] = so_far[last - first - 1]
        out.counts["too_few_siblings"] += len(block.part(first, last, ~good[block.at]))
        lonely = self._lonely[group] + np.cumsum(~good[first:last])
        if self._lonely[group] < self._train_rows <= lonely[-1]:
            out.fits.append(self._alone(block, first + int(np.searchsorted(lonely, self._train_rows))))
        self._lonely[group] = lonely[-1]
        if self._steps[group] >= self._train_rows:
            self._learn_group(block, last - 1, out)
        return last

    def _alone(self, block: _Block, at: int) -> FitReport:
        problem = f"at {self._train_rows} steps fewer than {_FEWEST} assets had rows; until then siblings say nothing"
        time = int(block.rows.times[block.at == at].max())
        return FitReport(self._names[block.group], time, self._train_rows, None, problem)

    def _learn_group(self, block: _Block, at: int, out: SiblingVerdicts) -> None:
        members = block.members
        rows = self._learning.of(members)
        time = int(rows.times.max())
        full = members[self._learning.count(members) >= ENOUGH * self._train_rows]
        learnt: list[int] = []
        if len(full) >= _FEWEST:
            steps = np.unique(rows.steps)
            own = rows.take(np.isin(rows.series, full))
            known, errors = learn(own.dense(full, steps, "values"))
            for place, series in enumerate(full.tolist()):
                mine = own.take(own.series == series)
                if self._calibrated(series, errors[np.searchsorted(steps, mine.steps), place], mine, out):
                    learnt.append(series)
        if len(learnt) < _FEWEST:
            problem = (
                f"{len(full)} of {len(np.unique(rows.series))} assets have rows of four in five of {self._train_rows} "
                f"steps; at least {_FEWEST} are needed to compare them"
            )
            out.fits.append(FitReport(self._names[block.group], time, len(rows), None, problem))
            self._learning.forget_oldest(members)
            self._steps[block.group] = len(np.unique(self._learning.of(members).steps))
            return
        for series in learnt:
            place = int(np.searchsorted(full, series))
            self._enter(series, Following(*(part[place] for part in known)))
        self._is_learnt[block.group] = True
        self._series.judged[learnt] = self._steps_of(block)[at]
        self._learning.forget(np.array(learnt, np.int32))
        self._answer(rows, np.array(learnt, np.int32))

    def _answer(self, rows: SiblingRows, learnt: npt.NDArray[np.int32]) -> None:
        """Put the median of those that are learnt beside the rows of those that are not."""
        others = rows.take(~np.isin(rows.series, learnt))
        if not len(others):
            return
        steps = np.unique(rows.steps)
        own = rows.take(np.isin(rows.series, learnt))
        median = median_of_group(own.dense(learnt, steps, "values"), self._following(learnt, rows.values.shape[1]))
        self._learning.forget(np.unique(others.series))
        group = median[np.searchsorted(steps, others.steps)].astype(np.float32)
        self._learning.add(replace(others, group=group))

    def _calibrated(
        self, series: int, errors: npt.NDArray[np.float64], rows: SiblingRows, out: SiblingVerdicts
    ) -> bool:
        """Calibrate the errors of a series; returns whether there were enough."""
        asset, time = self._table.assets[series], int(rows.times[-1])
        try:
            calibration = self._calibrate(series, errors, rows.times)
        except NotEnoughDataError as error:
            out.fits.append(FitReport(asset, time, len(rows), None, str(error)))
            return False
        out.fits.append(FitReport(asset, time, len(rows), calibration, None))
        return True

    def _enter(self, series: int, known: Following) -> None:
        a = self._series
        for name, array in zip(Following._fields, known, strict=True):
            getattr(a, name)[series, : len(array)] = array
        a.fitted[series] = True
        self.fit_count += 1

    def _learn_late(self, series: int, step: int, out: SiblingVerdicts) -> None:
        """Learn a series against siblings that are learnt already."""
        one = np.array([series], np.int32)
        rows = self._learning.of(one)
        known, errors = learn(rows.values[:, None], rows.group[:, None].astype(np.float64))
        if self._calibrated(series, errors[:, 0], rows, out):
            self._enter(series, Following(*(part[0] for part in known)))
            self._learning.forget(one)
            self._series.judged[series] = step
        else:
            self._learning.forget_oldest(one)

    # ------------------------------------------------------------------------------------------------- judging

    def _compare(
        self, block: _Block, first: int, out: SiblingVerdicts
    ) -> tuple[int, tuple[RowBatch, npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Judge steps until somebody new is learnt; returns how far it came, and the rows."""
        members, known = block.members, self._following(block.members, block.values.shape[2])
        fitted = self._series.fitted[members]
        last = len(block.values)
        if not fitted.all():
            last = self._gather_late(block, first, fitted, known, out)
        judged = judge(block.values[first:last], known)
        where = block.part(first, last, fitted[block.place])
        at, place = block.at[where] - first, block.place[where]
        rows = self._with_breaks(block.rows.take(where), block.steps[where])
        return last, (rows, block.rows.values[where], judged.ratios[at, place], judged.group[at, place])

    def _gather_late(
        self, block: _Block, first: int, fitted: npt.NDArray[np.bool_], known: Following, out: SiblingVerdicts
    ) -> int:
        """Keep rows of assets that are not learnt, until one has enough, which is learnt; returns how far it came."""
        median = median_of_group(block.values[first:], known).astype(np.float32)
        said = np.concatenate([np.zeros(first, np.bool_), ~np.isnan(median).all(axis=1)])
        new = block.learnable & ~fitted[block.place] & said[block.at]
        where = block.part(first, len(block.values), new)
        have = np.zeros((len(block.values) - first, len(block.members)), np.int64)
        have[block.at[where] - first, block.place[where]] = 1
        full = self._learning.count(block.members) + np.cumsum(have, axis=0) >= self._train_rows
        full &= have > 0
        ready = np.flatnonzero(full.any(axis=1))
        last = len(block.values) if not len(ready) else first + int(ready[0]) + 1
        where = block.part(first, last, new)
        self._learning.add(_kept(block, where, median[block.at[where] - first]))
        for place in np.flatnonzero(full[last - first - 1]):
            self._learn_late(int(block.members[place]), int(self._steps_of(block)[last - 1]), out)
        return last

    def _following(self, members: npt.NDArray[np.int32], n: int) -> Following:
        return Following(*(getattr(self._series, name)[members][:, :n] for name in Following._fields))

    @staticmethod
    def _steps_of(block: _Block) -> npt.NDArray[np.int64]:
        return np.unique(block.steps)

    def _with_breaks(self, rows: RowBatch, steps: npt.NDArray[np.int64]) -> RowBatch:
        """The rows, in order of steps, flagged where steps of their series are missing before them."""
        order = np.argsort(rows.series, kind="stable")
        series, own = rows.series[order], steps[order]
        begins = np.append(True, series[1:] != series[:-1]) if len(series) else np.zeros(0, np.bool_)
        before = np.where(begins, self._series.judged[series], np.append(0, own[:-1])[: len(own)])
        flags = rows.flags.copy()
        flags[order] &= ~np.uint8(RowFlag.BREAK)
        flags[order[own - before > 1]] |= np.uint8(RowFlag.BREAK)
        self._series.judged[series] = own
        return replace(rows, flags=flags)

    # ------------------------------------------------------------------------------------------------- state

    def state(self, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt, or else all the rest."""
        self._series.reserve(len(self._groups.of), self._groups.width)
        own = {f"series/{k}": v for k, v in self._series.state(len(self._groups.of), fitted=fitted).items()}
        if fitted:
            return own
        learning = {f"learning/{name}": array for name, array in self._learning.state().items()}
        return {
            **own,
            **learning,
            "steps": self._steps.copy(),
            "lonely": self._lonely.copy(),
            "is_learnt": self._is_learnt.copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]], fit_count: int) -> None:
        """Continue from the union of both states; the groups were restored before.

        Raises
        ------
        SnapshotError
            It is of another version.
        KeyError
            An array is missing.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"series": {}, "learning": {}}
        for key, array in state.items():
            part, _, name = key.partition("/")
            if name:
                parts[part][name] = array
        self._series.restore(parts["series"])
        self._learning.restore(parts["learning"])
        self._steps, self._lonely = np.array(state["steps"]), np.array(state["lonely"])
        self._is_learnt = np.array(state["is_learnt"])
        self.fit_count = fit_count


def _kept(block: _Block, where: npt.NDArray[np.intp], group: npt.NDArray[np.float32] | None = None) -> SiblingRows:
    rows = block.rows
    values = rows.values[where]
    return SiblingRows(
        rows.series[where], block.steps[where], rows.times[where], values,
        np.full_like(values, np.nan) if group is None else group,
    )  # fmt: skip
