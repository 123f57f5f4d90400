"""Replay of recorded files, without any broker: lines of JSON, or tables whose rows become wide messages."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from connectors.errors import ConnectorSettingsError
from connectors.sources.base import Gap, Position, RecordBatch, SourceHealth

__all__ = ["FileSource", "table_messages"]

_TABLES = {".csv", ".parquet"}
_NOT_CHANNELS = {"timestamp", "label", "split"}


def table_messages(path: Path, asset: str) -> Iterator[bytes]:
    """Wide messages of a CSV or Parquet table: ``{"time": ns, "asset": …, "values": {…}}``.

    The column ``timestamp`` (integer nanoseconds, or text that is a date and time, UTC where it names no zone) is
    the event time; ``label`` and ``split`` are left out; every other column is a channel.

    Raises
    ------
    ConnectorSettingsError
        The table has no column ``timestamp``, or a channel is not numeric.
    """
    table = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else pl.read_parquet(path)
    if "timestamp" not in table.columns:
        raise ConnectorSettingsError(f"{path} has no column 'timestamp'; its columns are {', '.join(table.columns)}")
    times = table["timestamp"]
    if times.dtype.is_temporal():
        times = times.cast(pl.Datetime("ns")).cast(pl.Int64)
    elif not times.dtype.is_integer():
        raise ConnectorSettingsError(f"{path}: column 'timestamp' is {times.dtype}; give dates or integer nanoseconds")
    channels = [name for name in table.columns if name not in _NOT_CHANNELS]
    for name in channels:
        if not table[name].dtype.is_numeric():
            raise ConnectorSettingsError(f"{path}: column {name!r} is {table[name].dtype}, a channel must be numeric")
    encode = msgspec.json.Encoder().encode
    # As float32, which is what the engine works with: the message then says the value exactly and briefly.
    columns = [table[name].cast(pl.Float32).to_numpy() for name in channels]
    for row, time in enumerate(times):
        values = {
            name: float(str(column[row])) if np.isfinite(column[row]) else None
            for name, column in zip(channels, columns, strict=True)
        }
        yield encode({"time": time, "asset": asset, "values": values})


class FileSource:
    """Hands over the records of one file, in order; offsets are record numbers.

    Parameters
    ----------
    path
        ``.jsonl`` (one message a line), ``.csv`` or ``.parquet`` (see `table_messages`).
    topic
        The topic that streams of the configuration name.
    asset
        The asset of a table's rows; default: the file's name.
    batch_records
        Records that one poll hands over at most.

    Raises
    ------
    ConnectorSettingsError
        The file is not there or is of an unknown kind.
    """

    def __init__(self, path: Path, topic: str, *, asset: str | None = None, batch_records: int = 10_000) -> None:
        if not path.is_file():
            raise ConnectorSettingsError(f"source file {path} is not there (looked in {Path.cwd()})")
        if path.suffix not in {".jsonl", *_TABLES}:
            raise ConnectorSettingsError(f"source file {path} must end in .jsonl, .csv or .parquet")
        self._path = path
        self._topic = topic
        self._asset = asset or path.stem
        self._batch_records = batch_records
        self._records: Iterator[bytes] = iter(())
        self._next = 0
        self._finished = False
        self._paused = False
        self._file: Any = None

    def open(self, positions: Mapping[Position, int]) -> None:
        """Begin at the stored record number."""
        if self._path.suffix in _TABLES:
            self._records = table_messages(self._path, self._asset)
        else:
            self._file = self._path.open("rb")
            self._records = (line.rstrip(b"\r\n") for line in self._file)
        self._next = positions.get((self._topic, 0), 0)
        for _ in islice(self._records, self._next):
            pass

    def poll(self, timeout: float) -> list[RecordBatch]:  # noqa: ARG002
        """Hand over the next records."""
        if self._paused or self._finished:
            return []
        values = list(islice(self._records, self._batch_records))
        self._finished = len(values) < self._batch_records
        if not values:
            return []
        offsets = np.arange(self._next, self._next + len(values), dtype=np.int64)
        self._next += len(values)
        return [RecordBatch(self._topic, 0, values, offsets, np.zeros(len(values), dtype=np.int64))]

    def take_gaps(self) -> list[Gap]:
        """Nothing expires in a file."""
        return []

    def set_paused(self, paused: bool) -> None:
        """Stop or go on handing over."""
        self._paused = paused

    @property
    def finished(self) -> bool:
        """Whether the end of the file has been handed over."""
        return self._finished

    @property
    def health(self) -> SourceHealth:
        """Always connected."""
        return SourceHealth(connected=True, detail=f"replaying {self._path.name}, record {self._next}", lag=None)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
