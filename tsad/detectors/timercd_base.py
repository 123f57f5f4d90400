"""What zero-shot detectors by a window network have in common: causal and full form, calibration, bad input."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.windowed import prefix_rows
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.foundation.aggregation import AGGREGATES, Aggregate, aggregated
from tsad.foundation.runtime import Runner
from tsad.foundation.scoring import label_recording
from tsad.foundation.streaming import LEAST_STEPS, WindowStream
from tsad.observations import RowBatch
from tsad.scaling import fit_scaling

__all__ = ["ChannelAggregate", "WindowNetworkDetector"]

ChannelAggregate = Aggregate | Literal["evidence"]
_AGGREGATES = ("evidence", *AGGREGATES)
_QUANTILE = 0.99
_USUAL_QUANTILE = 0.9
_CALM = -3.0  # log odds: 5 %
_LEAST_BAND = 1e-3
_STANDING_STILL = 0.0
"""Where every channel stands still there is nothing odd: a score, and the lowest."""


class WindowNetworkDetector(Detector):
    """A network that labels the steps of windows, relative to the rest of the window, as a detector.

    Zero-shot: fitting learns nothing but which channels there are, how far rows usually lie from what was expected of
    them, what is usual of each channel's log odds, and honest scores for the calibration. A row is judged from windows
    that end with it, at several time scales (means over so many rows); the mean logit over scales counts, then the
    channels are aggregated, where 0/1 channels count a twentieth beside others, as everywhere in tsad. Mode full lets
    overlapping windows see both sides of a row.

    Parameters
    ----------
    runner
        The network.
    window, longest_gap
        Steps of its window, and rows that a missing value stands at the last one (live) or is bridged (with hindsight).
    scales, stride, hop, channel_aggregate, calibration_rows
        See `TimercdNanoDetector`.
    """

    cost: ClassVar[Literal["light", "model", "foundation"]] = "foundation"
    multivariate: ClassVar[bool] = True

    def __init__(
        self,
        runner: Runner,
        *,
        window: int,
        longest_gap: int,
        scales: tuple[int, ...],
        stride: int,
        hop: int,
        channel_aggregate: ChannelAggregate,
        calibration_rows: int,
    ) -> None:
        scales = tuple(scales)
        if not scales or scales[0] != 1 or list(scales) != sorted(set(scales)):
            raise ConfigurationError(f"{self.name}: scales are {scales}; give rising numbers of rows, the first one 1")
        for name, value in (("stride", stride), ("hop", hop), ("calibration_rows", calibration_rows)):
            if value < 1:
                raise ConfigurationError(f"{self.name}: {name} is {value}; it must be at least 1")
        if channel_aggregate not in _AGGREGATES:
            raise ConfigurationError(
                f"{self.name}: channel_aggregate is {channel_aggregate!r}; choose {', '.join(_AGGREGATES)}"
            )
        self._runner = runner
        self._scales, self._stride, self._window = scales, stride, window
        self._aggregate = channel_aggregate
        self._calibration_rows = calibration_rows
        self._longest_gap = longest_gap
        self._stream = WindowStream(runner, window, scales, hop, longest_gap)

    @property
    def engine(self) -> str:
        """What runs the network: ``torch``, or ``onnx:`` and the name of the graph."""
        return self._runner.engine

    def choices(self, series: int) -> tuple[str, ...]:  # noqa: ARG002 - the same for all
        """What runs the network; see `Detector.choices`."""
        return (f"{self.name}: the network runs by {self._runner.engine}",)

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return self._window * self._scales[-1]

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return LEAST_STEPS

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._stream.arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Fill the windows, and score the newest rows of the prefix; see `Detector.fit`."""
        self._check_rows(train)
        rows, n = len(train), train.shape[1]
        self.reserve(series + 1, n)
        a = self._stream.arrays
        a.n_channels[series] = n
        a.known[series] = False
        a.known[series, :n] = ~np.isnan(train).all(axis=0)
        a.weight[series] = 0.0
        a.weight[series, :n] = fit_scaling(train).weight
        a.band[series] = 1.0
        self._stream.begin(np.array([series], np.int32))
        batch = prefix_rows(series, train, times, a.width)
        asked = np.arange(rows) >= rows - self._calibration_rows
        logits, expected, ready, _ = self._stream.follow(batch, asked)
        distances = np.abs(train - expected[:, :n])
        for c in np.flatnonzero(a.known[series, :n]):
            known = distances[:, c][~np.isnan(distances[:, c])]
            usual = float(np.quantile(known, _QUANTILE)) if known.size else 0.0
            moved = np.nanmax(train[:, c]) - np.nanmin(train[:, c])
            a.band[series, c] = max(usual, _LEAST_BAND * float(moved)) or 1.0
        a.usual[series, :n] = _usual(logits[:, :n])
        scores, _ = self._judged(logits, a.usual[series, : logits.shape[1]], a.weight[series, : logits.shape[1]])
        scores[np.isnan(scores) & ready & asked] = _STANDING_STILL
        scores[np.isnan(train).all(axis=1)] = np.nan
        return scores

    def _check_rows(self, values: npt.NDArray[np.float32]) -> None:
        usable = int(np.count_nonzero(~np.isnan(values).all(axis=1)))
        if usable < LEAST_STEPS:
            raise NotEnoughDataError(f"{self.name} needs {LEAST_STEPS} rows with values, there are {usable}")

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        return self._scored(rows, None)

    def score_by(self, rows: RowBatch, deadline: Deadline) -> Scores:
        """Score rows in time; see `Detector.score_by`."""
        return self._scored(rows, deadline)

    def _scored(self, rows: RowBatch, deadline: Deadline | None) -> Scores:
        a = self._stream.arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        logits, expected, ready, late = self._stream.follow(rows, deadline=deadline)
        missing = ~(np.isfinite(rows.values) & a.known[rows.series][:, : rows.values.shape[1]]).any(axis=1)
        weight = a.weight[rows.series][:, : rows.values.shape[1]]
        score, shares = self._judged(logits, a.usual[rows.series][:, : rows.values.shape[1]], weight)
        score[np.isnan(score) & ready & ~missing] = _STANDING_STILL
        speaks = ready & ~missing & ~late
        out.score[speaks] = score[speaks]
        out.contributions[speaks] = shares[speaks]
        out.reason[~ready] = Unscored.WINDOW_INCOMPLETE
        out.reason[missing] = Unscored.VALUES_MISSING
        out.reason[late & ~missing] = Unscored.LATE
        band = a.band[rows.series][:, : rows.values.shape[1]]
        said = speaks[:, None] & ~np.isnan(expected)
        for array, values in ((out.expected, expected), (out.lower, expected - band), (out.upper, expected + band)):
            array[said] = values[said]
        return out

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],  # noqa: ARG002
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """What overlapping windows at all scales say together; see `Detector.score_all`.

        Raises
        ------
        ValueError
            A value is infinite; the message names row and channel.
        NotEnoughDataError
            Fewer than 32 rows have a value.
        """
        infinite = np.isinf(values)
        if infinite.any():
            row, channel = (int(i) for i in np.argwhere(infinite)[0])
            raise ValueError(f"{self.name}: channel {channel} is infinite in row {row}; use NaN for a missing value")
        self._check_rows(values)
        moving = np.array([np.unique(one[~np.isnan(one)]).size > 1 for one in values.T], np.bool_)
        if not moving.any():
            return np.where(np.isnan(values).all(axis=1), np.nan, 0.0)
        kept = np.ascontiguousarray(values[:, moving])
        logits = self._logits(kept)
        score, _ = self._judged(logits, _usual(logits), fit_scaling(kept).weight)
        return score

    def _judged(
        self, logits: npt.NDArray[np.float64], usual: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """One score a row, and the shares of the channels; `usual` as [c] or [m, c]."""
        if self._aggregate == "evidence":
            above = logits - usual
            return aggregated(np.maximum(above, 0.0) + np.log1p(np.exp(-np.abs(above))), "norm", weight)
        return aggregated(1 / (1 + np.exp(-logits)), self._aggregate, weight)

    def _logits(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Log odds of all rows of moving channels with hindsight, float64[t, c]."""
        return label_recording(
            self._runner, values, window=self._window, scales=self._scales, stride=self._stride,
            longest_gap=self._longest_gap,
        )  # fmt: skip

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._stream.arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._stream.arrays.restore(state)


def _usual(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 0.9 quantile of every channel's log odds, float64[c]; that of a calm channel where one says nothing."""
    found = np.full(logits.shape[1], _CALM)
    for c in range(logits.shape[1]):
        known = logits[~np.isnan(logits[:, c]), c]
        if known.size:
            found[c] = np.quantile(known, _USUAL_QUANTILE)
    return found
