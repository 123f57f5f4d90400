"""A place that webhooks are sent to: its settings, and which events it wants."""

import fnmatch
import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import httpx

from connectors.errors import ConnectorSettingsError
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.signing import decode_secret

__all__ = ["DEFAULT_RETRY_WAITS", "WebhookEndpoint", "deliveries_for", "masked_url"]

# 0, 1, 5, 30 s, 2, 10, 30 min, then hourly for as long as all waits together stay within 24 h.
DEFAULT_RETRY_WAITS: tuple[float, ...] = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, *(3_600.0,) * 23)

# No part of a name may be longer than 63 characters: the resolver would fail on it with an error of its own.
_HOST = re.compile(rb"[^.]{1,63}(\.[^.]{1,63})*\.?")
_HIGHEST_PORT = 65_535
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class WebhookEndpoint:
    """Settings of one receiver.

    Attributes
    ----------
    name : str
        Its name in the configuration, the ledger and the logs: letters, digits, `_`, `.` and `-`.
    url : str
        `https://…` or `http://…`; it may hold a secret, so it is neither printed nor logged.
    secrets : tuple of str
        `whsec_…`, one or more; while rotating, the new and the old one. Never printed.
    event_types : tuple of str
        Patterns with `*` and `?` of the event types it wants, such as `alarm.*`.
    timeout_seconds : float
        Longest wait for it to connect, to take the body and to answer, each, seconds.
    retry_waits : tuple of float
        Waits before the first, second, … retry, seconds, before jitter; given up when they are used up. Empty: no
        retry.

    Raises
    ------
    ConnectorSettingsError
        When a value is malformed; the message names the endpoint and the key.
    """

    name: str
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    event_types: tuple[str, ...] = ("*",)
    timeout_seconds: float = 15.0
    retry_waits: tuple[float, ...] = field(default=DEFAULT_RETRY_WAITS, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConnectorSettingsError(
                f"webhook endpoint {self.name!r}: name must be 1 to 64 letters, digits, '_', '.' and '-'"
            )
        where = f"webhook endpoint {self.name!r}"
        parts = _split(self.url)
        if parts is None or parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.raw_host):
            raise ConnectorSettingsError(f"{where}: url must be http://host/… or https://host/…")
        if parts.userinfo:
            raise ConnectorSettingsError(
                f"{where}: url must hold no user name or password; the signature proves who sends"
            )
        if not self.secrets:
            raise ConnectorSettingsError(f"{where}: secrets is empty; give at least one whsec_…")
        for position, secret in enumerate(self.secrets):
            try:
                decode_secret(secret)
            except ConnectorSettingsError as error:
                raise ConnectorSettingsError(f"{where}: secrets[{position}]: {error}") from error
        if not self.event_types:
            raise ConnectorSettingsError(f"{where}: event_types is empty; ('*',) asks for all")
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0.0):
            raise ConnectorSettingsError(f"{where}: timeout_seconds {self.timeout_seconds} must be above 0")
        if not all(math.isfinite(wait) and wait >= 0.0 for wait in self.retry_waits):
            raise ConnectorSettingsError(f"{where}: retry_waits {self.retry_waits} must be finite and not negative")

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown: scheme, host and port; path and query can hold secrets."""
        return masked_url(self.url)

    def wants(self, event_type: str) -> bool:
        """Return whether one of the patterns matches the event type; upper and lower case differ."""
        return any(fnmatch.fnmatchcase(event_type, pattern) for pattern in self.event_types)


def masked_url(url: str) -> str:
    """Return a URL with user, path and query masked, for logs and messages."""
    parts = _split(url)
    if parts is None or not parts.host:
        return "***"
    hidden = "***" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}/{hidden}"


def _split(url: str) -> httpx.URL | None:
    """Return the URL as it will be used; None where it cannot be."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return None
    # httpx takes any number for a port; the socket would fail on it with an error of its own.
    return parts if parts.port is None or 1 <= parts.port <= _HIGHEST_PORT else None


def deliveries_for(
    endpoints: Iterable[WebhookEndpoint],
    *,
    alarm_id: str,
    transition_seq: int,
    event_type: str,
    body: bytes,
    created_at: datetime,
) -> tuple[Delivery, ...]:
    """Address one event to every endpoint that wants it.

    The webhook id follows from endpoint, alarm, transition, type and body alone: working through the same input again
    after a crash makes the same ids, and the outbox keeps one of each. The body is in it so that an alarm that counts
    anew, with a new history file, is not taken for what a receiver has seen before.

    Parameters
    ----------
    endpoints : iterable of WebhookEndpoint
        All there are.
    alarm_id : str
        What the order is kept for.
    transition_seq : int
        Place in that order.
    event_type : str
        Such as `alarm.raised`.
    body : bytes
        The JSON document, UTF-8, exactly as it will be sent.
    created_at : datetime
        Aware time of the event's making.

    Returns
    -------
    tuple of Delivery
        One for each endpoint that wants the event type.
    """
    digest = hashlib.sha256(body).hexdigest()
    return tuple(
        Delivery(
            webhook_id=_webhook_id(endpoint.name, alarm_id, transition_seq, event_type, digest),
            endpoint=endpoint.name,
            alarm_id=alarm_id,
            transition_seq=transition_seq,
            event_type=event_type,
            body=body,
            created_at=created_at,
        )
        for endpoint in endpoints
        if endpoint.wants(event_type)
    )


def _webhook_id(*parts: str | int) -> str:
    # Lengths before the parts, so that no two lists of parts run together into one text.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:40]}"
