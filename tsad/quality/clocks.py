"""Clocks of senders: event times against the time of arrival."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import AlarmBook, AlarmTransition
from tsad.kernels.clocks import watch_clocks
from tsad.observations import ObservationBatch
from tsad.quality.alarms import SENSOR_SEVERITY
from tsad.quality.faults import Fault, SensorFault, fault_rule
from tsad.series import SeriesTable
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["ClockWatch"]

_SIGNS = 10  # times in a row that are late, or lie in the future
_STILL_STEPS = 10


class ClockWatch:
    """Tells clocks that stand still, were set back, or are ahead.

    Judged by the arrival that the source gave a record, never by a clock of our own; where a source gives none, as
    files do, nothing is said. Times of what is told are arrivals, because the event times are what is wrong.

    Parameters
    ----------
    table
        The stream's series.
    step
        Of their grid, in ns.
    clear
        Good records in a row after which a clock is trusted again.
    """

    def __init__(self, table: SeriesTable, step: int, clear: int) -> None:
        self._table = table
        self._still = _STILL_STEPS * step
        self._clear = clear
        names = ("since_still", "count", "first_time", "first_arrival", "good", "since")
        self._arrays = SeriesArrays(
            {
                "last": Field(np.int64, int(np.iinfo(np.int64).min)),
                "kind": Field(np.uint8),
                "fault": Field(np.uint8),
                **{name: Field(np.int64) for name in names},
            }
        )

    def watch(self, batch: ObservationBatch, status: npt.NDArray[np.uint8], book: AlarmBook) -> list[AlarmTransition]:
        """Take in observations in order, with what became of them; returns what is told."""
        a = self._arrays
        a.reserve(len(self._table))
        transitions = []
        start = 0
        while start < len(batch):
            room = len(batch) // 4 + 16
            out = (
                np.empty(room, np.int64),
                np.empty(room, np.uint8),
                np.empty(room, np.int64),
                np.empty(room, np.bool_),
            )
            start, m = watch_clocks(
                start, batch.series, batch.times, batch.arrivals, status, _SIGNS, self._still, self._clear, a.last,
                a.since_still, a.count, a.kind, a.first_time, a.first_arrival, a.good, a.fault, a.since, *out,
            )  # fmt: skip
            for i, code, since, raised in zip(*(column[:m].tolist() for column in out), strict=True):
                fault = SensorFault(None, Fault(code).name.lower(), since)
                transitions.append(
                    book.step(
                        "sensor.fault" if raised else "sensor.cleared",
                        self._table.assets[batch.series[i]],
                        fault_rule(fault.kind, None),
                        int(batch.arrivals[i]),
                        (int(batch.partitions[i]), int(batch.offsets[i])),
                        severity=SENSOR_SEVERITY,
                        details={"fault": fault},
                    )
                )
        return transitions

    def state(self, n_series: int) -> dict[str, npt.NDArray[Any]]:
        """The streaming state."""
        return self._arrays.state(n_series, fitted=False)

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._arrays.restore(state)
