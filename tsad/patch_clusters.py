"""Typical windows of a training part, for the clusters of `tsad.detectors.patchbank`."""

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from tsad.clustering import cluster
from tsad.kernels.patch_clusters import LEAST_DEVIATION

__all__ = ["typical_windows"]

_MOST_WINDOWS = 3000
_MOST_ROUNDS = 25


def typical_windows(
    bank: npt.NDArray[np.float32], good: npt.NDArray[np.bool_], width: int, count: int
) -> npt.NDArray[np.float32]:
    """Centres of the windows of a training part, each scaled by itself: float32[c, width, k], the oldest row first.

    Up to 3,000 windows, evenly spread, are clustered from a fixed start, so that the same training part has the same
    centres. There are no more centres than windows, and none where no window is whole.

    Parameters
    ----------
    bank
        float32[t, c], scaled rows.
    good
        bool[t], whether the window that ends at each row may be used.
    width
        Rows of a window.
    count
        Centres, at most.
    """
    ends = np.flatnonzero(good)
    if not ends.size:
        return np.zeros((bank.shape[1], width, 0), np.float32)
    chosen = ends[np.linspace(0, len(ends) - 1, min(len(ends), _MOST_WINDOWS)).astype(np.int64)]
    windows = sliding_window_view(bank, width, axis=0)[chosen - width + 1].astype(np.float64)
    deviation = windows.std(axis=2, keepdims=True) + LEAST_DEVIATION
    scaled = ((windows - windows.mean(axis=2, keepdims=True)) / deviation).reshape(len(chosen), -1)
    with threadpool_limits(1, user_api="blas"):
        centres = cluster(scaled, min(count, len(chosen)), np.random.default_rng(0), rounds=_MOST_ROUNDS)
    return np.ascontiguousarray(centres.reshape(len(centres), bank.shape[1], width).transpose(1, 2, 0), np.float32)
