"""NASA SMAP and MSL spacecraft telemetry (telemanom).

Source: K. Hundman et al., "Detecting Spacecraft Anomalies Using LSTMs and Nonparametric Dynamic Thresholding",
KDD 2018. Two forms are read: one archive a spacecraft (`SMAP.npz`, `MSL.npz`) with the arrays
`train/<channel>/value`, `train/<channel>/cmd`, `test/...`; and the original directories `train/*.npy`,
`test/*.npy`. Both need `labeled_anomalies.csv`.

The source gives an order of rows and no times: rows get one-minute steps from 2000-01-01T00:00:00Z, the test part
straight after the training part. It also leaves the labels open in three places; `LABEL_POLICY` says how they are
read here.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.location import missing, pick
from evaluation.datasets.schema import MINUTE, LabelledSeries, synthetic_times
from evaluation.datasets.tables import archive_array, open_archive, read_csv
from evaluation.errors import DatasetFormatError

__all__ = [
    "ENTRIES",
    "FOLDER",
    "HOW_TO_GET",
    "LABEL_POLICY",
    "LICENCE",
    "Spacecraft",
    "load_nasa",
    "nasa_left_out",
    "nasa_names",
]

Spacecraft = Literal["SMAP", "MSL"]

FOLDER = "nasa-smap-msl"
LABELS = "labeled_anomalies.csv"
LICENCE = "Caltech/JPL notice in the BSD-3 style; keep the notice when you pass the data on"
HOW_TO_GET = (
    f"Get train/, test/ and {LABELS} as named by the telemanom project (github.com/khundman/telemanom) "
    f"and put them into a folder {FOLDER}."
)
LABEL_POLICY = (
    "telemanom labels, policy 1: the end index of a segment is inside it; of several label rows for one channel the "
    "last one counts (SMAP P-2); a channel without a label row is left out (MSL T-10)"
)

_Parts = Callable[[str], tuple[NDArray[np.float32], NDArray[np.float32]]]


def nasa_names(directory: Path, spacecraft: Spacecraft) -> tuple[str, ...]:
    """Return the labelled channels of one spacecraft, in the order of the label file; empty when nothing is there.

    Raises
    ------
    DatasetFormatError
        The arrays are there without the label file, or the other way round.
    """
    labels_path, archive = directory / LABELS, directory / f"{spacecraft}.npz"
    arrays = archive.is_file() or (directory / "test").is_dir()
    # the archive of the other spacecraft alone is no half download of this one
    if not arrays and (not labels_path.is_file() or any(directory.glob("*.npz"))):
        return ()
    if not (arrays and labels_path.is_file()):
        absent = f"{spacecraft}.npz and test/ are" if labels_path.is_file() else f"{LABELS} is"
        raise DatasetFormatError(
            f"{directory}: {absent} missing beside the rest; the download is not whole. {HOW_TO_GET}"
        )
    return tuple(_read_segments(labels_path, spacecraft))


def nasa_left_out(directory: Path, spacecraft: Spacecraft) -> dict[str, int]:
    """Return how many channels of the archive have no label row; one is known, MSL T-10."""
    archive = directory / f"{spacecraft}.npz"
    if not archive.is_file():
        return {}
    with open_archive(archive) as opened:
        held = {key.split("/")[1] for key in opened if key.startswith("test/")}
    count = len(held - set(nasa_names(directory, spacecraft)))
    return {f"no label row in {LABELS}": count} if count else {}


def load_nasa(directory: Path, spacecraft: Spacecraft, *, select: Sequence[str] | None = None) -> list[LabelledSeries]:
    """Read the channels of one spacecraft.

    Parameters
    ----------
    directory : Path
        Holds `labeled_anomalies.csv` and either form of the arrays.
    spacecraft : {"SMAP", "MSL"}
        Which one.
    select : sequence of str or None
        Channel names or shell patterns such as "P-*"; None reads all.

    Returns
    -------
    list of LabelledSeries
        In the order of the label file. Channels are "value" (the telemetry) and "cmd_1", "cmd_2", ... (commands).

    Raises
    ------
    DatasetNotFoundError
        When a file or a selected channel is not there.
    DatasetFormatError
        When labels and arrays do not fit each other.
    """
    labels_path, archive = directory / LABELS, directory / f"{spacecraft}.npz"
    arrays = directory / "test"
    if not labels_path.is_file() or not (archive.is_file() or arrays.is_dir()):
        raise missing(f"NASA {spacecraft}", [labels_path, archive, arrays], HOW_TO_GET, LICENCE)
    segments = _read_segments(labels_path, spacecraft)
    names = pick(spacecraft, list(segments), select)
    if not archive.is_file():
        return [_series(spacecraft, name, segments[name], _from_directory(directory)) for name in names]
    with open_archive(archive) as opened:
        return [_series(spacecraft, name, segments[name], _from_archive(opened, archive)) for name in names]


def _read_segments(path: Path, spacecraft: str) -> dict[str, tuple[list[list[int]], int]]:
    table = read_csv(path)
    wanted = {"chan_id", "spacecraft", "anomaly_sequences", "num_values"}
    if not wanted <= set(table.columns):
        raise DatasetFormatError(f"{path}: columns {', '.join(sorted(wanted - set(table.columns)))} are missing")
    rows = table.filter(pl.col("spacecraft") == spacecraft)
    if rows.is_empty():
        raise DatasetFormatError(f"{path}: no row is of spacecraft {spacecraft}; the file is cut short: fetch it again")
    found: dict[str, tuple[list[list[int]], int]] = {}
    for row in rows.iter_rows(named=True):  # a later row of the same channel replaces the earlier one
        try:
            found[str(row["chan_id"])] = (json.loads(row["anomaly_sequences"]), int(row["num_values"]))
        except (TypeError, ValueError) as error:
            raise DatasetFormatError(
                f"{path}: the row of channel {row['chan_id']} is cut short or no list of segments; fetch it again"
            ) from error
    return found


def _from_archive(opened: "np.lib.npyio.NpzFile", path: Path) -> _Parts:
    def parts(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        train, test = (stacked(name, part) for part in ("train", "test"))
        return train, test

    def stacked(name: str, part: str) -> NDArray[np.float32]:
        value, commands = (archive_array(path, opened, f"{part}/{name}/{kind}") for kind in ("value", "cmd"))
        if value.ndim != 1 or commands.ndim != 2 or value.shape[0] != commands.shape[0]:
            raise DatasetFormatError(
                f"{path}: arrays {part}/{name}/value {value.shape} and cmd {commands.shape} must have equal rows"
            )
        return np.column_stack([value, commands]).astype(np.float32)

    return parts


def _from_directory(directory: Path) -> _Parts:
    def parts(name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        paths = [directory / part / f"{name}.npy" for part in ("train", "test")]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise missing(f"NASA channel {name}", absent, HOW_TO_GET, LICENCE)
        try:
            train, test = (np.load(path, allow_pickle=False).astype(np.float32) for path in paths)
        except (OSError, ValueError, EOFError) as error:
            raise DatasetFormatError(f"{paths[0]} or {paths[1]}: cut short or no array; fetch it again") from error
        return train, test

    return parts


def _series(spacecraft: str, name: str, labelled: tuple[list[list[int]], int], read: _Parts) -> LabelledSeries:
    segments, test_rows = labelled
    train, test = read(name)
    if test.shape[0] != test_rows:
        raise DatasetFormatError(
            f"{spacecraft}/{name}: {LABELS} says {test_rows} test rows, the array has {test.shape[0]}; "
            f"the two come from different releases"
        )
    labels = np.zeros(train.shape[0] + test_rows, dtype=np.uint8)
    for first, last in segments:
        if not 0 <= first <= last < test_rows:
            raise DatasetFormatError(f"{spacecraft}/{name}: segment [{first}, {last}] is outside 0..{test_rows - 1}")
        labels[train.shape[0] + first : train.shape[0] + last + 1] = 1
    return LabelledSeries(
        dataset=spacecraft,
        name=name,
        channels=("value", *(f"cmd_{i}" for i in range(1, train.shape[1]))),
        times=synthetic_times(labels.size),
        values=np.concatenate([train, test]),
        labels=labels,
        train_length=train.shape[0],
        step=MINUTE,
    )


def _entry(spacecraft: Spacecraft, title: str, known: KnownCounts) -> DatasetEntry:
    return DatasetEntry(
        name=spacecraft,
        title=title,
        kind="numeric",
        folder=FOLDER,
        split="by the source, a channel",
        label_policy=LABEL_POLICY,
        licence=LICENCE,
        how_to_get=HOW_TO_GET,
        names=partial(nasa_names, spacecraft=spacecraft),
        load=partial(load_nasa, spacecraft=spacecraft),
        left_out=partial(nasa_left_out, spacecraft=spacecraft),
        known=known,
    )


# Anomalous rows follow the label policy: the union of both label rows of P-2 would be 155 more in SMAP.
ENTRIES = (
    _entry(
        "SMAP",
        "NASA SMAP satellite, 54 channels of telemetry with command flags",
        KnownCounts(series=54, channels=25, train_rows=138_004, test_rows=435_826, anomalous_rows=55_817),
    ),
    _entry(
        "MSL",
        "NASA Mars Science Laboratory, 27 channels of telemetry with command flags",
        KnownCounts(series=27, channels=55, train_rows=58_317, test_rows=73_729, anomalous_rows=7_766),
    ),
)
