"""The one shape of a labelled set of events: rows of categorical attributes, in order of time."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.errors import DatasetFormatError

__all__ = ["LabelledEvents", "validate_events"]

_CODES = (pl.UInt8, pl.UInt16, pl.UInt32, pl.Int8, pl.Int16, pl.Int32, pl.Int64)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledEvents:
    """Events with their labels: a training part, then a test part.

    Attributes
    ----------
    dataset : str
        Name of the data set, for example "KDD99".
    name : str
        Name of the recording inside it.
    times : ndarray of int64, shape (T,)
        Nanoseconds since 1970 UTC, never decreasing; several events may share one. Even steps from 2000-01-01 where the
        source gives an order only.
    table : polars.DataFrame, T rows
        One column an attribute: Categorical for words, a whole-number type for codes and counts. No column is empty in
        any row.
    labels : ndarray of uint8, shape (T,)
        1 where anomalous. Training events may be anomalous too: filter them where the method needs clean ones.
    train_length : int
        Events before this one are the training part.
    entities : tuple of str
        Attributes that name who or what acted, such as a user or a host; empty where the source has none.
    kinds : polars.Series of Categorical, T values, or None
        Kind of attack or alert of each event, null where it is normal; None where the source does not tell.

    Examples
    --------
    >>> events = LabelledEvents(
    ...     "demo", "a", np.arange(3), pl.DataFrame({"user": pl.Series(["u", "u", "v"], dtype=pl.Categorical)}),
    ...     np.array([0, 0, 1], np.uint8), train_length=2, entities=("user",))
    >>> events.attributes, events.test_labels
    (('user',), array([1], dtype=uint8))
    """

    dataset: str
    name: str
    times: NDArray[np.int64]
    table: pl.DataFrame
    labels: NDArray[np.uint8]
    train_length: int
    entities: tuple[str, ...] = ()
    kinds: pl.Series | None = None

    def __post_init__(self) -> None:
        validate_events(self)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, one a column of `table`."""
        return tuple(self.table.columns)

    @property
    def train_table(self) -> pl.DataFrame:
        """Attributes of the training part."""
        return self.table[: self.train_length]

    @property
    def test_table(self) -> pl.DataFrame:
        """Attributes of the test part."""
        return self.table[self.train_length :]

    @property
    def test_labels(self) -> NDArray[np.uint8]:
        """Labels of the test part."""
        return self.labels[self.train_length :]


def validate_events(events: LabelledEvents) -> None:
    """Check every rule that `LabelledEvents` states.

    Raises
    ------
    DatasetFormatError
        Names the set, what breaks the rule, and the first event where it does.

    Examples
    --------
    >>> LabelledEvents("demo", "a", np.arange(2), pl.DataFrame({"user": ["u", "v"]}), np.zeros(2, np.uint8), 1)
    Traceback (most recent call last):
        ...
    evaluation.errors.DatasetFormatError: demo/a: attribute 'user' has type String; Categorical or whole numbers are
    needed
    """
    where = f"{events.dataset}/{events.name}"
    for field, kind in (("times", np.int64), ("labels", np.uint8)):
        array = getattr(events, field)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != kind:
            raise DatasetFormatError(f"{where}: {field} must be a 1-D array of {np.dtype(kind)}")
    rows = events.table.height
    if rows == 0 or events.table.width == 0:
        raise DatasetFormatError(f"{where}: {rows} events of {events.table.width} attributes; at least one is needed")
    if events.times.size != rows or events.labels.size != rows:
        raise DatasetFormatError(
            f"{where}: {rows} events, {events.times.size} times, {events.labels.size} labels; must be equal"
        )
    for attribute, kind_found in events.table.schema.items():
        if kind_found != pl.Categorical and kind_found not in _CODES:
            raise DatasetFormatError(
                f"{where}: attribute {attribute!r} has type {kind_found}; Categorical or whole numbers are needed"
            )
        if events.table[attribute].null_count():
            at = int(np.argmax(events.table[attribute].is_null().to_numpy()))
            raise DatasetFormatError(f"{where}: attribute {attribute!r} is empty in event {at}; fetch the file again")
    if not 0 <= events.train_length <= rows:
        raise DatasetFormatError(f"{where}: train_length {events.train_length} is outside 0..{rows}")
    unknown = [name for name in events.entities if name not in events.table.columns]
    if unknown:
        raise DatasetFormatError(f"{where}: entity {unknown[0]!r} is no attribute")
    backwards = np.flatnonzero(np.diff(events.times) < 0)
    if backwards.size:
        raise DatasetFormatError(f"{where}: event {int(backwards[0]) + 1} is before the one above it; sort by time")
    if (events.labels > 1).any():
        at = int(np.argmax(events.labels > 1))
        raise DatasetFormatError(f"{where}: label {events.labels[at]} of event {at}; labels are 0 or 1")
    if events.kinds is not None and (
        events.kinds.len() != rows or not np.array_equal(events.kinds.is_not_null().to_numpy(), events.labels == 1)
    ):
        raise DatasetFormatError(f"{where}: kinds must be told for the anomalous events, and only for these")
