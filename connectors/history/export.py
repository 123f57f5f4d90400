"""Parquet for everyone else: tables of the history, partitioned by stream and day of event time.

The history file has one writer and, while that runs, no reader beside it. Analysts read these files instead.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from connectors.errors import HistoryError

__all__ = ["EXPORTED", "Exported", "export_parquet"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS = 2**63 - 2
_NAMED = "{table} t JOIN streams s USING (stream_id)"
_WITH_ASSET = f"{_NAMED} JOIN series r USING (stream_id, series)"
# Per table: its columns, where they come from, and the column of event time.
EXPORTED: dict[str, tuple[str, str, str]] = {
    "samples": (
        "s.name AS stream, r.asset, r.channels, s.detectors, t.* EXCLUDE (stream_id, series)",
        _WITH_ASSET,
        "time",
    ),
    "rollups": (
        "s.name AS stream, r.asset, r.channels[t.channel + 1] AS name, t.* EXCLUDE (stream_id, series, channel)",
        _WITH_ASSET,
        "minute",
    ),
    "delayed_scores": ("s.name AS stream, r.asset, t.* EXCLUDE (stream_id, series)", _WITH_ASSET, "time"),
    "events": ("s.name AS stream, s.detectors, t.* EXCLUDE (stream_id)", _NAMED, "time"),
    "inspections": ("s.name AS stream, t.* EXCLUDE (stream_id)", _NAMED, "time"),
    "alarm_transitions": ("t.*", "{table} t", "time"),
    "alarm_actions": ("t.*, 'operators' AS stream", "{table} t", "time"),
}
"""What can be exported."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote: rows and files of one table, below `folder`."""

    table: str
    rows: int
    files: int
    folder: Path


def export_parquet(
    cursor: duckdb.DuckDBPyConnection,
    folder: Path,
    tables: Collection[str] = tuple(EXPORTED),
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Exported]:
    """Write tables as Parquet, ``TABLE/stream=NAME/day=YYYY-MM-DD/*.parquet``.

    Days that are written again replace those of an earlier export; others stay. What is committed while this runs is
    not in it: the export reads one moment of the history.

    Parameters
    ----------
    cursor
        A connection to the history.
    folder
        Where to; made when it is not there.
    tables
        Names in `EXPORTED`.
    since, until
        Event time, aware: from the one (included) up to the other; None for all.

    Raises
    ------
    HistoryError
        There is no such table, or the folder cannot be written.
    """
    unknown = sorted(set(tables) - EXPORTED.keys())
    if unknown:
        raise HistoryError(f"table {unknown[0]!r} cannot be exported; choose from {', '.join(EXPORTED)}")
    done = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            columns, source, time = EXPORTED[table]
            query = (
                f"SELECT {columns}, strftime(t.\"{time}\", '%Y-%m-%d') AS day "  # noqa: S608 - own names
                f"FROM {source.format(table=table)} "
                f'WHERE ($since IS NULL OR t."{time}" >= $since) AND ($until IS NULL OR t."{time}" < $until)'
            )
            for name, moment in (("since", since), ("until", until)):
                # COPY takes no parameters; these are numbers.
                text = "NULL" if moment is None else f"make_timestamp_ns({_nanoseconds(moment)})"
                query = query.replace(f"${name}", text)
            target = folder / table
            place = str(target).replace("'", "''")
            row = cursor.execute(
                f"COPY ({query}) TO '{place}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (stream, day), "
                "OVERWRITE_OR_IGNORE)"
            ).fetchone()
            done.append(Exported(table, int(row[0]) if row else 0, len(list(target.rglob("*.parquet"))), target))
    except (duckdb.Error, OSError) as error:
        raise HistoryError(f"{folder} cannot be written: {error}; choose another folder, or make room") from error
    return done


def _nanoseconds(moment: datetime) -> int:
    """Since 1970, as far as a 64-bit count reaches."""
    return min(max((moment - _EPOCH) // timedelta(microseconds=1) * 1_000, -_LAST_NS), _LAST_NS)
