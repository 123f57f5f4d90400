"""Metrics that count events and alarms: what an operator sees.

An alarm is a run of predicted steps. Sources: A. Garg et al., "An Evaluation of Anomaly Detection and Diagnosis in
Multivariate Time Series", IEEE TNNLS 33(6), 2022, section IV (composite F1); K. Hundman et al., "Detecting Spacecraft
Anomalies Using LSTMs and Nonparametric Dynamic Thresholding", KDD 2018, section 4 (event-wise F1); ISA-18.2 and
EEMUA 191 (alarm rates).
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.pointwise import OracleF1, best_f1
from evaluation.metrics.segments import (
    NO_ANOMALY,
    PrecisionRecallF1,
    event_bounds,
    event_index,
    harmonic_mean,
    rank,
)
from evaluation.metrics.validation import (
    NanPolicy,
    OnUndefined,
    check_labels_and_predictions,
    check_labels_and_scores,
    undefined,
)
from tsad.compiled import compiled

__all__ = [
    "OracleEventRecall",
    "composite_f1",
    "detection_delay",
    "event_recall",
    "event_wise_f1",
    "false_alarms_per_day",
    "oracle_best_composite_f1",
    "oracle_event_recall_at_false_alarm_rate",
]


class OracleEventRecall(NamedTuple):
    """Event recall at the lowest threshold whose false alarms stay within the allowed rate."""

    event_recall: float
    threshold: float
    false_alarms_per_day: float


def event_recall(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> float:
    """Share of events with at least one predicted step.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    Source: Garg et al. 2022, section IV. Rewards finding events, long or short. How it is fooled: by an alarm at every
    step; read it beside `false_alarms_per_day`.

    Examples
    --------
    >>> event_recall([1, 0, 1, 1], [0, 0, 0, 1])
    0.5
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return undefined("event_recall", NO_ANOMALY, on_undefined)
    return float(np.mean(_first_hits(y, b) >= 0))


