"""BATADAL: attacks on the SCADA of a simulated water network (C-Town), 43 columns, hourly.

Source: R. Taormina et al., "The Battle of the Attack Detection Algorithms: Disclosing Cyber Attacks on Water
Distribution Networks", J. Water Resour. Plann. Manage. 144(8), 2018. Two forms are read: the tables
`train_normal.parquet`, `train_attacks.parquet` and `test.parquet`, fully flagged; and the contest's files
`BATADAL_dataset03.csv`, `BATADAL_dataset04.csv` and `BATADAL_test_dataset.csv`, whose flags are incomplete.

The clock of the source has no zone and is read as UTC.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import MINUTE, LabelledSeries
from evaluation.datasets.tables import binary_labels, nanoseconds, need_columns, read_csv, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ATTACKS", "ENTRY", "FOLDER", "LABEL_POLICY", "batadal_names", "load_batadal"]

FOLDER = "batadal"
HOUR = 60 * MINUTE
LICENCE = "none stated by the source; its README calls it a repository of the data of batadal.net"
HOW_TO_GET = (
    "Get BATADAL_dataset03.csv, BATADAL_dataset04.csv and BATADAL_test_dataset.csv of batadal.net "
    f"and put them into a folder {FOLDER}."
)
LABEL_POLICY = (
    "BATADAL attacks, policy 1: the full flags that the organisers gave after the contest, 14 attacks of 899 rows. In "
    "the contest's own files -999 means that nobody told, the test file has no flags, and marks of 1 cover a part of "
    "the attacks only: there the organisers' 14 intervals are the labels, both ends inside, and every mark of 1 must "
    "lie in one"
)
# First and last hour of each attack, as the organisers flagged them after the contest.
ATTACKS: dict[str, tuple[tuple[str, str], ...]] = {
    "train-attacks": (
        ("2016-09-13T23", "2016-09-16T00"),
        ("2016-09-26T11", "2016-09-27T10"),
        ("2016-10-09T09", "2016-10-11T20"),
        ("2016-10-29T19", "2016-11-02T16"),
        ("2016-11-26T17", "2016-11-29T04"),
        ("2016-12-06T07", "2016-12-10T04"),
        ("2016-12-14T15", "2016-12-19T04"),
    ),
    "test": (
        ("2017-01-16T09", "2017-01-19T06"),
        ("2017-01-30T08", "2017-02-02T00"),
        ("2017-02-09T03", "2017-02-10T09"),
        ("2017-02-12T01", "2017-02-13T07"),
        ("2017-02-24T05", "2017-02-28T08"),
        ("2017-03-10T14", "2017-03-13T21"),
        ("2017-03-25T20", "2017-03-27T01"),
    ),
}

_TIME, _FLAG, _UNKNOWN = "DATETIME", "ATT_FLAG", -999
_STAMP = "%d/%m/%y %H:%M"
_TRAIN = ("train_normal.parquet", "BATADAL_dataset03.csv")
_TEST = {
    "train-attacks": ("train_attacks.parquet", "BATADAL_dataset04.csv"),
    "test": ("test.parquet", "BATADAL_test_dataset.csv"),
}


def batadal_names(directory: Path) -> tuple[str, ...]:
    """Return the series in a folder: "train-attacks" and "test"."""
    return tuple(_flagged(directory))


def load_batadal(directory: Path, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the two flagged recordings, each after the year without attacks.

    Parameters
    ----------
    directory : Path
        Holds either form of the files.
    select : sequence of str or None
        "train-attacks" (the contest's second training file), "test", or shell patterns; None reads both.

    Returns
    -------
    list of LabelledSeries
        Both have the same training part, so their training rows must not be counted twice.

    Raises
    ------
    DatasetNotFoundError
        When nothing is there, or a selected series is not.
    DatasetFormatError
        When the training file is missing, columns differ, or flags do not fit the known attacks.
    """
    flagged = _flagged(directory)
    if not flagged:
        looked_for = [directory / file for files in _TEST.values() for file in files]
        raise missing("BATADAL", looked_for, HOW_TO_GET, LICENCE)
    train_path = _find(directory, _TRAIN)
    if train_path is None:
        raise DatasetFormatError(
            f"{directory}: neither {_TRAIN[0]} nor {_TRAIN[1]} is there beside the others; the download is not whole. "
            f"{HOW_TO_GET}"
        )
    train = _read(train_path)
    return [_series(name, train_path, train, flagged[name]) for name in pick("BATADAL", list(flagged), select)]


def _flagged(directory: Path) -> dict[str, Path]:
    found = {name: _find(directory, files) for name, files in _TEST.items()}
    return {name: path for name, path in found.items() if path is not None}


def _find(directory: Path, files: Sequence[str]) -> Path | None:
    return next((directory / file for file in files if (directory / file).is_file()), None)


def _read(path: Path) -> pl.DataFrame:
    table = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    # the second training file has a space before each name
    table = need_columns(path, table.rename(str.strip), (_TIME,))
    if table.schema[_TIME] != pl.String:
        return table
    # the contest writes hours without minutes, which no parser takes
    return table.with_columns(pl.col(_TIME).str.strip_chars() + ":00")


def _series(name: str, train_path: Path, train: pl.DataFrame, path: Path) -> LabelledSeries:
    test = _read(path)
    channels = tuple(column for column in train.columns if column not in (_TIME, _FLAG))
    train_times = nanoseconds(train_path, train[_TIME], _STAMP)
    test_times = nanoseconds(path, test[_TIME], _STAMP)
    train_labels = np.zeros(train.height, np.uint8)
    if _FLAG in train.columns:
        train_labels = binary_labels(f"{train_path}: {_FLAG!r}", train[_FLAG])
    return LabelledSeries(
        dataset="BATADAL",
        name=name,
        channels=channels,
        times=np.concatenate([train_times, test_times]),
        values=np.concatenate([values_of(train_path, train, channels), values_of(path, test, channels)]),
        labels=np.concatenate([train_labels, _labels(name, path, test, test_times)]),
        train_length=train.height,
        step=HOUR,
    )


def _labels(name: str, path: Path, table: pl.DataFrame, times: NDArray[np.int64]) -> NDArray[np.uint8]:
    flags = table[_FLAG].to_numpy() if _FLAG in table.columns else np.full(table.height, _UNKNOWN)
    if not (flags == _UNKNOWN).any():
        return binary_labels(f"{path}: {_FLAG!r}", flags)
    known = np.zeros(times.size, np.uint8)
    for first, last in ATTACKS[name]:
        start, end = (int(np.datetime64(hour, "ns").astype(np.int64)) for hour in (first, last))
        known[(times >= start) & (times <= end)] = 1
    wrong = ((flags != _UNKNOWN) & (flags != 0) & (flags != 1)) | ((flags == 1) & (known == 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DatasetFormatError(
            f"{path}: {_FLAG!r} is {flags[at]} in row {at} ({table[_TIME][at]}), where none of the organisers' attacks "
            f"lies; the file is not the one that is known: fetch it again"
        )
    return known


ENTRY = DatasetEntry(
    name="BATADAL",
    title="Battle of the Attack Detection Algorithms, simulated water network SCADA, 43 columns, hourly, 14 attacks",
    kind="numeric",
    folder=FOLDER,
    split="the year without attacks, in front of each of the two flagged recordings",
    label_policy=LABEL_POLICY,
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=batadal_names,
    load=load_batadal,
    known=KnownCounts(series=2, channels=43, train_rows=2 * 8_761, test_rows=4_177 + 2_089, anomalous_rows=492 + 407),
)
