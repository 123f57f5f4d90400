"""Parts over HTTP, and inspections from systems without Kafka."""

import json
import queue
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from connectors.history.database import History
from connectors.inspection import inspection_schema
from connectors.sources.kafka import KafkaSource
from connectors.sources.memory import MemorySource
from streams.access.tokens import new_token, token_hash
from streams.configuration import Configuration
from streams.errors import InboxFullError
from streams.http import create_application
from streams.inbox import INBOX_PARTITION, Inbox
from streams.service import Service
from tests.streams.line import SECOND, TOPICS, image, records, simulated, streams
from tests.streams.plant import document
from tests.streams.test_service import wait_for


class EndlessSource(MemorySource):
    """Never ends, as a broker."""

    @property
    def finished(self):
        return False


def service_of(path, history, source=None, **http):
    settings = Configuration.model_validate(
        document(
            path, streams=streams(), commit={"every": "20ms"}, http={"enabled": True, "hosts": ["testserver"], **http}
        )
    )
    return Service(settings, source or EndlessSource({topic: [] for topic in TOPICS}), history)


def client_of(service, **headers):
    return TestClient(create_application(service), base_url="http://testserver", headers=headers)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    line = simulated()
    path = tmp_path_factory.mktemp("parts") / "h.duckdb"
    with History(path) as history:
        service = service_of(path, history)
        batches = records(line)
        service.pipeline.handle(list(batches.values()))
        service.pipeline.commit(snapshot=True)
        yield line, client_of(service)


def test_each_part_is_listed_once_with_what_it_rests_on(judged):
    line, client = judged
    found = client.get("/api/v1/parts", params={"limit": 10_000}).json()
    ids = [one["part_id"] for one in found]
    assert len(set(ids)) == len(ids) > 200
    flagged = client.get("/api/v1/parts", params={"flagged": True, "final": True, "limit": 10_000}).json()
    assert 0 < len(flagged) < len(found)
    one = next(part for part in flagged if part["began"] is not None)
    assert one["streams"][0]["name"] == "mixer"
    assert {s["name"] for s in one["streams"]} >= set(one["missing"])
    assert one["p_value"] <= 0.03
    assert one["began"]["station"] in line.settings.stations
    amendments = client.get("/api/v1/parts", params={"part_id": one["part_id"]}).json()
    assert [a["amendment"] for a in sorted(amendments, key=lambda a: a["amendment"])] == list(
        range(1, len(amendments) + 1)
    )
    closer = client.get("/api/v1/parts", params={"closer_imaging": True, "limit": 10_000}).json()
    assert 0 < len(closer) < len(found)
    assert client.get("/api/v1/parts", params={"since": "2030-01-01T00:00:00Z"}).json() == []
    assert client.get("/api/v1/parts", params={"since": "0001-01-01T00:00:00Z"}).status_code == 200
    assert client.get("/api/v1/inspections/schema").json() == inspection_schema()


@pytest.fixture
def running(tmp_path):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        service = service_of(path, history)
        service.start()
        yield history, client_of(service), service
        service.stop()
        assert service.wait(30)


def test_an_inspection_is_stored_before_it_is_acknowledged_and_once(running):
    history, client, _ = running
    one = image("i1", "p1", 0, 1_750_000_000 * SECOND, 1.5)
    for body in (one, [one, image("i2", "p2", 1, 1_750_000_000 * SECOND, 2.5)]):
        answer = client.post("/api/v1/inspections/inspection", json=body)
        assert answer.status_code == 201, answer.text
        stored = history.cursor().execute("SELECT inspection_id FROM inspections ORDER BY ALL").fetchall()
        assert stored == [("i1",)] if body is one else [("i1",), ("i2",)]
    assert history.positions()[TOPICS[2], INBOX_PARTITION] == 3


@pytest.mark.parametrize(
    ("stream", "body", "status", "problem"),
    [
        ("nobody", b"{}", 404, "no inspection stream"),
        ("process", b"{}", 404, "no inspection stream"),
        ("inspection", b"{", 422, "not JSON"),
        ("inspection", b"[]", 422, "0 records"),
        ("inspection", b"{}", 422, "record 0: missing_field"),
        ("inspection", json.dumps(image("i", "p", 0, 10**18, 1.0, pred_score=2)).encode(), 422, "score_out_of_range"),
        ("inspection", b"[NaN]", 422, "record 0"),
        ("inspection", json.dumps(image("i", "p", 2, 10**18, 1.0)).encode(), 422, "unknown_camera"),
        ("inspection", json.dumps(image("i", "p", 0, 10**18, 1.0, station=None)).encode(), 422, "missing_camera"),
        ("inspection", json.dumps(image("i", "p", 0, 4 * 10**18, 1.0)).encode(), 422, "time_in_future"),
    ],
)
def test_bad_requests_are_refused_and_nothing_is_taken(judged, stream, body, status, problem):
    _, client = judged
    answer = client.post(f"/api/v1/inspections/{stream}", content=body)
    assert answer.status_code == status
    assert problem in answer.json()["detail"]


# ---------------------------------------------------------------------------------------------- anomalib

WEBHOOK = Path(__file__).parents[1] / "connectors" / "inspection" / "recorded" / "webhook.json"
DOOR = "/api/v1/inspections/inspection/anomalib"
CAMERA = {"station": "inspection", "camera": "camera-1", "zone": "Europe/Berlin", "model": "patchcore"}


def webhook(**changes):
    return {**json.loads(WEBHOOK.read_text()), "timestamp": "2025-06-15T14:30:05.123456", **changes}


