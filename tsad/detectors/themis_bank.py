"""The bank of normal vectors that `themis` compares with, so that a window need not be its own measure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.kernels.themis import judge_vectors

__all__ = ["AXES", "VectorBank", "held_out", "learn_bank"]

AXES = 16
"""Directions of the subspace in which variances are told apart; the rest has one."""
_FOLDS = 4
_LEAST_VARIANCE = 1e-10
_WHOLE = 0.95


@dataclass(frozen=True, slots=True)
class VectorBank:
    """Normal vectors and their first two moments.

    Attributes
    ----------
    vectors
        float32[n, d] of length 1, at most as many as are remembered.
    newest
        float32[n], newest value of each one's window, in deviations from its mean.
    mean, axes, weights
        float64[d], float32[AXES, d] and float64[AXES + 1]: centre, main directions, and inverse variances along them
        and across them.
    """

    vectors: npt.NDArray[np.float32]
    newest: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]

    def judge(
        self, vectors: npt.NDArray[np.float32], neighbours: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Distances float64[m, 2] (nearest vectors; Mahalanobis) and expected newest values float64[m]."""
        distances, expected = np.empty((len(vectors), 2)), np.empty(len(vectors))
        judge_vectors(
            vectors, self.vectors, self.newest, self.mean, self.axes, self.weights, neighbours, distances, expected
        )
        return distances, expected


def learn_bank(unit: npt.NDArray[np.float32], newest: npt.NDArray[np.float32], memory: int) -> VectorBank:
    """A bank of vectors of length 1, float32[n, d], n >= 1, none of them NaN.

    More than `memory` vectors are thinned evenly in time; the moments are those of all.
    """
    mean = unit.astype(np.float64).mean(axis=0)
    n, d = unit.shape
    axes, weights = np.zeros((AXES, d), np.float32), np.zeros(AXES + 1)
    centred = unit - mean
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2 / max(n - 1, 1)
    total = max(float(variances.sum()), _LEAST_VARIANCE * d)
    # No more directions than say nearly all, or than a quarter of the vectors can tell.
    enough = int(np.searchsorted(np.cumsum(variances), _WHOLE * total)) + 1
    r = min(AXES, enough, max(1, n // 4), len(sizes))
    axes[:r] = directions[:r]
    across = max(total - float(variances[:r].sum()), 0.0) / max(d - r, 1)
    floor = max(_LEAST_VARIANCE, 1e-3 * total / d)
    weights[:r] = 1 / np.maximum(variances[:r], floor)
    weights[AXES] = 1 / max(across, floor)
    kept = np.unique(np.linspace(0, n - 1, min(n, memory)).round().astype(np.int64))
    return VectorBank(np.ascontiguousarray(unit[kept]), newest[kept].astype(np.float32), mean, axes, weights)


def held_out(
    unit: npt.NDArray[np.float32],
    newest: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    *,
    memory: int,
    neighbours: int,
    apart: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What banks say of vectors they have not seen: distances float64[n, 2] and expected values float64[n].

    Parameters
    ----------
    unit, newest
        See `learn_bank`.
    rows
        int64[n], rising: row at which each window ends.
    memory, neighbours
        Of the bank.
    apart
        Rows at either side of a held-out stretch that its bank does not see either, because their windows share rows.
        Four stretches are held out one after the other.
    """
    distances, expected = np.full((len(unit), 2), np.nan), np.full(len(unit), np.nan)
    for fold in np.array_split(np.arange(len(unit)), _FOLDS):
        if not len(fold):
            continue
        others = (rows < rows[fold[0]] - apart) | (rows > rows[fold[-1]] + apart)
        if others.any():
            bank = learn_bank(unit[others], newest[others], memory)
            distances[fold], expected[fold] = bank.judge(unit[fold], neighbours)
    return distances, expected
