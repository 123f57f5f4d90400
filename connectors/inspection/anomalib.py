"""What anomalib says of an image, as inspection records.

Two shapes are understood: the fields of its prediction items (``pred_score``, ``pred_label``, ``image_path`` …), as
JSON, and the message of its inspection application's webhook. Neither tells a part or a camera, so both are handed in.
anomalib itself is not needed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.errors import BadInspectionError
from connectors.inspection.record import InspectionModel

__all__ = ["AnomalibCamera", "record_of_prediction", "record_of_webhook"]

_NORMALISED = "anomalib normalises to 0.5 at its threshold and clips to 0 to 1: no probability, and not comparable"
# No parenthesis within: of a text made to be slow, each character is looked at once.
_FIELD = r"\b{name}=(?:array|tensor)\(([^()]*)\)"
_OPTIONS = re.compile(r",\s*(?:dtype|device)=")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf|True|False")
_LONGEST_ID = 16


@dataclass(frozen=True, slots=True)
class AnomalibCamera:
    """Which camera an instance of anomalib looks through.

    Attributes
    ----------
    station, camera
        Where it stands.
    model
        Which model runs; a new version, training or calibration needs a new one.
    zone
        Time zone of its computer (IANA name): the application writes local times without one.
    threshold
        The point of decision of the normalised score, ``1 - sensitivity``.
    """

    station: str
    camera: str
    model: InspectionModel
    zone: str
    threshold: float = 0.5


def record_of_prediction(
    item: Mapping[str, Any], camera: AnomalibCamera, captured: datetime, part_id: str | None = None
) -> dict[str, Any]:
    """Make a record of the fields of one prediction item, as JSON holds them (numbers, or lists of one number).

    Parameters
    ----------
    item
        ``pred_score``, and where there are any ``pred_label``, ``image_path``. Maps and masks are passed over.
    camera
        Where it comes from.
    captured
        When the image was taken, with its zone.
    part_id
        Of which part, where that is known.

    Raises
    ------
    BadInspectionError
        There is no score, or more than one image's.

    Examples
    --------
    >>> camera = AnomalibCamera("end", "top", InspectionModel("patchcore"), "Europe/Berlin")
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> record = record_of_prediction({"pred_score": [0.73], "pred_label": [True]}, camera, at, "p1")
    >>> record["pred_score"], record["pred_label"], record["captured_at"], record["part_id"]
    (0.73, True, '2026-01-01T00:00:00+00:00', 'p1')
    """
    if captured.tzinfo is None:
        raise BadInspectionError("time_without_zone", f"the time of capture {captured} has no zone")
    score = _single(item.get("pred_score"), "pred_score")
    if score is None:
        raise BadInspectionError("missing_field", "the prediction has no 'pred_score'")
    label = _single(item.get("pred_label"), "pred_label")
    path = item.get("image_path")
    if isinstance(path, list):
        path = path[0] if len(path) == 1 else None
    try:
        moment = captured.astimezone(UTC).isoformat()
    except OverflowError as error:
        raise BadInspectionError("bad_time", f"the time of capture {captured} cannot be") from error
    key = json.dumps([camera.station, camera.camera, moment, score, path])
    return {
        "inspection_id": f"anomalib-{blake2b(key.encode(), digest_size=_LONGEST_ID).hexdigest()}",
        "part_id": part_id,
        "station": camera.station,
        "camera": camera.camera,
        "captured_at": moment,
        "model": {"name": camera.model.name, "version": camera.model.version,
                  "calibration_id": camera.model.calibration_id},
        "pred_score": score,
        "threshold": camera.threshold,
        "pred_label": None if label is None else bool(label),
        "image_ref": path if isinstance(path, str) else None,
        "note": _NORMALISED,
    }  # fmt: skip


def record_of_webhook(
    document: Mapping[str, Any], camera: AnomalibCamera, part_id: str | None = None
) -> dict[str, Any]:
    """Make a record of a message of the inspection application.

    Its quirks: ``timestamp`` is local and without a zone, and tells when it was sent; ``predictions`` is what Python
    prints of an object; images are inline (they are dropped here: a record holds links).

    Parameters
    ----------
    document
        ``{"timestamp": …, "PredictionResult": {"predictions": "NumpyImageBatch(…)", …}}``.
    camera, part_id
        Where it comes from, and of which part.

    Raises
    ------
    BadInspectionError
        It is of another shape, has no score, or was sent with predictions of several images.
    """
    result = document.get("PredictionResult")
    printed = result.get("predictions") if isinstance(result, Mapping) else None
    if not isinstance(printed, str):
        raise BadInspectionError(
            "missing_field", "'PredictionResult.predictions' is missing; switch the output format 'predictions' on"
        )
    stamp = document.get("timestamp")
    try:
        local = datetime.fromisoformat(stamp) if isinstance(stamp, str) else None
    except ValueError:
        local = None
    if local is None:
        raise BadInspectionError("bad_time", f"'timestamp' is {stamp!r}, not an ISO 8601 text")
    if local.tzinfo is None:
        local = _in_zone(local, camera.zone)
    item = {name: _printed(printed, name) for name in ("pred_score", "pred_label")}
    return record_of_prediction(item, camera, local, part_id)


def _in_zone(local: datetime, zone: str) -> datetime:
    """A local time with its zone; the hour that comes twice in autumn, or never in spring, is refused."""
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadInspectionError(
            "unknown_zone", f"there is no time zone {zone!r}; give an IANA name such as Europe/Rome"
        ) from error
    moments = [local.replace(tzinfo=known, fold=fold) for fold in (0, 1)]
    if moments[0].utcoffset() != moments[1].utcoffset():
        raise BadInspectionError(
            "ambiguous_time", f"{local.isoformat()} in {zone} comes twice or never; run that computer in UTC"
        )
    return moments[0]


def _printed(text: str, name: str) -> list[Any] | None:
    """The values of one field of a printed object; None where it is not there."""
    found = re.search(_FIELD.format(name=name), text)
    if found is None:
        return None
    words = {"True": True, "False": False}
    numbers = _NUMBER.findall(_OPTIONS.split(found[1], maxsplit=1)[0])
    return [words[w] if w in words else float(w) for w in numbers]


def _single(value: Any, name: str) -> Any:
    while isinstance(value, list):
        if len(value) != 1:
            raise BadInspectionError("several_images", f"{name!r} holds {len(value)} values; one image a record")
        value = value[0]
    if value is not None and not isinstance(value, bool | int | float):
        raise BadInspectionError("wrong_type", f"{name!r} is {value!r}, not a number")
    return value
