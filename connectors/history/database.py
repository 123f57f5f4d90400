"""The history file: one writer, one transaction for everything that a stretch of records led to."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from connectors.errors import HistoryError, HistoryLockedError, HistoryVersionError
from connectors.history.conditions import ActionRecord, write_actions, write_conditions, write_flood
from connectors.history.interventions import (
    EpisodeRecord,
    InterventionRecord,
    LearntVersion,
    drop_versions,
    write_episodes,
    write_interventions,
    write_versions,
)
from connectors.history.late_answers import forget_late_answers, load_late_answers
from connectors.history.schema import MIGRATIONS, SCHEMA_VERSION, TABLES
from connectors.history.settled import redraw_episodes
from connectors.history.stored_snapshots import StoredSnapshot, load_snapshots, write_snapshots
from connectors.history.transitions import write_transitions
from connectors.sources.base import Position
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.outbox import enqueue
from tsad.alarms import AlarmTransition
from tsad.annunciation import Flood
from tsad.lifecycle import AlarmCondition

__all__ = ["Commit", "DeadLetter", "History", "StoredSnapshot"]

_MOST_SHRINKS = 20
_AGEING = {
    "samples": "time", "rollups": "minute", "events": "time", "inspections": "time", "genealogy": "time",
    "parts": "time", "delayed_scores": "time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, where it stood, and why."""

    row: int
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    payload: bytes | None


