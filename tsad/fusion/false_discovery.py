"""False discoveries: how many of the flagged parts are good, over a shift or on the go."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import ConfigurationError

__all__ = ["OnlineFalseDiscovery", "flag_by_shift"]


def flag_by_shift(
    p_values: npt.NDArray[np.float64], shifts: npt.NDArray[np.int64], level: float
) -> npt.NDArray[np.bool_]:
    """Flag parts so that among those of a shift at most a share of `level` is expected to be good.

    Source: Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", J. Royal Statistical Society B
    57 (1995); that it holds for conformal p-values of one calibration: S. Bates and others, "Testing for outliers with
    conformal p-values", Annals of Statistics 51 (2023).

    Parameters
    ----------
    p_values
        float64[m]; parts with NaN are not flagged and do not count.
    shifts
        int64[m], the shift of each part.
    level
        Accepted share, in (0, 1).

    Examples
    --------
    >>> flag_by_shift(np.array([0.001, 0.02, 0.9, 0.04]), np.array([0, 0, 0, 1]), 0.1).tolist()
    [True, True, False, True]
    """
    from scipy import stats  # noqa: PLC0415 - it takes a second, and the daemon starts without it

    _check(level)
    flagged = np.zeros(len(p_values), np.bool_)
    for shift in np.unique(shifts):
        own = np.flatnonzero((shifts == shift) & ~np.isnan(p_values))
        if len(own):
            flagged[own] = stats.false_discovery_control(p_values[own], method="bh") <= level
    return flagged


class OnlineFalseDiscovery:
    """LORD++: decides on each part as it comes; earns freedom by what it flags, and grows strict while it flags none.

    Source: A. Ramdas, F. Yang, M. Wainwright, M. Jordan, "Online control of the false discovery rate with decaying
    memory", NeurIPS 2017, section 3; the sequence is that of A. Javanmard, A. Montanari, "Online rules for control of
    false discovery rate", Annals of Statistics 46 (2018).

    Parameters
    ----------
    level
        Accepted share of good parts among the flagged, in (0, 1).
    restart_every
        Parts after which it starts anew, as at a change of shift; bounds its memory, and its strictness.

    Examples
    --------
    >>> control = OnlineFalseDiscovery(0.1)
    >>> control.decide(np.array([1e-4, 0.5, 2e-3])).tolist()
    [True, False, True]
    """

    def __init__(self, level: float, restart_every: int = 10_000) -> None:
        _check(level)
        if restart_every < 1:
            raise ConfigurationError(f"restart_every is {restart_every}; it must be at least 1")
        self.level = level
        self._gamma = _sequence(restart_every)
        self._seen = 0
        self._discoveries: list[int] = []

    def threshold(self) -> float:
        """The level that the next part is held against."""
        first = self.level / 2.0
        position = self._seen  # counted from 0
        value = first * float(self._gamma[position])
        if self._discoveries:
            since = position - np.array(self._discoveries) - 1
            earned = self._gamma[since]
            value += (self.level - first) * float(earned[0]) + self.level * float(earned[1:].sum())
        return value

    def decide(self, p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """bool[m], which parts to flag, in order. Parts with NaN are passed over."""
        flagged = np.zeros(len(p_values), np.bool_)
        for index, p in enumerate(p_values.tolist()):
            if np.isnan(p):
                continue
            if self._seen == len(self._gamma):
                self._seen, self._discoveries = 0, []
            if p <= self.threshold():
                flagged[index] = True
                self._discoveries.append(self._seen)
            self._seen += 1
        return flagged

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        return {"seen": self._seen, "discoveries": list(self._discoveries)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self._seen, self._discoveries = int(state["seen"]), list(state["discoveries"])


def _sequence(n: int) -> npt.NDArray[np.float64]:
    """Weights that sum to 1 over the parts until the restart."""
    t = np.arange(1.0, n + 1.0)
    gamma = np.log(np.maximum(t, 2.0)) / (t * np.exp(np.sqrt(np.log(t))))
    return np.asarray(gamma / gamma.sum())


def _check(level: float) -> None:
    if not 0.0 < level < 1.0:
        raise ConfigurationError(f"the accepted share of false discoveries is {level}; it must lie between 0 and 1")
