"""Secure Water Treatment (SWaT), set "SWaT.A1 & A2_Dec 2015": a water plant with 51 tags at 1 Hz, under attack.

Source: J. Goh, S. Adepu, K. N. Junejo, A. Mathur, "A Dataset to Support Research in the Design of Secure Water
Treatment Systems", CRITIS 2016. Two forms are read, as xlsx (with the extra `xlsx`) or as CSV: the normal recording
`SWaT_Dataset_Normal_v1` or `_v0` and the labelled one `SWaT_Dataset_Attack_v0`, anywhere below the folder. The copy on
Kaggle is refused: it is cut by label and no recording any more.

The clock of the plant has no zone and is read as UTC. Seconds are missing here and there; `step` is 1 s.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.datasets.swat_attacks import check_attack_list, find_attack_list, read_attack_list
from evaluation.datasets.tables import nanoseconds, read_csv, values_of
from evaluation.datasets.workbook import read_sheet
from evaluation.errors import DatasetFormatError

__all__ = ["ENTRY", "FOLDER", "LABEL_POLICY", "TAGS", "TRAIN_POLICY", "load_swat", "swat_names"]

FOLDER = "swat"
LICENCE = "iTrust, Singapore University of Technology and Design: on request only, not to be passed on"
HOW_TO_GET = (
    "Get it by request from iTrust (itrust.sutd.edu.sg), set SWaT.A1 & A2_Dec 2015, and put its folder Physical and "
    f"List_of_attacks_Final.xlsx into a folder {FOLDER}."
)
LABEL_POLICY = (
    "SWaT labels, policy 1: the column Normal/Attack, spaces removed, so that the misspelt 'A ttack' counts; labels "
    "follow the commands of the attackers, and what an attack does to the plant lasts beyond them"
)
TRAIN_POLICY = (
    "SWaT training part, policy 1: Normal_v1 whole, or the same rows of Normal_v0, which are those from 22 December "
    "2015 16:30:00 on (v0 less its first 1,800 rows); with drop_start_up, those from 22:00:00 on (v0 less its first "
    "21,600 rows)"
)
# fmt: off
TAGS = (  # a new line begins with each stage of the plant
    "FIT101", "LIT101", "MV101", "P101", "P102",
    "AIT201", "AIT202", "AIT203", "FIT201", "MV201", "P201", "P202", "P203", "P204", "P205", "P206",
    "DPIT301", "FIT301", "LIT301", "MV301", "MV302", "MV303", "MV304", "P301", "P302",
    "AIT401", "AIT402", "FIT401", "LIT401", "P401", "P402", "P403", "P404", "UV401",
    "AIT501", "AIT502", "AIT503", "AIT504", "FIT501", "FIT502", "FIT503", "FIT504", "P501", "P502", "PIT501",
    "PIT502", "PIT503",
    "FIT601", "P601", "P602", "P603",
)
# fmt: on

_SERIES = "2015-12"
_TIME, _LABEL = "Timestamp", "Normal/Attack"
_STAMP = "%d/%m/%Y %I:%M:%S %p"
_BEGINS = np.datetime64("2015-12-22T16:30:00", "ns").astype(np.int64)
_START_UP_ENDS = np.datetime64("2015-12-22T22:00:00", "ns").astype(np.int64)
_NORMAL = ("SWaT_Dataset_Normal_v1", "SWaT_Dataset_Normal_v0")
_ATTACK = ("SWaT_Dataset_Attack_v0",)
_KAGGLE = ("normal", "attack", "merged")
_SUFFIXES = (".csv", ".xlsx")
# Banner rows stand above the header: one in the workbook, more where an exporter added a title.
_HEADER_WITHIN = 10


def swat_names(directory: Path) -> tuple[str, ...]:
    """Return the one series, "2015-12", when any file of the set is there."""
    return (_SERIES,) if _find(directory, (*_NORMAL, *_ATTACK, *_KAGGLE)) is not None else ()


def load_swat(
    directory: Path, *, select: Sequence[str] | None = None, drop_start_up: bool = False
) -> list[LabelledSeries]:
    """Read the recording of December 2015.

    Parameters
    ----------
    directory : Path
        The files lie in it or below. CSV is taken before xlsx, and Normal_v1 before Normal_v0.
    select : sequence of str or None
        "2015-12" or a shell pattern.
    drop_start_up : bool
        Whether the first hours, while the plant fills, are left out of the training part; see `TRAIN_POLICY`.

    Returns
    -------
    list of LabelledSeries
        One series; channels are `TAGS`.

    Raises
    ------
    DatasetNotFoundError
        When nothing is there.
    DatasetFormatError
        When one of the two recordings is missing, is cut by label, or does not have the known columns, times or labels.
    DatasetError
        When a workbook is to be read and the extra `xlsx` is not installed.
    """
    if not swat_names(directory):
        raise missing("SWaT", [directory / f"**/{name}.*" for name in (*_NORMAL, *_ATTACK)], HOW_TO_GET, LICENCE)
    pick("SWaT", (_SERIES,), select)
    normal_path, attack_path = _find(directory, _NORMAL), _find(directory, _ATTACK)
    if normal_path is None or attack_path is None:
        kaggle = _find(directory, _KAGGLE)
        if kaggle is not None:
            raise _cut_by_label(kaggle)
        raise DatasetFormatError(
            f"{directory}: SWaT_Dataset_{'Normal_v1' if normal_path is None else 'Attack_v0'} (.xlsx or .csv) is "
            f"missing beside the other recording; the download is not whole. {HOW_TO_GET}"
        )
    times, values, labels = _read(normal_path)
    if labels.any():
        raise DatasetFormatError(
            f"{normal_path}: {int(labels.sum())} rows are labelled as attack, the first in row {int(np.argmax(labels))}"
            f"; the normal recording has none: fetch it again"
        )
    kept = times >= (_START_UP_ENDS if drop_start_up else _BEGINS)
    if not kept.any():
        raise DatasetFormatError(f"{normal_path}: ends before the start-up of the plant does; fetch it again")
    attack_times, attack_values, attack_labels = _read(attack_path)
    if attack_labels.all():
        raise _cut_by_label(attack_path)
    if not attack_labels.any():
        raise DatasetFormatError(f"{attack_path}: no row is labelled as attack; fetch it again")
    return [
        LabelledSeries(
            dataset="SWaT",
            name=_SERIES,
            channels=TAGS,
            times=np.concatenate([times[kept], attack_times]),
            values=np.concatenate([values[kept], attack_values]),
            labels=np.concatenate([labels[kept], attack_labels]),
            train_length=int(kept.sum()),
            step=SECOND,
        )
    ]


def _find(directory: Path, stems: Sequence[str]) -> Path | None:
    if not directory.is_dir():
        return None
    files = {(path.stem.lower(), path.suffix.lower()): path for path in sorted(directory.rglob("*")) if path.is_file()}
    wanted = [(stem.lower(), suffix) for stem in stems for suffix in _SUFFIXES]
    return next((files[key] for key in wanted if key in files), None)


def _cut_by_label(path: Path) -> DatasetFormatError:
    return DatasetFormatError(
        f"{path}: this is the copy of SWaT that is cut by label (normal.csv, attack.csv, merged.csv): its rows are no "
        f"continuous recording, and in its joined files seven tags are empty in one block. {HOW_TO_GET}"
    )


def _read(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8]]:
    table = _from_workbook(path) if path.suffix.lower() == ".xlsx" else _from_csv(path)
    unknown = [name for name in table.columns if name not in (*TAGS, _TIME, _LABEL)]
    absent = [name for name in (_TIME, *TAGS, _LABEL) if name not in table.columns]
    if unknown or absent:
        raise DatasetFormatError(
            f"{path}: columns do not fit SWaT's 53; missing: {', '.join(absent) or 'none'}; "
            f"not known: {', '.join(unknown) or 'none'}"
        )
    if table.is_empty():
        raise DatasetFormatError(f"{path}: holds no rows; fetch it again")
    empty = [tag for tag in TAGS if table[tag].null_count() == table.height]
    if empty:
        raise DatasetFormatError(
            f"{path}: {', '.join(empty)} hold no value; recordings were joined without removing the spaces in their "
            f"column names. {HOW_TO_GET}"
        )
    return nanoseconds(path, table[_TIME], _STAMP), values_of(path, table, TAGS), _labels(path, table[_LABEL])


def _labels(path: Path, column: pl.Series) -> NDArray[np.uint8]:
    words = column.cast(pl.String).str.replace_all(" ", "").str.to_lowercase()
    wrong = (~words.is_in(["normal", "attack"])).fill_null(value=True).to_numpy()
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DatasetFormatError(f"{path}: {_LABEL!r} must be Normal or Attack, found {column[at]!r} in row {at}")
    return (words != "normal").to_numpy().astype(np.uint8)


def _header(path: Path, rows: Sequence[Sequence[str | None]]) -> tuple[int, list[str]]:
    for number, row in enumerate(rows):
        names = [(cell or "").strip() for cell in row]
        if _LABEL in names:
            return number, names
    raise DatasetFormatError(
        f"{path}: none of the first {_HEADER_WITHIN} rows holds {_LABEL!r}, so the header is not found; export the "
        f"sheet with its header row"
    )


def _from_workbook(path: Path) -> pl.DataFrame:
    top = read_sheet(path, n_rows=_HEADER_WITHIN, as_text=True)
    number, names = _header(path, top.rows())
    table = read_sheet(path, skip_rows=number + 1)
    if table.width != len(names):
        raise DatasetFormatError(f"{path}: {len(names)} names in the header and {table.width} columns; fetch it again")
    table.columns = _unique(path, names)
    return _numbers(path, table)


def _from_csv(path: Path) -> pl.DataFrame:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = [file.readline().rstrip("\r\n") for _ in range(_HEADER_WITHIN)]
    separator = ";" if max(line.count(";") for line in lines) > max(line.count(",") for line in lines) else ","
    number, names = _header(path, [line.replace('"', "").split(separator) for line in lines])
    return read_csv(
        path,
        has_header=False,
        skip_rows=number + 1,
        separator=separator,
        decimal_comma=separator == ";",
        schema={name: pl.Float64 if name in TAGS else pl.String for name in _unique(path, names)},
        encoding="utf8-lossy",
    )


def _unique(path: Path, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetFormatError(f"{path}: column {twice[0]!r} is there twice; recordings were joined side by side")
    return names


def _numbers(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    text = [tag for tag in TAGS if tag in table.columns and table.schema[tag] == pl.String]
    numbers = table.with_columns(pl.col(text).str.strip_chars().str.replace(",", ".").cast(pl.Float64, strict=False))
    for tag in text:
        lost = (numbers[tag].is_null() & table[tag].is_not_null()).to_numpy()
        if lost.any():
            at = int(np.argmax(lost))
            raise DatasetFormatError(f"{path}: {tag} in row {at} is no number: {table[tag][at]!r}")
    return numbers


def _remarks(directory: Path, loaded: Sequence[LabelledSeries]) -> list[str]:
    path = find_attack_list(directory)
    if path is None:
        return ["List_of_attacks_Final.xlsx is not there, so labels were not compared with the list of attacks"]
    return check_attack_list(read_attack_list(path, TAGS), loaded[0])


ENTRY = DatasetEntry(
    name="SWaT",
    title="Secure Water Treatment, water plant with 51 tags at 1 Hz, 7 days normal and 4 days under attack",
    kind="numeric",
    folder=FOLDER,
    split="by the source: the normal recording (Normal_v1), then the attack recording",
    label_policy=f"{LABEL_POLICY}; {TRAIN_POLICY}",
    licence=LICENCE,
    how_to_get=HOW_TO_GET,
    names=swat_names,
    load=load_swat,
    known=KnownCounts(series=1, channels=51, train_rows=495_000, test_rows=449_919, anomalous_rows=54_621),
    remarks=_remarks,
)
