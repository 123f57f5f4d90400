"""Events about the service itself, in the shape of the canonical alarm event (`connectors.alarm_event`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.alarm_event import EVENT_VERSION, event_time

__all__ = ["endpoint_alarm_id", "endpoint_disabled", "endpoint_enabled", "endpoint_test"]

_STREAM = "tsad"


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


def _event(kind: str, endpoint: str, at: datetime, *, active: bool, severity: str, summary: str) -> Mapping[str, Any]:
    microseconds = round(at.timestamp() * 1e6)
    moment = event_time(microseconds * 1_000)
    alarm_id = endpoint_alarm_id(endpoint) if kind != "service.test" else f"service-test-{endpoint}"
    return {
        "type": kind,
        "timestamp": moment,
        "data": {
            "event_version": EVENT_VERSION,
            "alarm_id": alarm_id,
            "episode_id": alarm_id,
            # Counts up without anybody keeping count.
            "transition_seq": microseconds,
            "state": "active" if active else "normal",
            "previous_state": "normal" if active else "active",
            "severity": severity,
            "priority": "advisory",
            "stream": _STREAM,
            "asset": endpoint,
            "event_time_start": moment,
            "event_time_end": None if active else moment,
            "summary": summary,
        },
    }
