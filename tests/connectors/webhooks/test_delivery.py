import http.server
import json
import logging
import socket
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from structlog.testing import capture_logs

from connectors.errors import ConnectorSettingsError
from connectors.webhooks import DeliveryStatus, ScriptedAnswer, WebhookEndpoint, WebhookSender, verify
from connectors.webhooks.deliveries import OutboxEntry, Outcome
from connectors.webhooks.delivery import Answer, judge, retry_after_seconds

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
LADDER = (0.0, 1.0, 5.0)


def run(sender, clock, seconds=0.0):
    return sender.run_once(clock.advance(seconds))


def test_a_delivery_arrives_signed_once_and_is_noted(store, clock, receiver, make_endpoint, make_sender, secret):
    endpoint = make_endpoint(receiver)
    (webhook_id,) = store.put_event([endpoint])
    sender = make_sender(endpoint)

    assert run(sender, clock) == 1
    assert run(sender, clock) == 0

    (request,) = receiver.inbox.requests
    assert request.headers["webhook-id"] == webhook_id
    assert request.headers["webhook-timestamp"] == str(int(START.timestamp()))
    assert request.headers["content-type"] == "application/json"
    assert verify([secret], request.headers, request.body, START) == webhook_id
    assert receiver.inbox.webhooks[0].body == store.outbox.list()[0].body
    assert store.statuses() == {webhook_id: "delivered"}
    (attempt,) = store.outbox.attempts(webhook_id)
    assert (attempt.status_code, attempt.error, attempt.outcome) == (204, None, Outcome.DELIVERED)
    assert attempt.duration_ms > 0.0


def test_500_then_200_keeps_the_id_and_renews_the_timestamp(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=LADDER)
    (webhook_id,) = store.put_event([endpoint])
    receiver.inbox.answer_with(ScriptedAnswer(500, body="database\nis down"), ScriptedAnswer(500))
    sender = make_sender(endpoint)

    assert run(sender, clock) == 1
    assert run(sender, clock) == 1  # the ladder's first wait is none
    assert run(sender, clock) == 0
    assert run(sender, clock, 3.0) == 1

    assert [request.status_code for request in receiver.inbox.requests] == [500, 500, 204]
    assert {request.headers["webhook-id"] for request in receiver.inbox.requests} == {webhook_id}
    stamps = [int(request.headers["webhook-timestamp"]) - int(START.timestamp()) for request in receiver.inbox.requests]
    assert stamps == [0, 0, 3]
    assert len({request.headers["webhook-signature"] for request in receiver.inbox.requests}) == 2
    attempts = store.outbox.attempts(webhook_id)
    assert [attempt.error for attempt in attempts] == ["HTTP 500: database is down", "HTTP 500", None]
    assert store.statuses() == {webhook_id: "delivered"}


def test_the_ladder_ends_in_failed_and_replay_starts_it_anew(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=LADDER)
    (webhook_id,) = store.put_event([endpoint])
    receiver.inbox.answer_with(*[ScriptedAnswer(404)] * 4)
    sender = make_sender(endpoint)

    with capture_logs() as logs:
        assert [run(sender, clock, wait) for wait in (0, 1, 2, 6, 3_600)] == [1, 1, 1, 1, 0]

    assert store.statuses() == {webhook_id: "failed"}
    assert [entry["log_level"] for entry in logs] == ["warning", "warning", "warning", "error"]
    assert "replay" in logs[-1]["event"]
    assert store.outbox.replay(clock.now, webhook_ids=[webhook_id]) == 1
    assert run(sender, clock) == 1
    assert store.statuses() == {webhook_id: "delivered"}
    assert [request.headers["webhook-id"] for request in receiver.inbox.requests] == [webhook_id] * 5


