"""Tennessee Eastman Process (TEP): a simulated chemical plant, 52 variables, 21 faults.

Source: L. H. Chiang, E. L. Russell, R. D. Braatz, "Fault Detection and Diagnosis in Industrial Systems", Springer 2001;
the process is that of J. J. Downs and E. F. Vogel, 1993. Two forms are read: one table `tep.parquet` with `split`,
`fault` and the variables, and the original files `d00.dat` to `d21.dat` and `d00_te.dat` to `d21_te.dat`.

The source gives no times: rows follow each other at its 3-minute step from 2000-01-01T00:00:00Z, the test run straight
after the training run. In truth the two runs are separate: the first test row does not
continue the last training row.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import MINUTE, LabelledSeries, synthetic_times
from evaluation.datasets.tables import read_numbers, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRY", "FOLDER", "LABEL_POLICY", "load_tep", "tep_names"]

FOLDER = "tep"
TABLE = "tep.parquet"
STEP = 3 * MINUTE
# Eight hours at three minutes: the fault enters each test run there.
FAULT_STARTS = 160
TEST_ROWS = 960
LICENCE = "University of Illinois open-source style notice: keep the notice when you pass the data on"
HOW_TO_GET = (
    f"Get the files dNN.dat and dNN_te.dat of github.com/camaramm/tennessee-eastman-profBraatz "
    f"and put them into a folder {FOLDER}."
)
LABEL_POLICY = (
    "TEP labels, policy 1: a series is the normal training run followed by the test run of one fault; the files hold "
    "no labels, and by the literature the fault starts after 8 hours, so test rows 0 to 159 are normal and 160 to 959 "
    "anomalous; fault-00 is the normal test run; the training runs of the faults are not used"
)

_CHANNELS = tuple([f"XMEAS_{i}" for i in range(1, 42)] + [f"XMV_{i}" for i in range(1, 12)])


def tep_names(directory: Path) -> tuple[str, ...]:
    """Return the series in a folder, "fault-00" (the normal test run) to "fault-21"."""
    if (directory / TABLE).is_file():
        table = read_parquet(directory / TABLE, ("split", "fault"))
        faults = table.filter(pl.col("split").cast(pl.String) == "test")["fault"].unique().to_list()
    else:
        files = (re.fullmatch(r"d(\d\d)_te\.dat", path.name) for path in directory.glob("d*_te.dat"))
        faults = [int(file[1]) for file in files if file]
    return tuple(f"fault-{fault:02d}" for fault in sorted(faults))


def load_tep(directory: Path, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the runs of TEP.

    Parameters
    ----------
    directory : Path
        Holds `tep.parquet` or the original `.dat` files.
    select : sequence of str or None
        Names such as "fault-04" or shell patterns; None reads all.

    Returns
    -------
    list of LabelledSeries
        By fault. Channels are "XMEAS_1" to "XMEAS_41" and "XMV_1" to "XMV_11".

    Raises
    ------
    DatasetNotFoundError
        When nothing is there, or a selected run is not.
    DatasetFormatError
        When the normal training run is missing, or a run does not have its known shape.
    """
    names = tep_names(directory)
    if not names:
        raise missing("TEP", [directory / TABLE, directory / "d00_te.dat"], HOW_TO_GET, LICENCE)
    chosen = [(name, int(name.removeprefix("fault-"))) for name in pick("TEP", names, select)]
    if (directory / TABLE).is_file():
        table = read_parquet(directory / TABLE, ("split", "fault", *_CHANNELS))
        table = table.with_columns(pl.col("split").cast(pl.String))
        normal = _run(directory / TABLE, table, "train", 0)
        return [_series(name, fault, normal, _run(directory / TABLE, table, "test", fault)) for name, fault in chosen]
    normal = _file(directory / "d00.dat")
    return [_series(name, fault, normal, _file(directory / f"d{fault:02d}_te.dat")) for name, fault in chosen]


def _run(path: Path, table: pl.DataFrame, split: str, fault: int) -> NDArray[np.float32]:
    rows = table.filter((pl.col("split") == split) & (pl.col("fault") == fault))
    if rows.is_empty():
        raise DatasetFormatError(f"{path}: no rows of split {split!r} and fault {fault}; fetch the file again")
    return values_of(path, rows, _CHANNELS)


def _file(path: Path) -> NDArray[np.float32]:
    if not path.is_file():
        raise DatasetFormatError(f"{path}: missing beside the other runs; the download is not whole. {HOW_TO_GET}")
    numbers = read_numbers(path)
    # d00.dat is published lying down: variables in rows
    if numbers.shape[1] != len(_CHANNELS) and numbers.shape[0] == len(_CHANNELS):
        numbers = numbers.T
    if numbers.shape[1] != len(_CHANNELS):
        raise DatasetFormatError(f"{path}: {numbers.shape[1]} columns, {len(_CHANNELS)} are known; fetch it again")
    return numbers.astype(np.float32)


def _series(name: str, fault: int, normal: NDArray[np.float32], test: NDArray[np.float32]) -> LabelledSeries:
    if test.shape[0] != TEST_ROWS:
        raise DatasetFormatError(
            f"TEP/{name}: the test run has {test.shape[0]} rows, {TEST_ROWS} are known; fetch it again"
        )
    labels = np.zeros(normal.shape[0] + TEST_ROWS, np.uint8)
    if fault:
        labels[normal.shape[0] + FAULT_STARTS :] = 1
    return LabelledSeries(
        dataset="TEP",
        name=name,
        channels=_CHANNELS,
        times=synthetic_times(labels.size, STEP),
        values=np.concatenate([normal, test]),
        labels=labels,
        train_length=normal.shape[0],
        step=STEP,
    )


ENTRY = DatasetEntry(
    name="TEP",
    title="Tennessee Eastman Process, simulated chemical plant, 52 variables, normal run and 21 faults",
    kind="numeric",
    folder=FOLDER,
    split="the normal training run (500 rows) before the test run of each fault (960 rows)",
    label_policy=LABEL_POLICY,
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=tep_names,
    load=load_tep,
    known=KnownCounts(
        series=22,
        channels=52,
        train_rows=22 * 500,
        test_rows=22 * TEST_ROWS,
        anomalous_rows=21 * (TEST_ROWS - FAULT_STARTS),
        rows_each=(500, TEST_ROWS),
    ),
)
