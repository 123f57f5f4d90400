"""A source in memory, for tests and embedding."""

from collections.abc import Mapping, Sequence

import numpy as np

from connectors.sources.base import Gap, Position, RecordBatch, SourceHealth

__all__ = ["MemorySource"]


class MemorySource:
    """Hands over given payloads.

    Parameters
    ----------
    topics
        Payloads by topic; their partition is 0 and their offset their index. ``(arrival, payload)`` pairs carry an
        arrival time in ns.
    batch_records
        How many records a poll hands over at most.
    """

    def __init__(
        self, topics: Mapping[str, Sequence[bytes | tuple[int, bytes | None]]], *, batch_records: int = 1000
    ) -> None:
        self._topics = topics
        self._batch_records = batch_records
        self._next: dict[str, int] = {}
        self._paused = False

    def open(self, positions: Mapping[Position, int]) -> None:
        """Begin at `positions`, or at the first payload."""
        self._next = {topic: positions.get((topic, 0), 0) for topic in self._topics}

    def poll(self, timeout: float) -> list[RecordBatch]:  # noqa: ARG002
        """Hand over the next payloads of every topic."""
        batches = []
        for topic, payloads in self._topics.items():
            start = self._next[topic]
            chunk = payloads[start : start + self._batch_records]
            if not chunk or self._paused:
                continue
            pairs = [item if isinstance(item, tuple) else (0, item) for item in chunk]
            self._next[topic] = start + len(chunk)
            batches.append(
                RecordBatch(
                    topic,
                    0,
                    [value for _, value in pairs],
                    np.arange(start, start + len(chunk), dtype=np.int64),
                    np.array([arrival for arrival, _ in pairs], dtype=np.int64),
                ),
            )
        return batches

    def take_gaps(self) -> list[Gap]:
        """Nothing expires in memory."""
        return []

    def set_paused(self, paused: bool) -> None:
        """Stop or go on handing over."""
        self._paused = paused

    @property
    def finished(self) -> bool:
        """Whether everything was handed over."""
        return all(self._next.get(topic, 0) >= len(payloads) for topic, payloads in self._topics.items())

    @property
    def health(self) -> SourceHealth:
        """Always connected; lag is what has not been handed over."""
        lag = sum(len(payloads) - self._next.get(topic, 0) for topic, payloads in self._topics.items())
        return SourceHealth(connected=True, detail="in memory", lag=lag)

    def close(self) -> None:
        """Nothing to let go of."""
