"""Conformal p-values: how many good parts score at least this high."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError, SnapshotError

__all__ = ["ConformalCalibration", "FittedTail"]

_LEAST = 20
_TAIL_SHARE = 0.1
_LEAST_EXCEEDANCES = 100
_FIT_LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class FittedTail:
    """A generalised Pareto tail: what lies above `start` exceeds it as ``(1 + shape * x / scale) ** (-1 / shape)``.

    `fit_p_value` is that of a Kolmogorov-Smirnov test on exceedances that the fit has not seen.
    """

    start: float
    share: float
    shape: float
    scale: float
    fit_p_value: float

    @property
    def accepted(self) -> bool:
        """Whether the exceedances that were held out look like the fit."""
        return self.fit_p_value >= _FIT_LEVEL

    def p_values(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64[n], chance of scores at least this high, for scores above `start`."""
        from scipy import stats  # noqa: PLC0415 - it takes a second, and the daemon starts without it

        # A bounded tail (negative shape) ends; what lies beyond its end is as rare as can be told.
        beyond = stats.genpareto.sf(scores - self.start, self.shape, scale=self.scale)
        return np.asarray(self.share * np.maximum(beyond, np.finfo(np.float64).tiny))


class ConformalCalibration:
    """Turns the scores of one stream and one model version into p-values.

    ``p = (1 + #{calibration >= score}) / (n + 1)``: right for any score and any number of good parts as long as parts
    are exchangeable, and never below ``1 / (n + 1)``. With `tail`, scores above the 90th percentile get the p-value of
    a generalised Pareto tail, if it passes a test on scores that it was not fitted to; else the plain rule stays.

    Source: V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World", Springer 2005, chapter 2; for
    the tail J. Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3 (1975).

    Parameters
    ----------
    scores
        float64[n], scores of good parts that the model was not trained on; higher is odder. NaN are left out.
    tail
        Fit a tail.

    Raises
    ------
    NotEnoughDataError
        Fewer than 20 scores.
    ValueError
        A score is infinite.

    Examples
    --------
    >>> calibration = ConformalCalibration(np.arange(99.0))
    >>> calibration.p_values(np.array([98.5, 49.0, np.nan])).tolist()
    [0.01, 0.51, nan]
    """

    def __init__(self, scores: npt.NDArray[np.float64], *, tail: bool = False) -> None:
        scores = np.asarray(scores, np.float64)
        if np.isinf(scores).any():
            raise ValueError(f"score {int(np.flatnonzero(np.isinf(scores))[0])} of the calibration is infinite")
        known = scores[~np.isnan(scores)]
        if len(known) < _LEAST:
            raise NotEnoughDataError(
                f"a calibration needs scores of at least {_LEAST} good parts, {len(known)} are there"
            )
        self._sorted = np.sort(known)
        self.tail = _fitted_tail(known, self._sorted) if tail else None

    def __len__(self) -> int:
        """How many good parts it rests on."""
        return len(self._sorted)

    @property
    def smallest(self) -> float:
        """The smallest p-value that the plain rule can give."""
        return 1.0 / (len(self) + 1)

    def p_values(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64[m], p-values of m scores; NaN where there is no score."""
        scores = np.asarray(scores, np.float64)
        n = len(self)
        p = (1.0 + n - np.searchsorted(self._sorted, scores, side="left")) / (n + 1.0)
        if self.tail is not None and self.tail.accepted:
            high = scores > self.tail.start
            p[high] = np.minimum(p[high], self.tail.p_values(scores[high]))
        p[np.isnan(scores)] = np.nan
        return np.asarray(p)

    def own_p_values(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64[m], p-values of scores that are part of the calibration: each is compared with the others and itself.

        Uniform over ``1/n … 1`` by construction; dependence between streams is measured on them.
        """
        n = len(self)
        p = (n - np.searchsorted(self._sorted, scores, side="left")) / n
        # A score from outside, above all others, would get 0.
        return np.where(np.isnan(scores), np.nan, np.maximum(p, 1.0 / (n + 1)))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `restored` needs."""
        tail = [np.nan] * 5
        if self.tail is not None:
            tail = [self.tail.start, self.tail.share, self.tail.shape, self.tail.scale, self.tail.fit_p_value]
        return {"sorted": self._sorted.copy(), "tail": np.array(tail)}

    @classmethod
    def restored(cls, state: Mapping[str, npt.NDArray[Any]]) -> "ConformalCalibration":
        """A calibration from its state.

        Raises
        ------
        SnapshotError
            It is damaged, or of another version.
        """
        try:
            made = cls(state["sorted"])
            tail = state["tail"].tolist()
        except (KeyError, ValueError) as error:
            raise SnapshotError(f"the stored calibration of a part's stream is damaged: {error}") from error
        made.tail = None if np.isnan(tail[0]) else FittedTail(*tail)
        return made


def _fitted_tail(scores: npt.NDArray[np.float64], ranked: npt.NDArray[np.float64]) -> FittedTail | None:
    """The tail of scores; None where there are too few of them, or they are tied."""
    from scipy import stats  # noqa: PLC0415 - it takes a second, and the daemon starts without it

    start = float(ranked[int((1.0 - _TAIL_SHARE) * len(ranked))])
    excess = scores[scores > start] - start
    if len(excess) < _LEAST_EXCEEDANCES or len(np.unique(excess)) < len(excess) // 2:
        return None
    # Every other exceedance in the order in which the parts came: drift hits both halves alike.
    shape, scale = _moments(excess[::2])
    seen = stats.kstest(excess[1::2], stats.genpareto(shape, scale=scale).cdf)
    shape, scale = _moments(excess)
    return FittedTail(start, len(excess) / len(scores), shape, scale, float(seen.pvalue))


def _moments(excess: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale by probability-weighted moments (Hosking and Wallis, Technometrics 29, 1987, section 3)."""
    ranked = np.sort(excess)
    n = len(ranked)
    mean = ranked.mean()
    weighted = float((ranked * (n - np.arange(1, n + 1)) / (n - 1)).mean())
    shape = 2.0 - mean / (mean - 2.0 * weighted)
    return float(shape), float(2.0 * mean * weighted / (mean - 2.0 * weighted))
