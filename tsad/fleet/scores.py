"""What is said of the rows of a node."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from tsad.fleet.thresholds import Threshold

__all__ = ["ModelSource", "NodeScores"]


class ModelSource(StrEnum):
    """Whose model a node is judged by."""

    OWN = "own"
    FINE_TUNED = "fine-tuned"  # the fleet's base model, trained on for a few epochs on this node
    BASE = "base"  # the fleet's base model as it is: too few healthy rows, or an unknown node


@dataclass(frozen=True, slots=True, eq=False)
class NodeScores:
    """What is said of t rows of a node.

    Attributes
    ----------
    node, features, times
        Of the telemetry, in the model's order of features and in order of time.
    error
        float64[t], higher is odder; NaN where the model cannot say.
    reason
        uint8[t] of `tsad.detectors.base.Unscored`.
    alarm
        bool[t], where k of the last n errors exceed the threshold, or a constant broke.
    threshold
        On the error.
    ratios
        float32[t, n], error of each feature in units of its healthy 99th percentile; 0 where there is none.
    residuals
        float32[t, n], scaled input less reconstruction, signed; NaN where there is none.
    broken
        bool[t, n], features that were constant in training and are no longer.
    imputed
        Features that were missing, with their training median in their place: all rows are flagged.
    clipped
        float64[t], share of the row's values outside the range of the scaling, a sign of drift; NaN where unscored.
    source
        Whose model it was.
    """

    node: str
    features: tuple[str, ...]
    times: npt.NDArray[np.int64]
    error: npt.NDArray[np.float64]
    reason: npt.NDArray[np.uint8]
    alarm: npt.NDArray[np.bool_]
    threshold: Threshold
    ratios: npt.NDArray[np.float32]
    residuals: npt.NDArray[np.float32]
    broken: npt.NDArray[np.bool_]
    imputed: tuple[str, ...]
    clipped: npt.NDArray[np.float64]
    source: ModelSource

    def ranked(self, row: int, count: int = 5) -> list[tuple[str, float]]:
        """The features that a row is odd in, oddest first, with their ratios; broken constants lead, with infinity."""
        strength = np.where(self.broken[row], np.inf, self.ratios[row])
        order = np.argsort(-strength, kind="stable")[:count]
        return [(self.features[column], float(strength[column])) for column in order if strength[column] > 0]
