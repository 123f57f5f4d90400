"""Scales of channels for window distances, where channels may share a unit."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["PatchScaling", "Units", "fit_patch_scaling"]

Units = Literal["auto", "shared", "mixed"]

STATE_WEIGHT = 0.05
SHARED_FLOOR = 0.1
RANGE_FLOOR = 0.005
LARGEST_RATIO = 1000.0
SCALED_ALREADY = 1.01
NOISE_FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class PatchScaling:
    """Location and factor of every channel, float64[c]: ``(x - location) * factor`` is what windows compare.

    The factor is 0 for a channel without any value.
    `shared` says whether the channels were taken to have one unit, `state` which of them are 0/1.
    """

    location: npt.NDArray[np.float64]
    factor: npt.NDArray[np.float64]
    shared: bool
    state: npt.NDArray[np.bool_]

    @property
    def weight(self) -> npt.NDArray[np.float64]:
        """What each channel counts, float64[c]: 0/1 channels less, unless all are."""
        return np.where(self.state & (not self.state.all()), STATE_WEIGHT, 1.0)

    def by_noise(self, train: npt.NDArray[np.float32]) -> "PatchScaling":
        """Return scales by what a channel moves from row to row instead of by its swing; state channels keep theirs.

        Parameters
        ----------
        train
            float32[t, c], NaN where missing.
        """
        scaled = (train.astype(np.float64) - self.location) * self.factor
        moves = np.diff(scaled, axis=0)
        noise = np.ones(train.shape[1])
        for c in np.flatnonzero(~self.state & (self.factor > 0)):
            known, steps = scaled[:, c][~np.isnan(scaled[:, c])], moves[:, c][~np.isnan(moves[:, c])]
            usual = max(float(steps.std()) if steps.size else 0.0, NOISE_FLOOR * float(known.std()))
            if usual > 0:
                noise[c] = usual / np.sqrt(2.0)
        return replace(self, factor=self.factor / noise)


def fit_patch_scaling(train: npt.NDArray[np.float32], units: Units = "auto") -> PatchScaling:
    """Learn scales from a training part.

    Where channels share a unit, a channel that hardly moves keeps its small weight: its scale is at least a tenth of
    the median deviation of the live ones. In mixed units nothing may depend on the unit, so the floor is the channel's
    own range. 0/1 channels are commands rather than measurements and count a twentieth.

    Parameters
    ----------
    train
        float32[t, c], NaN where missing.
    units
        ``auto`` takes one unit where the largest magnitudes of the live channels lie within a factor of 1000, or where
        everything lies within -1.01 ... 1.01 (scaled already).

    Examples
    --------
    >>> scaling = fit_patch_scaling(np.array([[1, 1000000], [3, 3000000]], np.float32))
    >>> scaling.shared, (1 / scaling.factor).tolist()
    (False, [1.0, 1000000.0])
    """
    values = train.astype(np.float64)
    seen = ~np.isnan(values)
    count = np.maximum(seen.sum(axis=0), 1)
    filled = np.where(seen, values, 0.0)
    mean = filled.sum(axis=0) / count
    deviation = np.sqrt((np.where(seen, values - mean, 0.0) ** 2).sum(axis=0) / count)
    any_value = seen.any(axis=0)
    low = np.where(any_value, np.where(seen, values, np.inf).min(axis=0), 0.0)
    high = np.where(any_value, np.where(seen, values, -np.inf).max(axis=0), 0.0)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    live = high > low
    state = np.asarray((np.where(seen, (values == 0) | (values == 1), True)).all(axis=0) & any_value, dtype=np.bool_)
    shared = len(mean) > 1 and _shared(magnitude[live], units)
    numeric = deviation[live & ~state]
    if shared and numeric.size:
        scale = np.maximum(deviation, SHARED_FLOOR * float(np.median(numeric)))
    else:
        constant = np.where(magnitude > 0, RANGE_FLOOR * magnitude, 1.0)
        scale = np.where(live, np.maximum(deviation, RANGE_FLOOR * (high - low)), constant)
    found = PatchScaling(mean, np.where(any_value, 1.0 / scale, 0.0), shared, state)
    return replace(found, factor=found.factor * found.weight)


def _shared(magnitude: npt.NDArray[np.float64], units: Units) -> bool:
    if units != "auto":
        return units == "shared"
    if not magnitude.size:
        return True
    return bool(magnitude.max() <= LARGEST_RATIO * magnitude.min() or magnitude.max() <= SCALED_ALREADY)
