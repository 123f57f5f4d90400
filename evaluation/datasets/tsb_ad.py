"""TSB-AD: the multivariate (M) and univariate (U) suites of a benchmark that publishes scores per file.

Source: Q. Liu, J. Paparrizos, "The Elephant in the Room: Towards A Reliable Time-Series Anomaly Detection Benchmark",
NeurIPS 2024 Datasets and Benchmarks. A series has the name of its file, such as
`002_MSL_id_1_Sensor_tr_500_1st_900`, which tells the length of the training part (500) and the first anomalous row
(900). It is taken from the first of these places that has it:

1. a file of the suite, CSV or Parquet with the value columns and `Label`, in `series/`, `TSB-AD-M/` or `TSB-AD-U/`;
2. the original that it was cut from, in the folders of SMAP, MSL, SMD and NAB, as `source_map.csv` tells.

What is rebuilt is kept only when its length and its first anomaly are those of the file. Rows have no times: they get
one-minute steps from 2000-01-01T00:00:00Z.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets import nab, nasa, server_metrics
from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import MINUTE, LabelledSeries, synthetic_times
from evaluation.datasets.tables import binary_labels, read_csv, read_parquet, values_of
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRIES", "FOLDER", "LABEL_POLICY", "Suite", "TsbName", "load_tsb_ad", "tsb_ad_left_out", "tsb_ad_names"]

Suite = Literal["M", "U"]

FOLDER = "tsb-ad"
LICENCE = "curation Apache 2.0 (TSB-AD); each series keeps the licence of its own source"
HOW_TO_GET = (
    "Get TSB-AD-M.zip and TSB-AD-U.zip as named by github.com/TheDatumOrg/TSB-AD "
    f"and unpack them into a folder {FOLDER}."
)
LABEL_POLICY = (
    "TSB-AD labels, policy 1: the column Label; the first tr rows of the file name are the training part, and labels "
    "may be 1 there. Series rebuilt from an original: SMAP and MSL are the test array (all columns in M, the first "
    "column in U, which is assumed and not proved), SMD the test part, NAB all rows but the first with labels that "
    "stay at their row numbers and windows that lose their last row, as in TSB-AD's own files; a series whose length "
    "or first anomaly then differs from its file is left out"
)

_NAME = re.compile(r"(\d+)_(.+?)_id_(\d+)_([A-Za-z]+)_tr_(\d+)_1st_(\d+)")
_MAP, _MAP_COLUMNS = "source_map.csv", ("suite", "tsb_file", "dataset", "source", "skip_rows", "length", "unique")
_NOT_KNOWN = "no original is known that the file was cut from"
_AMBIGUOUS = "several originals fit the file, or several files one original"
_NOT_HELD = "the original is not there"
_MISFIT = "rebuilt, but length or first anomaly is not that of the file"


@dataclass(frozen=True, slots=True)
class TsbName:
    """What the name of a file tells.

    Attributes
    ----------
    index : int
        Number of the file in its suite.
    source : str
        Data set that it comes from, such as "MSL".
    number : int
        Number of the series within that source.
    domain : str
        Such as "Sensor".
    train_length : int
        Rows of the training part.
    first_anomaly : int
        First anomalous row of the whole file, from 0.
    """

    index: int
    source: str
    number: int
    domain: str
    train_length: int
    first_anomaly: int

    @classmethod
    def parse(cls, name: str) -> "TsbName":
        """Read the name of a file, without its ending.

        Raises
        ------
        DatasetFormatError
            It has another form.

        Examples
        --------
        >>> TsbName.parse("002_MSL_id_1_Sensor_tr_500_1st_900")
        TsbName(index=2, source='MSL', number=1, domain='Sensor', train_length=500, first_anomaly=900)
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise DatasetFormatError(
                f"{name!r} is no TSB-AD file name such as 002_MSL_id_1_Sensor_tr_500_1st_900; keep the source's names"
            )
        index, source, number, domain, train, first = found.groups()
        return cls(int(index), source, int(number), domain, int(train), int(first))


@dataclass(frozen=True, slots=True)
class _Original:
    """A line of the source map: which rows of which series a file is."""

    dataset: str
    source: str
    skip_rows: int
    length: int


def tsb_ad_names(directory: Path, suite: Suite) -> tuple[str, ...]:
    """Return the series whose file or original is there; a rebuilt one may still turn out not to fit."""
    return tuple(sorted([*_files(directory, suite), *_originals(directory, suite)[0]]))


