"""Distance of vectors to a bank of normal ones, in one order of sums."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["judge_vectors"]


@compiled
def judge_vectors(vectors, bank, newest, mean, axes, weights, k, distances, expected):
    """Judge unit vectors [m, d] by a bank [n, d]; writes `distances` [m, 2] and `expected` [m].

    Distances are the mean over the `k` nearest, and Mahalanobis' by `axes` [r, d] with inverse variances `weights`
    [r + 1], the last of which holds for all that the axes leave. What is expected is the mean of `newest` [n] over the
    nearest. A vector with a NaN gets NaN.
    """
    m, d = vectors.shape
    n, r = len(bank), len(axes)
    k = min(k, n)
    nearest = np.empty(k)
    which = np.empty(k, np.int64)
    centred = np.empty(d)
    for i in range(m):
        distances[i, 0] = distances[i, 1] = expected[i] = np.nan
        square = 0.0
        for j in range(d):
            centred[j] = np.float64(vectors[i, j]) - mean[j]
            square += centred[j] * centred[j]
        if np.isnan(square) or n == 0:
            continue
        nearest[:] = np.inf
        which[:] = -1
        for b in range(n):
            apart = 0.0
            for j in range(d):
                gap = np.float64(vectors[i, j]) - np.float64(bank[b, j])
                apart += gap * gap
            if apart < nearest[k - 1]:
                at = k - 1
                while at > 0 and nearest[at - 1] > apart:
                    nearest[at] = nearest[at - 1]
                    which[at] = which[at - 1]
                    at -= 1
                nearest[at] = apart
                which[at] = b
        total, value = 0.0, 0.0
        for a in range(k):
            total += np.sqrt(nearest[a])
            value += np.float64(newest[which[a]])
        distances[i, 0] = total / k
        expected[i] = value / k
        within, weighted = 0.0, 0.0
        for a in range(r):
            along = 0.0
            for j in range(d):
                along += np.float64(axes[a, j]) * centred[j]
            within += along * along
            weighted += along * along * weights[a]
        distances[i, 1] = np.sqrt(weighted + max(square - within, 0.0) * weights[r])
