"""NodeSentry: telemetry of 7 nodes of a high-performance computer, 138 metrics at 15 s, by job.

Source: the release of the NodeSentry authors (github.com/hushao98/NodeSentry-model). One form is read: the table
`nodesentry.parquet` with `split`, `node`, `job`, `timestamp`, `Metric1` to `Metric138` and `Label`.

A series is a node: its training jobs, then its test job, in time order. Between jobs there are gaps. The clock of the
source has no zone and is read as UTC.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.datasets.tables import binary_labels, nanoseconds, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRY", "FOLDER", "LABEL_POLICY", "load_nodesentry", "nodesentry_names"]

FOLDER = "nodesentry"
TABLE = "nodesentry.parquet"
STEP = 15 * SECOND
LICENCE = "none stated by the source"
HOW_TO_GET = (
    f"Get the node and job files of github.com/hushao98/NodeSentry-model, write them as one table {TABLE} (columns "
    f"split, node, job, timestamp, Metric1 to Metric138, Label) and put it into a folder {FOLDER}."
)
LABEL_POLICY = (
    "NodeSentry labels, policy 1: the source labels test jobs only, and training jobs are read as normal; the three "
    "test jobs hold 4 anomalous rows, so the set serves for training and for false-alarm rates, not for recall; a node "
    "without a test job has an empty test part"
)

_METRICS = tuple(f"Metric{number}" for number in range(1, 139))


def nodesentry_names(directory: Path) -> tuple[str, ...]:
    """Return the series in a folder, "Node-1" to "Node-7"."""
    if not (directory / TABLE).is_file():
        return ()
    return tuple(sorted(read_parquet(directory / TABLE, ("node",))["node"].cast(pl.String).unique()))


def load_nodesentry(directory: Path, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the nodes.

    Parameters
    ----------
    directory : Path
        Holds `nodesentry.parquet`.
    select : sequence of str or None
        Names such as "Node-1" or shell patterns; None reads all.

    Returns
    -------
    list of LabelledSeries
        By node. Only nodes 1 to 3 have test rows; nodes 4 to 7 are for training.

    Raises
    ------
    DatasetNotFoundError
        When the table or a selected node is not there.
    DatasetFormatError
        When a column is missing or a rule of `LabelledSeries` is broken.
    """
    path = directory / TABLE
    names = nodesentry_names(directory)
    if not names:
        raise missing("NodeSentry", [path], HOW_TO_GET, LICENCE)
    table = read_parquet(path, ("split", "node", "timestamp", "Label", *_METRICS))
    table = table.with_columns(pl.col("split", "node").cast(pl.String))
    unknown = table.filter(~pl.col("split").is_in(["train", "test"]))
    if not unknown.is_empty():
        raise DatasetFormatError(f"{path}: 'split' must be train or test, found {unknown['split'][0]!r}")
    return [_series(path, name, table.filter(pl.col("node") == name)) for name in pick("NodeSentry", names, select)]


def _series(path: Path, name: str, rows: pl.DataFrame) -> LabelledSeries:
    # the table holds test jobs first
    parts = [rows.filter(pl.col("split") == split).sort("timestamp") for split in ("train", "test")]
    train, test = parts
    ordered = pl.concat(parts)
    labels = np.zeros(ordered.height, np.uint8)
    labels[train.height :] = binary_labels(f"{path}: 'Label'", test["Label"])
    return LabelledSeries(
        dataset="NodeSentry",
        name=name,
        channels=_METRICS,
        times=nanoseconds(path, ordered["timestamp"]),
        values=values_of(path, ordered, _METRICS),
        labels=labels,
        train_length=train.height,
        step=STEP,
    )


ENTRY = DatasetEntry(
    name="NodeSentry",
    title="Telemetry of 7 HPC nodes, 19 of 35 job files, 138 metrics at 15 s; 4 anomalous rows, for training",
    kind="numeric",
    folder=FOLDER,
    split="by the source: training jobs, then the test job of a node (nodes 1 to 3 only)",
    label_policy=LABEL_POLICY,
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=nodesentry_names,
    load=load_nodesentry,
    # of the 19 of 35 node and job files that could be had
    known=KnownCounts(series=7, channels=138, train_rows=13_805, test_rows=1_635, anomalous_rows=4),
)
