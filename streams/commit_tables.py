"""Rows that the pipeline itself adds to a transaction."""

from collections.abc import Sequence

import pyarrow as pa

from connectors.sources.base import RecordBatch
from tsad.stream_output import FitReport

__all__ = ["dead_letter_table", "fits_table"]

_LONGEST_PAYLOAD = 16_384


def fits_table(stream: str, fits: Sequence[FitReport]) -> pa.Table:
    """What became of learning series, as rows of the history's table."""
    calibrations = [fit.calibration for fit in fits]
    return pa.table(
        {
            "stream": [stream] * len(fits),
            "asset": [fit.asset for fit in fits],
            "time": pa.array([fit.time for fit in fits], pa.timestamp("ns")),
            "rows": pa.array([fit.rows for fit in fits], pa.int32()),
            "max_false_alarms_per_day": pa.array([c and c.max_budget for c in calibrations], pa.float64()),
            "flags": pa.array([list(c.flags) if c else None for c in calibrations], pa.list_(pa.string())),
            "problem": pa.array([fit.problem for fit in fits], pa.string()),
            "choices": pa.array([list(fit.choices) for fit in fits], pa.list_(pa.string())),
        },
    )


def dead_letter_table(batch: RecordBatch, index: int, reason: str, detail: str) -> pa.Table:
    """A record that could not be used, as a row of the history's table."""
    payload = batch.values[index]
    arrival = int(batch.arrivals[index])
    return pa.table(
        {
            "topic": [batch.topic],
            "partition": pa.array([batch.partition], pa.int32()),
            "record_offset": pa.array([int(batch.offsets[index])], pa.int64()),
            "reason": [reason],
            "detail": [detail[:1000]],
            "payload": pa.array([None if payload is None else payload[:_LONGEST_PAYLOAD]], pa.binary()),
            "arrived": pa.array([arrival or None], pa.timestamp("ns")),
        },
    )
