"""Files without labels: what is learnt from, and what is scored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

# The rules of files with labels hold here too; those of a label do not.
from evaluation.datasets.columns import LABEL, SEVERITY, SPLIT, TIME, read_table, times_of, values_of
from evaluation.datasets.schema import MINUTE, SYNTHETIC_EPOCH, LabelledSeries
from evaluation.errors import DatasetFormatError, InvalidInputError

__all__ = [
    "Recording",
    "following_times",
    "iso",
    "joined",
    "matched_channels",
    "read_recording",
    "split_rows",
    "training_series",
]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A file without labels.

    Attributes
    ----------
    path
        Where it was read from.
    channels
        Channel names, one a column of `values`.
    values
        float32[t, c], NaN where missing.
    times
        int64[t], ns UTC, rising; None without a column `timestamp`.
    timestamps
        That column as it was read; None without one.
    """

    path: Path
    channels: tuple[str, ...]
    values: NDArray[np.float32]
    times: NDArray[np.int64] | None
    timestamps: pl.Series | None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def step(self) -> int:
        """Median step in ns; a minute without times."""
        return int(np.median(np.diff(self.times))) if self.times is not None and len(self) > 1 else MINUTE


def read_recording(path: Path) -> Recording:
    """Read a CSV or Parquet file; `label`, `severity` and `split` are left out, every other column is a channel.

    Raises
    ------
    DatasetNotFoundError
        There is no such file.
    DatasetFormatError
        Names the file, the column and the first row that break a rule of `evaluation.datasets.files`.
    """
    table = read_table(path)
    channels = tuple(column for column in table.columns if column not in (TIME, LABEL, SPLIT, SEVERITY))
    if not channels or table.height == 0:
        raise DatasetFormatError(
            f"{path}: {table.height} rows and {len(channels)} channels beside {TIME!r}, {LABEL!r}, {SEVERITY!r} and "
            f"{SPLIT!r}; at least one of each is needed"
        )
    timed = TIME in table.columns
    return Recording(
        path, channels, values_of(path, table, channels), times_of(path, table) if timed else None,
        table[TIME] if timed else None,
    )  # fmt: skip


def split_rows(recording: Recording, train_fraction: float) -> int:
    """Rows of the training part that is `train_fraction` of a recording.

    Raises
    ------
    InvalidInputError
        The share is not between 0 and 1.
    """
    if not 0 < train_fraction < 1:
        raise InvalidInputError(f"--train-fraction must be between 0 and 1, got {train_fraction}")
    return max(1, min(len(recording) - 1, int(len(recording) * train_fraction)))


def joined(train: Recording, rest: Recording) -> LabelledSeries:
    """One series of the training rows and the rows to be scored, in the training file's order of channels.

    Raises
    ------
    InvalidInputError
        The files do not have the same channels, only one has times, or the second does not begin after the first.
    """
    values = rest.values[:, matched_channels(train.channels, train.path, rest)]
    times, later = following_times(train, rest)
    return _series(train, np.concatenate([times, later]), np.concatenate([train.values, values]), len(train))


def matched_channels(channels: Sequence[str], where: Path, rest: Recording) -> list[int]:
    """Columns of `rest` in the order of `channels`, which were found at `where`.

    Raises
    ------
    InvalidInputError
        One is missing or too many.
    """
    for missing, here, there in (
        (set(channels) - set(rest.channels), rest.path, where),
        (set(rest.channels) - set(channels), where, rest.path),
    ):
        if missing:
            raise InvalidInputError(f"{here}: channel {min(missing)!r} of {there} is missing; give both the same")
    return [rest.channels.index(channel) for channel in channels]


def following_times(train: Recording, rest: Recording) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times of both; rows without times follow each other minute by minute.

    Raises
    ------
    InvalidInputError
        Only one has times, or the second does not begin after the first.
    """
    if train.times is None and rest.times is None:
        times = SYNTHETIC_EPOCH + np.arange(len(train) + len(rest), dtype=np.int64) * MINUTE
        return times[: len(train)], times[len(train) :]
    if train.times is None or rest.times is None:
        timed, other = (train, rest) if rest.times is None else (rest, train)
        raise InvalidInputError(f"{other.path}: column {TIME!r} of {timed.path} is missing; give it in both or neither")
    if rest.times[0] <= train.times[-1]:
        raise InvalidInputError(
            f"{rest.path} begins at {iso(rest.times[0])}, not after {train.path}, which ends at "
            f"{iso(train.times[-1])}; give a training file from before, or leave {TIME!r} out of both"
        )
    return train.times, rest.times


def training_series(recording: Recording, rows: int) -> LabelledSeries:
    """A recording as a series whose first `rows` rows are its training part; labels are 0 and not looked at."""
    times = recording.times
    if times is None:
        times = SYNTHETIC_EPOCH + np.arange(len(recording), dtype=np.int64) * MINUTE
    return _series(recording, times, recording.values, rows)


def _series(
    recording: Recording, times: NDArray[np.int64], values: NDArray[np.float32], train_length: int
) -> LabelledSeries:
    return LabelledSeries(
        dataset=recording.path.stem, name=recording.path.stem, channels=recording.channels, times=times, values=values,
        labels=np.zeros(len(times), np.uint8), train_length=train_length, step=recording.step,
    )  # fmt: skip


def iso(time: np.int64 | int) -> str:
    """A time in ns UTC as ISO 8601 text."""
    return str(np.datetime_as_string(np.datetime64(int(time), "ns"), unit="s")) + "Z"
