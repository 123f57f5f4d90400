"""The period that the channels of a recording share, from a training part alone."""

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

__all__ = ["shared_period"]

LONGEST = 512
SHARE_OF_ROWS = 3
NEAR_HIGHEST = 0.9
LEAST_CORRELATION = 0.6
FIRST_LAG_WITHOUT_ZERO = 8


def shared_period(train: npt.NDArray[np.float32]) -> int:
    """Return the period of the mean autocorrelation over the live channels, in rows; 0 where there is none.

    Local maxima are looked for behind the first lag at which the autocorrelation is not positive (a slow channel is
    like itself at every short lag), up to a third of the rows and 512. Of those that reach 0.9 of the highest the
    smallest counts, so that a day is found and not a week; an autocorrelation below 0.6 is no period.

    Parameters
    ----------
    train
        float32[t, c], NaN where missing.

    Examples
    --------
    >>> wave = np.sin(np.arange(400) * 2 * np.pi / 50)[:, None].astype(np.float32)
    >>> shared_period(wave), shared_period(np.zeros((400, 2), np.float32))
    (50, 0)
    """
    rows = len(train)
    longest = min(LONGEST, rows // SHARE_OF_ROWS)
    if longest < FIRST_LAG_WITHOUT_ZERO + 2:
        return 0
    values = train.astype(np.float64)
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(axis=0), 1)
    centred = np.where(seen, values - np.where(seen, values, 0.0).sum(axis=0) / count, 0.0)
    variance = (centred**2).sum(axis=0) / rows
    live = variance > 0
    if not live.any():
        return 0
    size = next_fast_len(rows + longest + 1)
    spectrum = rfft(centred[:, live] / np.sqrt(variance[live]), size, axis=0)
    products = irfft(np.abs(spectrum) ** 2, size, axis=0)[: longest + 1].mean(axis=1)
    correlation = products / (rows - np.arange(longest + 1))
    below = np.flatnonzero(correlation <= 0)
    first = int(below[0]) if below.size else FIRST_LAG_WITHOUT_ZERO
    lags = np.arange(max(first, 1), longest)
    peaks = lags[(correlation[lags] > correlation[lags - 1]) & (correlation[lags] >= correlation[lags + 1])]
    if not peaks.size:
        return 0
    highest = correlation[peaks].max()
    if highest < LEAST_CORRELATION:
        return 0
    return int(peaks[correlation[peaks] >= NEAR_HIGHEST * highest][0])
