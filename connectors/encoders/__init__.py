"""The alarm event in the formats of its receivers: pure functions from the canonical document to what is sent."""

from connectors.encoders.base import Message
from connectors.encoders.registry import FORMATS, Format, encode

__all__ = ["FORMATS", "Format", "Message", "encode"]
