"""Turning a recording into the messages that the plant would send, in time order."""

import heapq
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from tsad.simulation.recording import AccessRecording, InspectionRecording, PlantRecording, SensorRecording

__all__ = ["Message", "TopicKind", "messages"]

TopicKind = Literal["sensors", "events", "inspections"]

# Rows turned into text at once: large enough for NumPy to be quick, small enough to keep memory flat.
_CHUNK_ROWS = 1_024
_MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready for `json.dumps`.

    Attributes
    ----------
    topic_kind : {"sensors", "events", "inspections"}
        Which kind of topic it belongs on.
    key : str
        What its order is kept for: the asset, the user or the station.
    time_ns : int
        Event time, nanoseconds UTC.
    payload : dict
        Plain strings, numbers, booleans, lists and dicts. Labels are never in it.
    """

    topic_kind: TopicKind
    key: str
    time_ns: int
    payload: dict[str, object]


def messages(recording: PlantRecording) -> Iterator[Message]:
    """Yield every message of a recording in order of event time.

    Messages of one time come in a fixed order: pumps and nodes as the settings name them, then access events, then
    inspections. Silent rows have no message. Numbers are the shortest decimals that round to the float32 readings,
    so `numpy.float32` of what a JSON parser returns equals the recording bit for bit.

    Parameters
    ----------
    recording : PlantRecording
        What was simulated.
    """
    sources = [_sensor_messages(sensor) for sensor in recording.sensors.values()]
    sources += [_access_messages(recording.access), _inspection_messages(recording.inspections)]
    return heapq.merge(*sources, key=operator.attrgetter("time_ns"))


def _shortest(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[object]:
    """Return nested lists of floats whose shortest decimal form is that of the float32 values.

    Through text: float32 0.1 widened to float64 would print as 0.10000000149011612.
    """
    result: list[object] = values.astype(np.str_).astype(np.float64).tolist()
    return result


def _sensor_messages(sensor: SensorRecording) -> Iterator[Message]:
    rows = np.flatnonzero(sensor.present)
    for first in range(0, rows.size, _CHUNK_ROWS):
        chunk = rows[first : first + _CHUNK_ROWS]
        times = sensor.times[chunk].tolist()
        for time_ns, values in zip(times, _shortest(sensor.values[chunk]), strict=True):
            payload: dict[str, object] = {
                "time": time_ns // _MILLISECOND,
                "asset": sensor.asset,
                "values": dict(zip(sensor.channels, values, strict=True)),  # type: ignore[call-overload]
            }
            yield Message("sensors", sensor.asset, time_ns, payload)


def _access_messages(access: AccessRecording) -> Iterator[Message]:
    columns = (access.times, access.user, access.host, access.process, access.action, access.source_zone)
    for time_ns, user, host, process, action, zone in zip(*(column.tolist() for column in columns), strict=True):
        payload: dict[str, object] = {
            "time": time_ns // _MILLISECOND,
            "user": user,
            "host": host,
            "process": process,
            "action": action,
            "source_zone": zone,
        }
        yield Message("events", user, time_ns, payload)


def _inspection_messages(inspections: InspectionRecording) -> Iterator[Message]:
    scores = _shortest(inspections.raw_score)
    normalised = _shortest(inspections.pred_score)
    columns = (
        inspections.times,
        inspections.part,
        inspections.part_known,
        inspections.camera,
        inspections.pred_label,
        inspections.bbox,
    )
    rows = zip(*(column.tolist() for column in columns), scores, normalised, strict=True)
    for time_ns, part, known, camera, label, bbox, raw, score in rows:
        inspection_id = f"{inspections.station}/{part:08d}/{camera}"
        area = bbox[2] * bbox[3]
        payload: dict[str, object] = {
            "inspection_id": inspection_id,
            "part_id": f"part-{part:08d}" if known else None,
            "station": inspections.station,
            "camera": f"camera-{camera + 1}",
            "captured_at": _iso(time_ns),
            "model": dict(inspections.model),
            "pred_score": score,
            "raw_score": raw,
            "threshold": inspections.threshold,
            "pred_label": label,
            "regions": [{"bbox": bbox, "area": area, "peak": raw}] if label else [],
            "image_ref": f"images://{inspection_id}.png",
        }
        yield Message("inspections", inspections.station, time_ns, payload)


def _iso(time_ns: int) -> str:
    """Write a time as RFC 3339 UTC with milliseconds; integer arithmetic, so that none is lost."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // _MILLISECOND:03d}Z"
