"""The daemon's threads, with real parts."""

import json
import threading
import time
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from connectors.history.database import History
from connectors.sources.kafka import KafkaSource
from connectors.sources.memory import MemorySource
from connectors.webhooks import WebhookReceiver
from streams.configuration import Configuration
from streams.console.views import timeline
from streams.errors import StreamsError
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.streams.plant import SECRET, contents, document, messages, stream
from tsad.learning import SeriesLearning


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        threading.Event().wait(0.02)


def run_to_the_end(path, source, **changes):
    with History(path) as history:
        service = Service(Configuration.model_validate(document(path, **changes)), source, history)
        service.start()
        assert service.wait(60)
        return contents(history)


@pytest.fixture(scope="module")
def values():
    return messages()


@pytest.fixture(scope="module")
def expected(values, tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "h.duckdb"
    return run_to_the_end(path, MemorySource({"plant": values}))


def test_ends_with_its_source_and_has_committed_everything(expected, values):
    assert len(expected["samples"]) == len(values)
    assert expected["positions"] == [repr(("plant", 0, len(values)))]


def test_batches_commits_and_snapshots_may_be_as_small_as_they_like(expected, values, tmp_path):
    found = run_to_the_end(
        tmp_path / "h.duckdb",
        MemorySource({"plant": values}, batch_records=37),
        commit={"rows": 50, "every": 0.05, "snapshot_every": 0},
    )

    assert found == expected


def test_kafka_gives_the_same_as_memory(kafka_bootstrap, make_topic, produce, values, expected, tmp_path):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, v) for v in values], compression_type="zstd")
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        configuration = Configuration.model_validate(document(path, streams=[stream(topic=topic)]))
        service = Service(configuration, KafkaSource([kafka_bootstrap], [topic]), history)
        service.start()
        wait_for(lambda: service.pipeline.statistics.records >= len(values))
        service.stop()
        assert service.wait(10)
        found = contents(history)

    for name in ("samples", "rollups", "transitions", "fits"):
        assert found[name] == expected[name]


def test_alarms_arrive_signed(values, tmp_path):
    path = tmp_path / "h.duckdb"
    with WebhookReceiver([SECRET]) as receiver, History(path) as history:
        configuration = Configuration.model_validate(document(path, webhook=receiver.url))
        service = Service(configuration, MemorySource({"plant": values}), history)
        service.start()
        receiver.inbox.wait_for(4)
        service.wait(30)
        received = [json.loads(hook.body) for hook in receiver.inbox.webhooks]

    assert received[0]["type"] == "alarm.raised"
    assert received[0]["data"]["contributions"][0]["channel"] == "flow"
    assert {r["data"]["asset"] for r in received} == {"pump-0", "pump-1"}


class _StuckHistory:
    """A history whose commits wait until they are let go."""

    def __init__(self, history):
        self._history = history
        self.gate = threading.Event()

    def __getattr__(self, name):
        return getattr(self._history, name)

    def commit(self, commit):
        self.gate.wait(30)
        self._history.commit(commit)


class _CountingSource(MemorySource):
    polls = 0

    def poll(self, timeout):
        self.polls += 1
        return super().poll(timeout)


def test_the_source_is_polled_on_while_the_work_stands_still(values, tmp_path):
    # A Kafka client that is not polled is thrown out of its group and loses its connections.
    source = _CountingSource({"plant": values}, batch_records=10)
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        stuck = _StuckHistory(history)
        configuration = Configuration.model_validate(document(path, commit={"rows": 1}))
        service = Service(configuration, source, stuck)
        service.start()
        wait_for(lambda: source.polls > 12)
        before = source.polls
        wait_for(lambda: source.polls > before + 5)
        stuck.gate.set()
        assert service.wait(60)
        assert len(contents(history)["samples"]) == len(values)


def test_learning_is_broken_off_by_a_stop_and_begins_anew_at_the_next_start(values, expected, tmp_path, monkeypatch):
    path = tmp_path / "h.duckdb"
    learning = threading.Event()
    learn = SeriesLearning.fit

    def learn_and_stop(self, *arguments):
        learning.set()
        service.stop()
        return learn(self, *arguments)

    with History(path) as history:
        service = Service(Configuration.model_validate(document(path)), MemorySource({"plant": values}), history)
        with monkeypatch.context() as during:
            during.setattr(SeriesLearning, "fit", learn_and_stop)
            service.start()
            assert service.wait(60)
        assert learning.is_set()
        # The first of two series was learnt, the second was not begun, and nothing of it all is there.
        assert contents(history)["samples"] == []

    assert run_to_the_end(path, MemorySource({"plant": values})) == expected


