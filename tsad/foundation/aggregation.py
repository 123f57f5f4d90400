"""From probabilities of channels to one score a row."""

from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["AGGREGATES", "Aggregate", "aggregated"]

Aggregate = Literal["max", "top3", "mean", "root", "norm"]
AGGREGATES = ("max", "top3", "mean", "root", "norm")
_TOP = 3


def aggregated(
    probability: npt.NDArray[np.float64], how: Aggregate, weight: npt.NDArray[np.float64] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """One score a row, and the share of each channel in it.

    A mean over all channels dilutes what one of them says by their number, the largest of many is often large by
    chance: ``top3``, the mean of the three largest, is between the two, and so is ``root``. A ``norm`` does not care
    how many channels are silent: it is for what is nothing where all is well.

    Parameters
    ----------
    probability
        float64[m, c], NaN where a channel says nothing.
    how
        ``max``, ``top3``, ``mean``, ``root`` of the mean square, or ``norm``, that of the sum of squares.
    weight
        float64[c] or [m, c], how much a channel counts (`tsad.scaling`: a state that switches by its nature counts
        little beside what is measured); all alike where it is None.

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
    w = np.where(known, 1.0 if weight is None else weight, 0.0)
    p = np.where(known, probability, 0.0)
    # The three largest of few weights, or of one measured channel among many states, add up to less than three.
    whole = np.sort(w, axis=1)[:, ::-1]
    if how == "max":
        score, divisor = (w * p).max(axis=1), whole[:, 0]
    elif how == "top3":
        score, divisor = np.sort(w * p, axis=1)[:, ::-1][:, :_TOP].sum(axis=1), whole[:, :_TOP].sum(axis=1)
    elif how == "norm":
        # What counts little counts little in units of the score, not of its square.
        score, divisor = (w * p * w * p).sum(axis=1), np.asarray((w > 0).any(axis=1), dtype=np.float64)
    else:
        power = p if how == "mean" else p * p
        score, divisor = (w * power).sum(axis=1), w.sum(axis=1)
    speaks = divisor > 0
    score = score / np.where(speaks, divisor, 1.0)
    score = np.sqrt(score) if how in {"root", "norm"} else score
    total = (w * p).sum(axis=1, keepdims=True)
    shares = np.divide(w * p, total, out=np.zeros_like(p), where=total > 0)
    return np.where(speaks, score, np.nan), shares.astype(np.float32)
