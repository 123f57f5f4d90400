"""The interface that all sources implement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Gap", "Position", "RecordBatch", "Source", "SourceHealth"]

Position = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Undecoded records of one topic partition, in order.

    Attributes
    ----------
    topic, partition
        Where they come from.
    values
        Payloads; ``None`` for a tombstone.
    offsets
        int64[n], rising.
    arrivals
        int64[n], when the source took the record in, ns UTC; 0 where it does not say.
    """

    topic: str
    partition: int
    values: Sequence[bytes | None]
    offsets: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def next_offset(self) -> int:
        """Where to go on after this batch."""
        return int(self.offsets[-1]) + 1

    def split(self, offset: int) -> tuple["RecordBatch", "RecordBatch"]:
        """The records before `offset`, and the rest."""
        at = int(np.searchsorted(self.offsets, offset))
        return (
            RecordBatch(self.topic, self.partition, self.values[:at], self.offsets[:at], self.arrivals[:at]),
            RecordBatch(self.topic, self.partition, self.values[at:], self.offsets[at:], self.arrivals[at:]),
        )


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """Whether a source can be read, in words for `/readyz`, and how many records wait in it (if it can tell)."""

    connected: bool
    detail: str
    lag: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """Records of a partition that were deleted at the source before they could be read: [expected, found)."""

    topic: str
    partition: int
    expected: int
    found: int


class Source(Protocol):
    """Hands over records from given positions on. Used by one thread."""

    def open(self, positions: Mapping[Position, int]) -> None:
        """Begin at `positions`; where none is given, at the source's configured start."""

    def poll(self, timeout: float) -> list[RecordBatch]:
        """Wait up to `timeout` seconds for records. An empty list is no error: see `health`."""

    def take_gaps(self) -> list[Gap]:
        """Ranges of records that were gone before they could be read, since the last call."""

    def set_paused(self, paused: bool) -> None:
        """Stop handing over records while the rest of the service catches up; keeps connections alive."""

    @property
    def finished(self) -> bool:
        """Whether no record will ever come again (a replayed file at its end)."""

    @property
    def health(self) -> SourceHealth:
        """How the source is doing."""

    def close(self) -> None:
        """Let go of connections."""
