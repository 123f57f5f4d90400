"""Quality of single values: what cannot be a measurement is taken out, and counted by reason."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["QualityCounts", "screen"]


@dataclass(frozen=True, slots=True)
class QualityCounts:
    """How many values were taken out of a batch, by reason."""

    not_finite: int = 0
    out_of_range: int = 0


def screen(
    values: npt.NDArray[np.float32],
    low: npt.NDArray[np.float32] | None = None,
    high: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.float32], QualityCounts]:
    """Replace values that cannot be measurements by NaN.

    Absent values are NaN already and are not counted. Infinities, also those that arise when a double is too
    large for float32, count as not finite.

    Parameters
    ----------
    values
        float32[n, k].
    low, high
        float32[k] or float32[n, 1]: physical range, inclusive; ``None`` where none is known.

    Returns
    -------
    values, counts
        `values` itself when nothing had to be taken out, otherwise a copy.

    Examples
    --------
    >>> screen(np.array([[1.0, np.inf]], np.float32), high=np.array([0.5, 9.0], np.float32))
    (array([[nan, nan]], dtype=float32), QualityCounts(not_finite=1, out_of_range=1))
    """
    infinite = np.isinf(values)
    not_finite = int(np.count_nonzero(infinite))
    outside = np.zeros(values.shape, dtype=bool)
    if low is not None:
        outside |= values < low
    if high is not None:
        outside |= values > high
    outside &= ~infinite
    out_of_range = int(np.count_nonzero(outside))
    if not_finite or out_of_range:
        values = np.where(infinite | outside, np.float32(np.nan), values)
    return values, QualityCounts(not_finite, out_of_range)
