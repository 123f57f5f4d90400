"""Events about the service itself, in the shape of the canonical alarm event (`connectors.alarm_event`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.alarm_event import EVENT_VERSION, event_time
from tsad.annunciation import Flood

__all__ = [
    "FLOOD_ALARM_ID",
    "endpoint_alarm_id",
    "endpoint_disabled",
    "endpoint_enabled",
    "endpoint_test",
    "flood_ended",
    "flood_started",
]

FLOOD_ALARM_ID = "service-flood"
"""What the order of events about floods is kept for."""

_STREAM = "tsad"
_MOST_GROUPS = 100


def endpoint_alarm_id(endpoint: str) -> str:
    """What the order of an endpoint's own events is kept for."""
    return f"service-endpoint-{endpoint}"


def endpoint_disabled(endpoint: str, address: str, at: datetime, reason: str) -> Mapping[str, Any]:
    """An endpoint was switched off; for the other endpoints to tell.

    Parameters
    ----------
    endpoint, address
        Its name, and where it is, masked.
    at
        Aware time.
    reason
        Why, secrets masked.
    """
    return _event(
        "service.endpoint_disabled", endpoint, at, active=True, severity="high",
        summary=f"nothing is sent to {endpoint} ({address}) any more: {reason}. Mend it, then: tsad webhooks replay "
        f"CONFIG --endpoint {endpoint}",
    )  # fmt: skip


def endpoint_enabled(endpoint: str, address: str, at: datetime) -> Mapping[str, Any]:
    """An endpoint was switched on again. Parameters are those of `endpoint_disabled`."""
    return _event(
        "service.endpoint_enabled", endpoint, at, active=False, severity="high",
        summary=f"{endpoint} ({address}) is sent to again",
    )  # fmt: skip


def endpoint_test(endpoint: str, at: datetime) -> Mapping[str, Any]:
    """An event that means nothing, to see whether an endpoint takes one."""
    return _event(
        "service.test", endpoint, at, active=True, severity="low",
        summary=f"This is a test of the endpoint {endpoint}; nothing has happened and nothing is to be done",
    )  # fmt: skip


def flood_started(flood: Flood, time: int) -> Mapping[str, Any]:
    """Many alarms at once: from now on the first of each group is told, and the others are gathered.

    Parameters
    ----------
    flood
        A flood that goes on.
    time
        When it was noticed, ns UTC, event time.
    """
    first = flood.first_out
    known = "" if first is None else f"; first out was {first.asset} at {event_time(first.time)}"
    summary = f"A flood of alarms: of each group only the first is told until it is over{known}"
    return _flood_event("service.flood_started", flood, time, summary, active=True)


def flood_ended(flood: Flood, time: int, standing: int) -> Mapping[str, Any]:
    """A flood is over; `flood` as it was, with its groups. What still stands unseen is told after this.

    Parameters
    ----------
    flood, time
        The flood, and when it ended, ns UTC, event time.
    standing
        How many gathered alarms still stand unseen.
    """
    total = sum(group.count for group in flood.groups)
    summary = f"The flood of {total} alarms in {len(flood.groups)} groups is over; {standing} that were not told stand"
    return _flood_event("service.flood_ended", flood, time, summary, active=False)


def _flood_event(kind: str, flood: Flood, time: int, summary: str, *, active: bool) -> Mapping[str, Any]:
    event = _document(
        kind, "plant", FLOOD_ALARM_ID, time, 2 * flood.number + (not active), active=active, severity="high",
        summary=summary,
    )  # fmt: skip
    groups = [
        {
            "group": group.name,
            "count": group.count,
            "first_out": {
                "alarm_id": group.first_out.alarm_id,
                "asset": group.first_out.asset,
                "time": event_time(group.first_out.time),
            },
        }
        for group in flood.groups[:_MOST_GROUPS]
    ]
    started = flood.since if flood.since is not None else time
    return {**event, "data": {**event["data"], "event_time_start": event_time(started), "groups": groups}}


def _event(kind: str, endpoint: str, at: datetime, *, active: bool, severity: str, summary: str) -> Mapping[str, Any]:
    microseconds = round(at.timestamp() * 1e6)
    alarm_id = endpoint_alarm_id(endpoint) if kind != "service.test" else f"service-test-{endpoint}"
    # A sequence of microseconds counts up without anybody keeping count.
    return _document(
        kind, endpoint, alarm_id, microseconds * 1_000, microseconds, active=active, severity=severity, summary=summary
    )


def _document(
    kind: str, asset: str, alarm_id: str, time: int, sequence: int, *, active: bool, severity: str, summary: str
) -> dict[str, Any]:
    moment = event_time(time)
    return {
        "type": kind,
        "timestamp": moment,
        "data": {
            "event_version": EVENT_VERSION,
            "alarm_id": alarm_id,
            "episode_id": alarm_id,
            "transition_seq": sequence,
            "state": "active" if active else "normal",
            "previous_state": "normal" if active else "active",
            "severity": severity,
            "priority": "advisory",
            "stream": _STREAM,
            "asset": asset,
            "event_time_start": moment,
            "event_time_end": None if active else moment,
            "summary": summary,
        },
    }
