"""The loops of the baselines in `tsad.events`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["isolation_depths", "pair_ratios"]


@compiled
def _count(keys, counts, key):
    """Count of a key in sorted keys, 0 where it is not there."""
    low, high = 0, keys.shape[0]
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < keys.shape[0] and keys[low] == key:
        return counts[low]
    return 0.0


@compiled
def pair_ratios(codes, offsets, entity_counts, total, keys, counts, smoothing, out, by_attribute):
    """Largest log-ratio of expected to seen frequency over all pairs of values, overall and by attribute.

    A pair's key is the row of its first value times the number of rows, plus the row of its second.
    """
    n, m = codes.shape
    rows = offsets[m]
    for r in range(n):
        out[r] = -np.inf
        by_attribute[r, :] = -np.inf
        for i in range(m):
            first_seen = codes[r, i] < offsets[i + 1] - offsets[i]
            first = offsets[i] + codes[r, i]
            n_first = entity_counts[first] if first_seen else 0.0
            for j in range(i + 1, m):
                second_seen = codes[r, j] < offsets[j + 1] - offsets[j]
                second = offsets[j] + codes[r, j]
                n_second = entity_counts[second] if second_seen else 0.0
                together = _count(keys, counts, first * rows + second) if first_seen and second_seen else 0.0
                ratio = np.log(
                    (n_first + smoothing) * (n_second + smoothing) / ((together + smoothing) * (total + smoothing))
                )
                out[r] = max(out[r], ratio)
                by_attribute[r, i] = max(by_attribute[r, i], ratio)
                by_attribute[r, j] = max(by_attribute[r, j], ratio)


@compiled
def isolation_depths(x, roots, left, right, feature, threshold, leaf_depth, out):
    """Mean path length of every row over all trees; `leaf_depth` holds depth and expected rest of every leaf."""
    for r in range(x.shape[0]):
        total = 0.0
        for t in range(roots.shape[0]):
            node = roots[t]
            while left[node] >= 0:
                node = left[node] if x[r, feature[node]] <= threshold[node] else right[node]
            total += leaf_depth[node]
        out[r] = total / roots.shape[0]
