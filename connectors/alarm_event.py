"""The canonical alarm event: one JSON document, a pure function of an alarm transition."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from connectors.history.conditions import ActionRecord
from tsad.alarms import AlarmTransition, Contribution, OddAttribute, PartEvidence
from tsad.annunciation import PriorityRule
from tsad.lifecycle import AlarmCondition
from tsad.quality.faults import SensorFault, words

__all__ = [
    "ACTION_EVENTS",
    "EVENT_VERSION",
    "action_event",
    "alarm_event",
    "encode_event",
    "event_time",
    "similar_words",
]

ACTION_EVENTS = {
    "acknowledge": "alarm.acknowledged",
    "shelve": "alarm.shelved",
    "unshelve": "alarm.unshelved",
    "expire": "alarm.unshelved",
    "take_out_of_service": "alarm.taken_out_of_service",
    "return_to_service": "alarm.returned_to_service",
    "comment": "alarm.commented",
    "label": "alarm.labelled",
    "hold": "alarm.held",
    "release": "alarm.released",
    "remind": "alarm.reminded",
    "suppress": "alarm.suppressed",
}
"""Types of the events that tell of operators' actions, and of what the annunciator does by itself."""

EVENT_VERSION = 1
"""Rises when a field changes its meaning or goes; fields may be added without."""

_STANDS = {
    "normal": "has cleared",
    "returned_unacknowledged": "has cleared",
    "active_unacknowledged": "still stands",
    "active_acknowledged": "still stands",
    "shelved": "is shelved now",
    "out_of_service": "is out of service now",
    "suppressed_by_design": "is suppressed by design now",
}
_ENCODER = msgspec.json.Encoder()


def event_time(ns: int) -> str:
    """A time as RFC 3339 in UTC, to the nanosecond where it has any.

    Examples
    --------
    >>> event_time(1_700_000_000_000_000_000), event_time(1_700_000_000_000_000_001)
    ('2023-11-14T22:13:20Z', '2023-11-14T22:13:20.000000001Z')
    """
    seconds, rest = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}Z" if rest else f"{text}Z"


def alarm_event(
    transition: AlarmTransition, rule: PriorityRule | None = None, like: Sequence[Mapping[str, Any]] = ()
) -> Mapping[str, Any]:
    """The document that tells of a transition: ``type``, ``timestamp``, ``data``.

    `like` are past episodes that it is like, with `episode_id`, `asset`, `started`, `ended` (ns UTC), `similarity`,
    `label` and `comment`.

    Every other format is made from this one. Times are event times; nothing here depends on when it was made, so a
    retry and a replay carry the same bytes.
    """
    return {
        "type": transition.kind,
        "timestamp": event_time(transition.time),
        "data": {
            "event_version": EVENT_VERSION,
            "alarm_id": transition.alarm_id,
            "episode_id": transition.episode_id,
            "transition_seq": transition.transition_seq,
            "state": transition.state,
            "previous_state": transition.previous_state,
            "severity": transition.severity,
            **_rationalised(rule),
            "stream": transition.stream,
            "asset": transition.asset,
            "event_time_start": event_time(transition.started),
            "event_time_end": event_time(transition.time) if transition.state == "normal" else None,
            "detected_at": event_time(transition.time),
            "score": transition.score,
            "threshold": transition.threshold,
            "p_value": transition.p_value,
            "one_in_days": transition.one_in_days,
            "contributions": [
                {
                    "channel": c.channel,
                    "share": round(c.share, 4),
                    "observed": c.observed,
                    "expected": c.expected,
                    "lower": c.lower,
                    "upper": c.upper,
                    "direction": c.direction,
                    "reason": _reason(c),
                }
                for c in transition.contributions
            ],
            "attributes": [
                {
                    "attribute": a.attribute,
                    "share": round(a.share, 4),
                    "observed": a.observed,
                    "unseen": a.unseen,
                    "expected": [{"value": value, "probability": p} for value, p in a.expected],
                    "reason": _event_reason(a),
                }
                for a in transition.attributes
            ],
            "models": [{"name": v.detector, "score": v.score, "p_value": v.p_value} for v in transition.verdicts],
            "source": {"partition": transition.partition, "offset": transition.offset},
            **({} if transition.part is None else _part(transition.part)),
            **({} if transition.fault is None else {"fault": _fault(transition.fault)}),
            **_quality(transition),
            **(
                {}
                if transition.nearest_normal is None
                else {"nearest_normal_window": event_time(transition.nearest_normal)}
            ),
            **({"similar_episodes": [_similar(one) for one in like]} if like else {}),
            "summary": _summary(transition) + (f"; {similar_words(like)}" if like else ""),
        },
    }


