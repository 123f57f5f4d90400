"""Copies dead letters from the history to a Kafka topic, at least once."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from connectors.history.database import History

__all__ = ["DeadLetterPublisher"]

_log = structlog.get_logger(__name__)

_EVERY = 1.0
_AT_ONCE = 500
_TIMEOUT_SECONDS = 10.0


class DeadLetterPublisher:
    """A thread that publishes what has not been published yet.

    The table is the truth; a row is marked when the broker has acknowledged its copy. Headers say where the record
    stood (``tsad-topic``, ``tsad-partition``, ``tsad-offset``) and why it is here (``tsad-reason``, ``tsad-detail``).

    Parameters
    ----------
    history
        The open history.
    bootstrap, topic, options
        Where to publish, with settings of `kafka.KafkaProducer`.
    """

    def __init__(self, history: History, bootstrap: Sequence[str], topic: str, options: Mapping[str, Any]) -> None:
        self._history = history
        self._bootstrap = list(bootstrap)
        self._topic = topic
        self._options = dict(options)
        self._producer: Any = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dead-letters")
        self.problem: str | None = None
        """Why the last try failed; None while all is well."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Publish once more, and end."""
        self._stop.set()
        self._thread.join()
        if self._producer is not None:
            self._producer.close(2.0)

    def _run(self) -> None:
        while True:
            ending = self._stop.wait(_EVERY)
            try:
                while self.publish():
                    pass
                self.problem = None
            except KafkaError as error:
                self.problem = f"{type(error).__name__}: {error}"
                _log.warning("dead letters cannot be published; they stay in the history", problem=self.problem)
            if ending:
                return

    def publish(self) -> int:
        """Publish a stretch of dead letters; returns how many.

        Raises
        ------
        KafkaError
            The broker did not acknowledge; none of the stretch is marked.
        """
        letters = self._history.unpublished_dead_letters(_AT_ONCE)
        if not letters:
            return 0
        if self._producer is None:
            self._producer = KafkaProducer(
                bootstrap_servers=self._bootstrap,
                **{"bootstrap_timeout_ms": 5000, "client_id": "tsad-dead-letters", **self._options},
            )
        sent = [
            self._producer.send(
                self._topic,
                letter.payload,
                headers=[
                    ("tsad-topic", letter.topic.encode()),
                    ("tsad-partition", str(letter.partition).encode()),
                    ("tsad-offset", str(letter.offset).encode()),
                    ("tsad-reason", letter.reason.encode()),
                    ("tsad-detail", letter.detail.encode()),
                ],
            )
            for letter in letters
        ]
        self._producer.flush(_TIMEOUT_SECONDS)
        for future in sent:
            future.get(_TIMEOUT_SECONDS)
        self._history.mark_published(letters)
        return len(letters)
