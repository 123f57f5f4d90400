"""Alarms by e-mail: settings of a mail server, and one SMTP conversation a message."""

import re
import smtplib
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.encoders import Message
from connectors.errors import ConnectorSettingsError
from connectors.webhooks.addresses import AddressPolicy
from connectors.webhooks.endpoint import Endpoint
from connectors.webhooks.judgement import Answer

__all__ = ["MailEndpoint", "send_mail"]

_ADDRESS = re.compile(r"[!-;=?-~]{1,64}@[A-Za-z0-9.\-\[\]:]{1,255}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_TLS = ("starttls", "implicit", "none")
_LONGEST_EXCERPT = 200
_UNAVAILABLE = 421


@dataclass(frozen=True)
class MailEndpoint(Endpoint):
    """Settings of a mail server and its recipients; further attributes are those of `Endpoint`.

    Attributes
    ----------
    host, port
        The server.
    sender : str
        Address in `From`, and the one that bounces go to.
    recipients : tuple of str
        Addresses; all of them get one message.
    tls : str
        `starttls`, `implicit` (from the first byte) or `none`.
    username, password : str
        For a server that wants a log-in; never without TLS.

    Raises
    ------
    ConnectorSettingsError
        When a value is malformed; the message names the endpoint and the key.
    """

    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    tls: str = "starttls"
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    protocol = "smtp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _HOST.fullmatch(self.host) or not 1 <= self.port <= 65_535:
            raise ConnectorSettingsError(f"{self._where}: host and port must name a mail server")
        if self.tls not in _TLS:
            raise ConnectorSettingsError(f"{self._where}: tls {self.tls!r}: choose one of {', '.join(_TLS)}")
        if not self.recipients:
            raise ConnectorSettingsError(f"{self._where}: recipients is empty")
        for address in (self.sender, *self.recipients):
            if not _ADDRESS.fullmatch(address):
                raise ConnectorSettingsError(f"{self._where}: {address!r} is no plain e-mail address")
        if bool(self.username) != bool(self.password):
            raise ConnectorSettingsError(f"{self._where}: give username and password together, or neither")
        if self.password and self.tls == "none":
            raise ConnectorSettingsError(f"{self._where}: a password needs tls: starttls or tls: implicit")

    @property
    def masked_url(self) -> str:
        """The server."""
        return f"smtp://{self.host}:{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The server's host."""
        return (self.host,)

    def confidential(self) -> tuple[str, ...]:
        """The log-in."""
        return (self.password, self.username)


def send_mail(endpoint: MailEndpoint, message: Message, policy: AddressPolicy) -> Answer:
    """Hand one message to the server; whatever happens comes back as an answer.

    A refusal for good (SMTP 5xx) is permanent. Where some recipients are refused and others are not, the message is
    delivered with a remark: sending it again would send it twice to the others.
    """
    began = time.perf_counter()

    def answer(status: int | None, error: str | None, *, permanent: bool = False) -> Answer:
        shown = None if error is None else endpoint.masked(" ".join(error.split()))[:_LONGEST_EXCERPT]
        return Answer(status, shown, None, 1_000.0 * (time.perf_counter() - began), permanent=permanent)

    try:
        with _connection(endpoint, policy) as server:
            if endpoint.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if endpoint.password:
                server.login(endpoint.username, endpoint.password)
            refused = server.sendmail(endpoint.sender, endpoint.recipients, message.body)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return answer(max(codes), f"SMTP: {_refusals(error.recipients)}", permanent=min(codes) >= 500)
    except smtplib.SMTPResponseException as error:
        permanent = error.smtp_code >= 500 and error.smtp_code != _UNAVAILABLE
        return answer(error.smtp_code, f"SMTP {error.smtp_code}: {_text(error.smtp_error)}", permanent=permanent)
    except (smtplib.SMTPException, OSError) as error:
        return answer(None, f"{type(error).__name__}: {error}")
    return answer(250, f"refused: {_refusals(refused)}" if refused else None)


def _connection(endpoint: MailEndpoint, policy: AddressPolicy) -> smtplib.SMTP:
    if endpoint.tls == "implicit":
        return _GuardedSslServer(endpoint, policy)
    return _GuardedServer(endpoint, policy)


class _GuardedServer(smtplib.SMTP):
    """Connects to allowed addresses only."""

    def __init__(self, endpoint: MailEndpoint, policy: AddressPolicy) -> None:
        self._policy = policy
        super().__init__(endpoint.host, endpoint.port, timeout=endpoint.timeout_seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._policy.connect(host, port, timeout)


class _GuardedSslServer(smtplib.SMTP_SSL):
    def __init__(self, endpoint: MailEndpoint, policy: AddressPolicy) -> None:
        self._policy = policy
        self._context = ssl.create_default_context()
        super().__init__(endpoint.host, endpoint.port, timeout=endpoint.timeout_seconds, context=self._context)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._policy.connect(host, port, timeout)
        return self._context.wrap_socket(plain, server_hostname=host)


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{address}: {code} {_text(text)}" for address, (code, text) in refused.items())


def _text(message: bytes | str) -> str:
    return message if isinstance(message, str) else message.decode("utf-8", errors="replace")
