"""CloudEvents 1.0: structured and binary over HTTP, binary over Kafka.

Sources: the CloudEvents specification 1.0.2 (attributes, size limits), its JSON format, its HTTP and Kafka protocol
bindings, and the extensions "sequence", "severity" and "partitioning".
"""

import hashlib
import string
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from connectors.encoders.base import Message, as_json, facts, fitted

__all__ = ["attributes", "binary_message", "kafka_message", "structured_message"]

# Events up to 64 KiB pass everywhere; the attributes need room too.
_LONGEST_DATA = 57_344
_SEVERITY_NUMBERS = {"low": 9, "medium": 13, "high": 17, "critical": 21}
# HTTP binding, 3.1.3.2: printable ASCII but space, double quote and percent stays, all else is percent-encoded.
_HEADER_SAFE = "".join(sorted(set(string.punctuation) - {'"', "%"}))


def attributes(event: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The context attributes; `source` and `id` identify the event, to whichever endpoint it goes.

    Parameters
    ----------
    event
        The canonical event.
    source
        URI reference of this installation.
    """
    about = facts(event)
    named: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"evt_{hashlib.sha256(as_json(event)).hexdigest()[:40]}",
        "source": source,
        "type": f"tsad.{about.type}",
        "subject": about.asset[:256],
        "time": about.timestamp,
        "datacontenttype": "application/json",
        # Sorts as text: transitions first, the actions after each of them next.
        "sequence": f"{about.transition_seq:019d}.{about.action_seq:010d}",
        "partitionkey": about.alarm_id,
        "severitytext": about.severity,
        "severitynumber": _SEVERITY_NUMBERS.get(about.severity, 9),
    }
    return {name: value for name, value in named.items() if value != ""}


def structured_message(event: Mapping[str, Any], source: str) -> Message:
    """Everything in the body, as `application/cloudevents+json`."""
    body = {**attributes(event, source), "data": fitted(event, _LONGEST_DATA)["data"]}
    return Message(as_json(body), "application/cloudevents+json; charset=UTF-8")


def binary_message(event: Mapping[str, Any], source: str) -> Message:
    """Attributes as headers `ce-…`, the data as the body."""
    named = attributes(event, source)
    content_type = named.pop("datacontenttype")
    headers = tuple((f"ce-{name}", quote(str(value), safe=_HEADER_SAFE)) for name, value in named.items())
    return Message(as_json(fitted(event, _LONGEST_DATA)["data"]), content_type, headers)


def kafka_message(event: Mapping[str, Any], source: str) -> Message:
    """Attributes as record headers `ce_…` (plain UTF-8), the data as the value, the alarm as the key."""
    named = attributes(event, source)
    content_type = named.pop("datacontenttype")
    headers = tuple((f"ce_{name}", str(value)) for name, value in named.items())
    return Message(as_json(fitted(event, _LONGEST_DATA)["data"]), content_type, headers, facts(event).alarm_id.encode())
