"""Network connections with labelled attacks: KDD99 and NSL-KDD, as events of 41 attributes.

Sources: KDD Cup 1999 Data, UCI KDD Archive; M. Tavallaee et al., "A Detailed Analysis of the KDD CUP 99 Data Set",
CISDA 2009 (NSL-KDD, and the flaws of both). Two forms are read: tables `train_10pct.parquet` and
`test_corrected.parquet`, or `KDDTrain+_20Percent.parquet` and `KDDTest+.parquet`; and the original files without a
header, `kddcup.data_10_percent` and `corrected` (also with `.gz`), or `KDDTrain+_20Percent.txt` and `KDDTest+.txt`.

The sources give an order and no times: connections follow each other by a second from 2000-01-01T00:00:00Z.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.location import missing
from evaluation.datasets.schema import SECOND, synthetic_times
from evaluation.datasets.tables import need_columns, read_csv, read_parquet
from evaluation.errors import DatasetFormatError

__all__ = ["ATTRIBUTE_POLICY", "ENTRIES", "LABEL_POLICY", "ConnectionSet", "load_connections"]

LICENCE = "none stated by the source; cite it"
LABEL_POLICY = (
    "KDD labels, policy 1: every connection that is not 'normal' is anomalous, in the training part too; attacks are "
    "the majority in KDD99, so train on the normal ones only"
)
ATTRIBUTE_POLICY = (
    "KDD attributes, policy 1: protocol_type, service and flag are words; the six yes-or-no fields keep their "
    "numbers; rates become tenths (0 to 10), all other numbers the power of two below 1 + x (0 for 0, 1 for 1 and 2, "
    "2 for 3 to 6)"
)

_WORDS = ("protocol_type", "service", "flag")
_FLAGS = ("land", "logged_in", "root_shell", "su_attempted", "is_host_login", "is_guest_login")
# fmt: off
_FEATURES = (
    "duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "land", "wrong_fragment", "urgent", "hot",
    "num_failed_logins", "logged_in", "num_compromised", "root_shell", "su_attempted", "num_root", "num_file_creations",
    "num_shells", "num_access_files", "num_outbound_cmds", "is_host_login", "is_guest_login", "count", "srv_count",
    "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate", "diff_srv_rate",
    "srv_diff_host_rate", "dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate", "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate", "dst_host_srv_serror_rate",
    "dst_host_rerror_rate", "dst_host_srv_rerror_rate",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class ConnectionSet:
    """How one of the two sets differs from the other.

    Attributes
    ----------
    name, folder : str
        Of the data set, and inside the data directory.
    train, test : tuple of str
        Files of each part, whichever is there first.
    extra : tuple of str
        Columns behind the label.
    how_to_get : str
        For the user.
    """

    name: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    extra: tuple[str, ...]
    how_to_get: str


KDD99 = ConnectionSet(
    name="KDD99",
    folder="kdd99",
    train=("train_10pct.parquet", "kddcup.data_10_percent", "kddcup.data_10_percent.gz"),
    test=("test_corrected.parquet", "corrected", "corrected.gz"),
    extra=(),
    how_to_get=(
        "Get kddcup.data_10_percent.gz and corrected.gz of the UCI KDD Archive (kdd.ics.uci.edu, KDD Cup 1999) "
        "and put both into a folder kdd99."
    ),
)
NSL_KDD = ConnectionSet(
    name="NSL-KDD",
    folder="nsl-kdd",
    train=("KDDTrain+_20Percent.parquet", "KDDTrain+_20Percent.txt"),
    test=("KDDTest+.parquet", "KDDTest+.txt"),
    extra=("difficulty",),
    how_to_get=(
        "Get KDDTrain+_20Percent.txt and KDDTest+.txt of NSL-KDD (unb.ca/cic/datasets/nsl.html) "
        "and put both into a folder nsl-kdd."
    ),
)


def load_connections(directory: Path, kind: ConnectionSet) -> LabelledEvents:
    """Read the training and the test connections of one set.

    Parameters
    ----------
    directory : Path
        Holds the files.
    kind : ConnectionSet
        Which set.

    Returns
    -------
    LabelledEvents
        Attributes by `ATTRIBUTE_POLICY`; the kind of attack is the source's label. No entities.

    Raises
    ------
    DatasetNotFoundError
        When nothing is there.
    DatasetFormatError
        When one of the two files is missing or does not have the known columns.
    """
    paths = [_find(directory, files) for files in (kind.train, kind.test)]
    if not any(paths):
        raise missing(kind.name, [directory / file for file in (*kind.train, *kind.test)], kind.how_to_get, LICENCE)
    parts: list[pl.DataFrame] = []
    for path, files in zip(paths, (kind.train, kind.test), strict=True):
        if path is None:
            raise DatasetFormatError(
                f"{directory}: none of {', '.join(files)} is there beside the other part; the download is not whole. "
                f"{kind.how_to_get}"
            )
        parts.append(_read(path, kind))
    table = pl.concat(parts)
    words = table["label"].str.strip_suffix(".")
    labels = (words != "normal").to_numpy()
    return LabelledEvents(
        dataset=kind.name,
        name="connections",
        times=synthetic_times(table.height, SECOND),
        table=table.select(_attribute(name) for name in _FEATURES),
        labels=labels.astype(np.uint8),
        train_length=parts[0].height,
        kinds=words.replace("normal", None).cast(pl.Categorical),
    )


def _find(directory: Path, files: Sequence[str]) -> Path | None:
    return next((directory / file for file in files if (directory / file).is_file()), None)


def _names(directory: Path, kind: ConnectionSet) -> tuple[str, ...]:
    return ("connections",) if _find(directory, (*kind.train, *kind.test)) is not None else ()


def _read(path: Path, kind: ConnectionSet) -> pl.DataFrame:
    if path.suffix == ".parquet":
        table = read_parquet(path)
    else:
        table = read_csv(path, has_header=False)
        columns = [*_FEATURES, "label", *kind.extra]
        if table.width != len(columns):
            raise DatasetFormatError(f"{path}: {table.width} columns, {len(columns)} are known; fetch it again")
        table.columns = columns
    need_columns(path, table, (*_FEATURES, "label"))
    numbers = [name for name in _FEATURES if name not in _WORDS]
    for name in numbers:
        if not table.schema[name].is_numeric() or table[name].null_count() or (table[name] < 0).any():
            raise DatasetFormatError(f"{path}: {name!r} must hold numbers from 0 up; fetch it again")
    if table["label"].null_count():
        raise DatasetFormatError(f"{path}: 'label' is empty in {table['label'].null_count()} rows; fetch it again")
    return table.select(pl.col("label", *_WORDS).cast(pl.String), pl.col(numbers).cast(pl.Float64))


def _attribute(name: str) -> pl.Expr:
    column = pl.col(name)
    if name in _WORDS:
        return column.cast(pl.Categorical)
    if name in _FLAGS:
        return column.cast(pl.UInt8)
    if name.endswith("_rate"):
        # a rate of 0.3 is stored as 0.30 and must not fall into the second tenth
        return (column * 10 + 1e-9).floor().cast(pl.UInt8)
    return (column + 1).log(2).floor().cast(pl.UInt8)


def _entry(kind: ConnectionSet, title: str, split: str, known: KnownCounts) -> DatasetEntry:
    return DatasetEntry(
        name=kind.name,
        title=title,
        kind="events",
        folder=kind.folder,
        split=split,
        label_policy=f"{LABEL_POLICY}; {ATTRIBUTE_POLICY}",
        licence=LICENCE,
        how_to_get=kind.how_to_get,
        names=partial(_names, kind=kind),
        load=partial(load_connections, kind=kind),
        known=known,
    )


ENTRIES = (
    _entry(
        KDD99,
        "KDD Cup 1999 network connections, 10 % training file and corrected test file, simulated",
        "by the source: the 10 % training file, then the corrected test file",
        KnownCounts(1, channels=41, train_rows=494_021, test_rows=311_029, anomalous_rows=396_743 + 250_436),
    ),
    _entry(
        NSL_KDD,
        "KDD99 without duplicates, 20 % training file and full test file, simulated",
        "by the source: KDDTrain+_20Percent, then KDDTest+",
        KnownCounts(1, channels=41, train_rows=25_192, test_rows=22_544, anomalous_rows=11_743 + 12_833),
    ),
)
