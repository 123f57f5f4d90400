"""Metrics of servers and services: SMD, ASD and CTN, three sets of one shape.

Sources: SMD, Y. Su et al., "Robust Anomaly Detection for Multivariate Time Series through Stochastic Recurrent Neural
Network", KDD 2019. ASD, Z. Li et al., "Multivariate Time Series Anomaly Detection and Interpretation using Hierarchical
Inter-Metric and Temporal Embedding", KDD 2021. CTN, M. Ma et al., "Jump-Starting Multivariate Time Series Anomaly
Detection for Online Service Systems", USENIX ATC 2021, there "Dataset2".

Two forms are read: a table a series (`machine-1-2.parquet`, with `split`, `label` and the metrics `m00`, `m01`, ...),
and the original directories `train/`, `test/`, `test_label/` with a file of numbers a series and no header (SMD `.txt`,
CTN `.csv`). The original ASD files are pickles, which run code when they are opened, and are not read.

No source gives times, but each states its step: rows follow each other at that step from 2000-01-01T00:00:00Z, the test
part straight after the training part.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import MINUTE, LabelledSeries, synthetic_times
from evaluation.datasets.tables import binary_labels, read_numbers, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRIES", "LABEL_POLICY", "ServerSet", "load_server_set", "server_set_names"]

LABEL_POLICY = (
    "server metrics, policy 1: labels of the test part as the source gives them; the source labels no training row, "
    "and all are read as normal, though nobody warrants that they are"
)
_PARTS = ("train", "test", "test_label")


@dataclass(frozen=True, slots=True)
class ServerSet:
    """How one of the three sets differs from the others.

    Attributes
    ----------
    name : str
        Of the data set.
    folder : str
        Inside the data directory.
    pattern : str
        Regular expression of the names of its series.
    step : int
        Nanoseconds from row to row, as the source states it.
    suffix : str or None
        Ending of the original files; None where they are not read.
    halves : bool
        Whether the source cuts each series into halves, so that a file that is cut short shows.
    how_to_get, licence : str
        For the user.
    """

    name: str
    folder: str
    pattern: str
    step: int
    suffix: str | None
    halves: bool
    how_to_get: str
    licence: str


SMD = ServerSet(
    name="SMD",
    folder="smd",
    pattern=r"machine-\d+-\d+",
    step=MINUTE,
    suffix=".txt",
    halves=True,
    how_to_get=(
        "Get ServerMachineDataset/ (train/, test/, test_label/) of github.com/NetManAIOps/OmniAnomaly "
        "and put its content into a folder smd."
    ),
    licence="MIT, as stated by the source",
)
ASD = ServerSet(
    name="ASD",
    folder="asd",
    pattern=r"omi-\d+",
    step=5 * MINUTE,
    suffix=None,
    halves=False,
    how_to_get=(
        "Get the processed ASD files of github.com/zhhlee/InterFusion, write each server as a table omi-N.parquet "
        "(columns split, label, m00 to m18) and put them into a folder asd."
    ),
    licence="MIT, as stated by the source",
)
CTN = ServerSet(
    name="CTN",
    folder="ctn-services",
    pattern=r"service\d+",
    step=5 * MINUTE,
    suffix=".csv",
    halves=False,
    how_to_get=(
        "Get dataset/Dataset2/ (train/, test/, test_label/) of github.com/NetManAIOps/JumpStarter "
        "and put its content into a folder ctn-services."
    ),
    licence="MIT, as stated by the source",
)


def server_set_names(directory: Path, kind: ServerSet) -> tuple[str, ...]:
    """Return the series in a folder, by number; a series counts when any of its files is there."""
    files = {path.stem for path in directory.glob("*.parquet")}
    if kind.suffix is not None:
        files |= {path.stem for part in _PARTS for path in (directory / part).glob(f"*{kind.suffix}")}
    found = [name for name in files if re.fullmatch(kind.pattern, name)]
    return tuple(sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)]))


def load_server_set(directory: Path, kind: ServerSet, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the series of one set.

    Parameters
    ----------
    directory : Path
        Holds the tables or the original directories.
    kind : ServerSet
        Which set.
    select : sequence of str or None
        Names such as "machine-1-2" or shell patterns; None reads all.

    Returns
    -------
    list of LabelledSeries
        By number. Channels are "m00", "m01", ...: the sources withhold the names of the metrics.

    Raises
    ------
    DatasetNotFoundError
        When nothing is there, or a selected series is not.
    DatasetFormatError
        When a file is missing beside its companions, is cut short, or breaks a rule of `LabelledSeries`.
    """
    names = server_set_names(directory, kind)
    if not names:
        looked_for = [directory / "*.parquet"]
        if kind.suffix is not None:
            looked_for += [directory / part / f"*{kind.suffix}" for part in _PARTS]
        raise missing(kind.name, looked_for, kind.how_to_get, kind.licence)
    return [_series(directory, kind, name) for name in pick(kind.name, names, select)]


