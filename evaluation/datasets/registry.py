"""Data sets by name or path: `load_dataset("SKAB")`, `load_dataset("my_plant.csv", train_fraction=0.3)`.

Event sets have a call of their own: `load_events("KDD99")`.
"""

from collections.abc import Sequence
from pathlib import Path

from evaluation.datasets import (
    batadal,
    lanl,
    location,
    nab,
    nasa,
    network,
    nodesentry,
    sequences,
    server_metrics,
    skab,
    swat,
    tep,
    tsb_ad,
)
from evaluation.datasets.entry import DatasetEntry
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.files import load_directory, load_file
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import DatasetNotFoundError, EventDatasetError, InvalidInputError

__all__ = [
    "DATASETS",
    "EVENT_DATASETS",
    "available",
    "available_events",
    "is_known",
    "load_dataset",
    "load_events",
]

_NUMERIC = (
    *nasa.ENTRIES,
    skab.ENTRY,
    swat.ENTRY,
    nab.ENTRY,
    *server_metrics.ENTRIES,
    tep.ENTRY,
    batadal.ENTRY,
    nodesentry.ENTRY,
    *tsb_ad.ENTRIES,
)
_EVENTS = (*network.ENTRIES, *lanl.ENTRIES, *sequences.ENTRIES)

DATASETS: dict[str, DatasetEntry] = {entry.name.upper(): entry for entry in _NUMERIC}
EVENT_DATASETS: dict[str, DatasetEntry] = {entry.name.upper(): entry for entry in _EVENTS}

# One name for several sets.
_TOGETHER = {"TSB-AD": ("TSB-AD-M", "TSB-AD-U")}


def available() -> tuple[str, ...]:
    """Return the names that `load_dataset` knows, present or not.

    Examples
    --------
    >>> available()
    ('SMAP', 'MSL', 'SKAB', 'SWaT', 'NAB', 'SMD', 'ASD', 'CTN', 'TEP', 'BATADAL', 'NodeSentry', 'TSB-AD-M', 'TSB-AD-U')
    """
    return tuple(entry.name for entry in DATASETS.values())


def available_events() -> tuple[str, ...]:
    """Return the names that `load_events` knows, present or not.

    Examples
    --------
    >>> available_events()
    ('KDD99', 'NSL-KDD', 'LANL-AUTH', 'LANL-REDTEAM', 'LANL-USER-DAYS', 'HDFS', 'BGL', 'ADFA-LD')
    """
    return tuple(entry.name for entry in EVENT_DATASETS.values())


def is_known(name: str) -> bool:
    """Whether `load_dataset` knows a name; capitals do not matter.

    Examples
    --------
    >>> is_known("skab"), is_known("tsb-ad"), is_known("KDD99"), is_known("pump.csv")
    (True, True, False, False)
    """
    return name.upper() in DATASETS or name.upper() in _TOGETHER


def load_dataset(
    name_or_path: str | Path,
    *,
    data_directory: Path | None = None,
    train_fraction: float | None = None,
    select: Sequence[str] | None = None,
    intervals: Path | None = None,
) -> list[LabelledSeries]:
    """Load a known data set by name, or your own series by path.

    Parameters
    ----------
    name_or_path : str or Path
        One of `available()` (capitals do not matter), "TSB-AD" for both of its suites, a CSV or Parquet file, or a
        directory of such files.
    data_directory : Path or None
        Where the folders of the known data sets are; by default `$TSAD_DATA`, else ../shared/data.
    train_fraction : float or None
        For files without a `split` column: share of rows to train on. Known data sets bring their own split.
    select : sequence of str or None
        Names of series, or shell patterns; None loads all.
    intervals : Path or None
        For your own files: an interval table in place of the column `label` (`evaluation.datasets.intervals`).

    Returns
    -------
    list of LabelledSeries

    Raises
    ------
    DatasetNotFoundError
        Says where it was looked for, how to get it, and under which licence.
    DatasetFormatError
        Says which file, column and row break a rule.
    EventDatasetError
        The name is that of an event set.
    """
    name = str(name_or_path).upper()
    if name in EVENT_DATASETS:
        shown = EVENT_DATASETS[name].name
        raise EventDatasetError(
            f"{shown} is an event set and has no numeric series: load it by "
            f'evaluation.datasets.registry.load_events("{shown}")'
        )
    if is_known(name):
        entries = [DATASETS[one] for one in _TOGETHER.get(name, (name,))]
        if train_fraction is not None:
            raise InvalidInputError(
                f"{entries[0].name} has its own split ({entries[0].split}); leave train_fraction out"
            )
        if intervals is not None:
            raise InvalidInputError(f"{entries[0].name} has its own labels; leave the interval table out")
        directories = [entry.directory(data_directory) for entry in entries]
        if len(entries) == 1 or select is None:
            chosen: list[Sequence[str] | None] = [select] * len(entries)
        else:
            held = [entry.names(directory) for entry, directory in zip(entries, directories, strict=True)]
            picked = location.pick(str(name_or_path), [one for names in held for one in names], select)
            chosen = [[one for one in picked if one in names] for names in held]
        return [
            one
            for entry, directory, names in zip(entries, directories, chosen, strict=True)
            if names is None or len(names)
            for one in entry.load(directory, select=names)
        ]
    path = Path(name_or_path)
    if path.is_dir():
        return load_directory(path, train_fraction=train_fraction, select=select, labels=intervals)
    if path.is_file():
        series = load_file(path, train_fraction=train_fraction, labels=intervals)
        return [series] if location.pick(series.dataset, [series.name], select) else []
    raise DatasetNotFoundError(
        f"{name_or_path!s} is neither a known data set ({', '.join(available())}) nor a file or directory here"
    )


def load_events(name: str, *, data_directory: Path | None = None) -> LabelledEvents:
    """Load an event set by name.

    Parameters
    ----------
    name : str
        One of `available_events()`; capitals do not matter.
    data_directory : Path or None
        As in `load_dataset`.

    Returns
    -------
    LabelledEvents

    Raises
    ------
    DatasetNotFoundError
        There is no set of this name; or says where it was looked for, how to get it, and under which licence.
    DatasetFormatError
        Says which file, column and row break a rule.
    """
    entry = EVENT_DATASETS.get(name.upper())
    if entry is None:
        hint = " It is numeric: use load_dataset." if is_known(name) else ""
        raise DatasetNotFoundError(f"{name} is no event set; there are {', '.join(available_events())}.{hint}")
    events: LabelledEvents = entry.load(entry.directory(data_directory))
    return events