def test_replay_of_a_delivered_webhook_is_dropped_by_the_receiver(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver)
    store.put_event([endpoint])
    sender = make_sender(endpoint)
    run(sender, clock)

    store.outbox.replay(clock.now, endpoint="operators")
    run(sender, clock)

    assert len(receiver.inbox.requests) == 2
    assert len(receiver.inbox.webhooks) == 1
    assert receiver.inbox.duplicates == 1


def test_410_disables_the_endpoint_and_only_that(store, clock, make_receiver, make_endpoint, make_sender):
    gone, well = make_receiver(), make_receiver()
    endpoints = [make_endpoint(gone, "gone"), make_endpoint(well, "well")]
    store.put_event(endpoints)
    gone.inbox.answer_with(ScriptedAnswer(410))
    sender = make_sender(*endpoints)

    with capture_logs() as logs:
        run(sender, clock)
    store.put_event(endpoints, seq=2, at=clock.now)
    run(sender, clock, 90_000)

    assert len(gone.inbox.requests) == 1
    told = {webhook.webhook_id: json.loads(webhook.body) for webhook in well.inbox.webhooks}.values()
    assert sorted(event["type"] for event in told) == ["alarm.raised"] * 2 + ["service.endpoint_disabled"]
    (about,) = (event["data"] for event in told if event["type"].startswith("service."))
    assert about["asset"] == "gone"
    assert "HTTP 410" in about["summary"]
    states = {state.name: state for state in store.outbox.endpoints()}
    assert states["gone"].disabled_at == START
    assert states["gone"].reason == "HTTP 410"
    assert states["well"].disabled_at is None
    assert {entry.status for entry in store.outbox.list(endpoint="gone")} == {DeliveryStatus.DISABLED}
    assert any("disabled" in entry["event"] for entry in logs)

    store.outbox.enable("gone")
    assert store.outbox.replay(clock.now, endpoint="gone") == 2
    assert [run(sender, clock) for _ in range(3)] == [1, 1, 0]
    assert len(gone.inbox.webhooks) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_spares_the_whole_endpoint(store, clock, receiver, make_endpoint, make_sender, status):
    endpoint = make_endpoint(receiver, retry_waits=LADDER)
    store.put_event([endpoint], alarm="pump-1")
    store.put_event([endpoint], alarm="pump-2", at=START + timedelta(milliseconds=1))
    receiver.inbox.answer_with(ScriptedAnswer(status, headers=(("Retry-After", "120"),)))
    sender = make_sender(endpoint)

    assert run(sender, clock, 1) == 1  # the second alarm waits too
    assert run(sender, clock, 119) == 0
    assert run(sender, clock, 1) == 2

    assert len(receiver.inbox.webhooks) == 2


