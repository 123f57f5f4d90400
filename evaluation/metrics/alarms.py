"""Metrics of alarms as operators count them: one alarm is one run of predicted steps.

Sources: ISA-18.2 and EEMUA 191 (an alarm that needs no response is a nuisance; the same alarm again is a repeat);
N. Tatbul et al., "Precision and Recall for Time Series", NeurIPS 2018, section 3 (why runs and not steps).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.metrics.segments import NO_ANOMALY, event_bounds, harmonic_mean
from evaluation.metrics.validation import OnUndefined, check_labels_and_predictions, undefined

__all__ = ["AlarmMetrics", "alarm_metrics", "early_detection"]


class AlarmMetrics(NamedTuple):
    """What an operator gets for answering alarms.

    Attributes
    ----------
    precision
        Share of alarms that touch an event, 0 without alarms.
    recall
        Share of events that an alarm touches.
    f1
        Their harmonic mean.
    alarms_per_event
        Alarms that touch an event, per event touched; 1 is best, more are repeats of what is known. NaN where no
        event was found.
    """

    precision: float
    recall: float
    f1: float
    alarms_per_event: float


def alarm_metrics(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> AlarmMetrics:
    """Precision, recall and repeats of alarms.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous, and for `alarms_per_event` when no event was found.

    Returns
    -------
    AlarmMetrics

    Notes
    -----
    Unlike event-wise precision, where all alarms in one event count as one hit, each alarm that an operator has to
    answer counts here. Rewards one alarm an event and none elsewhere. How it is fooled: one alarm over the whole
    series has precision and recall 1; read it beside `false_alarms_per_day` and affiliation above its floor.

    Examples
    --------
    >>> alarm_metrics([0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]).alarms_per_event
    2.0
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return AlarmMetrics(*[undefined("alarm_metrics", NO_ANOMALY, on_undefined)] * 4)
    touches, found = _touching(y, b)
    precision = float(touches.mean()) if touches.size else 0.0
    recall = float(found.mean())
    repeats = (
        float(touches.sum() / found.sum())
        if found.any()
        else undefined("alarms_per_event", "no event was found", on_undefined)
    )
    return AlarmMetrics(precision, recall, harmonic_mean(precision, recall), repeats)


def _touching(y: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each alarm touches an event, and whether each event is touched by an alarm."""
    event_starts, event_ends = event_bounds(y)
    alarm_starts, alarm_ends = event_bounds(b)

    def touched(
        starts: NDArray[np.int64], ends: NDArray[np.int64], others_from: NDArray[np.int64], to: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        # Runs are in order and apart: the others that begin by our end, less those that ended before our start.
        return np.asarray(
            np.searchsorted(others_from, ends, side="right") > np.searchsorted(to, starts, side="left"), dtype=np.bool_
        )

    return (
        touched(alarm_starts, alarm_ends, event_starts, event_ends),
        touched(event_starts, event_ends, alarm_starts, alarm_ends),
    )


def early_detection(labels: ArrayLike, predictions: ArrayLike, *, on_undefined: OnUndefined = "warn") -> float:
    """Mean share of an event that is still to come when it is first predicted; a missed event counts 0.

    Parameters
    ----------
    labels, predictions : array_like
        0/1 or booleans, one a step.
    on_undefined : {"warn", "raise"} or float
        What to return when no step is labelled anomalous.

    Returns
    -------
    float
        In [0, 1]: 1 where every event is predicted at its first step, 1/n for a hit at the last of n steps.

    Notes
    -----
    Source: the early-detection reward of Lavin and Ahmad, ICMLA 2015, section III, made linear and without cost for
    false alarms. Unlike `detection_delay` it has a value for missed events, so finding only easy events does not
    look fast. How it is fooled: an alarm at every step gets 1.

    Examples
    --------
    >>> early_detection([0, 1, 1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 0, 0])
    0.25
    """
    y, b = check_labels_and_predictions(labels, predictions)
    if not y.any():
        return undefined("early_detection", NO_ANOMALY, on_undefined)
    starts, ends = event_bounds(y)
    predicted = np.append(np.flatnonzero(b), y.size + 1)
    first = predicted[np.searchsorted(predicted, starts)]
    return float(np.mean(np.maximum(ends - first + 1, 0) / (ends - starts + 1)))
