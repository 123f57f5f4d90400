"""Every format by its name: which events it has words for, and how it is made."""

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.encoders.alertmanager import api_message, webhook_message
from connectors.encoders.base import CONDITION_EVENTS, Message, as_json, fitted
from connectors.encoders.chat import slack_message, teams_message
from connectors.encoders.cloudevents import binary_message, kafka_message, structured_message
from connectors.encoders.pagerduty import pagerduty_message

__all__ = ["FORMATS", "Format", "encode"]

# Standard Webhooks advises bodies below about 20 KB.
_LONGEST_STANDARD = 20_000


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes
    ----------
    tells : tuple of str
        Patterns of the event types that it has words for.
    encode : callable
        From the canonical event and the endpoint's options to what is sent.
    refusals : frozenset of int
        HTTP statuses after which sending the same again is of no use.
    """

    tells: tuple[str, ...]
    encode: Callable[[Mapping[str, Any], Mapping[str, str]], Message]
    refusals: frozenset[int] = frozenset()

    def has_words_for(self, event_type: str) -> bool:
        """Whether the format can tell of such an event."""
        return any(fnmatch.fnmatchcase(event_type, pattern) for pattern in self.tells)


def _standard(event: Mapping[str, Any], _: Mapping[str, str]) -> Message:
    return Message(as_json(fitted(event, _LONGEST_STANDARD)))


_BAD_REQUEST = frozenset({400})

FORMATS: Mapping[str, Format] = {
    "standard-webhooks": Format(("*",), _standard),
    "alertmanager": Format(CONDITION_EVENTS, lambda event, _: api_message(event), _BAD_REQUEST),
    "alertmanager-webhook": Format(CONDITION_EVENTS, lambda event, _: webhook_message(event)),
    "pagerduty": Format(
        (*CONDITION_EVENTS, "alarm.acknowledged"),
        lambda event, options: pagerduty_message(event, options["routing_key"]),
        _BAD_REQUEST,
    ),
    "cloudevents-structured": Format(("*",), lambda event, options: structured_message(event, options["source"])),
    "cloudevents-binary": Format(("*",), lambda event, options: binary_message(event, options["source"])),
    "cloudevents-kafka": Format(("*",), lambda event, options: kafka_message(event, options["source"])),
    "slack": Format(("*",), lambda event, _: slack_message(event), _BAD_REQUEST),
    "teams": Format(("*",), lambda event, _: teams_message(event), _BAD_REQUEST),
}
"""The formats whose message follows from the event and the endpoint's options alone.

E-mail (`connectors.encoders.mail`) needs an identity and a date besides."""


def encode(name: str, event: Mapping[str, Any], options: Mapping[str, str]) -> Message:
    """Return what is sent for an event in the format of this name."""
    return FORMATS[name].encode(event, options)
