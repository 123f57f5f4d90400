"""`tsad webhooks`: try an endpoint, look into one delivery."""

import json
from datetime import UTC, datetime

import pytest
import yaml

from connectors.alarm_event import alarm_event, encode_event
from connectors.history.database import Commit, History
from connectors.webhooks import Outbox, ScriptedAnswer, WebhookReceiver, WebhookSender, deliveries_for
from streams.configuration import load_configuration
from tests.connectors.encoders.events import transition
from tests.streams.plant import SECRET
from tests.tsad_cli.command_line import tsad

ROUTING_KEY = "R0UT1NGKEY0123456789"


@pytest.fixture
def receiver():
    with WebhookReceiver([SECRET]) as receiver:
        yield receiver


@pytest.fixture
def config(tmp_path, receiver):
    path = tmp_path / "c.yaml"
    document = {
        "source": {"kind": "kafka", "bootstrap": ["127.0.0.1:1"]},
        "streams": [{"name": "pumps", "topic": "plant", "step": 1}],
        "history": {"path": "h.duckdb"},
        "webhooks": [
            {"name": "room", "url": receiver.url, "secrets": [SECRET]},
            {"name": "pager", "kind": "pagerduty", "url": receiver.url, "routing_key": ROUTING_KEY},
            {"name": "am", "kind": "alertmanager", "urls": [receiver.url, receiver.url]},
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_an_endpoint_is_tried_and_its_answer_printed(config, receiver):
    result = tsad("webhooks", "test", config, "room")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("room (http://127.0.0.1:")
    assert "/***): taken 204 in " in result.stdout
    (webhook,) = receiver.inbox.webhooks
    event = json.loads(webhook.body)
    assert (event["type"], event["data"]["asset"]) == ("service.test", "room")
    assert "nothing has happened" in event["data"]["summary"]


def test_one_that_refuses_says_why_with_its_secrets_masked(config, receiver):
    receiver.inbox.answer_with(ScriptedAnswer(403, body=f"{ROUTING_KEY} is not known here"))
    result = tsad("webhooks", "test", config, "pager")
    assert result.exit_code == 1
    assert "not taken 403 in" in result.stdout
    assert "*** is not known here" in result.stdout
    assert json.loads(receiver.inbox.requests[0].body)["routing_key"] == ROUTING_KEY


def test_every_instance_is_tried(config, receiver):
    receiver.inbox.answer_with(ScriptedAnswer(200, body="ok"), ScriptedAnswer(500))
    result = tsad("webhooks", "test", config, "am", "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert [(one["endpoint"], one["delivered"], one["answer"]) for one in shown] == [
        ("am-1", True, "ok"),
        ("am-2", False, None),
    ]


def test_an_endpoint_that_there_is_not(config):
    result = tsad("webhooks", "test", config, "romo")
    assert result.exit_code == 2
    assert "there is no endpoint 'romo'; there are: room, pager, am-1, am-2" in result.stderr


@pytest.fixture
def delivered(config, receiver):
    """An alarm that two receivers were told of, one at the second try."""
    configuration = load_configuration(config)
    endpoints = configuration.endpoints()[:2]
    now = datetime.now(UTC)
    one = transition()
    deliveries = deliveries_for(
        endpoints, alarm_id=one.alarm_id, transition_seq=1, event_type=one.kind, body=encode_event(alarm_event(one)),
        created_at=now,
    )  # fmt: skip
    with History(configuration.history.path) as history:
        history.commit(Commit(transitions=[one], deliveries=list(deliveries)))
        outbox = Outbox(history.cursor, history.write_lock)
        sender = WebhookSender(outbox, [endpoints[1]], clock=lambda: now)
        receiver.inbox.answer_with(ScriptedAnswer(500, body="busy"), ScriptedAnswer(202))
        sender.run_once(now)
        sender.run_once(now)
        sender.stop()
    return {delivery.endpoint: delivery.webhook_id for delivery in deliveries}


def test_a_delivery_is_shown_with_every_attempt_and_the_body_as_sent(config, delivered):
    result = tsad("webhooks", "show", config, delivered["pager"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{delivered['pager']}  alarm.raised of alm_1, 1"
    assert lines[1].endswith("/***): delivered")
    assert "retry  500" in lines[2]
    assert "HTTP 500: busy" in lines[2]
    assert "delivered  202" in lines[3]
    assert lines[4] == "body, as sent (application/json):"
    assert ROUTING_KEY not in result.stdout
    body = json.loads(lines[5])
    assert (body["routing_key"], body["event_action"]) == ("***", "trigger")


def test_it_says_when_settings_have_changed_since(config, delivered):
    config.write_text(config.read_text().replace(ROUTING_KEY, "AN0THERKEY0123456789"))
    shown = json.loads(tsad("webhooks", "show", config, delivered["pager"], "--json").stdout)
    assert shown["sent"]["as_sent"] is False
    text = tsad("webhooks", "show", config, delivered["pager"]).stdout
    assert "by settings that have changed since the last attempt" in text
    config.write_text(config.read_text().replace("name: pager", "name: other"))
    result = tsad("webhooks", "show", config, delivered["pager"])
    assert "not configured any more" in result.stdout


def test_one_that_was_not_tried_yet_and_one_that_there_is_not(config, delivered):
    result = tsad("webhooks", "show", config, delivered["room"])
    assert "body, to send (application/json):" in result.stdout
    missing = tsad("webhooks", "show", config, "msg_none")
    assert missing.exit_code == 1
    assert "the outbox holds no webhook 'msg_none'" in missing.stderr


@pytest.mark.parametrize("command", ["list", "show", "replay", "test"])
def test_help_has_an_example(command):
    result = tsad("webhooks", command, "--help")
    assert result.exit_code == 0
    assert f"Example: tsad webhooks {command}" in result.stdout
