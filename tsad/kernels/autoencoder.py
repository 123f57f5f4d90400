"""The loop of `tsad.detectors.autoencoder`."""

import numpy as np
from numba import njit

__all__ = ["reconstruct"]


@njit(cache=True, nogil=True)
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
