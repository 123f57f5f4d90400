"""Growable arrays with one row a series: how every stage keeps its streaming state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError

__all__ = ["PER_CHANNEL", "PER_LEARNT_ROW", "Field", "SeriesArrays", "by_series"]

PER_CHANNEL = -1
"""Stands in a field's shape for "as many as the stream has channel columns"."""
PER_LEARNT_ROW = -2
"""Stands in a field's shape for "as many as the longest training part that is kept"."""


def by_series(series: npt.NDArray[np.int32]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Positions of every series in `series`, in order, by rising series number.

    Examples
    --------
    >>> [(number, where.tolist()) for number, where in by_series(np.array([7, 2, 7], np.int32))]
    [(2, [1]), (7, [0, 2])]
    """
    order = np.argsort(series, kind="stable")
    numbers, first = np.unique(series[order], return_index=True)
    bounds = np.append(first, len(order))
    for number, start, stop in zip(numbers, bounds[:-1], bounds[1:], strict=True):
        yield int(number), order[start:stop]


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a `SeriesArrays`.

    Attributes
    ----------
    dtype, fill, shape
        Its type, what new cells hold, and its shape behind the series axis.
    fitted
        It changes only when a series is fitted, so snapshots need not write it each time.
    """

    dtype: npt.DTypeLike
    fill: float = 0
    shape: tuple[int, ...] = ()
    fitted: bool = False


class SeriesArrays:
    """Named arrays that share their first axis, the series, and grow together.

    Arrays are reached by attribute. Growing replaces them, so take them afresh for every batch.

    Examples
    --------
    >>> arrays = SeriesArrays({"count": Field(np.int64), "last": Field(np.float32, np.nan, (PER_CHANNEL,))})
    >>> arrays.reserve(2, width=3)
    >>> arrays.count.shape[0] >= 2, arrays.last.shape[1]
    (True, 3)
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = dict(fields)
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self.capacity = 0
        self.width = 0
        self.depth = 0
        self._allocate(0, 0, 0)

    def __getattr__(self, name: str) -> npt.NDArray[Any]:
        try:
            return self.__dict__["_arrays"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(name) from None

    def _allocate(self, capacity: int, width: int, depth: int) -> None:
        sizes = {PER_CHANNEL: width, PER_LEARNT_ROW: depth}
        for name, field in self._fields.items():
            shape = (capacity, *(sizes.get(n, n) for n in field.shape))
            fresh = np.full(shape, field.fill, dtype=field.dtype)
            old = self._arrays.get(name)
            if old is not None and old.size:
                fresh[tuple(slice(0, n) for n in old.shape)] = old
            self._arrays[name] = fresh
        self.capacity, self.width, self.depth = capacity, width, depth

    def reserve(self, n_series: int, width: int = 0, depth: int = 0) -> None:
        """Have room for `n_series` series of `width` channels and `depth` learnt rows; values are kept."""
        if n_series > self.capacity or width > self.width or depth > self.depth:
            capacity = self.capacity if n_series <= self.capacity else max(n_series, self.capacity * 3 // 2, 8)
            self._allocate(capacity, max(width, self.width), max(depth, self.depth))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """The first `n_series` rows, copied, of the arrays that do (or do not) change only by fitting."""
        return {
            name: array[:n_series].copy() for name, array in self._arrays.items() if self._fields[name].fitted == fitted
        }

    def one(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """The row of one series in every array, as arrays of length 1."""
        return {name: array[series : series + 1].copy() for name, array in self._arrays.items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over stored arrays.

        Raises
        ------
        SnapshotError
            An array is missing, or has another type or shape than this version declares.
        """
        missing = sorted(set(self._fields) - set(state))
        if missing:
            raise SnapshotError(f"the stored state lacks {missing}; it was made by another version")
        n_series, width, depth = 0, self.width, self.depth
        for name, field in self._fields.items():
            stored = state[name]
            if stored.dtype != np.dtype(field.dtype) or stored.ndim != 1 + len(field.shape):
                raise SnapshotError(
                    f"stored array {name!r} is {stored.dtype} with {stored.ndim} axes, "
                    f"expected {np.dtype(field.dtype)} with {1 + len(field.shape)}",
                )
            for declared, length in zip(field.shape, stored.shape[1:], strict=True):
                if declared == PER_CHANNEL:
                    width = max(width, length)
                elif declared == PER_LEARNT_ROW:
                    depth = max(depth, length)
                elif declared != length:
                    raise SnapshotError(
                        f"stored array {name!r} has shape {stored.shape}; settings ask for {field.shape}"
                    )
            n_series = max(n_series, stored.shape[0])
        self.reserve(n_series, width, depth)
        for name in self._fields:
            stored = state[name]
            self._arrays[name][tuple(slice(0, n) for n in stored.shape)] = stored
