"""Scores of the vectors of one window by what the others are like: the interchangeable last step of `themis`."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = [
    "SIMILARITIES",
    "Similarity",
    "local_outlier_factor",
    "mean_similarity",
    "similarity_matrix",
    "spectral_residual",
    "trimmed_top_k",
    "unit_rows",
]

Matrix = npt.NDArray[np.float64]
Similarity = Literal["absolute", "signed", "distance"]
SIMILARITIES = ("absolute", "signed", "distance")
_NEARLY_ZERO = 1e-12


def unit_rows(vectors: npt.NDArray[np.floating]) -> Matrix:
    """Rows of length 1, float64[w, d]; a row of zeros, or with a NaN, becomes NaN: it points nowhere.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [nan, nan]]
    """
    rows = np.asarray(vectors, np.float64)
    lengths = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    unit: Matrix = np.divide(rows, lengths, out=np.full_like(rows, np.nan), where=lengths > _NEARLY_ZERO)
    return unit


def similarity_matrix(vectors: npt.NDArray[np.floating], kind: Similarity = "absolute") -> Matrix:
    """Similarity of every two vectors, float64[w, w].

    Parameters
    ----------
    vectors
        float[w, d], none of them NaN or all zeros.
    kind
        ``absolute`` or ``signed`` cosine, or ``distance``: 1 / (1 + Euclidean distance). What "absolute similarity"
        means in the source is not known to us; the first is our reading.
    """
    if kind == "distance":
        rows = np.asarray(vectors, np.float64)
        squares = (rows * rows).sum(axis=1)
        apart = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0))
        np.fill_diagonal(apart, 0.0)
        return np.asarray(1 / (1 + apart))
    unit = unit_rows(vectors)
    cosines = np.clip(unit @ unit.T, -1.0, 1.0)
    np.fill_diagonal(cosines, 1.0)
    return np.asarray(np.abs(cosines) if kind == "absolute" else cosines)


def spectral_residual(
    vectors: npt.NDArray[np.floating], *, kept: int = 5, similarity: Similarity = "absolute"
) -> npt.NDArray[np.float64]:
    """How far each row of the similarity matrix lies from the matrix of its largest eigenvalues, float64[w].

    The score of row i is the root of the sum over the left-out eigenvalues of (eigenvalue x component i)^2. With signed
    cosines the matrix is a product of the unit vectors, so that it need not be made: their singular values give the
    same in time w d^2 instead of w^3. Where eigenvalues at the cut are equal, which of their axes is kept is arbitrary.

    Source: the spectral decomposition of THEMIS, arXiv 2510.03911, of which we know summaries only; 5 is our choice
    within the range that is said to be stable.

    Parameters
    ----------
    vectors
        float[w, d]; rows of zeros or with a NaN get NaN.
    kept
        Eigenvalues, by size, that are taken for what is usual.
    similarity
        See `similarity_matrix`.
    """

    def score(known: Matrix) -> npt.NDArray[np.float64]:
        if similarity == "signed":
            sides, sizes, _ = np.linalg.svd(unit_rows(known), full_matrices=False)
            values = sizes * sizes
        else:
            values, sides = np.linalg.eigh(similarity_matrix(known, similarity))
            order = np.argsort(-np.abs(values), kind="stable")
            values, sides = values[order], sides[:, order]
        return np.asarray(np.sqrt(((sides[:, kept:] * values[kept:]) ** 2).sum(axis=1)))

    return _of_known(vectors, score, alone=0.0)


def local_outlier_factor(
    vectors: npt.NDArray[np.floating], *, neighbours: int = 20, similarity: Similarity = "absolute"
) -> npt.NDArray[np.float64]:
    """Density of the neighbours of each vector over its own, float64[w]; 1 is usual.

    Source: M. Breunig et al., "LOF", SIGMOD 2000, with distance 1 - similarity.

    Parameters
    ----------
    vectors, similarity
        See `spectral_residual`.
    neighbours
        Nearest others that count; all of them in a smaller window.
    """

    def score(known: Matrix) -> npt.NDArray[np.float64]:
        apart = 1 - similarity_matrix(known, similarity)
        np.fill_diagonal(apart, np.inf)
        k = min(neighbours, len(known) - 1)
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(apart, nearest, axis=1)
        reach = np.maximum(distances, distances[nearest, -1])
        # Vectors that are all alike are infinitely dense; this keeps their ratio at 1.
        density = 1 / (reach.mean(axis=1) + 1e-10)
        return np.asarray(density[nearest].mean(axis=1) / density)

    return _of_known(vectors, score)


def mean_similarity(
    vectors: npt.NDArray[np.floating], *, similarity: Similarity = "absolute"
) -> npt.NDArray[np.float64]:
    """1 - mean similarity to all other vectors of the window, float64[w]; see `spectral_residual`."""

    def score(known: Matrix) -> npt.NDArray[np.float64]:
        matrix = similarity_matrix(known, similarity)
        return np.asarray(1 - (matrix.sum(axis=1) - np.diag(matrix)) / (len(known) - 1))

    return _of_known(vectors, score)


def trimmed_top_k(
    vectors: npt.NDArray[np.floating],
    *,
    share: float = 0.1,
    trimmed: float = 0.02,
    exclusion: int = 0,
    similarity: Similarity = "absolute",
) -> npt.NDArray[np.float64]:
    """1 - mean of the largest similarities to other vectors but for the very largest, float64[w].

    Parameters
    ----------
    vectors, similarity
        See `spectral_residual`.
    share, trimmed
        Of the window: similarities that are averaged (one at least), and larger ones that are dropped before, such as
        those to direct neighbours.
    exclusion
        Vectors at either side that are not compared.
    """

    def score(known: Matrix) -> npt.NDArray[np.float64]:
        w = len(known)
        matrix = similarity_matrix(known, similarity)
        rows = np.arange(w)
        matrix[np.abs(rows[:, None] - rows[None, :]) <= exclusion] = np.nan
        ranked = -np.sort(-matrix, axis=1)  # NaN last
        there = (~np.isnan(ranked)).sum(axis=1)
        k = max(1, round(share * w))
        # A short window has nothing to drop before the one that counts.
        first = np.minimum(round(trimmed * w), np.maximum(there - 1, 0))
        places = np.arange(w)[None, :]
        taken = (places >= first[:, None]) & (places < np.minimum(first + k, there)[:, None])
        count = taken.sum(axis=1)
        total = np.where(taken, ranked, 0.0).sum(axis=1)
        return np.where(count > 0, 1 - total / np.maximum(count, 1), np.nan)

    return _of_known(vectors, score)


def _of_known(
    vectors: npt.NDArray[np.floating], score: Callable[[Matrix], npt.NDArray[np.float64]], alone: float = np.nan
) -> npt.NDArray[np.float64]:
    """Scores of vectors that point somewhere, NaN for the others; `alone` where there is one only."""
    rows = np.asarray(vectors, np.float64)
    known = ~np.isnan(unit_rows(rows)).any(axis=1)
    found = np.full(len(rows), np.nan)
    if known.sum() > 1:
        found[known] = score(rows[known])
    else:
        found[known] = alone
    return found
