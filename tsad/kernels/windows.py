"""The ring of scaled rows that windowed light detectors keep for every series."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["FARTHEST", "take_row"]

FARTHEST = 1e4
"""Scaled values are cut off here: beyond ten thousand deviations sums of squares would swallow everything usual."""


@compiled
def take_row(x, is_break, s, channels, rows, location, scale, weight, ring, gone, filled, position):
    """Put a row into the ring of `rows` places of series `s`; returns its place.

    A missing value stands at the last one since the last break, 0 where there was none, and is marked in `gone`.
    """
    if is_break:
        filled[s] = 0
    newest = position[s]
    before = (newest - 1) % rows
    for c in range(channels):
        value = np.float64(x[c])
        if np.isnan(value) or weight[s, c] == 0.0:
            ring[s, newest, c] = ring[s, before, c] if filled[s] > 0 else np.float32(0.0)
            gone[s, newest, c] = True
        else:
            scaled = (value - location[s, c]) / scale[s, c]
            ring[s, newest, c] = min(max(scaled, -FARTHEST), FARTHEST)
            gone[s, newest, c] = False
    position[s] = (newest + 1) % rows
    filled[s] = min(filled[s] + 1, rows)
    return newest
