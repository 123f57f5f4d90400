import httpx
import pytest

from connectors.errors import ConnectorSettingsError
from connectors.webhooks import ReceiverInbox, ScriptedAnswer, receiver_app
from connectors.webhooks.signing import signed_headers


def post(receiver, body, headers):
    return httpx.post(receiver.url, content=body, headers=headers, trust_env=False)


def test_a_good_webhook_is_kept_and_a_repeat_is_answered_well_but_dropped(receiver, clock, secret):
    first = post(receiver, b"{}", signed_headers([secret], "msg_1", clock.now, b"{}"))
    again = post(receiver, b"{}", signed_headers([secret], "msg_1", clock.advance(30), b"{}"))

    assert (first.status_code, again.status_code) == (204, 200)
    (webhook,) = receiver.inbox.wait_for(1)
    assert (webhook.webhook_id, webhook.body, receiver.inbox.duplicates) == ("msg_1", b"{}", 1)


@pytest.mark.parametrize("change", ["body", "late", "unsigned"])
def test_tampered_late_and_unsigned_webhooks_are_refused(receiver, clock, secret, change):
    headers = signed_headers([secret], "msg_1", clock.now, b'{"severity": "high"}')
    body = b'{"severity": "low!"}' if change == "body" else b'{"severity": "high"}'
    if change == "late":
        clock.advance(301)

    answer = post(receiver, body, {} if change == "unsigned" else headers)

    assert answer.status_code == 401
    assert "webhook" in answer.text
    assert receiver.inbox.webhooks == ()
    assert receiver.inbox.requests[0].body == body


def test_a_refused_webhook_may_come_again_rightly(receiver, clock, secret):
    headers = signed_headers([secret], "msg_1", clock.now, b"{}")
    post(receiver, b"[]", headers)

    assert post(receiver, b"{}", headers).status_code == 204


def test_scripted_answers_come_in_order_and_keep_nothing(receiver, clock, secret):
    receiver.inbox.answer_with(ScriptedAnswer(503, headers=(("Retry-After", "7"),), body="busy"), ScriptedAnswer(410))
    headers = signed_headers([secret], "msg_1", clock.now, b"{}")

    answers = [post(receiver, b"{}", headers) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 410, 204]
    assert (answers[0].headers["retry-after"], answers[0].text) == ("7", "busy")


def test_waiting_in_vain_says_what_came(receiver):
    with pytest.raises(TimeoutError, match="0 of 2 webhooks"):
        receiver.inbox.wait_for(2, timeout_seconds=0.01)


def test_the_inbox_keeps_the_newest(clock, secret):
    inbox = ReceiverInbox(capacity=2)
    for number in range(3):
        headers = signed_headers([secret], f"msg_{number}", clock.now, b"{}")
        assert inbox.take(headers, b"{}", [secret], clock.now).status_code == 204

    assert [webhook.webhook_id for webhook in inbox.webhooks] == ["msg_1", "msg_2"]
    assert len(inbox.requests) == 2


@pytest.mark.parametrize("secrets", [(), ("whsec_short",)])
def test_a_receiver_without_a_proper_secret_does_not_start(secrets):
    with pytest.raises(ConnectorSettingsError, match="secret"):
        receiver_app(secrets, ReceiverInbox())
