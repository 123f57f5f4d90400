"""Quality of single values: what cannot be a measurement is taken out, and counted by reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.observations import ObservationBatch
from tsad.series import SeriesTable
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["QualityCounts", "RangeLimits", "screen"]


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """How many values were taken out of a batch, by reason."""

    not_finite: int = 0
    out_of_range: int = 0


def screen(
    values: npt.NDArray[np.float32],
    low: npt.NDArray[np.float32] | None = None,
    high: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], QualityCounts]:
    """Replace values that cannot be measurements by NaN.

    Absent values are NaN already and are not counted. Infinities, also those that arise when a double is too
    large for float32, count as not finite.

    Parameters
    ----------
    values
        float32[n, k].
    low, high
        float32[k] or float32[n, 1]: physical range, inclusive; ``None`` where none is known.

    Returns
    -------
    values, counts
        `values` itself when nothing had to be taken out, otherwise a copy.

    Examples
    --------
    >>> screen(np.array([[1.0, np.inf]], np.float32), high=np.array([0.5, 9.0], np.float32))
    (array([[nan, nan]], dtype=float32), QualityCounts(not_finite=1, out_of_range=1))
    """
    infinite = np.isinf(values)
    not_finite = int(np.count_nonzero(infinite))
    outside = np.zeros(values.shape, dtype=bool)
    if low is not None:
        outside |= values < low
    if high is not None:
        outside |= values > high
    outside &= ~infinite
    out_of_range = int(np.count_nonzero(outside))
    if not_finite or out_of_range:
        values = np.where(infinite | outside, np.float32(np.nan), values)
    return values, QualityCounts(not_finite, out_of_range)


class RangeLimits:
    """Physical ranges in the shape of a batch's values.

    Parameters
    ----------
    ranges
        By channel.
    table
        The series; it may grow between batches, and be restored.

    Examples
    --------
    >>> table = SeriesTable(["flow", "level"])
    >>> series = np.array([table.add("pump-1")], np.int32)
    >>> zeros = np.zeros(1, np.int64)
    >>> batch = ObservationBatch(series, zeros, np.array([[7.0, 7.0]], np.float32), None, series, zeros, zeros)
    >>> RangeLimits({"level": (0.0, 5.0)}, table).of(batch)
    (array([[-inf,   0.]], dtype=float32), array([[inf,  5.]], dtype=float32))
    """

    def __init__(self, ranges: Mapping[str, tuple[float, float]], table: SeriesTable) -> None:
        self._ranges = ranges
        self._table = table
        self._forget()

    def of(self, batch: ObservationBatch) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]:
        """Lower and upper limits of the values of `batch`; None where there are none."""
        if not self._ranges or not len(batch):
            return None, None
        if self._version != self._table.version:
            self._take_in()
        if batch.channels is None:
            width = batch.values.shape[1]
            return self._limits.low[batch.series, :width], self._limits.high[batch.series, :width]
        own = batch.series, batch.channels
        return self._limits.low[own][:, None], self._limits.high[own][:, None]

    def _forget(self) -> None:
        self._limits = SeriesArrays(
            {
                "low": Field(np.float32, -np.inf, (PER_CHANNEL,)),
                "high": Field(np.float32, np.inf, (PER_CHANNEL,)),
                "channels": Field(np.int32),
            }
        )
        self._version = 0
        self._generation = self._table.generation

    def _take_in(self) -> None:
        """Look up the ranges of series that are new or have more channels than before."""
        table = self._table
        if self._generation != table.generation:
            self._forget()
        limits = self._limits
        limits.reserve(len(table), table.width)
        counts = table.channel_counts
        for series in np.flatnonzero(limits.channels[: len(table)] != counts).tolist():
            for column, channel in enumerate(table.channel_names(series)):
                if channel in self._ranges:
                    limits.low[series, column], limits.high[series, column] = self._ranges[channel]
        limits.channels[: len(table)] = counts
        self._version = table.version
