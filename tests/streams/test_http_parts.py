"""Parts over HTTP, and inspections from systems without Kafka."""

import json
import queue

import numpy as np
import pytest
from fastapi.testclient import TestClient

from connectors.history.database import History
from connectors.inspection import inspection_schema
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.errors import InboxFullError
from streams.http import create_application
from streams.inbox import INBOX_PARTITION, Inbox
from streams.service import Service
from tests.streams.line import SECOND, TOPICS, image, records, simulated, streams
from tests.streams.plant import document


class EndlessSource(MemorySource):
    """Never ends, as a broker."""

    @property
    def finished(self):
        return False


def service_of(path, history, **topics):
    settings = Configuration.model_validate(
        document(path, streams=streams(), commit={"every": "20ms"}, http={"enabled": True, "hosts": ["testserver"]})
    )
    return Service(settings, EndlessSource(topics or {topic: [] for topic in TOPICS}), history)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    line = simulated()
    path = tmp_path_factory.mktemp("parts") / "h.duckdb"
    with History(path) as history:
        service = service_of(path, history)
        batches = records(line)
        service.pipeline.handle(list(batches.values()))
        service.pipeline.commit(snapshot=True)
        yield line, TestClient(create_application(service), base_url="http://testserver")


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
        yield history, TestClient(create_application(service), base_url="http://testserver"), service
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
    ],
)
def test_bad_requests_are_refused_and_nothing_is_taken(judged, stream, body, status, problem):
    _, client = judged
    answer = client.post(f"/api/v1/inspections/{stream}", content=body)
    assert answer.status_code == status
    assert problem in answer.json()["detail"]


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
