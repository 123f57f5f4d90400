"""Signing and verifying webhooks: Standard Webhooks 1.0.0, scheme `v1` (HMAC-SHA256).

The signature itself is the `standardwebhooks` library's. Around it stands what the library leaves open: secrets are
checked strictly (it skips characters that are not base64), several secrets sign at once while one replaces another,
and the time comes from the caller (its own check reads the wall clock, which no test and no replay can set).
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

from connectors.errors import ConnectorSettingsError, SignatureError

__all__ = ["TOLERANCE_SECONDS", "check_body", "check_webhook_id", "decode_secret", "sign", "signed_headers", "verify"]

TOLERANCE_SECONDS = 300.0

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the scheme's prefix, not a secret
_SHORTEST_SECRET, _LONGEST_SECRET = 24, 64
# No dot: the signed text joins id, time and body with dots, so a dot in the id could move bytes between them.
_WEBHOOK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def decode_secret(secret: str) -> bytes:
    """Return the bytes of a secret written `whsec_` + base64.

    Parameters
    ----------
    secret : str
        As it stands in the configuration; padding may be left out.

    Raises
    ------
    ConnectorSettingsError
        When the prefix, the base64 or the length (24 to 64 bytes) is wrong. The secret is not in the message.
    """
    if not secret.startswith(_SECRET_PREFIX):
        raise ConnectorSettingsError(
            f"webhook secret: it must start with {_SECRET_PREFIX!r}, followed by base64 of"
            f" {_SHORTEST_SECRET} to {_LONGEST_SECRET} random bytes"
        )
    encoded = secret.removeprefix(_SECRET_PREFIX)
    padded = encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
    try:
        key = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConnectorSettingsError(f"webhook secret: what follows {_SECRET_PREFIX!r} is not base64") from error
    if not _SHORTEST_SECRET <= len(key) <= _LONGEST_SECRET:
        raise ConnectorSettingsError(
            f"webhook secret: {len(key)} bytes; it must have {_SHORTEST_SECRET} to {_LONGEST_SECRET}"
        )
    return key


def check_webhook_id(webhook_id: str) -> str:
    """Return `webhook_id`; `ConnectorSettingsError` unless it is 1 to 128 letters, digits, `_` and `-`."""
    if not _WEBHOOK_ID.fullmatch(webhook_id):
        raise ConnectorSettingsError(
            f"webhook id {webhook_id!r}: it must be 1 to 128 letters, digits, '_' and '-' (no dot: dots part the"
            " signed text)"
        )
    return webhook_id


def check_body(webhook_id: str, body: bytes) -> bytes:
    """Return `body`; `ConnectorSettingsError` naming the webhook unless it is UTF-8, as signing takes for granted."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConnectorSettingsError(f"webhook {webhook_id!r}: the body is not UTF-8 ({error})") from error
    return body


def sign(secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the `webhook-signature` header.

    Parameters
    ----------
    secrets : sequence of str
        `whsec_…`, one or more; while rotating, the new one and the old one.
    webhook_id : str
        The `webhook-id` header.
    timestamp : int
        The `webhook-timestamp` header: Unix seconds of this attempt.
    body : bytes
        Exactly the bytes sent; UTF-8.

    Returns
    -------
    str
        One `v1,…` entry for each secret, in their order, parted by spaces.

    Raises
    ------
    ConnectorSettingsError
        When there is no secret, or one is malformed, or the id or the body cannot be signed.
    """
    if not secrets:
        raise ConnectorSettingsError("webhook secrets: there is none; give at least one to sign with")
    check_webhook_id(webhook_id)
    text = check_body(webhook_id, body).decode("utf-8")
    moment = datetime.fromtimestamp(timestamp, UTC)
    return " ".join(Webhook(decode_secret(secret)).sign(webhook_id, moment, text) for secret in secrets)


def signed_headers(secrets: Sequence[str], webhook_id: str, moment: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of one attempt; `moment` is an aware datetime. Errors are those of `sign`."""
    timestamp = int(moment.timestamp())
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secrets, webhook_id, timestamp, body),
    }


def verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> str:
    """Check that a received webhook is what the holder of one of the secrets signed, and recently.

    Parameters
    ----------
    secrets : sequence of str
        `whsec_…`; any of them may have signed.
    headers : mapping of str to str
        The request's headers, names in any case.
    body : bytes
        The raw body, before any parsing.
    now : datetime
        Aware time of arrival.
    tolerance_seconds : float
        How far the sender's time may be from `now`, either way.

    Returns
    -------
    str
        The webhook id, to drop repeats by.

    Raises
    ------
    SignatureError
        When a header is missing or malformed, the time is out of tolerance, or no signature matches.
    ConnectorSettingsError
        When a secret is malformed or there is none.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not lower.get(name)]
    if missing:
        raise SignatureError(f"webhook: headers {missing} are missing")
    webhook_id, timestamp = lower["webhook-id"], lower["webhook-timestamp"]
    if not _WEBHOOK_ID.fullmatch(webhook_id):
        raise SignatureError(f"webhook-id {webhook_id[:140]!r}: not 1 to 128 letters, digits, '_' and '-'")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError(f"webhook-timestamp {timestamp[:40]!r} of {webhook_id}: not whole Unix seconds")
    age = now.timestamp() - int(timestamp)
    if abs(age) > tolerance_seconds:
        raise SignatureError(
            f"webhook-timestamp {timestamp} of {webhook_id}: {age:.0f} s from the receiver's clock, tolerance"
            f" {tolerance_seconds:.0f} s. Check both clocks"
        )
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SignatureError(f"webhook {webhook_id}: the body is not UTF-8 ({error})") from error
    expected = sign(secrets, webhook_id, int(timestamp), body).split(" ")
    offered = lower["webhook-signature"].split(" ")
    # Every pair is compared, in constant time: how long it takes tells nothing of which one matched.
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in offered]
    if not any(matches):
        raise SignatureError(
            f"webhook-signature of {webhook_id}: none of {len(offered)} entries matches; another secret, or the body"
            " was changed on the way"
        )
    return webhook_id
