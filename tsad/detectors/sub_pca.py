"""Principal components of windows: how far a window lies off, and how far out within, the normal subspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from tsad.detectors.base import Detector, Scores
from tsad.errors import NotEnoughDataError
from tsad.kernels.sub_pca import score_sub_pca
from tsad.observations import RowBatch, RowFlag
from tsad.scaling import ChannelScaling, fit_scaling
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["SubPcaDetector"]

_FOLDS = 3
_LARGEST_INPUT = 768
_LONGEST = 32
_LEAST_NOISE = 1e-3
_EXPLAINED_WITH_HINDSIGHT = 0.9
_MOST_COMPONENTS = 32
_BAND_QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class _Subspace:
    """Mean, principal directions and their variances of flattened windows."""

    mean: npt.NDArray[np.float64]
    basis: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]


class SubPcaDetector(Detector):
    """Windowed principal component analysis.

    A window of all channels is one point. Two distances of classical process monitoring are taken, each in units of
    its own held-out 0.99 quantile, and the larger counts: the squared prediction error (off the subspace that holds
    most variance of the training windows) and Hotelling's T² (within it).

    The prediction error is taken per channel in units of the channel's own held-out residual, over the window and for
    its newest row alone (which sees a spike at once), and the largest counts. A channel that the others determine well
    is so watched as closely as it deserves: a flow that no longer fits the speed is seen at a few times its noise, far
    inside its usual range.

    Sources: J. E. Jackson and G. S. Mudholkar, "Control Procedures for Residuals Associated With Principal Component
    Analysis", Technometrics 21 (1979); H. H. Yue and S. J. Qin, "Reconstruction-Based Fault Identification Using a
    Combined Index", Industrial & Engineering Chemistry Research 40 (2001).

    Parameters
    ----------
    window
        Rows of a window. 0 chooses by the number of live channels (neither constant nor 0/1 in training): 32 for one
        or two, 8 for more, and so that a window has at most 768 values where it can.
    explained
        Share of the training variance that the subspace holds. 0 chooses: 0.9995 for three live channels or more, so
        that what is left is noise and the ties between channels are in the subspace; otherwise 0.9.
    """

    name: ClassVar[str] = "sub-pca"
    summary: ClassVar[str] = "principal components of windows: prediction error and Hotelling's T²"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = True

    def __init__(self, *, window: int = 0, explained: float = 0.0) -> None:
        if window < 0 or not 0 <= explained < 1:
            raise ValueError(f"window is {window}, explained is {explained}; need window >= 0 and 0 <= explained < 1")
        self._window = window
        self._explained = explained
        length = window or _LONGEST
        self._arrays = SeriesArrays(
            {
                "n_channels": Field(np.int32, fitted=True),
                "window": Field(np.int64, fitted=True),
                "location": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "scale": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "weight": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "residual_band": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "noise": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "residual_unit": Field(np.float64, 1, fitted=True),
                "newest_unit": Field(np.float64, 1, fitted=True),
                "subspace_unit": Field(np.float64, 1, fitted=True),
                "n_components": Field(np.int64, fitted=True),
                "variances": Field(np.float64, 1, (_MOST_COMPONENTS,), fitted=True),
                "ring": Field(np.float32, np.nan, (length, PER_CHANNEL)),
                "filled": Field(np.int64),
                "position": Field(np.int64),
            },
        )
        self._choices: dict[int, tuple[str, ...]] = {}
        # As wide as the largest flattened window so far.
        self._means: npt.NDArray[np.float64] = np.zeros((0, 0))
        self._bases: npt.NDArray[np.float64] = np.zeros((0, _MOST_COMPONENTS, 0))

    @property
    def window(self) -> int:
        """Steps of context that one score uses (the most it may be where it is chosen by channels)."""
        return self._window or _LONGEST

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 3 * self.window

    def _shape(self, train: npt.NDArray[np.float32], scaling: ChannelScaling) -> tuple[int, float]:
        """Window and explained share for a training part."""
        with np.errstate(invalid="ignore"):
            moves = np.nanmax(train, axis=0, initial=-np.inf) > np.nanmin(train, axis=0, initial=np.inf)
        states = scaling.weight < 1 if (scaling.weight == 1).any() else np.zeros(len(moves), dtype=np.bool_)
        live = int(np.count_nonzero(moves & ~states))
        chosen = _LONGEST if live <= 2 else 8
        window = self._window or min(chosen, max(4, _LARGEST_INPUT // train.shape[1]))
        return window, self._explained or (0.9995 if live > 2 else 0.9)

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)
        self._reserve_bases(self._means.shape[1])

    def _reserve_bases(self, size: int) -> None:
        """Have room for flattened windows of `size` values."""
        capacity = self._arrays.capacity
        old = self._means.shape
        if old[0] >= capacity and old[1] >= size:
            return
        means, bases = np.zeros((capacity, size)), np.zeros((capacity, _MOST_COMPONENTS, size))
        means[: old[0], : old[1]] = self._means
        bases[: old[0], :, : old[1]] = self._bases
        self._means, self._bases = means, bases

    @staticmethod
    def _windows(values: npt.NDArray[np.float32], scaling: ChannelScaling, length: int) -> npt.NDArray[np.float64]:
        """Scaled windows, oldest row first: float64[t - w + 1, w * c]; missing values stand at their mean."""
        scaled = np.nan_to_num((values - scaling.location) / scaling.scale * scaling.weight).astype(np.float32)
        view = sliding_window_view(scaled, length, axis=0)
        return view.transpose(0, 2, 1).reshape(len(view), -1).astype(np.float64)

    @staticmethod
    def _learn(windows: npt.NDArray[np.float64], explained: float) -> _Subspace:
        mean = windows.mean(axis=0)
        centered = windows - mean
        values, vectors = np.linalg.eigh(centered.T @ centered / max(len(windows) - 1, 1))
        values, vectors = values[::-1], vectors[:, ::-1]
        total = max(float(values.clip(min=0).sum()), 1e-12)
        share = np.cumsum(values.clip(min=0)) / total
        most = min(_MOST_COMPONENTS, max(1, windows.shape[1] // 2), max(1, len(windows) // 4))
        count = min(most, int(np.searchsorted(share, explained)) + 1)
        return _Subspace(mean, vectors[:, :count].T.copy(), np.maximum(values[:count], 1e-6 * total))

    @staticmethod
    def _distances(
        windows: npt.NDArray[np.float64], subspace: _Subspace
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Residuals of every window, float64[m, w * c], and its T², float64[m]."""
        z = windows - subspace.mean
        along = z @ subspace.basis.T
        return z - along @ subspace.basis, np.sum(along**2 / subspace.variances, axis=1)

    @staticmethod
    def _worst(residuals: npt.NDArray[np.float64], noise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Mean squared residual of the worst channel of every window, in units of the channels' noise."""
        by_channel = residuals.reshape(len(residuals), -1, len(noise))
        return np.asarray((np.mean(by_channel**2, axis=1) / noise**2).max(axis=1))

    @staticmethod
    def _noise(residuals: npt.NDArray[np.float64], scaling: ChannelScaling) -> npt.NDArray[np.float64]:
        """Residual that is usual for each channel. A state channel's weight holds here too: it may switch."""
        by_channel = residuals.reshape(len(residuals), -1, len(scaling.weight))
        usual = np.sqrt(np.mean(by_channel**2, axis=(0, 1)))
        return np.asarray(np.maximum(usual, _LEAST_NOISE) / np.maximum(scaling.weight, _LEAST_NOISE))

    @staticmethod
    def _check(values: npt.NDArray[np.float32], length: int) -> None:
        usable = int(np.count_nonzero(~np.isnan(values).all(axis=1)))
        if usable < 3 * length:
            raise NotEnoughDataError(
                f"sub-pca needs {3 * length} rows with values for windows of {length}, there are {usable}",
            )

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Learn the subspace; see `Detector.fit`."""
        n = train.shape[1]
        scaling = fit_scaling(train)
        length, explained = self._shape(train, scaling)
        self._check(train, length)
        with threadpool_limits(1, user_api="blas"):
            windows = self._windows(train, scaling, length)
            residuals, inside = np.empty_like(windows), np.empty(len(windows))
            blocks = np.arange(len(windows)) * _FOLDS // len(windows)
            for block in range(_FOLDS):
                held = blocks == block
                # Windows that overlap the held-out block would leak into its subspace.
                start, stop = np.flatnonzero(held)[[0, -1]]
                away = np.ones(len(windows), dtype=bool)
                away[max(0, start - length + 1) : stop + length] = False
                subspace = self._learn(windows[away] if away.sum() >= length else windows, explained)
                residuals[held], inside[held] = self._distances(windows[held], subspace)
            subspace = self._learn(windows, explained)
        noise = self._noise(residuals, scaling)
        parts = (self._worst(residuals, noise), self._worst(residuals[:, -n:], noise), inside)
        units = [_unit(part) for part in parts]
        count = len(subspace.variances)
        self.reserve(series + 1, n)
        self._reserve_bases(length * n)
        a = self._arrays
        a.n_channels[series], a.window[series], a.n_components[series] = n, length, count
        for name in ("location", "scale", "weight"):
            getattr(a, name)[series, :n] = getattr(scaling, name)
        a.noise[series, :n] = noise
        a.residual_band[series, :n] = np.quantile(np.abs(residuals[:, -n:]), _BAND_QUANTILE, axis=0)
        a.residual_unit[series], a.newest_unit[series], a.subspace_unit[series] = units
        a.variances[series, :count] = subspace.variances
        self._means[series, : length * n] = subspace.mean
        self._bases[series, :count, : length * n] = subspace.basis
        a.filled[series] = a.position[series] = 0
        self._choices[series] = (
            f"windows of {length} rows, {count} components for {100 * explained:g} % of what varies",
        )
        self._prime(series, train[-(length - 1) :] if length > 1 else train[:0])
        scores = np.full(len(train), np.nan)
        scores[length - 1 :] = np.sqrt(np.max([part / unit for part, unit in zip(parts, units, strict=True)], axis=0))
        return scores

    def choices(self, series: int) -> tuple[str, ...]:
        """Window and components that were taken; see `Detector.choices`."""
        return self._choices.get(series, ())

    def _prime(self, series: int, tail: npt.NDArray[np.float32]) -> None:
        """Put the end of the training part into the window."""
        n = len(tail)
        zeros = np.zeros(n, np.int64)
        width = self._arrays.width
        values = np.full((n, width), np.nan, np.float32)
        values[:, : tail.shape[1]] = tail
        rows = RowBatch(
            np.full(n, series, np.int32), zeros, values, np.zeros(n, np.uint8), zeros.astype(np.int32), zeros
        )
        self.score(rows)

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        score_sub_pca(
            rows.series, rows.values, (rows.flags & RowFlag.BREAK) != 0, a.n_channels, a.location, a.scale, a.weight,
            self._means, self._bases, a.variances, a.n_components, a.noise, a.residual_unit, a.newest_unit,
            a.subspace_unit, a.window, a.residual_band, a.ring, a.filled, a.position, out.score, out.reason,
            out.contributions, out.expected, out.lower, out.upper,
        )  # fmt: skip
        return out

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],  # noqa: ARG002
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Mean over all windows that cover a row, of a subspace learnt from all; see `Detector.score_all`."""
        scaling = fit_scaling(values)
        length, _ = self._shape(values, scaling)
        self._check(values, length)
        # What is odd is among what is learnt here: a subspace that explains nearly all would explain that too.
        explained = self._explained or _EXPLAINED_WITH_HINDSIGHT
        with threadpool_limits(1, user_api="blas"):
            windows = self._windows(values, scaling, length)
            residuals, inside = self._distances(windows, self._learn(windows, explained))
        worst = self._worst(residuals, self._noise(residuals, scaling))
        score = np.sqrt(np.maximum(worst / _unit(worst), inside / _unit(inside)))
        sums = np.convolve(score, np.ones(length))
        covered = np.convolve(np.ones(len(score)), np.ones(length))
        return np.asarray(sums / covered)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        state = self._arrays.state(n_series, fitted=fitted)
        if fitted:
            state["means"] = self._means[:n_series].copy()
            state["bases"] = self._bases[:n_series].copy()
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)
        means, bases = state["means"], state["bases"]
        capacity = self._arrays.capacity
        self._means = np.zeros((capacity, means.shape[1]))
        self._bases = np.zeros((capacity, _MOST_COMPONENTS, means.shape[1]))
        self._means[: len(means)] = means
        self._bases[: len(bases)] = bases


def _unit(squares: npt.NDArray[np.float64]) -> float:
    """Band quantile of a squared distance."""
    return max(float(np.quantile(squares, _BAND_QUANTILE)), 1e-9)
