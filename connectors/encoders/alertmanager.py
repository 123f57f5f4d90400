"""Prometheus Alertmanager: alerts for its API v2, and the shape of its own webhook.

Sources: the OpenAPI document of Alertmanager's API v2 (`api/v2/openapi.yaml`, `postableAlerts`), and the section
"webhook_config" of Alertmanager's configuration reference (version "4" of the message).

An alert's labels are its identity, so they hold nothing that changes with every transition; scores and texts are
annotations. Severity is a label, since routes match on labels: an alarm that gets worse becomes another alert, and the
former ends by itself. Both shapes call an alarm that was shelved or taken out of service resolved.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from connectors.encoders.base import Facts, Message, as_json, cut, facts

__all__ = ["alert", "api_message", "webhook_message"]

_LONGEST_LABEL = 256
_LONGEST_ANNOTATION = 1_024


def alert(event: Mapping[str, Any]) -> dict[str, Any]:
    """One alert of API v2: `labels`, `annotations`, `startsAt`, and `endsAt` once it no longer fires."""
    about = facts(event)
    shown: dict[str, Any] = {
        "labels": _labels(about),
        "annotations": _annotations(about, event["data"]),
        "startsAt": about.started,
    }
    if not about.firing:
        # Ended before it began: both clocks of an action's event are not the same.
        shown["endsAt"] = max(about.ended or about.timestamp, about.started, key=_moment)
    return shown


def api_message(event: Mapping[str, Any]) -> Message:
    """The body of `POST /api/v2/alerts`: an array with one alert."""
    return Message(as_json([alert(event)]))


def webhook_message(event: Mapping[str, Any]) -> Message:
    """What Alertmanager itself would post to a webhook of version 4, for a group that holds this alert alone."""
    one = alert(event)
    status = "firing" if "endsAt" not in one else "resolved"
    labels = one["labels"]
    group = {"alarm_id": labels["alarm_id"]}
    return Message(
        as_json(
            {
                "version": "4",
                "groupKey": f'{{}}:{{alarm_id="{labels["alarm_id"]}"}}',
                "truncatedAlerts": 0,
                "status": status,
                "receiver": "tsad",
                "groupLabels": group,
                "commonLabels": labels,
                "commonAnnotations": one["annotations"],
                "externalURL": "",
                "alerts": [
                    {
                        "status": status,
                        "labels": labels,
                        "annotations": one["annotations"],
                        "startsAt": one["startsAt"],
                        # Go's zero time: how Alertmanager writes "not ended".
                        "endsAt": one.get("endsAt", "0001-01-01T00:00:00Z"),
                        "generatorURL": "",
                        "fingerprint": _fingerprint(labels),
                    }
                ],
            }
        )
    )


def _labels(about: Facts) -> dict[str, str]:
    # One name for all alarms: operators' actions do not say whether it is an anomaly or a silence, and a shelving has
    # to end the very alert that the raising began.
    name = "TsadService" if about.type.startswith("service.") else "TsadAlarm"
    named = {
        "alertname": name,
        "alarm_id": about.alarm_id,
        "asset": about.asset,
        "stream": about.stream,
        "severity": about.severity,
    }
    return {key: cut(value, _LONGEST_LABEL) for key, value in named.items() if value}


def _annotations(about: Facts, data: Mapping[str, Any]) -> dict[str, str]:
    shown = {
        "summary": about.summary,
        "description": "; ".join(about.reasons[:5]),
        "event_type": about.type,
        "episode_id": about.episode_id,
        "transition_seq": str(about.transition_seq),
        "priority": about.priority,
        "comment": about.comment,
        "by": about.by,
    }
    shown |= {
        name: f"{data[name]:.6g}"
        for name in ("score", "threshold", "p_value", "one_in_days")
        if isinstance(data.get(name), int | float)
    }
    return {key: cut(value, _LONGEST_ANNOTATION) for key, value in shown.items() if value}


def _moment(text: str) -> tuple[str, str]:
    """Orders RFC 3339 times in UTC whether they have a fraction or not."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return whole, fraction


def _fingerprint(labels: Mapping[str, str]) -> str:
    text = "\xff".join(f"{name}\xff{value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
