import contextlib
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import ConnectorSettingsError, UnknownWebhookError
from connectors.webhooks import Attempt, Delivery, DeliveryStatus, Outcome, enqueue

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def due(store, now=START, limit=100, endpoints=("operators",)):
    return [entry.webhook_id for entry in store.outbox.due(now, limit, endpoints)]


def attempt(webhook_id, outcome, at=START, **more):
    if outcome is Outcome.RETRY:
        more.setdefault("next_attempt_at", at + timedelta(seconds=60))
    return Attempt(webhook_id, at, 200 if outcome is Outcome.DELIVERED else 500, None, 12.5, outcome, **more)


def test_an_enqueued_delivery_is_due_unchanged(store, make_delivery):
    body = '{"asset": "Öl"}\n'.encode()

    assert store.put(make_delivery(body=body)) == 1
    (entry,) = store.outbox.due(START, 10, ["operators"])

    assert (entry.webhook_id, entry.body, entry.created_at, entry.attempts) == ("msg_1", body, START, 0)
    assert entry.status is DeliveryStatus.PENDING
    assert entry.next_attempt_at == START


def test_enqueue_is_idempotent_by_webhook_id(store, make_delivery):
    store.put(make_delivery())
    store.outbox.record_attempt(attempt("msg_1", Outcome.DELIVERED))

    assert store.put(make_delivery(), make_delivery("msg_2", seq=2), make_delivery("msg_2", seq=2)) == 1
    assert store.statuses() == {"msg_1": "delivered", "msg_2": "pending"}


def test_enqueue_shares_the_fate_of_the_callers_transaction(store, make_delivery):
    with store.write_lock, contextlib.closing(store.connection.cursor()) as cursor:
        cursor.execute("CREATE TABLE alarms(name TEXT)")
        cursor.begin()
        cursor.execute("INSERT INTO alarms VALUES ('pump-1')")
        assert enqueue(cursor, [make_delivery()]) == 1
        cursor.rollback()
        assert cursor.execute("SELECT count(*) FROM alarms").fetchone() == (0,)

    assert store.outbox.list() == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"webhook_id": "a.b"}, "no dot"), ({"at": datetime(2026, 3, 1)}, "no zone"), ({"body": b"\xff"}, "UTF-8")],  # noqa: DTZ001 - that it has no zone is the point
)
def test_what_cannot_be_sent_is_refused_before_anything_is_inserted(store, make_delivery, change, message):
    with pytest.raises(ConnectorSettingsError, match=message):
        store.put(make_delivery("msg_0"), make_delivery(**change))

    assert store.outbox.list() == ()


def test_times_are_utc_whatever_the_zone_they_came_in_and_the_session_has(store, make_delivery):
    tokyo = START.astimezone(timezone(timedelta(hours=9)))
    store.connection.execute("SET GLOBAL TimeZone = 'America/New_York'")

    store.put(make_delivery(at=tokyo))

    assert store.connection.execute("SELECT created_at FROM outbox").fetchone() == (START.replace(tzinfo=None),)
    assert store.outbox.list()[0].created_at == START
    assert due(store, START - timedelta(microseconds=1)) == []
    assert due(store, tokyo) == ["msg_1"]


def test_a_later_transition_waits_for_the_earlier_ones(store, make_delivery):
    store.put(*(make_delivery(f"msg_{seq}", seq=seq) for seq in (3, 1, 2)))

    assert due(store) == ["msg_1"]
    store.outbox.record_attempt(attempt("msg_1", Outcome.RETRY))
    assert due(store) == []
    assert due(store, START + timedelta(seconds=60)) == ["msg_1"]
    store.outbox.record_attempt(attempt("msg_1", Outcome.FAILED))
    assert due(store) == ["msg_2"]
    store.outbox.record_attempt(attempt("msg_2", Outcome.DELIVERED))
    assert due(store) == ["msg_3"]


def test_alarms_and_endpoints_do_not_wait_for_each_other(store, make_delivery):
    store.put(
        make_delivery("msg_1"),
        make_delivery("msg_2", seq=2, alarm="pump-2"),
        make_delivery("msg_3", seq=2, endpoint="night-shift"),
        make_delivery("msg_4", seq=3),
    )

    assert due(store, endpoints=["operators", "night-shift"]) == ["msg_1", "msg_2", "msg_3"]
    assert due(store, endpoints=["night-shift"]) == ["msg_3"]
    assert due(store, endpoints=[]) == []


