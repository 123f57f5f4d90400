"""Severity agreement: do worse anomalies get higher scores?

Source: T. Cao et al., "MAD-Bench", arXiv 2411.14515, sections 3 and 4: good detection does not imply a good order.
The C-index is F. E. Harrell's, "Evaluating the Yield of Medical Tests", JAMA 247, 1982; tau-b is M. G. Kendall's,
"The treatment of ties in ranking problems", Biometrika 33, 1945.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from evaluation.errors import InvalidInputError
from evaluation.metrics.pointwise import auc_roc
from evaluation.metrics.segments import rank
from evaluation.metrics.validation import NanPolicy, OnUndefined, check_labels_and_scores, check_scores, undefined
from tsad.compiled import compiled

__all__ = ["SeverityAgreement", "severity_agreement", "severity_c_index"]


@dataclass(frozen=True, slots=True)
class SeverityAgreement:
    """How far scores order by severity.

    Attributes
    ----------
    c_index : float
        Share of pairs of different severity that the scores order rightly, ties one half; 0.5 is chance.
    kendall_tau_b : float
        Rank correlation in [-1, 1], corrected for ties; 0 is chance.
    auc_roc : float
        Normal steps (severity 0) against all others.
    auc_roc_by_level : dict of float to float
        Normal steps against each level of severity.
    """

    c_index: float
    kendall_tau_b: float
    auc_roc: float
    auc_roc_by_level: dict[float, float]


@compiled
def _ordered_pairs(
    by_severity: NDArray[np.int64], level: NDArray[np.int64], group: NDArray[np.int64], groups: int
) -> tuple[int, int]:
    """Return the pairs of different severity, and twice those in right order plus those with tied scores."""
    tree = np.zeros(groups + 1, np.int64)  # Fenwick tree: how many less severe items have each score
    right = 0
    pairs = 0
    first = 0
    T = by_severity.size
    while first < T:
        last = first
        while last < T and level[by_severity[last]] == level[by_severity[first]]:
            last += 1
        for i in range(first, last):
            pairs += first
            # group 0 is the highest score, so lower scores have larger numbers
            g = group[by_severity[i]]
            for at in (g, g + 1):
                lower = first
                j = at
                while j > 0:
                    lower -= tree[j]
                    j -= j & -j
                right += lower
        for i in range(first, last):
            j = group[by_severity[i]] + 1
            while j <= groups:
                tree[j] += 1
                j += j & -j
        first = last
    return pairs, right


def severity_c_index(
    severity: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> float:
    """C-index of scores against severity: chance that of two steps the worse one has the higher score.

    Parameters
    ----------
    severity : array_like
        0 for normal, larger for worse; any non-negative numbers.
    scores : array_like
        Real numbers, higher is odder.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when all have one severity.

    Returns
    -------
    float
        In [0, 1]; tied scores count one half; 0.5 is chance.

    Notes
    -----
    Source: Harrell et al. 1982, as used by MAD-Bench, section 4. Rewards a score that grows with severity. How it is
    fooled: normal steps are the most, so with few levels it is nearly AUC-ROC; a saturated score loses only by ties.
    Time O(T log T).

    Examples
    --------
    >>> severity_c_index([0, 1, 2], [0.1, 0.9, 0.5])
    0.6666666666666666
    """
    levels, s = _check(severity, scores, nan_policy)
    if np.all(levels == levels[0]):
        return undefined("severity_c_index", "all steps have one severity", on_undefined)
    return _c_index(levels, s)


def severity_agreement(
    severity: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> SeverityAgreement:
    """C-index, Kendall tau-b and AUC-ROC by level of scores against severity.

    Parameters
    ----------
    severity, scores, nan_policy
        As in `severity_c_index`.
    on_undefined : {"warn", "raise"} or float
        What to return when all have one severity, or no step is normal.

    Returns
    -------
    SeverityAgreement

    Notes
    -----
    Source: MAD-Bench, sections 3 and 4. Rewards, and how it is fooled: as `severity_c_index`.

    Examples
    --------
    >>> severity_agreement([0, 0, 1, 2], [0.1, 0.2, 0.9, 0.5]).auc_roc_by_level
    {1.0: 1.0, 2.0: 1.0}
    """
    levels, s = _check(severity, scores, nan_policy)
    worse = np.unique(levels[levels > 0])
    if worse.size == 0 or np.all(levels == levels[0]):
        value = undefined("severity_agreement", "all steps have one severity", on_undefined)
        return SeverityAgreement(value, value, value, {float(level): value for level in worse})
    tau = float(kendalltau(levels, s).statistic) if np.ptp(s) > 0 else 0.0
    if not (levels == 0).any():
        value = undefined("severity_agreement auc_roc", "no step is normal (severity 0)", on_undefined)
        return SeverityAgreement(_c_index(levels, s), tau, value, {float(level): value for level in worse})
    by_level = {}
    for level in worse:
        chosen = (levels == 0) | (levels == level)
        by_level[float(level)] = auc_roc(levels[chosen] > 0, s[chosen])
    return SeverityAgreement(_c_index(levels, s), tau, auc_roc(levels > 0, s), by_level)


def _c_index(levels: NDArray[np.float64], s: NDArray[np.float64]) -> float:
    ranking = rank(s)
    dense = np.unique(levels, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(dense, kind="stable").astype(np.int64)
    pairs, right = _ordered_pairs(order, dense, ranking.group, ranking.distinct.size)
    return float(right / (2 * pairs))


def _check(
    severity: ArrayLike, scores: ArrayLike, nan_policy: NanPolicy
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    levels = check_scores(severity, name="severity")
    wrong = ~(levels >= 0) | np.isinf(levels)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InvalidInputError(f"severity must be 0 or more and finite, found {levels[at]} at index {at}")
    if levels.size == 0:
        raise InvalidInputError("severity is empty; a metric needs at least one step")
    _, s = check_labels_and_scores(levels > 0, scores, nan_policy=nan_policy)
    if s.size != levels.size:  # "omit" dropped steps
        levels = levels[np.isfinite(check_scores(scores))]
    return levels, s
