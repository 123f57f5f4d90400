"""Scales of channels, from a training part that may hold constants, states and a few bad values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.kernels.scaling import channel_scales

__all__ = ["ChannelScaling", "fit_scaling", "held_at_last"]

_STATE_WEIGHT = 0.05
"""A 0/1 channel switches by its nature; a switch alone must not look like twenty sigmas."""


@dataclass(frozen=True, slots=True)
class ChannelScaling:
    """Location, scale and weight of every channel, float64[c] each.

    ``(x - location) / scale * weight`` is what detectors compare. `known` is False for channels without any training
    value, which have weight 0.
    """

    location: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]


def fit_scaling(train: npt.NDArray[np.float32], *, robust: bool = False) -> ChannelScaling:
    """Learn channel scales.

    Scales have floors, so that a channel that was nearly constant in training does not turn a tiny move into an
    enormous score: 0.005 of the channel's range, or of its magnitude where it was constant.

    Parameters
    ----------
    train
        float32[t, c], NaN where missing.
    robust
        Median and median absolute deviation (times 1.4826) instead of mean and standard deviation. Where more than
        half of the values are equal the deviation is taken from the standard deviation.

    Examples
    --------
    >>> scaling = fit_scaling(np.array([[1, 0], [3, 0], [5, 1]], np.float32))
    >>> scaling.location, scaling.weight
    (array([3.        , 0.33333333]), array([1.  , 0.05]))
    """
    n_channels = train.shape[1]
    location, scale, weight = np.zeros(n_channels), np.ones(n_channels), np.ones(n_channels)
    known, state = np.zeros(n_channels, dtype=np.bool_), np.zeros(n_channels, dtype=np.bool_)
    channel_scales(np.ascontiguousarray(train, dtype=np.float32), robust, location, scale, known, state)
    if not state[known].all():
        weight[state] = _STATE_WEIGHT
    weight[~known] = 0.0
    return ChannelScaling(location, scale, weight, known)


def held_at_last(scaled: npt.NDArray[np.float64], breaks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Scaled rows with missing values standing at the last one since the last break, 0 before the first; float32[t, c].

    Examples
    --------
    >>> held_at_last(np.array([[np.nan], [2.0], [np.nan], [np.nan]]), np.array([False, False, False, True])).T
    array([[0., 2., 2., 0.]], dtype=float32)
    """
    rows = np.arange(len(scaled))
    started = np.maximum.accumulate(np.where(breaks, rows, 0))
    held = np.empty(scaled.shape, np.float32)
    for c in range(scaled.shape[1]):
        last = np.maximum.accumulate(np.where(np.isnan(scaled[:, c]), -1, rows))
        held[:, c] = np.where(last >= started, scaled[last, c], 0.0)
    return held
