import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.errors import ConnectorError, ConnectorSettingsError, SignatureError
from connectors.webhooks.signing import decode_secret, sign, signed_headers, verify

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
BODY = '{"type": "alarm.raised", "data": {"asset": "Pumpe 1, Öl"}}'.encode()


def signed_by(secret, headers, body):
    """Verify by the words of Standard Webhooks 1.0.0 alone, without the library."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = headers["webhook-id"].encode() + b"." + headers["webhook-timestamp"].encode() + b"." + body
    digest = hmac.new(key, content, hashlib.sha256).digest()
    entries = [entry.split(",", 1) for entry in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and base64.b64decode(value) == digest for version, value in entries)


@given(
    key=st.binary(min_size=24, max_size=64),
    body=st.text().map(str.encode),
    webhook_id=st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True),
    seconds=st.integers(0, 4_000_000_000),
)
def test_what_is_signed_passes_an_independent_verifier_and_ours(key, body, webhook_id, seconds):
    secret = "whsec_" + base64.b64encode(key).decode()
    now = datetime.fromtimestamp(seconds, UTC)

    headers = signed_headers([secret], webhook_id, now, body)

    assert signed_by(secret, headers, body)
    assert verify([secret], headers, body, now) == webhook_id


def test_a_moment_in_another_zone_signs_the_same(secret):
    from datetime import timezone

    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))

    assert signed_headers([secret], "msg_1", elsewhere, BODY) == signed_headers([secret], "msg_1", NOW, BODY)


def test_one_entry_a_secret_in_their_order(secret, old_secret):
    both = sign([secret, old_secret], "msg_1", 1_700_000_000, BODY)

    assert both.split(" ") == [sign([one], "msg_1", 1_700_000_000, BODY) for one in (secret, old_secret)]


def test_while_rotating_either_secret_verifies(secret, old_secret):
    headers = signed_headers([secret, old_secret], "msg_1", NOW, BODY)

    for held in ([secret], [old_secret], [old_secret, secret]):
        assert verify(held, headers, BODY, NOW) == "msg_1"


def test_entries_of_other_versions_are_passed_over(secret):
    headers = signed_headers([secret], "msg_1", NOW, BODY)
    headers["webhook-signature"] = "v1a,AAAA nonsense v2, " + headers["webhook-signature"]

    assert verify([secret], headers, BODY, NOW) == "msg_1"


def test_header_names_may_have_any_case(secret):
    headers = {name.title(): value for name, value in signed_headers([secret], "msg_1", NOW, BODY).items()}

    assert verify([secret], headers, BODY, NOW) == "msg_1"


@given(position=st.integers(0, len(BODY) - 1), flip=st.integers(1, 127))
def test_any_changed_byte_is_noticed(position, flip):
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    headers = signed_headers([secret], "msg_1", NOW, BODY)
    tampered = bytearray(BODY)
    tampered[position] ^= flip

    with pytest.raises(SignatureError):
        verify([secret], headers, bytes(tampered), NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"webhook-id": "msg_2"}, "none of 1 entries matches"),
        ({"webhook-id": "msg.1"}, "webhook-id"),
        ({"webhook-id": ""}, "missing"),
        ({"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, "none of 1 entries matches"),
        ({"webhook-timestamp": "now"}, "not whole Unix seconds"),
        ({"webhook-timestamp": "-5"}, "not whole Unix seconds"),
        ({"webhook-timestamp": "99999999999999999999"}, "not whole Unix seconds"),
        ({"webhook-signature": "v1"}, "none of 1 entries matches"),
        ({"webhook-signature": "v1,ÄÖ"}, "none of 1 entries matches"),
    ],
)
def test_a_changed_header_is_refused_with_its_name(secret, change, message):
    headers = signed_headers([secret], "msg_1", NOW, BODY) | change

    with pytest.raises(SignatureError, match=message):
        verify([secret], headers, BODY, NOW)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_too_old_and_too_new_are_refused(secret, seconds):
    headers = signed_headers([secret], "msg_1", NOW, BODY)

    with pytest.raises(SignatureError, match="Check both clocks"):
        verify([secret], headers, BODY, NOW + timedelta(seconds=seconds))
    assert verify([secret], headers, BODY, NOW + timedelta(seconds=seconds * 300 // 301)) == "msg_1"


def test_a_body_that_is_not_text_is_refused(secret):
    headers = signed_headers([secret], "msg_1", NOW, BODY)

    with pytest.raises(SignatureError, match="not UTF-8"):
        verify([secret], headers, b"\xff", NOW)
    with pytest.raises(ConnectorSettingsError, match="not UTF-8"):
        sign([secret], "msg_1", 0, b"\xff")


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "must start with"),
        ("AAAA", "must start with"),
        ("whsk_" + "A" * 40, "must start with"),
        ("whsec_" + "A" * 30 + "!" + "A" * 9, "not base64"),
        ("whsec_ä" + "A" * 39, "not base64"),
        ("whsec_" + "A" * 41, "not base64"),
        ("whsec_", "0 bytes"),
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "23 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "65 bytes"),
    ],
)
def test_malformed_secrets_are_refused_without_being_shown(secret, message):
    with pytest.raises(ConnectorSettingsError, match=message) as caught:
        decode_secret(secret)

    assert secret.removeprefix("whsec_") not in str(caught.value) or len(secret) < 10
    assert isinstance(caught.value, ConnectorError)


def test_padding_may_be_left_out():
    key = bytes(range(25))

    assert decode_secret("whsec_" + base64.b64encode(key).decode().rstrip("=")) == key


def test_nothing_is_signed_without_a_secret_or_with_a_dotted_id(secret):
    with pytest.raises(ConnectorSettingsError, match="there is none"):
        sign([], "msg_1", 0, BODY)
    with pytest.raises(ConnectorSettingsError, match="no dot"):
        sign([secret], "msg.1", 0, BODY)
