"""SWaT's list of attacks: what was attacked, from when to when; and how it fits the labels of the recording."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.datasets.tables import read_csv
from evaluation.datasets.workbook import read_sheet
from evaluation.errors import DatasetFormatError

__all__ = ["Attack", "check_attack_list", "find_attack_list", "normalise_tags", "read_attack_list"]

_COLUMNS = ("Attack #", "Start Time", "End Time", "Attack Point", "Actual Change")
_NO_IMPACT = "no physical impact"
_DATE = re.compile(r"^(?:(?P<year>\d{4})-(?P<month>\d\d?)-(?P<day>\d\d?)|(?P<d>\d\d?)/(?P<m>\d\d?)/(?P<y>\d{4}))")
_CLOCK = re.compile(r"(?P<hour>\d\d?):(?P<minute>\d\d):(?P<second>\d\d(?:\.\d+)?) *(?P<half>[AaPp][Mm])?$")


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of the list.

    Attributes
    ----------
    number : int
        The list's own id, 1 to 41.
    start : int
        Nanoseconds since 1970, the clock of the plant read as UTC.
    end : int or None
        The last second, inside; None where the list gives none.
    tags : tuple of str
        Tags of the recording that were attacked.
    unknown_tags : tuple of str
        Names in the list that the recording does not have, such as "MV504".
    physical_impact : bool
        False where the list says so; such attacks have no end and leave no mark in the recording.
    actual_change : bool or None
        False where readings were spoofed and the plant itself did not change; None where the list does not tell.
    """

    number: int
    start: int
    end: int | None
    tags: tuple[str, ...]
    unknown_tags: tuple[str, ...]
    physical_impact: bool
    actual_change: bool | None


def find_attack_list(directory: Path) -> Path | None:
    """Return the list of attacks in a folder or below it; CSV is taken before xlsx."""
    found = [path for path in sorted(directory.rglob("*")) if path.stem.lower() == "list_of_attacks_final"]
    return next((path for suffix in (".csv", ".xlsx") for path in found if path.suffix.lower() == suffix), None)


def normalise_tags(text: str, known: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the list's `Attack Point` into tags that are known and names that are not.

    Examples
    --------
    >>> normalise_tags("mv-101; LIT101, DIT301", ["MV101", "LIT101"])
    (('MV101', 'LIT101'), ('DIT301',))
    """
    names = [re.sub(r"[\s_-]", "", name).upper() for name in re.split(r"[,;]", text)]
    names = [name for name in names if name]
    return tuple(name for name in names if name in known), tuple(name for name in names if name not in known)


def read_attack_list(path: Path, tags: Sequence[str]) -> list[Attack]:
    """Read `List_of_attacks_Final.xlsx`, or the same saved as CSV.

    Its end times are times of day: they belong to the day of the start, or to the next where they would come before it.
    Notes below the last attack are left out.

    Parameters
    ----------
    path : Path
        The file.
    tags : sequence of str
        Tags of the recording.

    Returns
    -------
    list of Attack
        In the order of the list.

    Raises
    ------
    DatasetFormatError
        A column is missing, or a time cannot be read; names the attack.
    """
    if path.suffix.lower() == ".xlsx":
        table = read_sheet(path, as_text=True)
        names, rows = [str(cell or "") for cell in table.row(0)], table.slice(1)
    else:
        rows = read_csv(path, infer_schema_length=0)
        names = rows.columns
    names = [" ".join(name.split()) for name in names]
    absent = [name for name in _COLUMNS if name not in names]
    if absent:
        raise DatasetFormatError(f"{path}: columns {', '.join(absent)} are missing; found {', '.join(names)}")
    columns = [rows.to_series(names.index(name)).cast(pl.String).fill_null("").str.strip_chars() for name in _COLUMNS]
    lines = zip(*(column.to_list() for column in columns), strict=True)
    found = [_attack(path, line, tags) for line in lines if re.fullmatch(r"\d+(\.0+)?", line[0])]
    if not found:
        raise DatasetFormatError(f"{path}: no line has a number under {_COLUMNS[0]!r}; fetch it again")
    return found


def _attack(path: Path, line: Sequence[str], tags: Sequence[str]) -> Attack:
    number, start_text, end_text, point, change = line
    where = f"{path}: attack {int(float(number))}"
    no_impact = _NO_IMPACT in point.lower()
    date, start_clock = _DATE.search(start_text), _clock(start_text)
    if date is None or start_clock is None:
        raise DatasetFormatError(f"{where}: start {start_text!r} is no date and time, day first or ISO 8601")
    year, month, day = (int(date[a] or date[b]) for a, b in (("year", "y"), ("month", "m"), ("day", "d")))
    try:
        start = datetime.combine(datetime(year, month, day, tzinfo=UTC), start_clock, UTC)
    except ValueError as error:
        raise DatasetFormatError(f"{where}: start {start_text!r} is no date; the day comes first") from error
    end_clock = _clock(end_text)
    if end_clock is None and (end_text or not no_impact):
        raise DatasetFormatError(f"{where}: end {end_text!r} is no time of day")
    end = None if end_clock is None else datetime.combine(start, end_clock, UTC)
    if end is not None and end < start:
        end += timedelta(days=1)
    known, unknown = ((), ()) if no_impact else normalise_tags(point, tags)
    return Attack(
        number=int(float(number)),
        start=int(start.timestamp()) * SECOND,
        end=None if end is None else int(end.timestamp()) * SECOND,
        tags=known,
        unknown_tags=unknown,
        physical_impact=not no_impact,
        actual_change={"yes": True, "no": False}.get(change.lower()),
    )


def _clock(text: str) -> time | None:
    found = _CLOCK.search(text)
    if found is None:
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    # a workbook keeps a time of day as a fraction, which may fall a little short of the second
    seconds = round(hour * 3600 + int(found["minute"]) * 60 + float(found["second"])) % 86_400
    return (datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).time()


def check_attack_list(attacks: Sequence[Attack], series: LabelledSeries) -> list[str]:
    """Compare the list with the labels of the recording.

    Parameters
    ----------
    attacks : sequence of Attack
        The list.
    series : LabelledSeries
        The recording; only its test part is looked at.

    Returns
    -------
    list of str
        A sentence for each attack whose rows are not all labelled, for each that names unknown tags, and for each run
        of labelled rows in which no attack lies. Empty when all fits.
    """
    times, labels = series.test_times, series.test_labels
    remarks: list[str] = []
    told = np.zeros(labels.size, np.bool_)
    for attack in attacks:
        if attack.unknown_tags:
            remarks.append(f"attack {attack.number} names {', '.join(attack.unknown_tags)}, which the recording lacks")
        if attack.end is None:
            continue
        rows = (times >= attack.start) & (times <= attack.end)
        told |= rows
        marked = int(labels[rows].sum())
        if marked < int(rows.sum()) or not rows.any():
            remarks.append(f"attack {attack.number}: {marked} of its {int(rows.sum())} rows are labelled")
    edges = np.flatnonzero(np.diff(labels.astype(np.int8), prepend=0, append=0))
    for first, after in edges.reshape(-1, 2):
        if not told[first:after].any():
            stamp = np.datetime64(int(times[first]) // SECOND, "s")
            remarks.append(f"{after - first} labelled rows from {stamp} on belong to no attack of the list")
    return remarks
