"""Every event encodes in every format to what that format's own rules allow."""

import json
import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from hypothesis import given, settings

from connectors.alarm_event import action_event, alarm_event, encode_event
from connectors.encoders import FORMATS, encode
from connectors.encoders.base import as_json, fitted
from connectors.encoders.mail import mail_message
from connectors.history.conditions import ActionRecord
from connectors.service_event import endpoint_test
from tests.connectors.encoders.events import events, transition
from tsad.lifecycle import AlarmCondition

OPTIONS = {"routing_key": "R0UT1NGKEY", "source": "urn:tsad:plant-1"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def document(name, event):
    return json.loads(encode(name, event, OPTIONS).body)


def moment(text):
    assert RFC3339.fullmatch(text)
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


@settings(max_examples=60)
@given(events)
def test_alertmanager(event):
    for alert in document("alertmanager", event):
        assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        assert alert["labels"]["alertname"]
        for name, value in {**alert["labels"], **alert["annotations"]}.items():
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
            assert isinstance(value, str)
            assert value
        if "endsAt" in alert:
            assert moment(alert["startsAt"]) <= moment(alert["endsAt"])
    shown = document("alertmanager-webhook", event)
    assert shown["version"] == "4"
    assert set(shown) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels",
        "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    (alert,) = shown["alerts"]
    assert alert["status"] == shown["status"] in {"firing", "resolved"}
    assert (alert["endsAt"] == "0001-01-01T00:00:00Z") == (alert["status"] == "firing")
    assert set(alert) == {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}


@settings(max_examples=60)
@given(events)
def test_pagerduty(event):
    body = encode("pagerduty", event, OPTIONS).body
    shown = json.loads(body)
    assert len(body) <= 512 * 1024
    assert shown["routing_key"] == OPTIONS["routing_key"]
    assert shown["event_action"] in {"trigger", "acknowledge", "resolve"}
    assert 1 <= len(shown["dedup_key"]) <= 255
    if shown["event_action"] == "trigger":
        payload = shown["payload"]
        assert 1 <= len(payload["summary"]) <= 1_024
        assert payload["severity"] in {"critical", "error", "warning", "info"}
        assert payload["source"]
        moment(payload["timestamp"])


@settings(max_examples=60)
@given(events)
def test_cloudevents_are_read_by_the_official_kit(event):
    read = []
    for name in ("cloudevents-structured", "cloudevents-binary"):
        message = encode(name, event, OPTIONS)
        assert len(message.body) <= 65_536
        headers = {"content-type": message.content_type, **dict(message.headers)}
        assert all(re.fullmatch(r"([!#$&-~]|%[0-9A-F]{2})*", value) for _, value in message.headers)
        read.append(from_http_event(HTTPMessage(headers, message.body)))
    message = encode("cloudevents-kafka", event, OPTIONS)
    assert message.key == event["data"]["alarm_id"].encode()
    headers = {name: value.encode() for name, value in message.headers} | {"content-type": b"application/json"}
    read.append(from_kafka_event(KafkaMessage(headers, message.key, message.body)))
    assert len({one.get_id() for one in read}) == 1
    for one in read:
        assert one.get_type() == f"tsad.{event['type']}"
        assert one.get_source() == OPTIONS["source"]
        assert one.get_subject() == read[0].get_subject()
        data = one.get_data()
        data = json.loads(data) if isinstance(data, bytes | str) else data
        assert data["alarm_id"] == event["data"]["alarm_id"]


@settings(max_examples=60)
@given(events)
def test_slack(event):
    shown = document("slack", event)
    assert len(shown["text"]) >= 1
    assert 1 <= len(shown["blocks"]) <= 50
    for block in shown["blocks"]:
        for part in [block["text"]] if "text" in block else block["fields"]:
            limit = 150 if block["type"] == "header" else 3_000 if "text" in block else 2_000
            assert 1 <= len(part["text"]) <= limit
            if part["type"] == "mrkdwn":
                # No mention, no link: what was not escaped would stand in angle brackets.
                assert "<" not in part["text"]
                assert re.fullmatch(r"(?s)(&(amp|lt|gt);|[^&])*", part["text"])
        assert len(block.get("fields", ())) <= 10


@settings(max_examples=60)
@given(events)
def test_teams(event):
    message = encode("teams", event, OPTIONS)
    assert len(message.body) <= 28 * 1024
    shown = json.loads(message.body)
    assert shown["type"] == "message"
    (attachment,) = shown["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"
    for element in attachment["content"]["body"]:
        if element["type"] == "TextBlock":
            assert element["text"]
            assert not re.search(r"(?<!\\)[\[<]", element["text"])
        else:
            assert all(set(fact) == {"title", "value"} and fact["value"] for fact in element["facts"])


@settings(max_examples=60)
@given(events)
def test_mail(event):
    arguments = {
        "sender": "tsad@plant.example", "recipients": ["a@x.example", "b@x.example"], "message_id": "msg_1",
        "date": NOW,
    }  # fmt: skip
    raw = mail_message(event, **arguments).body
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    mail = message_from_bytes(raw, policy=policy.default)
    assert not mail.defects
    # No header that an asset's name brought in.
    assert mail.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted", "X-Tsad-Alarm-Id",
        "X-Tsad-Event-Type", "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    ]  # fmt: skip
    assert event["type"] in mail.get_content()
    assert mail_message(event, **arguments).body == raw


@settings(max_examples=60)
@given(events)
def test_standard_webhooks_and_purity(event):
    for name in FORMATS:
        assert encode(name, event, OPTIONS) == encode(name, json.loads(encode_event(event)), OPTIONS)
    body = encode("standard-webhooks", event, OPTIONS).body
    assert len(body) <= 20_000
    shown = json.loads(body)
    assert set(shown) == {"type", "timestamp", "data"}
    assert shown["data"].get("truncated", False) == (len(as_json(event)) > 20_000)


@settings(max_examples=60)
@given(events)
def test_what_is_too_large_is_cut_and_keeps_what_identifies_it(event):
    for limit in (4_096, 20_000):
        small = fitted(event, limit)
        assert len(as_json(small)) <= limit
        assert fitted(small, limit) == small
        for name in ("alarm_id", "transition_seq", "state", "severity"):
            assert small["data"][name] == event["data"][name]
        kept = small["data"].get("contributions") or []
        if len(as_json({**event, "data": {**event["data"], "contributions": kept}})) <= limit:
            assert kept == [*(event["data"].get("contributions") or [])][: len(kept)]


def test_one_incident_from_raising_to_clearing():
    raised, cleared = alarm_event(transition()), alarm_event(transition("alarm.cleared"))
    acknowledged = action("acknowledge", "active_acknowledged")
    shelved = action("shelve", "shelved")
    told = [document("pagerduty", one) for one in (raised, acknowledged, shelved, cleared)]
    assert [one["event_action"] for one in told] == ["trigger", "acknowledge", "resolve", "resolve"]
    assert {one["dedup_key"] for one in told} == {"alm_1"}
    alerts = [document("alertmanager", one)[0] for one in (raised, shelved, cleared)]
    assert len({json.dumps(alert["labels"], sort_keys=True) for alert in alerts}) == 1
    assert ["endsAt" in alert for alert in alerts] == [False, True, True]
    assert alerts[2]["startsAt"] == "2026-01-01T00:00:00Z"
    assert alerts[2]["endsAt"] == "2026-01-01T00:01:30Z"


def test_silence_that_is_shelved_ends_the_alert_that_it_began():
    silent = alarm_event(transition("stream.silent"))
    shelved = action("shelve", "shelved")
    assert document("alertmanager", silent)[0]["labels"] == document("alertmanager", shelved)[0]["labels"]


def action(kind, state):
    condition = AlarmCondition("alm_1", "pumps", "north/pump-1", True, False, "epi_1", 1_767_225_600 * 10**9,
                               1_767_225_600 * 10**9, "high", 1)  # fmt: skip
    record = ActionRecord("alm_1", "epi_1", 1, 1, kind, "kim", "checked", 1_767_240_000 * 10**9, False, None,
                          1_767_225_630 * 10**9, "active_unacknowledged", state)  # fmt: skip
    return action_event(condition, record)


@pytest.mark.parametrize("name", ["alertmanager", "alertmanager-webhook"])
def test_formats_without_words_for_acknowledgements_say_so(name):
    assert not FORMATS[name].has_words_for("alarm.acknowledged")
    assert FORMATS[name].has_words_for("alarm.shelved")
    assert FORMATS[name].has_words_for("stream.silent")
    assert FORMATS["pagerduty"].has_words_for("alarm.acknowledged")
    assert not FORMATS["pagerduty"].has_words_for("alarm.commented")
    assert FORMATS["slack"].has_words_for("alarm.commented")


def test_a_test_says_that_it_is_one():
    event = endpoint_test("room", NOW)
    for name in FORMATS:
        message = encode(name, event, OPTIONS)
        assert b"est" in message.body
        assert "service.test" in message.body.decode() + str(message.headers)


def test_binary_headers_come_back_as_they_were():
    event = alarm_event(transition(asset='泵 "one" 100%'))
    headers = dict(encode("cloudevents-binary", event, OPTIONS).headers)
    assert headers["ce-subject"].isascii()
    assert unquote(headers["ce-subject"]) == '泵 "one" 100%'
    kafka = dict(encode("cloudevents-kafka", event, OPTIONS).headers)
    assert kafka["ce_subject"] == '泵 "one" 100%'
    assert (
        kafka["ce_sequence"]
        < dict(encode("cloudevents-kafka", alarm_event(transition("alarm.cleared")), OPTIONS).headers)["ce_sequence"]
    )
