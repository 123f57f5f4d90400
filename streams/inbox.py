"""Records that come through the HTTP door: another partition of their topic, committed as all others are."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from connectors.sources.base import Position, RecordBatch
from streams.errors import InboxFullError

__all__ = ["INBOX_PARTITION", "Inbox"]

INBOX_PARTITION = 1_000_000
"""Above any partition of a broker; offsets count what came through the door."""


class Inbox:
    """Hands records from other threads to the worker, and tells when they are committed.

    What was not committed when the process died was not acknowledged either: the sender sends it again, and inspections
    are recognised by their id.

    Parameters
    ----------
    hand_over
        The worker's queue.
    positions
        Where each partition stands.
    now
        The wall clock, for times of arrival.
    """

    def __init__(
        self,
        hand_over: "queue.Queue[list[RecordBatch]]",
        positions: Mapping[Position, int],
        now: Callable[[], datetime],
    ) -> None:
        self._hand_over = hand_over
        self._next = {topic: offset for (topic, partition), offset in positions.items() if partition == INBOX_PARTITION}
        self._committed = dict(self._next)
        self._now = now
        self._changed = threading.Condition()

    def put(self, topic: str, values: Sequence[bytes]) -> int:
        """Hand over records; returns the offset behind them, for `wait`.

        Raises
        ------
        InboxFullError
            The worker is behind; nothing was taken.
        """
        with self._changed:
            first = self._next.get(topic, 0)
            arrival = round(self._now().timestamp() * 1e6) * 1_000
            batch = RecordBatch(
                topic, INBOX_PARTITION, list(values), np.arange(first, first + len(values), dtype=np.int64),
                np.full(len(values), arrival, np.int64),
            )  # fmt: skip
            try:
                self._hand_over.put_nowait([batch])
            except queue.Full:
                raise InboxFullError("records come faster than they are stored; send them again later") from None
            self._next[topic] = batch.next_offset
            return batch.next_offset

    def committed(self, positions: Mapping[Position, int]) -> None:
        """Take note of what is stored."""
        with self._changed:
            for (topic, partition), offset in positions.items():
                if partition == INBOX_PARTITION:
                    self._committed[topic] = offset
            self._changed.notify_all()

    def wait(self, topic: str, offset: int, timeout: float) -> bool:
        """Wait until everything before `offset` is stored; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._committed.get(topic, 0) >= offset, timeout)
