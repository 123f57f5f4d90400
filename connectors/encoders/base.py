"""What encoders have in common: the facts of an event, and how what is too large is cut."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["CONDITION_EVENTS", "Facts", "Message", "as_json", "cut", "facts", "fitted"]

CONDITION_EVENTS = (
    "alarm.raised",
    "alarm.updated",
    "alarm.cleared",
    "alarm.shelved",
    "alarm.unshelved",
    "alarm.taken_out_of_service",
    "alarm.returned_to_service",
    "alarm.held",
    "alarm.released",
    "alarm.reminded",
    "part.*",
    "stream.*",
    "sensor.*",
    "comms.*",
    "service.*",
)
"""Events after which an alarm is firing or is not: all that formats without words for people's actions can tell."""

_ENCODER = msgspec.json.Encoder()
_FIRING = frozenset({"active", "active_unacknowledged", "active_acknowledged"})
# Line breaks and other controls: what stands in a header or a title must not begin another one.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# Lengths that strings are cut to, one after another, while a document is too large.
_STRING_CUTS = (1_024, 256, 64)
_LISTS = ("contributions", "attributes", "models")
# What a document is reduced to when nothing else makes it small enough.
_SCALARS = (
    "event_version", "alarm_id", "episode_id", "transition_seq", "action_seq", "state", "previous_state", "severity",
    "priority", "stream", "asset", "event_time_start", "event_time_end", "detected_at", "p_value", "one_in_days", "by",
    "until", "label", "summary",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes
    ----------
    body : bytes
        The body, UTF-8.
    content_type : str
        Its media type.
    headers : tuple of (str, str)
        Further headers.
    key : bytes or None
        The record's key, where the target is a topic.
    """

    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What every format tells, read from the canonical document; what an event does not have is empty or None.

    Attributes
    ----------
    type, timestamp
        Of the event.
    alarm_id, episode_id, transition_seq, action_seq
        Which alarm, and the event's place in its life.
    firing
        Whether the alarm holds and may announce itself after this event.
    severity, priority, stream, asset, summary
        As in the document; texts on one line.
    started, ended
        RFC 3339 in UTC.
    reasons
        Sentences, the weightiest first.
    by, comment
        Who did something, and why.
    """

    type: str
    timestamp: str
    alarm_id: str
    episode_id: str
    transition_seq: int
    action_seq: int
    firing: bool
    severity: str
    priority: str
    stream: str
    asset: str
    summary: str
    started: str
    ended: str | None
    reasons: tuple[str, ...]
    by: str
    comment: str


def facts(event: Mapping[str, Any]) -> Facts:
    """Read the facts of a canonical event (`connectors.alarm_event`)."""
    data = event["data"]
    said = [*(data.get("contributions") or ()), *(data.get("attributes") or ())]
    return Facts(
        type=event["type"],
        timestamp=event["timestamp"],
        alarm_id=data["alarm_id"],
        episode_id=data.get("episode_id") or data["alarm_id"],
        transition_seq=data["transition_seq"],
        action_seq=data.get("action_seq") or 0,
        firing=data["state"] in _FIRING,
        severity=data["severity"],
        priority=data.get("priority") or "",
        stream=_line(data.get("stream") or ""),
        asset=_line(data.get("asset") or ""),
        summary=_line(data.get("summary") or event["type"]),
        started=data.get("event_time_start") or event["timestamp"],
        ended=data.get("event_time_end"),
        reasons=tuple(_line(one["reason"]) for one in said if one.get("reason")),
        by=_line(data.get("by") or ""),
        comment=_line(data.get("comment") or ""),
    )


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip()


def cut(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; one that was cut ends with an ellipsis.

    Examples
    --------
    >>> cut("pressure", 8), cut("pressure", 5)
    ('pressure', 'pres…')
    """
    return text if len(text) <= longest else text[: max(longest - 1, 0)] + "…"[:longest]


def as_json(document: Any) -> bytes:
    """The document as compact JSON, UTF-8."""
    return _ENCODER.encode(document)


def fitted(event: Mapping[str, Any], longest: int) -> Mapping[str, Any]:
    """Return the event such that its JSON has at most `longest` bytes, where needed cut by a fixed rule.

    The lists of contributions, attributes and models are halved from their end (they begin with the weightiest); then
    texts are cut; then everything goes but the fields that say which alarm, what of it, when and how grave. A
    document that was cut has `data.truncated` true. `longest` should be 4,096 or more.
    """
    if len(as_json(event)) <= longest:
        return event
    data = {**event["data"], "truncated": True}
    kept = max((len(data.get(name) or ()) for name in _LISTS), default=0)
    while kept:
        kept //= 2
        for name in _LISTS:
            if data.get(name):
                data[name] = data[name][:kept]
        if len(as_json({**event, "data": data})) <= longest:
            return {**event, "data": data}
    document: Mapping[str, Any] = {}
    for length in _STRING_CUTS:
        document = _cut_strings({**event, "data": data}, length)
        if len(as_json(document)) <= longest:
            return document
    least = {name: data[name] for name in (*_SCALARS, "truncated") if name in data}
    return {
        name: value
        for name, value in _cut_strings({**event, "data": least}, _STRING_CUTS[-1]).items()
        if name in {"type", "timestamp", "data"}
    }


def _cut_strings(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        return cut(value, longest)
    if isinstance(value, Mapping):
        return {key: _cut_strings(item, longest) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut_strings(item, longest) for item in value]
    return value
