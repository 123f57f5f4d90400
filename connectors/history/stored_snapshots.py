"""Engine states in the history file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from connectors.sources.base import Position

__all__ = ["StoredSnapshot", "load_snapshots", "write_snapshots"]


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """The state of one stream's engine, and the positions up to which it has read."""

    stream: str
    kind: str
    positions: Mapping[Position, int]
    arrays: bytes
    extra: Mapping[str, Any]


def write_snapshots(connection: duckdb.DuckDBPyConnection, snapshots: list[StoredSnapshot]) -> None:
    """Replace engine states, inside the caller's transaction.

    By Arrow: DuckDB takes a bytes parameter ten times more slowly, and a state may have 100 MB.
    """
    positions = [
        json.dumps([[*position, offset] for position, offset in snapshot.positions.items()]) for snapshot in snapshots
    ]
    rows = pa.table(
        {
            "stream": [snapshot.stream for snapshot in snapshots],
            "kind": [snapshot.kind for snapshot in snapshots],
            "positions": positions,
            "arrays": pa.array([snapshot.arrays for snapshot in snapshots], pa.large_binary()),
            "extra": [json.dumps(snapshot.extra) for snapshot in snapshots],
        }
    )
    connection.register("commit_rows", rows)
    connection.execute(
        "INSERT OR REPLACE INTO snapshots SELECT stream, kind, positions, arrays, extra FROM commit_rows"
    )
    connection.unregister("commit_rows")


def load_snapshots(cursor: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], StoredSnapshot]:
    """Stored engine states by stream and kind."""
    rows = cursor.execute("SELECT stream, kind, positions, arrays, extra FROM snapshots").fetchall()
    return {
        (stream, kind): StoredSnapshot(
            stream,
            kind,
            {(topic, partition): offset for topic, partition, offset in json.loads(positions)},
            arrays,
            json.loads(extra),
        )
        for stream, kind, positions, arrays, extra in rows
    }