def test_retry_after_as_a_date(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=LADDER)
    store.put_event([endpoint])
    date = format_datetime(START + timedelta(minutes=10), usegmt=True)
    receiver.inbox.answer_with(ScriptedAnswer(503, headers=(("Retry-After", date),)))
    sender = make_sender(endpoint)

    assert [run(sender, clock, wait) for wait in (0, 599, 1)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("99999999999", 86_400.0),
        ("Sun, 01 Mar 2026 08:01:00 GMT", 60.0),
        ("Sun, 01 Mar 2026 07:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 08:01:00 -0000", 60.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_or_passed_over(value, seconds):
    assert retry_after_seconds(value, START) == seconds


def entry_after(attempts):
    return OutboxEntry(
        "msg_1", "operators", "pump-1", 1, "alarm.raised", b"{}", START, START, attempts, DeliveryStatus.PENDING
    )


@pytest.mark.parametrize("status", [None, 300, 302, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 599])
def test_everything_but_2xx_and_410_climbs_the_ladder(secret, status):
    endpoint = WebhookEndpoint("operators", "https://host/", (secret,), retry_waits=(10.0, 100.0))

    ended = START + timedelta(seconds=2)
    waits = []
    for attempts in range(3):
        attempt = judge(endpoint, entry_after(attempts), Answer(status, "why", None, 2_000.0), START, ended, 1.1)
        waits.append((attempt.outcome, attempt.next_attempt_at and (attempt.next_attempt_at - START).total_seconds()))

    assert waits == [(Outcome.RETRY, 13.0), (Outcome.RETRY, 112.0), (Outcome.FAILED, None)]


def test_a_patience_shorter_than_the_ladder_changes_nothing(secret):
    endpoint = WebhookEndpoint("operators", "https://host/", (secret,), retry_waits=(100.0,))

    attempt = judge(endpoint, entry_after(0), Answer(429, None, "3", 0.0), START, START, 1.0)

    assert attempt.next_attempt_at == START + timedelta(seconds=100)
    assert attempt.pause_until == START + timedelta(seconds=3)


def test_a_hanging_receiver_times_out_while_the_other_gets_its_webhooks(
    store, clock, make_receiver, make_endpoint, make_sender
):
    hanging, well = make_receiver(), make_receiver()
    slow = make_endpoint(hanging, "slow", timeout_seconds=30.0, retry_waits=(0.0,))
    quick = make_endpoint(well, "quick")
    hanging.inbox.answer_with(ScriptedAnswer(500, hang=True))
    store.put_event([slow, quick])
    sender = make_sender(slow, quick, poll_seconds=0.02)
    sender.start()

    hanging.inbox.wait_for_requests(1)
    well.inbox.wait_for(1)
    for seq in (2, 3):  # the slow lane is still waiting for its answer
        store.put_event([slow, quick], seq=seq)
        sender.notify()
        well.inbox.wait_for(seq)
    assert len(hanging.inbox.requests) == 1
    assert hanging.inbox.webhooks == ()

    hanging.inbox.release()
    clock.advance(60)
    sender.notify()
    assert len(hanging.inbox.wait_for(3)) == 3


def test_a_receiver_that_does_not_answer_in_time_is_retried(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, timeout_seconds=0.2, retry_waits=LADDER)
    store.put_event([endpoint], alarm="pump-1")
    store.put_event([endpoint], alarm="pump-2", at=START + timedelta(milliseconds=1))
    receiver.inbox.answer_with(ScriptedAnswer(500, hang=True))
    sender = make_sender(endpoint)

    assert run(sender, clock, 1) == 1  # the rest of the batch is spared
    assert run(sender, clock, 2) == 2

    first = store.outbox.list(alarm_id="pump-1")[0]
    errors = [attempt.error for attempt in store.outbox.attempts(first.webhook_id)]
    assert errors[0].startswith("ReadTimeout")
    assert len(receiver.inbox.webhooks) == 2


def test_a_refused_connection_is_an_answer_too(store, clock, make_endpoint, make_sender):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    endpoint = make_endpoint(f"http://127.0.0.1:{port}/secret-path", retry_waits=LADDER)
    (webhook_id,) = store.put_event([endpoint])

    with capture_logs() as logs:
        run(make_sender(endpoint), clock)

    (attempt,) = store.outbox.attempts(webhook_id)
    assert attempt.status_code is None
    assert attempt.error.startswith("ConnectError")
    assert "secret-path" not in str(logs) + attempt.error


def test_transitions_of_an_alarm_arrive_in_order_through_failures(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=(1.0,) * 20)
    ids = {}
    for seq in (2, 1, 3, 4):
        for alarm in ("pump-1", "pump-2"):
            ids[alarm, seq] = store.put_event([endpoint], seq=seq, alarm=alarm)[0]
    receiver.inbox.answer_with(*(ScriptedAnswer(status) for status in (500, 503, 500, 429, 400)))
    sender = make_sender(endpoint)

    for _ in range(20):
        run(sender, clock, 1.5)

    arrived = [webhook.webhook_id for webhook in receiver.inbox.webhooks]
    assert len(arrived) == 8
    for alarm in ("pump-1", "pump-2"):
        mine = [ids[alarm, seq] for seq in (1, 2, 3, 4)]
        assert [webhook_id for webhook_id in arrived if webhook_id in mine] == mine


def test_a_thread_drains_the_outbox_and_keeps_the_order(store, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver)
    sender = make_sender(endpoint, poll_seconds=30.0)  # only notify and finished lanes wake it
    sender.start()
    with pytest.raises(ConnectorSettingsError, match="started already"):
        sender.start()

    ids = [store.put_event([endpoint], seq=seq)[0] for seq in range(1, 21)]
    sender.notify()

    assert [webhook.webhook_id for webhook in receiver.inbox.wait_for(20)] == ids
    sender.stop()
    assert sender.last_error is None


def test_a_restarted_process_goes_on_where_the_old_one_stopped(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=LADDER)
    ids = [store.put_event([endpoint], seq=seq)[0] for seq in (1, 2)]
    receiver.inbox.answer_with(ScriptedAnswer(500))
    old = make_sender(endpoint)
    run(old, clock)
    old.stop()

    store.reopen()
    new = make_sender(endpoint)
    assert [run(new, clock, 2) for _ in range(3)] == [1, 1, 0]

    assert [webhook.webhook_id for webhook in receiver.inbox.webhooks] == ids
    assert len(store.outbox.attempts(ids[0])) == 2


def test_a_crash_between_sending_and_noting_sends_again_with_the_same_id(
    store, clock, receiver, make_endpoint, make_sender, monkeypatch
):
    endpoint = make_endpoint(receiver)
    (webhook_id,) = store.put_event([endpoint])

    def crash(attempts, deliveries):
        raise OSError("the machine lost power")

    with monkeypatch.context() as patch:
        patch.setattr(store.outbox, "record_attempts", crash)
        with pytest.raises(OSError, match="lost power"):
            run(make_sender(endpoint), clock)
    store.reopen()
    run(make_sender(endpoint), clock)

    assert [request.headers["webhook-id"] for request in receiver.inbox.requests] == [webhook_id] * 2
    assert receiver.inbox.duplicates == 1
    assert store.statuses() == {webhook_id: "delivered"}


def test_a_fault_of_the_store_is_told_and_survived(store, receiver, make_endpoint, make_sender, monkeypatch):
    endpoint = make_endpoint(receiver)
    sender = make_sender(endpoint, poll_seconds=0.02)
    broken = threading.Event()

    def fail(*_):
        broken.set()
        raise OSError("disk full")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(store.outbox, "due", fail)
        sender.start()
        assert broken.wait(10.0)
    store.put_event([endpoint])
    sender.notify()

    receiver.inbox.wait_for(1)
    sender.stop()
    assert "disk full" in str(logs)
    assert sender.last_error is None  # well again


def test_rotation_signs_for_receivers_with_either_secret(
    store, clock, make_receiver, make_endpoint, make_sender, secret, old_secret
):
    receivers = {
        "new": make_receiver(secret),
        "old": make_receiver(old_secret),
        "both": make_receiver(old_secret, secret),
    }
    endpoints = [make_endpoint(one, name, secrets=(secret, old_secret)) for name, one in receivers.items()]
    store.put_event(endpoints)

    run(make_sender(*endpoints), clock)

    assert all(len(one.inbox.webhooks) == 1 for one in receivers.values())


def test_a_receiver_with_another_secret_refuses(store, clock, make_receiver, make_endpoint, make_sender, old_secret):
    stranger = make_receiver(old_secret)
    endpoint = make_endpoint(stranger, retry_waits=LADDER)
    (webhook_id,) = store.put_event([endpoint])

    run(make_sender(endpoint), clock)

    assert stranger.inbox.webhooks == ()
    (attempt,) = store.outbox.attempts(webhook_id)
    assert attempt.status_code == 401
    assert "webhook-signature" in attempt.error


def test_redirects_are_never_followed(store, clock, make_receiver, make_endpoint, make_sender):
    there, elsewhere = make_receiver(), make_receiver()
    there.inbox.answer_with(ScriptedAnswer(307, headers=(("Location", elsewhere.url),)))
    endpoint = make_endpoint(there, retry_waits=LADDER)
    store.put_event([endpoint])

    run(make_sender(endpoint), clock)

    assert elsewhere.inbox.requests == ()
    assert list(store.statuses().values()) == ["pending"]


def test_no_secret_of_an_endpoint_reaches_a_log(store, clock, receiver, make_endpoint, make_sender, secret, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint = make_endpoint(receiver.url + "/hidden-token?key=hidden-key", retry_waits=LADDER)
    store.put_event([endpoint])
    receiver.inbox.answer_with(ScriptedAnswer(500))
    sender = make_sender(endpoint)

    with capture_logs() as logs:
        run(sender, clock)
        run(sender, clock, 2)

    assert [entry["event"] for entry in logs] == ["webhook not delivered, will retry", "webhook delivered"]
    assert all(entry["url"].endswith("/***") for entry in logs)
    sent_logs = [record for record in caplog.records if not record.name.startswith(("uvicorn", "asyncio"))]
    assert "hidden" not in str(logs) + str([record.getMessage() for record in sent_logs]) + repr(endpoint)
    assert secret not in str(logs)


def test_a_long_refusal_is_not_read_to_its_end(store, clock, make_endpoint, make_sender):
    """The receiver goes on sending until the sender hangs up; it is the hanging up that ends this test."""
    hung_up = threading.Event()

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(500)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"no " * 1_000)
            except OSError:
                hung_up.set()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        endpoint = make_endpoint(f"http://127.0.0.1:{server.server_port}/", retry_waits=LADDER)
        (webhook_id,) = store.put_event([endpoint])
        run(make_sender(endpoint), clock)
        assert hung_up.wait(10.0)
        thread.join()

    (attempt,) = store.outbox.attempts(webhook_id)
    assert attempt.error.startswith("HTTP 500: no no")
    assert len(attempt.error) < 250


def test_a_transport_can_be_handed_in(store, clock, make_endpoint):
    """The seam for an allow-list of addresses: what it refuses is retried like any other failure."""

    def refuse(request):
        raise httpx.ConnectError("10.0.0.1 is not on the allow-list", request=request)

    endpoint = make_endpoint("https://inside.example/", retry_waits=LADDER)
    (webhook_id,) = store.put_event([endpoint])
    sender = WebhookSender(store.outbox, [endpoint], clock=clock, transport=httpx.MockTransport(refuse))

    run(sender, clock)
    sender.stop()

    assert store.outbox.attempts(webhook_id)[0].error == "ConnectError: 10.0.0.1 is not on the allow-list"


def test_jitter_is_seeded_and_near_one(store, clock, receiver, make_endpoint, make_sender):
    waits = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        endpoint = make_endpoint(receiver, name, retry_waits=(1_000.0,))
        store.put_event([endpoint], alarm=name)
        receiver.inbox.answer_with(ScriptedAnswer(500))
        run(make_sender(endpoint, seed=seed), clock)
        entry = store.outbox.list(endpoint=name)[0]
        waits[name] = (entry.next_attempt_at - clock.now).total_seconds()

    assert waits["a"] == waits["b"] != waits["c"]
    assert all(900.0 <= wait <= 1_100.0 for wait in waits.values())


def test_pending_for_an_endpoint_no_longer_configured_is_told(store, receiver, make_endpoint, make_sender):
    store.put_event([make_endpoint(receiver, "former")])

    with capture_logs() as logs:
        sender = make_sender(make_endpoint(receiver))
        sender.start()
        sender.stop()

    assert logs[0]["pending"] == {"former": 1}


def test_endpoints_of_one_name_are_refused(store, receiver, make_endpoint):
    with pytest.raises(ConnectorSettingsError, match="share a name"):
        WebhookSender(store.outbox, [make_endpoint(receiver), make_endpoint(receiver)])