def test_the_limit_counts_for_each_endpoint(store, make_delivery):
    store.put(*(make_delivery(f"msg_{number}", alarm=f"alarm-{number}") for number in range(5)))
    store.put(make_delivery("msg_other", endpoint="night-shift", at=START + timedelta(seconds=1)))

    found = due(store, START + timedelta(seconds=1), 2, ["operators", "night-shift"])

    assert found == ["msg_0", "msg_1", "msg_other"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5), st.sampled_from(["delivered", "failed"])),
        max_size=14,
        unique_by=lambda row: row[:3],
    ),
)
def test_every_alarm_is_worked_through_in_its_order(store, rows):
    store.connection.execute("DELETE FROM outbox")
    store.connection.execute("DELETE FROM delivery_attempts")
    fates = {f"msg_{number}": row[3] for number, row in enumerate(rows)}
    store.put(
        *(
            Delivery(f"msg_{number}", f"endpoint-{row[0]}", f"alarm-{row[1]}", row[2], "alarm.x", b"{}", START)
            for number, row in enumerate(rows)
        )
    )
    places = {f"msg_{number}": row[:3] for number, row in enumerate(rows)}

    seen = []
    while batch := due(store, START, 2, [f"endpoint-{number}" for number in range(3)]):
        seen += batch
        for webhook_id in batch:
            store.outbox.record_attempt(attempt(webhook_id, Outcome(fates[webhook_id])))

    assert sorted(seen) == sorted(fates)
    for lane in {place[:2] for place in places.values()}:
        order = [places[webhook_id][2] for webhook_id in seen if places[webhook_id][:2] == lane]
        assert order == sorted(order)


def test_attempts_are_numbered_and_kept(store, make_delivery):
    store.put(make_delivery())
    store.outbox.record_attempt(attempt("msg_1", Outcome.RETRY))
    entry = store.outbox.record_attempt(attempt("msg_1", Outcome.DELIVERED, START + timedelta(seconds=60)))

    assert (entry.attempts, entry.status) == (2, DeliveryStatus.DELIVERED)
    kept = store.outbox.attempts("msg_1")
    assert [(one.outcome, one.status_code, one.attempted_at - START) for one in kept] == [
        (Outcome.RETRY, 500, timedelta()),
        (Outcome.DELIVERED, 200, timedelta(seconds=60)),
    ]
    assert store.connection.execute("SELECT attempt FROM delivery_attempts ORDER BY 1").fetchall() == [(1,), (2,)]


