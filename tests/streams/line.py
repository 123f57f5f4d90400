"""A small line for the daemon's tests: rows of three stations, genealogy, and inspection results."""

import json
from datetime import UTC, datetime

import numpy as np

from connectors.sources.base import RecordBatch
from tsad.simulation.inspection_line import InspectionLineSettings, simulate_line

TOPICS = ("line.process", "line.genealogy", "inspection.results")
SECOND = 10**9


def iso(ns):
    return datetime.fromtimestamp(ns // SECOND, tz=UTC).isoformat().replace("+00:00", f".{ns % SECOND:09d}"[:7] + "Z")


def simulated(parts=260, **changes):
    settings = {"clean_parts": 90, "defect_share": 0.2, "channels": 2, "dependence": 0.0, "missing_images": 0.03}
    settings["kind_shares"] = (0.7, 0.1, 0.1, 0.1)
    return simulate_line(InspectionLineSettings(parts=parts, **{**settings, **changes}))


def records(line):
    """Record batches of every topic, by topic, in order of arrival."""
    process, genealogy, images = [], [], []
    for row, time in enumerate(line.row_times.tolist()):
        for station, name in enumerate(line.settings.stations):
            values = {f"c{c}": float(str(v)) for c, v in enumerate(line.values[station, row])}
            process.append((time + SECOND // 2, {"time": time // 10**6, "asset": name, "values": values}))
    for part, name in enumerate(line.part):
        for station, place in enumerate(line.settings.stations):
            start, end = int(line.started[part, station]), int(line.ended[part, station])
            message = {"part_id": name, "station": place, "started": iso(start), "ended": iso(end)}
            genealogy.append((end + SECOND // 2, message))
        for camera in range(line.captured.shape[1]):
            arrival, captured = int(line.image_arrival[part, camera]), int(line.captured[part, camera])
            if arrival >= 0:
                score = line.image_score[part, camera]
                images.append((arrival, image(f"{name}-{camera}", name, camera, captured, score)))
    found = {}
    for topic, messages in zip(TOPICS, (process, genealogy, images), strict=True):
        messages.sort(key=lambda one: one[0])
        values = [json.dumps(message).encode() for _, message in messages]
        arrivals = np.array([arrival for arrival, _ in messages], np.int64)
        found[topic] = RecordBatch(topic, 0, values, np.arange(len(values), dtype=np.int64), arrivals)
    return found


def image(identity, part, camera, captured, score, **changes):
    return {
        "inspection_id": identity,
        "part_id": part,
        "station": "inspection",
        "camera": f"camera-{camera + 1}",
        "captured_at": iso(captured),
        "model": {"name": "patchcore", "version": "1"},
        "raw_score": float(score),
        **changes,
    }


def streams(**joining):
    views = [{"station": "inspection", "camera": f"camera-{c}", "after": "oven"} for c in (1, 2)]
    return [
        {
            "kind": "numeric",
            "name": "process",
            "topic": TOPICS[0],
            "step": 1,
            "train_rows": 200,
            "detectors": ["robust"],
            "alarm": {"false_alarms_per_day": 500},
            "history": {"keep": "notable"},
        },
        {"kind": "genealogy", "name": "genealogy", "topic": TOPICS[1]},
        {
            "kind": "inspections",
            "name": "inspection",
            "topic": TOPICS[2],
            "joining": {
                "genealogy_stream": "genealogy",
                "process_stream": "process",
                "steps": ["mixer", "press", "oven"],
                "views": views,
                "wait": "2min",
                "train_parts": 50,
                "min_pairs": 30,
                "false_parts": 0.03,
                "stands": "10min",
                **joining,
            },
        },
    ]
