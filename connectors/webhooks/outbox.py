"""The outbox: what is still to be delivered, and the ledger of every attempt, in DuckDB.

Deliveries are inserted in the transaction that stores the alarm they tell of, so neither exists without the other.
From then on the outbox is the only truth: a process that dies between sending and noting sends again, with the same
webhook id. One process has the file open; its threads use cursors of one connection, and every write holds one lock,
because two DuckDB transactions that update the same row at once conflict.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import duckdb

from connectors.errors import ConnectorSettingsError, UnknownWebhookError
from connectors.webhooks.deliveries import (
    Attempt,
    Delivery,
    DeliveryStatus,
    EndpointState,
    OutboxEntry,
    Outcome,
)
from connectors.webhooks.outbox_tables import (
    OUTBOX_TABLES,
    attempts_table,
    enqueue,
    from_database,
    to_database,
)

__all__ = ["OUTBOX_TABLES", "Outbox", "enqueue"]

_ENTRY = (
    "webhook_id, endpoint, alarm_id, transition_seq, event_type, body, created_at, next_attempt_at, attempts, status"
)


class Outbox:
    """The sender's and the operator's door to the outbox.

    Parameters
    ----------
    connection_factory : callable
        Returns a new cursor of the one connection; it is closed after each use.
    write_lock : threading.Lock
        Held over every write transaction, here and everywhere else in the process.
    """

    def __init__(self, connection_factory: Callable[[], duckdb.DuckDBPyConnection], write_lock: threading.Lock) -> None:
        self._connect = connection_factory
        self._write_lock = write_lock

    def due(self, now: datetime, limit: int, endpoints: Collection[str]) -> tuple[OutboxEntry, ...]:
        """Return what to send now: for each (endpoint, alarm) at most the first transition still pending.

        Parameters
        ----------
        now : datetime
            Aware time.
        limit : int
            Most entries of each endpoint, so that a long queue of one leaves room for the others.
        endpoints : collection of str
            Only these.

        Returns
        -------
        tuple of OutboxEntry
            The longest due first.
        """
        return self._entries(
            f"""
            WITH waiting AS (
                SELECT outbox.*, row_number() OVER (
                    PARTITION BY endpoint, alarm_id ORDER BY transition_seq, created_at, webhook_id
                ) AS place
                FROM outbox
                LEFT JOIN endpoints ON endpoints.name = outbox.endpoint
                WHERE status = 'pending' AND list_contains($2, endpoint) AND disabled_at IS NULL
                    AND coalesce(paused_until <= $1::TIMESTAMP, true)
            )
            SELECT {_ENTRY} FROM waiting
            WHERE place = 1 AND next_attempt_at <= $1::TIMESTAMP
            QUALIFY row_number() OVER (PARTITION BY endpoint ORDER BY next_attempt_at, created_at, webhook_id) <= $3
            ORDER BY next_attempt_at, created_at, webhook_id
            """,  # noqa: S608 - the columns are a constant
            [to_database(now), list(endpoints), limit],
        )

    def record_attempt(self, attempt: Attempt, deliveries: Iterable[Delivery] = ()) -> OutboxEntry:
        """Note one attempt as `record_attempts` does, and return its delivery as it stands then."""
        self.record_attempts([attempt], deliveries)
        return self.entry(attempt.webhook_id)

    def record_attempts(self, attempts: Sequence[Attempt], deliveries: Iterable[Delivery] = ()) -> None:
        """Note attempts in the ledger and move their deliveries on, in one transaction.

        Parameters
        ----------
        attempts : sequence of Attempt
            What came of them, in order; no delivery twice. `disabled` switches the endpoint off and sets its pending
            deliveries aside.
        deliveries : iterable of Delivery, optional
            What others are told of it, put in by the same transaction.

        Raises
        ------
        UnknownWebhookError
            When the outbox holds no such delivery; nothing was written.
        ConnectorSettingsError
            When `next_attempt_at` is missing from a `retry` or given otherwise.
        """
        for attempt in attempts:
            if (attempt.next_attempt_at is not None) != (attempt.outcome is Outcome.RETRY):
                raise ConnectorSettingsError(
                    f"attempt of {attempt.webhook_id}: outcome {attempt.outcome!s} with next_attempt_at"
                    f" {attempt.next_attempt_at}; give it for a retry, and only then"
                )
        with self._transaction() as cursor:
            cursor.register("attempt_rows", attempts_table(attempts))
            changed = cursor.execute(
                """
                UPDATE outbox SET attempts = attempts + 1, next_attempt_at = new.next_attempt_at, status = new.status
                FROM attempt_rows AS new WHERE outbox.webhook_id = new.webhook_id RETURNING outbox.webhook_id, endpoint
                """
            ).fetchall()
            endpoint_of = {str(webhook_id): str(endpoint) for webhook_id, endpoint in changed}
            unknown = [one.webhook_id for one in attempts if one.webhook_id not in endpoint_of]
            if unknown:
                raise UnknownWebhookError(f"attempt of {unknown[0]!r}: the outbox holds no such webhook")
            cursor.execute(
                """
                INSERT INTO delivery_attempts
                SELECT new.webhook_id, 1 + coalesce(made.count, 0), attempted_at, status_code, error, duration_ms,
                    outcome, body_sha256
                FROM attempt_rows AS new LEFT JOIN (
                    SELECT webhook_id, count(*) AS count FROM delivery_attempts
                    WHERE webhook_id IN (SELECT webhook_id FROM attempt_rows) GROUP BY webhook_id
                ) AS made USING (webhook_id)
                ORDER BY place
                """
            )
            cursor.unregister("attempt_rows")
            by_endpoint: dict[str, list[Attempt]] = {}
            for attempt in attempts:
                by_endpoint.setdefault(endpoint_of[attempt.webhook_id], []).append(attempt)
            for endpoint, own in by_endpoint.items():
                self._note_endpoint(cursor, endpoint, own)
            enqueue(cursor, deliveries)

    @staticmethod
    def _note_endpoint(cursor: duckdb.DuckDBPyConnection, endpoint: str, attempts: Sequence[Attempt]) -> None:
        """Keep what is remembered of an endpoint up to date; only failures after its newest success count."""
        delivered = [place for place, one in enumerate(attempts) if one.outcome is Outcome.DELIVERED]
        failed = attempts[delivered[-1] + 1 :] if delivered else attempts
        cursor.execute(
            "INSERT INTO endpoints VALUES ($1, NULL, NULL, 0, NULL, NULL) ON CONFLICT DO NOTHING", [endpoint]
        )
        if delivered:
            cursor.execute(
                """
                UPDATE endpoints SET consecutive_failures = 0, paused_until = NULL, failing_since = NULL
                WHERE name = $1
                    AND (consecutive_failures > 0 OR paused_until IS NOT NULL OR failing_since IS NOT NULL)
                """,
                [endpoint],
            )
        if not failed:
            return
        pause_until = failed[-1].pause_until
        cursor.execute(
            """
            UPDATE endpoints SET consecutive_failures = consecutive_failures + $4, paused_until = $2::TIMESTAMP,
                failing_since = coalesce(failing_since, $3::TIMESTAMP)
            WHERE name = $1
            """,
            [
                endpoint,
                None if pause_until is None else to_database(pause_until),
                to_database(failed[0].attempted_at),
                len(failed),
            ],
        )
        for attempt in failed:
            if attempt.outcome is Outcome.DISABLED:
                cursor.execute(
                    "UPDATE endpoints SET disabled_at = $2::TIMESTAMP, reason = $3 WHERE name = $1",
                    [endpoint, to_database(attempt.attempted_at), attempt.error],
                )
                cursor.execute(
                    "UPDATE outbox SET status = 'disabled' WHERE endpoint = $1 AND status = 'pending'", [endpoint]
                )

    def replay(
        self,
        now: datetime,
        *,
        webhook_ids: Sequence[str] | None = None,
        endpoint: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Make deliveries due once more, whatever came of them, with their ids unchanged and a fresh ladder.

        Parameters
        ----------
        now : datetime
            When they are due; aware.
        webhook_ids : sequence of str, optional
            Only these.
        endpoint : str, optional
            Only of this endpoint.
        since : datetime, optional
            Only those created at or after this aware time.

        Returns
        -------
        int
            How many are due again. Conditions given together must all hold.

        Raises
        ------
        ConnectorSettingsError
            When no condition is given, or an endpoint concerned is disabled: enable it first.
        UnknownWebhookError
            When one of `webhook_ids` is not in the outbox; nothing was changed.
        """
        if webhook_ids is None and endpoint is None and since is None:
            raise ConnectorSettingsError("replay: say which: webhook ids, an endpoint, or a time to replay from")
        where = """
            ($1::TEXT[] IS NULL OR list_contains($1, webhook_id)) AND ($2::TEXT IS NULL OR endpoint = $2)
            AND ($3::TIMESTAMP IS NULL OR created_at >= $3)
        """
        conditions = [
            None if webhook_ids is None else list(webhook_ids),
            endpoint,
            None if since is None else to_database(since),
        ]
        with self._transaction() as cursor:
            if webhook_ids is not None:
                found = cursor.execute(
                    "SELECT webhook_id FROM outbox WHERE list_contains($1, webhook_id)", [list(webhook_ids)]
                ).fetchall()
                unknown = sorted(set(webhook_ids) - {str(row[0]) for row in found})
                if unknown:
                    raise UnknownWebhookError(f"replay: the outbox holds no webhooks {unknown}")
            disabled = cursor.execute(
                f"""
                SELECT DISTINCT name FROM endpoints JOIN outbox ON outbox.endpoint = endpoints.name
                WHERE disabled_at IS NOT NULL AND {where} ORDER BY name
                """,  # noqa: S608 - the condition is the constant above
                conditions,
            ).fetchall()
            if disabled:
                names = [str(row[0]) for row in disabled]
                raise ConnectorSettingsError(f"replay: endpoints {names} are disabled; enable them first")
            replayed = cursor.execute(
                f"""
                UPDATE outbox SET status = 'pending', attempts = 0, next_attempt_at = $4::TIMESTAMP
                WHERE {where} RETURNING webhook_id
                """,  # noqa: S608 - the condition is the constant above
                [*conditions, to_database(now)],
            ).fetchall()
        return len(replayed)

    def enable(self, endpoint: str, deliveries: Iterable[Delivery] = ()) -> None:
        """Switch a disabled endpoint on again; what was set aside meanwhile waits for `replay`.

        Parameters
        ----------
        endpoint : str
            Its name.
        deliveries : iterable of Delivery, optional
            What others are told of it, put in by the same transaction when the endpoint was disabled.

        Raises
        ------
        UnknownWebhookError
            When nothing was ever sent to such an endpoint.
        """
        with self._transaction() as cursor:
            disabled = cursor.execute(
                "SELECT 1 FROM endpoints WHERE name = $1 AND disabled_at IS NOT NULL", [endpoint]
            ).fetchall()
            if disabled:
                enqueue(cursor, deliveries)
            enabled = cursor.execute(
                """
                UPDATE endpoints SET disabled_at = NULL, reason = NULL, consecutive_failures = 0, paused_until = NULL,
                    failing_since = NULL
                WHERE name = $1 RETURNING name
                """,
                [endpoint],
            ).fetchone()
            if enabled is None:
                raise UnknownWebhookError(f"enable: nothing was ever sent to an endpoint {endpoint!r}")

    def pending(self) -> dict[str, int]:
        """Return how many deliveries are pending, by endpoint; endpoints without any are left out."""
        with closing(self._connect()) as cursor:
            rows = cursor.execute(
                "SELECT endpoint, count(*) FROM outbox WHERE status = 'pending' GROUP BY endpoint ORDER BY endpoint"
            ).fetchall()
        return {str(name): int(count) for name, count in rows}

    def list(
        self,
        *,
        status: DeliveryStatus | None = None,
        endpoint: str | None = None,
        alarm_id: str | None = None,
        limit: int = 100,
    ) -> tuple[OutboxEntry, ...]:
        """Return deliveries, the newest first; conditions given together must all hold."""
        return self._entries(
            f"""
            SELECT {_ENTRY} FROM outbox
            WHERE ($1::TEXT IS NULL OR status = $1) AND ($2::TEXT IS NULL OR endpoint = $2)
                AND ($3::TEXT IS NULL OR alarm_id = $3)
            ORDER BY created_at DESC, transition_seq DESC, webhook_id LIMIT $4
            """,  # noqa: S608 - the columns are a constant
            [None if status is None else status.value, endpoint, alarm_id, limit],
        )

    def entry(self, webhook_id: str) -> OutboxEntry:
        """Return one delivery; `UnknownWebhookError` when the outbox holds no such one."""
        found = self._entries(f"SELECT {_ENTRY} FROM outbox WHERE webhook_id = $1", [webhook_id])  # noqa: S608
        if not found:
            raise UnknownWebhookError(
                f"the outbox holds no webhook {webhook_id!r}; tsad webhooks list shows the newest"
            )
        return found[0]

    def attempts(self, webhook_id: str) -> tuple[Attempt, ...]:
        """Return the ledger of one delivery, the first attempt first; replays go on below earlier attempts."""
        with closing(self._connect()) as cursor:
            rows = cursor.execute(
                """
                SELECT webhook_id, attempted_at, status_code, error, duration_ms, outcome, body_sha256
                FROM delivery_attempts WHERE webhook_id = $1 ORDER BY attempt
                """,
                [webhook_id],
            ).fetchall()
        return tuple(
            Attempt(row[0], from_database(row[1]), row[2], row[3], row[4], Outcome(row[5]), body_sha256=row[6])
            for row in rows
        )

    def endpoints(self) -> tuple[EndpointState, ...]:
        """Return what is remembered of every endpoint that anything was ever sent to, by name."""
        with closing(self._connect()) as cursor:
            rows = cursor.execute(
                """
                SELECT name, disabled_at, reason, consecutive_failures, paused_until, failing_since FROM endpoints
                ORDER BY name
                """
            ).fetchall()
        return tuple(
            EndpointState(row[0], _moment(row[1]), row[2], row[3], _moment(row[4]), _moment(row[5])) for row in rows
        )

    def prune(self, before: datetime) -> int:
        """Forget deliveries made from events before an aware time, with their attempts; return how many.

        What is pending, failed or set aside stays. A forgotten webhook id is new to `enqueue` again, so keep more than
        any replay of the input could reach back.
        """
        with self._transaction() as cursor:
            pruned = cursor.execute(
                "DELETE FROM outbox WHERE status = 'delivered' AND created_at < $1::TIMESTAMP RETURNING webhook_id",
                [to_database(before)],
            ).fetchall()
            cursor.execute(
                "DELETE FROM delivery_attempts WHERE list_contains($1, webhook_id)", [[str(row[0]) for row in pruned]]
            )
        return len(pruned)

    def _entries(self, query: str, parameters: Sequence[object]) -> tuple[OutboxEntry, ...]:
        with closing(self._connect()) as cursor:
            return tuple(_entry(row) for row in cursor.execute(query, parameters).fetchall())

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._write_lock, closing(self._connect()) as cursor:
            cursor.begin()
            try:
                yield cursor
            except BaseException:
                cursor.rollback()
                raise
            cursor.commit()


def _entry(row: tuple[Any, ...]) -> OutboxEntry:
    return OutboxEntry(
        webhook_id=row[0],
        endpoint=row[1],
        alarm_id=row[2],
        transition_seq=row[3],
        event_type=row[4],
        body=row[5],
        created_at=from_database(row[6]),
        next_attempt_at=from_database(row[7]),
        attempts=row[8],
        status=DeliveryStatus(row[9]),
    )


def _moment(moment: datetime | None) -> datetime | None:
    return None if moment is None else from_database(moment)