def test_a_thread_that_fails_ends_the_service_and_says_why(tmp_path):
    class Broken(MemorySource):
        def poll(self, timeout):
            raise RuntimeError("the cable is out")

    path = tmp_path / "h.duckdb"
    with History(path) as history:
        service = Service(Configuration.model_validate(document(path)), Broken({"plant": []}), history)
        service.start()
        with pytest.raises(RuntimeError, match="the cable is out"):
            service.wait()
        assert not service.alive


@pytest.fixture
def served(values, tmp_path):
    class Endless(MemorySource):
        finished = False

    path = tmp_path / "h.duckdb"
    with History(path) as history:
        service = Service(Configuration.model_validate(document(path)), Endless({"plant": [*values, b"{"]}), history)
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        service.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            yield service, client, server
        service.stop()
        service.wait(10)
        server.stop()


def test_http_tells_health_metrics_and_alarms(served, values):
    service, client, server = served
    wait_for(lambda: service.pipeline.statistics.records > len(values))

    assert client.get("/healthz").json() == {"alive": True}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").text)}
    assert families["tsad_records"].samples[0].value == len(values) + 1
    assert [(s.labels["reason"], s.value) for s in families["tsad_dead_letters"].samples] == [("malformed_json", 1)]
    assert families["tsad_ready"].samples[0].value == 1
    episodes = client.get("/api/v1/episodes").json()
    assert {e["asset"] for e in episodes} <= {"pump-0", "pump-1"}
    assert client.get("/api/v1/episodes", params={"state": "nonsense"}).status_code == 422
    assert client.get("/api/v1/status").json()["streams"]["pumps"]["accepted"] == len(values)
    with pytest.raises(StreamsError, match=r"choose another http\.port"):
        HttpServer(create_application(service), "127.0.0.1", server.port)


def test_where_an_episode_began_by_its_settled_scores_is_told(tmp_path):
    path = tmp_path / "h.duckdb"
    detector = {"name": "patchbank", "options": {"ring_rows": 100}}
    with History(path) as history:
        settings = Configuration.model_validate(document(path, streams=[stream(detectors=[detector])]))
        service = Service(settings, MemorySource({"plant": messages(rows=600, assets=1)}), history)
        service.start()
        assert service.wait(60)
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            episodes = client.get("/api/v1/episodes").json()
            alarm = client.get(f"/api/v1/alarms/{episodes[0]['alarm_id']}").json()
        server.stop()
        told = timeline(service, episodes[0]["alarm_id"], "UTC")

    drawn = {one["episode_id"]: (one["settled_started"], one["settled_ended"]) for one in episodes}
    # The fault is in rows 280 to 299; the recording begins at 15:06:40.
    assert any(first <= "2025-06-15T15:11:20" and last >= "2025-06-15T15:11:39" for first, last in drawn.values())
    assert {one["episode_id"]: (one["settled_started"], one["settled_ended"]) for one in alarm["episodes"]} == drawn
    assert sum(one["what"] == "in hindsight" for one in told) == len(drawn)


def test_readiness_names_a_source_that_is_away(tmp_path, make_topic):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        source = KafkaSource(["127.0.0.1:1"], ["plant"])
        service = Service(Configuration.model_validate(document(path)), source, history)
        service.start()
        wait_for(
            lambda: any("KafkaTimeoutError" in p or "NoBrokers" in p or "127.0.0.1:1" in p for p in service.problems())
        )
        service.stop()
        assert service.wait(20)


def test_statistics_count_what_was_committed(values, tmp_path):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        service = Service(Configuration.model_validate(document(path)), MemorySource({"plant": values}), history)
        service.start()
        service.wait(30)

        stored = dict(history.cursor().execute("SELECT name, count FROM counters").fetchall())
        assert {name: count for (_, name), count in service.pipeline.statistics.counts.items()} == stored
        assert stored["rows"] == len(values)
        assert np.isfinite(service.pipeline.statistics.commits)


def test_an_application_that_cannot_start_is_told_and_not_waited_for_by_clients():
    @asynccontextmanager
    async def broken(_):
        raise OSError("no disk")
        yield

    server = HttpServer(FastAPI(lifespan=broken), "127.0.0.1", 0)
    with pytest.raises(StreamsError, match="is not served: the application did not start"):
        server.start()
