"""A place that webhooks are sent to: its settings, and which events it wants."""

import fnmatch
import hashlib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

import httpx
import msgspec

from connectors.encoders import FORMATS
from connectors.errors import ConnectorSettingsError
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.routing import Route
from connectors.webhooks.signing import decode_secret

__all__ = [
    "DEFAULT_DISABLE_AFTER",
    "DEFAULT_RETRY_WAITS",
    "Endpoint",
    "WebhookEndpoint",
    "deliveries_for",
    "masked_url",
]

# 0, 1, 5, 30 s, 2, 10, 30 min, then hourly for as long as all waits together stay within 24 h.
DEFAULT_RETRY_WAITS: tuple[float, ...] = (0.0, 1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, *(3_600.0,) * 23)

# Longer than a weekend: a receiver that was down from Friday to Monday has its alarms when it is back.
DEFAULT_DISABLE_AFTER = 3 * 86_400.0

_SHORTEST_CONFIDENTIAL = 8

# No part of a name may be longer than 63 characters: the resolver would fail on it with an error of its own.
_HOST = re.compile(rb"[^.]{1,63}(\.[^.]{1,63})*\.?")
_HIGHEST_PORT = 65_535
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Endpoint(ABC):
    """What all places that deliveries go to have in common.

    Attributes
    ----------
    name : str
        Its name in the configuration, the ledger and the logs: letters, digits, `_`, `.` and `-`.
    event_types : tuple of str
        Patterns with `*` and `?` of the event types it wants, such as `alarm.*`.
    routes : tuple of Route
        Of those, what it is told: whatever goes one of these ways. Empty: all.
    timeout_seconds : float
        Longest wait for it to connect, to take the body and to answer, each, seconds.
    retry_waits : tuple of float
        Waits before the first, second, … retry, seconds, before jitter; given up when they are used up. Empty: no
        retry.
    disable_after_seconds : float
        It is switched off when nothing was delivered for so long while attempts were made; infinite: never.

    Raises
    ------
    ConnectorSettingsError
        When a value is malformed; the message names the endpoint and the key.
    """

    name: str
    event_types: tuple[str, ...] = field(default=("*",), kw_only=True)
    routes: tuple[Route, ...] = field(default=(), kw_only=True)
    timeout_seconds: float = field(default=15.0, kw_only=True)
    retry_waits: tuple[float, ...] = field(default=DEFAULT_RETRY_WAITS, repr=False, kw_only=True)
    disable_after_seconds: float = field(default=DEFAULT_DISABLE_AFTER, kw_only=True)

    protocol: ClassVar[Literal["http", "smtp", "kafka"]]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConnectorSettingsError(
                f"webhook endpoint {self.name!r}: name must be 1 to 64 letters, digits, '_', '.' and '-'"
            )
        if not self.event_types:
            raise ConnectorSettingsError(f"{self._where}: event_types is empty; ('*',) asks for all")
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0.0):
            raise ConnectorSettingsError(f"{self._where}: timeout_seconds {self.timeout_seconds} must be above 0")
        if not all(math.isfinite(wait) and wait >= 0.0 for wait in self.retry_waits):
            raise ConnectorSettingsError(
                f"{self._where}: retry_waits {self.retry_waits} must be finite and not negative"
            )
        if not self.disable_after_seconds > 0.0:
            raise ConnectorSettingsError(
                f"{self._where}: disable_after_seconds {self.disable_after_seconds} must be above 0"
            )

    @property
    def _where(self) -> str:
        return f"webhook endpoint {self.name!r}"

    @property
    @abstractmethod
    def masked_url(self) -> str:
        """Where it is, as it may be shown."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts that connections are made to, as far as the list of allowed addresses covers them."""
        return ()

    def confidential(self) -> tuple[str, ...]:
        """Texts that must never be shown."""
        return ()

    def masked(self, text: str) -> str:
        """Return a text with everything in it masked that must not be shown."""
        for secret in sorted(filter(None, self.confidential()), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def wants(self, event_type: str, data: Mapping[str, Any] | None = None) -> bool:
        """Return whether it is told of such an event.

        Parameters
        ----------
        event_type : str
            Such as `alarm.raised`; upper and lower case differ.
        data : mapping, optional
            The event's `data`, which routes look at.
        """
        return any(fnmatch.fnmatchcase(event_type, pattern) for pattern in self.event_types) and (
            not self.routes or any(route.takes(event_type, data or {}) for route in self.routes)
        )


@dataclass(frozen=True)
class WebhookEndpoint(Endpoint):
    """Settings of a receiver over HTTP; further attributes are those of `Endpoint`.

    Attributes
    ----------
    url : str
        `https://…` or `http://…`; it may hold a secret, so it is neither printed nor logged.
    secrets : tuple of str
        `whsec_…`; while rotating, the new and the old one. Never printed. Needed by `standard-webhooks`; other formats
        are signed in the same way where there is one.
    format : str
        One of `connectors.encoders.FORMATS`.
    options : mapping
        What the format needs: `routing_key` (pagerduty; a secret), `source` (cloudevents).
    bearer : str
        A token for the `Authorization` header; a secret.

    Raises
    ------
    ConnectorSettingsError
        When a value is malformed; the message names the endpoint and the key.
    """

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    format: str = field(default="standard-webhooks", kw_only=True)
    options: Mapping[str, str] = field(default_factory=dict, repr=False, kw_only=True)
    bearer: str = field(default="", repr=False, kw_only=True)

    protocol = "http"

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self._where
        parts = _split(self.url)
        if parts is None or parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.raw_host):
            raise ConnectorSettingsError(f"{where}: url must be http://host/… or https://host/…")
        if parts.userinfo:
            raise ConnectorSettingsError(
                f"{where}: url must hold no user name or password; the signature proves who sends"
            )
        if self.format not in FORMATS:
            raise ConnectorSettingsError(f"{where}: format {self.format!r}: choose one of {', '.join(FORMATS)}")
        if not self.secrets and self.format == "standard-webhooks":
            raise ConnectorSettingsError(f"{where}: secrets is empty; give at least one whsec_…")
        for position, secret in enumerate(self.secrets):
            try:
                decode_secret(secret)
            except ConnectorSettingsError as error:
                raise ConnectorSettingsError(f"{where}: secrets[{position}]: {error}") from error
        if not self.bearer.isascii() or not self.bearer.isprintable() or " " in self.bearer:
            raise ConnectorSettingsError(f"{where}: bearer must be printable ASCII without spaces")

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown: scheme, host and port; path and query can hold secrets."""
        return masked_url(self.url)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The URL's host."""
        return (httpx.URL(self.url).host,)

    def confidential(self) -> tuple[str, ...]:
        """The URL's path and query, secrets, and the options that are secrets."""
        parts = httpx.URL(self.url)
        path = parts.raw_path.decode("ascii")
        return (
            *self.secrets, self.bearer, self.options.get("routing_key", ""), self.url,
            # A path of a letter or two would mask half of every text, and keeps nothing secret.
            *(part for part in (path, parts.path, *path.split("/")) if len(part) >= _SHORTEST_CONFIDENTIAL),
        )  # fmt: skip

    def wants(self, event_type: str, data: Mapping[str, Any] | None = None) -> bool:
        """Return whether it is told of such an event, and its format has words for it."""
        return FORMATS[self.format].has_words_for(event_type) and super().wants(event_type, data)


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
    endpoints: Iterable[Endpoint],
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
    endpoints : iterable of Endpoint
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
        One for each endpoint that wants the event.
    """
    # Routes alone look into the body.
    data: Mapping[str, Any] = {}
    endpoints = tuple(endpoints)
    if any(endpoint.routes for endpoint in endpoints):
        data = msgspec.json.decode(body).get("data") or {}
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
        if endpoint.wants(event_type, data)
    )


def _webhook_id(*parts: str | int) -> str:
    # Lengths before the parts, so that no two lists of parts run together into one text.
    text = "".join(f"{len(str(part))}:{part}" for part in parts)
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:40]}"
