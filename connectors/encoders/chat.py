"""Chat: Slack's incoming webhooks, and Microsoft Teams through a Workflows address.

Sources: Slack's documentation "Sending messages using incoming webhooks", the reference of Block Kit (header at most
150 characters, section at most 3,000, ten fields of 2,000) and "Formatting text" (what is escaped). Microsoft Learn,
"Create incoming webhooks with Workflows" and "Cards reference" (an adaptive card in a message's attachments, 28 KB);
the Adaptive Cards schema 1.4.
"""

from collections.abc import Mapping
from typing import Any

from connectors.encoders.base import Facts, Message, as_json, cut, facts

__all__ = ["slack_message", "teams_message"]

_LONGEST_TITLE = 150
_LONGEST_TEXT = 700
_LONGEST_FACT = 256
_MOST_REASONS = 5
_COLOURS = {"low": "Accent", "medium": "Warning", "high": "Attention", "critical": "Attention"}


def _title(about: Facts) -> str:
    if about.type == "service.test":
        return cut(f"Test: {about.asset}", _LONGEST_TITLE)
    word = about.severity.upper() if about.firing else about.type.rpartition(".")[2].replace("_", " ").upper()
    return cut(f"{word}: {about.asset or about.stream}", _LONGEST_TITLE)


def _facts(about: Facts) -> list[tuple[str, str]]:
    """What stands in the table of a message, without what is empty."""
    rows = [
        ("Event", about.type),
        ("Severity", about.severity),
        ("Stream", about.stream),
        ("Since", about.started),
        ("Until", about.ended or ""),
        ("By", about.by),
        ("Comment", about.comment),
        ("Alarm", about.alarm_id),
    ]
    return [(name, cut(value, _LONGEST_FACT)) for name, value in rows if value]


def slack_message(event: Mapping[str, Any]) -> Message:
    """`text` for notifications, and blocks: title, summary, table, reasons."""
    about = facts(event)
    blocks: list[dict[str, Any]] = [
        # A header takes plain text only: nothing in it is read as mark-up.
        {"type": "header", "text": {"type": "plain_text", "text": _title(about), "emoji": False}},
        {"type": "section", "text": _markdown(cut(about.summary, _LONGEST_TEXT))},
        {
            "type": "section",
            "fields": [_markdown(value, bold=name) for name, value in _facts(about)],
        },
    ]
    if about.reasons[1:]:
        lines = [cut(reason, _LONGEST_FACT) for reason in about.reasons[:_MOST_REASONS]]
        blocks.append({"type": "section", "text": _markdown("\n".join(f"• {line}" for line in lines))})
    return Message(as_json({"text": _escaped(cut(about.summary, _LONGEST_TEXT)), "blocks": blocks}))


def _markdown(text: str, bold: str = "") -> dict[str, Any]:
    return {"type": "mrkdwn", "text": (f"*{bold}*\n" if bold else "") + _escaped(text), "verbatim": True}


def _escaped(text: str) -> str:
    """Slack's three control characters; without them nobody is called and no link is made by an asset's name."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def teams_message(event: Mapping[str, Any]) -> Message:
    """A message with one adaptive card."""
    about = facts(event)
    colour = _COLOURS.get(about.severity, "Default") if about.firing else "Good"
    body: list[dict[str, Any]] = [
        _block(_title(about), size="Large", weight="Bolder", color=colour),
        _block(cut(about.summary, _LONGEST_TEXT)),
        {"type": "FactSet", "facts": [{"title": name, "value": _plain(value)} for name, value in _facts(about)]},
    ]
    body += [_block(cut(reason, _LONGEST_FACT), isSubtle=True) for reason in about.reasons[1:_MOST_REASONS]]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return Message(as_json({"type": "message", "attachments": [attachment]}))


def _block(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _plain(text), "wrap": True, **style}


def _plain(text: str) -> str:
    """Without the mark-up that Teams would read: links, emphasis, mentions."""
    return "".join(f"\\{character}" if character in "\\[]()*_<>`~" else character for character in text)
