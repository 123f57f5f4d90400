"""The event rate: how many events came in each step, as observations of a numeric series."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.observations import ObservationBatch
from tsad.series import SeriesTable

__all__ = ["EventCounter"]

_LONGEST_GAP = 100_000  # steps; beyond it counting starts anew, for a bad first time must not fill the memory


class EventCounter:
    """Counts events by step and source partition.

    A step is counted when an event of a later step comes, so that a replay gives the same counts without a clock; steps
    without events count 0. The first step of a partition is left out, for it began before its first event. A late event
    counts in the step that is open. Partitions are counted apart, because their order among each other is by chance.

    Parameters
    ----------
    name
        Of the stream; the series are called ``name/partition-0`` and so on.
    step
        Nanoseconds.
    table
        Takes in the series.

    Examples
    --------
    >>> table = SeriesTable(("events",))
    >>> counter = EventCounter("access", 10, table)
    >>> times = np.array([3, 12, 13, 41])
    >>> rows = counter.count(times, np.zeros(4, np.int32), np.arange(4))
    >>> rows.times.tolist(), rows.values[:, 0].tolist(), table.assets
    ([10, 20, 30], [2.0, 0.0, 0.0], ('access/partition-0',))
    """

    def __init__(self, name: str, step: int, table: SeriesTable) -> None:
        self._name = name
        self._step = step
        self._table = table
        # By partition: the open step, and its events so far; -1 in the first step, which is not counted.
        self._open: dict[int, tuple[int, int]] = {}

    def count(
        self, times: npt.NDArray[np.int64], partitions: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]
    ) -> ObservationBatch:
        """Take in n events in order; returns the counts of the steps that are over.

        Parameters
        ----------
        times, partitions, offsets
            int64[n], ns UTC; int32[n]; int64[n].

        Returns
        -------
        ObservationBatch
            One observation a step, at its start, with the position of the event that closed it.
        """
        series, starts, counts, where = [], [], [], []
        for partition in np.unique(partitions).tolist():
            own = np.flatnonzero(partitions == partition)
            steps = np.maximum.accumulate(times[own] // self._step)
            first = partition not in self._open
            step, held = self._open.get(partition, (int(steps[0]), -1))
            steps = np.maximum(steps, step)
            over = int(steps[-1]) - step
            if over > _LONGEST_GAP:
                self._open[partition] = (int(steps[-1]), -1)
                continue
            found = np.bincount(steps - step)
            # A held count of -1 marks a step whose beginning was not seen.
            skipped = first or held < 0
            found[0] += max(held, 0)
            self._open[partition] = (step + over, int(found[-1]) if over or not skipped else -1)
            numbers = np.arange(int(skipped), over)
            if not len(numbers):
                continue
            number = self._table.add(f"{self._name}/partition-{partition}")
            series.append(np.full(len(numbers), number, np.int32))
            starts.append((step + numbers) * self._step)
            counts.append(found[numbers])
            where.append(own[np.searchsorted(steps - step, numbers, side="right")])
        if not series:
            none = np.zeros(0, np.int64)
            return ObservationBatch(
                none.astype(np.int32), none, np.zeros((0, 1), np.float32), None, none.astype(np.int32), none, none
            )
        closing = np.concatenate(where)
        return ObservationBatch(
            series=np.concatenate(series),
            times=np.concatenate(starts),
            values=np.concatenate(counts).astype(np.float32)[:, None],
            channels=None,
            partitions=partitions[closing],
            offsets=offsets[closing],
            # The counts are our own: there is no arrival to hold them against.
            arrivals=np.zeros(len(closing), np.int64),
        )

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        return {str(partition): list(open_) for partition, open_ in self._open.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self._open = {int(partition): (step, held) for partition, (step, held) in state.items()}
