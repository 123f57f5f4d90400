"""Which rows of a node are learnt from, which judge the model, and what is said of a row's errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["held_out", "idle_rows", "mostly_missing", "one_block_of_errors", "reduced"]

_BLOCKS = 10
_HELD_OUT = (2, 5, 8)


def idle_rows(values: npt.NDArray[np.float32], columns: Sequence[int], below: float) -> npt.NDArray[np.bool_]:
    """bool[t], rows whose named columns sum to less than `below`; a row without any of them is not idle.

    Examples
    --------
    >>> idle_rows(np.array([[4, 5], [6, 5], [np.nan, np.nan], [np.nan, 5]], np.float32), [0, 1], 10.0)
    array([ True, False, False,  True])
    """
    if not len(columns):
        return np.zeros(len(values), dtype=np.bool_)
    load = values[:, list(columns)]
    return np.asarray((np.nansum(load, axis=1) < below) & ~np.isnan(load).all(axis=1))


def mostly_missing(values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """bool[t], rows of which more than half of the values are missing."""
    return np.asarray(2 * np.isnan(values).sum(axis=1) > values.shape[1])


def held_out(rows: int) -> npt.NDArray[np.bool_]:
    """bool[rows], three of ten blocks: they judge the model and never train it."""
    return np.isin(np.arange(rows) * _BLOCKS // max(rows, 1), _HELD_OUT)


def reduced(errors: npt.NDArray[np.floating[Any]], how: str) -> npt.NDArray[np.float64]:
    """Score of every row from its errors by feature, ``max`` or ``mean``; every row has a known feature."""
    found = np.nanmax(errors, axis=1) if how == "max" else np.nanmean(errors, axis=1)
    return np.asarray(found, dtype=np.float64)


def one_block_of_errors(errors: npt.NDArray[np.float64]) -> bool:
    """Whether the largest hundredth of the errors lies side by side and far above the rest: rather a fault than chance.

    Side by side is nine in ten of them within a stretch of one and a half times their number; fewer than ten are not
    judged. Far above is twice the 97th percentile; a rare job, too, lies side by side.

    Examples
    --------
    >>> errors = np.random.default_rng(0).random(2000)
    >>> one_block_of_errors(errors), one_block_of_errors(errors + 2 * (np.abs(np.arange(2000) - 700) < 12))
    (False, True)
    """
    known = errors[~np.isnan(errors)]
    count = len(known) // 100
    if count < 10:
        return False
    largest = np.sort(np.argpartition(known, -count)[-count:])
    if np.median(known[largest]) < 2.0 * np.quantile(known, 0.97):
        return False
    most = -(-9 * count // 10)
    stretches = largest[most - 1 :] - largest[: count - most + 1] + 1
    return bool(stretches.min() <= 1.5 * count)