def _series(directory: Path, kind: ServerSet, name: str) -> LabelledSeries:
    table = directory / f"{name}.parquet"
    values, labels, train_length = _from_table(table) if table.is_file() else _from_text(directory, kind, name)
    test_length = labels.size - train_length
    if kind.halves and not 0 <= test_length - train_length <= 1:
        raise DatasetFormatError(
            f"{kind.name}/{name}: {train_length} training and {test_length} test rows; the source cuts each series "
            f"into halves, so a file is cut short: fetch it again"
        )
    return LabelledSeries(
        dataset=kind.name,
        name=name,
        channels=tuple(f"m{number:02d}" for number in range(values.shape[1])),
        times=synthetic_times(labels.size, kind.step),
        values=values,
        labels=labels,
        train_length=train_length,
        step=kind.step,
    )


def _from_table(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    table = read_parquet(path, ("split", "label"))
    metrics = [name for name in table.columns if name not in ("split", "label")]
    if metrics != [f"m{number:02d}" for number in range(len(metrics))]:
        raise DatasetFormatError(f"{path}: metrics must be m00, m01, ... in order; found {', '.join(metrics)}")
    train = (table["split"].cast(pl.String) == "train").to_numpy()
    train_length = int(train.sum())
    if not train[:train_length].all() or not (table["split"].cast(pl.String)[train_length:] == "test").all():
        raise DatasetFormatError(f"{path}: 'split' must be train in the first rows and test in all others")
    return values_of(path, table, metrics), binary_labels(f"{path}: 'label'", table["label"]), train_length


def _from_text(directory: Path, kind: ServerSet, name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8], int]:
    paths = [directory / part / f"{name}{kind.suffix}" for part in _PARTS]
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
        raise DatasetFormatError(
            f"{kind.name}/{name}: {' and '.join(absent)} missing beside the others; the download is not whole. "
            f"{kind.how_to_get}"
        )
    train, test = (read_numbers(path, ",") for path in paths[:2])
    marks = read_numbers(paths[2], ",")[:, 0]
    if train.shape[1] != test.shape[1] or marks.size != test.shape[0]:
        raise DatasetFormatError(
            f"{kind.name}/{name}: {train.shape[1]} training columns, {test.shape[1]} test columns, {test.shape[0]} "
            f"test rows, {marks.size} labels; a file is cut short: fetch it again"
        )
    labels = np.concatenate([np.zeros(train.shape[0], np.uint8), binary_labels(str(paths[2]), marks)])
    return np.concatenate([train, test]).astype(np.float32), labels, train.shape[0]


def _entry(kind: ServerSet, title: str, split: str, known: KnownCounts) -> DatasetEntry:
    return DatasetEntry(
        name=kind.name,
        title=title,
        kind="numeric",
        folder=kind.folder,
        split=split,
        label_policy=LABEL_POLICY,
        licence=kind.licence,
        how_to_get=kind.how_to_get,
        names=partial(server_set_names, kind=kind),
        load=partial(load_server_set, kind=kind),
        known=known,
    )


# Counts: SMD from the paper's table of data sets; ASD and CTN from the releases themselves.
ENTRIES = (
    _entry(
        SMD,
        "Server Machine Dataset, 28 servers of an internet company, 38 metrics a minute",
        "by the source: first half train, second half test",
        KnownCounts(series=28, channels=38, train_rows=708_405, test_rows=708_420),
    ),
    _entry(
        ASD,
        "Application Server Dataset, 12 servers, 19 metrics, 5-minute steps",
        "by the source: about 30 days train, 15 days test",
        KnownCounts(series=12, channels=19, train_rows=102_331, test_rows=51_840, anomalous_rows=2_392),
    ),
    _entry(
        CTN,
        "KPIs of 30 services of a content platform in raw units, 19 metrics, 5-minute steps",
        "by the source: 20 days train, 25 days test",
        KnownCounts(
            series=30,
            channels=19,
            train_rows=30 * 5_760,
            test_rows=216_000,
            anomalous_rows=11_348,
            rows_each=(5_760, 7_200),
        ),
    ),
)
