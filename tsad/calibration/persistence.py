"""On-delay and minimum samples: an alarm condition must hold in k of the last n rows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.episodes import persist
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["PersistenceFilter"]


class PersistenceFilter:
    """Replaces every score by the k-th largest of the last n.

    A threshold on the filtered score is exceeded exactly when k of the last n raw scores exceed it, so calibrating
    the filtered score keeps the budget of false alarms whatever the on-delay.

    Parameters
    ----------
    needed, of
        k and n, 1 <= k <= n.

    Examples
    --------
    >>> f = PersistenceFilter(2, of=3)
    >>> f.apply(np.zeros(5, np.int32), np.array([1.0, 5.0, 2.0, 9.0, 0.0]), np.zeros(5, np.bool_))
    array([nan,  1.,  2.,  5.,  2.])
    """

    def __init__(self, needed: int, of: int) -> None:
        if not 1 <= needed <= of:
            raise ValueError(f"minimum samples are {needed} of {of}; the first must be between 1 and the second")
        self.needed = needed
        self.of = of
        self._arrays = SeriesArrays(
            {"ring": Field(np.float64, np.nan, (of,)), "filled": Field(np.int64), "position": Field(np.int64)},
        )

    def reserve(self, n_series: int) -> None:
        """Have room for `n_series` series."""
        self._arrays.reserve(n_series)

    def apply(
        self,
        series: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float64],
        breaks: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """Filter scores in order; NaN rows are skipped, a break empties the window. Returns float64[m]."""
        if self.of == 1:
            return scores
        if len(series):
            self.reserve(int(series.max()) + 1)
        out = np.empty(len(scores))
        a = self._arrays
        persist(series, scores, breaks, self.needed, a.ring, a.filled, a.position, out)
        return out

    def prime(self, series: int, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Start `series` afresh with the scores of its prefix; returns them filtered."""
        self.reserve(series + 1)
        self._arrays.filled[series] = 0
        return self.apply(np.full(len(scores), series, np.int32), scores, np.zeros(len(scores), np.bool_))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._arrays.restore(state)