@dataclass(slots=True)
class Commit:
    """What one transaction writes.

    Attributes
    ----------
    positions
        Next offset by topic and partition.
    tables
        Arrow tables to append, by table name; their columns stand in the order of the table.
    transitions, deliveries
        Alarm transitions, and the webhooks that tell of them.
    series
        ``(stream id, series, asset, channels)`` of series that are new or have new channels.
    counts
        What happened how often, by ``(stream, name)``.
    snapshots
        Engine states to replace the stored ones.
    conditions, actions
        How alarms stand with their operators now, and what was done to them.
    flood
        What is known of floods, where that has changed.
    interventions, versions, keep_versions
        Operators' words, what was learnt before they were heeded, and of how many of them that is kept.
    relearnt
        Streams that are learnt anew; nothing is kept of what they had learnt.
    episodes
        What episodes that are over were like.
    """

    positions: dict[Position, int] = field(default_factory=dict)
    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    transitions: list[AlarmTransition] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    series: list[tuple[int, int, str, tuple[str, ...]]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    snapshots: list[StoredSnapshot] = field(default_factory=list)
    conditions: list[AlarmCondition] = field(default_factory=list)
    actions: list[ActionRecord] = field(default_factory=list)
    flood: Flood | None = None
    interventions: list[InterventionRecord] = field(default_factory=list)
    versions: list[LearntVersion] = field(default_factory=list)
    keep_versions: int = 20
    relearnt: list[str] = field(default_factory=list)
    episodes: list[EpisodeRecord] = field(default_factory=list)
    records: int = 0

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows for a table."""
        if rows.num_rows:
            self.tables.setdefault(table, []).append(rows)


class History:
    """One DuckDB file, opened for writing by this process alone.

    Threads read through `cursor`; whoever writes holds `write_lock`.

    Parameters
    ----------
    path
        The file; made when it is not there.

    Raises
    ------
    HistoryLockedError
        Another process has it open.
    HistoryVersionError
        Its tables are of a newer version.
    HistoryError
        It is no DuckDB file, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write_lock = threading.Lock()
        self._connection = self._open()

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb.connect(str(self.path))
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise HistoryLockedError(
                    f"history {self.path} is open in another process: {error}. Stop that process, or give this one its "
                    "own history.path",
                ) from error
            raise HistoryError(f"history {self.path} cannot be opened: {error}") from error
        except (duckdb.Error, OSError) as error:
            raise HistoryError(f"history {self.path} cannot be opened: {error}") from error
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("SET TimeZone = 'UTC'")
        # The default of 16 MB is written twice a second at full load; a start replays at most this much.
        connection.execute("SET wal_autocheckpoint = '128MB'")
        known = connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'schema_version'").fetchone()
        if known:
            found = connection.execute("SELECT max(version) FROM schema_version").fetchone()
            version = found[0] if found else None
            if version == SCHEMA_VERSION:
                return
            if version not in MIGRATIONS:
                raise HistoryVersionError(
                    f"history {self.path} has tables of version {version}, this program writes version "
                    f"{SCHEMA_VERSION}; use the tsad that wrote it, or another history.path",
                )
            self._migrate(connection, version)
            return
        connection.execute("BEGIN")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])
        connection.execute("COMMIT")

    @staticmethod
    def _migrate(connection: duckdb.DuckDBPyConnection, version: int) -> None:
        """Bring the tables of an older version to this one, all at once or not at all."""
        connection.execute("BEGIN")
        for step in range(version, SCHEMA_VERSION):
            for statement in MIGRATIONS[step]:
                connection.execute(statement)
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("UPDATE schema_version SET version = ?", [SCHEMA_VERSION])
        connection.execute("COMMIT")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one thread."""
        return self._connection.cursor()

    def reopen(self) -> None:
        """Open the file anew, as is needed after DuckDB has met a full disk."""
        with self.write_lock:
            self._connection.close()
            self._connection = self._open()

    # ------------------------------------------------------------------------------------------------ writing

    def commit(self, commit: Commit) -> None:
        """Write everything, or nothing.

        Raises
        ------
        HistoryError
            The transaction failed, e.g. because the disk is full. It can be tried again.
        """
        with self.write_lock:
            connection = self._connection
            try:
                connection.execute("BEGIN")
                self._write(connection, commit)
                connection.execute("COMMIT")
            except duckdb.Error as error:
                with suppress(duckdb.Error):  # where the failure itself ended the transaction
                    connection.execute("ROLLBACK")
                raise HistoryError(f"history {self.path} cannot be written: {error}") from error

    def _write(self, connection: duckdb.DuckDBPyConnection, commit: Commit) -> None:
        # Episodes that are over are written before the scores that they are drawn anew by.
        for name, parts in sorted(commit.tables.items(), key=lambda table: table[0] == "delayed_scores"):
            rows = pa.concat_tables(parts, promote_options="default")
            columns = ", ".join(f'"{column}"' for column in rows.column_names)
            connection.register("commit_rows", rows)
            connection.execute(f'INSERT INTO "{name}" ({columns}) SELECT {columns} FROM commit_rows')  # noqa: S608
            if name == "delayed_scores":
                redraw_episodes(connection)
            connection.unregister("commit_rows")
        if commit.series:
            connection.executemany(
                "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
                [[stream, series, asset, list(channels)] for stream, series, asset, channels in commit.series],
            )
        write_transitions(connection, commit.transitions)
        write_conditions(connection, commit.conditions)
        write_actions(connection, commit.actions)
        if commit.flood is not None:
            write_flood(connection, commit.flood)
        write_interventions(connection, commit.interventions)
        drop_versions(connection, commit.relearnt)
        write_versions(connection, commit.versions, commit.keep_versions)
        write_episodes(connection, commit.episodes)
        if commit.deliveries:
            enqueue(connection, commit.deliveries)
        if commit.counts:
            connection.executemany(
                "INSERT INTO counters VALUES (?, ?, ?) "
                "ON CONFLICT (stream, name) DO UPDATE SET count = count + excluded.count",
                [[stream, name, count] for (stream, name), count in commit.counts.items()],
            )
        if commit.snapshots:
            write_snapshots(connection, commit.snapshots)
            forget_late_answers(connection, [one.stream for one in commit.snapshots if one.kind == "streaming"])
        if commit.positions:
            connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?)",
                [[topic, partition, offset] for (topic, partition), offset in commit.positions.items()],
            )

    def late_answers(self) -> dict[str, dict[str, set[tuple[int, int]]]]:
        """See `load_late_answers`."""
        with self.cursor() as cursor:
            return load_late_answers(cursor)

    def unpublished_dead_letters(self, limit: int) -> list[DeadLetter]:
        """Dead letters that have not been copied to their topic yet, oldest first."""
        with self.cursor() as cursor:
            rows = cursor.execute(
                "SELECT rowid, topic, partition, record_offset, reason, detail, payload FROM dead_letters "
                "WHERE NOT published ORDER BY rowid LIMIT ?",
                [limit],
            ).fetchall()
        return [DeadLetter(*row) for row in rows]

    def mark_published(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Note that these dead letters stand in their topic."""
        with self.write_lock:
            self._connection.execute(
                "UPDATE dead_letters SET published = true WHERE list_contains(?, rowid)",
                [[letter.row for letter in dead_letters]],
            )

    def record_audit(self, *entry: Any) -> None:
        """Write an entry of the audit log, in the order of its columns."""
        with self.write_lock:
            self._connection.execute("INSERT INTO audit_log VALUES (?, ?, ?, ?, ?, ?, ?)", list(entry))

    def delete_older(self, retention: Mapping[int, float]) -> int:
        """Delete rows that are older, by event time, than the stream's newest row less its retention.

        Parameters
        ----------
        retention
            Seconds by stream number.

        Returns
        -------
        int
            Deleted rows.

        Raises
        ------
        HistoryError
            The file cannot be written now; nothing of the failed statement was deleted.
        """
        deleted = 0
        with self.write_lock:
            for stream, seconds in retention.items():
                for table, column in _AGEING.items():
                    deleted += self._delete(
                        f'DELETE FROM {table} WHERE stream_id = ? AND "{column}" < '  # noqa: S608 - own names
                        f'(SELECT max("{column}") FROM {table} WHERE stream_id = ?) - to_seconds(?)',
                        [stream, stream, seconds],
                    )
        return deleted

    def shrink(self, max_bytes: int) -> int:
        """Delete the oldest rows, a tenth at a time, until the file holds no more than `max_bytes`.

        Dead letters go too, the oldest first; what was counted stays counted.

        Returns
        -------
        int
            Deleted rows.

        Raises
        ------
        HistoryError
            The file cannot be written now.
        """
        deleted = 0
        for _ in range(_MOST_SHRINKS):
            if self.used_bytes() <= max_bytes:
                break
            with self.write_lock:
                before = deleted
                for table, column in (*_AGEING.items(), ("dead_letters", "rowid")):
                    deleted += self._delete(
                        f'DELETE FROM {table} WHERE "{column}" < '  # noqa: S608 - own names
                        f'(SELECT quantile_disc("{column}", 0.1) FROM {table})',
                        [],
                    )
                self._delete("CHECKPOINT", [])
            if deleted == before:
                break
        return deleted

    def _delete(self, statement: str, values: list[Any]) -> int:
        try:
            row = self._connection.execute(statement, values).fetchone()
        except duckdb.Error as error:
            raise HistoryError(f"history {self.path}: old rows cannot be deleted: {error}") from error
        return int(row[0]) if row and isinstance(row[0], int) else 0

    # ------------------------------------------------------------------------------------------------ reading

    def positions(self) -> dict[Position, int]:
        """Next offset by topic and partition, as committed."""
        with self.cursor() as cursor:
            rows = cursor.execute("SELECT topic, partition, next_offset FROM positions").fetchall()
        return {(topic, partition): offset for topic, partition, offset in rows}

    def stream_ids(self, streams: Mapping[str, list[str]]) -> dict[str, int]:
        """Numbers of streams (given with their detectors' names), which get one when they are new."""
        with self.write_lock, self.cursor() as cursor:
            for name, detectors in streams.items():
                cursor.execute(
                    "INSERT INTO streams SELECT coalesce(max(stream_id), 0) + 1, ?, ? FROM streams "
                    "ON CONFLICT (name) DO NOTHING",
                    [name, detectors],
                )
            return dict(cursor.execute("SELECT name, stream_id FROM streams").fetchall())

    def snapshots(self) -> dict[tuple[str, str], StoredSnapshot]:
        """Stored engine states by stream and kind."""
        with self.cursor() as cursor:
            return load_snapshots(cursor)

    def used_bytes(self) -> int:
        """Bytes that hold data: used blocks of the file (free ones are used again), and its write-ahead log."""
        with self.cursor() as cursor:
            row = cursor.execute("SELECT block_size * used_blocks FROM pragma_database_size()").fetchone()
        log = self.path.with_name(self.path.name + ".wal")
        return (int(row[0]) if row else 0) + (log.stat().st_size if log.exists() else 0)

    # ------------------------------------------------------------------------------------------------ closing

    def close(self) -> None:
        """Write everything to the main file and let go of it."""
        with self.write_lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
