"""How series are cut into the windows of a network: scales, normalisation, and what was heard of each row."""

import numpy as np
import numpy.typing as npt

__all__ = ["block_means", "normalise", "window_starts"]

_LEAST_SPREAD = 1e-7


def normalise(
    values: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale every window by the mean and deviation of what is there, then shorten far values: asinh((x - m) / s).

    A constant window becomes 0. All sums run along the last axis of a fixed length, so a window's result does not
    depend on those beside it.

    Parameters
    ----------
    values
        float64[..., t]; what is not valid is not looked at and may be NaN.
    valid
        bool[..., t].

    Returns
    -------
    float32[..., t], 0 where not valid, then location and scale, float64[..., 1].

    Examples
    --------
    >>> scaled, location, scale = normalise(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]]))
    >>> scaled.astype(float).round(2).tolist(), location.tolist(), scale.tolist()
    ([[-0.88, 0.88, 0.0]], [[2.0]], [[1.0]])
    """
    there = np.where(valid, values, 0.0)
    count = np.maximum(valid.sum(axis=-1, keepdims=True), 1)
    location = there.sum(axis=-1, keepdims=True) / count
    centred = np.where(valid, values - location, 0.0)
    spread = np.sqrt((centred * centred).sum(axis=-1, keepdims=True) / count)
    # Sums of equal values differ from their product in the last places: that is no spread.
    moves = spread > _LEAST_SPREAD * (np.abs(location) + _LEAST_SPREAD)
    scale = np.where(moves, spread, 1.0)
    return np.where(moves, np.arcsinh(centred / scale), 0.0).astype(np.float32), location, scale


def block_means(
    values: npt.NDArray[np.float64], valid: npt.NDArray[np.bool_], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Means over blocks of `size` steps that end with the last step; half a block must be there.

    Parameters
    ----------
    values, valid
        float64[c, t] and bool[c, t].
    size
        Steps a block; the first block may be shorter.

    Returns
    -------
    float64[c, ceil(t / size)] and bool of that shape.

    Examples
    --------
    >>> block_means(np.array([[9.0, 1.0, 3.0]]), np.ones((1, 3), bool), 2)[0].tolist()
    [[9.0, 2.0]]
    """
    if size == 1:
        return np.where(valid, values, 0.0), valid
    c, t = values.shape
    blocks = -(-t // size)
    missing = blocks * size - t
    there = np.pad(valid, ((0, 0), (missing, 0))).reshape(c, blocks, size)
    filled = np.pad(np.where(valid, values, 0.0), ((0, 0), (missing, 0))).reshape(c, blocks, size)
    count = there.sum(axis=-1)
    possible = np.full(blocks, size)
    possible[0] -= missing
    return filled.sum(axis=-1) / np.maximum(count, 1), 2 * count >= possible


def window_starts(rows: int, window: int, stride: int) -> npt.NDArray[np.int64]:
    """First steps of windows that cover `rows` rows, the last of them ending with the last row; rows >= window.

    Examples
    --------
    >>> window_starts(10, 4, 3).tolist()
    [0, 3, 6]
    """
    starts = list(range(0, rows - window + 1, stride))
    if starts[-1] != rows - window:
        starts.append(rows - window)
    return np.asarray(starts, np.int64)
