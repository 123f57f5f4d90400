"""Says when a calibration no longer holds: quiet scores that have become larger than they were.

Source: conformal test martingales, V. Vovk, I. Nouretdinov and A. Gammerman, "Testing Exchangeability On-Line", ICML
2003 (the mixture of power martingales); the restart is that of E. S. Page's CUSUM, Biometrika 41, 1954. Blocks and
their maxima make autocorrelated scores nearly exchangeable.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.monitor import watch
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["CalibrationMonitor"]

LIMIT = 100.0
"""Capital at which a game that starts from 1 and is fair without drift counts as won."""
KEPT_BLOCKS = 512
PATIENCE_BLOCKS = 50
_BETS = 5


class CalibrationMonitor:
    """Watches the quiet scores of many series for drift upwards.

    Scores outside alarms are cut into blocks. The largest score of a block is ranked among those of the blocks before
    it (the training part's and the newest 512); while nothing changes, ranks are uniform. Five bets against that are
    run at once, each started anew whenever it has lost its stake; when their mean capital reaches 100 the series
    drifts. The flag falls after 50 blocks without another signal, or when the series is learnt anew. A signal is a
    reason to learn anew, not an alarm.

    Parameters
    ----------
    block_rows
        Rows of a block: at least the longest window of the detectors, so that neighbouring maxima share no window.
    seed
        Ties are broken at random, by a value that depends on series and block alone.
    """

    def __init__(self, block_rows: int = 96, seed: int = 0) -> None:
        if block_rows < 1:
            raise ValueError(f"block_rows is {block_rows}; at least one row is needed")
        self.block_rows = block_rows
        self._seed = seed
        self._arrays = SeriesArrays(
            {
                "filled": Field(np.int64),
                "peak": Field(np.float64),
                "maxima": Field(np.float64, 0, (KEPT_BLOCKS,)),
                "n_maxima": Field(np.int64),
                "next_place": Field(np.int64),
                "blocks": Field(np.int64),
                "logs": Field(np.float64, 0, (_BETS,)),
                "capital": Field(np.float64),
                "drifting": Field(np.bool_),
                "quiet_blocks": Field(np.int64),
                "signals": Field(np.int64),
            },
        )

    def fit(self, series: int, scores: npt.NDArray[np.float64]) -> None:
        """Start afresh with the blocks of a quiet prefix.

        Parameters
        ----------
        series
            Number of the series.
        scores
            float64[n], honest scores of the prefix; NaN rows are left out.
        """
        self._arrays.reserve(series + 1)
        a = self._arrays
        known = scores[~np.isnan(scores)]
        count = min(len(known) // self.block_rows, KEPT_BLOCKS)
        for name in ("filled", "next_place", "blocks", "logs", "capital", "drifting", "quiet_blocks", "signals"):
            getattr(a, name)[series] = 0
        if count:
            newest = known[len(known) - count * self.block_rows :]
            a.maxima[series, :count] = newest.reshape(count, self.block_rows).max(axis=1)
        a.n_maxima[series], a.next_place[series] = count, count % KEPT_BLOCKS

    def update(self, series: npt.NDArray[np.int32], scores: npt.NDArray[np.float64], on: npt.NDArray[np.bool_]) -> int:
        """Take in scores, row by row and in order; returns how many drift signals there were.

        Parameters
        ----------
        series, scores, on
            int32[m], float64[m] and bool[m]: series number, score (NaN changes nothing), and whether an alarm stands.
        """
        if len(series):
            self._arrays.reserve(int(series.max()) + 1)
        a = self._arrays
        return int(
            watch(
                series, scores, on, self.block_rows, LIMIT, PATIENCE_BLOCKS, self._seed, a.filled, a.peak, a.maxima,
                a.n_maxima, a.next_place, a.blocks, a.logs, a.capital, a.drifting, a.quiet_blocks, a.signals,
            )
        )  # fmt: skip

    @property
    def drifting(self) -> npt.NDArray[np.bool_]:
        """bool[n_series], whether the series has drifted lately."""
        return self._arrays.drifting

    @property
    def signals(self) -> npt.NDArray[np.int64]:
        """int64[n_series], drift signals since the series was learnt."""
        return self._arrays.signals

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._arrays.restore(state)
