"""Settings of endpoints: each kind, what is wrong with them, and what is never shown."""

import json
import math
from pathlib import Path

import pytest
import yaml

from connectors.webhooks import MailEndpoint, TopicEndpoint, WebhookEndpoint
from streams.configuration import load_configuration, masked
from streams.delivery_settings import _EndpointSettings
from streams.errors import ConfigurationFileError

SECRET = "whsec_" + "A" * 43 + "="
EXAMPLE = Path(__file__).parents[2] / "configs" / "deliveries.yaml"
ENVIRONMENT = {
    "CONTROL_ROOM_URL": "https://room.example/hooks/tok-1234567",
    "CONTROL_ROOM_SECRET": SECRET,
    "GATEWAY_URL": "https://gateway.example/in/tok-2345678",
    "PAGERDUTY_ROUTING_KEY": "R0UT1NGKEY0123456789",
    "EVENT_BUS_URL": "https://bus.example/events/tok-3456789",
    "SLACK_URL": "https://hooks.slack.example/services/T00/B00/tok-4567890",
    "TEAMS_URL": "https://flow.example/workflows/abc?sig=tok-5678901",
    "MAIL_USER": "user-6789012",
    "MAIL_PASSWORD": "pass-7890123",
    "KAFKA_BOOTSTRAP": "127.0.0.1:9092",
}
SECRETS = [value for name, value in ENVIRONMENT.items() if name != "KAFKA_BOOTSTRAP"]
BASE = {
    "source": {"kind": "kafka", "bootstrap": ["x:1"]},
    "streams": [{"name": "pumps", "topic": "plant", "step": 1}],
}


def load(tmp_path, *webhooks, **more):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**BASE, "webhooks": list(webhooks), **more}))
    return load_configuration(path, {})


def test_the_example_has_every_kind():
    configuration = load_configuration(EXAMPLE, ENVIRONMENT)
    endpoints = {one.name: one for one in configuration.endpoints()}
    formats = {name: one.format for name, one in endpoints.items() if isinstance(one, WebhookEndpoint)}
    assert formats == {
        "control-room": "standard-webhooks", "alertmanager": "alertmanager", "gateway": "alertmanager-webhook",
        "on-call": "pagerduty", "event-bus": "cloudevents-binary", "chat": "slack", "teams": "teams",
    }  # fmt: skip
    assert endpoints["alertmanager"].url == "http://127.0.0.1:9093/api/v2/alerts"
    assert endpoints["on-call"].options == {"routing_key": "R0UT1NGKEY0123456789"}
    assert endpoints["control-room"].disable_after_seconds == 3 * 86_400
    assert isinstance(endpoints["night-shift"], MailEndpoint)
    assert endpoints["night-shift"].port == 587
    assert isinstance(endpoints["alarms-topic"], TopicEndpoint)
    assert configuration.delivery.policy().allows("10.20.9.9", "x")


def test_no_secret_is_shown():
    configuration = load_configuration(EXAMPLE, ENVIRONMENT)
    shown = json.dumps(masked(configuration)) + repr(configuration) + repr(configuration.endpoints())
    for secret in SECRETS:
        for part in {secret, secret.rsplit("/", 1)[-1]}:
            assert part not in shown
    assert "tok-" not in shown
    assert "https://hooks.slack.example/***" in shown
    assert "http://127.0.0.1:9093" in shown


def test_passwords_of_the_brokers_are_masked(tmp_path):
    configuration = load(
        tmp_path,
        {
            "name": "t",
            "kind": "kafka",
            "bootstrap": ["h:1"],
            "topic": "t",
            "options": {"sasl_plain_password": "hunter2"},
        },
    )
    assert "hunter2" not in json.dumps(masked(configuration)) + repr(configuration.endpoints())


