"""A node judged against its siblings: what all of them show at the same time is no fault of one.

The form is that of peer-group analysis (R. J. Bolton and D. J. Hand, "Unsupervised Profiling Methods for Fraud
Detection", Credit Scoring and Credit Control VII, 2001), with the group's median in place of its mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.fleet.rows import held_out, reduced
from tsad.fleet.telemetry import NodeTelemetry, matched
from tsad.scaling import fit_scaling

__all__ = [
    "CLIP",
    "FEWEST_SIBLINGS",
    "USUAL_QUANTILE",
    "ComparisonScores",
    "FleetComparison",
    "aligned",
    "line",
    "median_of_others",
]

FEWEST_SIBLINGS = 3
"""Others that must speak at a time step, so that one faulty sibling cannot be the median."""

USUAL_QUANTILE = 0.99
"""Of healthy distances: their unit."""
CLIP = 10.0
"""Deviations beyond which a reading counts no further."""
_CHUNK_VALUES = 4_000_000
_ARRAYS = ("location", "scale", "level", "slope", "usual", "threshold")


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonScores:
    """What siblings say of k nodes over t time steps.

    Attributes
    ----------
    error
        float64[t, k], higher is odder; NaN where the node or all but two siblings are silent.
    ratios
        float32[t, k, n], distance of each feature from what the siblings lead to expect, in units of its healthy 99th
        percentile; 0 where there is none.
    """

    error: npt.NDArray[np.float64]
    ratios: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FleetComparison:
    """Residuals of every node against the median of its siblings, by feature.

    Each node's features are put in units of its own history. At every time step the median over the *other* nodes is
    the group's response; how a node usually follows it (a level and a slope by feature, least squares over its history)
    is taken off. The error is the largest or mean distance left over the features, each in units of its healthy 99th
    percentile in rows that were held out. A node that never follows its group has slope 0 and is judged by its own
    level.

    It works on readings, and as well on the residuals of the nodes' autoencoders: these no longer know the load, so
    that nodes with different jobs can be compared, and what all nodes share (a season, a firmware) falls away.

    A step needs that step's rows alone: no state is kept, so it runs live wherever the rows of a group come together.

    Attributes
    ----------
    nodes, features
        Names, in the order of the arrays.
    location, scale, level, slope, usual
        float64[k, n] each.
    threshold
        float64[k], `percentile` of the held-out healthy errors.
    error
        ``max`` or ``mean``.
    """

    nodes: tuple[str, ...]
    features: tuple[str, ...]
    location: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    error: str = "max"

    @classmethod
    def fit(
        cls,
        values: npt.NDArray[np.float32],
        nodes: Sequence[str],
        features: Sequence[str],
        *,
        error: str = "max",
        percentile: float = 97.0,
    ) -> "FleetComparison":
        """Learn how nodes follow their group.

        Parameters
        ----------
        values
            float32[t, k, n], healthy, one row a time step for all nodes (see `aligned`), NaN where missing or idle.
        nodes, features
            Their names.
        error
            ``max`` or ``mean`` over the features.
        percentile
            Of the held-out healthy errors, for the thresholds.

        Raises
        ------
        ConfigurationError
            `error` is neither, or there are fewer than four nodes.
        NotEnoughDataError
            A node has fewer than ten steps at which enough siblings speak too.
        """
        t, k, n = values.shape
        if error not in {"max", "mean"}:
            raise ConfigurationError(f"error is {error!r}; choose max or mean")
        if k < FEWEST_SIBLINGS + 1:
            raise ConfigurationError(f"{k} nodes cannot be compared; a group has at least {FEWEST_SIBLINGS + 1}")
        judging = held_out(t)
        learning = values[~judging]
        scalings = [fit_scaling(learning[:, node], robust=True) for node in range(k)]
        location = np.stack([s.location for s in scalings])
        scale = np.stack([np.where(s.known, s.scale / np.where(s.known, s.weight, 1.0), np.nan) for s in scalings])
        nothing = np.zeros((k, n))
        raw = cls(
            tuple(nodes), tuple(features), location, scale, nothing, nothing, nothing + 1.0, np.zeros(k), error
        )  # fmt: skip
        level, slope = line(*raw._node_and_group(learning))
        raw = cls(raw.nodes, raw.features, location, scale, level, slope, nothing + 1.0, np.zeros(k), error)
        distance = np.abs(raw.residuals(values[judging]))
        there = ~np.isnan(distance).all(axis=2)
        steps = np.asarray(there.sum(axis=0))
        short = int(np.argmin(steps))
        if steps[short] < 10:
            raise NotEnoughDataError(
                f"node {raw.nodes[short]!r} has {int(steps[short])} of {int(judging.sum())} held-out steps at which "
                f"{FEWEST_SIBLINGS} siblings speak too; at least 10 are needed"
            )
        filled = np.where(np.isnan(distance).all(axis=0), 0.0, distance)
        usual = np.maximum(np.nanquantile(filled, USUAL_QUANTILE, axis=0), 1e-6)
        made = cls(raw.nodes, raw.features, location, scale, level, slope, usual, np.zeros(k), error)
        healthy = made.score(values[judging]).error
        made.threshold[:] = np.nanpercentile(healthy, percentile, axis=0)
        return made

    def residuals(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """float64[t, k, n], distance from what the siblings lead to expect, signed, in units of the node's history."""
        own, group = self._node_and_group(values)
        return np.asarray(own - self.level - self.slope * group)

    def score(self, values: npt.NDArray[np.float32]) -> ComparisonScores:
        """Judge time steps, each by itself.

        Parameters
        ----------
        values
            float32[t, k, n], NaN where missing or idle.
        """
        t, k, n = values.shape
        error, ratios = np.full((t, k), np.nan), np.zeros((t, k, n), np.float32)
        rows = max(1, _CHUNK_VALUES // max(k * n, 1))
        for first in range(0, t, rows):
            part = slice(first, first + rows)
            found = (np.abs(self.residuals(values[part])) / self.usual).astype(np.float32)
            flat = found.reshape(-1, n)
            known = ~np.isnan(flat).all(axis=1)
            error[part].reshape(-1)[known] = reduced(flat[known], self.error)
            ratios[part] = np.nan_to_num(found)
        return ComparisonScores(error, ratios)

    def _node_and_group(
        self, values: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        own = np.clip((values - self.location) / self.scale, -CLIP, CLIP)
        return own, median_of_others(own, FEWEST_SIBLINGS)

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything it knows, as named arrays and JSON-ready values."""
        arrays = {name: np.asarray(getattr(self, name)) for name in _ARRAYS}
        return arrays, {"nodes": list(self.nodes), "features": list(self.features), "error": self.error}

    @classmethod
    def restore(cls, arrays: Mapping[str, npt.NDArray[Any]], description: Mapping[str, Any]) -> "FleetComparison":
        """The comparison of a stored state.

        Raises
        ------
        SnapshotError
            It is damaged.
        """
        try:
            return cls(
                tuple(description["nodes"]), tuple(description["features"]),
                **{name: np.array(arrays[name]) for name in _ARRAYS}, error=str(description["error"]),
            )  # fmt: skip
        except KeyError as error:
            raise SnapshotError(f"a stored fleet comparison is damaged: {error} is missing; fit it anew") from error


def median_of_others(values: npt.NDArray[np.float64], fewest: int = 1) -> npt.NDArray[np.float64]:
    """For every node the median over all *other* nodes: float64[t, k, n] of float64[t, k, n].

    Missing values are left out; where fewer than `fewest` others are known, or the node itself is missing, it is NaN.

    Examples
    --------
    >>> median_of_others(np.array([[[1.0], [2.0], [4.0], [9.0]]])).ravel()
    array([4., 4., 2., 2.])
    """
    order = np.argsort(values, axis=1, kind="stable")  # NaN last
    ranked = np.take_along_axis(values, order, axis=1)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(values.shape[1])[None, :, None], order.shape), axis=1)
    others = np.maximum((~np.isnan(values)).sum(axis=1, keepdims=True) - 1, 0)

    def without_self(place: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """The value at `place` among the others: one further where the node itself comes before it."""
        shifted = place + (rank <= place)
        return np.take_along_axis(ranked, np.minimum(shifted, values.shape[1] - 1), axis=1)

    low, high = (np.broadcast_to(p, values.shape) for p in (np.maximum(others - 1, 0) // 2, others // 2))
    middle = 0.5 * (without_self(low) + without_self(high))
    return np.where(np.isnan(values) | (others < max(fewest, 1)), np.nan, middle)


def line(
    own: npt.NDArray[np.float64], group: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Level and slope of every node and feature over the group's response, float64[k, n] each."""
    known = ~np.isnan(own) & ~np.isnan(group)
    count = np.maximum(known.sum(axis=0), 1)
    y, x = np.where(known, own, 0.0), np.where(known, group, 0.0)
    mean_y, mean_x = y.sum(axis=0) / count, x.sum(axis=0) / count
    dx = np.where(known, group - mean_x, 0.0)
    spread = (dx * dx).sum(axis=0)
    slope = np.divide((dx * y).sum(axis=0), spread, out=np.zeros_like(spread), where=spread > 1e-12 * count)
    return mean_y - slope * mean_x, slope


def aligned(telemetry: Sequence[NodeTelemetry], step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Put the rows of a group on one time grid.

    Parameters
    ----------
    telemetry
        Of every node, with the features of the first, in order of time.
    step
        Width of a cell in ns; of several rows of a node in a cell the last is taken.

    Returns
    -------
    int64[t], float32[t, k, n]
        Beginnings of the cells in which any node has a row, and the values; NaN where a node has none.

    Raises
    ------
    ValueError
        A node lacks a feature of the first.
    """
    matching = [matched(one, telemetry[0].features)[0] for one in telemetry]
    cells = np.unique(np.concatenate([one.times // step for one in matching]))
    values = np.full((len(cells), len(matching), len(telemetry[0].features)), np.nan, np.float32)
    for node, one in enumerate(matching):
        values[np.searchsorted(cells, one.times // step), node] = one.values
    return cells * step, values
