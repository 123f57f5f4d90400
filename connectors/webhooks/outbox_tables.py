"""The tables of the outbox, and the one statement that belongs into somebody else's transaction.

All times in the tables are UTC without a zone. They are converted here, in Python: DuckDB would convert by the
session's time zone.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from connectors.errors import ConnectorSettingsError
from connectors.webhooks.deliveries import Attempt, Delivery, DeliveryStatus, Outcome
from connectors.webhooks.signing import check_body, check_webhook_id

__all__ = ["OUTBOX_TABLES", "attempts_table", "enqueue", "from_database", "to_database"]

OUTBOX_TABLES: tuple[str, ...] = (
    """
    CREATE TABLE IF NOT EXISTS outbox (
        webhook_id TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        alarm_id TEXT NOT NULL,
        transition_seq BIGINT NOT NULL,
        event_type TEXT NOT NULL,
        body BLOB NOT NULL,
        created_at TIMESTAMP NOT NULL,
        next_attempt_at TIMESTAMP NOT NULL,
        attempts INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed', 'disabled'))
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS delivery_attempts (
        webhook_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        attempted_at TIMESTAMP NOT NULL,
        status_code INTEGER,
        error TEXT,
        duration_ms DOUBLE NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('delivered', 'retry', 'failed', 'disabled')),
        body_sha256 TEXT,
        PRIMARY KEY (webhook_id, attempt)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS endpoints (
        name TEXT PRIMARY KEY,
        disabled_at TIMESTAMP,
        reason TEXT,
        consecutive_failures INTEGER NOT NULL,
        paused_until TIMESTAMP,
        failing_since TIMESTAMP
    )
    """,
)


def enqueue(connection: duckdb.DuckDBPyConnection, deliveries: Iterable[Delivery]) -> int:
    """Put deliveries into the outbox, inside the caller's open transaction.

    The caller holds the write lock and commits. A webhook id that the outbox knows already is left as it is, so
    working through the same input again changes nothing. Deliveries for a disabled endpoint are kept as `disabled`.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        With a transaction begun and the tables of `OUTBOX_TABLES`.
    deliveries : iterable of Delivery
        What to put in.

    Returns
    -------
    int
        How many were new.

    Raises
    ------
    ConnectorSettingsError
        When a webhook id has a character that it must not have, a body is not UTF-8, or a time has no zone; nothing
        was inserted.
    """
    rows = [
        (
            check_webhook_id(delivery.webhook_id),
            delivery.endpoint,
            delivery.alarm_id,
            delivery.transition_seq,
            delivery.event_type,
            check_body(delivery.webhook_id, delivery.body),
            to_database(delivery.created_at),
        )
        for delivery in deliveries
    ]
    if not rows:
        return 0
    names = ("webhook_id", "endpoint", "alarm_id", "transition_seq", "event_type", "body", "created_at")
    types = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.string(), pa.binary(), pa.timestamp("us")]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    table = pa.table(columns, names)
    connection.register("outbox_rows", table)
    # The same id twice among the rows: the first stays, as it does when they come one after another.
    new = connection.execute(
        """
        INSERT INTO outbox
        SELECT webhook_id, endpoint, alarm_id, transition_seq, event_type, body, created_at, created_at, 0,
            CASE WHEN EXISTS (SELECT 1 FROM endpoints WHERE name = endpoint AND disabled_at IS NOT NULL)
                THEN 'disabled' ELSE 'pending' END
        FROM (SELECT *, row_number() OVER () AS place FROM outbox_rows)
        QUALIFY row_number() OVER (PARTITION BY webhook_id ORDER BY place) = 1
        ORDER BY place
        ON CONFLICT DO NOTHING
        RETURNING webhook_id
        """
    ).fetchall()
    connection.unregister("outbox_rows")
    return len(new)


def attempts_table(attempts: Sequence[Attempt]) -> pa.Table:
    """Attempts as rows: what the ledger takes, and where their deliveries stand then."""

    def moments(values: Iterable[datetime]) -> pa.Array:
        return pa.array([to_database(value) for value in values], pa.timestamp("us"))

    def status(outcome: Outcome) -> str:
        return DeliveryStatus.PENDING.value if outcome is Outcome.RETRY else outcome.value

    return pa.table(
        {
            "place": pa.array(range(len(attempts)), pa.int32()),
            "webhook_id": [one.webhook_id for one in attempts],
            "attempted_at": moments(one.attempted_at for one in attempts),
            "next_attempt_at": moments(one.next_attempt_at or one.attempted_at for one in attempts),
            "status": [status(one.outcome) for one in attempts],
            "status_code": pa.array([one.status_code for one in attempts], pa.int32()),
            "error": pa.array([one.error for one in attempts], pa.string()),
            "duration_ms": pa.array([one.duration_ms for one in attempts], pa.float64()),
            "outcome": [one.outcome.value for one in attempts],
            "body_sha256": pa.array([one.body_sha256 for one in attempts], pa.string()),
        }
    )


def to_database(moment: datetime) -> datetime:
    """Return an aware time as the tables hold it; `ConnectorSettingsError` when it has no zone."""
    if moment.tzinfo is None:
        raise ConnectorSettingsError(f"time {moment.isoformat()} has no zone; hand in aware times, best in UTC")
    return moment.astimezone(UTC).replace(tzinfo=None)


def from_database(moment: datetime) -> datetime:
    """Return a time of the tables as an aware one, UTC."""
    return moment.replace(tzinfo=UTC)