def tsb_ad_left_out(directory: Path, suite: Suite) -> dict[str, int]:
    """Return how many files of the suite cannot be given, by reason."""
    originals, reasons = _originals(directory, suite)
    fitting = _rebuild(directory, suite, originals)
    reasons[_MISFIT] += len(originals) - len(fitting)
    return {reason: count for reason, count in sorted(reasons.items()) if count}


def load_tsb_ad(directory: Path, suite: Suite, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read series of one suite.

    Parameters
    ----------
    directory : Path
        Holds files of the suite, or `source_map.csv` beside the folders of the originals.
    suite : {"M", "U"}
        Multivariate or univariate.
    select : sequence of str or None
        File names without their ending, or shell patterns such as "*_MSL_*"; None reads all that can be had.

    Returns
    -------
    list of LabelledSeries
        By file name.

    Raises
    ------
    DatasetNotFoundError
        When nothing is there, or a selected series cannot be had.
    DatasetFormatError
        When a file does not fit its name.
    """
    files = _files(directory, suite)
    originals, _ = _originals(directory, suite)
    if not files and not originals:
        raise missing(f"TSB-AD-{suite}", [*_places(directory, suite), directory / _MAP], HOW_TO_GET, LICENCE)
    chosen = set(pick(f"TSB-AD-{suite}", sorted([*files, *originals]), select))
    rebuilt = _rebuild(directory, suite, {name: one for name, one in originals.items() if name in chosen})
    if select is not None:
        chosen = set(pick(f"TSB-AD-{suite}", sorted([*files, *rebuilt]), select))
    return [
        _from_file(suite, name, files[name]) if name in files else rebuilt[name]
        for name in sorted(chosen)
        if name in files or name in rebuilt
    ]


def _places(directory: Path, suite: Suite) -> list[Path]:
    return [directory / "series", directory / f"TSB-AD-{suite}"]


def _files(directory: Path, suite: Suite) -> dict[str, Path]:
    listed, other = (_listed(directory, one) for one in (suite, "U" if suite == "M" else "M"))
    found: dict[str, Path] = {}
    for place in reversed(_places(directory, suite)):  # the first place has the last word
        for path in (*place.glob("*.csv"), *place.glob("*.parquet")):
            shared = place.name == "series" and path.stem not in listed
            if not shared or (path.stem not in other and (len(_columns(path)) == 2) == (suite == "U")):
                found[path.stem] = path
    return found


def _columns(path: Path) -> list[str]:
    return (read_parquet(path) if path.suffix == ".parquet" else read_csv(path, n_rows=1)).columns


def _listed(directory: Path, suite: str) -> set[str]:
    path = directory / "file_list" / f"TSB-AD-{suite}.csv"
    if not path.is_file():
        return set()
    return {name.removesuffix(".csv") for name in read_csv(path, ("file_name",))["file_name"]}


def _originals(directory: Path, suite: Suite) -> tuple[dict[str, _Original], Counter[str]]:
    path = directory / _MAP
    files, reasons = _files(directory, suite), Counter[str]()
    if not path.is_file():
        reasons[_NOT_KNOWN] = len(_listed(directory, suite) - set(files))
        return {}, reasons
    table = read_csv(path, _MAP_COLUMNS).filter(pl.col("suite") == suite)
    table = table.with_columns(pl.col("tsb_file").str.strip_suffix(".csv"))
    wanted = [name for name in sorted(_listed(directory, suite) | set(table["tsb_file"])) if name not in files]
    rows = {name: part for (name,), part in table.partition_by("tsb_file", as_dict=True).items()}
    clear = table.filter(pl.col("unique") & pl.col("source").is_not_null())
    claims = Counter(zip(clear["dataset"], clear["source"], strict=True))
    held = {dataset: set(_held(directory.parent, dataset)) for dataset in set(clear["dataset"])}
    found: dict[str, _Original] = {}
    for name in wanted:
        part = rows.get(name)
        if part is None or part["source"].null_count() == part.height:
            reasons[_NOT_KNOWN] += 1
            continue
        line = part.row(0, named=True)
        if part.height > 1 or not line["unique"] or claims[line["dataset"], line["source"]] > 1:
            reasons[_AMBIGUOUS] += 1
        elif line["source"] not in held[line["dataset"]]:
            reasons[_NOT_HELD] += 1
        else:
            found[name] = _Original(line["dataset"], line["source"], line["skip_rows"], line["length"])
    return found, reasons


def _held(data_directory: Path, dataset: str) -> Sequence[str]:
    match dataset:
        case "SMAP" | "MSL":
            return nasa.nasa_names(data_directory / nasa.FOLDER, dataset)
        case "SMD":
            return server_metrics.server_set_names(data_directory / server_metrics.SMD.folder, server_metrics.SMD)
        case "NAB":
            return nab.nab_names(data_directory / nab.FOLDER)
        case _:
            return ()


def _load_originals(data_directory: Path, dataset: str, names: Sequence[str]) -> list[LabelledSeries]:
    match dataset:
        case "SMAP" | "MSL":
            return nasa.load_nasa(data_directory / nasa.FOLDER, dataset, select=names)
        case "SMD":
            smd = server_metrics.SMD
            return server_metrics.load_server_set(data_directory / smd.folder, smd, select=names)
        case _:
            return nab.load_nab(data_directory / nab.FOLDER, select=names)


def _rebuild(directory: Path, suite: Suite, originals: Mapping[str, _Original]) -> dict[str, LabelledSeries]:
    loaded: dict[tuple[str, str], LabelledSeries] = {}
    for dataset in sorted({original.dataset for original in originals.values()}):
        names = sorted({original.source for original in originals.values() if original.dataset == dataset})
        loaded |= {(dataset, one.name): one for one in _load_originals(directory.parent, dataset, names)}
    rebuilt: dict[str, LabelledSeries] = {}
    for name, original in originals.items():
        values, labels = _cut(loaded[original.dataset, original.source], original, suite)
        fits = labels.size == original.length and labels.any()
        if fits and int(np.argmax(labels)) == TsbName.parse(name).first_anomaly:
            rebuilt[name] = _series(suite, name, [str(i) for i in range(values.shape[1])], values, labels)
    return rebuilt


def _cut(series: LabelledSeries, original: _Original, suite: Suite) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    if original.dataset == "NAB":
        # TSB-AD drops the first row but not the first label, so labels come a row late; each window loses its last row.
        values, labels = series.values[original.skip_rows :], series.labels.copy()
        labels[np.flatnonzero(np.diff(labels.astype(np.int8), append=0) < 0)] = 0
        labels = labels[: values.shape[0]]
    else:
        values, labels = series.test_values[original.skip_rows :], series.test_labels[original.skip_rows :]
    return np.ascontiguousarray(values if suite == "M" else values[:, :1]), labels


def _from_file(suite: Suite, name: str, path: Path) -> LabelledSeries:
    table = read_parquet(path, ("Label",)) if path.suffix == ".parquet" else read_csv(path, ("Label",))
    channels = [column for column in table.columns if column != "Label"]
    labels = binary_labels(f"{path}: 'Label'", table["Label"])
    told = TsbName.parse(name)
    first = int(np.argmax(labels)) if labels.any() else None
    if first != told.first_anomaly or told.train_length > labels.size:
        raise DatasetFormatError(
            f"{path}: {labels.size} rows, the first anomaly in row {first}; the name says training rows "
            f"{told.train_length} and first anomaly {told.first_anomaly}: the file is cut short or renamed: "
            f"fetch it again"
        )
    return _series(suite, name, channels, values_of(path, table, channels), labels)


def _series(
    suite: Suite, name: str, channels: Sequence[str], values: NDArray[np.float32], labels: NDArray[np.uint8]
) -> LabelledSeries:
    return LabelledSeries(
        dataset=f"TSB-AD-{suite}",
        name=name,
        channels=tuple(channels),
        times=synthetic_times(labels.size),
        values=values,
        labels=labels,
        train_length=TsbName.parse(name).train_length,
        step=MINUTE,
    )


def _entry(suite: Suite, title: str, known: KnownCounts) -> DatasetEntry:
    return DatasetEntry(
        name=f"TSB-AD-{suite}",
        title=title,
        kind="numeric",
        folder=FOLDER,
        split="by the source: the first rows of each file, as many as its name says behind tr",
        label_policy=LABEL_POLICY,
        licence=LICENCE,
        how_to_get=HOW_TO_GET,
        names=partial(tsb_ad_names, suite=suite),
        load=partial(load_tsb_ad, suite=suite),
        left_out=partial(tsb_ad_left_out, suite=suite),
        known=known,
    )


ENTRIES = (
    _entry("M", "TSB-AD multivariate suite, 200 series of 17 sources", KnownCounts(series=200)),
    _entry("U", "TSB-AD univariate suite, 870 series of 23 sources", KnownCounts(series=870, channels=1)),
)
