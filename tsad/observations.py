"""What flows into the engine (observations) and what it works on (rows on a time grid): structs of arrays."""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt

__all__ = ["ObservationBatch", "ObservationStatus", "RowBatch", "RowFlag"]


class ObservationStatus(IntEnum):
    """What became of one observation (or one wide message)."""

    ACCEPTED = 0
    DUPLICATE = 1  # same series, time and values as the row before: ignored
    CORRECTION = 2  # same series and time, another value, after the row had been scored
    SUPERFLUOUS = 3  # a further sample within a grid cell that had been scored
    LATE = 4  # older than what had been scored
    FUTURE = 5  # event time too far ahead of its arrival


class RowFlag(IntFlag):
    """What a reader of a row must know about it."""

    BREAK = 1  # the time before it is missing: windows start anew here
    IMPUTED = 2  # no observation at all: every value is held from before
    HELD = 4  # some channel holds its last value
    LATE = 8  # kept in history, not scored
    EARLY = 16  # scored by the light detector that watches a series until there is enough to learn from
    MASKED = 32  # some channel was left out of the scores: its sensor is broken, or may be
    MAINTENANCE = 64  # scored, and never learnt from
    WITHOUT_NETWORK = 128  # a network was late: the lighter detectors spoke alone


@dataclass(frozen=True, slots=True)
class ObservationBatch:
    """Decoded observations of one stream in source order.

    Attributes
    ----------
    series
        int32[n], number in the stream's `SeriesTable`.
    times
        int64[n], event time in ns UTC.
    values
        float32[n, k], NaN where there is none. ``k`` is the table's width for wide messages, 1 for long ones.
    channels
        int32[n], column of each value; ``None`` for wide messages.
    partitions, offsets
        int32[n], int64[n]: position in the source.
    arrivals
        int64[n], when the source took the record in, ns UTC.
    """

    series: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    channels: npt.NDArray[np.int32] | None
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.series)

    def take(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "ObservationBatch":
        """The observations at `where`, an index or a mask."""
        return ObservationBatch(
            self.series[where],
            self.times[where],
            self.values[where],
            None if self.channels is None else self.channels[where],
            self.partitions[where],
            self.offsets[where],
            self.arrivals[where],
        )


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows on the time grids of many series, in the order in which they became final.

    Attributes
    ----------
    series
        int32[m].
    times
        int64[m], event time of the first observation in the cell, ns UTC.
    values
        float32[m, c], NaN where nothing is known.
    flags
        uint8[m] of `RowFlag`.
    partitions, offsets
        Position of the record that made the row final.
    faults
        uint8[m, c] of `tsad.quality.faults.Fault`, 0 where a channel is not masked; ``None`` where sensors are not
        watched.
    """

    series: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    flags: npt.NDArray[np.uint8]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    faults: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.series)

    def take(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "RowBatch":
        """The rows at `where`, an index or a mask."""
        return RowBatch(
            self.series[where],
            self.times[where],
            self.values[where],
            self.flags[where],
            self.partitions[where],
            self.offsets[where],
            None if self.faults is None else self.faults[where],
        )
