"""Publishing to Kafka, paced: event time runs evenly, and as much faster than the clock as asked."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_feed import Outgoing

__all__ = ["Pace", "Publisher", "kafka_producer"]

_TICK_SECONDS = 0.05
_FLUSH_SECONDS = 20.0


class Producer(Protocol):
    """What the publisher needs of a Kafka producer."""

    def send(self, topic: str, value: bytes, key: bytes) -> Any:
        """Hand a record over; returns a future with `exception`."""

    def flush(self, timeout: float) -> Any:
        """Wait until all were acknowledged."""

    def close(self, timeout: float) -> Any:
        """End."""


def kafka_producer(bootstrap: str) -> Producer:
    """Connect a producer.

    Raises
    ------
    DemoError
        The broker does not answer.
    """
    try:
        producer: Producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, acks="all")
    except KafkaError as error:
        raise DemoError(f"nothing can be published to {bootstrap}: {type(error).__name__}: {error}") from error
    return producer


class Pace:
    """When a record of an event time is due.

    Parameters
    ----------
    start, end : int
        Event times, nanoseconds.
    seconds : float
        How long the whole takes.
    """

    def __init__(self, start: int, end: int, seconds: float) -> None:
        self._start = start
        self._rate = (end - start) / seconds

    def due(self, time_ns: int) -> float:
        """Seconds after the beginning at which a record of this event time is sent."""
        return (time_ns - self._start) / self._rate


class Publisher:
    """Sends records on a thread of its own.

    Parameters
    ----------
    producer : Producer
        Closed at the end.
    records : sequence of Outgoing
        In order of event time.
    pace : Pace
        When each is due.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    sent : dict of str to int
        Acknowledged or handed over, by topic.
    """

    def __init__(
        self,
        producer: Producer,
        records: Sequence[Outgoing],
        pace: Pace,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = producer
        self._records = records
        self._pace = pace
        self._clock = clock
        self._stop = threading.Event()
        self._done = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._reached = records[0].time if records else 0
        self.sent: dict[str, int] = {}

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End now; what was handed over is flushed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def finished(self) -> bool:
        """Whether everything was sent and acknowledged.

        Raises
        ------
        DemoError
            A record could not be delivered.
        """
        if self._failure is not None:
            raise DemoError(f"publishing failed: {type(self._failure).__name__}: {self._failure}") from self._failure
        return self._done.is_set()

    @property
    def reached(self) -> int:
        """The event time that publishing has come to."""
        return self._reached

    @property
    def total(self) -> int:
        """How many records were sent so far."""
        return sum(self.sent.values())

    def _run(self) -> None:
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001 - handed on by `finished`
            self._failure = error

    def _publish(self) -> None:
        began = self._clock()
        pending: list[Any] = []
        try:
            for record in self._records:
                due = began + self._pace.due(record.time)
                while (wait := due - self._clock()) > 0:
                    # One wait for many records: a wake-up each would cost more than sending them.
                    if self._stop.wait(max(wait, _TICK_SECONDS)):
                        return
                    _raise_failed(pending)
                if self._stop.is_set():
                    return
                pending.append(self._producer.send(record.topic, value=record.value, key=record.key))
                self._reached = record.time
                self.sent[record.topic] = self.sent.get(record.topic, 0) + 1
        finally:
            self._producer.flush(timeout=_FLUSH_SECONDS)
            self._producer.close(timeout=_FLUSH_SECONDS)
        _raise_failed(pending)
        self._done.set()


def _raise_failed(pending: list[Any]) -> None:
    """Raise the failure of a delivery, and forget those that ended well."""
    for future in pending:
        if future.is_done and future.exception is not None:
            raise future.exception
    pending[:] = [future for future in pending if not future.is_done]
