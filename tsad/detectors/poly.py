"""Forecast of the next row by a polynomial through the last ones."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Detector, Scores
from tsad.detectors.windowed import SCALING_FIELDS, learn_scaling, prefix_rows, residual_units
from tsad.kernels.poly import score_poly
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["PolyDetector", "forecast_filter"]

_HIGHEST_DEGREE = 5


class PolyDetector(Detector):
    """Residual of a polynomial forecast of every channel.

    A polynomial of low degree is fitted by least squares to the last rows of a channel and read off at the next row.
    With a fixed window that is one set of filter weights for all series (the one-sided filter of Savitzky and Golay),
    so a row costs `window` multiplications a channel, whatever the history. The residual is measured in units of the
    channel's own 0.99 quantile of residuals in training, which are honest without folds: no forecast has seen its row.
    The largest ratio over the channels counts. What lasts longer than a few rows is seen at its beginning and its end.

    Sources: A. Savitzky and M. J. E. Golay, "Smoothing and Differentiation of Data by Simplified Least Squares
    Procedures", Analytical Chemistry 36 (1964). POLY of the benchmark TSB-UAD (J. Paparrizos et al., PVLDB 15,
    2022) fits the neighbourhood on both sides of a window instead and compares spectra; the causal step by step form,
    the units and the largest over the channels are this project's.

    Parameters
    ----------
    window
        Rows that the polynomial is fitted to.
    degree
        Its degree. 2 is what TSB-AD tuned for POLY.
    """

    name: ClassVar[str] = "poly"
    summary: ClassVar[str] = "residual of a polynomial forecast per channel, with expected value and band"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = False

    def __init__(self, *, window: int = 32, degree: int = 2) -> None:
        if not 0 <= degree < window:
            raise ValueError(f"window is {window}, degree is {degree}; need 0 <= degree < window")
        if degree > _HIGHEST_DEGREE:
            raise ValueError(f"degree is {degree}; beyond {_HIGHEST_DEGREE} a forecast is nothing but noise")
        self._window = window
        self._degree = degree
        self._filter = forecast_filter(window, degree)
        self._arrays = SeriesArrays(
            {
                **SCALING_FIELDS,
                "unit": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "ring": Field(np.float32, 0, (window, PER_CHANNEL)),
                "gone": Field(np.bool_, 1, (window, PER_CHANNEL)),
                "filled": Field(np.int64),
                "position": Field(np.int64),
            },
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses: those of the forecast and the row itself."""
        return self._window + 1

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 2 * self._window

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Learn how large residuals usually are; see `Detector.fit`."""
        scaling = learn_scaling(self.name, self._arrays, series, train, self.min_train)
        n = train.shape[1]
        a = self._arrays
        rows = prefix_rows(series, train, times, a.width)
        a.unit[series, :n] = 1.0
        residuals = np.abs(train - self.score(rows).expected[:, :n].astype(np.float64)) / scaling.scale
        a.unit[series, :n] = residual_units(residuals, train, scaling)
        # Once more with these units: what the stream would have said, and the ring is ready for the next row.
        a.filled[series] = a.position[series] = 0
        return self.score(rows).score

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        score_poly(
            rows.series, rows.values, (rows.flags & RowFlag.BREAK) != 0, a.n_channels, a.location, a.scale, a.weight,
            a.unit, self._filter, a.ring, a.gone, a.filled, a.position, out.score, out.reason, out.contributions,
            out.expected, out.lower, out.upper,
        )  # fmt: skip
        return out

    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Mean of the forecast's residual and that of the time-reversed recording; see `Detector.score_all`.

        At either end of the recording one of the two speaks alone. Units come from the training part where there is
        one, as the stream would take them.
        """
        both = []
        for order in (slice(None), slice(None, None, -1)):
            one = PolyDetector(window=self._window, degree=self._degree)
            one.reserve(1, values.shape[1])
            turned, turned_times = values[order], times[order]
            if order.step:
                turned_times = times[-1] - turned_times
            if train_rows:
                one.fit(0, values[:train_rows], times[:train_rows])
                one._arrays.filled[0] = one._arrays.position[0] = 0
                scores = one.score(prefix_rows(0, turned, turned_times, values.shape[1])).score
            else:
                scores = one.fit(0, np.ascontiguousarray(turned), turned_times)
            both.append(scores[order])
        known = ~np.isnan(both)
        sums = np.where(known, both, 0.0).sum(axis=0)
        count = known.sum(axis=0)
        return np.asarray(np.where(count > 0, sums / np.maximum(count, 1), np.nan))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)


def forecast_filter(window: int, degree: int) -> npt.NDArray[np.float64]:
    """Weights of the last `window` rows, oldest first, in the forecast of the next one: float64[window].

    Examples
    --------
    A straight line through the last two rows:

    >>> forecast_filter(2, 1).round(12).tolist()
    [-1.0, 2.0]
    """
    # Orthonormal polynomials on -1 … 1: powers of row numbers would lose digits.
    grid = np.linspace(-1.0, 1.0, window + 1)
    basis = np.polynomial.legendre.legvander(grid, degree)
    return np.asarray(np.linalg.lstsq(basis[:-1].T @ basis[:-1], basis[-1], rcond=None)[0] @ basis[:-1].T)
