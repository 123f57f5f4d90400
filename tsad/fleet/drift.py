"""Day by day: whether a fleet's healthy errors are still those of training, and thresholds that follow slowly.

Sources: the population stability index is that of credit scoring (B. Yurdakul, "Statistical Properties of Population
Stability Index", Western Michigan University 2018); KS is the two-sample statistic of Kolmogorov and Smirnov.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import ConfigurationError

__all__ = ["DriftDay", "DriftRule", "FleetDrift", "retraining_rows"]

_PSI_BINS = 10
_QUANTILES = 512
_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class DriftRule:
    """When drift is told, and how far thresholds may follow.

    Attributes
    ----------
    percentile
        Of the errors, that the followed threshold is.
    memory_days
        Days after which a day weighs 1/e.
    most_a_day
        Largest relative step of a threshold from one day to the next: a fault that grows slowly is not learnt.
    psi_above, ks_above
        From where the errors of a day are told as changed. 0.25 is the usual word for a large shift.
    divergence_above
        From which ratio between followed and frozen threshold, either way, a divergence is told.
    clipped_above
        From which share of clipped values a day is told.

    Raises
    ------
    ConfigurationError
        A number is out of its range.
    """

    percentile: float = 97.0
    memory_days: float = 14.0
    most_a_day: float = 0.02
    psi_above: float = 0.25
    ks_above: float = 0.3
    divergence_above: float = 1.25
    clipped_above: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ConfigurationError(f"percentile is {self.percentile}; give a number between 0 and 100")
        if not (self.memory_days > 0 and 0 <= self.most_a_day < 1 and self.divergence_above > 1):
            raise ConfigurationError(
                f"memory_days {self.memory_days} must be above 0, most_a_day {self.most_a_day} from 0 to below 1, "
                f"divergence_above {self.divergence_above} above 1"
            )


@dataclass(frozen=True, slots=True, eq=False)
class DriftDay:
    """What a day says of k nodes.

    Attributes
    ----------
    psi, ks
        float64[k], distance of the day's unflagged errors from those of training; NaN where there was none.
    threshold
        float64[k], the followed threshold after the day.
    divergence
        float64[k], followed over frozen threshold.
    clipped
        float64[k], share of the values that were clipped.
    told
        By node, why it is told: ``errors``, ``divergence``, ``clipped``; nothing where all is well.
    """

    psi: npt.NDArray[np.float64]
    ks: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    divergence: npt.NDArray[np.float64]
    clipped: npt.NDArray[np.float64]
    told: tuple[tuple[str, ...], ...]


class FleetDrift:
    """Watches the errors of many nodes and lets their thresholds follow, bounded.

    The reference of a node are the healthy errors of its training, frozen. The followed quantile is that of a mixture
    of the days so far that forgets exponentially, and begins with the reference. Only unflagged rows teach it; but
    leaving all flagged ones out would cut the tail off and pull the threshold down day by day, so flagged rows count as
    lying above it as far as there are no more of them than the percentile allows.

    Parameters
    ----------
    healthy
        Of every node float64[v], errors of training (`NodeAutoencoder.healthy`), at least ten that are known.
    rule
        When drift is told.
    """

    def __init__(self, healthy: Sequence[npt.NDArray[np.float64]], rule: DriftRule | None = None) -> None:
        self.rule = rule or DriftRule()
        known = [np.sort(errors[~np.isnan(errors)]) for errors in healthy]
        short = [node for node, errors in enumerate(known) if len(errors) < _PSI_BINS]
        if short:
            raise ConfigurationError(
                f"node number {short[0]} has {len(known[short[0]])} healthy errors; give 10 or more"
            )
        shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        # Quantiles stand for the reference: the same size for all nodes.
        self.reference = np.stack([np.quantile(errors, shares) for errors in known])
        self.frozen = np.array([float(np.percentile(errors, self.rule.percentile)) for errors in known])
        self.threshold = self.frozen.copy()
        self._edges = np.stack([np.quantile(errors, np.linspace(0, 1, _PSI_BINS + 1)[1:-1]) for errors in known])
        # The mixture: mass between neighbouring edges, the last of which lies far beyond every reference.
        low, high = np.log(np.maximum(self.reference[:, :1], 1e-12)), np.log(np.maximum(self.reference[:, -1:], 1e-9))
        span = np.linspace(0.0, 1.0, _QUANTILES)
        self.grid = np.exp(low + (high + np.log(10.0) - low) * span)
        self.mass = np.stack([self._counts(node, errors) for node, errors in enumerate(self.reference)]) / _QUANTILES

    def _counts(self, node: int, errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Errors by cell of the node's grid; the last cell holds all beyond."""
        cells = np.searchsorted(self.grid[node], errors).clip(max=_QUANTILES - 1)
        return np.bincount(cells, minlength=_QUANTILES).astype(np.float64)

    def day(
        self,
        errors: npt.NDArray[np.float64],
        flagged: npt.NDArray[np.bool_],
        clipped: npt.NDArray[np.float64] | None = None,
    ) -> DriftDay:
        """Take a day in.

        Parameters
        ----------
        errors
            float64[t, k], NaN where a node has no score.
        flagged
            bool[t, k], rows in an alarm.
        clipped
            float64[t, k], share of clipped values of each row; None where it is not known.
        """
        nodes = errors.shape[1]
        psi, ks = np.full(nodes, np.nan), np.full(nodes, np.nan)
        share = np.full(nodes, np.nan)
        for node in range(nodes):
            known = ~np.isnan(errors[:, node])
            if not known.any():
                continue
            quiet = errors[known & ~flagged[:, node], node]
            if clipped is not None:
                share[node] = float(np.nanmean(clipped[known, node]))
            self._follow(node, quiet, int((known & flagged[:, node]).sum()))
            if len(quiet):
                psi[node] = self._psi(node, quiet)
                ks[node] = _ks(self.reference[node], quiet)
        divergence = self.threshold / np.maximum(self.frozen, 1e-12)
        limit = self.rule.divergence_above
        told = tuple(
            tuple(
                name
                for name, is_told in (
                    ("errors", psi[n] > self.rule.psi_above or ks[n] > self.rule.ks_above),
                    ("divergence", not 1 / limit <= divergence[n] <= limit),
                    ("clipped", share[n] > self.rule.clipped_above),
                )
                if is_told
            )
            for n in range(nodes)
        )
        return DriftDay(psi, ks, self.threshold.copy(), divergence, share, told)

    def _follow(self, node: int, quiet: npt.NDArray[np.float64], flagged: int) -> None:
        above = 1.0 - self.rule.percentile / 100.0
        rows = len(quiet) + flagged
        counts = self._counts(node, quiet)
        counts[-1] += min(flagged, above * rows)
        kept = np.exp(-1.0 / self.rule.memory_days)
        self.mass[node] = kept * self.mass[node] + (1.0 - kept) * counts / max(counts.sum(), 1.0)
        cumulated = np.cumsum(self.mass[node]) / self.mass[node].sum()
        wanted = float(np.interp(self.rule.percentile / 100.0, cumulated, self.grid[node]))
        step = self.rule.most_a_day
        before = self.threshold[node]
        self.threshold[node] = np.clip(wanted, before * (1.0 - step), before * (1.0 + step))

    def _psi(self, node: int, quiet: npt.NDArray[np.float64]) -> float:
        counts = np.bincount(np.searchsorted(self._edges[node], quiet), minlength=_PSI_BINS)
        # Half a row in every bin, so that an empty one is no infinity.
        shares = (counts + 0.5) / (counts.sum() + 0.5 * _PSI_BINS)
        expected = 1.0 / _PSI_BINS
        return float(((shares - expected) * np.log(shares / expected)).sum())

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything it knows."""
        return {
            "reference": self.reference, "frozen": self.frozen, "threshold": self.threshold, "edges": self._edges,
            "grid": self.grid, "mass": self.mass,
        }  # fmt: skip

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self.reference, self.frozen = np.array(state["reference"]), np.array(state["frozen"])
        self.threshold, self._edges = np.array(state["threshold"]), np.array(state["edges"])
        self.grid, self.mass = np.array(state["grid"]), np.array(state["mass"])


def _ks(reference: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]) -> float:
    """Largest distance between two empirical distributions; the first is sorted."""
    second = np.sort(errors)
    points = np.concatenate([reference, second])
    below = [np.searchsorted(one, points, side="right") / len(one) for one in (reference, second)]
    return float(np.abs(below[0] - below[1]).max())


def retraining_rows(
    times: npt.NDArray[np.int64],
    flagged: npt.NDArray[np.bool_],
    *,
    margin: int = 12,
    replayed_share: float = 0.1,
    month_days: float = 30.0,
    seed: int = 0,
) -> npt.NDArray[np.bool_]:
    """Rows to learn a node anew from: not flagged nor next to it; all of the newest month, some of those before.

    Parameters
    ----------
    times, flagged
        int64[t] ns UTC, rising, and bool[t].
    margin
        Rows before and after a flagged one that are left out too.
    replayed_share
        Share of the rows of every earlier month that is kept, so that what is rare is not forgotten.
    month_days, seed
        Length of a month, and of the draw.

    Examples
    --------
    >>> times = np.arange(8) * 86_400 * 10**9
    >>> retraining_rows(times, np.arange(8) == 3, margin=1).astype(int)
    array([1, 1, 0, 0, 0, 1, 1, 1])
    """
    if not len(times):
        return np.zeros(0, np.bool_)
    near = np.convolve(flagged, np.ones(2 * margin + 1))[margin : margin + len(flagged)] > 0
    newest = times > times[-1] - month_days * _DAY_NS
    drawn = np.random.default_rng(seed).random(len(times)) < replayed_share
    return np.asarray(~near & (newest | drawn))
