"""The loops of `tsad.detectors.kmeans`."""

import numpy as np

from tsad.compiled import compiled
from tsad.kernels.windows import take_row

__all__ = ["score_kmeans"]


@compiled
def score_kmeans(
    series, values, breaks, n_channels, n_centres, location, scale, weight, unit, band, centres, ring, gone, filled,
    position, score, reason, contributions, expected, lower, upper,
):  # fmt: skip
    """Score rows; a window in `centres`, float32[s, k, w * c], has its oldest row first and channels side by side."""
    rows = ring.shape[1]
    window = np.empty(rows * ring.shape[2])
    used = np.empty(rows * ring.shape[2])
    for i in range(len(series)):
        s = series[i]
        n = n_channels[s]
        newest = take_row(values[i], breaks[i], s, n, rows, location, scale, weight, ring, gone, filled, position)
        seen = False
        known = 0
        for c in range(n):
            seen = seen or not gone[s, newest, c]
            known += weight[s, c] > 0.0
        if not seen or filled[s] < rows:
            reason[i] = 2 if seen else 3
            continue
        present = 0
        for a in range(rows):
            row = (newest + 1 + a) % rows
            for c in range(n):
                j = a * n + c
                there = not gone[s, row, c]
                present += there
                used[j] = 1.0 if there else 0.0
                window[j] = ring[s, row, c] * weight[s, c]
        if 2 * present < rows * known:
            reason[i] = 3
            continue
        best, nearest = np.inf, 0
        for k in range(n_centres[s]):
            total = 0.0
            for a in range(rows):
                for j in range(a * n, a * n + n):
                    d = (window[j] - np.float64(centres[s, k, j])) * used[j]
                    total += d * d
                if total >= best:
                    break
            if total < best:
                best, nearest = total, k
        # What is missing is taken to lie as far off as what is there.
        score[i] = min(np.sqrt(best / present * known) / unit[s], 1e9)
        total = 0.0
        for a in range(rows):
            for c in range(n):
                j = a * n + c
                d = (window[j] - np.float64(centres[s, nearest, j])) * used[j]
                contributions[i, c] += d * d
                total += d * d
        for c in range(n):
            if total > 0.0:
                contributions[i, c] /= total
            if weight[s, c] > 0.0:
                along = np.float64(centres[s, nearest, (rows - 1) * n + c]) / weight[s, c]
                center = location[s, c] + along * scale[s, c]
                expected[i, c] = center
                lower[i, c] = center - band[s, c] * scale[s, c]
                upper[i, c] = center + band[s, c] * scale[s, c]
