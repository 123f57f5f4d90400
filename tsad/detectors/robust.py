"""Robust location and scale of every channel, optionally by time of the season."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Detector, Scores
from tsad.errors import NotEnoughDataError
from tsad.kernels.robust import score_robust
from tsad.observations import RowBatch
from tsad.scaling import ChannelScaling, fit_scaling
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["RobustDetector"]

_FOLDS = 5
_BAND_QUANTILE = 0.99
_GAUSSIAN_BAND = 2.5758293035489004  # the same quantile of |z| for a normal distribution


class _Usual(NamedTuple):
    """Scales of the channels, medians by time of the season, float64[bins, c], and slopes a row, float64[c]."""

    scaling: ChannelScaling
    season: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]


class RobustDetector(Detector):
    """Distance from a slowly tracked median, in units of the channel's own usual spread.

    Per channel: median and scaled median absolute deviation of the training part, by time of the season if one is
    given. The score is the largest distance over the channels, each measured by the 0.99 quantile of its own held-out
    distances, so that a channel with heavy tails does not drown the others. The level follows the data slowly, with
    steps bounded as in Huber's estimator of location.

    With `trend_rows` the level also moves on by a slope each row, learnt from the training part and tracked from there
    with the same bounded steps, so that what drifts all the time is expected to.

    Sources: P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964);
    slopes by C. C. Holt, "Forecasting Seasonals and Trends by Exponentially Weighted Moving Averages", ONR Memorandum
    52 (1957), first learnt as the median of slopes between rows half the training part apart, after P. K. Sen,
    "Estimates of the Regression Coefficient Based on Kendall's Tau", Journal of the American Statistical Association
    63 (1968).

    Parameters
    ----------
    season_seconds
        Length of the season (86400 for a day); 0 for none.
    season_bins
        Into how many parts the season is cut.
    memory_rows
        Time constant of the level, in rows; 0 keeps it fixed.
    trend_rows
        Time constant of the slope, in rows; 0 for no trend. Needs `memory_rows`: slopes follow the level's steps. Rows
        are counted, not time, so a gap stands still.
    """

    name: ClassVar[str] = "robust"
    summary: ClassVar[str] = "robust location-scale per channel, optionally seasonal, with expected value and band"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = False

    def __init__(
        self, *, season_seconds: float = 0.0, season_bins: int = 48, memory_rows: int = 5000, trend_rows: int = 0
    ) -> None:
        if season_seconds < 0 or season_bins < 1 or memory_rows < 0 or trend_rows < 0:
            raise ValueError(
                "season_seconds, memory_rows and trend_rows must not be negative, season_bins must be at least 1"
            )
        if trend_rows and not memory_rows:
            raise ValueError(f"trend_rows is {trend_rows} and memory_rows is 0; a trend needs a level that moves")
        self._period = int(season_seconds * 1e9)
        self._bins = season_bins if self._period else 0
        self._pull = 1.0 / memory_rows if memory_rows else 0.0
        self._bend = 1.0 / trend_rows if trend_rows else 0.0
        self._arrays = SeriesArrays(
            {
                "n_channels": Field(np.int32, fitted=True),
                "level": Field(np.float64, 0, (PER_CHANNEL,)),
                "scale": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "weight": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "unit": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "season": Field(np.float64, 0, (self._bins, PER_CHANNEL), fitted=True),
                # Only where it is used: states of detectors without a trend stay what they were.
                **({"slope": Field(np.float64, 0, (PER_CHANNEL,))} if trend_rows else {}),
            },
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return 1

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return 2 * _FOLDS

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def _season(self, values: npt.NDArray[np.float32], phase: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Median of every part of the season, as float64[bins, c]; NaN where it was never seen."""
        season = np.full((self._bins, values.shape[1]), np.nan)
        for part in range(self._bins):
            inside = values[phase == part]
            for c in np.flatnonzero(~np.isnan(inside).all(axis=0)) if len(inside) else ():
                season[part, c] = np.nanmedian(inside[:, c])
        return season

    def _learn(
        self, values: npt.NDArray[np.float32], phase: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], lag: int
    ) -> "_Usual":
        """What is usual of the values, whose row numbers are `rows`; slopes are between rows `lag` apart."""
        slope = np.zeros(values.shape[1])
        if self._bend:
            slope = _median_slopes(values, rows, lag)
            values = (values - rows[:, None] * slope).astype(np.float32)
        if not self._bins:
            return _Usual(fit_scaling(values, robust=True), np.zeros((0, values.shape[1])), slope)
        season = np.nan_to_num(self._season(values, phase) - fit_scaling(values, robust=True).location)
        return _Usual(fit_scaling((values - season[phase]).astype(np.float32), robust=True), season, slope)

    def _distances(
        self,
        values: npt.NDArray[np.float32],
        phase: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        usual: "_Usual",
    ) -> npt.NDArray[np.float64]:
        scaling = usual.scaling
        expected = scaling.location + (usual.season[phase] if self._bins else 0.0)
        if self._bend:
            expected = expected + rows[:, None] * usual.slope
        return np.asarray(np.abs(values - expected) / scaling.scale * scaling.weight)

    def _phase(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (times % self._period) * self._bins // self._period if self._bins else np.zeros(len(times), np.int64)

    def _lag(self, times: npt.NDArray[np.int64]) -> int:
        """Rows between which slopes are taken: about half of all, and whole seasons where they fit in."""
        half = max(1, len(times) // 2)
        if not self._period or len(times) < 2:
            return half
        season = max(1, round(self._period / float(np.median(np.diff(times)))))
        return half - half % season if season <= half else half

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Learn levels and scales; see `Detector.fit`."""
        usable = int(np.count_nonzero(~np.isnan(train).all(axis=1)))
        if usable < self.min_train:
            raise NotEnoughDataError(f"{self.name} needs {self.min_train} rows with values, there are {usable}")
        phase = self._phase(times)
        # Counted from the last row, so that the level is the one that the stream begins with.
        rows = np.arange(len(train)) - (len(train) - 1)
        lag = self._lag(times)
        distances = np.full(train.shape, np.nan)
        blocks = np.arange(len(train)) * _FOLDS // len(train)
        for block in range(_FOLDS):
            inside = blocks == block
            usual = self._learn(train[~inside], phase[~inside], rows[~inside], lag)
            distances[inside] = self._distances(train[inside], phase[inside], rows[inside], usual)
        scaling, season, slope = self._learn(train, phase, rows, lag)
        unit = _units(distances)
        n = train.shape[1]
        self.reserve(series + 1, n)
        a = self._arrays
        a.n_channels[series] = n
        a.level[series, :n] = scaling.location
        a.scale[series, :n] = scaling.scale
        a.weight[series, :n] = scaling.weight
        a.unit[series, :n] = unit
        a.season[series, :, :n] = season
        if self._bend:
            a.slope[series, :n] = slope
        return _largest(distances / unit)

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        # Without a trend the kernel leaves its slopes alone; any array of their shape will do.
        slope = a.slope if self._bend else a.level
        score_robust(
            rows.series, rows.times, rows.values, a.n_channels, a.level, a.scale, a.weight, a.unit, a.season,
            self._bins, max(self._period, 1), self._pull, 2.0, slope, self._bend, out.score, out.reason,
            out.contributions, out.expected, out.lower, out.upper,
        )  # fmt: skip
        return out

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Score a recording against its own levels and scales; see `Detector.score_all`."""
        phase = self._phase(times)
        rows = np.arange(len(values))
        usual = self._learn(values, phase, rows, self._lag(times))
        distances = self._distances(values, phase, rows, usual)
        return _largest(distances / _units(distances))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)


def _units(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Band quantile of every channel's distances, not below that of a normal distribution."""
    unit = np.full(distances.shape[1], _GAUSSIAN_BAND)
    for c in range(distances.shape[1]):
        known = distances[:, c][~np.isnan(distances[:, c])]
        if known.size:
            unit[c] = max(unit[c], float(np.quantile(known, _BAND_QUANTILE)))
    return unit


def _largest(ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Largest ratio of every row, NaN where all are."""
    lowest = np.where(np.isnan(ratios), -np.inf, ratios).max(axis=1, initial=-np.inf)
    return np.where(np.isneginf(lowest), np.nan, lowest)


def _median_slopes(values: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], lag: int) -> npt.NDArray[np.float64]:
    """Median of the slopes a row between rows `lag` apart, float64[c]; 0 where there is no such pair."""
    later = np.minimum(np.searchsorted(rows, rows + lag), len(rows) - 1)
    pairs = rows[later] == rows + lag
    slopes = (values[later[pairs]].astype(np.float64) - values[pairs]) / lag
    found = np.zeros(values.shape[1])
    for c in np.flatnonzero(~np.isnan(slopes).all(axis=0)):
        found[c] = np.nanmedian(slopes[:, c])
    return found
