"""Data sets by name or path: `load_dataset("SKAB")`, `load_dataset("my_plant.csv", train_fraction=0.3)`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.datasets import location, nasa, skab
from evaluation.datasets.files import load_directory, load_file
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import DatasetNotFoundError, InvalidInputError

__all__ = ["DATASETS", "DatasetEntry", "available", "load_dataset"]


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A data set that can be loaded by name.

    Attributes
    ----------
    name : str
        What `load_dataset` takes; capitals do not matter.
    title : str
        What it is, in a line.
    folder : str
        Folder inside the data directory.
    split : str
        Where its training part comes from.
    licence, how_to_get : str
        What a user needs to know before and after fetching it. No third-party data comes with this project.
    """

    name: str
    title: str
    folder: str
    split: str
    licence: str
    how_to_get: str
    load: Callable[..., list[LabelledSeries]]

    def is_present(self, data_directory: Path | None = None) -> bool:
        """Whether its folder is in the data directory."""
        return ((data_directory or location.data_directory()) / self.folder).is_dir()


DATASETS: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry(
            name="SMAP",
            title="NASA SMAP satellite, 54 channels of telemetry with command flags",
            folder=nasa.FOLDER,
            split="by the source, a channel",
            licence=nasa.LICENCE,
            how_to_get=nasa.HOW_TO_GET,
            load=partial(nasa.load_nasa, spacecraft="SMAP"),
        ),
        DatasetEntry(
            name="MSL",
            title="NASA Mars Science Laboratory, 27 channels of telemetry with command flags",
            folder=nasa.FOLDER,
            split="by the source, a channel",
            licence=nasa.LICENCE,
            how_to_get=nasa.HOW_TO_GET,
            load=partial(nasa.load_nasa, spacecraft="MSL"),
        ),
        DatasetEntry(
            name="SKAB",
            title="Skoltech water loop with pump and valves, 35 runs of 8 sensors",
            folder=skab.FOLDER,
            split=f"the first {skab.TRAIN_ROWS} rows of each run",
            licence=skab.LICENCE,
            how_to_get=skab.HOW_TO_GET,
            load=skab.load_skab,
        ),
    )
}


def available() -> tuple[str, ...]:
    """Return the names that `load_dataset` knows, present or not.

    Examples
    --------
    >>> available()
    ('SMAP', 'MSL', 'SKAB')
    """
    return tuple(DATASETS)


def load_dataset(
    name_or_path: str | Path,
    *,
    data_directory: Path | None = None,
    train_fraction: float | None = None,
    select: Sequence[str] | None = None,
) -> list[LabelledSeries]:
    """Load a known data set by name, or your own series by path.

    Parameters
    ----------
    name_or_path : str or Path
        "SMAP", "MSL", "SKAB" (capitals do not matter), a CSV or Parquet file, or a directory of such files.
    data_directory : Path or None
        Where the folders of the known data sets are; by default `$TSAD_DATA`, else ../shared/data.
    train_fraction : float or None
        For files without a `split` column: share of rows to train on. Known data sets bring their own split.
    select : sequence of str or None
        Names of series, or shell patterns; None loads all.

    Returns
    -------
    list of LabelledSeries

    Raises
    ------
    DatasetNotFoundError
        Says where it was looked for, how to get it, and under which licence.
    DatasetFormatError
        Says which file, column and row break a rule.
    """
    entry = DATASETS.get(str(name_or_path).upper())
    if entry is not None:
        if train_fraction is not None:
            raise InvalidInputError(f"{entry.name} has its own split ({entry.split}); leave train_fraction out")
        directory = location.data_directory() if data_directory is None else data_directory
        return entry.load(directory / entry.folder, select=select)
    path = Path(name_or_path)
    if path.is_dir():
        return load_directory(path, train_fraction=train_fraction, select=select)
    if path.is_file():
        series = load_file(path, train_fraction=train_fraction)
        return [series] if location.pick(series.dataset, [series.name], select) else []
    raise DatasetNotFoundError(
        f"{name_or_path!s} is neither a known data set ({', '.join(DATASETS)}) nor a file or directory here"
    )
