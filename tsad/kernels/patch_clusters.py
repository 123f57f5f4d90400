"""Distance of the newest window to the nearest typical one, for `tsad.detectors.patchbank`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["LEAST_DEVIATION", "cluster_distance"]

LEAST_DEVIATION = 0.05
"""Added to the deviation of a window: what hardly moves is not blown up."""


@compiled
def cluster_distance(history, absent, channels, end, width, centres, n_centres, window, shares):
    """Distance of the window that ends at `end` to the nearest centre; ``shares[c]`` becomes its squares by channel.

    It is the root of the mean over rows of the squares summed over channels. The window is scaled by itself, channel by
    channel. ``centres[c, a, k]`` is row a of the window of centre k, oldest first; the centre's number runs fastest, so
    that all of them are compared side by side. What is `absent` is left out, and made up for by the rest; without any
    value the distance is NaN. `window` is room for channels x width values.
    """
    totals = np.zeros(n_centres)
    present = 0
    for c in range(channels):
        own, gone = history[c, end - width + 1 : end + 1], absent[c, end - width + 1 : end + 1]
        there, mean, squares = 0, 0.0, 0.0
        for a in range(width):
            if not gone[a]:
                there += 1
                mean += np.float64(own[a])
        if there == 0:
            continue
        present += there
        mean /= there
        for a in range(width):
            if not gone[a]:
                d = np.float64(own[a]) - mean
                squares += d * d
        unit = 1.0 / (np.sqrt(squares / there) + LEAST_DEVIATION)
        for a in range(width):
            if gone[a]:
                continue
            z = (np.float64(own[a]) - mean) * unit
            window[c, a] = z
            row = centres[c, a, :n_centres]
            for k in range(n_centres):
                d = z - np.float64(row[k])
                totals[k] += d * d
    best = np.argmin(totals)
    for c in range(channels):
        share = 0.0
        for a in range(width):
            if not absent[c, end - width + 1 + a]:
                d = window[c, a] - np.float64(centres[c, a, best])
                share += d * d
        shares[c] = share
    return np.sqrt(totals[best] / present * channels) if present else np.nan
