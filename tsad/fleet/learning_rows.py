"""Rows of nodes that are not learnt yet, kept until there are enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LearningRows", "SiblingRows"]


@dataclass(frozen=True, slots=True, eq=False)
class SiblingRows:
    """Rows of closed steps.

    Attributes
    ----------
    series, steps, times
        int32[m], int64[m] and int64[m] (ns UTC).
    values
        float32[m, n], by column of the group.
    group
        float32[m, n], the median of the siblings in deviations; NaN while these are not learnt either.
    """

    series: npt.NDArray[np.int32]
    steps: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    group: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.series)

    def take(self, where: npt.NDArray[Any]) -> "SiblingRows":
        """The rows at `where`, an index or a mask."""
        return SiblingRows(**{name: getattr(self, name)[where] for name in _NAMES})

    def dense(self, members: npt.NDArray[np.int32], steps: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.float32]:
        """``values`` or ``group`` as float32[t, k, n], for rising series and steps, NaN where there is no row."""
        found = np.full((len(steps), len(members), self.values.shape[1]), np.nan, np.float32)
        found[np.searchsorted(steps, self.steps), np.searchsorted(members, self.series)] = getattr(self, name)
        return found


_NAMES = ("series", "steps", "times", "values", "group")


class LearningRows:
    """Keeps rows in order of their steps, for as many series as are not learnt."""

    def __init__(self) -> None:
        self._blocks: list[SiblingRows] = []
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, rows: SiblingRows) -> None:
        """Keep rows."""
        if len(rows):
            self._blocks.append(rows)
            self._count(rows)

    def _count(self, rows: SiblingRows) -> None:
        size = max(len(self._counts), int(rows.series.max(initial=-1)) + 1)
        before = np.pad(self._counts, (0, size - len(self._counts)))
        self._counts = before + np.bincount(rows.series, minlength=size)

    def of(self, members: npt.NDArray[np.int32]) -> SiblingRows:
        """The rows of these series."""
        rows = self._all()
        return rows.take(np.isin(rows.series, members))

    def count(self, series: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """int64[m], how many rows there are of each of these series."""
        size = max(len(self._counts), int(series.max(initial=-1)) + 1)
        return np.asarray(np.pad(self._counts, (0, size - len(self._counts)))[series])

    def keep(self, where: npt.NDArray[np.bool_]) -> int:
        """Drop all rows but those at `where` (of all rows, in order); returns how many went."""
        rows = self._all()
        kept = rows.take(where)
        self._blocks, self._counts = [kept], np.zeros(0, np.int64)
        self._count(kept)
        return len(rows) - len(kept)

    def forget(self, members: npt.NDArray[np.int32]) -> None:
        """Drop the rows of these series."""
        self.keep(~np.isin(self._all().series, members))

    def forget_oldest(self, members: npt.NDArray[np.int32]) -> None:
        """Drop the oldest tenth of the steps of these series."""
        rows = self._all()
        own = np.isin(rows.series, members)
        steps = np.unique(rows.steps[own])
        if len(steps):
            self.keep(~own | (rows.steps > steps[len(steps) // 10]))

    def forget_period(self, series: int, start: int, end: int) -> int:
        """Drop the rows of a series in a period (event times, ns UTC, both included); returns how many."""
        rows = self._all()
        return self.keep((rows.series != series) | (rows.times < start) | (rows.times > end))

    def _all(self) -> SiblingRows:
        if len(self._blocks) != 1:
            width = max((block.values.shape[1] for block in self._blocks), default=1)

            def padded(block: SiblingRows, name: str) -> npt.NDArray[Any]:
                array: npt.NDArray[Any] = getattr(block, name)
                missing = width - array.shape[1] if array.ndim == 2 else 0
                return np.pad(array, ((0, 0), (0, missing)), constant_values=np.nan) if missing else array

            blocks = self._blocks or [_nothing()]
            self._blocks = [SiblingRows(**{n: np.concatenate([padded(b, n) for b in blocks]) for n in _NAMES})]
        return self._blocks[0]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All rows; the medians are left out while there are none."""
        rows = self._all()
        arrays: dict[str, npt.NDArray[Any]] = {name: getattr(rows, name) for name in _NAMES}
        if np.isnan(rows.group).all():
            arrays["group"] = rows.group[:, :0]
        return arrays

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        arrays = {name: np.array(state[name]) for name in _NAMES}
        if not arrays["group"].shape[1]:
            arrays["group"] = np.full_like(arrays["values"], np.nan)
        self._blocks = [SiblingRows(**arrays)]
        self._counts = np.zeros(0, np.int64)
        self._count(self._blocks[0])


def _nothing() -> SiblingRows:
    none = np.zeros((0, 1), np.float32)
    return SiblingRows(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64), none, none)
