"""Your own labelled series: a CSV or Parquet file, or a directory of them.

Columns: `label` (0 or 1; needed, or an interval table beside the file); `severity` (0 to 255, optional: 0 is normal,
larger is worse, above 0 only where the label is 1); `timestamp` (ISO 8601 text, a date-time type, or whole nanoseconds
since 1970 UTC; without it rows get one-minute steps from 2000-01-01T00:00:00Z); `split` ("train" or "test"; without it
the caller gives the share of rows to train on); every other column is a channel and must be numeric. An empty cell of
a channel is a missing value. Times without a zone are read as UTC. The grid step is the median time between rows.

An interval table (`evaluation.datasets.intervals`) takes the place of the column `label`. In a directory it is called
`labels.csv` or `intervals.csv`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.columns import (
    LABEL,
    SEVERITY,
    SPLIT,
    SUFFIXES,
    TIME,
    read_table,
    refuse_empty,
    times_of,
    values_of,
)
from evaluation.datasets.intervals import FILE_NAMES, IntervalTable
from evaluation.datasets.location import pick
from evaluation.datasets.schema import MINUTE, LabelledSeries
from evaluation.datasets.tables import binary_labels
from evaluation.errors import DatasetFormatError, DatasetNotFoundError, InvalidInputError

__all__ = ["load_directory", "load_file", "series_files"]


def load_file(
    path: Path,
    *,
    train_fraction: float | None = None,
    dataset: str | None = None,
    labels: Path | IntervalTable | None = None,
) -> LabelledSeries:
    """Read one labelled series from a CSV or Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    train_fraction : float or None
        Share of rows, from the first, to train on. Needed without a `split` column, refused with one.
    dataset : str or None
        Name of the data set; by default that of the file.
    labels : Path, IntervalTable or None
        Interval table in place of the column `label`.

    Returns
    -------
    LabelledSeries

    Raises
    ------
    DatasetNotFoundError
        When there is no such file.
    DatasetFormatError
        Names the file, the column and the first row (counted from 0, without the header) that break a rule.
    """
    table = read_table(path)
    intervals = IntervalTable(labels) if isinstance(labels, Path) else labels
    if intervals is not None:
        own = [column for column in (LABEL, SEVERITY) if column in table.columns]
        if own:
            raise DatasetFormatError(
                f"{path}: has a column {own[0]!r}, and {intervals.path} holds labels too; remove one of the two"
            )
        if isinstance(labels, Path):
            intervals.need_series([path.stem], one_file=True)
    elif LABEL not in table.columns:
        raise DatasetFormatError(
            f"{path}: column {LABEL!r} is missing; found {', '.join(table.columns)}. Add it: 1 = anomalous, "
            f"0 = normal; or give an interval table"
        )
    channels = tuple(column for column in table.columns if column not in (TIME, LABEL, SPLIT, SEVERITY))
    if not channels or table.height == 0:
        raise DatasetFormatError(
            f"{path}: {table.height} rows and {len(channels)} channels beside {TIME!r}, {LABEL!r}, {SEVERITY!r} and "
            f"{SPLIT!r}; at least one of each is needed"
        )
    times = times_of(path, table)
    if intervals is None:
        row_labels = _labels(path, table[LABEL])
        severity = _severity(path, table[SEVERITY]) if SEVERITY in table.columns else None
    else:
        row_labels, severity = intervals.labels(path.stem, times, channels)
    return LabelledSeries(
        dataset=dataset or path.stem,
        name=path.stem,
        channels=channels,
        times=times,
        values=values_of(path, table, channels),
        labels=row_labels,
        train_length=_train_length(path, table, train_fraction),
        step=int(np.median(np.diff(times))) if TIME in table.columns and times.size > 1 else MINUTE,
        severity=severity,
    )


def load_directory(
    path: Path,
    *,
    train_fraction: float | None = None,
    select: Sequence[str] | None = None,
    labels: Path | None = None,
) -> list[LabelledSeries]:
    """Read every CSV and Parquet file of a directory; the name of a series is its file name without the ending.

    Parameters
    ----------
    path : Path
        The directory; folders inside it are not read.
    train_fraction : float or None
        As in `load_file`.
    select : sequence of str or None
        Names or shell patterns; None reads all.
    labels : Path or None
        Interval table with a column `series`; by default `labels.csv` or `intervals.csv` in the directory, if there.

    Returns
    -------
    list of LabelledSeries
        Sorted by name. A series that the interval table does not name has no anomaly.
    """
    files = series_files(path)
    if labels is not None:  # the table may lie among the series
        files = {name: file for name, file in files.items() if file.resolve() != labels.resolve()}
    names = pick(str(path), list(files), select)
    table = labels or _interval_file(path)
    intervals = None if table is None else IntervalTable(table)
    if intervals is not None:
        intervals.need_series(list(files), one_file=len(files) == 1)
    return [
        load_file(files[name], train_fraction=train_fraction, dataset=path.name, labels=intervals) for name in names
    ]


def _interval_file(path: Path) -> Path | None:
    found = [path / name for name in FILE_NAMES if (path / name).is_file()]
    if len(found) > 1:
        raise DatasetFormatError(f"{path}: {found[0].name} and {found[1].name} both hold labels; remove one")
    return found[0] if found else None


def series_files(path: Path) -> dict[str, Path]:
    """Return the files of a directory by the name of their series, sorted; its interval table is none.

    Raises
    ------
    DatasetNotFoundError
        When there is none.
    DatasetFormatError
        When two files would give series of the same name.
    """
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() not in SUFFIXES or file.name in FILE_NAMES:
            continue
        if file.stem in found:
            raise DatasetFormatError(
                f"{path}: {found[file.stem].name} and {file.name} give one series name; rename one"
            )
        found[file.stem] = file
    if not found:
        raise DatasetNotFoundError(f"{path}: no file ends in {' or '.join(SUFFIXES)}")
    return found


def _labels(path: Path, column: pl.Series) -> NDArray[np.uint8]:
    refuse_empty(path, column)
    if column.dtype == pl.Boolean:
        return column.to_numpy().astype(np.uint8)
    return binary_labels(f"{path}: {LABEL!r}", column)


def _severity(path: Path, column: pl.Series) -> NDArray[np.uint8]:
    numbers = column.cast(pl.Float64, strict=False).fill_null(0 if column.dtype.is_numeric() else -1).to_numpy()
    wrong = (numbers < 0) | (numbers > np.iinfo(np.uint8).max) | (numbers != np.floor(numbers))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DatasetFormatError(
            f"{path}: {SEVERITY!r} must be a whole number from 0 to 255, found {column[at]!r} in row {at}"
        )
    return numbers.astype(np.uint8)


def _train_length(path: Path, table: pl.DataFrame, train_fraction: float | None) -> int:
    if SPLIT not in table.columns:
        if train_fraction is None:
            raise DatasetFormatError(
                f"{path}: no {SPLIT!r} column; add one with 'train' and 'test', or say which share to train on "
                f"(train_fraction)"
            )
        if not 0 < train_fraction < 1:
            raise InvalidInputError(f"train_fraction must be between 0 and 1, got {train_fraction}")
        return max(1, min(table.height - 1, int(table.height * train_fraction)))
    if train_fraction is not None:
        raise InvalidInputError(f"{path} has a {SPLIT!r} column; leave train_fraction out")
    column = table[SPLIT]
    refuse_empty(path, column)
    known = column.cast(pl.String).is_in(["train", "test"]).to_numpy()
    if not known.all():
        at = int(np.argmin(known))
        raise DatasetFormatError(f"{path}: {SPLIT!r} must be 'train' or 'test', found {column[at]!r} in row {at}")
    train = (column.cast(pl.String) == "train").to_numpy()
    length = int(train.sum())
    if not train[:length].all():
        at = int(np.argmin(train[:length]))
        raise DatasetFormatError(f"{path}: row {at} is 'test' but 'train' rows follow; train rows must come first")
    return length
