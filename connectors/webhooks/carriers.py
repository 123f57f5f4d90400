"""Carrying one delivery to its endpoint, whatever its protocol; what the network does comes back as an answer."""

import hashlib
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import httpx

from connectors.encoders import FORMATS, Message
from connectors.webhooks.addresses import AddressPolicy, guarded_transport
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.endpoint import Endpoint, WebhookEndpoint
from connectors.webhooks.judgement import Answer
from connectors.webhooks.mail import MailEndpoint, send_mail
from connectors.webhooks.messages import message_for
from connectors.webhooks.signing import signed_headers
from connectors.webhooks.topic import TopicEndpoint, TopicWriter

__all__ = ["Carrier"]

# As much of a refusal's body as is kept to explain it.
_EXCERPT_BYTES = 200
_USER_AGENT = "tsad-webhooks/1"


class Carrier:
    """Sends messages; safe to use from several threads, one at a time for each endpoint.

    Parameters
    ----------
    policy : AddressPolicy, optional
        Which addresses may be connected to.
    transport : httpx.BaseTransport, optional
        What carries HTTP requests, instead of one that keeps to the policy.
    """

    def __init__(self, policy: AddressPolicy | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self._policy = policy or AddressPolicy()
        # A transport, not a client: a client would log whole URLs, keep cookies, and can follow redirects.
        self._transport = transport or guarded_transport(self._policy)
        self._topics = TopicWriter()

    def send(self, endpoint: Endpoint, entry: Delivery, now: datetime, *, keep_answer: bool = False) -> Answer:
        """Send one delivery.

        Parameters
        ----------
        endpoint : Endpoint
            Where to.
        entry : Delivery
            What.
        now : datetime
            Aware time of the attempt.
        keep_answer : bool, optional
            Keep the beginning of the answer's body of a success too.
        """
        try:
            message = message_for(endpoint, entry)
        except ValueError as error:
            return Answer(None, endpoint.masked(str(error)), None, 0.0, permanent=True)
        answer = self.carry(endpoint, message, entry.webhook_id, now, keep_answer=keep_answer)
        return replace(answer, body_sha256=hashlib.sha256(message.body).hexdigest())

    def carry(
        self, endpoint: Endpoint, message: Message, webhook_id: str, now: datetime, *, keep_answer: bool = False
    ) -> Answer:
        """Send a message that was made already; parameters as of `send`."""
        if isinstance(endpoint, MailEndpoint):
            return send_mail(endpoint, message, self._policy)
        if isinstance(endpoint, TopicEndpoint):
            return self._topics.send(endpoint, message)
        if isinstance(endpoint, WebhookEndpoint):
            return self._post(endpoint, message, webhook_id, now, keep_answer=keep_answer)
        raise TypeError(f"endpoint {endpoint.name!r}: nothing carries a {type(endpoint).__name__}")

    def close(self) -> None:
        """Close connections."""
        self._transport.close()
        self._topics.close()

    def _post(
        self, endpoint: WebhookEndpoint, message: Message, webhook_id: str, now: datetime, *, keep_answer: bool
    ) -> Answer:
        headers = {"content-type": message.content_type, "user-agent": _USER_AGENT, **dict(message.headers)}
        if endpoint.secrets:
            headers |= signed_headers(endpoint.secrets, webhook_id, now, message.body)
        if endpoint.bearer:
            headers["authorization"] = f"Bearer {endpoint.bearer}"
        timeout = httpx.Timeout(endpoint.timeout_seconds).as_dict()
        request = httpx.Request(
            "POST", endpoint.url, headers=headers, content=message.body, extensions={"timeout": timeout}
        )
        began = time.perf_counter()
        try:
            with closing(self._transport.handle_request(request)) as response:
                status = response.status_code
                well = 200 <= status < 300
                excerpt = _excerpt(response) if keep_answer or not well else None
                retry_after = response.headers.get("retry-after")
        except httpx.TransportError as error:
            text = endpoint.masked(f"{type(error).__name__}: {error}".removesuffix(": "))
            return Answer(None, text, None, 1_000.0 * (time.perf_counter() - began))
        # A receiver may repeat what it was sent, its own address and keys among it.
        excerpt = None if excerpt is None else endpoint.masked(excerpt)
        return Answer(
            status,
            excerpt,
            retry_after,
            1_000.0 * (time.perf_counter() - began),
            permanent=status in FORMATS[endpoint.format].refusals,
        )


def _excerpt(response: httpx.Response) -> str | None:
    """Return the beginning of an answer's body on one line; the rest is never read."""
    seen = b""
    for chunk in response.iter_raw():
        seen += chunk
        if len(seen) >= _EXCERPT_BYTES:
            break
    text = " ".join(seen[:_EXCERPT_BYTES].decode("utf-8", errors="replace").split())
    return text or None
