"""Distance of the newest window to the nearest of a few typical ones."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from tsad.clustering import cluster
from tsad.detectors.base import Detector, Scores
from tsad.detectors.windowed import (
    SCALING_FIELDS,
    held_rows,
    learn_scaling,
    prefix_rows,
    residual_units,
    settled,
    time_breaks,
    whole_windows,
)
from tsad.errors import NotEnoughDataError
from tsad.kernels.kmeans import score_kmeans
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["KMeansDetector"]

_FOLDS = 3
_QUANTILE = 0.99
_MOST_WINDOWS = 4096
_LEAST_UNIT = 1e-3


class KMeansDetector(Detector):
    """Windowed k-means.

    The windows of the training part, all channels side by side, are clustered; a row's score is the distance of the
    window that ends with it to the nearest centre, in units of the 0.99 quantile of held-out distances: every third of
    the training part is judged by centres learnt from the rest. Windows keep their amplitude: they are scaled by
    channel, never by window.

    Sources: clustering of windows by T. Yairi, Y. Kato and K. Hori, "Fault Detection by Mining Association Rules from
    House-keeping Data", i-SAIRAS 2001, as KMeansAD in the benchmarks TimeEval (S. Schmidl, P. Wenig and
    T. Papenbrock, PVLDB 15, 2022; its window of 20 and 20 centres are the defaults here) and TSB-AD; k-means++ by
    D. Arthur and S. Vassilvitskii, SODA 2007. The held-out units and the amplitudes are this project's; TSB-AD scales
    every window by itself.

    Parameters
    ----------
    window
        Rows of a window.
    clusters
        Centres, at most; a short training part gets fewer, a fourth of the windows that learn together.
    seed
        Of the first choice of centres.
    """

    name: ClassVar[str] = "kmeans"
    summary: ClassVar[str] = "distance of the newest window to the nearest of a few typical ones"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = True

    def __init__(self, *, window: int = 20, clusters: int = 20, seed: int = 0) -> None:
        if window < 2 or clusters < 1 or seed < 0:
            raise ValueError(
                f"window is {window}, clusters {clusters}, seed {seed}; need window >= 2, clusters >= 1 and seed >= 0"
            )
        self._window, self._clusters, self._seed = window, clusters, seed
        self._arrays = SeriesArrays(
            {
                **SCALING_FIELDS,
                "n_centres": Field(np.int64, fitted=True),
                "unit": Field(np.float64, 1, fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "ring": Field(np.float32, 0, (window, PER_CHANNEL)),
                "gone": Field(np.bool_, 1, (window, PER_CHANNEL)),
                "filled": Field(np.int64),
                "position": Field(np.int64),
            },
        )
        # As wide as the largest flattened window so far.
        self._centres: npt.NDArray[np.float32] = np.zeros((0, clusters, 0), np.float32)

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return self._window

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 6 * self._window

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)
        size = max(self._window * n_channels, self._centres.shape[2])
        old = self._centres.shape
        if self._arrays.capacity > old[0] or size > old[2]:
            centres = np.zeros((self._arrays.capacity, self._clusters, size), np.float32)
            centres[: old[0], :, : old[2]] = self._centres
            self._centres = centres

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Cluster the windows of the training part; see `Detector.fit`."""
        n = train.shape[1]
        self.reserve(series + 1, n)
        scaling = learn_scaling(self.name, self._arrays, series, train, self.min_train)
        a, window = self._arrays, self._window
        breaks = time_breaks(times)
        scaled = held_rows(train, breaks, scaling) * scaling.weight
        windows = sliding_window_view(scaled, window, axis=0).transpose(0, 2, 1).reshape(-1, window * n)
        whole = whole_windows(train, breaks, window, scaling.known)[window - 1 :]
        blocks = np.arange(len(windows)) * _FOLDS // len(windows)
        away = [_away(blocks == block, window) & whole for block in range(_FOLDS)]
        fewest = min(int(kept.sum()) for kept in away)
        count = min(self._clusters, fewest // 4)
        if count < 1:
            raise NotEnoughDataError(
                f"{self.name} needs {self.min_train} rows without gaps; between the gaps of these {len(train)} rows "
                f"there are {int(whole.sum())} whole windows of {window}"
            )
        rows = prefix_rows(series, train, times, a.width)
        raw, residuals = np.full(len(train), np.nan), np.full(train.shape, np.nan)
        a.unit[series] = a.band[series] = 1.0
        for block in range(_FOLDS):
            self._learn(series, windows[away[block]], count)
            said = self._replay(series, rows)
            held = np.concatenate([np.full(window - 1, fill_value=False), blocks == block])
            raw[held] = said.score[held]
            residuals[held] = np.abs(train - said.expected[:, :n].astype(np.float64))[held] / scaling.scale
        self._learn(series, windows[whole], count)
        known = raw[~np.isnan(raw)]
        moves = bool((windows.max(axis=0) > windows.min(axis=0)).any())
        a.unit[series] = max(float(np.quantile(known, _QUANTILE)), _LEAST_UNIT if moves else 1.0)
        a.band[series, :n] = residual_units(residuals, train, scaling)
        self._replay(series, rows)
        return np.asarray(raw / a.unit[series])

    def _learn(self, series: int, windows: npt.NDArray[np.float64], count: int) -> None:
        """Cluster `windows` and make the centres those of the series."""
        chosen = windows[np.linspace(0, len(windows) - 1, min(len(windows), _MOST_WINDOWS)).astype(np.int64)]
        with threadpool_limits(1, user_api="blas"):
            centres = cluster(chosen.astype(np.float64), count, np.random.default_rng(self._seed))
        self._arrays.n_centres[series] = count
        self._centres[series, :count, : windows.shape[1]] = centres

    def _replay(self, series: int, rows: RowBatch) -> Scores:
        """Score the training part with the centres as they stand; the window is ready for the row that follows."""
        self._arrays.filled[series] = self._arrays.position[series] = 0
        return self.score(rows)

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        score_kmeans(
            rows.series, rows.values, (rows.flags & RowFlag.BREAK) != 0, a.n_channels, a.n_centres, a.location, a.scale,
            a.weight, a.unit, a.band, self._centres, a.ring, a.gone, a.filled, a.position, out.score, out.reason,
            out.contributions, out.expected, out.lower, out.upper,
        )  # fmt: skip
        return out

    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Mean over all windows that cover a row; see `Detector.score_all`.

        Without a training part every third of the recording is judged by centres learnt from the rest, so that an odd
        stretch does not become a centre of its own.
        """
        one = KMeansDetector(window=self._window, clusters=self._clusters, seed=self._seed)
        one.reserve(1, values.shape[1])
        learnt = train_rows or len(values)
        scores = one.fit(0, values[:learnt], times[:learnt])
        if learnt < len(values):
            rows = prefix_rows(0, values, times, values.shape[1])
            scores = np.concatenate([scores, one.score(rows.take(np.arange(learnt, len(values)))).score])
        return settled(scores, self._window)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        state = self._arrays.state(n_series, fitted=fitted)
        if fitted:
            state["centres"] = self._centres[:n_series].copy()
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)
        centres = state["centres"]
        self._centres = np.zeros((self._arrays.capacity, self._clusters, centres.shape[2]), np.float32)
        self._centres[: len(centres)] = centres


def _away(held: npt.NDArray[np.bool_], window: int) -> npt.NDArray[np.bool_]:
    """Windows that share no row with a held one, bool[m]."""
    start, stop = np.flatnonzero(held)[[0, -1]]
    away = np.ones(len(held), np.bool_)
    away[max(0, start - window + 1) : stop + window] = False
    return away
