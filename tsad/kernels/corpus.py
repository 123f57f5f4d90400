"""How a changed segment compares with the rest of its series: the label rule of the synthetic corpus."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["nearest_distance", "roughness_gap"]


@compiled
def nearest_distance(x, y, a, b, step):
    """Squared distance a point of `y[a:b]` to the nearest other window of `x`, every `step`-th row compared."""
    n, length = len(x), b - a
    best = np.inf
    points = (length + step - 1) // step
    stride = max(1, length // 32)
    for start in range(0, n - length + 1, stride):
        if start < b and start + length > a:
            continue
        total = 0.0
        for i in range(0, length, step):
            d = y[a + i] - x[start + i]
            total += d * d
            if total >= best:
                break
        best = min(best, total)
    return best / points


@compiled
def roughness_gap(x, y, a, b):
    """How far the log roughness of `y[a:b]` lies from that of the nearest other window of `x`."""
    n, length = len(x), b - a
    scale = 1e-3 * (np.abs(np.diff(x)).mean() + 1e-9)
    own = np.log(np.abs(np.diff(y[a:b])).mean() + scale)
    best = np.inf
    stride = max(1, length // 16)
    for start in range(0, n - length + 1, stride):
        if start < b and start + length > a:
            continue
        other = np.log(np.abs(np.diff(x[start : start + length])).mean() + scale)
        best = min(best, abs(own - other))
    return best
