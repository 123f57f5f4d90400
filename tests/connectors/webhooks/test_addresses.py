"""Which addresses are connected to, whatever a name, a redirect or a spelling makes of them."""

import socket

import pytest

from connectors.errors import ConnectorSettingsError
from connectors.webhooks import AddressPolicy, ScriptedAnswer, WebhookEndpoint, WebhookSender
from connectors.webhooks.addresses import ForbiddenAddressError

DEFAULT = AddressPolicy()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:1:1:1:1:80ff:fffe",
    ],
)  # fmt: skip
def test_names_lead_to_public_addresses_only(address):
    assert not DEFAULT.allows(address, "receiver.example")
    assert not AddressPolicy(("public",)).allows(address, address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"])
def test_public_ones_are_allowed_unless_a_list_leaves_them_out(address):
    assert DEFAULT.allows(address, "receiver.example")
    assert not AddressPolicy(("10.0.0.0/8",)).allows(address, "receiver.example")
    assert not AddressPolicy(()).allows(address, "receiver.example")


def test_an_address_that_somebody_wrote_down_is_meant():
    assert DEFAULT.allows("10.0.0.5", "10.0.0.5")
    assert DEFAULT.allows("::1", "[::1]")
    assert DEFAULT.allows("127.0.0.1", "localhost")
    assert not DEFAULT.allows("10.0.0.5", "localhost")
    assert not DEFAULT.allows("169.254.169.254", "169.254.169.254")
    assert AddressPolicy(("169.254.169.254",)).allows("169.254.169.254", "169.254.169.254")


def test_a_list_holds_for_addresses_that_are_written_down_too():
    policy = AddressPolicy(("10.20.0.0/16", "loopback"))
    policy.check_host("10.20.3.4")
    policy.check_host("receiver.example")
    with pytest.raises(ConnectorSettingsError, match=r"10\.21\.0\.1 is not in delivery\.allow"):
        policy.check_host("10.21.0.1")
    assert AddressPolicy(("private",)).allows("100.64.1.1", "x")


def test_entries_that_are_none():
    with pytest.raises(ConnectorSettingsError, match="'intranet'"):
        AddressPolicy(("intranet",))
    with pytest.raises(ConnectorSettingsError, match=r"10\.0\.0\.1/8"):
        AddressPolicy(("10.0.0.1/8",))


@pytest.fixture
def names(monkeypatch):
    """Names that a resolver, perhaps a hostile one, answers for."""
    answers, real = {}, socket.getaddrinfo

    def getaddrinfo(host, port, *more, **named):
        if host in answers:
            found = answers[host].pop(0) if isinstance(answers[host][0], list) else answers[host]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]
        return real(host, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


def attempts(store, endpoint, clock, **more):
    (webhook_id,) = store.put_event([endpoint])
    sender = WebhookSender(store.outbox, [endpoint], clock=clock, **more)
    sender.run_once(clock.now)
    sender.stop()
    return store.outbox.attempts(webhook_id)


def at(name, receiver):
    return receiver.url.replace("127.0.0.1", name)


def test_a_name_for_an_internal_address_is_not_connected_to(store, clock, receiver, make_endpoint, names):
    names["inside.example"] = ["127.0.0.1"]
    (attempt,) = attempts(store, make_endpoint(at("inside.example", receiver)), clock)
    assert attempt.status_code is None
    assert "inside.example resolves to 127.0.0.1: not in delivery.allow" in attempt.error
    assert receiver.inbox.requests == ()


def test_it_is_once_the_list_has_it(store, clock, receiver, make_endpoint, names):
    names["inside.example"] = ["10.255.255.1", "127.0.0.1"]
    policy = AddressPolicy(("127.0.0.0/8",))
    (attempt,) = attempts(store, make_endpoint(at("inside.example", receiver)), clock, policy=policy)
    assert attempt.status_code == 204
    assert receiver.inbox.requests[0].headers["host"].startswith("inside.example")


def test_the_address_that_was_judged_is_the_one_connected_to(store, clock, receiver, make_endpoint, names):
    # Rebinding: the first answer is fine, every later one would be the loopback address.
    names["rebound.example"] = [["192.0.2.1"], ["127.0.0.1"], ["127.0.0.1"]]
    endpoint = make_endpoint(at("rebound.example", receiver), timeout_seconds=0.2)
    policy = AddressPolicy(("192.0.2.0/24",))
    (attempt,) = attempts(store, endpoint, clock, policy=policy)
    assert attempt.status_code is None
    assert receiver.inbox.requests == ()
    assert len(names["rebound.example"]) == 2


def test_a_redirect_inwards_is_not_followed(store, clock, make_receiver, make_endpoint):
    outside, inside = make_receiver(), make_receiver()
    outside.inbox.answer_with(ScriptedAnswer(302, headers=(("Location", inside.url),)))
    (attempt,) = attempts(store, make_endpoint(outside), clock)
    assert attempt.status_code == 302
    assert inside.inbox.requests == ()


def test_a_plain_connection_keeps_to_the_list_too(receiver, names):
    names["inside.example"] = ["127.0.0.1"]
    port = int(receiver.url.rsplit(":", 1)[1].split("/")[0])
    with pytest.raises(ForbiddenAddressError, match=r"not in delivery\.allow"):
        DEFAULT.connect("inside.example", port, 1.0)
    with AddressPolicy(("loopback",)).connect("inside.example", port, 1.0) as connected:
        assert connected.getpeername()[0] == "127.0.0.1"
    names["nowhere.example"] = ["127.0.0.2", "127.0.0.1"]
    with AddressPolicy(("loopback",)).connect("nowhere.example", port, 1.0) as connected:
        assert connected.getpeername()[0] == "127.0.0.1"


def test_secrets_of_the_address_are_masked_in_what_a_receiver_says(store, clock, receiver):
    url = f"{receiver.url}/services/T0KEN/SECRETPART"
    endpoint = WebhookEndpoint("slack", url, format="slack")
    receiver.inbox.answer_with(ScriptedAnswer(404, body=f"no such hook {url} (/webhooks/services/T0KEN/SECRETPART)"))
    (attempt,) = attempts(store, endpoint, clock)
    assert "SECRETPART" not in attempt.error + repr(endpoint) + endpoint.masked_url
