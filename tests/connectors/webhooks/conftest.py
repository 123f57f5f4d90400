import base64
import contextlib
import json
import threading
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from connectors.webhooks import (
    OUTBOX_TABLES,
    Delivery,
    Outbox,
    WebhookEndpoint,
    WebhookReceiver,
    WebhookSender,
    deliveries_for,
    enqueue,
)

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until told otherwise."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        return self.now


class Store:
    """A DuckDB file with the outbox's tables, opened as the daemon opens it; `reopen` is a restart."""

    def __init__(self, path):
        self.path = str(path)
        self.write_lock = threading.Lock()
        self.connection = None
        self.reopen()

    def reopen(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = duckdb.connect(self.path)
        for statement in OUTBOX_TABLES:
            self.connection.execute(statement)
        self.outbox = Outbox(self.connection.cursor, self.write_lock)
        return self

    def close(self):
        self.connection.close()

    def put(self, *deliveries):
        with self.write_lock, contextlib.closing(self.connection.cursor()) as cursor:
            cursor.begin()
            new = enqueue(cursor, deliveries)
            cursor.commit()
        return new

    def put_event(self, endpoints, seq=1, alarm="pump-1", event_type="alarm.raised", at=START):
        body = json.dumps({"type": event_type, "data": {"alarm_id": alarm, "transition_seq": seq}}).encode()
        deliveries = deliveries_for(
            endpoints, alarm_id=alarm, transition_seq=seq, event_type=event_type, body=body, created_at=at
        )
        self.put(*deliveries)
        return [delivery.webhook_id for delivery in deliveries]

    def statuses(self):
        return {entry.webhook_id: str(entry.status) for entry in self.outbox.list()}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_store():
    with contextlib.ExitStack() as stores:

        def make(path):
            store = Store(path)
            stores.callback(store.close)
            return store

        yield make


@pytest.fixture
def store(make_store, tmp_path):
    return make_store(tmp_path / "history.duckdb")


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def make_receiver(stack, clock):
    def make(*secrets):
        return stack.enter_context(WebhookReceiver(secrets or (SECRET,), clock=clock))

    return make


@pytest.fixture
def receiver(make_receiver):
    return make_receiver()


@pytest.fixture
def make_sender(store, clock):
    # Not on the shared stack: senders must stop before the store that they use is closed.
    with contextlib.ExitStack() as senders:

        def make(*endpoints, **more):
            sender = WebhookSender(store.outbox, endpoints, clock=clock, **more)
            senders.callback(sender.stop)
            return sender

        yield make


@pytest.fixture
def make_endpoint():
    def make(receiver, name="operators", **more):
        url = receiver if isinstance(receiver, str) else receiver.url
        return WebhookEndpoint(name, url, **({"secrets": (SECRET,)} | more))

    return make


@pytest.fixture
def make_delivery():
    def make(webhook_id="msg_1", seq=1, alarm="pump-1", endpoint="operators", body=b"{}", at=START):
        return Delivery(webhook_id, endpoint, alarm, seq, "alarm.raised", body, at)

    return make


@pytest.fixture
def secret():
    return SECRET


@pytest.fixture
def old_secret():
    return OLD_SECRET
