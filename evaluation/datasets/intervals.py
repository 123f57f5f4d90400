"""Labels as intervals: a CSV with one line an anomaly instead of a label a row.

Columns: `start` and `end`, both inside the interval; optional `channel`, `severity` (1 to 255, larger is worse) and
`series` (the name of the series; needed where one table serves a directory). Starts and ends are ISO 8601 times,
nanoseconds since 1970, or row numbers counted from 0: whole numbers below 10^12 are row numbers. Intervals may overlap;
the worse severity counts then.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.tables import need_columns, read_csv
from evaluation.errors import DatasetFormatError, DatasetNotFoundError

__all__ = ["FILE_NAMES", "IntervalTable", "paint"]

FILE_NAMES = ("labels.csv", "intervals.csv")

_KNOWN = ("start", "end", "channel", "severity", "series")
# 10^12 ns are 17 minutes after 1970: no record is so old, and no series so long.
_FIRST_TIME = 10**12


class IntervalTable:
    """The intervals of one file, checked as far as that is possible without the series.

    Parameters
    ----------
    path : Path
        The CSV file.

    Raises
    ------
    DatasetNotFoundError
        There is no such file.
    DatasetFormatError
        Names the column and the row (counted from 0, without the header) that break a rule.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DatasetNotFoundError(f"{path}: no such interval table")
        table = need_columns(path, read_csv(path), ("start", "end"))
        unknown = [name for name in table.columns if name not in _KNOWN]
        if unknown:
            raise DatasetFormatError(
                f"{path}: column {unknown[0]!r} is not known; an interval table has {', '.join(_KNOWN)}"
            )
        self.path = path
        self.are_rows = _are_rows(path, table)
        self._severity = _severity(path, table)
        self._starts, self._ends = (self._numbers(table[name]) for name in ("start", "end"))
        self._channels = table["channel"].cast(pl.String) if "channel" in table.columns else None
        self._series = table["series"].cast(pl.String) if "series" in table.columns else None
        backwards = self._ends < self._starts
        if backwards.any():
            at = int(np.argmax(backwards))
            raise DatasetFormatError(
                f"{path}: in row {at} the end ({table['end'][at]}) is before the start ({table['start'][at]}); "
                f"swap them"
            )

    @property
    def has_severity(self) -> bool:
        """Whether the table has a column `severity`."""
        return self._severity is not None

    def need_series(self, names: list[str], *, one_file: bool) -> None:
        """Check the column `series` against the names there are.

        Raises
        ------
        DatasetFormatError
            A name is not known, or the column is missing where several series share the table.
        """
        if self._series is None:
            if one_file:
                return
            raise DatasetFormatError(
                f"{self.path}: column 'series' is missing; add it, so that each interval names one of "
                f"{', '.join(names)}"
            )
        unknown = (~self._series.is_in(names)).fill_null(value=True).to_numpy()
        if unknown.any():
            at = int(np.argmax(unknown))
            raise DatasetFormatError(
                f"{self.path}: row {at} names series {self._series[at]!r}, which is not there; there are "
                f"{', '.join(names)}"
            )

    def labels(
        self, name: str, times: NDArray[np.int64], channels: tuple[str, ...]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Return the labels and severities of the rows of one series.

        Parameters
        ----------
        name : str
            The series.
        times : ndarray of int64, shape (T,)
            Its times, increasing.
        channels : tuple of str
            Its channels. An interval of one channel labels the whole row: labels here belong to rows.

        Returns
        -------
        labels : ndarray of uint8, shape (T,)
        severity : ndarray of uint8, shape (T,), or None
            None without a column `severity`.

        Raises
        ------
        DatasetFormatError
            An interval lies outside the series, covers no row of it, or names a channel that it does not have.
        """
        mine = np.arange(self._starts.size)
        if self._series is not None:
            mine = mine[(self._series == name).to_numpy()]
        if self._channels is not None:
            told = self._channels.gather(mine)
            wrong = (~told.is_in(channels) & told.is_not_null()).to_numpy()
            if wrong.any():
                at = int(mine[np.argmax(wrong)])
                raise DatasetFormatError(
                    f"{self.path}: row {at} names channel {self._channels[at]!r}, which {name} does not have; "
                    f"it has {', '.join(channels)}"
                )
        starts, ends = self._starts[mine], self._ends[mine]
        lowest, highest = (0, times.size - 1) if self.are_rows else (int(times[0]), int(times[-1]))
        outside = (starts < lowest) | (ends > highest)
        if outside.any():
            at = int(np.argmax(outside))
            raise DatasetFormatError(
                f"{self.path}: the interval of row {mine[at]} ({self._said(starts[at])} to {self._said(ends[at])}) is "
                f"outside {name}, which runs from {self._said(lowest)} to {self._said(highest)}; correct or remove it"
            )
        if not self.are_rows:
            starts, ends = np.searchsorted(times, starts), np.searchsorted(times, ends, side="right") - 1
            nothing = ends < starts
            if nothing.any():
                raise DatasetFormatError(
                    f"{self.path}: the interval of row {mine[int(np.argmax(nothing))]} falls between two rows of "
                    f"{name} and labels none; widen or remove it"
                )
        return paint(times.size, starts, ends, None if self._severity is None else self._severity[mine])

    def _numbers(self, column: pl.Series) -> NDArray[np.int64]:
        if column.dtype.is_integer():
            return column.to_numpy().astype(np.int64)
        parsed = _iso(column)
        wrong = parsed.is_null().to_numpy()
        if wrong.any():
            at = int(np.argmax(wrong))
            raise DatasetFormatError(
                f"{self.path}: {column.name!r} in row {at} is neither an ISO 8601 time nor a whole number: "
                f"{column[at]!r}"
            )
        return parsed.to_physical().to_numpy().astype(np.int64)

    def _said(self, bound: int) -> str:
        return f"row {bound}" if self.are_rows else f"{np.datetime64(int(bound), 'ns')}Z"


def paint(
    rows: int, first: NDArray[np.int64], last: NDArray[np.int64], severity: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Turn intervals of rows into a label a row.

    Parameters
    ----------
    rows : int
        Length of the series.
    first, last : ndarray of int64, shape (N,)
        Rows where intervals begin and end, both inside; they may overlap.
    severity : ndarray of uint8, shape (N,), or None
        One an interval.

    Returns
    -------
    labels : ndarray of uint8, shape (rows,)
    severity : ndarray of uint8, shape (rows,), or None
        The worst of the intervals at each row.

    Examples
    --------
    >>> paint(5, np.array([1, 2]), np.array([2, 3]), np.array([3, 1], np.uint8))
    (array([0, 1, 1, 1, 0], dtype=uint8), array([0, 3, 3, 1, 0], dtype=uint8))
    """
    labels = _covered(rows, first, last).astype(np.uint8)
    if severity is None:
        return labels, None
    worst = np.zeros(rows, np.uint8)
    for level in np.unique(severity):  # ascending: the worse one is painted over the milder one
        here = severity == level
        worst[_covered(rows, first[here], last[here])] = level
    return labels, worst


def _covered(rows: int, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
    edges = np.zeros(rows + 1, np.int64)
    np.add.at(edges, first, 1)
    np.add.at(edges, last + 1, -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def _iso(column: pl.Series) -> pl.Series:
    """ISO 8601 text as times in UTC, each cell for itself: one table may mix zones, spaces and missing seconds."""
    return (
        column.str.strip_chars()
        .str.replace(" ", "T", literal=True)
        .str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00")
        .str.replace(r"T(\d{2}:\d{2})(Z|[+-][\d:]+)?$", "T${1}:00${2}")
        .str.replace(r"Z$", "+00:00")
        .str.replace(r"(T[\d:.]+)$", "${1}+00:00")
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="ns", time_zone="UTC", strict=False)
    )


def _are_rows(path: Path, table: pl.DataFrame) -> bool:
    for name in ("start", "end"):
        if table[name].null_count():
            at = int(np.argmax(table[name].is_null().to_numpy()))
            raise DatasetFormatError(f"{path}: {name!r} is empty in row {at}; give both ends of every interval")
        if not table[name].dtype.is_integer() and table[name].dtype != pl.String and table.height:
            raise DatasetFormatError(
                f"{path}: {name!r} has type {table[name].dtype}; use ISO 8601 times, nanoseconds or row numbers"
            )
    whole = [table[name].dtype.is_integer() for name in ("start", "end")]
    if whole[0] != whole[1] and table.height:
        raise DatasetFormatError(f"{path}: 'start' and 'end' are of two kinds; use times in both or numbers in both")
    if not all(whole):
        return False
    small = (table["start"] < _FIRST_TIME).to_numpy() & (table["end"] < _FIRST_TIME).to_numpy()
    if small.any() and not small.all():
        at = int(np.argmin(small))
        raise DatasetFormatError(
            f"{path}: row {at} holds nanoseconds ({table['start'][at]} to {table['end'][at]}) where other rows hold "
            f"row numbers; use one kind"
        )
    return bool(small.all())


def _severity(path: Path, table: pl.DataFrame) -> NDArray[np.uint8] | None:
    if "severity" not in table.columns:
        return None
    column = table["severity"]
    numbers = column.cast(pl.Float64, strict=False).fill_null(0).to_numpy()
    wrong = (numbers < 1) | (numbers > 255) | (numbers != np.floor(numbers))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DatasetFormatError(
            f"{path}: 'severity' must be a whole number from 1 to 255, found {column[at]!r} in row {at}"
        )
    return numbers.astype(np.uint8)
