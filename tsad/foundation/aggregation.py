"""From probabilities of channels to one score a row."""

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["AGGREGATES", "Aggregate", "aggregated"]

Aggregate = Literal["max", "top3", "mean", "root"]
AGGREGATES = ("max", "top3", "mean", "root")
_TOP = 3


def aggregated(
    probability: npt.NDArray[np.float64], how: Aggregate
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """One score a row, and the share of each channel in it.

    A mean over all channels dilutes what one of them says by their number, the largest of many is often large by
    chance: ``top3``, the mean of the three largest, is between the two, and so is ``root``.

    Parameters
    ----------
    probability
        float64[m, c], NaN where a channel says nothing.
    how
        ``max``, ``top3``, ``mean`` or ``root`` of the mean square.

    Returns
    -------
    float64[m], NaN where no channel speaks, and float32[m, c] that sums to 1, or is 0 there.

    Examples
    --------
    >>> score, shares = aggregated(np.array([[0.1, np.nan, 0.3]]), "top3")
    >>> score.round(3).tolist(), shares.round(3).tolist()
    ([0.2], [[0.25, 0.0, 0.75]])
    """
    known = ~np.isnan(probability)
    p = np.where(known, probability, 0.0)
    count = known.sum(axis=1)
    if how == "max":
        score = p.max(axis=1)
    elif how == "top3":
        largest = np.sort(p, axis=1)[:, ::-1][:, :_TOP]
        score = largest.sum(axis=1) / np.clip(count, 1, _TOP)
    elif how == "mean":
        score = p.sum(axis=1) / np.maximum(count, 1)
    else:
        score = np.sqrt((p * p).sum(axis=1) / np.maximum(count, 1))
    total = p.sum(axis=1, keepdims=True)
    shares = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    return np.where(count > 0, score, np.nan), shares.astype(np.float32)
