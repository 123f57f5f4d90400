"""Alarms of sensors, and what an alarm of the process says of them."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tsad.alarms import AlarmBook, AlarmTransition
from tsad.observations import RowBatch
from tsad.quality.faults import Fault, MaskedChannel, fault_rule
from tsad.quality.sensors import FaultChange
from tsad.series import SeriesTable

__all__ = ["SENSOR_SEVERITY", "masked_channels", "sensor_transitions"]

SENSOR_SEVERITY = "medium"


def masked_channels(table: SeriesTable, rows: RowBatch, row: int) -> tuple[MaskedChannel, ...]:
    """Return which channels had no part in the scores of a row, and why."""
    if rows.faults is None:
        return ()
    names, own = table.channel_names(int(rows.series[row])), rows.faults[row]
    return tuple(MaskedChannel(names[c], Fault(int(own[c])).name.lower()) for c in np.flatnonzero(own))


def sensor_transitions(
    book: AlarmBook, table: SeriesTable, rows: RowBatch, changes: Sequence[FaultChange], counts: Counter[str]
) -> list[AlarmTransition]:
    """Enter faults that are told or over, in the order of rows.

    Parameters
    ----------
    book, table
        The stream's alarms, and its series.
    rows, changes
        Rows, and what was found in them.
    counts
        Gets ``values_masked``.
    """
    if rows.faults is not None and (masked := int(np.count_nonzero(rows.faults))):
        counts["values_masked"] += masked
    return [
        book.step(
            "sensor.fault" if change.raised else "sensor.cleared",
            table.assets[change.series],
            fault_rule(change.fault.kind, change.fault.channel),
            int(rows.times[change.row]),
            (int(rows.partitions[change.row]), int(rows.offsets[change.row])),
            severity=SENSOR_SEVERITY,
            details={"fault": change.fault, "masked": masked_channels(table, rows, change.row)},
        )
        for change in sorted(changes, key=lambda change: change.row)
    ]
