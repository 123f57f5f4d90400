"""What else there is to say of an alarm, in sentences: what to do, what each detector said, what not to trust."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from streams.console.views import clock

__all__ = ["remarks"]

_BILLIONTH = 1e-9


def remarks(words: Mapping[str, Any], zone: str) -> list[str]:
    """Sentences about the newest event of an alarm (`connectors.alarm_event`), the most useful first.

    Examples
    --------
    >>> words = {"priority": "high", "response": "close the valve", "models": [{"name": "robust", "p_value": 0.0004}],
    ...          "quality": {"masked": [{"channel": "flow", "fault": "stuck"}]}}
    >>> for sentence in remarks(words, "UTC"):
    ...     print(sentence)
    Priority high. To do: close the valve.
    Left out, because the sensor is not to be trusted: flow (stuck).
    What each detector said: robust, 1 in 2,500.
    """
    said = [
        _rationalised(words),
        _masked(words),
        _detectors(words),
        _normal(words, zone),
        _similar(words, zone),
        _part(words),
    ]
    return [sentence for sentence in said if sentence]


def _rationalised(words: Mapping[str, Any]) -> str:
    if words.get("priority", "advisory") == "advisory":
        return ""
    told = {"cause": "Usual cause", "consequence": "If nobody answers", "response": "To do"}
    texts = "".join(f" {title}: {words[name]}." for name, title in told.items() if words.get(name))
    seconds = words.get("time_to_respond_seconds")
    return f"Priority {words['priority']}.{texts}" + (f" Answer within {seconds / 60:g} min." if seconds else "")


def _masked(words: Mapping[str, Any]) -> str:
    masked = words.get("quality", {}).get("masked", ())
    named = ", ".join(f"{one['channel']} ({one['fault'].replace('_', ' ')})" for one in masked)
    return f"Left out, because the sensor is not to be trusted: {named}." if named else ""


def _detectors(words: Mapping[str, Any]) -> str:
    said = [f"{one['name']}, {_rarity(one.get('p_value'))}" for one in words.get("models", ())]
    return f"What each detector said: {'; '.join(said)}." if said else ""


def _rarity(p_value: float | None) -> str:
    if p_value is None:
        return "nothing"
    return f"1 in {1 / p_value:,.0f}" if p_value > _BILLIONTH else "rarer than 1 in a billion"


def _normal(words: Mapping[str, Any], zone: str) -> str:
    when = words.get("nearest_normal_window")
    if when is None:
        return ""
    return f"Of what is usual, this looks most like {_clock(when, zone)}."


def _clock(when: str, zone: str) -> str:
    return clock(round(datetime.fromisoformat(when).timestamp()) * 10**9, zone)


def _similar(words: Mapping[str, Any], zone: str) -> str:
    calls = {"true": "a real problem", "false": "a false alarm", "known": "a known event", None: "no label yet"}
    found = [
        f"{one['asset']} at {_clock(one['started'], zone)} ({calls[one['label']]}"
        + (f": {one['comment']}" if one["comment"] else "")
        + ")"
        for one in words.get("similar_episodes", ())
    ]
    return f"Like earlier episodes: {'; '.join(found)}." if found else ""


def _part(words: Mapping[str, Any]) -> str:
    fusion = words.get("fusion")
    if not fusion:
        return ""
    missing = fusion.get("missing") or ()
    gone = f" Nothing is known from {', '.join(missing)}." if missing else ""
    return f"Decided by {fusion.get('decided_by')}, combined by {fusion.get('method')}.{gone}"