def test_every_instance_is_an_endpoint_of_its_own(tmp_path):
    configuration = load(
        tmp_path, {"name": "am", "kind": "alertmanager", "urls": ["http://10.0.0.5:9093/", "http://10.0.0.6:9093"]}
    )
    assert [(one.name, one.url) for one in configuration.endpoints()] == [
        ("am-1", "http://10.0.0.5:9093/api/v2/alerts"),
        ("am-2", "http://10.0.0.6:9093/api/v2/alerts"),
    ]


def test_never_is_null(tmp_path):
    configuration = load(tmp_path, {"name": "w", "url": "http://x/y", "secrets": [SECRET], "disable_after": None})
    assert configuration.endpoints()[0].disable_after_seconds == math.inf


@pytest.mark.parametrize(
    ("webhook", "problem"),
    [
        ({"name": "w", "kind": "carrier-pigeon"}, r"webhooks\[0\]: .*carrier-pigeon.*'slack'"),
        ({"name": "w", "kind": "slack"}, r"webhooks\[0\]\.url: Field required"),
        ({"name": "w", "kind": "pagerduty"}, r"webhooks\[0\]\.routing_key: Field required"),
        ({"name": "w", "kind": "pagerduty", "routing_key": ""}, r"webhooks\[0\]\.routing_key"),
        ({"name": "w", "kind": "alertmanager", "urls": []}, r"webhooks\[0\]\.urls"),
        ({"name": "w", "kind": "alertmanager", "urls": ["here"]}, "url must be http"),
        ({"name": "w", "kind": "email", "host": "h", "sender": "a@b"}, r"webhooks\[0\]\.recipients: Field required"),
        (
            {"name": "w", "kind": "email", "host": "h", "sender": "a@b", "recipients": ["x"]},
            "'x' is no plain e-mail address",
        ),
        ({"name": "w", "kind": "kafka", "bootstrap": ["h:1"]}, r"webhooks\[0\]\.topic: Field required"),
        ({"name": "w", "kind": "slack", "url": "http://x/y", "channel": "#a"}, r"channel: there is no such key"),
        (
            {"name": "w", "kind": "slack", "url": "http://x/y", "routes": [{"minimum_severity": "urgent"}]},
            r"webhooks\[0\]\.routes\[0\]\.minimum_severity",
        ),
        ({"name": "w", "kind": "slack", "url": "http://x/y", "routes": [{"assets": []}]}, "assets is empty"),
        ({"name": "w", "kind": "cloudevents", "url": "http://x/y", "mode": "batch"}, r"webhooks\[0\]\.mode"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, webhook, problem):
    with pytest.raises(ConfigurationFileError, match=problem):
        load(tmp_path, webhook)


def test_every_kind_says_its_endpoints():
    class NoneSettings(_EndpointSettings):
        kind: str = "none"

    with pytest.raises(TypeError, match="endpoints"):
        NoneSettings(name="w")


def test_two_of_a_name_are_refused_also_where_instances_make_it(tmp_path):
    with pytest.raises(ConfigurationFileError, match="'am-1' stands twice"):
        load(
            tmp_path,
            {"name": "am", "kind": "alertmanager", "urls": ["http://10.0.0.5:9093", "http://10.0.0.6:9093"]},
            {"name": "am-1", "kind": "slack", "url": "http://x/y"},
        )


def test_addresses_that_are_not_allowed_stop_the_start(tmp_path):
    hook = {"name": "w", "kind": "slack", "url": "http://10.9.0.1/y"}
    load(tmp_path, hook)
    with pytest.raises(ConfigurationFileError, match=r"webhooks\[0\] \(w\): address 10\.9\.0\.1 is not in deliv"):
        load(tmp_path, hook, delivery={"allow": ["public"]})
    with pytest.raises(ConfigurationFileError, match=r"delivery: allowed address 'intranet'"):
        load(tmp_path, hook, delivery={"allow": ["intranet"]})
    with pytest.raises(ConfigurationFileError, match="169"):
        load(tmp_path, {"name": "w", "kind": "slack", "url": "http://169.254.169.254/latest"})
