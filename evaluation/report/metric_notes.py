"""What each metric rewards and how it is fooled, for the page; docs/metrics.md has the same with sources."""

from dataclasses import dataclass

from evaluation.backtest.measures import REPORT_NAMES
from evaluation.metrics.registry import METRICS

__all__ = ["POINT_ADJUSTED", "MetricNote", "metric_notes"]

POINT_ADJUSTED = ("pa_f1_random", "pa_f1", "oracle_best_point_adjusted_f1", "pa_k_area", "oracle_pa_k_area")
"""Names in results, the random twin first: no value of the others is shown without it."""

_AFFILIATION = ("alarms near events, events with an alarm near", "all ones and 1 % random both get about 0.68")
_ETAPR = ("alarms that are mostly right; events then covered", "steps at the two limits: 49 % right loses all")
_POINTWISE = ("every step alike", "one long event outweighs all others; all ones gets 2g/(1+g) at rate g")
_ALARM = ("alarms worth answering", "one alarm over everything")
_VUS_2022 = ("high scores in and near events", "soft labels that nobody predicts also count")
_RANGE_AUC = ("high scores in and near events", "the width is a free choice")
_BY_LABELS = "labels choose the threshold"

_NOTES: dict[str, tuple[str, str]] = {
    "vus_pr": (
        "high scores in and near events; finding every event",
        "wide windows pay for alarms up to half a window away",
    ),
    "pate": (
        "early hits before an event that is also hit, early hits inside it, late hits after it",
        "straight lines from precision 1: a constant score gets at least 0.5",
    ),
    "pate_step": (
        "early hits before an event that is also hit, early hits inside it, late hits after it",
        "late alarms count even where the event was missed",
    ),
    "average_precision": ("anomalous steps ranked on top", "long events dominate; nothing for one step early"),
    "vus_roc": ("the whole ranking", "rare anomalies: a useless top of the ranking costs little"),
    "auc_roc": ("the whole ranking", "rare anomalies: a useless top of the ranking costs little"),
    "oracle_event_recall_at_false_alarm_rate": (
        "events that stand out above the loudest normal stretch",
        "the threshold cannot be known in operation",
    ),
    "severity_c_index": ("scores that grow with severity", "with few levels it is nearly AUC-ROC"),
    "severity_kendall_tau_b": ("scores that grow with severity", "normal steps are ties and shrink it"),
    "affiliation_f1": _AFFILIATION,
    "affiliation_precision": _AFFILIATION,
    "affiliation_recall": _AFFILIATION,
    "affiliation_floor": ("nothing: it is the floor of affiliation F1", "read the value above it"),
    "affiliation_f1_above_floor": (
        "affiliation beyond alarming always",
        "as affiliation: nearness to an event is cheap where events are long",
    ),
    "etapr_f1": _ETAPR,
    "etapr_precision": _ETAPR,
    "etapr_recall": _ETAPR,
    "tapr_f1": (_ETAPR[0], "many one-step hits hide one long false alarm"),
    "composite_f1": ("touching every event while most alarmed steps are right", "one right step an event gives 1"),
    "event_recall": ("finding events of any length", "an alarm at every step"),
    "event_wise_f1": ("one alarm an event, none elsewhere", "one alarm over everything"),
    "detection_delay": ("early alarms", "missed events do not enter"),
    "early_detection": ("early alarms in every event", "an alarm at every step"),
    "alarm_precision": _ALARM,
    "alarm_f1": _ALARM,
    "alarms_per_event": ("saying it once", "missed events do not enter"),
    "nab_score": ("the first step of each window", "alarms just after a window are nearly free"),
    "false_alarms_per_day": ("quiet", "one alarm that never ends counts once"),
    "precision": _POINTWISE,
    "recall": _POINTWISE,
    "f1": _POINTWISE,
    "pate_f1": (
        "early hits before an event that is also hit, inside it, and after it, at one threshold",
        "buffers as long as the gaps leave nothing false",
    ),
    "range_based_f1": (
        "found, covered, unfragmented events",
        "a one-step event weighs as much as a long one",
    ),
    "vus_pr_2022": _VUS_2022,
    "vus_roc_2022": _VUS_2022,
    "range_auc_pr": _RANGE_AUC,
    "range_auc_roc": _RANGE_AUC,
    "auc_pr_trapezoid": ("anomalous steps ranked on top", "a constant score gets (1 + rate) / 2"),
    "oracle_best_f1": ("one good threshold", "labels choose it; all ones is a candidate"),
    "oracle_best_composite_f1": ("touching every event while most alarmed steps are right", _BY_LABELS),
    "oracle_best_affiliation_f1": (_AFFILIATION[0], _BY_LABELS),
    "oracle_best_range_based_f1": ("found, covered, unfragmented events", _BY_LABELS),
    "point_adjusted_f1": ("one hit in every long event", "a random score: see the value beside it"),
    "oracle_best_point_adjusted_f1": (
        "one hit in every long event",
        "a random score gets 0.91 on MSL, 0.96 on SMAP",
    ),
    "random_point_adjusted_f1": ("nothing: it is what a random score gets", "nothing below or near it means anything"),
    "pa_k_area": ("events covered in large part", "its left end is point adjustment"),
    "oracle_pa_k_area": ("events covered in large part", "labels choose 101 thresholds"),
}

_OF_LABELS = frozenset({"affiliation_floor", "random_point_adjusted_f1"})


@dataclass(frozen=True, slots=True)
class MetricNote:
    """A metric as the page tells it.

    Attributes
    ----------
    name
        In results.
    group
        ``primary``, ``secondary``, ``diagnostic`` or ``point-adjusted``.
    definition, range, rewards, fooled
        One sentence each.
    beatable
        Whether a detector that does not get more than the best trivial predictor has shown nothing: higher is better,
        and the value is not one of the labels alone.
    """

    name: str
    group: str
    definition: str
    range: str
    rewards: str
    fooled: str
    beatable: bool


def metric_notes() -> list[MetricNote]:
    """Return every metric in the order of the page, point-adjusted ones last, with their random twin first.

    Examples
    --------
    >>> notes = metric_notes()
    >>> notes[0].name, [note.name for note in notes][-5:-3]
    ('vus_pr', ['pa_f1_random', 'pa_f1'])
    """
    notes = {}
    for name, metric in METRICS.items():
        shown = REPORT_NAMES.get(name, name)
        group = "point-adjusted" if shown in POINT_ADJUSTED else str(metric.group)
        beatable = metric.higher_is_better and name not in _OF_LABELS
        notes[shown] = MetricNote(shown, group, metric.definition, metric.range, *_NOTES[name], beatable)
    order = [name for name in notes if name not in POINT_ADJUSTED] + list(POINT_ADJUSTED)
    return [notes[name] for name in order]
