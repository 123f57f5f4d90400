"""The loop of `tsad.silence`."""

import numpy as np
from numba import njit

__all__ = ["watch"]


@njit(cache=True, nogil=True)
def watch(
    start, series, times, partitions, allowed, tick, watermark, home, last, silent, out_series, out_observation,
    out_resumed, out_times,
):  # fmt: skip
    """Return (next observation, changes written)."""
    m = 0
    n_series = len(home)
    for i in range(start, len(series)):
        if m + n_series + 1 > len(out_series):
            return i, m
        s = series[i]
        p = partitions[i]
        t = times[i]
        home[s] = p
        if silent[s]:
            silent[s] = False
            out_series[m] = s
            out_observation[m] = i
            out_resumed[m] = True
            out_times[m] = t
            m += 1
        last[s] = max(last[s], t)
        if t > watermark[p]:
            # Looking at all series only when the clock of the partition passes a tick keeps this cheap, and makes the
            # moment of detection a matter of the data alone.
            crossed = watermark[p] != np.iinfo(np.int64).min and t // tick > watermark[p] // tick
            watermark[p] = t
            if crossed:
                for other in range(n_series):
                    if home[other] == p and not silent[other] and t - last[other] > allowed:
                        silent[other] = True
                        out_series[m] = other
                        out_observation[m] = i
                        out_resumed[m] = False
                        out_times[m] = last[other] + allowed
                        m += 1
    return len(series), m
