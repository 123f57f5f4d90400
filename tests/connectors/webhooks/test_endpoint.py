import dataclasses
from datetime import UTC, datetime

import pytest

from connectors.errors import ConnectorSettingsError
from connectors.webhooks import DEFAULT_RETRY_WAITS, WebhookEndpoint, deliveries_for, masked_url

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def endpoint(secret):
    return WebhookEndpoint("operators", "https://hooks.example.com/T00/secret?token=abc", (secret,))


def test_the_default_ladder_lasts_a_day():
    assert DEFAULT_RETRY_WAITS[:7] == (0, 1, 5, 30, 120, 600, 1_800)
    assert set(DEFAULT_RETRY_WAITS[7:]) == {3_600}
    assert 23 * 3_600 < sum(DEFAULT_RETRY_WAITS) <= 24 * 3_600


def test_nothing_secret_is_printed(endpoint, secret):
    assert secret not in repr(endpoint)
    assert "T00" not in repr(endpoint)
    assert endpoint.masked_url == "https://hooks.example.com/***"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://127.0.0.1:8080/a/b", "http://127.0.0.1:8080/***"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("https://user:word@host/", "https://host/"),
        ("https://host?token=1", "https://host/***"),
        ("https://[::1]:9/x", "https://[::1]:9/***"),
        ("not a url", "***"),
        ("http://h:99999999/", "***"),
    ],
)
def test_masking_keeps_the_host_only(url, masked):
    assert masked_url(url) == masked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name must be"),
        ({"name": "a b"}, "name must be"),
        ({"url": "ftp://host/x"}, "url must be"),
        ({"url": "https:///x"}, "url must be"),
        ({"url": "hooks.example.com"}, "url must be"),
        ({"url": "https://hooks.example.com:99999/"}, "url must be"),
        ({"url": "https://" + "a" * 64 + ".com/"}, "url must be"),
        ({"url": "https://user:word@host/"}, "no user name"),
        ({"secrets": ()}, "secrets is empty"),
        ({"secrets": ("whsec_AAAA",)}, r"secrets\[0\]: webhook secret: 3 bytes"),
        ({"event_types": ()}, "event_types is empty"),
        ({"timeout_seconds": 0.0}, "timeout_seconds"),
        ({"retry_waits": (1.0, -1.0)}, "retry_waits"),
    ],
)
def test_wrong_settings_name_endpoint_and_key(endpoint, change, message):
    with pytest.raises(ConnectorSettingsError, match=message) as caught:
        dataclasses.replace(endpoint, **change)

    assert "webhook endpoint" in str(caught.value)
    assert "word" not in str(caught.value).replace("password", "")


def test_patterns_choose_event_types(endpoint):
    alarms = dataclasses.replace(endpoint, event_types=("alarm.*", "stream.silent"))

    assert [alarms.wants(kind) for kind in ("alarm.raised", "stream.silent", "stream.late", "Alarm.raised")] == [
        True,
        True,
        False,
        False,
    ]


def test_one_delivery_for_each_endpoint_that_wants_it(endpoint):
    alarms = dataclasses.replace(endpoint, name="alarms", event_types=("alarm.*",))

    def addressed(event_type, seq=1):
        return deliveries_for(
            [endpoint, alarms], alarm_id="a", transition_seq=seq, event_type=event_type, body=b"{}", created_at=NOW
        )

    assert [delivery.endpoint for delivery in addressed("alarm.raised")] == ["operators", "alarms"]
    assert [delivery.endpoint for delivery in addressed("service.started")] == ["operators"]
    assert addressed("alarm.raised") == addressed("alarm.raised")
    ids = {
        delivery.webhook_id for seq in (1, 11) for kind in ("alarm.a", "alarm.b") for delivery in addressed(kind, seq)
    }
    assert len(ids) == 8
