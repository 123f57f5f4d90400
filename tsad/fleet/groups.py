"""Which assets of a stream are siblings, and which of their channels stand in which column of their group."""

from collections.abc import Sequence
from re import Pattern
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.series import SeriesTable

__all__ = ["SiblingGroups"]


class SiblingGroups:
    """Finds the group of every asset as it appears, and gives every channel of a group a column.

    Parameters
    ----------
    matchers
        By group, what the names of its assets match; no name matches two.
    table
        The assets and their channels.
    """

    def __init__(self, matchers: Sequence[Pattern[str]], table: SeriesTable) -> None:
        self._matchers = matchers
        self._table = table
        self._version = -1
        self._columns: list[dict[str, int]] = [
            {name: column for column, name in enumerate(table.shared_channels or ())} for _ in matchers
        ]
        self.of: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        """int32[n_series], group of every series; -1 for none."""
        self.members: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32) for _ in matchers]
        """Series of every group."""
        self.place: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        """int32[n_series], which member of its group each series is."""
        self._of_own = self._to_own = np.zeros((0, 0), np.int32)

    def __len__(self) -> int:
        return len(self._matchers)

    @property
    def width(self) -> int:
        """Most columns of a group."""
        return max(1, *(len(columns) for columns in self._columns))

    def follow(self) -> None:
        """Take in series and channels that are new in the table."""
        table = self._table
        if self._version == table.version:
            return
        self._version = table.version
        known = len(self.of)
        found = [
            next((group for group, matcher in enumerate(self._matchers) if matcher.match(asset)), -1)
            for asset in table.assets[known:]
        ]
        self.of = np.concatenate([self.of, np.array(found, np.int32)])
        self.members = [np.flatnonzero(self.of == group).astype(np.int32) for group in range(len(self))]
        self.place = np.zeros(len(self.of), np.int32)
        for own in self.members:
            self.place[own] = np.arange(len(own))
        if table.shared_channels is not None:
            return
        for series, group in enumerate(self.of.tolist()):
            for name in table.channel_names(series) if group >= 0 else ():
                self._columns[group].setdefault(name, len(self._columns[group]))
        self._of_own = np.full((len(self.of), self.width), -1, np.int32)
        self._to_own = np.full((len(self.of), table.width), -1, np.int32)
        for series, group in enumerate(self.of.tolist()):
            for place, name in enumerate(table.channel_names(series) if group >= 0 else ()):
                column = self._columns[group][name]
                self._of_own[series, column], self._to_own[series, place] = place, column

    def as_group(self, series: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values of rows, by column of the series, as values by column of the group: float32[m, width]."""
        if self._table.shared_channels is not None:
            return values[:, : self.width]
        return _gathered(values, self._of_own[series])

    def as_own(self, series: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Values of rows, by column of the group, as values by column of the series: float32[m, table.width]."""
        if self._table.shared_channels is not None:
            return values.astype(np.float32)
        return _gathered(values, self._to_own[series])

    def state(self) -> list[list[str]]:
        """Channels of every group by column, JSON-ready."""
        return [list(columns) for columns in self._columns]

    def restore(self, state: Sequence[Sequence[str]]) -> None:
        """Continue from a stored state; the table was restored before."""
        self._columns = [{name: column for column, name in enumerate(names)} for names in state]
        self.of, self._version = np.zeros(0, np.int32), -1
        self.follow()


def _gathered(values: npt.NDArray[Any], columns: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    missing = int(columns.max(initial=0)) + 1 - values.shape[1]
    if missing > 0:
        values = np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)
    found = np.take_along_axis(values, np.maximum(columns, 0), axis=1)
    return np.where(columns < 0, np.float32(np.nan), found.astype(np.float32, copy=False))
