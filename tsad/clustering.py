"""Lloyd's k-means."""

import numpy as np
import numpy.typing as npt

__all__ = ["cluster"]


def cluster(
    points: npt.NDArray[np.float64], count: int, rng: np.random.Generator, rounds: int = 100
) -> npt.NDArray[np.float64]:
    """Lloyd's k-means from a k-means++ start: the centres, float64[count, d].

    Source: D. Arthur and S. Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.

    Parameters
    ----------
    points
        float64[m, d], m >= count.
    count
        Centres.
    rng
        Chooses the first centres.
    rounds
        How often points are assigned, at most; it ends when no point changes its centre.

    Examples
    --------
    >>> points = np.array([[0.0], [0.2], [5.0], [5.2], [9.0]])
    >>> np.sort(cluster(points, 3, np.random.default_rng(0)).ravel()).round(6).tolist()
    [0.1, 5.1, 9.0]
    """
    squares = np.einsum("md,md->m", points, points)
    centres = np.empty((count, points.shape[1]))
    centres[0] = points[rng.integers(len(points))]
    nearest = _distances(points, squares, centres[:1])[:, 0]
    for k in range(1, count):
        total = nearest.sum()
        shares = nearest / total if total > 0 else None
        centres[k] = points[int(rng.choice(len(points), p=shares))]
        nearest = np.minimum(nearest, _distances(points, squares, centres[k : k + 1])[:, 0])
    owner = np.full(len(points), -1)
    for _ in range(rounds):
        distances = _distances(points, squares, centres)
        before, owner = owner, distances.argmin(axis=1)
        if np.array_equal(before, owner):
            break
        members = np.zeros((len(points), count))
        members[np.arange(len(points)), owner] = 1.0
        sizes = members.sum(axis=0)
        centres = members.T @ points / np.maximum(sizes, 1.0)[:, None]
        # A centre that nobody is near moves to the point that is farthest from its own.
        far = np.argsort(-distances[np.arange(len(points)), owner], kind="stable")
        for empty, at in zip(np.flatnonzero(sizes == 0), far, strict=False):
            centres[empty] = points[at]
    return centres


def _distances(
    points: npt.NDArray[np.float64], squares: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Squared distances, float64[m, count]."""
    found = squares[:, None] - 2.0 * points @ centres.T + np.einsum("kd,kd->k", centres, centres)
    return np.asarray(np.maximum(found, 0.0))