def _similar(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "started": event_time(one["started"]), "ended": event_time(one["ended"])}


def similar_words(like: Sequence[Mapping[str, Any]]) -> str:
    """Past episodes that an alarm is like, in words; the first one that has a label is told, else the first."""
    one = next((one for one in like if one["label"] is not None), like[0])
    calls = {"true": "a real problem", "false": "a false alarm", "known": "a known event"}
    why = f" ({one['comment']})" if one["comment"] else ""
    label = "which has no label" if one["label"] is None else f"which was called {calls[one['label']]}{why}"
    return f"like the episode of {event_time(one['started'])}, {label}"


def _rationalised(rule: PriorityRule | None) -> dict[str, Any]:
    """What people decided about the alarm beforehand; one that nobody has rationalised advises."""
    if rule is None:
        return {"priority": "advisory"}
    texts = {name: text for name in ("cause", "consequence", "response") if (text := getattr(rule, name))}
    seconds = {} if rule.time_to_respond is None else {"time_to_respond_seconds": rule.time_to_respond}
    return {"priority": rule.priority, **texts, **seconds}


def action_event(
    condition: AlarmCondition, record: ActionRecord, rule: PriorityRule | None = None
) -> Mapping[str, Any]:
    """The document that tells of what was done to an alarm.

    `transition_seq` is that of the newest transition, so receivers order by both counts. Its time is wall time.
    """
    return {
        "type": ACTION_EVENTS[record.kind],
        "timestamp": event_time(record.at),
        "data": {
            "event_version": EVENT_VERSION,
            "alarm_id": condition.alarm_id,
            "episode_id": condition.episode_id,
            "transition_seq": condition.transition_seq,
            "action_seq": record.action_seq,
            "state": record.state,
            "previous_state": record.previous_state,
            "severity": condition.severity,
            **_rationalised(rule),
            "stream": condition.stream,
            "asset": condition.asset,
            "event_time_start": event_time(condition.started),
            "by": record.by,
            "comment": record.comment,
            "until": None if record.until is None else event_time(record.until),
            "label": record.label,
            "summary": _action_summary(condition, record),
        },
    }


def _action_summary(condition: AlarmCondition, record: ActionRecord) -> str:
    done = {
        "acknowledge": "was acknowledged",
        "shelve": f"was shelved until {event_time(record.until or 0)}",
        "unshelve": "was unshelved",
        "expire": "is no longer shelved: its time is up",
        "take_out_of_service": "was taken out of service",
        "return_to_service": "was put back into service",
        "comment": "was commented on",
        "label": f"was labelled {record.label}",
        "hold": "is not told one by one any more",
        "release": f"is told again and {_STANDS[record.state]}",
        "suppress": "is suppressed by design: maintenance",
        "remind": "still stands, and nobody has acknowledged it",
    }[record.kind]
    why = f": {record.comment}" if record.comment else ""
    return f"{condition.asset} {done} by {record.by}{why}"


def encode_event(event: Mapping[str, Any]) -> bytes:
    """The bytes that are signed and sent."""
    return _ENCODER.encode(event)


def _reason(c: Contribution) -> str:
    if c.observed is None:
        return f"{c.channel} has no value"
    if c.lower is None or c.upper is None or c.expected is None:
        return f"{c.channel} is {c.observed:.4g}"
    band = f"{c.lower:.4g} to {c.upper:.4g}"
    if c.direction == "within":
        return f"{c.channel} is {c.observed:.4g}, expected {c.expected:.4g}: within its band, odd together with others"
    return f"{c.channel} is {c.observed:.4g}, expected {c.expected:.4g} (usual band {band}): too {c.direction}"


