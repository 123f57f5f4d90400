"""The options of node autoencoders."""

from dataclasses import dataclass, field
from typing import Literal

from tsad.errors import ConfigurationError
from tsad.fleet.network import Training
from tsad.fleet.thresholds import ThresholdRule

__all__ = ["NodeSettings"]

_CHOICES = {
    "hidden": ("over-complete", "bottleneck"),
    "error": ("max", "mean", "ratio", "mahalanobis"),
    "scaling": ("robust", "standard", "min-max"),
    "missing": ("raise", "impute"),
}


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How nodes are modelled.

    Attributes
    ----------
    hidden
        ``over-complete``: ten hidden units a feature and a sparse code, as in the paper; ``bottleneck``: a third of the
        features, and no penalty.
    error
        Of a row, over its features: ``max`` (the paper's), ``mean``, ``ratio`` (the largest in units of each feature's
        healthy 99th percentile; ours), or ``mahalanobis`` (the length of the vector of residuals in units of their
        healthy covariance, shrunk after Ledoit and Wolf).
    scaling
        ``robust`` (median and median absolute deviation) and ``standard`` (mean and deviation) clip at `clip`;
        ``min-max`` is the paper's, which does not.
    clip
        Inputs are clipped to this many deviations. The share of clipped values is a sign of drift.
    idle_features, idle_below
        Rows whose features of these names sum to less are idle: neither learnt nor scored. In the units of the
        telemetry. None are named by default: no rule fits all machines.
    samples_per_feature
        Healthy rows that a model of its own needs for each feature.
    missing
        What becomes of a feature that is missing when rows are scored: ``raise``, or ``impute`` its training median
        and flag the rows.
    threshold
        From errors to alarms.
    training
        Of the network.

    Raises
    ------
    ConfigurationError
        A choice does not exist or a number is out of its range.
    """

    hidden: Literal["over-complete", "bottleneck"] = "over-complete"
    error: Literal["max", "mean", "ratio", "mahalanobis"] = "max"
    scaling: Literal["robust", "standard", "min-max"] = "robust"
    clip: float = 10.0
    idle_features: tuple[str, ...] = ()
    idle_below: float = 10.0
    samples_per_feature: int = 10
    missing: Literal["raise", "impute"] = "raise"
    threshold: ThresholdRule = field(default_factory=ThresholdRule)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; choose {', '.join(choices)}")
        if not self.clip > 0:
            raise ConfigurationError(f"clip is {self.clip}; give a number above 0")
        if self.samples_per_feature < 1:
            raise ConfigurationError(f"samples_per_feature is {self.samples_per_feature}; give at least 1")

    def hidden_units(self, n: int) -> int:
        """Hidden units for `n` features.

        Examples
        --------
        >>> NodeSettings().hidden_units(166), NodeSettings(hidden="bottleneck").hidden_units(30)
        (1660, 10)
        """
        return 10 * n if self.hidden == "over-complete" else max(1, round(n / 3))
