"""The loop of `tsad.scaling`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["channel_scales"]


@compiled
def channel_scales(values, robust, location, scale, known, state):
    for c in range(values.shape[1]):
        kept = np.empty(values.shape[0], dtype=np.float64)
        n = 0
        low, high, total = np.inf, -np.inf, 0.0
        state[c] = True
        for t in range(values.shape[0]):
            x = np.float64(values[t, c])
            if np.isnan(x):
                continue
            kept[n] = x
            n += 1
            low, high = min(low, x), max(high, x)
            total += x
            if x != 0.0 and x != 1.0:  # noqa: PLR1714 - compiled, where a set would be slow
                state[c] = False
        known[c] = n > 0
        if n == 0:
            state[c] = False
            continue
        kept = kept[:n]
        mean = total / n
        squares = 0.0
        for i in range(n):
            squares += (kept[i] - mean) ** 2
        deviation = np.sqrt(squares / n)
        location[c] = mean
        if robust:
            location[c] = np.median(kept)
            spread = 1.4826 * np.median(np.abs(kept - location[c]))
            if spread > 0:
                deviation = spread
        if high > low:
            scale[c] = max(deviation, 0.005 * (high - low))
        elif high != 0:
            scale[c] = 0.005 * abs(high)