def _event_reason(a: OddAttribute) -> str:
    likely = [value if p is None else f"{value} ({100 * p:.0f} %)" for value, p in a.expected]
    usual = f"; usual with the rest of the event: {', '.join(likely)}" if likely else ""
    what = "was never seen before" if a.unseen else "seldom goes with the rest of the event"
    return f"{a.attribute} {a.observed} {what}{usual}"


def _summary(transition: AlarmTransition) -> str:
    asset = transition.asset
    if transition.part is not None:
        return _part_summary(transition.kind, transition.part)
    if transition.kind == "part.closed":
        return f"part {asset} stays flagged, and stands no longer as an alarm"
    if transition.kind == "stream.silent":
        return f"{asset} has stopped reporting while others go on"
    if transition.kind == "stream.resumed":
        return f"{asset} reports again"
    if transition.kind == "alarm.cleared":
        return f"{asset} is back to usual"
    if transition.kind == "comms.lost":
        return f"the controller {asset} has stopped reporting, with all or most of its assets"
    if transition.kind == "comms.restored":
        return f"the controller {asset} reports again"
    if transition.fault is not None:
        what = "the clock" if transition.fault.channel is None else transition.fault.channel
        if transition.kind == "sensor.cleared":
            return f"{asset}: {what} is to be trusted again ({transition.fault.kind.replace('_', ' ')} is over)"
        return f"{asset}: {words(transition.fault, event_time(transition.fault.since))}"
    days = transition.one_in_days
    rare = "" if days is None else f", as odd as once in {_days(days)}"
    if transition.attributes:
        return f"{asset}: an odd event{rare}: {_event_reason(transition.attributes[0])}"
    lead = f": {_reason(transition.contributions[0])}" if transition.contributions else ""
    left_out = ", ".join(one.channel for one in transition.masked)
    without = f"; judged without {left_out}" if left_out else ""
    return f"{asset} behaves unusually{rare}{lead}{without}"


def _fault(fault: SensorFault) -> dict[str, Any]:
    """What is wrong with a sensor."""
    since = event_time(fault.since)
    return {
        "channel": fault.channel,
        "kind": fault.kind,
        "since": since,
        **({} if fault.unit is None else {"unit": fault.unit}),
        "reason": words(fault, since),
    }


def _quality(transition: AlarmTransition) -> dict[str, Any]:
    """Which channels had no part in the scores, because their sensors are broken or may be."""
    if not transition.masked:
        return {}
    return {"quality": {"masked": [{"channel": one.channel, "fault": one.fault} for one in transition.masked]}}


def _part(part: PartEvidence) -> dict[str, Any]:
    """What is said of a part, besides what every alarm says."""
    return {
        "part_id": part.part_id,
        "fusion": {
            "final": part.final,
            "flagged": part.flagged,
            "method": part.method,
            "dependence": part.dependence,
            "decided_by": part.decided_by,
            "missing": list(part.missing),
            "uncalibrated": list(part.uncalibrated),
            "began": None
            if part.station is None
            else {
                "station": part.station,
                "channel": part.channel,
                "time": None if part.began is None else event_time(part.began),
            },
            "shared_by": part.shared_by,
            "closer_imaging": part.closer_imaging,
        },
    }


def _part_summary(kind: str, part: PartEvidence) -> str:
    if kind == "part.released":
        return f"part {part.part_id} is no longer flagged: what came since speaks for it"
    began = ""
    if part.station is not None and part.began is not None:
        channel = "" if part.channel is None else f", {part.channel}"
        began = f"; in the process it was oddest at {part.station}{channel} at {event_time(part.began)}"
    verb = "is flagged" if kind == "part.flagged" else "stays flagged"
    state = "" if part.final else ", so far"
    gone = f"; missing: {', '.join(part.missing)}" if part.final and part.missing else ""
    return f"part {part.part_id} {verb}{state}, by {part.decided_by}{began}{gone}"


def _days(days: float) -> str:
    if days < 2:
        return f"{days * 24:.3g} hours"
    return f"{days:.0f} days" if days < 730 else f"{days / 365.25:.3g} years"
