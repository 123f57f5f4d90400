"""Routes, endpoints that fail for long, patience, and signatures that an independent library checks."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from connectors.alarm_event import alarm_event, encode_event
from connectors.errors import ConnectorSettingsError, UnknownWebhookError
from connectors.webhooks import DeliveryStatus, Route, ScriptedAnswer, WebhookEndpoint, deliveries_for
from connectors.webhooks.deliveries import OutboxEntry, Outcome
from connectors.webhooks.delivery import Answer, judge
from connectors.webhooks.telling import told_of_disabling, told_of_enabling
from tests.connectors.encoders.events import transition

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
URL = "https://host.example/services/T000/B000/hunter2hunter2"


def told(route, **changes):
    endpoint = WebhookEndpoint("chat", URL, format="slack", routes=route if isinstance(route, tuple) else (route,))
    one = transition(**changes)
    return bool(
        deliveries_for(
            [endpoint], alarm_id="a", transition_seq=1, event_type=one.kind, body=encode_event(alarm_event(one)),
            created_at=START,
        )
    )  # fmt: skip


def test_routes_look_at_asset_severity_priority_and_type():
    assert told(Route(assets=("north/*",)))
    assert not told(Route(assets=("south/*",)))
    assert told(Route(minimum_severity="high"), severity="critical")
    assert not told(Route(minimum_severity="high"), severity="medium")
    assert not told(Route(priorities=("urgent",)))
    assert told(Route(priorities=("advis*",)))
    assert not told(Route(event_types=("stream.*",)))
    assert told((Route(assets=("south/*",)), Route(minimum_severity="low")))


def test_whoever_was_told_of_an_alarm_is_told_of_its_end():
    route = Route(minimum_severity="high")
    for severity in ("high", "critical"):
        assert told(route, severity=severity) == told(route, kind="alarm.cleared", severity=severity) is True


def test_events_of_the_service_have_no_place_in_the_plant():
    endpoint = WebhookEndpoint("chat", URL, format="slack", routes=(Route(assets=("north/*",)),))
    other = WebhookEndpoint("down", URL, format="teams")
    assert [d.endpoint for d in told_of_disabling([endpoint, other], "down", START, "HTTP 500")] == ["chat"]
    assert [d.event_type for d in told_of_enabling([endpoint, other], "down", START)] == ["service.endpoint_enabled"]
    assert told_of_disabling([endpoint], "unknown", START, "x") == ()
    mute = WebhookEndpoint("mute", URL, format="slack", routes=(Route(event_types=("alarm.*",)),))
    assert told_of_disabling([mute, other], "down", START, "x") == ()


@pytest.mark.parametrize("changes", [{"assets": ()}, {"event_types": ()}, {"minimum_severity": "urgent"}])
def test_routes_that_cannot_be(changes):
    with pytest.raises(ConnectorSettingsError, match=next(iter(changes))):
        Route(**changes)


def test_an_endpoint_that_fails_for_long_is_switched_off_and_the_others_hear_of_it(
    store, clock, make_receiver, make_endpoint, make_sender
):
    down, well = make_receiver(), make_receiver()
    down.inbox.answer_with(*[ScriptedAnswer(500)] * 100)
    hour = 3_600.0
    endpoints = [
        make_endpoint(down, "down", retry_waits=(hour,) * 50, disable_after_seconds=5.5 * hour),
        make_endpoint(well, "well"),
    ]
    store.put_event(endpoints)
    sender = make_sender(*endpoints)
    for _ in range(12):
        sender.run_once(clock.now)
        clock.advance(1.2 * hour)

    assert len(down.inbox.requests) == 6  # the first failure, and five more within five and a half hours
    state = {one.name: one for one in store.outbox.endpoints()}["down"]
    assert state.disabled_at is not None
    assert state.reason == "nothing was delivered since 2026-03-01 08:00 UTC; last: HTTP 500"
    assert store.outbox.list(endpoint="down")[0].status is DeliveryStatus.DISABLED
    events = [json.loads(one.body) for one in well.inbox.webhooks]
    assert [one["type"] for one in events] == ["alarm.raised", "service.endpoint_disabled"]
    assert "nothing was delivered since" in events[1]["data"]["summary"]

    down.inbox._script.clear()
    store.outbox.enable("down", told_of_enabling(endpoints, "down", clock.now))
    store.outbox.enable("down", told_of_enabling(endpoints, "down", clock.now))  # it is on already: nothing to tell
    store.outbox.replay(clock.now, endpoint="down")
    sender.run_once(clock.now)
    assert len(down.inbox.webhooks) == 1
    assert [json.loads(one.body)["type"] for one in well.inbox.webhooks][2:] == ["service.endpoint_enabled"]


def test_one_success_starts_the_count_anew(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, retry_waits=(3_600.0,) * 9, disable_after_seconds=9_000.0)
    sender = make_sender(endpoint)
    for number in range(6):
        store.put_event([endpoint], alarm=f"a{number}", at=clock.now)
        receiver.inbox.answer_with(ScriptedAnswer(500))
        sender.run_once(clock.now)
        clock.advance(4_000)
        sender.run_once(clock.now)
    assert store.outbox.endpoints()[0].disabled_at is None


def entry(attempts=0):
    return OutboxEntry("msg_1", "chat", "a", 1, "alarm.raised", b"{}", START, START, attempts, DeliveryStatus.PENDING)


def test_too_many_without_a_time_is_given_some():
    endpoint = WebhookEndpoint("chat", URL, format="slack", retry_waits=(0.0, 60.0))
    attempt = judge(endpoint, entry(), Answer(429, None, None, 0.0), START, START, 1.0)
    assert attempt.next_attempt_at == attempt.pause_until == START + timedelta(seconds=10)
    attempt = judge(endpoint, entry(1), Answer(429, None, None, 0.0), START, START, 1.0)
    assert attempt.next_attempt_at == START + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("format_", "status", "outcome"),
    [
        ("pagerduty", 400, Outcome.FAILED), ("pagerduty", 429, Outcome.RETRY), ("pagerduty", 500, Outcome.RETRY),
        ("pagerduty", 202, Outcome.DELIVERED), ("slack", 400, Outcome.FAILED), ("teams", 202, Outcome.DELIVERED),
        ("cloudevents-binary", 400, Outcome.RETRY), ("slack", 410, Outcome.DISABLED),
    ],
)  # fmt: skip
def test_each_format_knows_which_refusals_are_for_good(store, clock, receiver, make_sender, format_, status, outcome):
    options = {"routing_key": "R0UT1NGKEY", "source": "urn:tsad"}
    endpoint = WebhookEndpoint("chat", receiver.url, format=format_, options=options)
    one = transition()
    store.put(
        *deliveries_for(
            [endpoint], alarm_id="a", transition_seq=1, event_type=one.kind, body=encode_event(alarm_event(one)),
            created_at=START,
        )
    )  # fmt: skip
    receiver.inbox.answer_with(ScriptedAnswer(status, body="you sent R0UT1NGKEY"))
    make_sender(endpoint).run_once(clock.now)
    (attempt,) = store.outbox.attempts(store.outbox.list()[0].webhook_id)
    assert attempt.outcome is outcome
    assert "R0UT1NGKEY" not in str(attempt.error)
    assert "webhook-signature" not in receiver.inbox.requests[0].headers


def test_another_library_accepts_the_signature_and_refuses_what_was_changed_or_is_old(
    store, receiver, make_endpoint, make_sender, secret, old_secret
):
    # Its check reads the wall clock, so the sender does too.
    endpoint = make_endpoint(receiver, secrets=(secret, old_secret))
    (_,) = store.put_event([endpoint], at=datetime.now(UTC))
    sender = make_sender(endpoint)
    sender._clock = lambda: datetime.now(UTC)
    sender.run_once(datetime.now(UTC))
    (request,) = receiver.inbox.requests
    for one in (secret, old_secret):
        assert Webhook(one).verify(request.body, request.headers)["type"] == "alarm.raised"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "B" * 43 + "=").verify(request.body, request.headers)
    sender._clock = lambda: datetime.now(UTC) - timedelta(minutes=6)
    store.outbox.replay(datetime.now(UTC), endpoint=endpoint.name)
    sender.run_once(datetime.now(UTC))
    with pytest.raises(WebhookVerificationError, match="old"):
        Webhook(secret).verify(request.body, receiver.inbox.requests[1].headers)


def test_a_bearer_token_goes_along(store, clock, receiver, make_endpoint, make_sender):
    endpoint = make_endpoint(receiver, bearer="t0ken-of-the-proxy")
    store.put_event([endpoint])
    make_sender(endpoint).run_once(clock.now)
    assert receiver.inbox.requests[0].headers["authorization"] == "Bearer t0ken-of-the-proxy"
    assert "t0ken" not in repr(endpoint)
    for wrong in ("two words", "línea", "a\nb"):
        with pytest.raises(ConnectorSettingsError, match="bearer"):
            make_endpoint(receiver, bearer=wrong)


def test_what_is_no_event_is_given_up_and_says_why(store, clock, receiver, make_sender):
    endpoint = WebhookEndpoint("chat", receiver.url, format="slack")
    store.put_event([endpoint])  # its data holds next to nothing
    make_sender(endpoint).run_once(clock.now)
    (one,) = store.outbox.list()
    assert one.status is DeliveryStatus.FAILED
    assert "cannot be put into the endpoint's format" in store.outbox.attempts(one.webhook_id)[0].error
    assert receiver.inbox.requests == ()


def test_one_delivery_is_found_by_its_id(store, make_endpoint):
    (webhook_id,) = store.put_event([make_endpoint("https://host.example/")])
    assert store.outbox.entry(webhook_id).webhook_id == webhook_id
    with pytest.raises(UnknownWebhookError, match="tsad webhooks list"):
        store.outbox.entry("msg_none")


def test_the_ledger_keeps_a_digest_of_what_was_sent(store, clock, receiver, make_sender):
    endpoint = WebhookEndpoint("chat", receiver.url, format="slack")
    one = transition()
    store.put(
        *deliveries_for(
            [endpoint], alarm_id="a", transition_seq=1, event_type=one.kind, body=encode_event(alarm_event(one)),
            created_at=START,
        )
    )  # fmt: skip
    receiver.inbox.answer_with(ScriptedAnswer(500), ScriptedAnswer(200))
    sender = make_sender(endpoint)
    sender.run_once(clock.now)
    sender.run_once(clock.now)
    first, second = store.outbox.attempts(store.outbox.list()[0].webhook_id)
    assert first.body_sha256 == second.body_sha256
    assert len(first.body_sha256) == 64
