"""Alertmanager: a real one is told, shows it, tells others of it, and is told again."""

import json
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connectors.alarm_event import alarm_event, encode_event
from connectors.encoders import encode
from connectors.service_event import endpoint_disabled
from connectors.webhooks import Route, ScriptedAnswer, WebhookEndpoint, deliveries_for
from connectors.webhooks.alertmanager import AlertmanagerResender, Standing
from connectors.webhooks.carriers import Carrier
from connectors.webhooks.delivery import WebhookSender
from tests.conftest import free_port
from tests.connectors.encoders.events import transition

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIGURATION = """
route:
  receiver: probe
  group_by: [alarm_id]
  group_wait: 10ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: probe
    webhook_configs:
      - url: URL
        send_resolved: true
"""

needs_alertmanager = pytest.mark.skipif(
    BINARY is None, reason="no Alertmanager: apt-get install prometheus-alertmanager"
)


class Alertmanager:
    def __init__(self, folder, receiver_url):
        self.folder, self.port, self.process = folder, free_port(), None
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "alertmanager.yml").write_text(CONFIGURATION.replace("URL", receiver_url))

    def start(self, storage):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    BINARY, f"--config.file={self.folder / 'alertmanager.yml'}", f"--storage.path={storage}",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(self._ready, lambda: (self.folder / "log").read_text()[-2000:])

    def _ready(self):
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def alerts(self):
        return httpx.get(f"{self.url}/api/v2/alerts").json()

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


def until(done, describe=str, seconds=20):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, describe()
        time.sleep(0.02)  # another process: there is nothing to wait on


@pytest.fixture
def alertmanager(tmp_path, receiver):
    receiver.inbox.answer_with(*[ScriptedAnswer(200)] * 100)
    manager = Alertmanager(tmp_path, receiver.url)
    manager.start(tmp_path / "first")
    yield manager
    manager.stop()


def told(receiver):
    return [json.loads(request.body) for request in receiver.inbox.requests]


def endpoint_at(url, **more):
    return WebhookEndpoint("am", f"{url}/api/v2/alerts", format="alertmanager", **more)


def events_of_now():
    started = time.time_ns() // 10**9 * 10**9 - 30 * 10**9
    return [
        alarm_event(transition(started=started, time=started)),
        alarm_event(transition("alarm.cleared", started=started, time=started + 20 * 10**9)),
    ]


@needs_alertmanager
def test_a_real_alertmanager_shows_firing_and_resolved(alertmanager, receiver, store):
    raised, cleared = events_of_now()
    endpoint = endpoint_at(alertmanager.url)
    sender = WebhookSender(store.outbox, [endpoint])
    for event in (raised, cleared):
        data = event["data"]
        store.put(
            *deliveries_for(
                [endpoint], alarm_id=data["alarm_id"], transition_seq=data["transition_seq"], event_type=event["type"],
                body=encode_event(event), created_at=datetime.now(UTC),
            )
        )  # fmt: skip
        assert sender.run_once(datetime.now(UTC)) == 1
        if event is raised:
            until(alertmanager.alerts)
            (shown,) = alertmanager.alerts()
            assert shown["labels"] == {
                "alertname": "TsadAlarm", "alarm_id": "alm_1", "asset": "north/pump-1", "stream": "pumps",
                "severity": "high",
            }  # fmt: skip
            assert shown["status"]["state"] in {"active", "unprocessed"}
            assert "flow is 3, expected 5" in shown["annotations"]["description"]
            until(lambda: [one["status"] for one in told(receiver)] == ["firing"], lambda: told(receiver))
    until(lambda: [one["status"] for one in told(receiver)] == ["firing", "resolved"], lambda: told(receiver))
    sender.stop()
    assert {str(entry.status) for entry in store.outbox.list()} == {"delivered"}
    until(lambda: not alertmanager.alerts())
    # The shape that we emit ourselves is the one that it emits; newer ones name the reason besides.
    ours = json.loads(encode("alertmanager-webhook", raised, {}).body)
    theirs = told(receiver)[0]
    assert set(theirs) - {"notification_reason"} == set(ours)
    assert set(theirs["alerts"][0]) == set(ours["alerts"][0])
    assert theirs["version"] == ours["version"]
    assert theirs["alerts"][0]["endsAt"] == ours["alerts"][0]["endsAt"]
    assert theirs["commonLabels"] == ours["commonLabels"]


