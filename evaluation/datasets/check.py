"""Whether the data sets that are there are whole and hold what their sources say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.entry import DatasetEntry, KnownCounts
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.registry import DATASETS, EVENT_DATASETS
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import DatasetError, DatasetNotFoundError, InvalidInputError

__all__ = ["DatasetCheck", "State", "check_dataset", "check_datasets"]

State = Literal["whole", "part", "broken", "absent"]


@dataclass(frozen=True, slots=True)
class DatasetCheck:
    """What one data set holds.

    Attributes
    ----------
    name, kind : str
        As in the registry.
    state : {"whole", "part", "broken", "absent"}
        "part": fewer series than the source has, each of them sound. "broken": something does not load, or its counts
        are not those of the source. "absent": nothing is there, which is no fault.
    looked_for : str
        Where.
    series, expected_series : int
        Series that load, and how many the source has.
    channels : tuple of int
        Fewest and most channels (attributes for events) of a series.
    train_rows, test_rows, anomalous_rows : int
        Sums over the series that load; a row is an event in event sets.
    events : int
        Runs of anomalous rows.
    left_out : dict of str to int
        For sets that are put together from others: how many series cannot be given, by reason.
    problems : tuple of str
        What is broken.
    remarks : tuple of str
        What is odd, and no fault of the copy: the source's own papers do not agree.
    """

    name: str
    kind: str
    state: State
    looked_for: str
    series: int = 0
    expected_series: int = 0
    channels: tuple[int, ...] = ()
    train_rows: int = 0
    test_rows: int = 0
    anomalous_rows: int = 0
    events: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def check_datasets(
    names: Sequence[str] = (),
    *,
    data_directory: Path | None = None,
    progress: Callable[[str], None] = lambda _name: None,
) -> list[DatasetCheck]:
    """Check data sets by name.

    Parameters
    ----------
    names : sequence of str
        Names of the registry; capitals do not matter. Empty checks all.
    data_directory : Path or None
        As in `load_dataset`.
    progress : callable
        Called with each name before it is read.

    Returns
    -------
    list of DatasetCheck
        In the order asked for, or that of the registry.

    Raises
    ------
    InvalidInputError
        A name is not known.
    """
    known = {**DATASETS, **EVENT_DATASETS}
    unknown = [name for name in names if name.upper() not in known]
    if unknown:
        raise InvalidInputError(
            f"no data set {unknown[0]!r}; there are {', '.join(entry.name for entry in known.values())}"
        )
    found: list[DatasetCheck] = []
    for entry in [known[name.upper()] for name in names] or known.values():
        progress(entry.name)
        found.append(check_dataset(entry, data_directory))
    return found


def check_dataset(entry: DatasetEntry, data_directory: Path | None = None) -> DatasetCheck:
    """Load a data set and compare it with what its source holds.

    Parameters
    ----------
    entry : DatasetEntry
        Of the registry.
    data_directory : Path or None
        As in `load_dataset`.
    """
    directory = entry.directory(data_directory)
    try:
        names = entry.names(directory)
    except DatasetError as error:
        return DatasetCheck(entry.name, entry.kind, "broken", str(directory), problems=(str(error),))
    if not names:
        return DatasetCheck(entry.name, entry.kind, "absent", str(directory), expected_series=entry.known.series)
    try:
        loaded, problems = _load(entry, directory, names)
        left_out = dict(entry.left_out(directory)) if entry.left_out is not None else {}
        remarks = tuple(entry.remarks(directory, loaded)) if entry.remarks is not None and loaded else ()
    except DatasetError as error:
        return DatasetCheck(
            entry.name, entry.kind, "broken", str(directory), 0, entry.known.series, problems=(str(error),)
        )
    widths = [_width(one) for one in loaded]
    found = DatasetCheck(
        name=entry.name,
        kind=entry.kind,
        state="part",
        looked_for=str(directory),
        series=len(loaded),
        expected_series=entry.known.series,
        channels=tuple(sorted({min(widths), max(widths)})) if widths else (),
        train_rows=sum(one.train_length for one in loaded),
        test_rows=sum(one.labels.size - one.train_length for one in loaded),
        anomalous_rows=sum(int(one.labels.sum()) for one in loaded),
        events=sum(_runs(one.labels) for one in loaded),
        left_out=left_out,
        remarks=remarks,
    )
    problems += _against(entry.known, found, loaded)
    state: State = "broken" if problems else "whole" if len(loaded) >= entry.known.series else "part"
    return replace(found, state=state, problems=tuple(problems))


def _load(
    entry: DatasetEntry, directory: Path, names: Sequence[str]
) -> tuple[list[LabelledSeries | LabelledEvents], list[str]]:
    if entry.kind == "events":
        return [entry.load(directory)], []
    try:
        return list(entry.load(directory, select=None)), []
    except DatasetError as error:
        if len(names) == 1:
            return [], [str(error)]
    # One series is broken: the others are counted, and every broken one is told.
    loaded: list[LabelledSeries | LabelledEvents] = []
    problems: dict[str, None] = {}
    for name in names:
        try:
            loaded += entry.load(directory, select=[name])
        except DatasetNotFoundError:
            continue  # put together from others, and left out
        except DatasetError as error:
            problems[str(error)] = None
    return loaded, list(problems)


def _runs(labels: NDArray[np.uint8]) -> int:
    return int(np.count_nonzero(np.diff(labels.astype(np.int8), prepend=0) == 1))


def _width(one: LabelledSeries | LabelledEvents) -> int:
    return one.table.width if isinstance(one, LabelledEvents) else len(one.channels)


def _against(known: KnownCounts, found: DatasetCheck, loaded: Sequence[Any]) -> list[str]:
    problems = []
    if known.channels is not None and any(count != known.channels for count in found.channels):
        shown = " to ".join(str(count) for count in found.channels)
        problems.append(f"{shown} channels, the source has {known.channels}")
    if known.rows_each is not None:
        for one in loaded:
            rows = (one.train_length, one.labels.size - one.train_length)
            if rows != known.rows_each:
                problems.append(
                    f"{one.name} has {rows[0]:,} training and {rows[1]:,} test rows, every series of the source "
                    f"{known.rows_each[0]:,} and {known.rows_each[1]:,}; fetch it again"
                )
    sums = {
        "rows": (known.rows, found.train_rows + found.test_rows),
        "training rows": (known.train_rows, found.train_rows),
        "test rows": (known.test_rows, found.test_rows),
        "anomalous rows": (known.anomalous_rows, found.anomalous_rows),
    }
    whole = found.series >= known.series
    for what, (expected, counted) in sums.items():
        if expected is not None and (counted != expected if whole else counted > expected):
            problems.append(f"{counted:,} {what}, the source has {expected:,}; it is of another release, or cut short")
    return problems
