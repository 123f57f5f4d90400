"""Events in sequences: log lines of HDFS and BGL, system calls of ADFA-LD.

Sources: HDFS, W. Xu et al., SOSP 2009, sessions as prepared by logpai (deep-loglizer) and DeepLog; BGL, J. Zhu et al.,
"Loghub: A Large Collection of System Log Datasets for AI-driven Log Analytics", ISSRE 2023; ADFA-LD, G. Creech, J. Hu,
"Generation of a new IDS test dataset: Time to retire the KDD collection", WCNC 2013. Forms read:
`hdfs_100k_sessions.parquet`; `loghub_BGL_2k.parquet` or loghub's `BGL_2k.log_structured.csv`; `adfa_ld.parquet`.

HDFS sessions and ADFA-LD traces have no times: events follow each other by a second from 2000-01-01T00:00:00Z, session
after session. BGL has seconds since 1970.
"""

from pathlib import Path

import numpy as np
import polars as pl

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.location import missing
from evaluation.datasets.schema import SECOND, synthetic_times
from evaluation.datasets.tables import binary_labels, read_csv, read_parquet
from evaluation.errors import DatasetFormatError

__all__ = [
    "ADFA_LABEL_POLICY",
    "BGL_LABEL_POLICY",
    "ENTRIES",
    "HDFS_LABEL_POLICY",
    "load_adfa",
    "load_bgl",
    "load_hdfs",
]

LOGS_FOLDER, ADFA_FOLDER = "log-events", "adfa-ld"
HDFS_FILE, ADFA_FILE = "hdfs_100k_sessions.parquet", "adfa_ld.parquet"
BGL_FILES = ("loghub_BGL_2k.parquet", "BGL_2k.log_structured.csv")
BGL_TRAIN_ROWS = 1_000
LOGS_LICENCE = "loghub: free for research or academic work, cite it and keep the notice; sessions: LICENSE of logpai"
ADFA_LICENCE = "none stated by the project; UNSW is usually cited as allowing academic use only"
HDFS_HOW_TO_GET = (
    "Get the first 100k HDFS lines as sessions of github.com/logpai/deep-loglizer, written as "
    f"{HDFS_FILE} (columns block, split, label, event_ids), and put it into a folder {LOGS_FOLDER}."
)
BGL_HOW_TO_GET = f"Get BGL/{BGL_FILES[1]} of github.com/logpai/loghub and put it into a folder {LOGS_FOLDER}."
ADFA_HOW_TO_GET = (
    "Get ADFA-LD of github.com/verazuo/a-labelled-version-of-the-ADFA-LD-dataset, written as "
    f"{ADFA_FILE} (columns part, file, attack_type, label, syscalls), and put it into a folder {ADFA_FOLDER}."
)
HDFS_LABEL_POLICY = (
    "HDFS labels, policy 1: the source labels sessions, one a block of the file system, and every line of a session "
    "carries its label: score a block by its worst line; 313 of 7,940 sessions are anomalous, training sessions among "
    "them"
)
BGL_LABEL_POLICY = (
    "BGL labels, policy 1: every line with an alert tag (Label other than '-') is anomalous; tags are alerts and no "
    f"verified failures; the source has no split, and the first {BGL_TRAIN_ROWS} of its 2,000 lines are the training "
    "part"
)
ADFA_LABEL_POLICY = (
    "ADFA-LD labels, policy 1: every call of an attack trace is anomalous, though only some are malicious: score a "
    "trace, not a call; Training_Data_Master is the training part, Validation_Data_Master (normal) and the attacks "
    "are the test"
)


def load_hdfs(directory: Path) -> LabelledEvents:
    """Read the HDFS sessions, a line an event.

    Parameters
    ----------
    directory : Path
        Holds `hdfs_100k_sessions.parquet`.

    Returns
    -------
    LabelledEvents
        Attributes "block" (the session) and "template" (which message it is).

    Raises
    ------
    DatasetNotFoundError
        When the file is not there.
    DatasetFormatError
        When a column is missing, or a session is empty.
    """
    path = directory / HDFS_FILE
    if not path.is_file():
        raise missing("HDFS", [path], HDFS_HOW_TO_GET, LOGS_LICENCE)
    sessions = read_parquet(path, ("block", "split", "label", "event_ids"))
    binary_labels(f"{path}: 'label'", sessions["label"])
    train = sessions["split"].cast(pl.String) == "train"
    lines = (
        pl.concat([sessions.filter(train), sessions.filter(~train)])
        .with_columns(pl.col("event_ids").str.split(" "))
        .explode("event_ids")
    )
    return LabelledEvents(
        dataset="HDFS",
        name="sessions",
        times=synthetic_times(lines.height, SECOND),
        table=lines.select(
            pl.col("block").cast(pl.Categorical), template=pl.col("event_ids").cast(pl.UInt16, strict=False)
        ),
        labels=lines["label"].to_numpy().astype(np.uint8),
        train_length=int((lines["split"].cast(pl.String) == "train").sum()),
        entities=("block",),
    )


