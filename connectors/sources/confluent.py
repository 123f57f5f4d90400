"""Kafka through confluent-kafka (librdkafka): the same source, behind the extra ``fast-kafka``."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
import structlog

from connectors.errors import ConnectorSettingsError
from connectors.sources.base import Gap, Position, RecordBatch, SourceHealth

__all__ = ["ConfluentSource"]

_log = structlog.get_logger(__name__)

_PROBE_EVERY = 5.0
_REQUEST_SECONDS = 5.0


class ConfluentSource:
    """Reads all partitions of some topics; parameters as for `connectors.sources.kafka.KafkaSource`.

    `options` are settings of librdkafka, with dots.

    Raises
    ------
    ConnectorSettingsError
        confluent-kafka is not installed.
    """

    def __init__(
        self,
        bootstrap: Sequence[str],
        topics: Sequence[str],
        *,
        start: Literal["earliest", "latest"] = "earliest",
        batch_records: int = 10_000,
        options: Mapping[str, Any] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            import confluent_kafka  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConnectorSettingsError(
                "source.client is confluent, and confluent-kafka is missing: pip install 'tsad-service[fast-kafka]'"
            ) from error
        self._kafka: Any = confluent_kafka
        codes = confluent_kafka.KafkaError
        self._out_of_range = {codes._AUTO_OFFSET_RESET, codes.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - its public name
        self._topics = list(topics)
        self._start = start
        self._batch_records = batch_records
        self._monotonic = monotonic
        self._positions: dict[Position, int] = {}
        self._assigned: list[Position] = []
        self._paused = False
        self._gaps: list[Gap] = []
        self._next_probe = 0.0
        self._health = SourceHealth(connected=False, detail="not connected yet")
        # librdkafka connects, and connects again, by itself.
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": ",".join(bootstrap),
                "group.id": "tsad",  # required by the client; nothing is ever committed to it
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "allow.auto.create.topics": False,
                **(options or {}),
            },
        )

    def open(self, positions: Mapping[Position, int]) -> None:
        """Begin at `positions`; the connection is made in the background."""
        self._positions = {p: offset for p, offset in positions.items() if p[0] in self._topics}

    def poll(self, timeout: float) -> list[RecordBatch]:
        """Wait up to `timeout` seconds for records."""
        if self._monotonic() >= self._next_probe:
            self._probe()
        if not self._assigned:
            time.sleep(timeout)
            return []
        messages = []
        for message in self._consumer.consume(self._batch_records, timeout):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() in self._out_of_range:
                self._skip_expired()
            else:
                self._health = SourceHealth(connected=False, detail=str(error))
        messages.sort(key=lambda m: (m.topic(), m.partition()))
        return [self._batch(key, list(found)) for key, found in groupby(messages, lambda m: (m.topic(), m.partition()))]

    def _batch(self, key: Position, found: list[Any]) -> RecordBatch:
        n = len(found)
        self._positions[key] = found[-1].offset() + 1
        times = np.fromiter((max(message.timestamp()[1], 0) for message in found), np.int64, n) * 1_000_000
        offsets = np.fromiter((message.offset() for message in found), np.int64, n)
        return RecordBatch(*key, [message.value() for message in found], offsets, times)

    def _probe(self) -> None:
        """Take partitions that are new, and ask for the ends: proves the connection, and gives the lag."""
        self._next_probe = self._monotonic() + _PROBE_EVERY
        try:
            known = self._consumer.list_topics(timeout=_REQUEST_SECONDS).topics
            wanted = [(t, n) for t in self._topics if t in known for n in sorted(known[t].partitions)]
            missing = [t for t in self._topics if t not in known or not known[t].partitions]
            ends = {key: self._watermarks(key) for key in wanted}
        except self._kafka.KafkaException as error:
            self._health = SourceHealth(connected=False, detail=str(error))
            return
        for key, (low, high) in ends.items():
            self._positions.setdefault(key, low if self._start == "earliest" else high)
        if wanted != self._assigned:
            self._assign(wanted)
        lag = sum(max(0, high - self._positions[key]) for key, (_, high) in ends.items())
        detail = f"waiting for topic {missing[0]!r} to exist" if missing else "reading"
        self._health = SourceHealth(connected=bool(wanted), detail=detail, lag=lag)

    def _watermarks(self, key: Position) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            self._kafka.TopicPartition(*key), timeout=_REQUEST_SECONDS, cached=False
        )
        return int(low), int(high)

    def _assign(self, wanted: list[Position]) -> None:
        partitions = [self._kafka.TopicPartition(*key, self._positions[key]) for key in wanted]
        self._consumer.assign(partitions)
        self._assigned = wanted
        if self._paused:
            self._consumer.pause(partitions)
        _log.info("kafka partitions assigned", partitions=[f"{topic}/{number}" for topic, number in wanted])

    def _skip_expired(self) -> None:
        """Records were deleted by retention before they were read: go on at the first that is left, and say so."""
        for key in self._assigned:
            low, high = self._watermarks(key)
            position = self._positions[key]
            if low <= position <= high:
                continue
            self._gaps.append(Gap(*key, position, low))
            _log.error("records are gone from kafka", topic=key[0], partition=key[1], expected=position, found=low)
            self._positions[key] = low
        self._assign(self._assigned)

    def take_gaps(self) -> list[Gap]:
        """Ranges of records that were gone before they could be read, since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def set_paused(self, paused: bool) -> None:
        """Stop or go on fetching."""
        if paused != self._paused:
            self._paused = paused
            partitions = [self._kafka.TopicPartition(*key) for key in self._assigned]
            (self._consumer.pause if paused else self._consumer.resume)(partitions)

    @property
    def finished(self) -> bool:
        """A topic has no end."""
        return False

    @property
    def health(self) -> SourceHealth:
        """Connection and lag as last seen."""
        return self._health

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
