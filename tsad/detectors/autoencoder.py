"""The over-complete sparse autoencoder for the metrics of a compute node."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from tsad.detectors.base import Detector, Scores, Unscored
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.kernels.autoencoder import reconstruct
from tsad.observations import RowBatch
from tsad.scaling import ChannelScaling, fit_scaling
from tsad.series_arrays import by_series

__all__ = ["AutoencoderDetector"]

_BLOCKS = 10
_HELD_OUT = (2, 5, 8)  # three of ten blocks of the prefix judge the model and never train it
_BAND_QUANTILE = 0.99
_FITTED = ("location", "scale", "weight", "band", "w1", "b1", "w2", "b2")


@dataclass(frozen=True, slots=True)
class _Network:
    """One trained autoencoder: n inputs, h hidden units. Arrays are named as in `_FITTED`."""

    scaling: ChannelScaling
    band: npt.NDArray[np.float32]  # float32[n], healthy 0.99 quantile of each feature's error
    w1: npt.NDArray[np.float32]  # float32[n, h]
    b1: npt.NDArray[np.float32]
    w2: npt.NDArray[np.float32]  # float32[h, n]
    b2: npt.NDArray[np.float32]

    def scaled(self, values: npt.NDArray[np.float32], clip: float) -> npt.NDArray[np.float32]:
        """Scaled and clipped inputs; NaN stays, and stands for metrics that training never saw."""
        scaling = self.scaling
        scaled = (values - scaling.location) / scaling.scale * np.where(scaling.weight > 0, scaling.weight, np.nan)
        return np.clip(scaled, -clip, clip).astype(np.float32)

    def errors(self, scaled: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Absolute error per feature, NaN where the input is missing."""
        inputs = np.ascontiguousarray(np.nan_to_num(scaled))
        out = np.empty_like(inputs)
        reconstruct(inputs, self.w1, self.b1, self.w2, self.b2, out)
        return np.asarray(np.abs(scaled - out))


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
        self._hidden_multiple = hidden_multiple
        self._activity_penalty = activity_penalty
        self._error = error
        self._epochs = epochs
        self._batch_size = batch_size
        self._learning_rate = learning_rate
        self._seed = seed
        self._samples_per_metric = samples_per_metric
        self._idle_channels = tuple(idle_channels)
        self._idle_below = idle_below
        self._clip = clip
        self._device = _device(device)
        self._networks: dict[int, _Network] = {}

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
        hidden = self._hidden_multiple * n_channels
        return 2 * n_channels * hidden + hidden + n_channels

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Networks are kept by series; there is nothing to reserve."""

    def _idle(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        if not self._idle_channels:
            return np.zeros(len(values), dtype=np.bool_)
        load = values[:, list(self._idle_channels)]
        return np.asarray((np.nansum(load, axis=1) < self._idle_below) & ~np.isnan(load).all(axis=1))

    def _usable(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        missing = np.isnan(values)
        return np.asarray((2 * missing.sum(axis=1) <= values.shape[1]) & ~self._idle(values))

    def _train(self, values: npt.NDArray[np.float32], scaling: ChannelScaling) -> _Network:
        """Train one network on the rows given."""
        n = values.shape[1]
        hidden = self._hidden_multiple * n
        # Torch's own random state stays as it was: ours is a generator of this network alone.
        generator = torch.Generator().manual_seed(self._seed)
        blank = np.zeros(0, np.float32)
        scaled = _Network(scaling, blank, blank, blank, blank, blank).scaled(values, self._clip)
        known = torch.from_numpy(~np.isnan(scaled)).to(self._device)
        inputs = torch.from_numpy(np.nan_to_num(scaled)).to(self._device)
        w1, w2 = (
            ((torch.rand(shape, generator=generator) * 2 - 1) * (6.0 / (n + hidden)) ** 0.5).to(self._device)
            for shape in ((n, hidden), (hidden, n))
        )
        b1, b2 = torch.zeros(hidden, device=self._device), torch.zeros(n, device=self._device)
        parameters = [w1, b1, w2, b2]
        for parameter in parameters:
            parameter.requires_grad_()
        optimizer = torch.optim.Adam(parameters, lr=self._learning_rate)
        for _ in range(self._epochs):
            order = torch.randperm(len(inputs), generator=generator).to(self._device)
            for start in range(0, len(order), self._batch_size):
                rows = order[start : start + self._batch_size]
                code = torch.relu(inputs[rows] @ w1 + b1)
                error = (code @ w2 + b2 - inputs[rows]).abs() * known[rows]
                loss = error.sum() / known[rows].sum().clamp(min=1)
                loss = loss + self._activity_penalty * code.sum(dim=1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        trained = [np.ascontiguousarray(p.detach().cpu().numpy()) for p in parameters]
        return _Network(scaling, np.ones(n, np.float32), *trained)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Train the node's network; see `Detector.fit`."""
        usable = np.flatnonzero(self._usable(train))
        needed = self._samples_per_metric * train.shape[1]
        if len(usable) < needed:
            raise NotEnoughDataError(
                f"{self.name} needs {needed} healthy rows for {train.shape[1]} metrics, there are {len(usable)}",
            )
        held = np.isin(np.arange(len(usable)) * _BLOCKS // len(usable), _HELD_OUT)
        training, judging = train[usable[~held]], train[usable[held]]
        # One thread: sums come out the same in the daemon, in a backtest's worker and in a test.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1, user_api="blas"):
                network = self._train(training, fit_scaling(training))
        finally:
            torch.set_num_threads(threads)
        errors = network.errors(network.scaled(judging, self._clip))
        band = np.nan_to_num(np.nanquantile(_without_empty(errors), _BAND_QUANTILE, axis=0)).astype(np.float32)
        self._networks[series] = _Network(
            network.scaling, np.maximum(band, 1e-6), network.w1, network.b1, network.w2, network.b2
        )
        scores = np.full(len(train), np.nan)
        scores[usable[held]] = self._reduce(errors)
        return scores

    def _reduce(self, errors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Score of every row from its errors per metric; rows with no metric are not handed in."""
        reduced = np.nanmax(errors, axis=1) if self._error == "max" else np.nanmean(errors, axis=1)
        return np.asarray(reduced, dtype=np.float64)

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        out = Scores.empty(len(rows), rows.values.shape[1])
        for series, where in by_series(rows.series):
            self._score_series(self._networks[series], rows.values, where, out)
        return out

    def _score_series(
        self,
        network: _Network,
        values: npt.NDArray[np.float32],
        where: npt.NDArray[np.intp],
        out: Scores,
    ) -> None:
        n = len(network.b2)
        own = values[where, :n]
        usable = self._usable(own)
        out.reason[where[~usable]] = Unscored.VALUES_MISSING
        out.reason[where[self._idle(own)]] = Unscored.IDLE
        where = where[usable]
        if not len(where):
            return
        scaled = network.scaled(own[usable], self._clip)
        errors = network.errors(scaled)
        out.score[where] = self._reduce(errors)
        shares = np.nan_to_num(errors / network.band)
        columns = np.ix_(where, np.arange(n))
        out.contributions[columns] = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
        inputs = np.ascontiguousarray(np.nan_to_num(scaled))
        reconstruction = np.empty_like(inputs)
        reconstruct(inputs, network.w1, network.b1, network.w2, network.b2, reconstruction)
        scaling = network.scaling
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.where(scaling.weight > 0, scaling.scale / scaling.weight, np.nan)
        expected = scaling.location + reconstruction * unit
        out.expected[columns] = expected
        out.lower[columns] = expected - network.band * unit
        out.upper[columns] = expected + network.band * unit

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
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            network = self._train(values[usable], fit_scaling(values[usable]))
        finally:
            torch.set_num_threads(threads)
        scores = np.full(len(values), np.nan)
        scores[usable] = self._reduce(network.errors(network.scaled(values[usable], self._clip)))
        return scores

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting; rows are independent, so there is no streaming state."""
        if not fitted:
            return {}
        state: dict[str, npt.NDArray[Any]] = {}
        for series, network in sorted(self._networks.items()):
            if series < n_series:
                scaling = network.scaling
                scales: tuple[npt.NDArray[Any], ...] = (scaling.location, scaling.scale, scaling.weight, network.band)
                weights = (network.w1, network.b1, network.w2, network.b2)
                for name, array in zip(_FITTED, (*scales, *weights), strict=True):
                    state[f"{series}/{name}"] = array
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._networks = {}
        for series in sorted({int(key.split("/")[0]) for key in state}):
            arrays: list[npt.NDArray[Any]] = [np.array(state[f"{series}/{name}"]) for name in _FITTED]
            location, scale, weight = arrays[:3]
            self._networks[series] = _Network(ChannelScaling(location, scale, weight, weight > 0), *arrays[3:])


def _without_empty(errors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The errors, with 0 in metrics that were never seen, so that their quantile exists."""
    return np.where(np.isnan(errors).all(axis=0), np.float32(0), errors)


def _device(name: str) -> torch.device:
    """The torch device of a setting.

    Raises
    ------
    ConfigurationError
        A GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"device is {name!r} but torch sees no GPU; set device: auto or cpu")
    return torch.device(name)
