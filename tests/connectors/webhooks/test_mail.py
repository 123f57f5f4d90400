"""E-mail through a real SMTP server."""

import threading
from email import message_from_bytes, policy

import pytest
from aiosmtpd.controller import Controller

from connectors.alarm_event import alarm_event, encode_event
from connectors.errors import ConnectorSettingsError
from connectors.webhooks import AddressPolicy, MailEndpoint, Outcome, WebhookSender, deliveries_for
from connectors.webhooks.endpoint import Endpoint
from tests.conftest import free_port
from tests.connectors.encoders.events import transition


class Mailbox:
    """Keeps what comes; answers from a script where there is one."""

    def __init__(self):
        self.mails, self.script, self.refused = [], [], {}

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):  # noqa: N802 - the library's name
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.script:
            return self.script.pop(0)
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox():
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    box.port = controller.port
    yield box
    controller.stop()
    assert threading.active_count() >= 1


def mail_endpoint(port, host="127.0.0.1", recipients=("night@plant.example", "day@plant.example"), **more):
    return MailEndpoint("mail", host, port, "tsad@plant.example", recipients, "none", **more)


def send(store, clock, endpoint, *transitions, **more):
    sender = WebhookSender(store.outbox, [endpoint], clock=clock, **more)
    for one in transitions:
        store.put(
            *deliveries_for(
                [endpoint], alarm_id=one.alarm_id, transition_seq=one.transition_seq, event_type=one.kind,
                body=encode_event(alarm_event(one)), created_at=clock.now,
            )
        )  # fmt: skip
        sender.run_once(clock.now)
    return sender


def test_a_real_server_takes_the_mail(store, clock, mailbox):
    endpoint = mail_endpoint(mailbox.port)
    send(store, clock, endpoint, transition(asset="Nord/Pumpe Ö"), transition("alarm.cleared", asset="Nord/Pumpe Ö"))

    assert [sender for sender, _, _ in mailbox.mails] == ["tsad@plant.example"] * 2
    assert mailbox.mails[0][1] == ["night@plant.example", "day@plant.example"]
    first, second = (message_from_bytes(content, policy=policy.default) for _, _, content in mailbox.mails)
    assert first["Subject"].startswith("[tsad] HIGH: Nord/Pumpe Ö behaves unusually")
    assert second["Subject"] == "[tsad] CLEARED: Nord/Pumpe Ö is back to usual"
    assert first["References"] == second["References"] != first["Message-ID"]
    assert first["Date"].datetime == clock.now
    assert "- flow is 3, expected 5 (usual band 4 to 6): too low" in first.get_content().splitlines()
    assert {str(entry.status) for entry in store.outbox.list()} == {"delivered"}
    assert [one.status_code for entry in store.outbox.list() for one in store.outbox.attempts(entry.webhook_id)] == [
        250, 250,
    ]  # fmt: skip


def test_a_server_that_is_busy_gets_the_same_mail_again(store, clock, mailbox):
    endpoint = mail_endpoint(mailbox.port, retry_waits=(5.0,))
    mailbox.script.append("451 try later")
    sender = send(store, clock, endpoint, transition())
    (entry,) = store.outbox.list()
    assert str(entry.status) == "pending"
    sender.run_once(clock.advance(6))

    first, second = store.outbox.attempts(entry.webhook_id)
    assert (first.status_code, first.outcome, first.error) == (451, Outcome.RETRY, "SMTP 451: try later")
    assert (second.status_code, second.outcome) == (250, Outcome.DELIVERED)
    assert first.body_sha256 == second.body_sha256
    mail = message_from_bytes(mailbox.mails[0][2], policy=policy.default)
    assert mail["Message-ID"] == f"<{entry.webhook_id}@plant.example>"


def test_a_refusal_for_good_is_not_repeated(store, clock, mailbox):
    mailbox.script.append("554 looks like junk")
    send(store, clock, mail_endpoint(mailbox.port), transition())
    (entry,) = store.outbox.list()
    assert str(entry.status) == "failed"
    assert store.outbox.attempts(entry.webhook_id)[0].error == "SMTP 554: looks like junk"


@pytest.mark.parametrize(("answer", "status"), [("550 no such user", "failed"), ("450 mailbox busy", "pending")])
def test_recipients_that_are_all_refused(store, clock, mailbox, answer, status):
    mailbox.refused = dict.fromkeys(["night@plant.example", "day@plant.example"], answer)
    send(store, clock, mail_endpoint(mailbox.port), transition())
    (entry,) = store.outbox.list()
    assert str(entry.status) == status
    assert answer.split(" ", 1)[1] in store.outbox.attempts(entry.webhook_id)[0].error


def test_one_recipient_that_is_refused_is_a_remark(store, clock, mailbox):
    mailbox.refused = {"day@plant.example": "550 no such user"}
    send(store, clock, mail_endpoint(mailbox.port), transition())
    (entry,) = store.outbox.list()
    (attempt,) = store.outbox.attempts(entry.webhook_id)
    assert attempt.outcome is Outcome.DELIVERED
    assert attempt.error == "refused: day@plant.example: 550 no such user"
    assert mailbox.mails[0][1] == ["night@plant.example"]


def test_no_server_and_a_forbidden_one_are_tried_again(store, clock, mailbox):
    send(store, clock, mail_endpoint(free_port()), transition())
    (entry,) = store.outbox.list()
    assert "ConnectionRefusedError" in store.outbox.attempts(entry.webhook_id)[0].error
    sender = WebhookSender(
        store.outbox, [mail_endpoint(mailbox.port)], clock=clock, policy=AddressPolicy(("10.0.0.0/8",))
    )
    sender.run_once(clock.advance(3600))
    assert "not in delivery.allow" in store.outbox.attempts(entry.webhook_id)[1].error
    assert mailbox.mails == []


def test_a_server_without_tls_is_told_nothing_where_tls_is_asked_for(store, clock, mailbox):
    endpoint = MailEndpoint(
        "mail", "127.0.0.1", mailbox.port, "a@b.example", ("c@d.example",), "starttls", "kim", "hunter2hunter2"
    )
    send(store, clock, endpoint, transition())
    (entry,) = store.outbox.list()
    (attempt,) = store.outbox.attempts(entry.webhook_id)
    assert "STARTTLS" in attempt.error
    assert mailbox.mails == []
    assert "hunter2" not in repr(endpoint) + attempt.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sender": "tsad"}, "'tsad' is no plain e-mail address"),
        ({"recipients": ("a@b\r\nRCPT TO:<x@y>",)}, "no plain e-mail address"),
        ({"recipients": ()}, "recipients is empty"),
        ({"tls": "ssl"}, "tls 'ssl'"),
        ({"username": "kim"}, "username and password together"),
        ({"username": "kim", "password": "x", "tls": "none"}, "needs tls"),
        ({"host": "mail server"}, "host and port"),
        ({"name": "no name"}, "name must be"),
        ({"disable_after_seconds": 0.0}, "disable_after_seconds"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    values = {"name": "mail", "host": "h", "port": 25, "sender": "a@b", "recipients": ("c@d",)} | changes
    with pytest.raises(ConnectorSettingsError, match=message):
        MailEndpoint(**values)


def test_every_kind_of_endpoint_says_where_it_is():
    class Nowhere(Endpoint):
        protocol = "smtp"

    with pytest.raises(TypeError, match="masked_url"):
        Nowhere("nowhere")
