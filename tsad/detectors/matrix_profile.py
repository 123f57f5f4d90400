"""Shape of the newest window against those of the past and of a reference: the left matrix profile, row by row."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from tsad.detectors.base import Detector, Scores
from tsad.detectors.windowed import (
    SCALING_FIELDS,
    held_rows,
    learn_scaling,
    prefix_rows,
    residual_units,
    settled,
    time_breaks,
)
from tsad.errors import NotEnoughDataError
from tsad.kernels.matrix_profile import (
    BROKEN,
    CONSTANT,
    LEAST_DEVIATION,
    UNKNOWN,
    profile_of_recording,
    score_matrix_profile,
)
from tsad.observations import RowBatch, RowFlag
from tsad.scaling import fit_scaling
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["MatrixProfileDetector"]

_QUANTILE = 0.99
_LEAST_UNIT = 1e-3


class MatrixProfileDetector(Detector):
    """Distance of the newest window, by shape, to the nearest earlier or normal one.

    Windows are z-normalised one by one, so level and amplitude do not decide which is nearest in shape. The nearest is
    sought among the windows of the last `history_rows` rows, which is the left matrix profile of a bounded past, and
    among those of the last `reference_rows` rows of the training part, which stay. None that shares a row with the
    newest window counts. Several channels are compared jointly, by the mean of their squared distances.

    With `amplitudes` a distance is told in the units of the channel: that of the two windows when the smaller is
    stretched to the larger. Otherwise the noise of a quiet stretch, blown up to full size, is the oddest shape there
    is, and a jump, shrunk to that size, a common one. Without it scores are those of the matrix profile.

    The score is in units of the 0.99 quantile over the training part, where the same rule holds, looking ahead in the
    reference too.

    Sources: C.-C. M. Yeh et al., "Matrix Profile I", ICDM 2016 (STAMPI for streams); Y. Zhu et al., "Matrix Profile
    II", ICDM 2016 (rolling dot products); Y. Lu et al., "Matrix Profile XXIV", KDD 2022 (left discords). The bounded
    past, the reference, the joint distance with weights, the amplitudes and the units are this project's.

    Parameters
    ----------
    window
        Rows of a window.
    reference_rows
        Newest rows of the training part that stay as reference; 0 for the past alone.
    history_rows
        How far back the past reaches; 0 for the reference alone.
    amplitudes
        Whether distances are in the units of the channel.
    """

    name: ClassVar[str] = "matrix-profile"
    summary: ClassVar[str] = "shape of the newest window against the past and a reference, as the matrix profile"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = True

    def __init__(
        self, *, window: int = 32, reference_rows: int = 320, history_rows: int = 320, amplitudes: bool = True
    ) -> None:
        if window < 4:
            raise ValueError(f"window is {window}; a shape needs 4 rows at least")
        for name, rows in (("reference_rows", reference_rows), ("history_rows", history_rows)):
            if rows and rows < 2 * window:
                raise ValueError(f"{name} is {rows}; give 0, or at least two windows ({2 * window})")
        if not reference_rows and not history_rows:
            raise ValueError("reference_rows and history_rows are both 0: there is nothing to compare with")
        self._window, self._reference, self._history = window, reference_rows, history_rows
        self._amplitudes = amplitudes
        depth = history_rows + window + 1
        lags = history_rows + 1 if history_rows else 0
        self._arrays = SeriesArrays(
            {
                **SCALING_FIELDS,
                "n_reference": Field(np.int64, fitted=True),
                "first": Field(np.int64, fitted=True),
                "unit": Field(np.float64, 1, fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "reference": Field(np.float32, 0, (PER_CHANNEL, reference_rows), fitted=True),
                "reference_means": Field(np.float64, 0, (PER_CHANNEL, reference_rows), fitted=True),
                "reference_deviations": Field(np.float32, BROKEN, (PER_CHANNEL, reference_rows), fitted=True),
                "reference_dots": Field(np.float64, 0, (PER_CHANNEL, reference_rows)),
                "history": Field(np.float32, 0, (PER_CHANNEL, depth)),
                "means": Field(np.float64, 0, (PER_CHANNEL, depth)),
                "deviations": Field(np.float32, BROKEN, (PER_CHANNEL, depth)),
                "dots": Field(np.float64, 0, (PER_CHANNEL, lags)),
                "gone": Field(np.bool_, 1, (PER_CHANNEL, window)),
                "filled": Field(np.int64),
                "position": Field(np.int64, -1),
            },
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return self._window

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 4 * self._window

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Fill the reference, and judge every row of the training part; see `Detector.fit`."""
        scaling = learn_scaling(self.name, self._arrays, series, train, self.min_train)
        a, n, window = self._arrays, train.shape[1], self._window
        breaks = time_breaks(times)
        count = min(self._reference, len(train))
        for name in ("history", "means", "dots", "reference_dots"):
            getattr(a, name)[series] = 0
        a.deviations[series], a.reference_deviations[series], a.gone[series] = BROKEN, BROKEN, True
        a.position[series] = -1
        a.n_reference[series], a.first[series] = count, len(train) - count
        a.unit[series] = a.band[series] = 1.0
        scaled = held_rows(train, breaks, scaling)
        means, deviations = _shapes(scaled, np.isnan(train), breaks, window)
        # A window that begins before the reference is none of its own.
        deviations[:, : max(len(train) - count, 0) + window - 1] = BROKEN
        kept = slice(len(train) - count, None)
        a.reference[series, :n, :count] = scaled[kept].T
        a.reference_means[series, :n, :count], a.reference_deviations[series, :n, :count] = (
            means[:, kept],
            deviations[:, kept],
        )
        rows = prefix_rows(series, train, times, a.width)
        said = self.score(rows)
        known = said.score[~np.isnan(said.score)]
        if not known.size:
            raise NotEnoughDataError(
                f"{self.name} needs {self.min_train} rows with values and without gaps; no two windows of {window} "
                f"that share no row are whole in these {len(train)} rows"
            )
        residuals = np.abs(train - said.expected[:, :n].astype(np.float64)) / scaling.scale
        a.band[series, :n] = residual_units(residuals, train, scaling)
        a.unit[series] = max(float(np.quantile(known, _QUANTILE)), _LEAST_UNIT)
        return np.asarray(said.score / a.unit[series])

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        score_matrix_profile(
            rows.series, rows.values, (rows.flags & RowFlag.BREAK) != 0, self._window, self._amplitudes, a.n_channels,
            a.n_reference, a.first, a.location, a.scale, a.weight, a.unit, a.band, a.reference, a.reference_means,
            a.reference_deviations, a.reference_dots, a.history, a.means, a.deviations, a.dots, a.gone, a.position,
            a.filled, out.score, out.reason, out.contributions, out.expected, out.lower, out.upper,
        )  # fmt: skip
        return out

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Matrix profile of the whole recording, mean over the windows that cover a row; see `Detector.score_all`.

        All pairs of windows are compared: the time grows with the square of the rows.
        """
        usable = int(np.count_nonzero(~np.isnan(values).all(axis=1)))
        if usable < self.min_train:
            raise NotEnoughDataError(f"{self.name} needs {self.min_train} rows with values, there are {usable}")
        scaling = fit_scaling(values)
        breaks = time_breaks(times)
        scaled = held_rows(values, breaks, scaling)
        means, deviations = _shapes(scaled, np.isnan(values), breaks, self._window)
        best = np.empty(len(values))
        profile_of_recording(
            np.ascontiguousarray(scaled.T, dtype=np.float64), scaling.weight, means, deviations.astype(np.float64),
            self._window, self._amplitudes, best,
        )  # fmt: skip
        return settled(np.where(np.isinf(best), np.nan, np.sqrt(best)), self._window)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)


def _shapes(
    scaled: npt.NDArray[np.float32], missing: npt.NDArray[np.bool_], breaks: npt.NDArray[np.bool_], window: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Mean and deviation of the window that ends at each row, float64[c, t] and float32[c, t]."""
    rows, channels = scaled.shape
    means, deviations = np.zeros((channels, rows)), np.full((channels, rows), BROKEN, np.float32)
    numbers = np.arange(rows)
    whole = numbers - np.maximum.accumulate(np.where(breaks, numbers, 0)) + 1 >= window
    for c in range(channels):
        windows = sliding_window_view(scaled[:, c].astype(np.float64), window)
        means[c, window - 1 :] = windows.mean(axis=1)
        deviation = windows.std(axis=1)
        deviations[c, window - 1 :] = np.where(deviation > LEAST_DEVIATION, deviation, CONSTANT)
        held = sliding_window_view(missing[:, c], window).sum(axis=1)
        deviations[c, window - 1 :][4 * held > window] = UNKNOWN
    deviations[:, ~whole] = BROKEN
    return means, deviations
