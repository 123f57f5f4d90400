"""The loop of `tsad.detectors.poly`."""

import numpy as np

from tsad.compiled import compiled
from tsad.kernels.windows import take_row

__all__ = ["score_poly"]


@compiled
def score_poly(
    series, values, breaks, n_channels, location, scale, weight, unit, filters, ring, gone, filled, position, score,
    reason, contributions, expected, lower, upper,
):  # fmt: skip
    rows = ring.shape[1]
    for i in range(len(series)):
        s = series[i]
        n = n_channels[s]
        best = -1.0
        total = 0.0
        seen = False
        ready = filled[s] == rows and not breaks[i]
        for c in range(n):
            seen = seen or (weight[s, c] > 0.0 and not np.isnan(values[i, c]))
            if not ready or weight[s, c] == 0.0:
                continue
            forecast = 0.0
            missing = 0
            place = position[s]
            for a in range(rows):
                # Oldest row first.
                forecast += filters[a] * ring[s, place, c]
                missing += gone[s, place, c]
                place = place + 1 if place + 1 < rows else 0
            if 2 * missing > rows:
                continue
            center = location[s, c] + forecast * scale[s, c]
            half = unit[s, c] * scale[s, c]
            expected[i, c] = center
            lower[i, c] = center - half
            upper[i, c] = center + half
            x = np.float64(values[i, c])
            if np.isnan(x):
                continue
            ratio = min(abs(x - center) / half, 1e9)
            best = max(best, ratio)
            contributions[i, c] = ratio * ratio
            total += ratio * ratio
        take_row(values[i], breaks[i], s, n, rows, location, scale, weight, ring, gone, filled, position)
        if best < 0.0:
            reason[i] = 2 if seen and not ready else 3
            continue
        score[i] = best
        if total > 0.0:
            for c in range(n):
                contributions[i, c] /= total
