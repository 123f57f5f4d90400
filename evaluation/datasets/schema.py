"""The one shape of a labelled series, whatever file it came from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import DatasetFormatError

__all__ = ["MINUTE", "SECOND", "LabelledSeries", "synthetic_times", "validate_series"]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
# 2000-01-01T00:00:00Z: for sources that give an order of rows but no time.
SYNTHETIC_EPOCH = 946_684_800 * SECOND

_SHAPES = {"times": 1, "values": 2, "labels": 1}
_TYPES = {"times": np.int64, "values": np.float32, "labels": np.uint8, "severity": np.uint8}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSeries:
    """One series with its labels: a training part, then a test part.

    Attributes
    ----------
    dataset : str
        Name of the data set, for example "SMAP".
    name : str
        Name of the series inside it, for example "P-1" or "valve1/0".
    channels : tuple of str
        Channel names, one a column of `values`.
    times : ndarray of int64, shape (T,)
        Nanoseconds since 1970 UTC, strictly increasing. Rows may be missing: a gap is longer than `step`.
    values : ndarray of float32, shape (T, C)
        Training rows, then test rows. NaN where a value is missing; never infinite.
    labels : ndarray of uint8, shape (T,)
        1 where anomalous. In training rows 0 unless the source says otherwise.
    train_length : int
        Rows before this one are the training part.
    step : int
        Step of the time grid in nanoseconds.
    severity : ndarray of uint8, shape (T,), or None
        How bad each row is: 0 is normal, larger is worse; above 0 only where the label is 1. None where the source does
        not tell.

    Examples
    --------
    >>> series = LabelledSeries(
    ...     "demo", "a", ("flow",), synthetic_times(3), np.zeros((3, 1), np.float32),
    ...     np.array([0, 0, 1], np.uint8), train_length=1, step=MINUTE)
    >>> series.test_labels, series.rows_per_day
    (array([0, 1], dtype=uint8), 1440.0)
    """

    dataset: str
    name: str
    channels: tuple[str, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    train_length: int
    step: int
    severity: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        validate_series(self)

    @property
    def train_values(self) -> NDArray[np.float32]:
        """Rows of the training part."""
        return self.values[: self.train_length]

    @property
    def test_values(self) -> NDArray[np.float32]:
        """Rows of the test part."""
        return self.values[self.train_length :]

    @property
    def test_labels(self) -> NDArray[np.uint8]:
        """Labels of the test part."""
        return self.labels[self.train_length :]

    @property
    def test_times(self) -> NDArray[np.int64]:
        """Times of the test part."""
        return self.times[self.train_length :]

    @property
    def test_severity(self) -> NDArray[np.uint8] | None:
        """Severity of the test part, or None."""
        return None if self.severity is None else self.severity[self.train_length :]

    @property
    def rows_per_day(self) -> float:
        """Rows in a day without gaps."""
        return 86_400 * SECOND / self.step


def validate_series(series: LabelledSeries) -> None:
    """Check every rule that `LabelledSeries` states.

    Raises
    ------
    DatasetFormatError
        Names the series, what breaks the rule, and the first row where it does.

    Examples
    --------
    >>> LabelledSeries("demo", "a", ("flow",), synthetic_times(1), np.zeros((1, 2), np.float32),
    ...                np.zeros(1, np.uint8), train_length=0, step=MINUTE)
    Traceback (most recent call last):
        ...
    evaluation.errors.DatasetFormatError: demo/a: 1 channel names for 2 columns of values
    """
    where = f"{series.dataset}/{series.name}"
    for field, dimensions in _SHAPES.items():
        _check_array(where, field, getattr(series, field), dimensions)
    rows, columns = series.values.shape
    if len(series.channels) != columns:
        raise DatasetFormatError(f"{where}: {len(series.channels)} channel names for {columns} columns of values")
    if len(set(series.channels)) != columns:
        raise DatasetFormatError(f"{where}: channel names repeat: {', '.join(series.channels)}")
    if columns == 0 or rows == 0:
        raise DatasetFormatError(f"{where}: {rows} rows and {columns} channels; at least one of each is needed")
    if series.times.size != rows or series.labels.size != rows:
        raise DatasetFormatError(
            f"{where}: {rows} rows of values, {series.times.size} times, {series.labels.size} labels; must be equal"
        )
    if not 0 <= series.train_length <= rows:
        raise DatasetFormatError(f"{where}: train_length {series.train_length} is outside 0..{rows}")
    if series.step <= 0:
        raise DatasetFormatError(f"{where}: step must be positive, got {series.step} ns")
    backwards = np.flatnonzero(np.diff(series.times) <= 0)
    if backwards.size:
        at = int(backwards[0]) + 1
        what = "repeats" if series.times[at] == series.times[at - 1] else "is before"
        raise DatasetFormatError(
            f"{where}: the time of row {at} {what} the one above it; sort the rows and keep one a time"
        )
    if (series.labels > 1).any():
        at = int(np.argmax(series.labels > 1))
        raise DatasetFormatError(f"{where}: label {series.labels[at]} in row {at}; labels are 0 or 1")
    _check_severity(where, series)
    infinite = np.isinf(series.values)
    if infinite.any():
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise DatasetFormatError(
            f"{where}: channel {series.channels[column]!r} is infinite (or beyond float32) in row {row}; "
            f"use an empty cell for a missing value"
        )


def _check_severity(where: str, series: LabelledSeries) -> None:
    if series.severity is None:
        return
    _check_array(where, "severity", series.severity, 1)
    if series.severity.size != series.labels.size:
        raise DatasetFormatError(
            f"{where}: {series.labels.size} labels and {series.severity.size} severities; must be equal"
        )
    wrong = (series.severity > 0) & (series.labels == 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DatasetFormatError(
            f"{where}: severity {series.severity[at]} in row {at}, which is labelled normal; "
            f"set its label to 1 or its severity to 0"
        )


def _check_array(where: str, field: str, array: Any, dimensions: int) -> None:
    wanted = np.dtype(_TYPES[field])
    if not isinstance(array, np.ndarray) or array.ndim != dimensions or array.dtype != wanted:
        got = f"{array.ndim}-D {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise DatasetFormatError(f"{where}: {field} must be a {dimensions}-D array of {wanted}, got {got}")


def synthetic_times(rows: int, step: int = MINUTE) -> NDArray[np.int64]:
    """Return even steps from 2000-01-01T00:00:00Z, for a source that gives an order of rows and no times.

    Parameters
    ----------
    rows : int
        How many.
    step : int
        Nanoseconds from row to row: the source's own step where it states one.

    Examples
    --------
    >>> synthetic_times(2).astype("datetime64[ns]").astype(str)
    array(['2000-01-01T00:00:00.000000000', '2000-01-01T00:01:00.000000000'], dtype='<U48')
    """
    return SYNTHETIC_EPOCH + step * np.arange(rows, dtype=np.int64)
