"""Every metric by name, and one call that computes those that the inputs allow.

>>> labels, scores = [0, 0, 1, 1, 0, 0], [0.1, 0.2, 0.9, 0.8, 0.3, 0.1]
>>> evaluate(labels, scores, threshold=0.5, metrics=["f1", "composite_f1"])
{'composite_f1': 1.0, 'f1': 1.0}
"""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics import affiliation as aff
from evaluation.metrics import alarms as alarm_counts
from evaluation.metrics import etapr as time_aware
from evaluation.metrics import events, nab, pate, point_adjust, pointwise, range_based, severity, vus
from evaluation.metrics.thresholds import Threshold, predict
from evaluation.metrics.validation import NanPolicy, OnUndefined, check_labels_and_scores

__all__ = ["METRICS", "METRICS_VERSION", "Metric", "evaluate"]

METRICS_VERSION = "tsad metrics 2"
"""Printed with every table; changes whenever a definition or a default changes."""

Group = Literal["primary", "secondary", "diagnostic"]
Needs = Literal["scores", "threshold", "rows_per_day", "threshold and rows_per_day", "severity"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Inputs:
    """One series with all settings; families of metrics are computed once and kept in `done`."""

    y: NDArray[np.uint8]
    s: NDArray[np.float64]
    b: NDArray[np.uint8] | None
    severity: NDArray[np.float64] | None
    window: int
    early: int
    delay: int
    rows_per_day: float
    rate: float
    on_undefined: OnUndefined
    done: dict[str, Any] = field(default_factory=dict)

    @property
    def predictions(self) -> NDArray[np.uint8]:
        if self.b is None:
            raise AssertionError("metrics that need a threshold are left out without one")
        return self.b

    def once(self, family: str, compute: Callable[[], T]) -> T:
        if family not in self.done:
            self.done[family] = compute()
        result: T = self.done[family]
        return result


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that `evaluate` can compute.

    Attributes
    ----------
    name : str
        Its key in the result. It contains "oracle" where labels choose the threshold.
    definition : str
        In a line.
    range : str
        Its values, and which end is best.
    group : {"primary", "secondary", "diagnostic"}
        Where a report shows it. A diagnostic value never ranks detectors.
    needs : str
        What `evaluate` must be given beside labels and scores.
    higher_is_better : bool
        Which way is better.
    """

    name: str
    definition: str
    range: str
    group: Group
    needs: Needs
    higher_is_better: bool
    compute: Callable[[_Inputs], float] = field(repr=False)


def _pointwise(x: _Inputs) -> Any:
    return x.once("pointwise", lambda: pointwise.precision_recall_f1(x.y, x.predictions, on_undefined=x.on_undefined))


def _vus(x: _Inputs, variant: vus.VusVariant) -> vus.CurveAreas:
    return x.once(
        f"vus {variant}",
        lambda: vus.vus(x.y, x.s, window=x.window, variant=variant, on_undefined=x.on_undefined),
    )


def _range_auc(x: _Inputs) -> vus.CurveAreas:
    return x.once("range_auc", lambda: vus.range_auc(x.y, x.s, window=x.window, on_undefined=x.on_undefined))


def _affiliation(x: _Inputs) -> aff.Affiliation:
    return x.once("affiliation", lambda: aff.affiliation(x.y, x.predictions, on_undefined=x.on_undefined))


def _alarms(x: _Inputs) -> alarm_counts.AlarmMetrics:
    return x.once("alarms", lambda: alarm_counts.alarm_metrics(x.y, x.predictions, on_undefined=x.on_undefined))


def _etapr(x: _Inputs) -> time_aware.TimeAware:
    return x.once("etapr", lambda: time_aware.etapr(x.y, x.predictions, on_undefined=x.on_undefined))


def _random_pa(x: _Inputs) -> float:
    return x.once("random pa", lambda: point_adjust.random_point_adjusted_f1(x.y, on_undefined=x.on_undefined))


def _pate(x: _Inputs, interpolation: pate.Interpolation) -> float:
    return pate.pate(x.y, x.s, early=x.early, delay=x.delay, interpolation=interpolation, on_undefined=x.on_undefined)


def _severity(x: _Inputs) -> severity.SeverityAgreement:
    levels = x.severity if x.severity is not None else x.y
    return x.once("severity", lambda: severity.severity_agreement(levels, x.s, on_undefined=x.on_undefined))


_UNIT = "0 to 1, higher is better"
_SIGNED = "-1 to 1, higher is better"

_ROWS: tuple[tuple[str, Group, Needs, str, str, Callable[[_Inputs], float]], ...] = (
    ("vus_pr", "primary", "scores", _UNIT,
     "volume under the precision-recall surface over soft-label widths, variant opt",
     lambda x: _vus(x, "opt").pr),
    ("pate", "primary", "scores", _UNIT,
     "mean area under the proximity-weighted precision-recall curve over buffer sizes",
     lambda x: _pate(x, "trapezoid")),
    ("pate_step", "primary", "scores", _UNIT,
     "PATE summed by steps, which does not reward tied scores",
     lambda x: _pate(x, "step")),
    ("average_precision", "secondary", "scores", _UNIT,
     "point-wise recall gained times precision, over all thresholds",
     lambda x: pointwise.average_precision(x.y, x.s, on_undefined=x.on_undefined)),
    ("affiliation_f1", "secondary", "threshold", _UNIT,
     "F1 of affiliation precision and recall (distances to events against chance)",
     lambda x: _affiliation(x).f1),
    ("affiliation_floor", "secondary", "threshold", _UNIT,
     "affiliation F1 of an alarm at every step on the same labels",
     lambda x: _affiliation(x).floor),
    ("affiliation_f1_above_floor", "secondary", "threshold", "below 0 to 1, higher is better",
     "(affiliation F1 - floor) / (1 - floor)",
     lambda x: _affiliation(x).f1_above_floor),
    ("affiliation_precision", "secondary", "threshold", _UNIT,
     "mean over zones of the chance that a random point is farther from the event than the alarms are",
     lambda x: _affiliation(x).precision),
    ("affiliation_recall", "secondary", "threshold", _UNIT,
     "mean over events of the chance that a random point is farther from the event's steps than the alarms are",
     lambda x: _affiliation(x).recall),
    ("etapr_f1", "secondary", "threshold", _UNIT,
     "F1 of enhanced time-series aware precision and recall (theta_p 0.5, theta_r 0.1, delta 0)",
     lambda x: _etapr(x).f1),
    ("etapr_precision", "secondary", "threshold", _UNIT,
     "enhanced time-series aware precision",
     lambda x: _etapr(x).precision),
    ("etapr_recall", "secondary", "threshold", _UNIT,
     "enhanced time-series aware recall",
     lambda x: _etapr(x).recall),
    ("composite_f1", "secondary", "threshold", _UNIT,
     "F1 of point-wise precision and event recall (Fc1)",
     lambda x: events.composite_f1(x.y, x.predictions, on_undefined=x.on_undefined).f1),
    ("event_recall", "secondary", "threshold", _UNIT,
     "share of events with an alarmed step",
     lambda x: events.event_recall(x.y, x.predictions, on_undefined=x.on_undefined)),
    ("event_wise_f1", "secondary", "threshold", _UNIT,
     "F1 of events found, events missed and alarms that touch no event",
     lambda x: events.event_wise_f1(x.y, x.predictions, on_undefined=x.on_undefined).f1),
    ("detection_delay", "secondary", "threshold", "0 and up, in rows, lower is better",
     "mean rows from the start of a found event to its first alarmed step",
     lambda x: events.detection_delay(x.y, x.predictions, on_undefined=x.on_undefined)),
    ("early_detection", "secondary", "threshold", _UNIT,
     "mean share of an event still to come at its first alarmed step, 0 for a missed one",
     lambda x: alarm_counts.early_detection(x.y, x.predictions, on_undefined=x.on_undefined)),
    ("alarm_precision", "secondary", "threshold", _UNIT,
     "share of alarms (runs of alarmed steps) that touch an event",
     lambda x: _alarms(x).precision),
    ("alarm_f1", "secondary", "threshold", _UNIT,
     "F1 of alarm precision and event recall",
     lambda x: _alarms(x).f1),
    ("alarms_per_event", "secondary", "threshold", "1 and up, lower is better",
     "alarms that touch an event, per event touched",
     lambda x: _alarms(x).alarms_per_event),
    ("nab_score", "secondary", "threshold", "up to 1, 0 for silence, higher is better",
     "NAB score with the weights of its standard profile: early hits pay, every false step costs",
     lambda x: nab.nab_score(x.y, x.predictions, on_undefined=x.on_undefined)),
    ("false_alarms_per_day", "secondary", "threshold and rows_per_day", "0 and up, lower is better",
     "alarms that touch no event, per day",
     lambda x: events.false_alarms_per_day(x.y, x.predictions, rows_per_day=x.rows_per_day)),
    ("oracle_event_recall_at_false_alarm_rate", "secondary", "rows_per_day", _UNIT,
     "event recall at the lowest threshold within the accepted false alarms a day, set with the labels",
     lambda x: events.oracle_event_recall_at_false_alarm_rate(
         x.y, x.s, rate=x.rate, rows_per_day=x.rows_per_day, on_undefined=x.on_undefined).event_recall),
    ("vus_roc", "secondary", "scores", _UNIT,
     "volume under the ROC surface over soft-label widths, variant opt",
     lambda x: _vus(x, "opt").roc),
    ("auc_roc", "secondary", "scores", _UNIT,
     "chance that an anomalous step outscores a normal one",
     lambda x: pointwise.auc_roc(x.y, x.s, on_undefined=x.on_undefined)),
    ("precision", "secondary", "threshold", _UNIT,
     "share of alarmed steps that are anomalous",
     lambda x: float(_pointwise(x).precision)),
    ("recall", "secondary", "threshold", _UNIT,
     "share of anomalous steps that are alarmed",
     lambda x: float(_pointwise(x).recall)),
    ("f1", "secondary", "threshold", _UNIT,
     "harmonic mean of point-wise precision and recall",
     lambda x: float(_pointwise(x).f1)),
    ("pate_f1", "secondary", "threshold", _UNIT,
     "mean proximity-weighted F1 over buffer sizes",
     lambda x: pate.pate_f1(x.y, x.predictions, early=x.early, delay=x.delay, on_undefined=x.on_undefined)),
    ("range_based_f1", "secondary", "threshold", _UNIT,
     "F1 of range-based precision and recall (alpha 0.2 for recall, reciprocal, flat)",
     lambda x: range_based.range_based(
         x.y, x.predictions, alpha=0.2, cardinality="reciprocal", on_undefined=x.on_undefined).f1),
    ("tapr_f1", "secondary", "threshold", _UNIT,
     "F1 of time-series aware precision and recall (theta 0.5, delta 0, alpha 0.5)",
     lambda x: time_aware.tapr(x.y, x.predictions, on_undefined=x.on_undefined).f1),
    ("severity_c_index", "secondary", "severity", "0 to 1, 0.5 is chance, higher is better",
     "chance that of two steps the more severe one has the higher score",
     lambda x: _severity(x).c_index),
    ("severity_kendall_tau_b", "secondary", "severity", _SIGNED,
     "rank correlation of scores and severity, corrected for ties",
     lambda x: _severity(x).kendall_tau_b),
    ("vus_pr_2022", "diagnostic", "scores", _UNIT,
     "volume under the precision-recall surface, variant 2022",
     lambda x: _vus(x, "2022").pr),
    ("vus_roc_2022", "diagnostic", "scores", _UNIT,
     "volume under the ROC surface, variant 2022",
     lambda x: _vus(x, "2022").roc),
    ("range_auc_pr", "diagnostic", "scores", _UNIT,
     "area under the precision-recall curve with one width of soft labels",
     lambda x: _range_auc(x).pr),
    ("range_auc_roc", "diagnostic", "scores", _UNIT,
     "area under the ROC curve with one width of soft labels",
     lambda x: _range_auc(x).roc),
    ("auc_pr_trapezoid", "diagnostic", "scores", _UNIT,
     "area under the point-wise precision-recall curve joined by straight lines",
     lambda x: pointwise.auc_pr_trapezoid(x.y, x.s, on_undefined=x.on_undefined)),
    ("oracle_best_f1", "diagnostic", "scores", _UNIT,
     "best point-wise F1 over all thresholds",
     lambda x: pointwise.oracle_best_f1(x.y, x.s, on_undefined=x.on_undefined).f1),
    ("oracle_best_composite_f1", "diagnostic", "scores", _UNIT,
     "best composite F1 over all thresholds",
     lambda x: events.oracle_best_composite_f1(x.y, x.s, on_undefined=x.on_undefined).f1),
    ("oracle_best_affiliation_f1", "diagnostic", "scores", _UNIT,
     "best affiliation F1 over 100 thresholds",
     lambda x: aff.oracle_best_affiliation_f1(x.y, x.s, on_undefined=x.on_undefined)),
    ("oracle_best_range_based_f1", "diagnostic", "scores", _UNIT,
     "best range-based F1 over 100 thresholds",
     lambda x: range_based.oracle_best_range_based_f1(x.y, x.s, on_undefined=x.on_undefined)),
    ("point_adjusted_f1", "diagnostic", "threshold", _UNIT,
     "point-wise F1 after one hit fills its whole event",
     lambda x: point_adjust.point_adjusted_f1(x.y, x.predictions, on_undefined=x.on_undefined).f1),
    ("oracle_best_point_adjusted_f1", "diagnostic", "scores", _UNIT,
     "best point-adjusted F1 over all thresholds",
     lambda x: point_adjust.oracle_best_point_adjusted_f1(x.y, x.s, on_undefined=x.on_undefined).f1),
    ("random_point_adjusted_f1", "diagnostic", "scores", _UNIT,
     "point-adjusted F1 that a uniform random score expects on the same labels",
     _random_pa),
    ("pa_k_area", "diagnostic", "threshold", _UNIT,
     "area under F1 after PA%K over K",
     lambda x: point_adjust.pa_k_area(x.y, x.predictions, on_undefined=x.on_undefined)),
    ("oracle_pa_k_area", "diagnostic", "scores", _UNIT,
     "area under the best F1 after PA%K over K",
     lambda x: point_adjust.oracle_pa_k_curve(x.y, x.s, on_undefined=x.on_undefined).area),
)  # fmt: skip

METRICS: dict[str, Metric] = {
    name: Metric(name, definition, value_range, group, needs, "lower is better" not in value_range, compute)
    for name, group, needs, value_range, definition, compute in _ROWS
}
"""Every metric by name, those for a report's first columns first."""

_RANDOM_TWIN = "random_point_adjusted_f1"
_NEEDS_TWIN = ("point_adjusted_f1", "oracle_best_point_adjusted_f1", "pa_k_area", "oracle_pa_k_area")


def evaluate(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | Threshold | None = None,
    rows_per_day: float | None = None,
    severity: ArrayLike | None = None,
    metrics: Iterable[str] | None = None,
    window: int = 100,
    early: int | None = None,
    delay: int | None = None,
    accepted_false_alarms_per_day: float = 1.0,
    nan_policy: NanPolicy = "raise",
    on_undefined: OnUndefined = "warn",
) -> dict[str, float]:
    """Compute many metrics of one series.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans, one a step.
    scores : array_like
        Real numbers, higher is odder.
    threshold : float, Threshold or None
        Predict where score >= threshold. Without one, metrics of predictions are left out. Take it from
        `evaluation.metrics.thresholds`, and print its rule beside the values.
    rows_per_day : float or None
        Rows of one day; without it rates are left out.
    severity : array_like or None
        0 for normal, larger for worse; without it severity metrics are left out.
    metrics : iterable of str or None
        Names from `METRICS`; None computes all that the inputs allow.
    window : int
        Largest width of soft labels for VUS and Range-AUC, in steps.
    early, delay : int or None
        Largest PATE buffers; by default `window`.
    accepted_false_alarms_per_day : float
        For `oracle_event_recall_at_false_alarm_rate`.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite.
    on_undefined : {"warn", "raise"} or float
        "warn" gives one `UndefinedMetricWarning` that names all metrics without a value; they are NaN.

    Returns
    -------
    dict of str to float
        In the order of `METRICS`. A point-adjusted value always comes with `random_point_adjusted_f1`.

    Raises
    ------
    InvalidInputError
        When a name is unknown, or a metric was asked for whose input is missing.

    Examples
    --------
    >>> evaluate([0, 0, 1, 1, 0], [0.1, 0.2, 0.9, 0.8, 0.3], metrics=["auc_roc", "average_precision"])
    {'average_precision': 1.0, 'auc_roc': 1.0}
    """
    given = {
        "scores": True,
        "threshold": threshold is not None,
        "rows_per_day": rows_per_day is not None,
        "threshold and rows_per_day": threshold is not None and rows_per_day is not None,
        "severity": severity is not None,
    }
    chosen = _choose(metrics, given)
    y, s, levels = _series(labels, scores, severity, nan_policy)
    inputs = _Inputs(
        y=y,
        s=s,
        b=None if threshold is None else predict(s, threshold),
        severity=levels,
        window=window,
        early=window if early is None else early,
        delay=window if delay is None else delay,
        rows_per_day=math.nan if rows_per_day is None else rows_per_day,
        rate=accepted_false_alarms_per_day,
        # one warning for all is given below
        on_undefined=math.nan if on_undefined == "warn" else on_undefined,
    )
    values = {metric.name: metric.compute(inputs) for metric in chosen}
    without = [name for name, value in values.items() if math.isnan(value)]
    if without and on_undefined == "warn":
        warnings.warn(
            f"not defined for these labels and predictions ({int(y.sum())} of {y.size} steps anomalous, "
            f"{'no threshold' if inputs.b is None else f'{int(inputs.b.sum())} predicted'}): {', '.join(without)}",
            UndefinedMetricWarning,
            stacklevel=2,
        )
    return values


def _choose(metrics: Iterable[str] | None, given: dict[str, bool]) -> list[Metric]:
    if metrics is None:
        return [metric for metric in METRICS.values() if given[metric.needs]]
    wanted = {metrics} if isinstance(metrics, str) else set(metrics)
    unknown = sorted(wanted - set(METRICS))
    if unknown:
        raise InvalidInputError(f"unknown metrics {', '.join(unknown)}; known are {', '.join(METRICS)}")
    if wanted & set(_NEEDS_TWIN):
        wanted.add(_RANDOM_TWIN)
    chosen = [metric for metric in METRICS.values() if metric.name in wanted]
    for metric in chosen:
        if not given[metric.needs]:
            raise InvalidInputError(f"metric {metric.name} needs {metric.needs}; pass it, or leave the metric out")
    return chosen


def _series(
    labels: ArrayLike, scores: ArrayLike, levels: ArrayLike | None, nan_policy: NanPolicy
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64] | None]:
    y, s = check_labels_and_scores(labels, scores, nan_policy=nan_policy)
    if levels is None:
        return y, s, None
    checked = np.asarray(levels, dtype=np.float64)
    if checked.shape != np.shape(scores):
        raise InvalidInputError(f"severity must be as long as the scores, got {checked.shape} and {np.shape(scores)}")
    if s.size != checked.size:  # "omit" dropped steps
        checked = checked[np.isfinite(np.asarray(scores, dtype=np.float64))]
    return y, s, checked
