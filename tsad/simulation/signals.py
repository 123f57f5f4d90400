"""The building blocks of simulated signals: lags, coloured noise, held levels, daily swing.

Everything here is sequential in time by construction: a longer signal begins with the shorter one, bit for bit, when
both are drawn from equally seeded generators. Tests rely on that, and so may a user who extends a recording.
"""

import math
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NANOSECONDS_PER_DAY",
    "NANOSECONDS_PER_SECOND",
    "autoregressive_noise",
    "daily_swing",
    "first_order_lag",
    "generator",
    "hold_index",
]

NANOSECONDS_PER_SECOND = 1_000_000_000
NANOSECONDS_PER_DAY = 86_400 * NANOSECONDS_PER_SECOND

# Contributions below this share of the newest input cannot be seen in float64.
_NEGLIGIBLE = 1e-17


def generator(seed: int, *path: str) -> np.random.Generator:
    """Return the random generator of one named part of the plant.

    Parts draw from generators of their own, so that adding an asset or a channel leaves all others as they were.

    Parameters
    ----------
    seed : int
        The plant's seed, not negative.
    *path : str
        Names that lead to the part, such as the asset and the channel.
    """
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in path)])


def _accumulate(inputs: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Return `y[t] = decay * y[t - 1] + inputs[t]` in about log2(rows) vector passes instead of a Python loop."""
    result = inputs
    shift, power = 1, decay
    while shift < inputs.size and power > _NEGLIGIBLE:
        # Each pass doubles how far back every row has looked.
        doubled = result.copy()
        doubled[shift:] += power * result[:-shift]
        result = doubled
        shift, power = 2 * shift, power * power
    return result


def first_order_lag(inputs: NDArray[np.float64], time_constant: float, step: float) -> NDArray[np.float64]:
    """Follow `inputs` with thermal or mechanical inertia, starting at rest on the first value.

    Parameters
    ----------
    inputs : float64[rows]
        What is followed.
    time_constant : float
        Seconds after which 63 % of a step is reached.
    step : float
        Seconds between rows.

    Returns
    -------
    float64[rows]
        The lagged signal.
    """
    decay = math.exp(-step / time_constant)
    driven = (1.0 - decay) * inputs
    driven[:1] = inputs[:1]
    return _accumulate(driven, decay)


def autoregressive_noise(
    random: np.random.Generator, rows: int, deviation: float, time_constant: float, step: float
) -> NDArray[np.float64]:
    """Draw stationary first-order autoregressive noise.

    Parameters
    ----------
    random : numpy.random.Generator
        Where the draws come from.
    rows : int
        Length of the result.
    deviation : float
        Standard deviation, in the unit of the signal.
    time_constant : float
        Seconds over which the autocorrelation falls to 1/e.
    step : float
        Seconds between rows.

    Returns
    -------
    float64[rows]
        Noise with mean zero.
    """
    decay = math.exp(-step / time_constant)
    draws = deviation * random.standard_normal(rows)
    draws[1:] *= math.sqrt(1.0 - decay * decay)  # the first draw is already stationary
    return _accumulate(draws, decay)


def hold_index(
    random: np.random.Generator, rows: int, step: float, mean_hold: float, minimum_hold: float
) -> NDArray[np.int64]:
    """Number the stretches in which a set-point or a job stays as it is: 0, 0, …, 1, 1, ….

    Parameters
    ----------
    random : numpy.random.Generator
        Where the lengths come from: the minimum plus an exponential draw.
    rows : int
        Length of the result.
    step : float
        Seconds between rows.
    mean_hold, minimum_hold : float
        Mean and shortest stretch, seconds.

    Returns
    -------
    int64[rows]
        The running number of the stretch at each row.
    """
    most = math.ceil(rows * step / minimum_hold) + 1
    holds = minimum_hold + random.exponential(mean_hold - minimum_hold, most)
    index = np.searchsorted(np.cumsum(holds), step * np.arange(rows), side="right")
    return index.astype(np.int64)


def daily_swing(times: NDArray[np.int64], amplitude: float, peak_hour: float) -> NDArray[np.float64]:
    """Return a sine over the UTC day.

    Parameters
    ----------
    times : int64[rows]
        Event times, nanoseconds UTC.
    amplitude : float
        Half the swing, in the unit of the signal.
    peak_hour : float
        UTC hour of the highest value.

    Returns
    -------
    float64[rows]
        The swing around zero.
    """
    share_of_day = (times % NANOSECONDS_PER_DAY) / NANOSECONDS_PER_DAY
    return amplitude * np.cos(2.0 * np.pi * (share_of_day - peak_hour / 24.0))