def inspections(history):
    cursor = history.cursor().execute("SELECT part_id, camera, epoch_ns(time), score FROM inspections ORDER BY ALL")
    return cursor.fetchall()


def test_a_message_of_anomalib_is_stored_before_it_is_acknowledged_and_once(running):
    history, client, service = running
    answers = [client.post(DOOR, params={**CAMERA, "part_id": "p1"}, json=webhook()) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], answers[0].text
    assert inspections(history) == [("p1", "camera-1", 1_749_990_605_123_456_000, 0.9213)]
    assert answers[0].json() == answers[1].json()
    (payload,) = history.cursor().execute("SELECT payload FROM inspections").fetchone()
    stored = json.loads(payload)
    assert stored["inspection_id"] == answers[0].json()["inspection_id"]
    assert stored["model"] == {"name": "patchcore", "version": "1", "calibration_id": None}
    assert "image_original" not in payload
    assert service.pipeline.statistics.counts["inspection", "duplicate"] == 1

    more = {**CAMERA, "camera": "camera-2", "version": "2", "calibration_id": "c7", "threshold": 0.4}
    assert client.post(DOOR, params=more, json=webhook()).status_code == 201
    assert [one[:2] for one in inspections(history)] == [("p1", "camera-1"), (None, "camera-2")]


@pytest.mark.parametrize(
    ("query", "body", "problem"),
    [
        ({"camera": "camera-9"}, webhook(), "unknown_camera"),
        ({"zone": "Europe/Atlantis"}, webhook(), "unknown_zone"),
        ({}, webhook(timestamp="2025-10-26T02:30:00"), "ambiguous_time"),
        ({}, webhook(timestamp="2099-01-01T00:00:00"), "time_in_future"),
        ({}, webhook(PredictionResult={}), "missing_field"),
        ({}, [webhook()], "no message of anomalib"),
        ({}, webhook(PredictionResult={"predictions": "x(pred_score=array([nan]))"}), "score_not_finite"),
        ({"threshold": 2}, webhook(), "threshold"),
        ({"station": ""}, webhook(), "station"),
        ({"colour": "red"}, webhook(), "colour"),
    ],
)
def test_what_anomalib_cannot_have_meant_is_refused_and_nothing_is_taken(running, query, body, problem):
    history, client, _ = running
    answer = client.post(DOOR, params={**CAMERA, **query}, json=body)
    assert answer.status_code == 422
    assert problem in answer.text
    # What is taken in after it is committed after it.
    assert client.post(DOOR, params=CAMERA, json=webhook()).status_code == 201
    assert len(inspections(history)) == 1
    assert history.cursor().execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)


def test_only_inspection_streams_take_anomalib_and_only_json(running):
    _, client, _ = running
    assert client.post(DOOR.replace("/inspection/", "/process/"), params=CAMERA, json=webhook()).status_code == 404
    assert client.post(DOOR, params=CAMERA, content=b"{").json()["detail"] == "the body is not JSON"


def test_it_takes_an_operator(tmp_path):
    tokens = {role: new_token() for role in ("viewer", "operator")}
    held = [{"name": f"the {role}", "role": role, "hash": token_hash(token)} for role, token in tokens.items()]
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        service = service_of(path, history, tokens=held)
        service.start()
        for role, status in (("viewer", 403), ("operator", 201)):
            client = client_of(service, authorization=f"Bearer {tokens[role]}")
            assert client.post(DOOR, params=CAMERA, json=webhook()).status_code == status
        service.stop()
        assert service.wait(30)


def test_beside_a_real_broker_it_is_stored_once_across_a_restart(kafka_bootstrap, make_topic, produce, tmp_path):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, json.dumps(image("i1", "p1", 1, 1_749_000_000 * SECOND, 2.5)).encode())])
    settings = document(
        tmp_path / "h.duckdb", streams=[{"kind": "inspections", "name": "inspection", "topic": topic}],
        commit={"every": "20ms"}, http={"enabled": True, "hosts": ["testserver"]},
    )  # fmt: skip
    for _ in range(2):
        with History(tmp_path / "h.duckdb") as history:
            source = KafkaSource([kafka_bootstrap], [topic])
            service = Service(Configuration.model_validate(settings), source, history)
            service.start()
            assert client_of(service).post(DOOR, params=CAMERA, json=webhook()).status_code == 201
            wait_for(lambda history=history: history.positions().get((topic, 0)) == 1)
            service.stop()
            assert service.wait(30)
            assert [one[:2] for one in inspections(history)] == [("p1", "camera-2"), (None, "camera-1")]
    with History(tmp_path / "h.duckdb") as history:
        assert history.positions() == {(topic, 0): 1, (topic, INBOX_PARTITION): 2}


def test_a_full_queue_takes_nothing_and_a_restart_counts_on():
    from datetime import UTC, datetime

    waiting = queue.Queue(maxsize=1)
    inbox = Inbox(waiting, {("t", INBOX_PARTITION): 7, ("t", 0): 99}, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert inbox.put("t", [b"a", b"b"]) == 9
    with pytest.raises(InboxFullError):
        inbox.put("t", [b"c"])
    assert waiting.get()[0].offsets.tolist() == [7, 8]
    assert inbox.put("t", [b"c"]) == 10
    assert not inbox.wait("t", 9, 0)
    inbox.committed({("t", INBOX_PARTITION): 9, ("t", 0): 99})
    assert inbox.wait("t", 9, 0)
    assert np.all(waiting.get()[0].arrivals == 1_767_225_600 * SECOND)
