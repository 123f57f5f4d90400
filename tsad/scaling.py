"""Scales of channels, from a training part that may hold constants, states and a few bad values."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ChannelScaling", "fit_scaling"]

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
    x = np.asarray(train, dtype=np.float64)
    n_channels = x.shape[1]
    location = np.zeros(n_channels)
    scale = np.ones(n_channels)
    weight = np.ones(n_channels)
    known = np.zeros(n_channels, dtype=np.bool_)
    state = np.zeros(n_channels, dtype=np.bool_)
    for c in range(n_channels):
        values = x[:, c]
        values = values[~np.isnan(values)]
        if values.size == 0:
            continue
        known[c] = True
        low, high = values.min(), values.max()
        deviation = values.std()
        if robust:
            location[c] = np.median(values)
            spread = 1.4826 * np.median(np.abs(values - location[c]))
            deviation = spread if spread > 0 else deviation
        else:
            location[c] = values.mean()
        if high > low:
            scale[c] = max(deviation, 0.005 * (high - low))
        elif high != 0:
            scale[c] = 0.005 * abs(high)
        state[c] = bool(np.isin(values, (0.0, 1.0)).all())
    if not state[known].all():
        weight[state] = _STATE_WEIGHT
    weight[~known] = 0.0
    return ChannelScaling(location, scale, weight, known)
