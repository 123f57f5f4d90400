"""What the registry knows of a data set, and of what should be in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from evaluation.datasets import location
from evaluation.errors import DatasetError

__all__ = ["DatasetEntry", "Kind", "KnownCounts", "Presence"]

Kind = Literal["numeric", "events"]
Presence = Literal["yes", "part", "no"]


@dataclass(frozen=True, slots=True)
class KnownCounts:
    """What the source holds when it is whole; None where that is not known.

    Attributes
    ----------
    series : int
        Number of series (1 for an event set).
    channels : int or None
        Channels of every series, or attributes of every event.
    rows, train_rows, test_rows, anomalous_rows : int or None
        Sums over the series, or counts of events.
    rows_each : tuple of int or None
        Training and test rows of every single series, where all are alike.
    """

    series: int
    channels: int | None = None
    rows: int | None = None
    train_rows: int | None = None
    test_rows: int | None = None
    anomalous_rows: int | None = None
    rows_each: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A data set that can be loaded by name.

    Attributes
    ----------
    name : str
        What `load_dataset` or `load_events` takes; capitals do not matter.
    title : str
        What it is, in a line.
    kind : {"numeric", "events"}
        Numeric series, loaded by `load_dataset`; or events with categorical attributes, loaded by `load_events`.
    folder : str
        Folder inside the data directory.
    split : str
        Where its training part comes from.
    label_policy : str
        How labels are read where the source leaves that open. Quote it beside every score.
    licence, how_to_get : str
        What a user needs to know before and after fetching it. No third-party data comes with this project.
    names : callable
        From its folder to the names of the series there, without reading values; empty when nothing is there.
    load : callable
        From its folder (and `select`, for numeric sets) to the series or events.
    known : KnownCounts
        What `tsad datasets check` compares with.
    left_out : callable or None
        From its folder to reasons and how many series each keeps out, for sets that are put together from others.
    remarks : callable or None
        From its folder and what was loaded to sentences about labels that do not fit the source's other papers.
    """

    name: str
    title: str
    kind: Kind
    folder: str
    split: str
    label_policy: str
    licence: str
    how_to_get: str
    names: Callable[[Path], Sequence[str]]
    load: Callable[..., Any]
    known: KnownCounts
    left_out: Callable[[Path], Mapping[str, int]] | None = None
    remarks: Callable[[Path, Any], Sequence[str]] | None = None

    def directory(self, data_directory: Path | None = None) -> Path:
        """Where it is looked for."""
        return (location.data_directory() if data_directory is None else data_directory) / self.folder

    def presence(self, data_directory: Path | None = None) -> Presence:
        """Whether all of it is there, a part, or nothing; files are not read through for this."""
        try:
            held = len(self.names(self.directory(data_directory)))
        except DatasetError:  # something is there, and broken: `tsad datasets check` says what
            return "part"
        if not held:
            return "no"
        return "yes" if held >= self.known.series else "part"

    def is_present(self, data_directory: Path | None = None) -> bool:
        """Whether at least a part of it is there."""
        return self.presence(data_directory) != "no"
