"""The model of one node."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Unscored
from tsad.errors import SnapshotError
from tsad.fleet.network import Network, Training, Weights, parameter_count, train_together
from tsad.fleet.preparation import Preparation, clip_of, idle
from tsad.fleet.rows import mostly_missing, one_block_of_errors, reduced
from tsad.fleet.scores import ModelSource, NodeScores
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry, TelemetryWarning, matched, ordered
from tsad.fleet.thresholds import Threshold, ThresholdRule, alarms
from tsad.kernels.autoencoder import mahalanobis
from tsad.scaling import ChannelScaling

__all__ = ["NODE_FORMAT", "NodeAutoencoder", "restored_settings", "training_of"]

NODE_FORMAT = 1
"""Rises when the meaning of a stored array changes."""

_USUAL_QUANTILE = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class NodeAutoencoder:
    """An autoencoder of one node's features, trained on healthy rows; every row is one sample, without windows.

    `fit` makes it. Features that did not vary in training are kept aside: a change of one is an alarm of its own.
    Missing values are left out of the error and stand at their median in the input; a row with more than half of its
    values missing has no error.

    Source: Borghesi et al., IAAI 2019 (arXiv 1811.05269). Ours: scaling by median and deviation instead of minimum and
    maximum, which saturate first when a machine drifts; a percentile that is fixed on rows the network never saw.

    Attributes
    ----------
    node, features
        Whose model it is.
    settings
        It was made with.
    network
        Over the features that vary.
    kept, constants
        int[n] columns that vary, and float32[all] the values of those that did not.
    usual
        float32[n], healthy 99th percentile of each feature's error.
    healthy
        float64[v], errors of the rows that judged it, in order of time.
    threshold
        On the error.
    rows_per_day
        Of the training telemetry.
    centre, whitening
        float64[n] and float64[n, n] of the error ``mahalanobis``, else empty.
    source
        Own, fine-tuned from the base of a fleet, or that base.
    """

    node: str
    features: tuple[str, ...]
    settings: NodeSettings
    network: Network
    kept: npt.NDArray[np.intp]
    constants: npt.NDArray[np.float32]
    usual: npt.NDArray[np.float32]
    healthy: npt.NDArray[np.float64]
    threshold: Threshold
    rows_per_day: float
    centre: npt.NDArray[np.float64]
    whitening: npt.NDArray[np.float64]
    source: ModelSource = ModelSource.OWN

    @classmethod
    def fit(
        cls,
        telemetry: NodeTelemetry,
        settings: NodeSettings | None = None,
        validation: NodeTelemetry | None = None,
    ) -> "NodeAutoencoder":
        """Learn a node from healthy telemetry.

        Parameters
        ----------
        telemetry
            Healthy rows.
        settings
            How; None takes the defaults.
        validation
            Healthy rows from later, which fix the threshold. Without them three of ten blocks of `telemetry` do.

        Raises
        ------
        NotEnoughDataError
            Too few healthy rows.

        Warns
        -----
        TelemetryWarning
            Rows out of order or repeated, or the largest errors of the training part form one block.
        """
        settings = settings or NodeSettings()
        prepared = Preparation.of(telemetry, settings, validation)
        prepared.check(settings)
        inputs = prepared.inputs(prepared.training, settings)
        (weights,) = train_together([inputs], settings.hidden_units(len(prepared.kept)), training_of(settings))
        return cls.finish(prepared, settings, weights)

    @classmethod
    def finish(
        cls,
        prepared: Preparation,
        settings: NodeSettings,
        weights: Weights,
        source: ModelSource = ModelSource.OWN,
    ) -> "NodeAutoencoder":
        """Judge a trained network on the rows that it never saw, and make it a model.

        Warns
        -----
        TelemetryWarning
            A model of the node's own has its largest training errors in one block.
        """
        network = Network(prepared.scaling, clip_of(settings), weights)
        residuals = network.residuals(prepared.inputs(prepared.judging, settings))
        seen = ~np.isnan(residuals).all(axis=0)
        usual = np.zeros(len(prepared.kept), np.float32)
        usual[seen] = np.nanquantile(np.abs(residuals[:, seen]), _USUAL_QUANTILE, axis=0)
        n = len(prepared.kept) if settings.error == "mahalanobis" else 0
        centre, whitening = np.zeros(n), np.zeros((n, n))
        if n:
            centre, whitening = _whitening(residuals)
        model = cls(
            prepared.telemetry.node, prepared.telemetry.features, settings, network, prepared.kept,
            prepared.constants, np.maximum(usual, np.float32(1e-6)), np.zeros(0), Threshold(np.inf, "percentile"),
            prepared.rows_per_day, centre, whitening, source,
        )  # fmt: skip
        healthy = model.errors_of(residuals)
        model = replace(model, healthy=healthy, threshold=settings.threshold.threshold(healthy, model.rows_per_day))
        learnt = network.residuals(prepared.inputs(prepared.training, settings))
        if source is ModelSource.OWN and one_block_of_errors(model.errors_of(learnt)):
            warnings.warn(
                f"node {model.node!r}: the largest hundredth of its training errors is one stretch of rows; look "
                f"whether a fault is in the training part",
                TelemetryWarning,
                stacklevel=3,
            )
        return model

    def errors_of(self, residuals: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """float64[t], errors of rows from their residuals by kept feature; NaN where none is known."""
        if not len(self.centre):
            known = ~np.isnan(residuals).all(axis=1)
            out = np.full(len(residuals), np.nan)
            errors = np.abs(residuals[known])
            if self.settings.error == "ratio":
                out[known] = reduced(errors / self.usual, "max")
            else:
                out[known] = reduced(errors, self.settings.error)
            return out
        out = np.empty(len(residuals))
        mahalanobis(np.ascontiguousarray(residuals), self.centre, self.whitening, out)
        return out

    def score(self, telemetry: NodeTelemetry) -> NodeScores:
        """Score rows; a row's error depends on that row alone.

        Raises
        ------
        ValueError
            A feature is missing, and the settings do not say to impute it.

        Warns
        -----
        TelemetryWarning
            Unknown features, rows out of order or repeated.
        """
        own, imputed = matched(ordered(telemetry), self.features, impute=self.settings.missing == "impute")
        reason = np.full(len(own), Unscored.SCORED, np.uint8)
        # Imputed features are no reason to give a row up: they are flagged, and stay out of the error.
        there = [column for column, name in enumerate(self.features) if name not in imputed]
        reason[mostly_missing(own.values[:, there]) | np.isnan(own.values[:, self.kept]).all(axis=1)] = (
            Unscored.VALUES_MISSING
        )
        reason[idle(own, self.settings)] = Unscored.IDLE
        where = np.flatnonzero(reason == Unscored.SCORED)
        inputs = self.network.scaled(own.values[np.ix_(where, self.kept)])
        residuals = self.network.residuals(inputs)
        t, n = own.values.shape
        error, clipped = np.full(t, np.nan), np.full(t, np.nan)
        error[where] = self.errors_of(residuals)
        clipped[where] = self._outside(own.values[np.ix_(where, self.kept)])
        ratios, signed = np.zeros((t, n), np.float32), np.full((t, n), np.nan, np.float32)
        columns = np.ix_(where, self.kept)
        ratios[columns], signed[columns] = np.nan_to_num(np.abs(residuals) / self.usual), residuals
        broken = ~np.isnan(self.constants) & ~np.isnan(own.values)
        broken &= ~np.isclose(own.values, np.nan_to_num(self.constants), rtol=1e-5, atol=0.0)
        alarm = alarms(error, self.threshold.value, self.settings.threshold) | broken.any(axis=1)
        return NodeScores(
            own.node, self.features, own.times, error, reason, alarm, self.threshold, ratios, signed, broken, imputed,
            clipped, self.source,
        )  # fmt: skip

    def _outside(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Share of each row's known values that lie outside the range of the scaling."""
        scaling = self.network.scaling
        # Min-max scaling does not clip: its range is that of the training part, one wide.
        limit = self.settings.clip if self.settings.scaling != "min-max" else 1.0
        known = ~np.isnan(values)
        beyond = np.abs((values - scaling.location) / scaling.scale * scaling.weight) >= limit
        return np.asarray((beyond & known).sum(axis=1) / np.maximum(known.sum(axis=1), 1))

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything it knows, as named arrays and JSON-ready values."""
        scaling, weights = self.network.scaling, self.network.weights
        arrays: dict[str, npt.NDArray[Any]] = {
            "location": scaling.location, "scale": scaling.scale, "weight": scaling.weight, "w1": weights.w1,
            "b1": weights.b1, "w2": weights.w2, "b2": weights.b2, "kept": self.kept, "constants": self.constants,
            "usual": self.usual, "healthy": self.healthy, "centre": self.centre, "whitening": self.whitening,
        }  # fmt: skip
        return arrays, {
            "format": NODE_FORMAT, "node": self.node, "features": list(self.features),
            "settings": asdict(self.settings), "threshold": asdict(self.threshold),
            "rows_per_day": self.rows_per_day, "source": str(self.source),
        }  # fmt: skip

    @classmethod
    def restore(cls, arrays: Mapping[str, npt.NDArray[Any]], description: Mapping[str, Any]) -> "NodeAutoencoder":
        """The model of a stored state.

        Raises
        ------
        SnapshotError
            Another version made it, or it is damaged.
        """
        if description.get("format") != NODE_FORMAT:
            raise SnapshotError(
                f"a node's model is of format {description.get('format')}, this version reads {NODE_FORMAT}; "
                f"fit it anew"
            )
        try:
            settings = restored_settings(description["settings"])
            weight = arrays["weight"]
            scaling = ChannelScaling(arrays["location"], arrays["scale"], weight, weight > 0)
            weights = Weights(*(np.array(arrays[name], np.float32) for name in ("w1", "b1", "w2", "b2")))
            return cls(
                description["node"], tuple(description["features"]), settings,
                Network(scaling, clip_of(settings), weights), np.array(arrays["kept"], np.intp),
                np.array(arrays["constants"]), np.array(arrays["usual"]), np.array(arrays["healthy"]),
                Threshold(**description["threshold"]), float(description["rows_per_day"]),
                np.array(arrays["centre"]), np.array(arrays["whitening"]), ModelSource(description["source"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"a node's stored model is damaged: {error}; fit it anew") from error

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return parameter_count(len(self.kept), len(self.network.weights.b1))


def restored_settings(stored: Mapping[str, Any]) -> NodeSettings:
    """Settings from their JSON form."""
    parts = {"threshold": ThresholdRule(**stored["threshold"]), "training": Training(**stored["training"])}
    return NodeSettings(**{**stored, **parts, "idle_features": tuple(stored["idle_features"])})


def training_of(settings: NodeSettings) -> Training:
    """How the network is trained; a bottleneck needs no penalty to be no identity."""
    return settings.training if settings.hidden == "over-complete" else replace(settings.training, activity_penalty=0.0)


def _whitening(residuals: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean of healthy residuals, and what turns them into uncorrelated ones of deviation 1 (Ledoit and Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf  # noqa: PLC0415 - takes longer to import than all else, rarely wanted

    centre = np.asarray(np.nanmean(residuals, axis=0, dtype=np.float64))
    filled = np.where(np.isnan(residuals), centre, residuals).astype(np.float64)
    covariance, _ = ledoit_wolf(filled)
    values, vectors = np.linalg.eigh(covariance)
    floor = 1e-9 * max(float(values[-1]), 1e-300)
    return centre, np.ascontiguousarray(vectors / np.sqrt(np.maximum(values, floor)))