@needs_alertmanager
def test_one_that_lost_everything_is_told_again_what_stands(alertmanager, store, tmp_path):
    raised, _ = events_of_now()
    standing = [Standing(raised, firing=True)]
    resender = AlertmanagerResender(
        endpoint_at(alertmanager.url), store.outbox, lambda: standing, every=30.0, carrier=Carrier()
    )
    assert resender.run_once(datetime.now(UTC)) == 1
    until(alertmanager.alerts)
    alertmanager.stop()
    assert resender.run_once(datetime.now(UTC)) == 0
    assert "ConnectError" in resender.problem
    alertmanager.start(tmp_path / "second")
    assert alertmanager.alerts() == []

    resender.run_once(datetime.now(UTC))

    until(alertmanager.alerts)
    assert resender.problem is None
    assert alertmanager.alerts()[0]["labels"]["alarm_id"] == "alm_1"
    standing[:] = [Standing(raised, firing=False)]  # shelved: the same transition, kept quiet
    resender.run_once(datetime.now(UTC))
    until(lambda: not alertmanager.alerts())


@needs_alertmanager
def test_it_refuses_what_it_cannot_read_and_nothing_is_retried(alertmanager, store):
    event = {**alarm_event(transition())}
    event["data"] = {**event["data"], "event_time_start": "soon"}
    endpoint = endpoint_at(alertmanager.url)
    store.put(
        *deliveries_for(
            [endpoint], alarm_id="alm_1", transition_seq=1, event_type="alarm.raised", body=encode_event(event),
            created_at=NOW,
        )
    )  # fmt: skip
    sender = WebhookSender(store.outbox, [endpoint])
    sender.run_once(datetime.now(UTC))
    sender.stop()
    (entry,) = store.outbox.list()
    (attempt,) = store.outbox.attempts(entry.webhook_id)
    assert (str(entry.status), attempt.status_code) == ("failed", 400)


def resend(store, standing, **more):
    return AlertmanagerResender(
        endpoint_at("http://127.0.0.1:9", **more), store.outbox, lambda: standing, every=60.0, carrier=Carrier()
    )


def test_what_stands_is_renewed_and_what_ended_is_told_for_a_quarter_of_an_hour(store):
    standing = [Standing(alarm_event(transition()), firing=True)]
    resender = resend(store, standing)
    for minute in range(3):
        (alert,) = resender.alerts(NOW + timedelta(minutes=minute))
        assert alert["endsAt"] == (NOW + timedelta(minutes=minute + 4)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert alert["startsAt"] == "2026-01-01T00:00:00Z"

    standing[:] = [Standing(alarm_event(transition("alarm.cleared")), firing=False)]
    ends = [resender.alerts(NOW + timedelta(minutes=minute))[0]["endsAt"] for minute in range(3, 18)]
    assert set(ends) == {"2026-01-01T00:01:30Z"}
    standing.clear()
    assert resender.alerts(NOW + timedelta(minutes=18)) == []


def test_one_that_gets_worse_is_another_alert_and_the_former_ends(store):
    standing = [Standing(alarm_event(transition(severity="low")), firing=True)]
    resender = resend(store, standing)
    resender.alerts(NOW)
    standing[:] = [Standing(alarm_event(transition("alarm.updated", severity="critical")), firing=True)]

    firing, ended = resender.alerts(NOW + timedelta(minutes=1))

    assert (firing["labels"]["severity"], ended["labels"]["severity"]) == ("critical", "low")
    assert ended["endsAt"] == "2026-03-01T08:01:00.000000Z"


def test_it_fires_again_after_it_had_ended(store):
    event = alarm_event(transition())
    standing = [Standing(event, firing=True)]
    resender = resend(store, standing)
    resender.alerts(NOW)
    standing[:] = [Standing(event, firing=False)]
    assert resender.alerts(NOW)[0]["endsAt"] < "2026-03-01T08:00:01Z"
    standing[:] = [Standing(event, firing=True)]
    assert [alert["endsAt"] for alert in resender.alerts(NOW)] == ["2026-03-01T08:04:00.000000Z"]


def test_routes_choose_and_switched_off_endpoints_are_left_alone(store, clock, make_receiver):
    low, high = alarm_event(transition(severity="low")), alarm_event(transition(alarm_id="alm_2"))
    standing = [Standing(low, firing=True), Standing(high, firing=True),
                Standing(endpoint_disabled("room", "https://x/***", NOW, "gone"), firing=True)]  # fmt: skip
    resender = resend(store, standing, routes=(Route(minimum_severity="high"),))
    assert [one["labels"]["alertname"] for one in resender.alerts(NOW)] == ["TsadAlarm", "TsadService"]
    receiver = make_receiver()
    receiver.inbox.answer_with(ScriptedAnswer(410))
    endpoint = endpoint_at(receiver.url)
    store.put_event([endpoint])
    body = encode_event(high)
    store.put(
        *deliveries_for(
            [endpoint], alarm_id="a", transition_seq=1, event_type="alarm.raised", body=body, created_at=NOW
        )
    )
    sender = WebhookSender(store.outbox, [endpoint], clock=clock)
    assert sender.run_once(NOW) == 1
    sender.stop()
    off = AlertmanagerResender(endpoint, store.outbox, lambda: standing, every=60.0, carrier=Carrier())
    before = len(receiver.inbox.requests)
    assert off.run_once(NOW) == 0
    assert len(receiver.inbox.requests) == before
