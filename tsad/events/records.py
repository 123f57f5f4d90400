"""What flows into the event engine, and what it hands over: structs of arrays."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import AlarmTransition
from tsad.stream_output import FitReport

__all__ = ["EventOutput", "EventRecords"]


@dataclass(frozen=True, slots=True)
class EventRecords:
    """Decoded events of one stream in source order.

    Attributes
    ----------
    times
        int64[n], event time in ns UTC.
    columns
        Values by attribute, n of each; None where an event has none.
    partitions, offsets
        int32[n], int64[n]: position in the source.
    """

    times: npt.NDArray[np.int64]
    columns: Mapping[str, Sequence[Any]]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class EventOutput:
    """What a batch of events led to; all arrays in the order of the records.

    Attributes
    ----------
    scores
        By detector, float64[n]; NaN while the stream is learnt.
    verdict, p_values, thresholds
        float64[n], of the only detector or of all combined.
    odd
        bool[n], events beyond the threshold.
    unseen
        bool[n], events with a value that was never learnt.
    transitions
        Alarm transitions, in order per asset.
    fits
        What was learnt, or could not be.
    counts
        How often each thing happened.
    """

    scores: dict[str, npt.NDArray[np.float64]]
    verdict: npt.NDArray[np.float64]
    p_values: npt.NDArray[np.float64]
    thresholds: npt.NDArray[np.float64]
    odd: npt.NDArray[np.bool_]
    unseen: npt.NDArray[np.bool_]
    transitions: list[AlarmTransition] = field(default_factory=list)
    fits: list[FitReport] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, n: int, detectors: Sequence[str]) -> "EventOutput":
        """Room for `n` events of which nothing is said yet."""
        return cls(
            {name: np.full(n, np.nan) for name in detectors}, np.full(n, np.nan), np.full(n, np.nan),
            np.full(n, np.nan), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
        )  # fmt: skip
