"""Point-wise metrics: every step counts by itself.

Sources: C. J. van Rijsbergen, "Information Retrieval", 1979, chapter 7 (precision, recall, F); J. Davis and
M. Goadrich, "The relationship between precision-recall and ROC curves", ICML 2006 (interpolation of both curves);
T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.metrics.segments import NO_ANOMALY, PrecisionRecallF1, Ranking, harmonic_mean, rank
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)

__all__ = [
    "OracleF1",
    "auc_pr_trapezoid",
    "auc_roc",
    "average_precision",
    "best_f1",
    "oracle_best_f1",
    "precision_recall_f1",
]


class OracleF1(NamedTuple):
    """The best F1 over all thresholds, chosen with the labels, and where it was reached."""

    f1: float
    threshold: float
    precision: float
    recall: float


def precision_recall_f1(
    labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn"
) -> PrecisionRecallF1:
    """Point-wise precision, recall and F1 of 0/1 predictions.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1]; precision is 0 where nothing is predicted.

    Notes
    -----
    Source: van Rijsbergen 1979, chapter 7. Rewards covering every labelled step and nothing else. How it is fooled:
    one long event outweighs all short ones, and predicting everything already gets 2 * rate / (1 + rate).

    Examples
    --------
    >>> precision_recall_f1([0, 0, 1, 1], [0, 1, 1, 0])
    PrecisionRecallF1(precision=0.5, recall=0.5, f1=0.5)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PrecisionRecallF1(*[undefined("precision_recall_f1", NO_ANOMALY, on_undefined)] * 3)
    hit, predicted = int(np.sum(y & b)), int(np.sum(b))
    precision = hit / predicted if predicted else 0.0
    recall = hit / int(np.sum(y))
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def average_precision(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> float:
    """Average precision: recall gained times precision, summed over all thresholds.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In (0, 1]; a random score gets about the share of anomalous steps.

    Notes
    -----
    Source: Davis and Goadrich 2006, section 4 (the step rule, without interpolation). Rewards anomalous steps ranked
    above normal ones. How it is fooled: hardly; but it gives nothing for an alarm one step early, and long events
    dominate it.

    Examples
    --------
    >>> round(average_precision([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9]), 6)
    0.833333
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("average_precision", NO_ANOMALY, on_undefined)
    hits, predicted = _curve(y, rank(s))
    return float(np.sum(np.diff(hits, prepend=0.0) * (hits / predicted)) / hits[-1])


def auc_pr_trapezoid(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> float:
    """Area under the precision-recall curve by the trapezoid rule, from the point (recall 0, precision 1).

    Parameters
    ----------
    labels, scores, nan_policy, on_undefined
        As in `average_precision`.

    Returns
    -------
    float
        In (0, 1].

    Notes
    -----
    Source: Davis and Goadrich 2006, section 4, who show why straight lines between the points are too optimistic;
    it is here because published tables use it. Rewards what `average_precision` rewards. How it is fooled: a
    constant score gets (1 + rate) / 2.

    Examples
    --------
    >>> auc_pr_trapezoid([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3])
    0.75
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("auc_pr_trapezoid", NO_ANOMALY, on_undefined)
    hits, predicted = _curve(y, rank(s))
    precision = np.concatenate(([1.0], hits / predicted))
    return float(np.sum(np.diff(hits, prepend=0.0) * 0.5 * (precision[1:] + precision[:-1])) / hits[-1])


def auc_roc(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> float:
    """Area under the receiver operating characteristic: chance that an anomalous step outscores a normal one.

    Parameters
    ----------
    labels, scores, nan_policy
        As in `average_precision`.
    on_undefined : {"warn", "raise"} or float
        What to return when all steps have one label.

    Returns
    -------
    float
        In [0, 1]; ties count one half; 0.5 is chance.

    Notes
    -----
    Source: Fawcett 2006, sections 5 and 7. Rewards the whole ranking alike. How it is fooled: with rare anomalies a
    detector with a useless top of the ranking still gets 0.99.

    Examples
    --------
    >>> auc_roc([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9])
    0.75
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return undefined("auc_roc", NO_ANOMALY, on_undefined)
    if y.all():
        return undefined("auc_roc", "every step is labelled anomalous", on_undefined)
    hits, predicted = _curve(y, rank(s))
    false = predicted - hits
    gained = np.diff(false, prepend=0.0)
    heights = 0.5 * (hits + np.concatenate(([0.0], hits[:-1])))
    return float(np.sum(gained * heights) / (hits[-1] * false[-1]))


def oracle_best_f1(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> OracleF1:
    """Best point-wise F1 over all thresholds, chosen with the labels: an upper bound, not a result.

    Parameters
    ----------
    labels, scores, nan_policy, on_undefined
        As in `average_precision`.

    Returns
    -------
    OracleF1
        F1 in (0, 1], its threshold (predict where score >= threshold), precision and recall. Of equal F1 the
        highest threshold is taken.

    Notes
    -----
    Source: van Rijsbergen 1979, chapter 7, maximised as common in published tables. Rewards one good threshold on
    the test labels. How it is fooled: nobody can choose that threshold in operation, and predicting everything is
    among the candidates, so it never falls below 2 * rate / (1 + rate).

    Examples
    --------
    >>> oracle_best_f1([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.9])
    OracleF1(f1=0.8, threshold=0.4, precision=0.6666666666666666, recall=1.0)
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return OracleF1(*[undefined("oracle_best_f1", NO_ANOMALY, on_undefined)] * 4)
    ranking = rank(s)
    hits, predicted = _curve(y, ranking)
    return best_f1(ranking.distinct, hits / predicted, hits / hits[-1])


def best_f1(thresholds: NDArray[np.float64], precision: NDArray[np.float64], recall: NDArray[np.float64]) -> OracleF1:
    """Return the best F1 of given points, the highest threshold where several are equal.

    Examples
    --------
    >>> best_f1(np.array([2.0, 1.0]), np.array([1.0, 0.5]), np.array([0.5, 1.0])).threshold
    2.0
    """
    total = precision + recall
    f1 = np.divide(2.0 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    at = int(np.argmax(f1))
    return OracleF1(float(f1[at]), float(thresholds[at]), float(precision[at]), float(recall[at]))


def _curve(y: NDArray[np.uint8], ranking: Ranking) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return true positives and predicted steps at each distinct score, highest first."""
    return np.cumsum(ranking.per_group(y)), np.cumsum(ranking.counts).astype(np.float64)
