"""Plain e-mail.

Sources: RFC 5322 (message format, identification fields, lines of at most 998 characters), RFC 2047 (words outside
ASCII in headers, done by the standard library's `email`), RFC 3834 (`Auto-Submitted`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from connectors.encoders.base import Message, cut, facts

__all__ = ["mail_message"]

_LONGEST_SUBJECT = 200
_LONGEST_LINE = 900
_MOST_REASONS = 20
# Lines end as SMTP wants them; everything beyond ASCII is encoded, since not every relay takes 8-bit mail.
_POLICY = policy.SMTP.clone(cte_type="7bit", max_line_length=76)


def mail_message(
    event: Mapping[str, Any], *, sender: str, recipients: Sequence[str], message_id: str, date: datetime
) -> Message:
    """A message of plain text, as it goes over the wire.

    Parameters
    ----------
    event
        The canonical event.
    sender, recipients
        Addresses.
    message_id
        What comes before the `@`: the same for every attempt, so that mail readers drop repeats.
    date
        Aware time of the event's making, the same for every attempt.
    """
    about = facts(event)
    domain = sender.rpartition("@")[2].strip("<> ") or "localhost"
    mail = EmailMessage(policy=_POLICY)
    state = about.severity.upper() if about.firing else about.type.rpartition(".")[2].replace("_", " ").upper()
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = cut(f"[tsad] {state}: {about.summary}", _LONGEST_SUBJECT)
    mail["Date"] = format_datetime(date)
    mail["Message-ID"] = f"<{message_id}@{domain}>"
    # All events of an episode stand in one thread.
    mail["References"] = f"<{about.episode_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Tsad-Alarm-Id"] = about.alarm_id
    mail["X-Tsad-Event-Type"] = about.type
    rows = [
        ("Event", about.type),
        ("Asset", about.asset),
        ("Stream", about.stream),
        ("Severity", about.severity),
        ("Priority", about.priority),
        ("Since", about.started),
        ("Until", about.ended or ""),
        ("By", about.by),
        ("Comment", about.comment),
        ("Alarm", about.alarm_id),
    ]
    lines = [about.summary, "", *(f"{name + ':':<10}{value}" for name, value in rows if value)]
    if about.reasons:
        lines += ["", *(f"- {reason}" for reason in about.reasons[:_MOST_REASONS])]
        left = len(about.reasons) - _MOST_REASONS
        lines += [f"- and {left} more"] if left > 0 else []
    mail.set_content("\n".join(cut(line, _LONGEST_LINE) for line in lines) + "\n", cte="quoted-printable")
    return Message(mail.as_bytes(), "message/rfc822")
