"""From the errors of nodes to alarms: a percentile, or a budget of false alarms, and k of the last n rows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tsad.calibration.persistence import PersistenceFilter
from tsad.calibration.tail import fit_tail
from tsad.errors import ConfigurationError

__all__ = ["Threshold", "ThresholdRule", "alarms"]

_ENOUGH_FOR_A_TAIL = 1000
_OFF_DELAY_ROWS = 32


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How the threshold of a node is found from its healthy errors, and how many rows make an alarm.

    Attributes
    ----------
    percentile
        Of the healthy errors, 0 to 100.
    false_alarms_per_day
        Accepted false alarms a day and node; instead of the percentile, where there are more than 1000 healthy errors
        to fit a tail to (`tsad.calibration.tail.fit_tail`). None: always the percentile.
    needed, of
        An alarm stands while `needed` of the last `of` rows exceed the threshold.

    Raises
    ------
    ConfigurationError
        A number is out of its range.
    """

    percentile: float = 97.0
    false_alarms_per_day: float | None = None
    needed: int = 3
    of: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ConfigurationError(f"percentile is {self.percentile}; give a number above 0 and up to 100, e.g. 97")
        if self.false_alarms_per_day is not None and not self.false_alarms_per_day > 0:
            raise ConfigurationError(f"false_alarms_per_day is {self.false_alarms_per_day}; give a number above 0")
        if not 1 <= self.needed <= self.of:
            raise ConfigurationError(f"needed is {self.needed} of {self.of}; give between 1 and {self.of}")

    def threshold(self, healthy: npt.NDArray[np.float64], rows_per_day: float) -> "Threshold":
        """The threshold that follows from healthy errors.

        Parameters
        ----------
        healthy
            float64[t] in time order, of rows that the model was not trained on; NaN where it could not say.
        rows_per_day
            Rows of the time grid in a day.

        Examples
        --------
        >>> ThresholdRule(percentile=50).threshold(np.array([1.0, 2.0, 4.0]), 288)
        Threshold(value=2.0, source='percentile')
        """
        known = healthy[~np.isnan(healthy)]
        if not len(known):
            return Threshold(float("inf"), "percentile")
        if self.false_alarms_per_day is None or len(known) <= _ENOUGH_FOR_A_TAIL:
            return Threshold(float(np.percentile(known, self.percentile)), "percentile")
        # The tail is that of what is compared with the threshold: the k-th largest of the last n errors.
        persistent = self.persistent(healthy[:, None])[:, 0]
        tail = fit_tail(persistent[~np.isnan(persistent)], _OFF_DELAY_ROWS)
        return Threshold(tail.threshold(self.false_alarms_per_day / rows_per_day), "tail")

    def persistent(self, errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The `needed`-th largest of the last `of` errors of each node, float64[t, nodes]; rows of NaN are skipped.

        Above a threshold exactly where `needed` of the last `of` errors are.
        """
        rows, nodes = errors.shape
        series = np.tile(np.arange(nodes, dtype=np.int32), rows)
        filtered = PersistenceFilter(self.needed, self.of).apply(
            series, np.ascontiguousarray(errors, np.float64).ravel(), np.zeros(rows * nodes, np.bool_)
        )
        return filtered.reshape(rows, nodes)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold on the errors of a node, and what it was taken from."""

    value: float
    source: Literal["percentile", "tail"]


def alarms(errors: npt.NDArray[np.float64], threshold: float, rule: ThresholdRule) -> npt.NDArray[np.bool_]:
    """bool[t], where the alarm of one node stands.

    Examples
    --------
    >>> alarms(np.array([0.0, 9, 0, 9, 9, 0, 0]), 1.0, ThresholdRule(needed=2, of=3)).astype(int)
    array([0, 0, 0, 1, 1, 1, 0])
    """
    return np.asarray(rule.persistent(errors[:, None])[:, 0] > threshold)
