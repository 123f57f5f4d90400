"""What was said of earlier rows, when something more is said of them."""

from tsad.compiled import compiled

__all__ = ["earlier_values"]


@compiled
def earlier_values(series, values, delays, recent, seen, missing, out):
    """Put `values` of rows into the rings of their series; ``out[i, k]`` becomes that of ``delays[k]`` rows before.

    ``recent[s, n mod R]`` holds the value of row n of series s, and ``seen[s]`` counts its rows; R is more than every
    delay. `missing` where there was no such row.
    """
    slots = recent.shape[1]
    for i in range(len(series)):
        s = series[i]
        recent[s, seen[s] % slots] = values[i]
        for k in range(len(delays)):
            row = seen[s] - delays[k]
            out[i, k] = recent[s, row % slots] if row >= 0 else missing
        seen[s] += 1
