"""Skoltech Anomaly Benchmark (SKAB): a water loop with pump and valves, 8 sensors at 1 Hz, 34 faults and a quiet run.

Source: I. D. Katser, V. O. Kozitsin, "Skoltech Anomaly Benchmark (SKAB)", Kaggle, 2020,
doi 10.34740/KAGGLE/DSV/1693952. Two forms are read: one table `skab.parquet` with the columns `group` and `file`,
and the original files `<group>/<file>.csv` with semicolons.

The source fixes no split; the first 400 rows of each run are the training part, as is usual. In one run, other/2, the
fault begins earlier: 296 of its training rows are labelled anomalous, and stay so. The clock of the source has no zone
and is read as UTC. About one step in twenty is 2 s long because a row is missing; `step` is 1 s.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.datasets.tables import binary_labels, nanoseconds, read_csv, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRY", "FOLDER", "HOW_TO_GET", "LABEL_POLICY", "LICENCE", "TRAIN_ROWS", "load_skab", "skab_names"]

FOLDER = "skab"
TABLE = "skab.parquet"
TRAIN_ROWS = 400
LICENCE = "GPL v3, as stated by the source; check before you ship the data with a product"
HOW_TO_GET = (
    f"Get the data folder (anomaly-free/, valve1/, valve2/, other/) of github.com/waico/SKAB "
    f"and put its content into a folder {FOLDER}."
)

LABEL_POLICY = (
    "SKAB labels, policy 1: the column anomaly; the first 400 rows of each run are the training part, in which 296 "
    "rows of other/2 are labelled anomalous and stay so; the run without anomalies has no labels in the source and is "
    "normal"
)

_GROUPS = ("anomaly-free", "valve1", "valve2", "other")
_NOT_CHANNELS = ("group", "file", "datetime", "anomaly", "changepoint")


def skab_names(directory: Path) -> tuple[str, ...]:
    """Return the runs in a folder, such as "valve1/0", by group and number; empty when nothing is there."""
    if (directory / TABLE).is_file():
        runs = (
            read_parquet(directory / TABLE, ("group", "file")).select(pl.col("group", "file").cast(pl.String)).unique()
        )
        return tuple(_sorted([f"{group}/{file}" for group, file in runs.rows()]))
    return tuple(_sorted([f"{group}/{path.stem}" for group in _GROUPS for path in (directory / group).glob("*.csv")]))


def load_skab(directory: Path, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the runs of SKAB.

    Parameters
    ----------
    directory : Path
        Holds `skab.parquet` or the folders of the original files.
    select : sequence of str or None
        Names such as "valve1/0" or shell patterns such as "valve1/*"; None reads all.

    Returns
    -------
    list of LabelledSeries
        Sorted by group and number.

    Raises
    ------
    DatasetNotFoundError
        When the files or a selected run are not there.
    DatasetFormatError
        When a column is missing or a rule of `LabelledSeries` is broken.
    """
    table_path = directory / TABLE
    if table_path.is_file():
        table = read_parquet(table_path, ("group", "file")).with_columns(pl.col("group", "file").cast(pl.String))
        parts = table.partition_by(["group", "file"], as_dict=True, maintain_order=True)
        runs = {f"{group}/{file}": run for (group, file), run in parts.items()}
        names = pick("SKAB", _sorted(list(runs)), select)
        return [_series(table_path, name, runs[name]) for name in names]
    files = {f"{group}/{path.stem}": path for group in _GROUPS for path in (directory / group).glob("*.csv")}
    if not files:
        raise missing("SKAB", [table_path, *(directory / group for group in _GROUPS)], HOW_TO_GET, LICENCE)
    return [
        _series(files[name], name, read_csv(files[name], separator=";", try_parse_dates=True))
        for name in pick("SKAB", _sorted(list(files)), select)
    ]


def _sorted(names: list[str]) -> list[str]:
    def key(name: str) -> tuple[str, int, str]:
        group, _, file = name.partition("/")
        return group, int(file) if file.isdigit() else -1, file

    return sorted(names, key=key)


def _series(path: Path, name: str, run: pl.DataFrame) -> LabelledSeries:
    if "datetime" not in run.columns:
        raise DatasetFormatError(f"SKAB/{name}: column 'datetime' is missing; found {', '.join(run.columns)}")
    channels = tuple(column for column in run.columns if column not in _NOT_CHANNELS)
    # the anomaly-free run has no label columns in the source
    labels = np.zeros(run.height, np.uint8)
    if "anomaly" in run.columns:
        labels = binary_labels(f"{path}: 'anomaly'", run["anomaly"])
    return LabelledSeries(
        dataset="SKAB",
        name=name,
        channels=channels,
        times=nanoseconds(path, run["datetime"]),
        values=values_of(path, run, channels),
        labels=labels,
        train_length=min(TRAIN_ROWS, run.height),
        step=SECOND,
    )


ENTRY = DatasetEntry(
    name="SKAB",
    title="Skoltech water loop with pump and valves, 35 runs of 8 sensors",
    kind="numeric",
    folder=FOLDER,
    split=f"the first {TRAIN_ROWS} rows of each run",
    label_policy=LABEL_POLICY,
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=skab_names,
    load=load_skab,
    known=KnownCounts(
        series=35, channels=8, train_rows=35 * TRAIN_ROWS, test_rows=46_806 - 35 * TRAIN_ROWS, anomalous_rows=13_067
    ),
)
