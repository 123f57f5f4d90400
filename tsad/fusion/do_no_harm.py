"""Do no harm: fusion stays only where labelled parts say that it is no worse than the best stream alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError

__all__ = ["FusionCheck", "average_precision", "check_fusion", "choose_rule"]

_LEAST_DEFECTS = 20
_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class FusionCheck:
    """What labelled parts say of a fused score.

    Attributes
    ----------
    use
        Name of the fused score, or of the stream to go by instead.
    best_stream
        The single stream with the highest average precision.
    average_precision
        Of the fused score and of each stream.
    difference, low, high
        Fused less best stream, and the interval of its paired bootstrap (5th and 95th percentile).
    chance_of_harm
        Share of resamples in which the fused score is worse.
    reason
        In words.
    """

    use: str
    best_stream: str
    average_precision: Mapping[str, float]
    difference: float
    low: float
    high: float
    chance_of_harm: float
    reason: str


def average_precision(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], weights: npt.NDArray[np.float64] | None = None
) -> float:
    """Average precision; equal scores count as one threshold.

    Parameters
    ----------
    labels, scores
        bool[n], float64[n], higher is odder.
    weights
        float64[n], how often each part counts; default once.

    Examples
    --------
    >>> average_precision(np.array([True, False, True]), np.array([3.0, 2.0, 1.0]))
    0.8333333333333333
    """
    order, ends = _ranking(scores)
    w = np.ones(len(scores)) if weights is None else weights
    return float(_precision(np.asarray(labels, np.float64)[order], w[order][None, :], ends)[0])


def check_fusion(
    labels: npt.NDArray[np.bool_],
    fused: npt.NDArray[np.float64],
    streams: Mapping[str, npt.NDArray[np.float64]],
    *,
    name: str = "fused",
    harm_allowed: float = 0.05,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> FusionCheck:
    """Compare a fused score with each stream alone, on labelled parts that neither was learnt from.

    The fused score stays if it is no worse over all parts, and worse in no more than a share of `harm_allowed` of
    resamples of the parts; otherwise the best single stream is to be used. The strict side is taken on purpose:
    what is lost by not fusing is known, what is lost by fusing wrongly is not seen.

    Parameters
    ----------
    labels
        bool[m], defects.
    fused, streams
        float64[m] each, higher is odder; NaN counts as least odd.
    name
        Of the fused score.
    harm_allowed
        Share of resamples in which it may be worse.
    resamples, seed
        Of the paired bootstrap.

    Raises
    ------
    NotEnoughDataError
        Fewer than 20 defects, or no good part: nothing can be said.

    Source: B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
    """
    labels = np.asarray(labels, np.bool_)
    if labels.sum() < _LEAST_DEFECTS or labels.all():
        raise NotEnoughDataError(
            f"whether fusion does harm needs {_LEAST_DEFECTS} labelled defects and good parts; "
            f"{int(labels.sum())} and {int((~labels).sum())} are there"
        )
    if name in streams:
        raise ValueError(f"the fused score and a stream are both called {name!r}")
    known = {one: _ranked_last(score) for one, score in {name: fused, **streams}.items()}
    overall = {one: average_precision(labels, score) for one, score in known.items()}
    best = max(streams, key=lambda one: overall[one])
    rng = np.random.default_rng(seed)
    # Defects and good parts are drawn apart: their shares are given by the sample, not by chance.
    counts = np.empty((resamples, len(labels)))
    for one in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        counts[:, one] = rng.multinomial(len(one), np.full(len(one), 1.0 / len(one)), size=resamples)
    difference = _resampled(labels, known[name], counts) - _resampled(labels, known[best], counts)
    low, high = np.quantile(difference, [0.05, 0.95])
    harm = float((difference < 0).mean())
    gain = overall[name] - overall[best]
    fine = gain >= 0 and harm <= harm_allowed
    told = f"average precision {overall[name]:.3f} by {name}, {overall[best]:.3f} by {best} alone"
    reason = (
        f"{told}; fusion is worse in {100 * harm:.0f} % of resamples, {100 * harm_allowed:.0f} % are allowed: "
        f"{'it stays' if fine else f'{best} alone is used'}"
    )
    return FusionCheck(
        name if fine else best, best, overall, gain, float(low), float(high), harm, reason,
    )  # fmt: skip


def choose_rule(
    labels: npt.NDArray[np.bool_],
    rules: Mapping[str, npt.NDArray[np.float64]],
    streams: Mapping[str, npt.NDArray[np.float64]],
    *,
    harm_allowed: float = 0.05,
    seed: int = 0,
) -> FusionCheck:
    """Take the rule with the highest average precision on labelled parts, and check it as `check_fusion` does.

    What it reaches on these parts is flattered by the choice; report it on others.

    Parameters
    ----------
    labels, streams, harm_allowed, seed
        As for `check_fusion`.
    rules
        float64[m] by rule, higher is odder.

    Raises
    ------
    NotEnoughDataError
        Fewer than 20 defects, or no good part.
    """
    best = max(rules, key=lambda rule: average_precision(labels, _ranked_last(rules[rule])))
    return check_fusion(labels, rules[best], streams, name=best, harm_allowed=harm_allowed, seed=seed)


def _ranked_last(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.isnan(scores), -np.inf, scores)


def _ranking(scores: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Order from odd to usual, and the last place of each run of equal scores."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(scores) - 1)


def _resampled(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    order, ends = _ranking(scores)
    ordered = labels[order].astype(np.float64)
    return np.concatenate(
        [_precision(ordered, chunk[:, order], ends) for chunk in np.array_split(counts, 10) if len(chunk)]
    )


def _precision(
    labels: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], ends: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """float64[r], average precision of ranked parts under r sets of weights."""
    found = np.cumsum(weights * labels, axis=1)[:, ends]
    seen = np.cumsum(weights, axis=1)[:, ends]
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    steps = np.diff(found, axis=1, prepend=0.0)
    return np.asarray((precision * steps).sum(axis=1) / np.maximum(found[:, -1], 1e-300))
