"""Numenta Anomaly Benchmark (NAB): 58 univariate series with labelled windows.

Source: A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms, the Numenta Anomaly Benchmark", ICMLA
2015. Two forms are read, both with the source's `combined_windows.json`: one table `nab.parquet` with the columns
`series`, `timestamp` and `value`, and the original files `data/<group>/<file>.csv` with `labels/combined_windows.json`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import LabelledSeries
from evaluation.datasets.tables import nanoseconds, need_columns, read_csv, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRY", "FOLDER", "LABEL_POLICY", "TIME_POLICY", "load_nab", "nab_names"]

FOLDER = "nab"
TABLE = "nab.parquet"
WINDOWS = "combined_windows.json"
LICENCE = "MIT-style text of Numenta Inc., as stated by the source"
HOW_TO_GET = f"Get data/ and labels/{WINDOWS} of github.com/numenta/NAB and put both into a folder {FOLDER}."
PROBATION_SHARE, PROBATION_LONGEST = 0.15, 750
LABEL_POLICY = (
    "NAB windows, policy 1: a row is anomalous when its time stamp lies in a window of combined_windows.json, both "
    "ends inside; the training part is NAB's own probation, the first 15 % of the rows and at most 750, which NAB does "
    "not score"
)
TIME_POLICY = (
    "NAB times, policy 1: rows keep the source's order; where time stamps repeat or go back (clock changes, logging "
    "errors), the whole series is put on even steps from its first stamp, and its labels still follow the stamps of "
    "the source"
)

_STAMP = "%Y-%m-%d %H:%M:%S"


def nab_names(directory: Path) -> tuple[str, ...]:
    """Return the series in a folder, such as "realTraffic/speed_7578", in the order of their names."""
    if (directory / TABLE).is_file():
        return tuple(sorted(read_parquet(directory / TABLE, ("series",))["series"].cast(pl.String).unique()))
    return tuple(sorted(f"{path.parent.name}/{path.stem}" for path in (directory / "data").glob("*/*.csv")))


def load_nab(directory: Path, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read series of NAB.

    Parameters
    ----------
    directory : Path
        Holds `nab.parquet` and `combined_windows.json`, or the source's `data/` and `labels/`.
    select : sequence of str or None
        Names such as "realKnownCause/nyc_taxi" or shell patterns such as "realTraffic/*"; None reads all.

    Returns
    -------
    list of LabelledSeries
        One channel each, "value".

    Raises
    ------
    DatasetNotFoundError
        When nothing is there, or a selected series is not.
    DatasetFormatError
        When the windows are missing or do not fit the rows.
    """
    names = nab_names(directory)
    if not names:
        raise missing("NAB", [directory / TABLE, directory / "data"], HOW_TO_GET, LICENCE)
    windows = _windows(directory)
    read = _reader(directory)
    return [_series(directory, name, read(name), windows) for name in pick("NAB", names, select)]


def _reader(directory: Path) -> Callable[[str], pl.DataFrame]:
    table_path = directory / TABLE
    if not table_path.is_file():
        return lambda name: read_csv(directory / "data" / f"{name}.csv", ("timestamp", "value"))
    table = read_parquet(table_path, ("series", "timestamp", "value"))
    parts = table.with_columns(pl.col("series").cast(pl.String)).partition_by(
        "series", as_dict=True, maintain_order=True
    )
    return lambda name: parts[name,]


def _windows(directory: Path) -> dict[str, list[list[str]]]:
    places = [directory / WINDOWS, directory / "labels" / WINDOWS]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DatasetFormatError(
            f"{directory}: the series are there, but not {WINDOWS}; without it nothing is labelled. {HOW_TO_GET}"
        )
    try:
        windows = json.loads(path.read_text())
    except ValueError as error:
        raise DatasetFormatError(f"{path}: no JSON ({error}); fetch it again") from error
    if not isinstance(windows, dict) or not all(
        isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        for pairs in windows.values()
    ):
        raise DatasetFormatError(f"{path}: must map file names to lists of [start, end]; fetch it again")
    return windows


def _series(directory: Path, name: str, table: pl.DataFrame, windows: dict[str, list[list[str]]]) -> LabelledSeries:
    where = directory / f"{name}.csv"
    need_columns(where, table, ("timestamp", "value"))
    if f"{name}.csv" not in windows:
        raise DatasetFormatError(f"NAB/{name}: {WINDOWS} has no entry {name}.csv; the two come from different releases")
    stamps = nanoseconds(where, table["timestamp"], _STAMP)
    labels = np.zeros(stamps.size, np.uint8)
    for pair in windows[f"{name}.csv"]:
        bounds = pl.Series("window", pair, dtype=pl.String).str.replace(r"\.0+$", "")
        start, end = nanoseconds(Path(WINDOWS), bounds, _STAMP)
        if start not in stamps or end not in stamps:
            raise DatasetFormatError(
                f"NAB/{name}: no row has the time stamp where window {pair[0]} to {pair[1]} begins or ends; the file "
                f"is cut short or of another release: fetch it again"
            )
        labels[(stamps >= start) & (stamps <= end)] = 1
    step = int(np.median(np.diff(stamps))) if stamps.size > 1 else 1
    return LabelledSeries(
        dataset="NAB",
        name=name,
        channels=("value",),
        times=_increasing(stamps, step),
        values=values_of(where, table, ["value"]),
        labels=labels,
        train_length=min(int(PROBATION_SHARE * stamps.size), PROBATION_LONGEST),
        step=max(step, 1),
    )


def _increasing(stamps: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    if (np.diff(stamps) > 0).all():
        return stamps
    return int(stamps[0]) + step * np.arange(stamps.size, dtype=np.int64)


ENTRY = DatasetEntry(
    name="NAB",
    title="Numenta Anomaly Benchmark, 58 univariate series (47 real, 11 artificial) with labelled windows",
    kind="numeric",
    folder=FOLDER,
    split=f"NAB's probation: the first 15 % of each series, at most {PROBATION_LONGEST} rows",
    label_policy=LABEL_POLICY,
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=nab_names,
    load=load_nab,
    known=KnownCounts(series=58, channels=1, rows=365_558, anomalous_rows=33_495),
)
