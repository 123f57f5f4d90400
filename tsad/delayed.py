"""Scores of rows that are given again later, when more is known: which row each is about, and what is usual for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.delayed import earlier_values
from tsad.observations import RowBatch
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["DelayedRows", "DelayedScores"]

_LEVEL_QUANTILE = 0.9
_NO_ROW = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class DelayedScores:
    """What is said later of n rows, in the order in which it came.

    The rows may have come with earlier batches, so each is known by its series and time.

    Attributes
    ----------
    rows
        int64[n], place in the batch of the row that each came with.
    series
        int32[n].
    times
        int64[n], event time of the row that is spoken of, ns UTC.
    delays
        int16[n], how many rows before, in the same series, that row came.
    scores
        float64[n], higher is odder; NaN where nothing can be said. Delays have units of their own.
    levels
        float64[n], the 0.9 quantile of the scores at the same delay in training.
    """

    rows: npt.NDArray[np.int64]
    series: npt.NDArray[np.int32]
    times: npt.NDArray[np.int64]
    delays: npt.NDArray[np.int16]
    scores: npt.NDArray[np.float64]
    levels: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


class DelayedRows:
    """Remembers the times of the newest rows of many series, and so finds the rows that delayed scores are about.

    Parameters
    ----------
    delays
        In rows, rising.
    """

    def __init__(self, delays: Sequence[int]) -> None:
        self._delays = np.array(delays, np.int64)
        self._arrays = SeriesArrays(
            {
                "levels": Field(np.float64, np.nan, (len(delays),), fitted=True),
                "times": Field(np.int64, 0, (max(delays) + 1,)),
                "seen": Field(np.int64),
            }
        )

    def reserve(self, n_series: int) -> None:
        """Have room for `n_series` series."""
        self._arrays.reserve(n_series)

    def fit(self, series: int, scores: npt.NDArray[np.float64]) -> None:
        """Learn what is usual from the scores of a training part, float64[t, k]; the next row is the first."""
        self.reserve(series + 1)
        for k, own in enumerate(scores.T):
            known = own[~np.isnan(own)]
            self._arrays.levels[series, k] = np.quantile(known, _LEVEL_QUANTILE) if known.size else np.nan
        self._arrays.seen[series] = 0

    def find(self, rows: RowBatch, scores: npt.NDArray[np.float64]) -> DelayedScores:
        """Take rows in, in order, with what is said of earlier ones, float64[m, k]."""
        a = self._arrays
        times = np.empty(scores.shape, np.int64)
        earlier_values(rows.series, rows.times, self._delays, a.times, a.seen, _NO_ROW, times)
        found, which = np.nonzero(times != _NO_ROW)
        series = rows.series[found]
        return DelayedScores(
            found, series, times[found, which], self._delays[which].astype(np.int16), scores[found, which],
            a.levels[series, which],
        )  # fmt: skip

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)
