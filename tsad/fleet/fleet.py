"""The models of many nodes, trained together."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError, SnapshotError
from tsad.fleet.network import parameter_count, train_together
from tsad.fleet.nodes import NodeAutoencoder, training_of
from tsad.fleet.preparation import Preparation
from tsad.fleet.scores import ModelSource, NodeScores
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry, matched
from tsad.scaling import ChannelScaling

__all__ = ["FLEET_FORMAT", "FleetSizeWarning", "NodeFleet", "train_models"]

FLEET_FORMAT = 1
"""Rises when the meaning of a stored array changes."""

COLD_ROWS = 576
"""Healthy rows, two days of five minutes, below which a node is judged by the base model as it is."""

_FINE_TUNE_EPOCHS = 5
_BASE_ROWS = 20_000
_BYTES = 4


class FleetSizeWarning(UserWarning):
    """The models of a fleet are large; the message says how large."""


class NodeFleet:
    """One autoencoder a node, trained together by batched matrix products, and a base model for cold nodes.

    A node's model is the one that `NodeAutoencoder.fit` makes of it alone, up to rounding (sums in another order).
    Nodes with fewer than 576 healthy rows are judged by the base model, which is trained on rows of all nodes that
    have more; with fewer than ten rows a feature, by the base model trained on for 5 epochs on their own rows. The
    `source` of every score says which.

    `fit` makes it.

    Attributes
    ----------
    settings
        Of all nodes.
    models
        By node, those that have weights of their own.
    base
        The base model; None where it was not wanted.
    cold
        Nodes that are judged by the base model as it is.
    """

    def __init__(
        self,
        settings: NodeSettings,
        models: Mapping[str, NodeAutoencoder],
        base: NodeAutoencoder | None,
        cold: Sequence[str] = (),
    ) -> None:
        self.settings = settings
        self.models = dict(models)
        self.base = base
        self.cold = tuple(cold)

    @classmethod
    def fit(
        cls,
        telemetry: Sequence[NodeTelemetry],
        settings: NodeSettings | None = None,
        *,
        validation: Mapping[str, NodeTelemetry] | None = None,
        with_base: bool = True,
        warn_above_megabytes: float = 200.0,
    ) -> "NodeFleet":
        """Learn a fleet from healthy telemetry.

        Parameters
        ----------
        telemetry
            Of every node; features in the order of the first.
        settings
            How; None takes the defaults.
        validation
            By node, healthy rows from later, which fix its threshold; other nodes hold three of ten blocks out.
        with_base
            Whether to train a base model too; it costs as much as a node or two.
        warn_above_megabytes
            Size of all weights from which a warning is told.

        Raises
        ------
        NotEnoughDataError
            A node has too few healthy rows and there is no base model, or none has enough.
        ValueError
            A node is there twice or lacks a feature.

        Warns
        -----
        FleetSizeWarning
            The fleet is large.
        TelemetryWarning
            As `NodeAutoencoder.fit`.
        """
        settings = settings or NodeSettings()
        names = [one.node for one in telemetry]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"node {repeated[0]!r} is there twice; join its rows")
        prepared: dict[str, Preparation] = {}
        for one in telemetry:
            own, _ = matched(one, telemetry[0].features)
            prepared[one.node] = Preparation.of(own, settings, (validation or {}).get(one.node))
        warm = [name for name, one in prepared.items() if _is_warm(one, settings)]
        if not with_base:
            for preparation in prepared.values():
                preparation.check(settings)
            warm = names
        elif not warm:
            most = max((preparation.healthy_rows for preparation in prepared.values()), default=0)
            raise NotEnoughDataError(
                f"no node of {len(names)} has enough healthy rows for a model of its own, so there is none to lend; "
                f"the most are {most}, at least {COLD_ROWS} and {settings.samples_per_feature} a feature are needed"
            )
        _warn_of_size(prepared, warm, settings, warn_above_megabytes)
        models = train_models(prepared, warm, settings)
        base = _base_model([prepared[name] for name in warm], settings) if with_base else None
        cold = []
        for name in names:
            if name not in models:
                assert base is not None
                if prepared[name].healthy_rows >= COLD_ROWS and len(prepared[name].judging):
                    models[name] = _fine_tuned(prepared[name], base, settings)
                else:
                    cold.append(name)
        return cls(settings, models, base, cold)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of all nodes, in order."""
        return tuple(sorted((*self.models, *self.cold)))

    def model(self, node: str, unknown: Literal["raise", "base"] = "raise") -> NodeAutoencoder:
        """The model that judges `node`.

        Raises
        ------
        ValueError
            The node is unknown and `unknown` does not allow the base model, or there is none.
        """
        if node in self.models:
            return self.models[node]
        if self.base is not None and (node in self.cold or unknown == "base"):
            return replace(self.base, node=node)
        raise ValueError(
            f"there is no node {node!r}; known are {', '.join(self.nodes)}. Fit it, or set unknown='base' to judge it "
            f"by the base model"
        )

    def score(self, telemetry: NodeTelemetry, unknown: Literal["raise", "base"] = "raise") -> NodeScores:
        """Score rows of one node; see `NodeAutoencoder.score`.

        Raises
        ------
        ValueError
            As `model`, or a feature is missing.
        """
        return self.model(telemetry.node, unknown).score(telemetry)

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything it knows, as named arrays and JSON-ready values."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        described = []
        kept = list(self.models.values()) + ([] if self.base is None else [self.base])
        for number, model in enumerate(kept):
            own, description = model.state()
            arrays |= {f"{number}/{name}": array for name, array in own.items()}
            described.append(description)
        return arrays, {
            "format": FLEET_FORMAT, "models": described, "has_base": self.base is not None, "cold": list(self.cold)
        }  # fmt: skip

    @classmethod
    def restore(cls, arrays: Mapping[str, npt.NDArray[Any]], description: Mapping[str, Any]) -> "NodeFleet":
        """The fleet of a stored state.

        Raises
        ------
        SnapshotError
            Another version made it, or it is damaged.
        """
        if description.get("format") != FLEET_FORMAT:
            raise SnapshotError(
                f"a fleet is of format {description.get('format')}, this version reads {FLEET_FORMAT}; fit it anew"
            )
        parts: dict[int, dict[str, npt.NDArray[Any]]] = {}
        for key, array in arrays.items():
            number, _, name = key.partition("/")
            parts.setdefault(int(number), {})[name] = array
        try:
            models = [NodeAutoencoder.restore(parts[n], told) for n, told in enumerate(description["models"])]
            base = models.pop() if description["has_base"] else None
            settings = (models[0] if base is None else base).settings
            return cls(settings, {model.node: model for model in models}, base, description["cold"])
        except (KeyError, IndexError) as error:
            raise SnapshotError(f"a stored fleet is damaged: {error!r} is missing; fit it anew") from error


