"""What operators said that changes what is learnt, what it changed, and what was learnt before, in the history file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import duckdb

__all__ = [
    "INTERVENTION_TABLES",
    "EpisodeRecord",
    "InterventionRecord",
    "LearntVersion",
    "drop_versions",
    "load_episodes",
    "load_interventions",
    "read_versions",
    "write_episodes",
    "write_interventions",
    "write_versions",
]

INTERVENTION_TABLES: tuple[str, ...] = (
    # One row a word of an operator. `applied` (next offsets by topic and partition) and `effects` are null until the
    # engine has heeded it, and are written in the transaction that holds the engine's state behind it.
    """CREATE TABLE IF NOT EXISTS interventions (
        number BIGINT PRIMARY KEY, "time" TIMESTAMP_NS NOT NULL, kind TEXT NOT NULL, stream TEXT NOT NULL,
        asset TEXT NOT NULL, "start" TIMESTAMP_NS NOT NULL, "end" TIMESTAMP_NS NOT NULL, episode_id TEXT NOT NULL,
        label TEXT, operator TEXT NOT NULL, reason TEXT NOT NULL, target BIGINT, applied JSON, effects JSON)""",
    # What was learnt of an asset before an intervention changed it: safetensors.
    """CREATE TABLE IF NOT EXISTS learnt_versions (
        number BIGINT NOT NULL, stream TEXT NOT NULL, asset TEXT NOT NULL, arrays BLOB NOT NULL,
        PRIMARY KEY (number, asset))""",
    # What past episodes were like, to tell which others are like them; one row an episode that is over.
    """CREATE TABLE IF NOT EXISTS episode_signatures (
        episode_id TEXT PRIMARY KEY, alarm_id TEXT NOT NULL, stream TEXT NOT NULL, asset TEXT NOT NULL,
        started TIMESTAMP_NS NOT NULL, ended TIMESTAMP_NS NOT NULL, signature JSON NOT NULL)""",
)


@dataclass(frozen=True, slots=True)
class InterventionRecord:
    """One row of ``interventions``; times in ns UTC.

    Attributes
    ----------
    number
        Counts from 1; also what a declared maintenance is known by.
    at
        Wall time.
    kind, stream, asset, start, end
        See `tsad.interventions.Intervention`.
    episode_id, label
        Of an alarm that was labelled; else empty and None.
    by, reason
        Who, and why.
    target
        What it is about: the version to put back, or the maintenance to end.
    applied, effects
        Where among the records it was heeded, and what it changed by asset; None while it waits.
    """

    number: int
    at: int
    kind: str
    stream: str
    asset: str
    start: int
    end: int
    episode_id: str
    label: str | None
    by: str
    reason: str
    target: int | None
    applied: list[list[Any]] | None = None
    effects: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class LearntVersion:
    """What was learnt of an asset before an intervention."""

    number: int
    stream: str
    asset: str
    arrays: bytes


@dataclass(frozen=True, slots=True)
class EpisodeRecord:
    """What an episode that is over was like; times in ns UTC."""

    episode_id: str
    alarm_id: str
    stream: str
    asset: str
    started: int
    ended: int
    signature: Mapping[str, Any]


_COLUMNS = (
    'number, epoch_ns("time"), kind, stream, asset, epoch_ns("start"), epoch_ns("end"), episode_id, label, operator, '
    "reason, target, applied, effects"
)


def load_interventions(
    cursor: duckdb.DuckDBPyConnection, *, waiting: bool = False, number: int | None = None, limit: int = 1_000_000
) -> list[InterventionRecord]:
    """Interventions, the oldest first; of many the newest `limit`."""
    rows = cursor.execute(
        f"SELECT {_COLUMNS} FROM interventions WHERE (NOT $1 OR applied IS NULL) "  # noqa: S608 - own names
        "AND ($2 IS NULL OR number = $2) ORDER BY number DESC LIMIT $3",
        [waiting, number, limit],
    ).fetchall()
    return [
        InterventionRecord(*row[:12], *(None if value is None else json.loads(value) for value in row[12:]))
        for row in reversed(rows)
    ]


def write_interventions(connection: duckdb.DuckDBPyConnection, records: Iterable[InterventionRecord]) -> None:
    """Add or replace interventions, inside the caller's transaction."""
    for one in records:
        values = [getattr(one, field.name) for field in fields(InterventionRecord)]
        connection.execute(
            "INSERT OR REPLACE INTO interventions VALUES "
            "(?, make_timestamp_ns(?), ?, ?, ?, make_timestamp_ns(?), make_timestamp_ns(?), ?, ?, ?, ?, ?, ?, ?)",
            [*values[:12], *(None if value is None else json.dumps(value) for value in values[12:])],
        )


def write_versions(connection: duckdb.DuckDBPyConnection, versions: Iterable[LearntVersion], keep: int) -> None:
    """Add versions, and drop those of all but the newest `keep` interventions, inside the caller's transaction."""
    added = False
    for one in versions:
        connection.execute("INSERT OR REPLACE INTO learnt_versions VALUES (?, ?, ?, ?)", list(asdict(one).values()))
        added = True
    if added:
        connection.execute(
            "DELETE FROM learnt_versions WHERE number NOT IN "
            "(SELECT DISTINCT number FROM learnt_versions ORDER BY number DESC LIMIT ?)",
            [keep],
        )


def drop_versions(connection: duckdb.DuckDBPyConnection, streams: Sequence[str]) -> None:
    """Drop all versions of these streams, inside the caller's transaction."""
    if streams:
        connection.execute("DELETE FROM learnt_versions WHERE list_contains(?, stream)", [list(streams)])


def read_versions(cursor: duckdb.DuckDBPyConnection, number: int | None = None) -> list[LearntVersion]:
    """Kept versions, of one intervention or of all, the oldest first."""
    rows = cursor.execute(
        "SELECT number, stream, asset, arrays FROM learnt_versions WHERE $1 IS NULL OR number = $1 "
        "ORDER BY number, asset",
        [number],
    ).fetchall()
    return [LearntVersion(*row) for row in rows]


def write_episodes(connection: duckdb.DuckDBPyConnection, episodes: Iterable[EpisodeRecord]) -> None:
    """Add what episodes were like, inside the caller's transaction."""
    for one in episodes:
        connection.execute(
            "INSERT OR REPLACE INTO episode_signatures VALUES "
            "(?, ?, ?, ?, make_timestamp_ns(?), make_timestamp_ns(?), ?)",
            [one.episode_id, one.alarm_id, one.stream, one.asset, one.started, one.ended, json.dumps(one.signature)],
        )


def load_episodes(cursor: duckdb.DuckDBPyConnection, per_alarm: int = 50) -> list[EpisodeRecord]:
    """What the newest episodes of every alarm were like, the oldest first."""
    rows = cursor.execute(
        "SELECT episode_id, alarm_id, stream, asset, epoch_ns(started), epoch_ns(ended), signature "
        "FROM episode_signatures QUALIFY row_number() OVER (PARTITION BY alarm_id ORDER BY started DESC) <= ? "
        "ORDER BY started, episode_id",
        [per_alarm],
    ).fetchall()
    return [
        EpisodeRecord(episode, alarm, stream, asset, started, ended, json.loads(signature))
        for episode, alarm, stream, asset, started, ended, signature in rows
    ]
