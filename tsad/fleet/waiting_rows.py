"""Rows of a group wait until their time step is complete, by event time alone."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.fleet.groups import SiblingGroups
from tsad.kernels.siblings import NOWHERE, place
from tsad.observations import RowBatch
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["WaitingRows"]

_ROW = tuple(one.name for one in fields(RowBatch) if one.name != "faults")


class WaitingRows:
    """Holds the rows of a time step until every member of the group has its row of that step, or is not waited for.

    A member is waited for while it is at most `wait` steps behind the newest step that four members have reached: fewer
    cannot be compared, and a few wrong clocks do not shut the others out. At first nothing is closed before the group
    is more than `wait` steps in, for members that have not begun are not known. A row whose step was closed
    already is late, and left out.

    What comes of a sequence of rows does not depend on how it is cut into batches. Two orders of the same rows, each in
    order per series, give the same steps if no row is late in either. No row is late where every member begins within
    `wait` steps of the first and is never more than `wait` steps behind the newest.

    Parameters
    ----------
    step
        Of the time grid, ns.
    wait
        Steps.
    ahead
        Steps by which fewer than four members may be in front before they count as the newest; it bounds what waits.
    groups
        Who belongs together.
    """

    def __init__(self, step: int, wait: int, ahead: int, groups: SiblingGroups) -> None:
        self._step = step
        self._wait = wait
        self._ahead = ahead
        self._groups = groups
        self._series = SeriesArrays({"last": Field(np.int64, NOWHERE), "origin": Field(np.int64, NOWHERE)})
        names = ("origin", "first", "newest", "frontier")
        self._of_group = {name: np.full(len(groups), NOWHERE, np.int64) for name in names}
        self._steps = np.zeros(0, np.int64)
        self._rows = RowBatch(
            np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros((0, groups.width), np.float32),
            np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int64),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: RowBatch) -> tuple[RowBatch, npt.NDArray[np.int64], int]:
        """Take in rows in order of arrival.

        Parameters
        ----------
        rows
            Of series that have a group, values by its columns.

        Returns
        -------
        rows, steps, late
            Rows of steps that are closed now, by group, step and member; int64[m] their steps; and how many came late.
        """
        steps = self._numbered(rows)
        late = np.empty(len(rows), np.bool_)
        groups, g = self._groups, self._of_group
        starts = np.cumsum([0, *(len(members) for members in groups.members)])
        place(
            rows.series, steps, groups.of, np.concatenate(groups.members), starts, self._wait, self._ahead,
            self._series.last, g["first"], g["newest"], g["frontier"], late,
        )  # fmt: skip
        held, steps = _joined(self._rows, rows.take(~late)), np.concatenate([self._steps, steps[~late]])
        group = groups.of[held.series]
        closed = steps <= g["frontier"][group]
        self._rows, self._steps = held.take(~closed), steps[~closed]
        order = np.flatnonzero(closed)
        order = order[np.lexsort((held.series[order], steps[order], group[order]))]
        return held.take(order), steps[order], int(late.sum())

    def _numbered(self, rows: RowBatch) -> npt.NDArray[np.int64]:
        """int64[m], time step of every row within its group: each series has its own phase."""
        self._series.reserve(len(self._groups.of))
        origin, common = self._series.origin, self._of_group["origin"]
        if (origin[rows.series] == NOWHERE).any():
            numbers, first = np.unique(rows.series, return_index=True)
            for series, time in sorted(zip(numbers.tolist(), rows.times[first].tolist(), strict=True)):
                origin[series] = time if origin[series] == NOWHERE else origin[series]
            # The group's grid begins with whoever came first.
            for at in np.sort(first):
                group = self._groups.of[rows.series[at]]
                common[group] = rows.times[at] if common[group] == NOWHERE else common[group]
        begun = origin[rows.series]
        return self._cells(begun - common[self._groups.of[rows.series]]) + self._cells(rows.times - begun)

    def _cells(self, span: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.asarray((span + self._step // 2) // self._step)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The waiting rows, and where every series and group stands."""
        series = self._series.state(len(self._groups.of), fitted=False)
        return {
            **{f"series/{name}": array for name, array in series.items()},
            **{f"group/{name}": array.copy() for name, array in self._of_group.items()},
            **{f"row/{name}": getattr(self._rows, name).copy() for name in _ROW},
            "row/step": self._steps.copy(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; the groups were restored before.

        Raises
        ------
        SnapshotError
            It is of another version.
        KeyError
            An array is missing.
        """
        self._series.restore({k.removeprefix("series/"): v for k, v in state.items() if k.startswith("series/")})
        self._of_group = {name: np.array(state[f"group/{name}"]) for name in self._of_group}
        self._rows = RowBatch(**{name: np.array(state[f"row/{name}"]) for name in _ROW})
        self._steps = np.array(state["row/step"])


def _joined(first: RowBatch, second: RowBatch) -> RowBatch:
    """Two batches as one; columns that one lacks are missing there."""
    width = max(first.values.shape[1], second.values.shape[1])
    first, second = (
        one if one.values.shape[1] == width else replace(
            one, values=np.pad(one.values, ((0, 0), (0, width - one.values.shape[1])), constant_values=np.nan)
        )
        for one in (first, second)
    )  # fmt: skip
    return RowBatch(**{n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in _ROW})