def _is_warm(prepared: Preparation, settings: NodeSettings) -> bool:
    if prepared.healthy_rows < COLD_ROWS:
        return False
    try:
        prepared.check(settings)
    except NotEnoughDataError:
        return False
    return True


def _warn_of_size(
    prepared: Mapping[str, Preparation], nodes: Sequence[str], settings: NodeSettings, most: float
) -> None:
    widths = [len(prepared[name].kept) for name in nodes]
    megabytes = sum(_BYTES * parameter_count(n, settings.hidden_units(n)) for n in widths) / 1e6
    if megabytes > most:
        warnings.warn(
            f"the models of {len(nodes)} nodes take {megabytes:,.0f} MB, over the {most:,.0f} of warn_above_megabytes; "
            f"hidden='bottleneck' is smaller, or drop features",
            FleetSizeWarning,
            stacklevel=3,
        )


def train_models(
    prepared: Mapping[str, Preparation], nodes: Sequence[str], settings: NodeSettings
) -> dict[str, NodeAutoencoder]:
    """Models of the nodes' own; those with the same features that vary are trained together."""
    groups: dict[bytes, list[str]] = {}
    for name in nodes:
        groups.setdefault(prepared[name].kept.tobytes(), []).append(name)
    models: dict[str, NodeAutoencoder] = {}
    for group in groups.values():
        own = [prepared[name] for name in group]
        hidden = settings.hidden_units(len(own[0].kept))
        weights = train_together([p.inputs(p.training, settings) for p in own], hidden, training_of(settings))
        models |= {p.telemetry.node: NodeAutoencoder.finish(p, settings, w) for p, w in zip(own, weights, strict=True)}
    return {name: models[name] for name in nodes}


def _base_model(warm: Sequence[Preparation], settings: NodeSettings) -> NodeAutoencoder:
    """One model of rows of all warm nodes.

    It learns how features hang together in the units of each node, and is judged as a cold node will be: in units that
    are those of the middle node. So its threshold allows for the differences between nodes.
    """
    n = len(warm[0].telemetry.features)
    common = np.flatnonzero(np.bincount(np.concatenate([p.kept for p in warm]), minlength=n) == len(warm))
    if not len(common):
        raise NotEnoughDataError("no feature varies on every node, so there is nothing that a base model could learn")
    places = [np.searchsorted(p.kept, common) for p in warm]
    scales = [
        (p.scaling.location[at], p.scaling.scale[at], p.scaling.weight[at]) for p, at in zip(warm, places, strict=True)
    ]
    location, scale, weight = (np.median(same, axis=0) for same in zip(*scales, strict=True))
    learnt, judging = [], []
    for one, at in zip(warm, places, strict=True):
        rows = _thinned(one.training, _BASE_ROWS // len(warm))
        learnt.append(one.inputs(rows, settings)[:, at])
        judging.append(one.telemetry.values[_thinned(one.judging, _BASE_ROWS // len(warm))])
    inputs = np.concatenate(learnt)
    (weights,) = train_together([inputs], settings.hidden_units(len(common)), training_of(settings))
    values = np.concatenate(judging)
    constants = np.stack([p.constants for p in warm])
    same = (constants == constants[0]).all(axis=0)
    step = round(86_400e9 / warm[0].rows_per_day)
    pooled = Preparation(
        # Rows of many nodes one below the other; the times only say how long a row is.
        NodeTelemetry("(base)", warm[0].telemetry.features, np.arange(len(values), dtype=np.int64) * step, values),
        common, np.where(same, constants[0], np.float32(np.nan)), np.zeros(0, np.intp), np.arange(len(values)),
        ChannelScaling(location, scale, weight, weight > 0),
    )  # fmt: skip
    return NodeAutoencoder.finish(pooled, settings, weights, ModelSource.BASE)


def _thinned(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most `most` of some rows, spread evenly."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max(most, 1)).astype(np.intp)]


def _fine_tuned(prepared: Preparation, base: NodeAutoencoder, settings: NodeSettings) -> NodeAutoencoder:
    own = prepared.restricted(base.kept, settings)
    training = training_of(settings)
    training = replace(training, epochs=min(training.epochs, _FINE_TUNE_EPOCHS))
    inputs = own.inputs(own.training, settings)
    (weights,) = train_together([inputs], len(base.network.weights.b1), training, start=base.network.weights)
    return NodeAutoencoder.finish(own, settings, weights, ModelSource.FINE_TUNED)
