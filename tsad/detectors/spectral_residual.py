"""Saliency of the newest row in the spectral residual of its window."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import maximum_filter1d

from tsad.detectors.base import Detector, Scores
from tsad.detectors.windowed import SCALING_FIELDS, learn_scaling, prefix_rows, residual_units
from tsad.errors import NotEnoughDataError
from tsad.kernels.spectral_residual import ESTIMATED, NEIGHBOURS, score_spectral_residual
from tsad.observations import RowBatch, RowFlag
from tsad.scaling import fit_scaling
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["SpectralResidualDetector"]

_QUANTILE = 0.99
_LEAST_UNIT = 1.0
_LEAST_WEIGHT = 1e-3
_SMALLEST = 32
_LEAST_AMPLITUDE = 1e-8


class SpectralResidualDetector(Detector):
    """What stands out of a window once its usual spectrum is taken away.

    The log amplitudes of a channel's window, less their mean over neighbouring frequencies, are turned back into time
    with the phases left alone: a map in which the regular part of the signal is gone. Five estimated rows are put
    behind the newest one, since a map is least certain at its end. As in the paper the newest row is compared with the
    21 before it in the same map. Besides, the largest of these 22 is compared with the whole map, so that an episode
    is seen for some rows beyond its first. Either is measured by its own 0.99 quantile in training, which no row of
    the map was fitted to; the larger counts, and the largest over the channels.

    Source: H. Ren et al., "Time-Series Anomaly Detection Service at Microsoft", KDD 2019, section 3.2 (its window is
    1440 rows). The second comparison, the units, the level left out of the spectrum, and the estimate from the rows
    before the newest instead of from it (which would stretch an odd row into a step) are this project's.

    Parameters
    ----------
    size
        Rows of the transform, a power of two: five less are the window.
    """

    name: ClassVar[str] = "spectral-residual"
    summary: ClassVar[str] = "saliency of the newest row once the usual spectrum of its window is taken away"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = False

    def __init__(self, *, size: int = 64) -> None:
        if size < _SMALLEST or size & (size - 1):
            raise ValueError(f"size is {size}; choose a power of two from {_SMALLEST} on")
        self._rows = size - ESTIMATED
        angles = 2 * np.pi * np.arange(size // 2) / size
        self._cosines, self._sines = np.cos(angles), np.sin(angles)
        self._arrays = SeriesArrays(
            {
                **SCALING_FIELDS,
                "newest_unit": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "recent_unit": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "ring": Field(np.float32, 0, (self._rows, PER_CHANNEL)),
                "gone": Field(np.bool_, 1, (self._rows, PER_CHANNEL)),
                "filled": Field(np.int64),
                "position": Field(np.int64),
            },
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return self._rows

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 2 * self._rows

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Learn how far rows usually stand out; see `Detector.fit`."""
        scaling = learn_scaling(self.name, self._arrays, series, train, self.min_train)
        a, n = self._arrays, train.shape[1]
        rows = prefix_rows(series, train, times, a.width)
        ratios = [np.full((len(train), a.width), np.nan) for _ in range(2)]
        for name in ("newest_unit", "recent_unit", "band"):
            getattr(a, name)[series] = 1.0
        expected = self._score(rows, *ratios).expected[:, :n].astype(np.float64)
        for name, found in zip(("newest_unit", "recent_unit"), ratios, strict=True):
            for c in range(n):
                known = found[:, c][~np.isnan(found[:, c])]
                usual = float(np.quantile(known, _QUANTILE)) if known.size else 0.0
                # 1 is the average over a map. A 0/1 channel may switch: its weight holds here too.
                getattr(a, name)[series, c] = max(usual, _LEAST_UNIT) / max(scaling.weight[c], _LEAST_WEIGHT)
        a.band[series, :n] = residual_units(np.abs(train - expected) / scaling.scale, train, scaling)
        a.filled[series] = a.position[series] = 0
        return self.score(rows).score

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        nothing = np.empty((0, rows.values.shape[1]))
        return self._score(rows, nothing, nothing)

    def _score(
        self, rows: RowBatch, newest_ratio: npt.NDArray[np.float64], recent_ratio: npt.NDArray[np.float64]
    ) -> Scores:
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        score_spectral_residual(
            rows.series, rows.values, (rows.flags & RowFlag.BREAK) != 0, a.n_channels, a.location, a.scale, a.weight,
            a.newest_unit, a.recent_unit, a.band, self._cosines, self._sines, a.ring, a.gone, a.filled, a.position,
            out.score, out.reason, out.contributions, out.expected, out.lower, out.upper, newest_ratio, recent_ratio,
        )  # fmt: skip
        return out

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],  # noqa: ARG002
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Saliency in one map of the whole recording, the largest of 21 rows around each; see `Detector.score_all`."""
        usable = int(np.count_nonzero(~np.isnan(values).all(axis=1)))
        if usable < self.min_train:
            raise NotEnoughDataError(f"{self.name} needs {self.min_train} rows with values, there are {usable}")
        scaling = fit_scaling(values)
        score = np.zeros(len(values))
        for c in np.flatnonzero(scaling.known):
            map_ = _whole_map(np.nan_to_num((values[:, c] - scaling.location[c]) / scaling.scale[c]))
            mean = float(map_.mean())
            if mean > 0:
                near = maximum_filter1d(map_, NEIGHBOURS, mode="nearest")
                score = np.maximum(score, near / mean * scaling.weight[c])
        score[np.isnan(values).all(axis=1)] = np.nan
        return score

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)


def _whole_map(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Saliency map of a whole recording, float64[t]."""
    x = x - x.mean()
    largest = float(np.abs(x).max())
    if largest <= _LEAST_AMPLITUDE:
        return np.zeros(len(x))
    spectrum = fft.rfft(x)
    spectrum[0] = 0.0
    logs = np.log(np.maximum(np.abs(spectrum), _LEAST_AMPLITUDE * largest))
    logs[0] = logs[1]
    # The spectrum of real values is even, and so are its ends.
    padded = np.concatenate([logs[1:2], logs, logs[-2:-1] if len(x) % 2 == 0 else logs[-1:]])
    around = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return np.asarray(np.abs(fft.irfft(spectrum * np.exp(-around), n=len(x))))
