"""From the scores of events to p-values.

The rule is that of numeric scores (docs/calibration.md): ranks up to a high quantile, and above it the predictive tail
of an exponential excess whose mean is uncertain, with as much evidence as there are clusters of exceedances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.calibration.tail import fit_tail
from tsad.errors import NotEnoughDataError
from tsad.events.packing import pack_json, taken, unpack_json

__all__ = ["EventCalibration", "fit_event_calibration"]

_GAP = 32
_RESOLVED = 10.0  # scores that a p-value needs behind it before it counts as told by data
_RANKS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class EventCalibration:
    """What scores of normal events look like.

    Attributes
    ----------
    ranks
        float64[r], scores in rising order: all of them, or 4096 of their quantiles.
    start, share, mean_excess, clusters
        u, where the tail starts; the share of scores above it; their mean excess; and the clusters that they form.
    number
        Scores that were fitted.
    flags
        ``degenerate_tail`` where no score exceeds the start, so that a token tail stands in; ``few_clusters`` with
        fewer than ten clusters: p-values beyond `resolved` are then little more than a guess.
    """

    ranks: npt.NDArray[np.float64]
    start: float
    share: float
    mean_excess: float
    clusters: float
    number: int
    flags: tuple[str, ...]

    @property
    def resolved(self) -> float:
        """The smallest p-value that the fitted scores can tell; smaller ones are extrapolated."""
        return min(1.0, _RESOLVED / self.number)

    def p_values(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the chance of a score at least this high for a normal event.

        Parameters
        ----------
        scores
            float64[n]; NaN gives NaN.

        Returns
        -------
        float64[n]
            In (0, 1], never rising with the score, and strictly falling above `start`.

        Raises
        ------
        ValueError
            A score is infinite.
        """
        if np.isinf(scores).any():
            raise ValueError(f"score of event {int(np.argmax(np.isinf(scores)))} is infinite; detectors give none")
        below = np.searchsorted(self.ranks, scores, side="left") / len(self.ranks)
        by_rank = (1.0 + self.number * (1.0 - below)) / (self.number + 1.0)
        excess = np.maximum(scores - self.start, 0.0)
        tail = self.share * (1.0 + excess / ((self.clusters + 1.0) * self.mean_excess)) ** -self.clusters
        found = np.where(scores > self.start, np.maximum(tail, np.finfo(np.float64).tiny), np.minimum(by_rank, 1.0))
        return np.where(np.isnan(scores), np.nan, found)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The fit as named arrays."""
        numbers = {
            "start": self.start, "share": self.share, "mean_excess": self.mean_excess, "clusters": self.clusters,
            "number": self.number, "flags": self.flags,
        }  # fmt: skip
        return {"description": pack_json(numbers), "ranks": self.ranks.copy()}

    @classmethod
    def restored(cls, state: Mapping[str, npt.NDArray[Any]]) -> "EventCalibration":
        """The fit of a stored state.

        Raises
        ------
        SnapshotError
            It is damaged.
        """
        numbers = unpack_json(taken(state, "description"))
        return cls(taken(state, "ranks"), **numbers | {"flags": tuple(numbers["flags"])})


def fit_event_calibration(scores: npt.NDArray[np.float64]) -> EventCalibration:
    """Fit honest scores of normal events, in order of time; NaN ones are left out.

    Parameters
    ----------
    scores
        float64[n], from `EventDetector.fit`.

    Raises
    ------
    NotEnoughDataError
        Too few scores to tell two clusters apart.
    ValueError
        A score is infinite.

    Examples
    --------
    >>> calibration = fit_event_calibration(np.random.default_rng(0).standard_exponential(10_000))
    >>> calibration.p_values(np.array([0.0, 1.0, 4.6])).round(2).tolist(), calibration.resolved, calibration.flags
    ([1.0, 0.37, 0.01], 0.001, ())
    """
    if np.isinf(scores).any():
        raise ValueError(f"score of event {int(np.argmax(np.isinf(scores)))} is infinite; detectors give none")
    known = np.asarray(scores[~np.isnan(scores)], dtype=np.float64)
    if len(known) <= 2 * _GAP:
        raise NotEnoughDataError(
            f"calibration of events needs at least {2 * _GAP + 1} held-out scores, there are {len(known)}; "
            f"train on five times as many events",
        )
    tail = fit_tail(known, _GAP)
    above = known[known > tail.start]
    clusters = max(tail.clusters, 1.0)
    mean_excess = float(np.mean(above - tail.start)) if len(above) and not tail.degenerate else tail.excess / clusters
    ranks = np.sort(known)
    if len(ranks) > _RANKS:
        ranks = np.quantile(ranks, np.linspace(0.0, 1.0, _RANKS))
    flags = [flag for flag, on in (("degenerate_tail", tail.degenerate), ("few_clusters", tail.clusters < 10)) if on]
    share = max(len(above), 1) / len(known)
    return EventCalibration(ranks, tail.start, share, mean_excess, clusters, len(known), tuple(flags))
