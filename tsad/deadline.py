"""How long networks may take for a batch, and what became of it: the clock's decisions are kept, to be repeated."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import numpy.typing as npt

from tsad.observations import RowBatch

__all__ = ["Deadline", "LateAnswers", "Timekeeper"]

_OPEN, _IN_TIME, _LATE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class LateAnswers:
    """What a clock decided before a restart, so that rows that are read again get the same scores.

    Attributes
    ----------
    before
        By partition: rows of records below this offset were decided.
    late
        By detector: ``(series, event time)`` of the rows that it was too late for; it was in time for the others.
    """

    before: Mapping[int, int] = field(default_factory=dict)
    late: Mapping[str, Collection[tuple[int, int]]] = field(default_factory=dict)


class Deadline:
    """Whether a network may still be asked about rows of one batch.

    Parameters
    ----------
    is_over
        Whether the time is up.
    decided
        uint8[m], by row: 0 where the clock decides, 1 and 2 where the answer was in time or late before a restart.
    """

    def __init__(self, is_over: Callable[[], bool], decided: npt.NDArray[np.uint8] | None = None) -> None:
        self._is_over = is_over
        self._decided = decided

    def allows(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """bool[n], whether these rows (numbers in the batch) may be asked about now."""
        over = self._is_over()
        if self._decided is None:
            return np.full(len(rows), not over)
        decided = self._decided[rows]
        return np.asarray((decided == _IN_TIME) | ((decided == _OPEN) & (not over)))


class Timekeeper:
    """Sets the deadline of every batch.

    Parameters
    ----------
    seconds
        How long networks may take for a batch.
    clock
        Seconds that only rise.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known = LateAnswers()

    def recall(self, known: LateAnswers) -> None:
        """Repeat what was decided before a restart."""
        self._known = known

    def deadline(self, rows: RowBatch, detectors: Collection[str]) -> dict[str, Deadline]:
        """The deadline of a batch that begins now, by detector."""
        end = self._clock() + self._seconds

        def is_over() -> bool:
            return self._clock() >= end

        return {name: Deadline(is_over, self._decided(rows, name)) for name in detectors}

    def _decided(self, rows: RowBatch, detector: str) -> npt.NDArray[np.uint8] | None:
        again = np.zeros(len(rows), np.bool_)
        for partition, before in self._known.before.items():
            again |= (rows.partitions == partition) & (rows.offsets < before)
        if not again.any():
            return None
        late = self._known.late.get(detector, ())
        decided = np.full(len(rows), _OPEN, np.uint8)
        for row in np.flatnonzero(again):
            was_late = (int(rows.series[row]), int(rows.times[row])) in late
            decided[row] = _LATE if was_late else _IN_TIME
        return decided
