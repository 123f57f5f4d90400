"""The loop of `tsad.detectors.sub_pca`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["complete", "score_sub_pca"]


@compiled
def complete(z, present, n, basis, variances, noise):
    """Put in place of missing values what the subspace expects of them, given the others.

    A missing value at its mean would contradict the channels that it usually goes with. The coordinates in the subspace
    are normal with its variances, and residuals with each channel's noise; what is most likely given the values that
    are there solves a small linear system.
    """
    k = len(variances)
    system = np.zeros((k, k))
    known = np.zeros(k)
    for a in range(k):
        system[a, a] = 1.0 / variances[a]
    for j in range(len(z)):
        if present[j]:
            precision = 1.0 / (noise[j % n] * noise[j % n])
            for a in range(k):
                weighed = basis[a, j] * precision
                known[a] += weighed * z[j]
                for b in range(a + 1):
                    system[a, b] += weighed * basis[b, j]
    # Cholesky, forwards, backwards: in a fixed order, and no copy for a library.
    for a in range(k):
        for b in range(a + 1):
            total = system[a, b]
            for c in range(b):
                total -= system[a, c] * system[b, c]
            system[a, b] = np.sqrt(max(total, 1e-12)) if a == b else total / system[b, b]
    for a in range(k):
        for c in range(a):
            known[a] -= system[a, c] * known[c]
        known[a] /= system[a, a]
    for a in range(k - 1, -1, -1):
        for c in range(a + 1, k):
            known[a] -= system[c, a] * known[c]
        known[a] /= system[a, a]
    for j in range(len(z)):
        if not present[j]:
            z[j] = 0.0
            for a in range(k):
                z[j] += known[a] * basis[a, j]


@compiled
def score_sub_pca(
    series, values, breaks, n_channels, location, scale, weight, mean, basis, variances, n_components, noise,
    residual_unit, newest_unit, subspace_unit, window, residual_band, ring, filled, position, score, reason,
    contributions, expected, lower, upper,
):  # fmt: skip
    length = ring.shape[1]
    size = length * ring.shape[2]
    z = np.empty(size)
    rest = np.empty(size)
    pulled = np.empty(size)
    present = np.empty(size, dtype=np.bool_)
    for i in range(len(series)):
        s = series[i]
        n = n_channels[s]
        w = window[s]
        if breaks[i]:
            filled[s] = 0
        for c in range(n):
            x = values[i, c]
            if np.isnan(x) or weight[s, c] == 0.0:
                ring[s, position[s], c] = np.nan
            else:
                ring[s, position[s], c] = (x - location[s, c]) / scale[s, c] * weight[s, c]
        newest = position[s]
        position[s] = (newest + 1) % w
        filled[s] = min(filled[s] + 1, w)
        if filled[s] < w:
            reason[i] = 2
            continue
        known = 0
        masked = False
        for a in range(w):
            # Oldest row first, as in training.
            row = (newest + 1 + a) % w
            for c in range(n):
                j = a * n + c
                value = ring[s, row, c]
                present[j] = not np.isnan(value)
                z[j] = value - mean[s, j] if present[j] else 0.0
                known += present[j]
                masked |= not present[j] and weight[s, c] > 0.0
                rest[j] = z[j]
                pulled[j] = 0.0
        if 2 * known < w * n:
            reason[i] = 3
            continue
        if masked:
            count = n_components[s]
            complete(z[: w * n], present[: w * n], n, basis[s, :count], variances[s, :count], noise[s])
            for j in range(w * n):
                rest[j] = z[j]
        subspace = 0.0
        for k in range(n_components[s]):
            along = 0.0
            for j in range(w * n):
                along += basis[s, k, j] * z[j]
            subspace += along * along / variances[s, k]
            for j in range(w * n):
                rest[j] -= along * basis[s, k, j]
                pulled[j] += along / variances[s, k] * basis[s, k, j]
        largest = 0.0
        newest_largest = 0.0
        total = 0.0
        for c in range(n):
            squares = 0.0
            along = 0.0
            there = 0
            for a in range(w):
                j = a * n + c
                if present[j]:
                    squares += rest[j] * rest[j]
                    along += max(0.0, z[j] * pulled[j])
                    there += 1
            if there > 0:
                squares /= there * noise[s, c] * noise[s, c]
            largest = max(largest, squares)
            j = (w - 1) * n + c
            now = rest[j] * rest[j] / (noise[s, c] * noise[s, c]) if present[j] else 0.0
            newest_largest = max(newest_largest, now)
            contributions[i, c] = squares / residual_unit[s] + now / newest_unit[s] + along / subspace_unit[s]
            total += contributions[i, c]
            if weight[s, c] > 0.0:
                unit = scale[s, c] / weight[s, c]
                center = location[s, c] + (mean[s, j] + z[j] - rest[j]) * unit
                expected[i, c] = center
                lower[i, c] = center - residual_band[s, c] * unit
                upper[i, c] = center + residual_band[s, c] * unit
        score[i] = np.sqrt(
            max(largest / residual_unit[s], newest_largest / newest_unit[s], subspace / subspace_unit[s])
        )
        if total > 0.0:
            for c in range(n):
                contributions[i, c] /= total
