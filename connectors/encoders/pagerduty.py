"""PagerDuty Events API v2.

Source: PagerDuty's developer documentation, "Events API v2 overview" and "Send an alert event": required fields,
`dedup_key` of at most 255 characters, `summary` of at most 1,024, events of at most 512 KB.
"""

from collections.abc import Mapping
from typing import Any

from connectors.encoders.base import Message, as_json, cut, facts, fitted

__all__ = ["pagerduty_message"]

_SEVERITIES = {"low": "info", "medium": "warning", "high": "error", "critical": "critical"}
_LONGEST_SUMMARY = 1_024
_LONGEST_KEY = 255
# The whole event may have 512 KB; details that nobody can read on a telephone help nobody.
_LONGEST_DETAILS = 65_536
_CLIENT = "tsad"


def pagerduty_message(event: Mapping[str, Any], routing_key: str) -> Message:
    """The body for `POST /v2/enqueue`.

    All events of an alarm have one `dedup_key`, so they fold into one incident: what fires triggers, an
    acknowledgement acknowledges, everything else resolves.

    Parameters
    ----------
    event
        The canonical event.
    routing_key
        The integration's key; a secret.
    """
    about = facts(event)
    action = "trigger" if about.firing else "resolve"
    action = "acknowledge" if about.type == "alarm.acknowledged" else action
    body: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": cut(about.alarm_id, _LONGEST_KEY),
    }
    if action == "trigger":
        body["client"] = _CLIENT
        payload = {
            "summary": cut(about.summary, _LONGEST_SUMMARY),
            "source": cut(about.asset or about.stream or _CLIENT, _LONGEST_KEY),
            "severity": _SEVERITIES.get(about.severity, "warning"),
            "timestamp": about.timestamp,
            "component": cut(about.asset, _LONGEST_KEY),
            "group": cut(about.stream, _LONGEST_KEY),
            "class": about.type,
            "custom_details": fitted(event, _LONGEST_DETAILS)["data"],
        }
        body["payload"] = {name: value for name, value in payload.items() if value != ""}
    return Message(as_json(body))
