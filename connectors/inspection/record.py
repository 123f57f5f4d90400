"""The record of an inspected image, version 1: what it holds, its JSON schema, and how it is checked."""

import hashlib
import json
import math
from datetime import datetime
from importlib import resources
from typing import Annotated, Any

import msgspec

from connectors.decoding import TimeUnit, decode_time
from connectors.errors import BadInspectionError

__all__ = [
    "SCHEMA_ID",
    "InspectionModel",
    "InspectionRecord",
    "Region",
    "content_digest",
    "decode_inspection",
    "identity_digest",
    "inspection_schema",
    "schema_of_record",
]

SCHEMA_ID = "urn:tsad:inspection-result:1"
"""Rises when a field changes its meaning or goes; fields may be added without."""

_FILE = "inspection_result.schema.json"
_LONGEST_LINK = 2048

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Link = Annotated[str, msgspec.Meta(max_length=_LONGEST_LINK, description="a link, never the pixels")]


class InspectionModel(msgspec.Struct, frozen=True):
    """What made the score; scores of different versions or calibrations are not compared."""

    name: _Name
    version: _Name = "1"
    calibration_id: str | None = None

    @property
    def key(self) -> str:
        """One text for all three."""
        return "/".join((self.name, self.version, self.calibration_id or ""))


class Region(msgspec.Struct, frozen=True):
    """A conspicuous region: x, y, width and height in pixels, its area, and the peak of the map in it."""

    bbox: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]
    area: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    peak: float | None = None


class InspectionRecord(msgspec.Struct, frozen=True):
    """One image of one part."""

    inspection_id: _Name
    captured_at: Annotated[
        str | int | float,
        msgspec.Meta(description="RFC 3339 with its zone; a number where the stream's time_unit says so"),
    ]
    part_id: _Name | None = None
    station: _Name | None = None
    camera: _Name | None = None
    model: InspectionModel | None = None
    pred_score: Annotated[_Share | None, msgspec.Meta(description="normalised and clipped to 0 to 1")] = None
    raw_score: Annotated[float | None, msgspec.Meta(description="as the model gave it; preferred")] = None
    threshold: float | None = None
    pred_label: bool | None = None
    regions: list[Region] = []
    image_ref: _Link | None = None
    map_ref: _Link | None = None

    @property
    def score(self) -> float:
        """The score that counts: clipping has cut the tails off the other one."""
        score = self.pred_score if self.raw_score is None else self.raw_score
        assert score is not None
        return score


_DECODER = msgspec.json.Decoder(InspectionRecord)


def decode_inspection(
    value: bytes | None, time: str = "captured_at", unit: TimeUnit = "iso"
) -> tuple[InspectionRecord, int]:
    """Check one record.

    Parameters
    ----------
    value
        JSON; fields that are not named here are passed over (and kept where the record is kept).
    time, unit
        Field and unit of the time of capture.

    Returns
    -------
    record, captured
        What it holds, and the time of capture, ns UTC.

    Raises
    ------
    BadInspectionError
        ``empty_message``, ``malformed_json``, ``missing_field``, ``wrong_type``, ``score_not_finite``,
        ``score_out_of_range``, ``time_without_zone``, ``bad_time``, ``pixels_not_links``.

    Examples
    --------
    >>> record, captured = decode_inspection(
    ...     b'{"inspection_id": "i1", "captured_at": "2026-01-01T00:00:00Z", "raw_score": 2.5, "pred_score": 1.0}'
    ... )
    >>> record.score, captured
    (2.5, 1767225600000000000)
    """
    if not value:
        raise BadInspectionError("empty_message", "the record has no value")
    try:
        record = _DECODER.decode(value) if time == "captured_at" else _renamed(value, time)
    except msgspec.ValidationError as error:
        raise _refused(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if _has_nonfinite(value):
            raise BadInspectionError("score_not_finite", "the record holds NaN or Infinity") from error
        raise BadInspectionError("malformed_json", str(error)) from error
    if record.raw_score is None and record.pred_score is None:
        raise BadInspectionError("missing_field", "neither 'raw_score' nor 'pred_score' is a number")
    if not math.isfinite(record.score):
        raise BadInspectionError("score_not_finite", f"the score is {record.score}")
    for name in ("image_ref", "map_ref"):
        link = getattr(record, name)
        if link is not None and link[:5].lower() == "data:":
            raise BadInspectionError("pixels_not_links", f"{name!r} holds pixels; store them, and send a link")
    return record, _captured(record.captured_at, unit)


def _captured(value: str | float, unit: TimeUnit) -> int:
    try:
        if unit == "iso" and isinstance(value, str) and datetime.fromisoformat(value).tzinfo is None:
            raise BadInspectionError("time_without_zone", f"the time of capture {value!r} has no zone; add Z or +hh:mm")
        return decode_time(value, unit)
    except (ValueError, OverflowError) as error:
        raise BadInspectionError("bad_time", str(error)) from error


def _renamed(value: bytes, time: str) -> InspectionRecord:
    document = msgspec.json.decode(value)
    if isinstance(document, dict) and time in document:
        document = {**document, "captured_at": document[time]}
    return msgspec.convert(document, InspectionRecord)


def _refused(detail: str) -> BadInspectionError:
    if "missing required field" in detail:
        return BadInspectionError("missing_field", detail)
    if "$.pred_score" in detail and ("<= 1" in detail or ">= 0" in detail):
        return BadInspectionError("score_out_of_range", f"{detail}; pred_score is normalised, send others as raw_score")
    if "_ref" in detail and "length" in detail:
        return BadInspectionError("pixels_not_links", f"{detail}; store images, and send a link")
    return BadInspectionError("wrong_type", detail)


def _has_nonfinite(value: bytes) -> bool:
    """Whether it is JSON but for NaN and infinities, which some producers write."""
    found: list[str] = []
    try:
        json.loads(value, parse_constant=found.append)
    except (ValueError, RecursionError):
        return False
    return bool(found)


def content_digest(value: bytes) -> int:
    """A number of 64 bits that tells contents apart; the order of fields does not matter."""
    canonical = json.dumps(msgspec.json.decode(value), sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(canonical.encode(), digest_size=8).digest(), "little", signed=True)


def identity_digest(inspection_id: str) -> int:
    """A number of 64 bits for an inspection's id."""
    return int.from_bytes(hashlib.blake2b(inspection_id.encode(), digest_size=8).digest(), "little", signed=True)


def schema_of_record() -> dict[str, Any]:
    """The JSON schema as the code has it; the shipped file holds the same."""
    (schema,), parts = msgspec.json.schema_components([InspectionRecord], ref_template="#/$defs/{name}")
    body = parts.pop(schema["$ref"].rsplit("/", 1)[1])
    body["anyOf"] = [
        {"required": [name], "properties": {name: {"type": "number"}}} for name in ("raw_score", "pred_score")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **body,
        "$defs": parts,
    }


def inspection_schema() -> dict[str, Any]:
    """The JSON schema that is shipped."""
    text = resources.files("connectors.inspection").joinpath(_FILE).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
