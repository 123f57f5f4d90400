"""A fast reader of Kafka record batches for kafka-python's consumer.

kafka-python walks every record in Python, which costs about 10 µs a record and is most of the daemon's processor time.
Here a compiled loop finds where the values of a whole batch stand. Only the walk over records is replaced: fetching,
decompression, checksums, transactions and positions stay kafka-python's.

Source of the record format: Apache Kafka protocol guide, "Record Batch" (magic 2).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import structlog
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from numba import njit

__all__ = ["FastRecord", "read_fast", "scan_records"]

_log = structlog.get_logger(__name__)


class FastRecord(NamedTuple):
    """What the source needs of a record; `timestamp` in ms."""

    offset: int
    timestamp: int
    value: bytes | None


@njit(cache=True, nogil=True)
def _varint(buffer, position):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """A zig-zag varint and the position behind it; position -1 where the buffer ends within it."""
    result = np.uint64(0)
    shift = np.uint64(0)
    while position < len(buffer) and shift < 64:
        byte = np.uint64(buffer[position])
        position += 1
        result |= (byte & np.uint64(127)) << shift
        if byte < 128:
            return np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1)), position
        shift += np.uint64(7)
    return np.int64(0), -1


@njit(cache=True, nogil=True)
def scan_records(buffer, position, count, deltas, starts, stops):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Find the values of `count` records.

    Parameters
    ----------
    buffer
        uint8[n], the uncompressed records of a batch from `position` on.
    position, count
        Where the first record begins, and how many there are.
    deltas
        int64[count, 2], receives time-stamp and offset deltas.
    starts, stops
        int64[count], receive where each value stands; a start of -1 says that there is none.

    Returns
    -------
    bool
        False where the batch is not as the format says.
    """
    for i in range(count):
        length, position = _varint(buffer, position)
        if position < 0 or length < 0:
            return False
        end = position + length
        if end > len(buffer):
            return False
        position += 1  # attributes, unused
        deltas[i, 0], position = _varint(buffer, position)
        if position < 0:
            return False
        deltas[i, 1], position = _varint(buffer, position)
        if position < 0:
            return False
        key_length, position = _varint(buffer, position)
        if position < 0:
            return False
        position += max(key_length, 0)
        value_length, position = _varint(buffer, position)
        if position < 0 or position + max(value_length, 0) > end:
            return False
        starts[i] = position if value_length >= 0 else -1
        stops[i] = position + max(value_length, 0)
        # Headers are passed over: the record says where it ends.
        position = end
    return position == len(buffer)


class _FastPartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """kafka-python's iterator over fetched records, with the walk over a batch replaced."""

    def _unpack_records(
        self, tp: Any, records: Any, key_deserializer: Any, value_deserializer: Any
    ) -> Iterator[FastRecord]:
        del key_deserializer, value_deserializer  # the source hands over bytes
        last_offset = None
        while (batch := records.next_batch()) is not None:
            if batch.magic == 2:
                last_offset = batch.next_offset
                self.leader_epoch = batch.leader_epoch
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(f"record batch of {tp} at offset {batch.base_offset} failed its checksum")
            if batch.magic == 2 and self._is_passed_over(batch):
                self.next_fetch_offset = batch.next_offset
                continue
            for record in _fast(batch) if batch.magic == 2 else batch:
                self.records_read += 1
                self.next_fetch_offset = record.offset + 1
                yield record
        if last_offset is not None:
            # A batch keeps its last offset even where compaction has taken its last records.
            self.next_fetch_offset = last_offset
        self.drain()

    def _is_passed_over(self, batch: Any) -> bool:
        """Whether a batch is a transaction marker, or of an aborted transaction."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _fast(batch: Any) -> Iterator[FastRecord]:
    """The records of a batch.

    Raises
    ------
    CorruptRecordError
        The batch is not as the format says.
    """
    batch._maybe_uncompress()  # noqa: SLF001 - see `read_fast`
    count = batch.records_count
    data = bytes(batch._buffer)  # noqa: SLF001
    buffer: npt.NDArray[np.uint8] = np.frombuffer(data, dtype=np.uint8)
    deltas = np.empty((count, 2), dtype=np.int64)
    starts, stops = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    if not scan_records(buffer, batch._pos, count, deltas, starts, stops):  # noqa: SLF001
        raise CorruptRecordError(f"record batch at offset {batch.base_offset} does not hold its {count} records")
    if batch.timestamp_type == batch.LOG_APPEND_TIME:
        times = [batch.max_timestamp] * count
    else:
        times = (deltas[:, 0] + batch.first_timestamp).tolist()
    offsets = (deltas[:, 1] + batch.base_offset).tolist()
    values = [data[a:b] if a >= 0 else None for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
    return map(FastRecord, offsets, times, values)


def read_fast(consumer: Any) -> bool:
    """Make a `kafka.KafkaConsumer` hand over `FastRecord` instead of its own records.

    It relies on parts of kafka-python that are not public. Where a version lacks them the consumer is left as it is,
    which is slower and otherwise the same, and a warning is logged.

    Returns
    -------
    bool
        Whether it could be done.
    """
    fetcher = getattr(consumer, "_fetcher", None)
    parts = ("_contains_abort_marker", "_is_batch_aborted", "_consume_aborted_transactions_up_to", "drain")
    known = hasattr(DefaultRecordBatch, "_maybe_uncompress") and all(
        hasattr(Fetcher.PartitionRecords, name) for name in parts
    )
    if fetcher is None or not known:
        _log.warning("this kafka-python is read record by record, which is several times slower")
        return False
    fetcher.PartitionRecords = _FastPartitionRecords
    return True