def composite_f1(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> PrecisionRecallF1:
    """Composite F1 (Fc1): point-wise precision and event recall.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1]; 0 where nothing is predicted.

    Notes
    -----
    Source: Garg et al. 2022, section IV; TSB-AD calls it Event-based-F1. Rewards touching every event while most
    alarmed steps are right. How it is fooled: one right step in each event and nothing else gives 1, so it does not
    see how much of an event was covered.

    Examples
    --------
    >>> composite_f1([1, 0, 1, 1], [0, 0, 0, 1])
    PrecisionRecallF1(precision=1.0, recall=0.5, f1=0.6666666666666666)
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PrecisionRecallF1(*[undefined("composite_f1", NO_ANOMALY, on_undefined)] * 3)
    predicted = int(np.sum(b))
    precision = int(np.sum(y & b)) / predicted if predicted else 0.0
    recall = float(np.mean(_first_hits(y, b) >= 0))
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def oracle_best_composite_f1(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise", on_undefined: OnUndefined = "warn"
) -> OracleF1:
    """Best composite F1 over all thresholds, chosen with the labels.

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
    OracleF1
        F1 in [0, 1], its threshold (predict where score >= threshold), precision and event recall.

    Notes
    -----
    Source: Garg et al. 2022, section IV. Rewards what `composite_f1` rewards. How it is fooled: as `composite_f1`, and
    the threshold cannot be known in operation.

    Examples
    --------
    >>> oracle_best_composite_f1([1, 0, 1, 1], [0.9, 0.1, 0.2, 0.8]).threshold
    0.8
    """
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        return OracleF1(*[undefined("oracle_best_composite_f1", NO_ANOMALY, on_undefined)] * 4)
    ranking = rank(s)
    events = event_index(y)
    best = np.full(int(events.max()) + 1, ranking.distinct.size)
    np.minimum.at(best, events[y == 1], ranking.group[y == 1])
    found = np.cumsum(np.bincount(best, minlength=ranking.distinct.size)) / best.size
    return best_f1(ranking.distinct, np.cumsum(ranking.per_group(y)) / np.cumsum(ranking.counts), found)


def event_wise_f1(
    labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn"
) -> PrecisionRecallF1:
    """Event-wise precision, recall and F1: events found, events missed, and alarms that touch no event.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    PrecisionRecallF1
        Each in [0, 1]; several alarms in one event count once.

    Notes
    -----
    Source: Hundman et al., KDD 2018, section 4. Rewards one alarm in each event and few alarms elsewhere. How it is
    fooled: one alarm over the whole series touches every event and is never false.

    Examples
    --------
    >>> event_wise_f1([1, 1, 0, 0, 1], [0, 1, 0, 1, 0]).f1
    0.5
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return PrecisionRecallF1(*[undefined("event_wise_f1", NO_ANOMALY, on_undefined)] * 3)
    hits = _first_hits(y, b) >= 0
    found, false = int(np.sum(hits)), _false_alarms(y, b)
    precision = found / (found + false) if found + false else 0.0
    recall = found / hits.size
    return PrecisionRecallF1(precision, recall, harmonic_mean(precision, recall))


def detection_delay(
    labels: ArrayLike,
    predictions: ArrayLike,
    *,
    summary: Literal["mean", "median"] = "mean",
    on_undefined: OnUndefined = "warn",
) -> float:
    """Rows from the start of an event to its first predicted step, over the events that were found.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    summary : {"mean", "median"}
        Over the events.
    on_undefined : {"warn", "raise"} or float
        What to return when no event was found.

    Returns
    -------
    float
        0 or more, in rows; smaller is better. An alarm that began before the event has delay 0.

    Notes
    -----
    Source: A. Lavin and S. Ahmad, "Evaluating Real-Time Anomaly Detection Algorithms", ICMLA 2015, section III
    (why earliness counts). Rewards early alarms. How it is fooled: missed events do not enter, so a detector that
    finds only the easy ones looks fast; read it beside `event_recall`.

    Examples
    --------
    >>> detection_delay([0, 1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 1])
    1.0
    """
    if summary not in ("mean", "median"):
        raise InvalidInputError(f'summary must be "mean" or "median", got {summary!r}')
    y, b = check_labels_and_predictions(labels, predictions)
    delays = _first_hits(y, b)
    delays = delays[delays >= 0]
    if delays.size == 0:
        reason = "no event was found" if y.any() else NO_ANOMALY
        return undefined("detection_delay", reason, on_undefined)
    return float(np.mean(delays) if summary == "mean" else np.median(delays))


def false_alarms_per_day(labels: ArrayLike, predictions: ArrayLike, *, rows_per_day: float) -> float:
    """Alarms that touch no event, per day of the series.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step. Labels without any anomaly are fine here.
    rows_per_day : float
        Rows of one day.

    Returns
    -------
    float
        0 or more; smaller is better.

    Notes
    -----
    Source: ISA-18.2 and EEMUA 191, which rate alarm systems by alarms per operator and time. Rewards quiet. How it is
    fooled: one alarm that never ends counts once; read it beside `precision_recall_f1`.

    Examples
    --------
    >>> false_alarms_per_day([0, 0, 0, 1, 1, 0], [1, 0, 1, 1, 0, 1], rows_per_day=3)
    1.0
    """
    _check_rows_per_day(rows_per_day)
    y, b = check_labels_and_predictions(labels, predictions)
    return _false_alarms(y, b) * rows_per_day / y.size


def oracle_event_recall_at_false_alarm_rate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    rate: float,
    rows_per_day: float,
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> OracleEventRecall:
    """Event recall at the lowest threshold that keeps false alarms within a rate; the labels set the threshold.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    rate : float
        False alarms a day that are accepted.
    rows_per_day : float
        Rows of one day.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    OracleEventRecall
        Event recall in [0, 1], the threshold, and the rate that it really gives. The threshold is lowered from the top
        until the rate would first be exceeded. It is infinite where even the highest score exceeds it.

    Notes
    -----
    Source: ISA-18.2 and EEMUA 191 for the rate; event recall as in Garg et al. 2022. Rewards events that stand out
    above the loudest normal stretches. How it is fooled: hardly, but the threshold cannot be known in operation.

    Examples
    --------
    >>> oracle_event_recall_at_false_alarm_rate(
    ...     [0, 1, 0, 0, 1, 0], [0.1, 0.9, 0.1, 0.7, 0.2, 0.1], rate=0, rows_per_day=6)
    OracleEventRecall(event_recall=0.5, threshold=0.9, false_alarms_per_day=0.0)
    """
    _check_rows_per_day(rows_per_day)
    if not rate >= 0:
        raise InvalidInputError(f"rate must be at least 0 false alarms a day, got {rate}")
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if not y.any():
        value = undefined("oracle_event_recall_at_false_alarm_rate", NO_ANOMALY, on_undefined)
        return OracleEventRecall(value, value, value)
    ranking = rank(s)
    found, false = _sweep(ranking.order, ranking.group, ranking.distinct.size, event_index(y))
    rates = false * rows_per_day / y.size
    exceeded = np.flatnonzero(rates > rate)
    last = int(exceeded[0]) - 1 if exceeded.size else rates.size - 1
    if last < 0:
        return OracleEventRecall(0.0, float("inf"), 0.0)
    events = event_bounds(y)[0].size
    return OracleEventRecall(float(found[last] / events), float(ranking.distinct[last]), float(rates[last]))


@compiled
def _sweep(
    order: NDArray[np.int64], group: NDArray[np.int64], groups: int, event: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return found events and alarms without an event after each distinct score has entered, highest first."""
    T = order.size
    other = np.full(T, -1, np.int64)  # at either end of an alarm the other end; -1 = not predicted
    true = np.zeros(T, np.bool_)  # at either end of an alarm whether it touches an event
    seen = np.zeros(event.max() + 1, np.bool_)
    found = np.empty(groups, np.int64)
    false = np.empty(groups, np.int64)
    number_found = 0
    number_false = 0
    for i in range(T):
        t = order[i]
        low = t
        high = t
        touches = event[t] >= 0
        if touches and not seen[event[t]]:
            seen[event[t]] = True
            number_found += 1
        if t > 0 and other[t - 1] >= 0:
            low = other[t - 1]
            number_false -= not true[t - 1]
            touches = touches or true[t - 1]
        if t + 1 < T and other[t + 1] >= 0:
            high = other[t + 1]
            number_false -= not true[t + 1]
            touches = touches or true[t + 1]
        other[t] = t
        other[low] = high
        other[high] = low
        true[low] = touches
        true[high] = touches
        number_false += not touches
        if i + 1 == T or group[order[i + 1]] != group[t]:
            found[group[t]] = number_found
            false[group[t]] = number_false
    return found, false


def _first_hits(y: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each event the offset of its first predicted step, or -1."""
    starts, ends = event_bounds(y)
    hits = np.flatnonzero(y & b)
    at = np.searchsorted(hits, starts)
    first = np.append(hits, y.size)[at]
    return np.where(first <= ends, first - starts, -1)


def _false_alarms(y: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    starts, ends = event_bounds(b)
    before = np.concatenate(([0], np.cumsum(y, dtype=np.int64)))
    return int(np.sum(before[ends + 1] == before[starts]))


def _check_rows_per_day(rows_per_day: float) -> None:
    if not 0 < rows_per_day < float("inf"):
        raise InvalidInputError(f"rows_per_day must be a positive number, got {rows_per_day}")
