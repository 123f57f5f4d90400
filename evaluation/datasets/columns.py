"""Columns of a user's own file: what they are called and how they are read."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.schema import synthetic_times
from evaluation.errors import DatasetError, DatasetFormatError, DatasetNotFoundError

__all__ = ["LABEL", "SEVERITY", "SPLIT", "SUFFIXES", "TIME", "read_table", "refuse_empty", "times_of", "values_of"]

TIME, LABEL, SPLIT, SEVERITY = "timestamp", "label", "split", "severity"
SUFFIXES = (".csv", ".parquet")


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV or Parquet file.

    Raises
    ------
    DatasetNotFoundError
        There is no such file.
    DatasetError
        It has another ending, or cannot be read.
    """
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such file")
    if path.suffix.lower() not in SUFFIXES:
        raise DatasetFormatError(
            f"{path}: cannot read {path.suffix or 'a file without an ending'}; convert to CSV or Parquet"
        )
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, try_parse_dates=True, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def times_of(path: Path, table: pl.DataFrame) -> NDArray[np.int64]:
    """Return the times of the rows, int64[t], ns UTC; minutes from 2000 where the table has no column `timestamp`.

    Raises
    ------
    DatasetFormatError
        A time is missing, is none, or does not come after the one above.
    """
    if TIME not in table.columns:
        return synthetic_times(table.height)
    column = table[TIME]
    refuse_empty(path, column)
    if column.dtype == pl.String:
        parsed = column.str.to_datetime(time_unit="ns", time_zone="UTC", strict=False)
        if parsed.null_count():
            at = int(np.argmax(parsed.is_null().to_numpy()))
            raise DatasetFormatError(f"{path}: {TIME!r} in row {at} is not an ISO 8601 time: {column[at]!r}")
        column = parsed
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("ns"))
    if isinstance(column.dtype, pl.Datetime):
        column = column.cast(pl.Datetime("ns", column.dtype.time_zone)).to_physical()
    if not column.dtype.is_integer():
        raise DatasetFormatError(
            f"{path}: {TIME!r} has type {column.dtype}; use ISO 8601 text, date-times or whole nanoseconds since 1970"
        )
    times = column.to_numpy().astype(np.int64)
    backwards = np.flatnonzero(np.diff(times) <= 0)
    if backwards.size:
        at = int(backwards[0]) + 1
        fault = "repeats the one above" if times[at] == times[at - 1] else "is before the one above"
        raise DatasetFormatError(
            f"{path}: {TIME!r} of row {at} ({table[TIME][at]}) {fault}; sort the rows and keep one a time"
        )
    return times


def values_of(path: Path, table: pl.DataFrame, channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the channels, float32[t, c], NaN where a cell is empty.

    Raises
    ------
    DatasetFormatError
        A channel is not numeric.
    """
    for channel in channels:
        column = table[channel]
        if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
            continue
        wrong = column.cast(pl.Float64, strict=False).is_null() if column.dtype == pl.String else column.is_not_null()
        at = int(np.argmax((wrong & column.is_not_null()).to_numpy()))
        raise DatasetFormatError(
            f"{path}: channel {channel!r} is not numeric: {column[at]!r} in row {at}; "
            f"drop the column, or leave missing cells empty"
        )
    columns = [table[channel].cast(pl.Float32).fill_null(float("nan")).to_numpy() for channel in channels]
    return np.column_stack(columns).astype(np.float32, copy=False)


def refuse_empty(path: Path, column: pl.Series) -> None:
    """Make sure that no cell of a column is empty.

    Raises
    ------
    DatasetFormatError
        One is.
    """
    if column.null_count():
        at = int(np.argmax(column.is_null().to_numpy()))
        raise DatasetFormatError(f"{path}: {column.name!r} is empty in row {at} ({column.null_count()} such rows)")
