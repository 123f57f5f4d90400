"""What the detectors that look at windows of scaled rows have in common."""

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError
from tsad.kernels.windows import FARTHEST
from tsad.observations import RowBatch, RowFlag
from tsad.scaling import ChannelScaling, fit_scaling, held_at_last
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = [
    "SCALING_FIELDS",
    "held_rows",
    "learn_scaling",
    "prefix_rows",
    "residual_units",
    "settled",
    "time_breaks",
    "whole_windows",
]

SCALING_FIELDS = {
    "n_channels": Field(np.int32, fitted=True),
    "location": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
    "scale": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
    "weight": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
}
_QUANTILE = 0.99
_LEAST_UNIT = 1e-3
_LONGEST_STEP = 4.5
"""In median steps: three whole grid cells without a row, `StreamSettings.hold_rows`, and some jitter."""


def time_breaks(times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether more time is missing before each row than the engine fills by holding values, bool[t].

    Shorter gaps are jitter, or rows of a recording that did not come through the engine.

    Examples
    --------
    >>> time_breaks(np.array([0, 10, 20, 70, 80])).tolist()
    [False, False, False, True, False]
    """
    found = np.zeros(len(times), np.bool_)
    if len(times) > 1:
        steps = np.diff(times)
        found[1:] = steps > _LONGEST_STEP * np.median(steps)
    return found


def prefix_rows(series: int, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], width: int) -> RowBatch:
    """Rows of one series as the engine would hand them over, `width` channel columns wide."""
    n = len(values)
    wide = np.full((n, width), np.nan, np.float32)
    wide[:, : values.shape[1]] = values
    flags = np.where(time_breaks(times), np.uint8(RowFlag.BREAK), np.uint8(0))
    zeros = np.zeros(n, np.int64)
    return RowBatch(np.full(n, series, np.int32), np.asarray(times), wide, flags, zeros.astype(np.int32), zeros)


def learn_scaling(
    name: str, arrays: SeriesArrays, series: int, train: npt.NDArray[np.float32], needed: int
) -> ChannelScaling:
    """Scale the channels of a series and store that in `arrays`; its window starts empty.

    Raises
    ------
    NotEnoughDataError
        Fewer than `needed` rows have a value.
    """
    usable = int(np.count_nonzero(~np.isnan(train).all(axis=1)))
    if usable < needed:
        raise NotEnoughDataError(f"{name} needs {needed} rows with values, there are {usable}")
    n = train.shape[1]
    scaling = fit_scaling(train)
    arrays.reserve(series + 1, n)
    arrays.n_channels[series] = n
    arrays.location[series, :n], arrays.scale[series, :n] = scaling.location, scaling.scale
    arrays.weight[series, :n] = scaling.weight
    arrays.filled[series] = arrays.position[series] = 0
    return scaling


def residual_units(
    residuals: npt.NDArray[np.float64], train: npt.NDArray[np.float32], scaling: ChannelScaling
) -> npt.NDArray[np.float64]:
    """Residual of each channel that is usual, float64[c]: its 0.99 quantile, in units of the channel's scale.

    At least a thousandth of the scale, and the whole scale for a channel that never moved in training. A 0/1 channel
    may switch: its weight holds here too.

    Parameters
    ----------
    residuals
        float64[t, c], absolute and scaled, NaN where there is none.
    train
        float32[t, c].
    scaling
        That of the channels.
    """
    units = np.empty(residuals.shape[1])
    for c in range(len(units)):
        known = residuals[:, c][~np.isnan(residuals[:, c])]
        there = train[:, c][~np.isnan(train[:, c])]
        floor = _LEAST_UNIT if there.size and there.max() > there.min() else 1.0
        units[c] = max(floor, float(np.quantile(known, _QUANTILE)) if known.size else 0.0)
    return np.asarray(units / np.maximum(scaling.weight, _LEAST_UNIT))


def held_rows(
    values: npt.NDArray[np.float32], breaks: npt.NDArray[np.bool_], scaling: ChannelScaling
) -> npt.NDArray[np.float32]:
    """Scaled rows as rings keep them, float32[t, c]: a missing value stands at the last one since the last break."""
    scaled = np.clip((values.astype(np.float64) - scaling.location) / scaling.scale, -FARTHEST, FARTHEST)
    return held_at_last(scaled, breaks)


def whole_windows(
    values: npt.NDArray[np.float32], breaks: npt.NDArray[np.bool_], window: int, known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Whether the window that ends at each row is without a break and half of its values are there, bool[t].

    Only channels that are `known` count.
    """
    rows = np.arange(len(values))
    run = rows - np.maximum.accumulate(np.where(breaks, rows, 0)) + 1
    missing = np.concatenate([[0], np.cumsum(np.isnan(values[:, known]).sum(axis=1))])
    inside = missing[1:] - missing[np.maximum(rows + 1 - window, 0)]
    return np.asarray((run >= window) & (2 * inside <= window * int(known.sum())), dtype=np.bool_)


def settled(scores: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Mean over the windows (known by their last row) that cover each row, float64[t]; NaN where none does.

    Examples
    --------
    >>> settled(np.array([np.nan, 1.0, 3.0, 5.0]), 2).tolist()
    [1.0, 2.0, 4.0, 5.0]
    """
    known = ~np.isnan(scores)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, scores, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first = np.arange(len(scores))
    last = np.minimum(first + window, len(scores))
    count = counts[last] - counts[first]
    return np.asarray(np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan))
