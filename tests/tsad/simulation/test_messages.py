import json
from datetime import datetime

import numpy as np
import pytest

from tsad.simulation import PUMP_CHANNELS, messages

PUMP = "plant/utilities/pump-1"


@pytest.fixture(scope="module")
def sent(faulty):
    return list(messages(faulty))


def test_messages_come_in_time_order_and_completely(faulty, sent):
    times = [message.time_ns for message in sent]

    assert times == sorted(times)
    count = sum(int(sensor.present.sum()) for sensor in faulty.sensors.values())
    assert len(sent) == count + faulty.access.times.size + faulty.inspections.times.size
    assert {message.topic_kind for message in sent} == {"sensors", "events", "inspections"}


@pytest.mark.parametrize("asset", [PUMP, "plant/hpc/node-4"])
def test_readings_survive_json_bit_for_bit(faulty, sent, asset):
    sensor = faulty.sensors[asset]
    payloads = [json.loads(json.dumps(message.payload)) for message in sent if message.key == asset]

    values = np.array([list(payload["values"].values()) for payload in payloads]).astype(np.float32)
    assert values.tobytes() == sensor.values[sensor.present].tobytes()
    assert [payload["time"] * 1_000_000 for payload in payloads] == sensor.times[sensor.present].tolist()
    assert tuple(payloads[0]["values"]) == sensor.channels
    assert set(payloads[0]) == {"time", "asset", "values"}


def test_numbers_are_the_shortest_decimals_of_float32(faulty, sent):
    message = next(message for message in sent if message.key == PUMP)

    expected = dict(zip(PUMP_CHANNELS, map(str, faulty.sensors[PUMP].values[0]), strict=True))
    assert {name: json.dumps(value) for name, value in message.payload["values"].items()} == expected


def test_a_silent_asset_sends_nothing(faulty, sent):
    silence = next(fault for fault in faulty.faults if fault.kind == "silence" and fault.asset == PUMP)

    during = [m for m in sent if m.topic_kind == "sensors" and silence.start <= m.time_ns < silence.end]
    assert PUMP not in {message.key for message in during}
    assert len({message.key for message in during}) == 4


def test_labels_never_leak_into_a_message(sent):
    text = {key for message in sent for key in message.payload}

    assert not text & {"odd", "reason", "defect", "processed_at", "fault", "label"}


def test_an_inspection_message_is_the_documented_record(faulty, sent):
    payloads = [message.payload for message in sent if message.topic_kind == "inspections"]
    fields = {
        "inspection_id", "part_id", "station", "camera", "captured_at", "model", "pred_score", "raw_score",
        "threshold", "pred_label", "regions", "image_ref",
    }  # fmt: skip

    assert all(set(payload) == fields for payload in payloads)
    assert len({payload["inspection_id"] for payload in payloads}) == len(payloads)
    assert any(payload["part_id"] is None for payload in payloads)
    rejected = next(payload for payload in payloads if payload["pred_label"])
    assert set(rejected["regions"][0]) == {"bbox", "area", "peak"}
    captured = [round(datetime.fromisoformat(payload["captured_at"]).timestamp() * 1_000) for payload in payloads]
    assert [ms * 1_000_000 for ms in captured] == faulty.inspections.times.tolist()
    json.dumps(payloads)
