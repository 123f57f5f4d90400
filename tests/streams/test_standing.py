"""What stands: told to Alertmanagers from the tables, over restarts, and what is wrong with endpoints."""

from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from connectors.history.database import Commit, History
from connectors.sources.base import RecordBatch
from connectors.sources.memory import MemorySource
from connectors.webhooks import Attempt, Outbox, Outcome, ScriptedAnswer, WebhookReceiver, deliveries_for
from streams.annunciator import Annunciator
from streams.configuration import Configuration
from streams.http import HttpServer, create_application
from streams.pipeline import Pipeline
from streams.service import Service
from streams.standing import standing_alarms
from tests.streams.plant import SECRET, START, document, messages, stream
from tsad.alarms import AlarmBook
from tsad.annunciation import AnnunciationSettings, ChatteringSettings
from tsad.lifecycle import Action

NOW = datetime.fromtimestamp(START / 1000 + 300, UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def configuration(path, **changes):
    hooks = [{"name": "am", "kind": "alertmanager", "urls": ["http://127.0.0.1:9"]},
             {"name": "room", "url": "http://127.0.0.1:9/hook", "secrets": [SECRET]}]  # fmt: skip
    changes = {"streams": [stream(detectors=["robust"])], "webhooks": hooks, **changes}
    return Configuration.model_validate(document(path, **changes))


def pipeline(history, clock):
    settings = configuration(history.path)
    return Pipeline(settings, history, endpoints=settings.endpoints(), now=clock)


@pytest.fixture(scope="module")
def values():
    return messages()


def feed(worker, values, start, stop):
    offsets = np.arange(start, stop, dtype=np.int64)
    arrivals = np.full(stop - start, (START + 10**6) * 10**6, np.int64)
    worker.handle([RecordBatch("plant", 0, values[start:stop], offsets, arrivals)])
    worker.commit(snapshot=True)


@pytest.fixture
def plant(tmp_path, values):
    clock = Clock()
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, clock)
        feed(worker, values, 0, 570)
        yield history, worker, clock


def stands(history, worker):
    outbox = Outbox(history.cursor, history.write_lock)
    endpoints = configuration(history.path).endpoints()
    found = standing_alarms(worker.annunciator, history, outbox, endpoints)
    return {one.event["data"]["asset"]: one for one in found}


def test_an_alarm_stands_until_it_clears_and_over_a_restart(plant, values):
    history, worker, clock = plant
    before = stands(history, worker)["pump-0"]
    assert before.firing
    assert before.event["data"]["contributions"][0]["channel"] == "flow"
    worker = pipeline(history, clock)
    assert stands(history, worker)["pump-0"] == before
    feed(worker, values, 570, len(values))
    after = stands(history, worker)["pump-0"]
    assert not after.firing
    assert after.event["type"] == "alarm.cleared"
    clock.now += timedelta(hours=1)
    assert stands(history, worker) == {}


def test_one_that_is_kept_quiet_does_not_fire_and_fires_again_when_put_back(plant):
    history, worker, _ = plant
    alarm = next(one.alarm_id for one in worker.annunciator.conditions() if one.asset == "pump-0")
    worker.annunciator.act(alarm, Action("take_out_of_service", "ann", "overhaul"))
    assert not stands(history, worker)["pump-0"].firing
    worker.annunciator.act(alarm, Action("return_to_service", "ann"))
    assert stands(history, worker)["pump-0"].firing


def test_one_that_chatters_fires_until_it_has_calmed_down(plant):
    history, worker, _ = plant
    book = AlarmBook("pumps")
    annunciator = Annunciator(
        history, (), settings=AnnunciationSettings(chattering=ChatteringSettings(times=2)), now=worker.annunciator.now
    )

    def step(kind, second):
        transition = book.step(kind, "pump-9", "anomaly", START * 10**6 + second * 10**9, (0, second), severity="low")
        commit = Commit(transitions=[transition])
        annunciator.take([transition], commit)
        history.commit(commit)
        annunciator.taken()
        outbox = Outbox(history.cursor, history.write_lock)
        (one,) = [
            one for one in standing_alarms(annunciator, history, outbox, ()) if one.event["data"]["asset"] == "pump-9"
        ]
        return one.firing, one.event["type"]

    assert step("alarm.raised", 1) == (True, "alarm.raised")
    assert step("alarm.cleared", 2) == (False, "alarm.cleared")
    assert step("alarm.raised", 3) == (True, "alarm.raised")
    # Told as an alarm that was raised, since that is what it is about.
    assert step("alarm.cleared", 4) == (True, "alarm.raised")
    annunciator.act(book.alarm_id("pump-9", "anomaly"), Action("take_out_of_service", "ann", "overhaul"))
    assert step("alarm.raised", 5) == (False, "alarm.raised")


def switch_off(endpoints):
    body = b'{"type": "alarm.raised", "data": {}}'
    room = [one for one in endpoints if one.name == "room"]
    (delivery,) = deliveries_for(
        room, alarm_id="a", transition_seq=1, event_type="alarm.raised", body=body, created_at=NOW
    )
    return delivery, Attempt(delivery.webhook_id, NOW, 410, "HTTP 410", 1.0, Outcome.DISABLED)


def test_an_endpoint_that_is_switched_off_stands_and_is_no_secret(tmp_path):
    settings = configuration(tmp_path / "h.duckdb", http={"port": 0})
    with History(settings.history.path) as history, WebhookReceiver([SECRET]) as alertmanager:
        alertmanager.inbox.answer_with(*[ScriptedAnswer(200)] * 5)
        hooks = [{"name": "am", "kind": "alertmanager", "urls": [alertmanager.url]},
                 {"name": "room", "url": "http://127.0.0.1:9/hook", "secrets": [SECRET]}]  # fmt: skip
        settings = configuration(settings.history.path, webhooks=hooks, http={"port": 0})
        delivery, attempt = switch_off(settings.endpoints())
        history.commit(Commit(deliveries=[delivery]))
        service = Service(settings, MemorySource({}), history)
        service.outbox.record_attempt(attempt)

        assert "webhooks: room is switched off since 2025-06-15 15:11 UTC: HTTP 410" in service.problems()
        (resender,) = service.resenders
        assert resender.run_once(datetime.now(UTC)) == 1
        assert b"TsadService" in alertmanager.inbox.requests[0].body
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        base = f"http://127.0.0.1:{server.port}"
        metrics = httpx.get(f"{base}/metrics").text
        assert 'tsad_webhooks_disabled{endpoint="room"} 1.0' in metrics
        assert 'tsad_alertmanager_rounds_total{endpoint="am"} 1.0' in metrics
        assert httpx.get(f"{base}/readyz").status_code == 503
        shown = httpx.get(f"{base}/api/v1/webhooks/{delivery.webhook_id}").json()
        assert (shown["status"], shown["attempts"][0]["status_code"]) == ("disabled", 410)
        assert shown["sent"]["body"] == delivery.body.decode()
        assert httpx.get(f"{base}/api/v1/webhooks/msg_none").status_code == 404
        answer = httpx.post(f"{base}/api/v1/webhooks/replay", json={"endpoint": "room"})
        assert answer.json() == {"replayed": 1}
        assert not [one for one in service.problems() if "switched off" in one]
        assert resender.run_once(datetime.now(UTC)) == 1
        assert b'"endsAt"' in alertmanager.inbox.requests[-1].body
        server.stop()
        kinds = [entry.event_type for entry in service.outbox.list(endpoint="am")]
        assert kinds == ["service.endpoint_enabled"]