def load_bgl(directory: Path) -> LabelledEvents:
    """Read the sample of 2,000 log lines of the BlueGene/L computer.

    Parameters
    ----------
    directory : Path
        Holds `loghub_BGL_2k.parquet` or `BGL_2k.log_structured.csv`.

    Returns
    -------
    LabelledEvents
        Attributes "Node", "Type", "Component", "Level" and "EventId"; the kind of an alert is its tag.

    Raises
    ------
    DatasetNotFoundError
        When neither file is there.
    DatasetFormatError
        When a column is missing, or a time is no number of seconds.
    """
    path = next((directory / name for name in BGL_FILES if (directory / name).is_file()), None)
    if path is None:
        raise missing("BGL", [directory / name for name in BGL_FILES], BGL_HOW_TO_GET, LOGS_LICENCE)
    need = ("Label", "Timestamp", "Node", "Type", "Component", "Level", "EventId")
    table = read_parquet(path, need) if path.suffix == ".parquet" else read_csv(path, need)
    seconds = table["Timestamp"].cast(pl.Int64, strict=False)
    if seconds.null_count():
        at = int(np.argmax(seconds.is_null().to_numpy()))
        raise DatasetFormatError(f"{path}: 'Timestamp' in row {at} is no number of seconds: {table['Timestamp'][at]!r}")
    tags = table["Label"].cast(pl.String)
    return LabelledEvents(
        dataset="BGL",
        name="BGL_2k",
        times=SECOND * seconds.to_numpy().astype(np.int64),
        table=table.select(pl.col(need[2:]).cast(pl.String).cast(pl.Categorical)),
        labels=(tags != "-").to_numpy().astype(np.uint8),
        train_length=min(BGL_TRAIN_ROWS, table.height),
        entities=("Node",),
        kinds=tags.replace("-", None).cast(pl.Categorical),
    )


def load_adfa(directory: Path) -> LabelledEvents:
    """Read the system calls of ADFA-LD, a call an event.

    Parameters
    ----------
    directory : Path
        Holds `adfa_ld.parquet`.

    Returns
    -------
    LabelledEvents
        Attributes "trace" and "syscall"; the kind of attack is that of the trace.

    Raises
    ------
    DatasetNotFoundError
        When the file is not there.
    DatasetFormatError
        When a column or a part is missing, or a call is no number.
    """
    path = directory / ADFA_FILE
    if not path.is_file():
        raise missing("ADFA-LD", [path], ADFA_HOW_TO_GET, ADFA_LICENCE)
    traces = read_parquet(path, ("part", "file", "attack_type", "label", "syscalls"))
    binary_labels(f"{path}: 'label'", traces["label"])
    parts = [traces.filter(pl.col("part") == f"{part}_Data_Master") for part in ("Training", "Validation", "Attack")]
    if any(part.is_empty() for part in parts) or sum(part.height for part in parts) != traces.height:
        raise DatasetFormatError(
            f"{path}: 'part' must be Training_, Validation_ and Attack_Data_Master, each at least once; fetch it again"
        )
    ordered = pl.concat(parts).with_columns(pl.col("syscalls").str.strip_chars().str.split(" "))
    calls = ordered.explode("syscalls")
    labels = calls["label"].to_numpy().astype(np.uint8)
    kinds = calls.select(pl.when(pl.col("label") == 1).then(pl.col("attack_type"))).to_series()
    return LabelledEvents(
        dataset="ADFA-LD",
        name="traces",
        times=synthetic_times(calls.height, SECOND),
        table=calls.select(
            trace=pl.col("file").cast(pl.Categorical), syscall=pl.col("syscalls").cast(pl.UInt16, strict=False)
        ),
        labels=labels,
        train_length=int((calls["part"] == "Training_Data_Master").sum()),
        entities=("trace",),
        kinds=kinds.cast(pl.Categorical),
    )


def _hdfs_names(directory: Path) -> tuple[str, ...]:
    return ("sessions",) if (directory / HDFS_FILE).is_file() else ()


def _bgl_names(directory: Path) -> tuple[str, ...]:
    return ("BGL_2k",) if any((directory / name).is_file() for name in BGL_FILES) else ()


def _adfa_names(directory: Path) -> tuple[str, ...]:
    return ("traces",) if (directory / ADFA_FILE).is_file() else ()


ENTRIES = (
    DatasetEntry(
        name="HDFS",
        title="Hadoop file system log, 7,940 block sessions of the first 100k lines",
        kind="events",
        folder=LOGS_FOLDER,
        split="by the source: 6,352 training sessions, then 1,588 test sessions",
        label_policy=HDFS_LABEL_POLICY,
        licence=LOGS_LICENCE,
        how_to_get=HDFS_HOW_TO_GET,
        names=_hdfs_names,
        load=load_hdfs,
        known=KnownCounts(1, channels=2, rows=104_815),
    ),
    DatasetEntry(
        name="BGL",
        title="BlueGene/L supercomputer log, 2,000 lines with alert tags",
        kind="events",
        folder=LOGS_FOLDER,
        split=f"the first {BGL_TRAIN_ROWS} lines",
        label_policy=BGL_LABEL_POLICY,
        licence=LOGS_LICENCE,
        how_to_get=BGL_HOW_TO_GET,
        names=_bgl_names,
        load=load_bgl,
        known=KnownCounts(1, channels=5, rows=2_000, anomalous_rows=143),
    ),
    DatasetEntry(
        name="ADFA-LD",
        title="Linux system-call traces, 833 + 4,372 normal and 746 of attacks",
        kind="events",
        folder=ADFA_FOLDER,
        split="by the source: Training_Data_Master, then validation and attacks",
        label_policy=ADFA_LABEL_POLICY,
        licence=ADFA_LICENCE,
        how_to_get=ADFA_HOW_TO_GET,
        names=_adfa_names,
        load=load_adfa,
        known=KnownCounts(1, channels=2, train_rows=308_077, test_rows=2_122_085 + 317_388, anomalous_rows=317_388),
    ),
)
