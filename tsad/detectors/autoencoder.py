"""The over-complete sparse autoencoder for the metrics of a compute node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Detector, Scores, Unscored
from tsad.devices import torch_device
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.fleet.network import (
    Network,
    Training,
    Weights,
    one_thread,
    parameter_count,
    scaled,
    train_together,
)
from tsad.fleet.rows import held_out, idle_rows, mostly_missing, reduced
from tsad.observations import RowBatch
from tsad.scaling import ChannelScaling, fit_scaling
from tsad.series_arrays import by_series

__all__ = ["AutoencoderDetector"]

_BAND_QUANTILE = 0.99
_ROUNDS = 8
_FITTED = ("location", "scale", "weight", "band", "w1", "b1", "w2", "b2")


@dataclass(frozen=True, slots=True)
class _Learnt:
    """The network of one series, and the healthy 0.99 quantile of each metric's error, float32[n]."""

    network: Network
    band: npt.NDArray[np.float32]


class AutoencoderDetector(Detector):
    """One autoencoder a node, trained on healthy rows; every row is one sample, without windows.

    The hidden layer has ten times as many units as there are metrics, with an L1 penalty on its activity: an
    over-complete sparse code, not a bottleneck. The score is the largest error over the metrics (or their mean).
    Missing metrics are left out of the error and stand at their mean in the input; a row with more than half of its
    metrics missing has no score. Calibration uses three of ten blocks of the prefix that training never sees.

    Source: A. Borghesi, A. Bartolini, M. Lombardi, M. Milano, L. Benini, "Anomaly Detection using Autoencoders in
    High Performance Computing Systems", IAAI 2019 (arXiv 1811.05269). Scaling is by mean and deviation with clipping
    instead of minimum and maximum, because the latter saturates first when a machine drifts.

    Parameters
    ----------
    hidden_multiple
        Hidden units per metric.
    activity_penalty
        Weight of the sum over the hidden units' activity, averaged over the batch.
    error
        ``max`` (the paper's) or ``mean`` over the metrics.
    epochs, batch_size, learning_rate, seed
        Training by Adam on the mean absolute error.
    samples_per_metric
        Healthy rows that `fit` needs per metric.
    idle_channels, idle_below
        Rows whose named channels sum to less than `idle_below` are idle: neither learnt nor scored. Columns by number.
    clip
        Inputs are clipped to this many deviations.
    device
        ``auto`` trains on a GPU where there is one, else ``cpu`` or a torch device name.
    """

    name: ClassVar[str] = "autoencoder"
    summary: ClassVar[str] = "over-complete sparse autoencoder of a compute node's metrics (Borghesi et al. 2019)"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "model"
    multivariate: ClassVar[bool] = True

    def __init__(
        self,
        *,
        hidden_multiple: int = 10,
        activity_penalty: float = 1e-5,
        error: Literal["max", "mean"] = "max",
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        seed: int = 0,
        samples_per_metric: int = 10,
        idle_channels: tuple[int, ...] = (),
        idle_below: float = 10.0,
        clip: float = 10.0,
        device: str = "auto",
    ) -> None:
        if error not in {"max", "mean"}:
            raise ConfigurationError(f"autoencoder: error is {error!r}; choose max or mean")
        torch_device(device)
        self._hidden_multiple = hidden_multiple
        self._error = error
        self._training = Training(activity_penalty, epochs, batch_size, learning_rate, seed, device)
        self._samples_per_metric = samples_per_metric
        self._idle_channels = tuple(idle_channels)
        self._idle_below = idle_below
        self._clip = clip
        self._learnt: dict[int, _Learnt] = {}

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return 1

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least, for a single metric."""
        return self._samples_per_metric

    def parameter_count(self, n_channels: int) -> int:
        """Weights and biases of one node's network."""
        return parameter_count(n_channels, self._hidden_multiple * n_channels)

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Networks are kept by series; there is nothing to reserve."""

    def _idle(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        return idle_rows(values, self._idle_channels, self._idle_below)

    def _usable(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        return np.asarray(~mostly_missing(values) & ~self._idle(values))

    def _train(self, values: npt.NDArray[np.float32]) -> Network:
        """Train one network on the rows given."""
        scaling = fit_scaling(values)
        inputs = scaled(values, scaling, self._clip)
        with one_thread():
            (weights,) = train_together([inputs], self._hidden_multiple * values.shape[1], self._training)
        return Network(scaling, self._clip, weights)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Train the node's network; see `Detector.fit`."""
        usable = np.flatnonzero(self._usable(train))
        needed = self._samples_per_metric * train.shape[1]
        if len(usable) < needed:
            raise NotEnoughDataError(
                f"{self.name} needs {needed} healthy rows for {train.shape[1]} metrics, there are {len(usable)}",
            )
        held = held_out(len(usable))
        network = self._train(train[usable[~held]])
        errors = _errors(network, train[usable[held]])
        band = np.nan_to_num(np.nanquantile(_without_empty(errors), _BAND_QUANTILE, axis=0)).astype(np.float32)
        self._learnt[series] = _Learnt(network, np.maximum(band, np.float32(1e-6)))
        scores = np.full(len(train), np.nan)
        scores[usable[held]] = reduced(errors, self._error)
        return scores

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        out = Scores.empty(len(rows), rows.values.shape[1])
        for series, where in by_series(rows.series):
            self._score_series(self._learnt[series], rows.values, where, out)
        return out

    def _score_series(
        self,
        learnt: _Learnt,
        values: npt.NDArray[np.float32],
        where: npt.NDArray[np.intp],
        out: Scores,
    ) -> None:
        network, band = learnt.network, learnt.band
        n = len(band)
        own = values[where, :n]
        usable = self._usable(own)
        out.reason[where[~usable]] = Unscored.VALUES_MISSING
        out.reason[where[self._idle(own)]] = Unscored.IDLE
        where = where[usable]
        if not len(where):
            return
        inputs = network.scaled(own[usable])
        reconstruction = _completed(network, inputs)
        errors = np.abs(inputs - reconstruction)
        out.score[where] = reduced(errors, self._error)
        shares = np.nan_to_num(errors / band)
        columns = np.ix_(where, np.arange(n))
        out.contributions[columns] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        expected, width = network.in_units(reconstruction), band * network.unit
        out.expected[columns] = expected
        out.lower[columns] = expected - width
        out.upper[columns] = expected + width

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],  # noqa: ARG002
        train_rows: int = 0,  # noqa: ARG002
    ) -> npt.NDArray[np.float64]:
        """Errors of a network trained on the recording itself; see `Detector.score_all`."""
        usable = self._usable(values)
        if usable.sum() < self._samples_per_metric * values.shape[1]:
            raise NotEnoughDataError(
                f"{self.name} needs {self._samples_per_metric * values.shape[1]} rows for {values.shape[1]} metrics, "
                f"there are {int(usable.sum())}",
            )
        scores = np.full(len(values), np.nan)
        scores[usable] = reduced(_errors(self._train(values[usable]), values[usable]), self._error)
        return scores

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting; rows are independent, so there is no streaming state."""
        if not fitted:
            return {}
        state: dict[str, npt.NDArray[Any]] = {}
        for series, learnt in sorted(self._learnt.items()):
            if series < n_series:
                scaling, weights = learnt.network.scaling, learnt.network.weights
                scales: tuple[npt.NDArray[Any], ...] = (scaling.location, scaling.scale, scaling.weight, learnt.band)
                arrays = (*scales, weights.w1, weights.b1, weights.w2, weights.b2)
                for name, array in zip(_FITTED, arrays, strict=True):
                    state[f"{series}/{name}"] = array
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._learnt = {}
        for series in sorted({int(key.split("/")[0]) for key in state}):
            arrays: list[npt.NDArray[Any]] = [np.array(state[f"{series}/{name}"]) for name in _FITTED]
            location, scale, weight, band = arrays[:4]
            scaling = ChannelScaling(location, scale, weight, weight > 0)
            self._learnt[series] = _Learnt(Network(scaling, self._clip, Weights(*arrays[4:])), band)


def _completed(network: Network, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Reconstruction of rows of which metrics may be missing.

    A missing metric at its mean would contradict those that it usually goes with, so what the network expects of it is
    put in its place, again and again.
    """
    found = network.reconstruction(inputs)
    gaps = np.isnan(inputs) & (network.scaling.weight > 0)
    some = np.flatnonzero(gaps.any(axis=1))
    for _ in range(_ROUNDS if len(some) else 0):
        found[some] = network.reconstruction(np.where(gaps[some], found[some], inputs[some]))
    return found


def _errors(network: Network, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Absolute error by metric, NaN where the value is missing."""
    return np.asarray(np.abs(network.residuals(network.scaled(values))))


def _without_empty(errors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The errors, with 0 in metrics that were never seen, so that their quantile exists."""
    return np.where(np.isnan(errors).all(axis=0), np.float32(0), errors)