def test_consecutive_failures_count_up_to_the_next_success(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", alarm="pump-2"))
    failures = []
    for outcome in (Outcome.RETRY, Outcome.RETRY, Outcome.DELIVERED):
        store.outbox.record_attempt(attempt("msg_1", outcome))
        failures.append(store.outbox.endpoints()[0].consecutive_failures)
    store.outbox.record_attempt(attempt("msg_2", Outcome.RETRY))

    assert failures == [1, 2, 0]
    assert store.outbox.endpoints()[0].consecutive_failures == 1


def test_a_pause_holds_the_whole_endpoint(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", alarm="pump-2"))
    until = START + timedelta(seconds=90)
    store.outbox.record_attempt(attempt("msg_1", Outcome.RETRY, pause_until=until))

    assert due(store, until - timedelta(seconds=1)) == []
    assert due(store, until) == ["msg_2", "msg_1"]


def test_a_disabled_endpoint_keeps_what_is_meant_for_it(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", seq=2), make_delivery("msg_3", endpoint="night-shift"))
    store.outbox.record_attempt(attempt("msg_1", Outcome.DISABLED))
    store.put(make_delivery("msg_4", seq=3))

    assert store.statuses() == {"msg_1": "disabled", "msg_2": "disabled", "msg_3": "pending", "msg_4": "disabled"}
    assert store.outbox.pending() == {"night-shift": 1}
    state = next(state for state in store.outbox.endpoints() if state.name == "operators")
    assert state.disabled_at == START


def test_replay_of_a_disabled_endpoint_asks_to_enable_it_first(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", seq=2))
    store.outbox.record_attempt(attempt("msg_1", Outcome.DISABLED))

    with pytest.raises(ConnectorSettingsError, match="enable them first"):
        store.outbox.replay(START, endpoint="operators")
    store.outbox.enable("operators")
    assert store.outbox.replay(START, endpoint="operators") == 2
    assert due(store) == ["msg_1"]


def test_replay_makes_due_again_with_a_fresh_ladder(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", alarm="b", at=START + timedelta(seconds=5)))
    for webhook_id, outcome in (("msg_1", Outcome.RETRY), ("msg_1", Outcome.FAILED), ("msg_2", Outcome.DELIVERED)):
        store.outbox.record_attempt(attempt(webhook_id, outcome))
    later = START + timedelta(days=2)

    assert store.outbox.replay(later, webhook_ids=["msg_1"]) == 1
    (entry,) = store.outbox.due(later, 10, ["operators"])
    assert (entry.webhook_id, entry.attempts, entry.next_attempt_at) == ("msg_1", 0, later)
    store.outbox.record_attempt(attempt("msg_1", Outcome.DELIVERED, later))
    assert len(store.outbox.attempts("msg_1")) == 3
    assert store.outbox.replay(later, endpoint="operators", since=START + timedelta(seconds=1)) == 1
    assert due(store, later) == ["msg_2"]
    assert store.outbox.replay(later, endpoint="nobody") == 0


def test_replay_says_what_it_does_not_know(store, make_delivery):
    store.put(make_delivery())

    with pytest.raises(UnknownWebhookError, match="msg_9"):
        store.outbox.replay(START, webhook_ids=["msg_1", "msg_9"])
    with pytest.raises(ConnectorSettingsError, match="say which"):
        store.outbox.replay(START)
    with pytest.raises(UnknownWebhookError, match="nobody"):
        store.outbox.enable("nobody")


def test_an_attempt_of_an_unknown_webhook_leaves_no_trace(store):
    with pytest.raises(UnknownWebhookError, match="msg_9"):
        store.outbox.record_attempt(attempt("msg_9", Outcome.DELIVERED))

    assert store.outbox.attempts("msg_9") == ()
    assert store.outbox.endpoints() == ()


def test_a_retry_needs_its_time_and_nothing_else_has_one(store, make_delivery):
    store.put(make_delivery())

    with pytest.raises(ConnectorSettingsError, match="next_attempt_at"):
        store.outbox.record_attempt(Attempt("msg_1", START, 500, None, 1.0, Outcome.RETRY))
    with pytest.raises(ConnectorSettingsError, match="next_attempt_at"):
        store.outbox.record_attempt(attempt("msg_1", Outcome.DELIVERED, next_attempt_at=START))


def test_list_filters_and_puts_the_newest_first(store, make_delivery):
    store.put(
        make_delivery("msg_1"),
        make_delivery("msg_2", seq=2, at=START + timedelta(seconds=1)),
        make_delivery("msg_3", alarm="pump-2", endpoint="night-shift"),
    )
    store.outbox.record_attempt(attempt("msg_1", Outcome.FAILED))

    def found(**conditions):
        return [entry.webhook_id for entry in store.outbox.list(**conditions)]

    assert found() == ["msg_2", "msg_1", "msg_3"]
    assert found(limit=1) == ["msg_2"]
    assert found(status=DeliveryStatus.FAILED) == ["msg_1"]
    assert found(endpoint="night-shift") == found(alarm_id="pump-2") == ["msg_3"]


def test_prune_forgets_old_deliveries_and_nothing_else(store, make_delivery):
    fates = (Outcome.DELIVERED, Outcome.FAILED, Outcome.RETRY, Outcome.DELIVERED)
    for number, outcome in enumerate(fates):
        late = timedelta(days=number == 3)
        store.put(make_delivery(f"msg_{number}", alarm=f"alarm-{number}", at=START + late))
        store.outbox.record_attempt(attempt(f"msg_{number}", outcome))

    assert store.outbox.prune(START + timedelta(hours=1)) == 1
    assert store.outbox.prune(START + timedelta(hours=1)) == 0
    assert set(store.statuses()) == {"msg_1", "msg_2", "msg_3"}
    assert store.outbox.attempts("msg_0") == ()
    assert len(store.outbox.attempts("msg_3")) == 1


KILLED = """
import os, sys, duckdb
from datetime import UTC, datetime
from connectors.webhooks import OUTBOX_TABLES, Delivery, enqueue
connection = duckdb.connect(sys.argv[1])
for statement in OUTBOX_TABLES:
    connection.execute(statement)
for number in (1, 2):
    connection.begin()
    enqueue(connection, [Delivery(f"msg_{number}", "operators", "a", number, "alarm.x", b"{}", datetime.now(UTC))])
    if number == 1:
        connection.commit()
os._exit(9)
"""


def test_a_killed_process_leaves_what_it_committed_and_nothing_else(tmp_path, make_store):
    path = tmp_path / "killed.duckdb"

    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)

    assert killed.returncode == 9
    assert make_store(path).statuses() == {"msg_1": "pending"}


def test_reopening_the_file_finds_everything_as_it_was(store, make_delivery):
    store.put(make_delivery(), make_delivery("msg_2", seq=2))
    store.outbox.record_attempt(attempt("msg_1", Outcome.RETRY))

    store.reopen()

    assert due(store, START + timedelta(seconds=60)) == ["msg_1"]
    assert len(store.outbox.attempts("msg_1")) == 1


def test_threads_write_at_once_without_conflict(store, make_delivery):
    """Many threads note attempts for one endpoint, so all update the same row of `endpoints`."""
    store.put(*(make_delivery(f"msg_{number}", alarm=f"alarm-{number}") for number in range(40)))
    errors = []

    def work(numbers):
        try:
            for number in numbers:
                store.outbox.record_attempt(attempt(f"msg_{number}", Outcome.RETRY))
        except Exception as error:  # noqa: BLE001 - handed to the test's thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(range(first, 40, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert store.outbox.endpoints()[0].consecutive_failures == 40
