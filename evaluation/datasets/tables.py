"""Reading tables so that a file that is cut short or of another shape is told, and not met as a stray error."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.errors import DatasetFormatError

__all__ = [
    "archive_array",
    "binary_labels",
    "nanoseconds",
    "need_columns",
    "open_archive",
    "read_csv",
    "read_numbers",
    "read_parquet",
    "values_of",
]

_FETCH_AGAIN = "the file is cut short or not of this format; fetch it again"


def read_parquet(path: Path, need: Sequence[str] = ()) -> pl.DataFrame:
    """Read a Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    need : sequence of str
        Columns that must be there.

    Raises
    ------
    DatasetFormatError
        It cannot be read, or a column is missing.
    """
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetFormatError(f"{path}: {_FETCH_AGAIN} ({_first_line(error)})") from error
    return need_columns(path, table, need)


def read_csv(path: Path, need: Sequence[str] = (), **options: Any) -> pl.DataFrame:
    """Read a CSV file, gzipped or not.

    Parameters
    ----------
    path : Path
        The file.
    need : sequence of str
        Columns that must be there.
    **options
        For `polars.read_csv`.

    Raises
    ------
    DatasetFormatError
        It cannot be read, or a column is missing.
    """
    try:
        table = pl.read_csv(path, **{"infer_schema_length": None, **options})
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetFormatError(f"{path}: {_FETCH_AGAIN} ({_first_line(error)})") from error
    return need_columns(path, table, need)


def need_columns(path: Path, table: pl.DataFrame, need: Sequence[str]) -> pl.DataFrame:
    """Return the table, or say which columns it lacks.

    Examples
    --------
    >>> need_columns(Path("a.csv"), pl.DataFrame({"x": [1]}), ["x", "label"])
    Traceback (most recent call last):
        ...
    evaluation.errors.DatasetFormatError: a.csv: column 'label' is missing; found x
    """
    absent = [name for name in need if name not in table.columns]
    if absent:
        what = f"column {absent[0]!r} is" if len(absent) == 1 else f"columns {', '.join(absent)} are"
        raise DatasetFormatError(f"{path}: {what} missing; found {', '.join(table.columns)}")
    return table


def read_numbers(path: Path, separator: str | None = None) -> NDArray[np.float64]:
    """Read a file of numbers without a header.

    Parameters
    ----------
    path : Path
        The file.
    separator : str or None
        Between numbers; None is any white space.

    Returns
    -------
    ndarray of float64, shape (rows, columns)

    Raises
    ------
    DatasetFormatError
        It holds something else, or its rows differ in length.
    """
    try:
        if separator is None:
            numbers = np.loadtxt(path, ndmin=2)
        else:
            table = pl.read_csv(path, has_header=False, separator=separator, infer_schema_length=None)
            numbers = table.cast(pl.Float64).to_numpy()
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DatasetFormatError(f"{path}: {_FETCH_AGAIN} ({_first_line(error)})") from error
    if numbers.size == 0:
        raise DatasetFormatError(f"{path}: holds no rows; {_FETCH_AGAIN}")
    return np.asarray(numbers, np.float64)


def open_archive(path: Path) -> "np.lib.npyio.NpzFile":
    """Open an `.npz` archive; close it with `with`.

    Raises
    ------
    DatasetFormatError
        It is cut short or no archive.
    """
    # asked before: numpy leaves the file open when it turns out to be cut short
    if not zipfile.is_zipfile(path):
        raise DatasetFormatError(f"{path}: {_FETCH_AGAIN} (no whole archive of arrays)")
    opened: np.lib.npyio.NpzFile = np.load(path, allow_pickle=False)
    return opened


def archive_array(path: Path, opened: "np.lib.npyio.NpzFile", key: str) -> NDArray[Any]:
    """Return an array of an archive.

    Raises
    ------
    DatasetFormatError
        It is not there, or its bytes are damaged.
    """
    if key not in opened:
        raise DatasetFormatError(f"{path}: array {key} is missing; fetch the archive again")
    try:
        return np.asarray(opened[key])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatasetFormatError(f"{path}: array {key} is damaged ({_first_line(error)}); fetch it again") from error


def binary_labels(where: str, column: pl.Series | NDArray[Any]) -> NDArray[np.uint8]:
    """Return labels as 0 and 1.

    Parameters
    ----------
    where : str
        File and column, for the message.
    column : polars.Series or ndarray, shape (T,)
        Numbers.

    Raises
    ------
    DatasetFormatError
        One is neither 0 nor 1.

    Examples
    --------
    >>> binary_labels("a.csv: 'label'", np.array([0.0, 1.0]))
    array([0, 1], dtype=uint8)
    >>> binary_labels("a.csv: 'label'", np.array([0, -999]))
    Traceback (most recent call last):
        ...
    evaluation.errors.DatasetFormatError: a.csv: 'label' must be 0 or 1, found -999 in row 1 (1 such rows)
    """
    if isinstance(column, pl.Series):
        numbers = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    else:
        numbers = column
    wrong = (numbers != 0) & (numbers != 1)
    if wrong.any():
        at = int(np.argmax(wrong))
        found = column[at] if isinstance(column, pl.Series) else column[at].item()
        raise DatasetFormatError(f"{where} must be 0 or 1, found {found!r} in row {at} ({int(wrong.sum())} such rows)")
    return np.asarray(numbers, dtype=np.uint8)


def values_of(path: Path, table: pl.DataFrame, channels: Sequence[str]) -> NDArray[np.float32]:
    """Return columns as float32, shape (T, C); empty cells become NaN.

    Raises
    ------
    DatasetFormatError
        A column is missing, or is not numeric.
    """
    need_columns(path, table, channels)
    for channel in channels:
        if not table.schema[channel].is_numeric() and table.schema[channel] not in (pl.Boolean, pl.Null):
            raise DatasetFormatError(f"{path}: column {channel!r} is not numeric but {table.schema[channel]}")
    columns = [table[channel].cast(pl.Float32).fill_null(float("nan")).to_numpy() for channel in channels]
    return np.column_stack(columns).astype(np.float32, copy=False)


def nanoseconds(path: Path, column: pl.Series, form: str | None = None) -> NDArray[np.int64]:
    """Return times as nanoseconds since 1970; a clock without a zone is read as UTC.

    Parameters
    ----------
    path : Path
        For the message.
    column : polars.Series
        Date-times, or text.
    form : str or None
        How text is written, as for `strptime`; it is never guessed. Needed for text.

    Raises
    ------
    DatasetFormatError
        Names the first row that is not such a time.

    Examples
    --------
    >>> nanoseconds(Path("a.csv"), pl.Series("t", ["1/2/1970 00:00"]), "%d/%m/%Y %H:%M") // (86_400 * 10**9)
    array([31])
    """
    times = column
    if column.dtype == pl.String and form is not None:
        times = column.str.strip_chars().str.to_datetime(form, time_unit="ns", strict=False)
    if not isinstance(times.dtype, pl.Datetime):
        raise DatasetFormatError(f"{path}: {column.name!r} has type {column.dtype}; times are needed")
    if times.null_count():
        at = int(np.argmax(times.is_null().to_numpy()))
        form_said = f" of the form {form}" if form else ""
        raise DatasetFormatError(f"{path}: {column.name!r} in row {at} is not a time{form_said}: {column[at]!r}")
    return times.cast(pl.Datetime("ns", times.dtype.time_zone)).to_physical().to_numpy().astype(np.int64)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
