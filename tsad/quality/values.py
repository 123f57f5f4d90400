"""Quality of single values: what cannot be a measurement is taken out, and counted by reason."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.observations import ObservationBatch
from tsad.series import SeriesTable

__all__ = ["QualityCounts", "range_limits", "screen"]


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


def range_limits(
    ranges: Mapping[str, tuple[float, float]], table: SeriesTable, batch: ObservationBatch
) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.float32] | None]:
    """Physical ranges in the shape of a batch's values; None where there are none.

    Parameters
    ----------
    ranges
        By channel.
    table, batch
        The series, and observations of them.
    """
    if not ranges or not len(batch):
        return None, None
    limits = np.empty((len(table), table.width, 2), dtype=np.float32)
    limits[...] = (-np.inf, np.inf)
    for series in range(len(table)):
        for column, channel in enumerate(table.channel_names(series)):
            if channel in ranges:
                limits[series, column] = ranges[channel]
    if batch.channels is None:
        own = limits[batch.series, : batch.values.shape[1]]
    else:
        own = limits[batch.series, batch.channels][:, None]
    return own[..., 0], own[..., 1]
