"""Which rule parts should be judged by, and whether fusing does harm, by labelled parts that the daemon has judged."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError
from tsad.fusion.combination import RULES, Dependence, combine
from tsad.fusion.do_no_harm import FusionCheck, average_precision, check_fusion
from tsad.fusion.stacking import Stacking

__all__ = ["PartJudgement", "judge_parts"]

_STACKING = "stacking"


@dataclass(frozen=True, slots=True)
class PartJudgement:
    """What labelled parts say.

    Attributes
    ----------
    parts, defects
        Labelled parts on which the figures stand (the later half), and the defects among them.
    average_precision
        By rule and by stream, on the later half.
    chosen
        The rule that was best on the earlier half.
    check
        Whether it does harm on the later half, and what to go by.
    """

    parts: int
    defects: int
    average_precision: Mapping[str, float]
    chosen: str
    check: FusionCheck


def judge_parts(
    p_values: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], streams: Sequence[str], *, seed: int = 0
) -> PartJudgement:
    """Choose a rule on the earlier half of labelled parts, and check it on the later half.

    Parameters
    ----------
    p_values
        float64[k, m], one row a stream, parts in order of time; NaN where a stream is missing.
    labels
        bool[m], defects.
    streams
        k names.
    seed
        Of the bootstrap.

    Raises
    ------
    NotEnoughDataError
        Fewer than 20 defects in a half, or no good part.

    Source: the check is that of `tsad.fusion.do_no_harm.check_fusion`. Stacking takes part where the earlier half has
    the 50 defects that it needs.
    """
    half = _middle(labels)
    early, late = np.arange(half), np.arange(half, len(labels))
    good = early[~labels[early]]
    if min(labels[early].sum(), labels[late].sum()) < 20 or not len(good) or labels[late].all():
        raise NotEnoughDataError(
            f"{int(labels.sum())} labelled defects and {int((~labels).sum())} good parts are there; a rule is chosen "
            "on one half and checked on the other, and each half needs 20 defects and good parts"
        )
    dependence = Dependence.fit(p_values[:, good])
    odd = {rule: -combine(p_values, rule, dependence)[0] for rule in ("brown", *RULES)}
    learnt = None
    with suppress(NotEnoughDataError):
        learnt = Stacking.fit(p_values[:, early], labels[early])
    if learnt is not None:
        odd[_STACKING] = learnt.score(p_values)
    chosen = max(odd, key=lambda rule: _precision(labels[early], odd[rule][early]))
    if learnt is not None:
        # On the earlier half stacking has seen the labels; there its cross-fitted scores speak.
        own = {rule: _precision(labels[early], odd[rule][early]) for rule in odd if rule != _STACKING}
        best = max(own, key=lambda rule: own[rule])
        chosen = _STACKING if _precision(labels[early], learnt.cross_fitted) > own[best] else best
    alone = {name: -p_values[row][late] for row, name in enumerate(streams)}
    check = check_fusion(labels[late], odd[chosen][late], alone, name=chosen, seed=seed)
    found = {rule: _precision(labels[late], odd[rule][late]) for rule in odd}
    found |= {name: _precision(labels[late], score) for name, score in alone.items()}
    return PartJudgement(len(late), int(labels[late].sum()), found, chosen, check)


def _middle(labels: npt.NDArray[np.bool_]) -> int:
    """Where half of the defects have come."""
    return int(np.searchsorted(np.cumsum(labels), labels.sum() // 2)) + 1


def _precision(labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    return average_precision(labels, np.where(np.isnan(scores), -np.inf, scores))
