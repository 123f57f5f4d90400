"""Kafka through kafka-python: partitions are assigned by hand, positions are the caller's."""

import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from connectors.sources.base import Gap, Position, RecordBatch, SourceHealth
from connectors.sources.kafka_records import read_fast

__all__ = ["KafkaSource"]

_log = structlog.get_logger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_PROBE_EVERY = 5.0
_PARTITIONS_EVERY = 30.0
_REQUEST_TIMEOUT_MS = 5000


class KafkaSource:
    """Reads all partitions of some topics.

    There is no consumer group: the history knows where to go on, and only one process may write it. A broker that is
    away, at the start or later, is tried again with growing waits; `health` tells meanwhile.

    Parameters
    ----------
    bootstrap
        ``host:port`` of one or more brokers.
    topics
        Topics to read. One that does not exist yet is waited for.
    start
        Where to begin in a partition without a stored position.
    batch_records
        Records that one poll hands over at most.
    options
        Further settings of `kafka.KafkaConsumer`, e.g. ``security_protocol``.
    monotonic
        The clock of waits, in seconds.
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
        self._bootstrap = list(bootstrap)
        self._topics = list(topics)
        self._start = start
        self._batch_records = batch_records
        self._options = dict(options or {})
        self._monotonic = monotonic
        self._positions: dict[Position, int] = {}
        self._consumer: Any = None
        self._paused = False
        self._health = SourceHealth(connected=False, detail="not connected yet")
        self._wait = _FIRST_WAIT
        self._next_try = 0.0
        self._next_probe = 0.0
        self._next_partitions = 0.0
        self._gaps: list[Gap] = []
        if find_spec("crc32c") is None:
            _log.warning(
                "crc32c is not installed: reading from Kafka is about five times slower",
                remedy="pip install 'kafka-python[crc32c]'",
            )

    def open(self, positions: Mapping[Position, int]) -> None:
        """Begin at `positions`; the connection is made by the first `poll`."""
        self._positions = {p: offset for p, offset in positions.items() if p[0] in self._topics}

    def poll(self, timeout: float) -> list[RecordBatch]:
        """Wait up to `timeout` seconds for records."""
        now = self._monotonic()
        if self._consumer is None:
            if now < self._next_try:
                time.sleep(min(timeout, self._next_try - now))
                return []
            self._connect()
            return []
        try:
            records = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=self._batch_records)
            if now >= self._next_partitions:
                self._take_new_partitions()
            batches = [self._batch(partition, found) for partition, found in records.items()]
            if batches:
                self._next_probe = now + _PROBE_EVERY
                self._health = SourceHealth(connected=True, detail="reading", lag=self._lag())
            elif now >= self._next_probe:
                self._probe()
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            self._skip_expired(error)
            return []
        except KafkaError as error:
            self._lost(error)
            return []
        return batches

    def _batch(self, partition: TopicPartition, found: list[Any]) -> RecordBatch:
        n = len(found)
        self._positions[partition.topic, partition.partition] = found[-1].offset + 1
        return RecordBatch(
            partition.topic,
            partition.partition,
            [record.value for record in found],
            np.fromiter((record.offset for record in found), dtype=np.int64, count=n),
            np.fromiter((record.timestamp for record in found), dtype=np.int64, count=n) * 1_000_000,
        )

    # ------------------------------------------------------------------------------------------------ connection

    def _connect(self) -> None:
        try:
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._bootstrap,
                **{
                    "enable_auto_commit": False,
                    "auto_offset_reset": "none",
                    "isolation_level": "read_committed",
                    "allow_auto_create_topics": False,
                    "max_partition_fetch_bytes": 8 << 20,
                    "fetch_max_wait_ms": 100,
                    "metrics_enabled": False,
                    "bootstrap_timeout_ms": _REQUEST_TIMEOUT_MS,
                    "client_id": "tsad",
                    **self._options,
                },
            )
            read_fast(self._consumer)
            self._assign()
        except KafkaError as error:
            self._lost(error)
        else:
            self._wait = _FIRST_WAIT

    def _assign(self) -> None:
        """Take all partitions that exist now, each at its position."""
        partitions, missing = [], []
        for topic in self._topics:
            numbers = self._consumer.partitions_for_topic(topic)
            if numbers:
                partitions += [TopicPartition(topic, number) for number in sorted(numbers)]
            else:
                missing.append(topic)
        self._next_partitions = self._monotonic() + (1.0 if missing else _PARTITIONS_EVERY)
        fresh = [p for p in partitions if (p.topic, p.partition) not in self._positions]
        if fresh:
            find = self._consumer.beginning_offsets if self._start == "earliest" else self._consumer.end_offsets
            for partition, offset in find(fresh, timeout_ms=_REQUEST_TIMEOUT_MS).items():
                self._positions[partition.topic, partition.partition] = offset
        if set(partitions) != self._consumer.assignment():
            self._consumer.assign(partitions)
            for partition in partitions:
                self._consumer.seek(partition, self._positions[partition.topic, partition.partition])
            if self._paused:
                self._consumer.pause(*partitions)
            _log.info("kafka partitions assigned", partitions=[f"{p.topic}/{p.partition}" for p in partitions])
        if missing:
            detail = f"waiting for topic {missing[0]!r} to exist at {', '.join(self._bootstrap)}"
            self._health = SourceHealth(connected=bool(partitions), detail=detail)
        else:
            self._probe()

    def _take_new_partitions(self) -> None:
        self._assign()

    def _probe(self) -> None:
        """Ask the broker for the ends: proves the connection, and gives the lag."""
        self._next_probe = self._monotonic() + _PROBE_EVERY
        partitions = list(self._consumer.assignment())
        if not partitions:
            return
        ends = self._consumer.end_offsets(partitions, timeout_ms=_REQUEST_TIMEOUT_MS)
        lag = sum(max(0, end - self._positions[p.topic, p.partition]) for p, end in ends.items())
        self._health = SourceHealth(connected=True, detail="reading", lag=lag)

    def _lag(self) -> int:
        lag = 0
        for (topic, number), position in self._positions.items():
            end = self._consumer.highwater(TopicPartition(topic, number))
            lag += max(0, (end or position) - position)
        return lag

    def _lost(self, error: Exception) -> None:
        """Drop the connection and plan the next try."""
        detail = f"{type(error).__name__}: {error} (bootstrap {', '.join(self._bootstrap)})"
        _log.warning("kafka is not reachable", detail=detail, next_try_seconds=self._wait)
        self._health = SourceHealth(connected=False, detail=detail)
        self._drop_consumer()
        self._next_try = self._monotonic() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def _skip_expired(self, error: Exception) -> None:
        """Records were deleted by retention before they were read: go on at the first that is left, and say so."""
        partitions = list(self._consumer.assignment())
        try:
            first = self._consumer.beginning_offsets(partitions, timeout_ms=_REQUEST_TIMEOUT_MS)
            last = self._consumer.end_offsets(partitions, timeout_ms=_REQUEST_TIMEOUT_MS)
        except KafkaError as further:
            self._lost(further)
            return
        for partition in partitions:
            key = (partition.topic, partition.partition)
            position = self._positions[key]
            if first[partition] <= position <= last[partition]:
                continue
            # Behind the start: retention. Past the end: the topic was made anew.
            onward = first[partition]
            self._gaps.append(Gap(*key, position, onward))
            _log.error("records are gone from kafka", topic=key[0], partition=key[1], expected=position, found=onward)
            self._positions[key] = onward
        _log.warning("kafka positions were out of range", error=str(error))
        for partition in partitions:
            self._consumer.seek(partition, self._positions[partition.topic, partition.partition])

    def _drop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close(autocommit=False, timeout_ms=1000)
            except KafkaError as error:
                _log.info("closing the kafka consumer failed", error=str(error))

    # ------------------------------------------------------------------------------------------------ the rest

    def take_gaps(self) -> list[Gap]:
        """Ranges of records that were gone before they could be read, since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def set_paused(self, paused: bool) -> None:
        """Stop or go on fetching; the connection stays alive as long as `poll` is called."""
        if paused != self._paused:
            self._paused = paused
            if self._consumer is not None:
                partitions = self._consumer.assignment()
                (self._consumer.pause if paused else self._consumer.resume)(*partitions)

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
        self._drop_consumer()
