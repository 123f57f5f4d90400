"""The loops of `tsad.fleet.network` and `tsad.fleet.nodes`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["mahalanobis", "reconstruct"]


@compiled
def reconstruct(x, w1, b1, w2, b2, out):
    """ReLU layer and linear layer for every row; sums run in a fixed order, so a row does not know its batch."""
    n = x.shape[1]
    hidden = np.empty(w1.shape[1], dtype=np.float32)
    for i in range(x.shape[0]):
        hidden[:] = b1
        for j in range(n):
            value = x[i, j]
            if value != 0.0:
                for h in range(hidden.shape[0]):
                    hidden[h] += value * w1[j, h]
        out[i] = b2
        for h in range(hidden.shape[0]):
            value = hidden[h]
            if value > 0.0:
                for j in range(n):
                    out[i, j] += value * w2[h, j]


@compiled
def mahalanobis(residuals, centre, whitening, out):
    """Length of every row's whitened residuals; a missing one stands at the centre, the others count for it."""
    n = residuals.shape[1]
    white = np.empty(whitening.shape[1])
    for i in range(residuals.shape[0]):
        white[:] = 0.0
        known = 0
        for j in range(n):
            value = residuals[i, j] - centre[j]
            if not np.isnan(value):
                known += 1
                for k in range(white.shape[0]):
                    white[k] += value * whitening[j, k]
        total = 0.0
        for k in range(white.shape[0]):
            total += white[k] * white[k]
        out[i] = np.sqrt(total * n / known) if known else np.nan
