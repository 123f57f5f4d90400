"""Fewer points for the eye, no peak lost: the smallest and the largest value of every bucket of rows."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.segments import event_bounds

__all__ = ["POINTS", "Grid", "spans"]

POINTS = 2_000


@dataclass(frozen=True, slots=True)
class Grid:
    """How the rows of a recording are put into buckets.

    Attributes
    ----------
    rows
        Rows of the recording.
    size
        Rows in a bucket; 1 where all rows are shown.
    """

    rows: int
    size: int

    @classmethod
    def of(cls, rows: int, points: int = POINTS) -> "Grid":
        """Return the grid that shows `rows` with at most `points` points.

        Raises
        ------
        InvalidInputError
            There are no rows, or fewer than two points.

        Examples
        --------
        >>> Grid.of(1_000), Grid.of(100_000)
        (Grid(rows=1000, size=1), Grid(rows=100000, size=100))
        """
        if rows < 1 or points < 2:
            raise InvalidInputError(f"{rows} rows cannot be shown with {points} points; there must be 1 and 2 or more")
        return cls(rows, 1 if rows <= points else ceil(rows / (points // 2)))

    @property
    def positions(self) -> NDArray[np.int64]:
        """Rows at which points stand, shape (P,): each row, or the first and the middle one of every bucket."""
        if self.size == 1:
            return np.arange(self.rows, dtype=np.int64)
        starts = np.arange(0, self.rows, self.size, dtype=np.int64)
        middles = np.minimum(starts + self.size // 2, self.rows - 1)
        return np.column_stack([starts, middles]).ravel()

    def reduce(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return what stands at `positions`, shape (P,): of every bucket both extremes, in the order they come in.

        Parameters
        ----------
        values : ndarray, shape (rows,)
            NaN and infinite values are passed over; a bucket with nothing else is NaN.

        Examples
        --------
        >>> Grid(5, 4).reduce(np.array([1.0, 9.0, 0.0, 2.0, 7.0]))
        array([9., 0., 7., 7.])
        """
        if values.shape != (self.rows,):
            raise InvalidInputError(f"a curve of shape {values.shape} does not fit {self.rows} rows")
        known = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
        if self.size == 1:
            return known
        buckets = ceil(self.rows / self.size)
        padded = np.full(buckets * self.size, np.nan)
        padded[: self.rows] = known
        table = padded.reshape(buckets, self.size)
        lowest = np.where(np.isnan(table), np.inf, table).argmin(axis=1)
        highest = np.where(np.isnan(table), -np.inf, table).argmax(axis=1)
        every = np.arange(buckets)
        first, last = np.minimum(lowest, highest), np.maximum(lowest, highest)
        return np.column_stack([table[every, first], table[every, last]]).ravel()


def spans(mask: NDArray[np.integer | np.bool_], grid: Grid) -> list[tuple[int, int]]:
    """Return runs of true rows as (first row, last row); runs less than a bucket apart are one, as the eye sees them.

    Examples
    --------
    >>> spans(np.array([0, 1, 1, 0, 1, 0]), Grid(6, 1)), spans(np.array([0, 1, 1, 0, 1, 0]), Grid(6, 3))
    ([(1, 2), (4, 4)], [(1, 4)])
    """
    first, last = event_bounds(np.asarray(mask, dtype=np.uint8))
    found: list[tuple[int, int]] = []
    for start, stop in zip(first.tolist(), last.tolist(), strict=True):
        if found and start - found[-1][1] <= grid.size - 1:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found
