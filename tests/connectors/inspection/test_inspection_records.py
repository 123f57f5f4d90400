"""Inspection records: what is taken, what is refused and why, the shipped schema, and anomalib's shapes."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from connectors.inspection import BadInspectionError, decode_inspection, inspection_schema
from connectors.inspection.anomalib import AnomalibCamera, record_of_prediction, record_of_webhook
from connectors.inspection.record import InspectionModel, content_digest, schema_of_record

RECORDED = Path(__file__).parent / "recorded"
GOOD = {
    "inspection_id": "i-1",
    "part_id": "p-1",
    "station": "end",
    "camera": "top",
    "captured_at": "2026-03-01T12:00:00+01:00",
    "model": {"name": "patchcore", "version": "2", "calibration_id": "c7"},
    "pred_score": 0.93,
    "raw_score": 3.25,
    "threshold": 2.0,
    "pred_label": True,
    "regions": [{"bbox": [1, 2, 30, 40], "area": 900, "peak": 0.9}],
    "image_ref": "s3://images/p-1.png",
    "map_ref": None,
    "shift": "early",
}
CAMERA = AnomalibCamera("end", "top", InspectionModel("patchcore", "2", "c7"), "Europe/Berlin")


def encoded(**changes):
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v != "gone"}).encode()


def test_a_record_is_read_and_the_unclipped_score_preferred():
    record, captured = decode_inspection(encoded())
    assert record.score == 3.25
    assert captured == round(datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp()) * 10**9
    assert record.model.key == "patchcore/2/c7"
    assert decode_inspection(encoded(raw_score=None))[0].score == 0.93


BAD = [
    (b"", "empty_message"),
    (b"{broken", "malformed_json"),
    (b"[]", "wrong_type"),
    (encoded(inspection_id="gone"), "missing_field"),
    (encoded(inspection_id=""), "wrong_type"),
    (encoded(raw_score=None, pred_score=None), "missing_field"),
    (encoded(pred_score=1.2), "score_out_of_range"),
    (encoded(pred_score=-0.1), "score_out_of_range"),
    (encoded(raw_score=float("nan")), "score_not_finite"),
    (encoded(pred_score=float("inf")), "score_not_finite"),
    (encoded(raw_score="3"), "wrong_type"),
    (encoded(captured_at="2026-03-01T12:00:00"), "time_without_zone"),
    (encoded(captured_at="yesterday"), "bad_time"),
    (encoded(captured_at="gone"), "missing_field"),
    (encoded(captured_at="2126-03-01T12:00:00Z"), "bad_time"),
    (encoded(image_ref="data:image/png;base64,AAAA"), "pixels_not_links"),
    (encoded(map_ref="x" * 3000), "pixels_not_links"),
    (encoded(regions=[{"bbox": [1, 2]}]), "wrong_type"),
    (b'{"inspection_id": "\xff"}', "malformed_json"),
    (b'{"a":' * 100_000, "malformed_json"),
]


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_what_cannot_be_used_is_refused_with_a_reason(value, reason):
    with pytest.raises(BadInspectionError) as refused:
        decode_inspection(value)
    assert refused.value.reason == reason
    assert str(refused.value)


def test_other_names_and_units_of_time_are_the_streams():
    value = json.dumps({"inspection_id": "i", "at": 1_700_000_000_000, "raw_score": 1}).encode()
    assert decode_inspection(value, "at", "ms")[1] == 1_700_000_000_000_000_000
    with pytest.raises(BadInspectionError, match="captured_at"):
        decode_inspection(value)


def test_the_shipped_schema_is_that_of_the_code_and_agrees_with_it():
    schema = inspection_schema()
    assert schema == schema_of_record()
    checker = jsonschema.Draft202012Validator(schema)
    checker.check_schema(schema)
    checker.validate(json.loads(encoded()))
    judged_by_code_alone = {"time_without_zone", "bad_time", "score_not_finite", "malformed_json", "empty_message"}
    for value, reason in BAD:
        if reason in judged_by_code_alone or b"data:" in value:
            continue
        assert not checker.is_valid(json.loads(value)), (value, reason)


def test_contents_are_compared_without_the_order_of_fields():
    assert content_digest(b'{"a": 1, "b": [2]}') == content_digest(b'{"b":[2],"a":1}')
    assert content_digest(b'{"a": 1}') != content_digest(b'{"a": 2}')


# ---------------------------------------------------------------------------------------------- anomalib


def recorded(name):
    return json.loads((RECORDED / name).read_text())


def test_a_prediction_item_becomes_a_record():
    made = record_of_prediction(recorded("prediction_item.json"), CAMERA, datetime(2026, 3, 1, tzinfo=UTC), "p-9")
    record, _ = decode_inspection(json.dumps(made).encode())
    assert (record.pred_score, record.raw_score, record.pred_label, record.threshold) == (0.7321, None, True, 0.5)
    assert (record.part_id, record.station, record.camera) == ("p-9", "end", "top")
    assert record.image_ref == "lines/7/2026-03-01/000123.png"
    again = record_of_prediction(recorded("prediction_item.json"), CAMERA, datetime(2026, 3, 1, tzinfo=UTC), "p-9")
    assert again == made


def test_a_webhook_message_loses_its_pixels_and_gets_a_zone():
    made = record_of_webhook(recorded("webhook.json"), CAMERA)
    record, captured = decode_inspection(json.dumps(made).encode())
    assert record.pred_score == 0.9213
    assert record.pred_label is True
    assert record.part_id is None
    assert captured == round(datetime(2026, 3, 1, 13, 30, 5, tzinfo=UTC).timestamp()) * 10**9 + 123456000
    assert len(json.dumps(made)) < 600


def changed(**changes):
    document = recorded("webhook.json")
    text = document["PredictionResult"]["predictions"]
    document["PredictionResult"]["predictions"] = changes.pop("predictions", lambda t: t)(text)
    return {**document, **changes}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "missing_field"),
        (changed(predictions=lambda _: "NumpyImageBatch(pred_score=None)"), "missing_field"),
        (changed(predictions=lambda _: "x(pred_score=array([0.1, 0.9], dtype=float32))"), "several_images"),
        (changed(timestamp="noon"), "bad_time"),
        (changed(timestamp=None), "bad_time"),
        (changed(timestamp="2026-10-25T02:30:00"), "ambiguous_time"),
        (changed(timestamp="2026-03-29T02:30:00"), "ambiguous_time"),
        (changed(timestamp="0001-01-01T00:00:00+05:00"), "bad_time"),
        (changed(predictions=lambda _: "x(pred_score=array([0.1], dtype=float32"), "missing_field"),
        ({**changed(), "PredictionResult": {"image_original": {}}}, "missing_field"),
    ],
)
def test_messages_that_tell_too_little_are_refused(document, reason):
    with pytest.raises(BadInspectionError) as refused:
        record_of_webhook(document, CAMERA)
    assert refused.value.reason == reason


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "Europe", "../etc/passwd", ""])
def test_a_zone_that_is_none_is_refused(zone):
    camera = AnomalibCamera("end", "top", InspectionModel("patchcore"), zone)
    with pytest.raises(BadInspectionError, match="time zone") as refused:
        record_of_webhook(recorded("webhook.json"), camera)
    assert refused.value.reason == "unknown_zone"


@pytest.mark.parametrize("text", ["pred_score=array(" * 60_000, "pred_score=array(" + " " * 1_000_000])
def test_a_text_made_to_be_slow_is_read_as_fast_as_any(text):
    # Looked at once, it takes milliseconds; once for each of its parts, minutes.
    began = time.process_time()
    with pytest.raises(BadInspectionError):
        record_of_webhook(changed(predictions=lambda _: text), CAMERA)
    assert time.process_time() - began < 5


def test_tensors_are_read_as_arrays_are_and_nan_is_refused_later():
    tensor = changed(predictions=lambda _: "ImageBatch(pred_score=tensor([0.2500], device='cuda:0'), pred_label=None)")
    assert record_of_webhook(tensor, CAMERA)["pred_score"] == 0.25
    nan = changed(predictions=lambda _: "NumpyImageBatch(pred_score=array([nan], dtype=float32))")
    with pytest.raises(BadInspectionError) as refused:
        decode_inspection(json.dumps(record_of_webhook(nan, CAMERA)).encode())
    assert refused.value.reason == "score_not_finite"


def test_items_of_another_shape_and_times_without_zone_are_refused():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    for item, captured, reason in (
        ({"pred_score": "high"}, at, "wrong_type"),
        ({"pred_score": []}, at, "several_images"),
        ({"pred_score": 0.5}, at.replace(tzinfo=None), "time_without_zone"),
    ):
        with pytest.raises(BadInspectionError) as refused:
            record_of_prediction(item, CAMERA, captured)
        assert refused.value.reason == reason
