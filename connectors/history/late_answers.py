"""What the clock decided since the engines' state was last stored: rows that are read again get the same scores."""

from collections import defaultdict
from collections.abc import Iterable

import duckdb

__all__ = ["LATE_ANSWER_TABLE", "forget_late_answers", "load_late_answers"]

# A row for each detector and row of the time grid that its network was too late for.
LATE_ANSWER_TABLE = """CREATE TABLE IF NOT EXISTS late_answers (
    stream_id SMALLINT NOT NULL, detector TEXT NOT NULL, series INTEGER NOT NULL, time TIMESTAMP_NS NOT NULL)"""


def forget_late_answers(connection: duckdb.DuckDBPyConnection, streams: Iterable[str]) -> None:
    """Delete those of streams whose state is stored now, inside the caller's transaction."""
    connection.execute(
        "DELETE FROM late_answers WHERE stream_id IN (SELECT stream_id FROM streams WHERE list_contains(?, name))",
        [list(streams)],
    )


def load_late_answers(cursor: duckdb.DuckDBPyConnection) -> dict[str, dict[str, set[tuple[int, int]]]]:
    """Series and event time, ns UTC, of the rows that networks were late for, by stream and detector."""
    found: dict[str, dict[str, set[tuple[int, int]]]] = defaultdict(lambda: defaultdict(set))
    rows = cursor.execute(
        "SELECT name, detector, series, epoch_ns(time) FROM late_answers JOIN streams USING (stream_id)"
    ).fetchall()
    for stream, detector, series, time in rows:
        found[stream][detector].add((series, time))
    return found
