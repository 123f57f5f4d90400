"""How nodes follow the median of their siblings: learnt from a common past, and used on later steps.

The mathematics is that of `tsad.fleet.comparison.FleetComparison`; here a node may also be learnt alone, against
siblings that are learnt already, and what is learnt stands in arrays that grow.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.fleet.comparison import CLIP, FEWEST_SIBLINGS, USUAL_QUANTILE, line
from tsad.kernels.siblings import compare
from tsad.scaling import fit_scaling

__all__ = ["Following", "Judged", "judge", "learn", "median_of_group"]

_BLOCKS = 10


class Following(NamedTuple):
    """How k nodes with n features follow their group, float64[k, n] each; NaN in `scale` of what is not known.

    ``(value - location) / scale`` is expected at ``level + slope * group``, within `usual`.
    """

    location: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]


class Judged(NamedTuple):
    """What siblings say of t steps of k nodes.

    Attributes
    ----------
    ratios
        float32[t, k, n], signed distance from what the siblings lead to expect, in units of its healthy 99th
        percentile; NaN where there is none.
    group
        float32[t, k, n], the median of the others, in deviations.
    """

    ratios: npt.NDArray[np.float32]
    group: npt.NDArray[np.float32]


def judge(values: npt.NDArray[np.float32], known: Following) -> Judged:
    """Judge time steps, each by itself: float32[t, k, n] values, NaN where missing."""
    found = Judged(np.empty(values.shape, np.float32), np.empty(values.shape, np.float32))
    compare(values, *known, CLIP, *found)
    return found


def median_of_group(values: npt.NDArray[np.float32], known: Following) -> npt.NDArray[np.float64]:
    """float64[t, n], what a node that is not among these would follow; NaN where fewer than three speak."""
    ranked = np.sort(_scaled(values, known.location, known.scale), axis=1)
    count = (~np.isnan(ranked)).sum(axis=1)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ranked.shape[1] - 1)
    middle = [np.take_along_axis(ranked, place[:, None], axis=1)[:, 0] for place in (low, high)]
    return np.where(count < FEWEST_SIBLINGS, np.nan, 0.5 * (middle[0] + middle[1]))


def learn(
    values: npt.NDArray[np.float32], group: npt.NDArray[np.float64] | None = None
) -> tuple[Following, npt.NDArray[np.float64]]:
    """Learn how nodes follow their group, and what errors they have when nothing is wrong.

    Every second of ten blocks is judged by what was learnt from the other five, so the errors are honest, and all rows
    have one. What is returned is then learnt from all rows.

    Parameters
    ----------
    values
        float32[t, k, n], NaN where missing.
    group
        float64[t, k, n], the median of the siblings; None: the k nodes are each other's siblings.

    Returns
    -------
    Following, float64[t, k]
        What was learnt, and the largest error of every row in units of `usual`; NaN where nothing can be said.
    """
    fold = (np.arange(len(values)) * _BLOCKS // max(len(values), 1)) % 2
    residuals = np.full(values.shape, np.nan)
    for side in (0, 1):
        learning, judging = fold != side, fold == side
        location, scale, level, slope = _fit(values[learning], None if group is None else group[learning])
        own = _scaled(values[judging], location, scale)
        others = _median_of_others(values[judging], location, scale) if group is None else group[judging]
        residuals[judging] = own - level - slope * others
    distance = np.abs(residuals)
    silent = np.isnan(distance).all(axis=0)
    filled = np.where(silent, 0.0, distance)
    whole = not np.isnan(filled).any()  # much quicker
    usual = (np.quantile if whole else np.nanquantile)(filled, USUAL_QUANTILE, axis=0)
    usual = np.where(silent, 1.0, np.maximum(usual, 1e-6))
    errors = np.nan_to_num(distance / usual, nan=-1.0).max(axis=2)
    location, scale, level, slope = _fit(values, group)
    return Following(location, scale, level, slope, usual), np.where(errors < 0, np.nan, errors)


def _fit(values: npt.NDArray[np.float32], group: npt.NDArray[np.float64] | None) -> tuple[npt.NDArray[Any], ...]:
    scalings = [fit_scaling(values[:, node], robust=True) for node in range(values.shape[1])]
    location = np.stack([s.location for s in scalings])
    scale = np.stack([np.where(s.known, s.scale / np.where(s.known, s.weight, 1.0), np.nan) for s in scalings])
    own = _scaled(values, location, scale)
    level, slope = line(own, _median_of_others(values, location, scale) if group is None else group)
    return location, scale, level, slope


def _median_of_others(
    values: npt.NDArray[np.float32], location: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    nothing = np.zeros_like(location)
    return judge(values, Following(location, scale, nothing, nothing, nothing + 1.0)).group.astype(np.float64)


def _scaled(
    values: npt.NDArray[np.float32], location: npt.NDArray[np.float64], scale: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.asarray(np.clip((values - location) / scale, -CLIP, CLIP))
