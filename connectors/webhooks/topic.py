"""Alarms on a Kafka topic: settings, and one acknowledged record a delivery."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from connectors.encoders import Message
from connectors.errors import ConnectorSettingsError
from connectors.webhooks.endpoint import Endpoint
from connectors.webhooks.judgement import Answer

__all__ = ["TopicEndpoint", "TopicWriter"]

_SECRET_OPTIONS = ("password", "secret", "token")
_LONGEST_TOPIC = 249
_GRACE_SECONDS = 2.0

_log = structlog.get_logger("connectors.webhooks")


@dataclass(frozen=True)
class TopicEndpoint(Endpoint):
    """A topic that gets every event as a CloudEvent (binary mode), keyed by alarm; further attributes are `Endpoint`'s.

    Attributes
    ----------
    bootstrap : tuple of str
        `host:port` of brokers. They are trusted as those of the source are: the list of allowed addresses does not
        cover them.
    topic : str
        Its name.
    source : str
        CloudEvents' `source`.
    options : mapping
        Further settings of `kafka.KafkaProducer`.

    Raises
    ------
    ConnectorSettingsError
        When a value is malformed; the message names the endpoint and the key.
    """

    bootstrap: tuple[str, ...]
    topic: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    protocol = "kafka"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.bootstrap:
            raise ConnectorSettingsError(f"{self._where}: bootstrap is empty; give host:port of a broker")
        if not 1 <= len(self.topic) <= _LONGEST_TOPIC:
            raise ConnectorSettingsError(f"{self._where}: topic must have 1 to {_LONGEST_TOPIC} characters")

    @property
    def masked_url(self) -> str:
        """Brokers and topic."""
        return f"kafka://{','.join(self.bootstrap)}/{self.topic}"

    def confidential(self) -> tuple[str, ...]:
        """Passwords among the options."""
        return tuple(
            str(value) for key, value in self.options.items() if any(word in key for word in _SECRET_OPTIONS) and value
        )


class TopicWriter:
    """Keeps one producer an endpoint. A producer that failed is dropped with what it still held.

    What it held is sent again by the outbox, so a record may come twice, and never after a later one of its alarm: the
    next delivery of an alarm is not begun before the broker has acknowledged the one before.
    """

    def __init__(self) -> None:
        self._producers: dict[str, Any] = {}
        self._lock = threading.Lock()

    def send(self, endpoint: TopicEndpoint, message: Message) -> Answer:
        """Write one record and wait for its acknowledgement; whatever happens comes back as an answer."""
        began = time.perf_counter()
        headers = [("content-type", message.content_type.encode())]
        headers += [(name, value.encode()) for name, value in message.headers]
        try:
            producer = self._producer(endpoint)
            acknowledged = producer.send(endpoint.topic, message.body, key=message.key, headers=headers)
            acknowledged.get(endpoint.timeout_seconds + _GRACE_SECONDS)
        except (KafkaError, OSError) as error:
            self._drop(endpoint.name)
            text = endpoint.masked(f"{type(error).__name__}: {error}")
            return Answer(None, text, None, 1_000.0 * (time.perf_counter() - began))
        return Answer(None, None, None, 1_000.0 * (time.perf_counter() - began), delivered=True)

    def close(self) -> None:
        """Close all producers."""
        for name in list(self._producers):
            self._drop(name)

    def _producer(self, endpoint: TopicEndpoint) -> Any:
        with self._lock:
            known = self._producers.get(endpoint.name)
        if known is not None:
            return known
        # A record that was not acknowledged in time is given up by the producer itself, before its future is: nothing
        # is left in a producer that is dropped.
        milliseconds = round(endpoint.timeout_seconds * 1_000)
        producer = KafkaProducer(
            bootstrap_servers=list(endpoint.bootstrap),
            **{
                "client_id": "tsad-alarms",
                "bootstrap_timeout_ms": milliseconds,
                "max_block_ms": milliseconds,
                "request_timeout_ms": milliseconds // 2,
                "delivery_timeout_ms": milliseconds,
                "acks": "all",
                **endpoint.options,
            },
        )
        with self._lock:
            self._producers[endpoint.name] = producer
        return producer

    def _drop(self, name: str) -> None:
        with self._lock:
            producer = self._producers.pop(name, None)
        if producer is not None:
            try:
                producer.close(timeout=_GRACE_SECONDS)
            except KafkaError as error:
                _log.warning("a producer could not be closed in time", endpoint=name, error=repr(error))
