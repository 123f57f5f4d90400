"""Los Alamos authentication events: a sample, the red team's logons, and counts a user and day.

Source: A. D. Kent, "Comprehensive, Multi-Source Cyber-Security Events", Los Alamos National Laboratory, 2015, doi
10.17021/1179829; sample and counts as prepared by A. Tuor et al., 2017 (safekit). Three sets are read, each from
its own file: `auth_sample.parquet`, `redteam.csv` (or the release's `redteam.txt` or `redteam.txt.gz`, without a
header) and `user_day_counts.parquet`.

Times count seconds (or days) from the start of the release, which is not told: they are laid from
2000-01-01T00:00:00Z on.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.location import missing
from evaluation.datasets.schema import SECOND, SYNTHETIC_EPOCH
from evaluation.datasets.tables import binary_labels, read_csv, read_parquet
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRIES", "FOLDER", "LABEL_POLICY", "load_auth", "load_redteam", "load_user_days"]

FOLDER = "lanl-auth-sample"
AUTH, USER_DAYS = "auth_sample.parquet", "user_day_counts.parquet"
REDTEAM = ("redteam.csv", "redteam.txt", "redteam.txt.gz")
LICENCE = "CC0 by the LANL release, as usually stated; safekit has its own LICENSE and DISCLAIMER"
HOW_TO_GET = (
    "Get redteam.txt.gz of the LANL release (csr.lanl.gov/data/cyber1), and the authentication sample and counts of "
    f"github.com/pnnl/safekit written as {AUTH} and {USER_DAYS}, and put them into a folder {FOLDER}."
)
LABEL_POLICY = (
    "LANL labels, policy 1: the sample of events holds no red-team event, so it serves for training and false alarms; "
    "LANL-REDTEAM is the whole list of red-team logons, all anomalous, with the names that both have in common "
    "(src_user, src_pc, dst_pc): laid into the sample it is an injected test, and a report must say so; a user-day is "
    "anomalous when it holds at least one red-team event"
)

_DAY = 86_400
_AUTH_WORDS = (
    "src_user", "dst_user", "src_pc", "dst_pc", "auth_type", "logon_type", "orientation", "outcome",
)  # fmt: skip


def load_auth(directory: Path) -> LabelledEvents:
    """Read the sample of authentication events.

    Parameters
    ----------
    directory : Path
        Holds `auth_sample.parquet`.

    Returns
    -------
    LabelledEvents
        Eight attributes. Days 0 and 1 are the training part, day 2 the test part.

    Raises
    ------
    DatasetNotFoundError
        When the file is not there.
    DatasetFormatError
        When a column is missing or a rule of `LabelledEvents` is broken.
    """
    path = directory / AUTH
    if not path.is_file():
        raise missing("LANL-AUTH", [path], HOW_TO_GET, LICENCE)
    table = read_parquet(path, ("second", *_AUTH_WORDS, "red"))
    # the outcome carries a control character behind the word
    words = pl.col(_AUTH_WORDS).cast(pl.String).str.replace_all(r"[\x00-\x1f]", "").cast(pl.Categorical)
    seconds = _whole(path, table["second"])
    return LabelledEvents(
        dataset="LANL-AUTH",
        name="auth_sample",
        times=SYNTHETIC_EPOCH + SECOND * seconds,
        table=table.select(words),
        labels=binary_labels(f"{path}: 'red'", table["red"]),
        train_length=int(np.searchsorted(seconds, 2 * _DAY)),
        entities=_AUTH_WORDS[:4],
    )


def load_redteam(directory: Path) -> LabelledEvents:
    """Read the red team's logons.

    Parameters
    ----------
    directory : Path
        Holds `redteam.csv`, `redteam.txt` or `redteam.txt.gz`.

    Returns
    -------
    LabelledEvents
        Three attributes, all labels 1, no training part.

    Raises
    ------
    DatasetNotFoundError
        When the file is not there.
    DatasetFormatError
        When it does not have the known four columns.
    """
    path = next((directory / name for name in REDTEAM if (directory / name).is_file()), None)
    if path is None:
        raise missing("LANL-REDTEAM", [directory / name for name in REDTEAM], HOW_TO_GET, LICENCE)
    columns = ("second", "user", "src_pc", "dst_pc")
    if path.suffix == ".csv":
        table = read_csv(path, columns)
    else:
        table = read_csv(path, has_header=False)
        if table.width != len(columns):
            raise DatasetFormatError(f"{path}: {table.width} columns, {len(columns)} are known; fetch it again")
        table.columns = columns
    seconds = _whole(path, table["second"])
    renamed = table.rename({"user": "src_user"}).select(pl.col("src_user", "src_pc", "dst_pc").cast(pl.String))
    return LabelledEvents(
        dataset="LANL-REDTEAM",
        name="redteam",
        times=SYNTHETIC_EPOCH + SECOND * seconds,
        table=renamed.cast(pl.Categorical),
        labels=np.ones(table.height, np.uint8),
        train_length=0,
        entities=("src_user", "src_pc", "dst_pc"),
    )


def load_user_days(directory: Path) -> LabelledEvents:
    """Read the counts a user and day.

    Parameters
    ----------
    directory : Path
        Holds `user_day_counts.parquet`.

    Returns
    -------
    LabelledEvents
        The user and 134 counts. Day 0 is the training part, day 1 the test part.

    Raises
    ------
    DatasetNotFoundError
        When the file is not there.
    DatasetFormatError
        When a column is missing or a rule of `LabelledEvents` is broken.
    """
    path = directory / USER_DAYS
    if not path.is_file():
        raise missing("LANL-USER-DAYS", [path], HOW_TO_GET, LICENCE)
    table = read_parquet(path, ("day", "user", "red"))
    days = _whole(path, table["day"])
    return LabelledEvents(
        dataset="LANL-USER-DAYS",
        name="user_day_counts",
        times=SYNTHETIC_EPOCH + SECOND * _DAY * days,
        table=table.drop("day", "red"),
        # red counts the red-team events of that day
        labels=(_whole(path, table["red"]) > 0).astype(np.uint8),
        train_length=int(np.searchsorted(days, 1)),
        entities=("user",),
    )


def _whole(path: Path, column: pl.Series) -> NDArray[np.int64]:
    if not column.dtype.is_integer() or column.null_count():
        raise DatasetFormatError(f"{path}: {column.name!r} must hold whole numbers in every row; fetch it again")
    return column.to_numpy().astype(np.int64)


def _auth_names(directory: Path) -> tuple[str, ...]:
    return ("auth_sample",) if (directory / AUTH).is_file() else ()


def _redteam_names(directory: Path) -> tuple[str, ...]:
    return ("redteam",) if any((directory / name).is_file() for name in REDTEAM) else ()


def _user_days_names(directory: Path) -> tuple[str, ...]:
    return ("user_day_counts",) if (directory / USER_DAYS).is_file() else ()


ENTRIES = (
    DatasetEntry(
        name="LANL-AUTH",
        title="Los Alamos authentication log, sample of 15,000 events with users and hosts, no anomaly in it",
        kind="events",
        folder=FOLDER,
        split="days 0 and 1 train, day 2 test",
        label_policy=LABEL_POLICY,
        licence=LICENCE,
        how_to_get=HOW_TO_GET,
        names=_auth_names,
        load=load_auth,
        known=KnownCounts(1, channels=8, train_rows=10_000, test_rows=5_000, anomalous_rows=0),
    ),
    DatasetEntry(
        name="LANL-REDTEAM",
        title="Los Alamos red team, all 749 of its logons",
        kind="events",
        folder=FOLDER,
        split="none: all are test events",
        label_policy=LABEL_POLICY,
        licence=LICENCE,
        how_to_get=HOW_TO_GET,
        names=_redteam_names,
        load=load_redteam,
        known=KnownCounts(1, channels=3, train_rows=0, test_rows=749, anomalous_rows=749),
    ),
    DatasetEntry(
        name="LANL-USER-DAYS",
        title="Los Alamos authentication log, 134 counts a user and day, 3 user-days with red-team events",
        kind="events",
        folder=FOLDER,
        split="day 0 train, day 1 test",
        label_policy=LABEL_POLICY,
        licence=LICENCE,
        how_to_get=HOW_TO_GET,
        names=_user_days_names,
        load=load_user_days,
        known=KnownCounts(1, channels=135, rows=9_999, anomalous_rows=3),
    ),
)
