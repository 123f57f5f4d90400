"""From a node's telemetry to the inputs of its network."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError
from tsad.fleet.network import scaled
from tsad.fleet.rows import held_out, idle_rows, mostly_missing
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry, matched, ordered
from tsad.scaling import ChannelScaling, fit_scaling

__all__ = ["Preparation", "clip_of", "idle", "scaling_of"]

_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """One node's training telemetry, ready for the network.

    Attributes
    ----------
    telemetry
        In order of time.
    kept
        int[n], columns that vary.
    constants
        float32[all features], the value of those that do not, NaN for all others.
    training, judging
        Rows that train the network, and rows that judge it.
    scaling
        Of the kept columns, from the training rows.
    """

    telemetry: NodeTelemetry
    kept: npt.NDArray[np.intp]
    constants: npt.NDArray[np.float32]
    training: npt.NDArray[np.intp]
    judging: npt.NDArray[np.intp]
    scaling: ChannelScaling

    @classmethod
    def of(
        cls, telemetry: NodeTelemetry, settings: NodeSettings, validation: NodeTelemetry | None = None
    ) -> "Preparation":
        """Sort, leave idle and mostly missing rows out, part features that vary from constants, and learn scales."""
        telemetry = ordered(telemetry)
        last = len(telemetry)
        if validation is not None:
            later = ordered(matched(validation, telemetry.features)[0])
            telemetry = replace(
                telemetry,
                times=np.concatenate([telemetry.times, later.times]),
                values=np.concatenate([telemetry.values, later.values]),
            )
        usable = np.flatnonzero(~mostly_missing(telemetry.values) & ~idle(telemetry, settings))
        judges = held_out(len(usable)) if validation is None else usable >= last
        training, judging = usable[~judges], usable[judges]
        values = telemetry.values[training]
        seen = ~np.isnan(values).all(axis=0) if len(values) else np.zeros(len(telemetry.features), np.bool_)
        low, high = (np.full(len(telemetry.features), np.nan, np.float32) for _ in range(2))
        if seen.any():
            low[seen], high[seen] = np.nanmin(values[:, seen], axis=0), np.nanmax(values[:, seen], axis=0)
        kept = np.flatnonzero(low < high)
        scaling = scaling_of(values[:, kept], settings)
        return cls(telemetry, kept, np.where(low == high, low, np.nan), training, judging, scaling)

    @property
    def rows_per_day(self) -> float:
        """Rows of the time grid in a day, from the median step."""
        return _DAY_NS / float(np.median(np.diff(self.telemetry.times))) if len(self.telemetry) > 1 else 1.0

    @property
    def healthy_rows(self) -> int:
        """Rows to learn from and to judge by."""
        return len(self.training) + len(self.judging)

    def restricted(self, kept: npt.NDArray[np.intp], settings: NodeSettings) -> "Preparation":
        """The same for a network over other columns, those of a fleet's base model."""
        constants = self.constants.copy()
        constants[kept] = np.nan
        scaling = scaling_of(self.telemetry.values[np.ix_(self.training, kept)], settings)
        return replace(self, kept=kept, constants=constants, scaling=scaling)

    def inputs(self, rows: npt.NDArray[np.intp], settings: NodeSettings) -> npt.NDArray[np.float32]:
        """Scaled inputs of some rows."""
        return scaled(self.telemetry.values[np.ix_(rows, self.kept)], self.scaling, clip_of(settings))

    def check(self, settings: NodeSettings) -> None:
        """Raise `NotEnoughDataError` where a model of the node's own would have too little to learn from."""
        needed = settings.samples_per_feature * max(len(self.kept), 1)
        if not len(self.kept) or self.healthy_rows < needed or not len(self.judging):
            raise NotEnoughDataError(
                f"node {self.telemetry.node!r} needs {needed} healthy rows for {len(self.kept)} features that vary, "
                f"there are {self.healthy_rows}; give more, or let a fleet judge it by its base model"
            )


def idle(telemetry: NodeTelemetry, settings: NodeSettings) -> npt.NDArray[np.bool_]:
    """bool[t], rows that are idle by the settings; ValueError where they name a feature that is not there."""
    unknown = [name for name in settings.idle_features if name not in telemetry.features]
    if unknown:
        raise ValueError(
            f"node {telemetry.node!r}: there is no feature {unknown[0]!r}, which idle_features names; features are "
            f"{', '.join(telemetry.features[:8])}, …"
        )
    columns = [telemetry.features.index(name) for name in settings.idle_features]
    return idle_rows(telemetry.values, columns, settings.idle_below)


def clip_of(settings: NodeSettings) -> float:
    """At what scaled size inputs are clipped; min-max scaling, the paper's, does not."""
    return np.inf if settings.scaling == "min-max" else settings.clip


def scaling_of(values: npt.NDArray[np.float32], settings: NodeSettings) -> ChannelScaling:
    """Scales of the features that vary; at 0 stands the median or mean, where missing inputs are put."""
    if settings.scaling != "min-max":
        return fit_scaling(values, robust=settings.scaling == "robust")
    # The width is that of [0, 1] as in the paper, but 0 is the median: missing inputs must not be extreme.
    n = values.shape[1]
    if not values.size:
        return ChannelScaling(np.zeros(n), np.ones(n), np.zeros(n), np.zeros(n, np.bool_))
    middle = np.nanmedian(values, axis=0).astype(np.float64)
    width = (np.nanmax(values, axis=0) - np.nanmin(values, axis=0)).astype(np.float64)
    return ChannelScaling(middle, width, np.ones(n), np.ones(n, np.bool_))
