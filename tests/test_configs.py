"""Every example configuration is checked, and run."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import yaml

from connectors.history.database import History
from connectors.sources.kafka import KafkaSource
from connectors.webhooks import WebhookReceiver
from streams.configuration import load_configuration
from streams.service import Service
from tests.conftest import free_port
from tests.streams.plant import SECRET
from tsad.simulation import PlantSettings, messages, simulate

CONFIGS = Path(__file__).parents[1] / "configs"
ENVIRONMENT = {
    "KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "CONTROL_ROOM_URL": "http://127.0.0.1:9/alarms",
    "CONTROL_ROOM_SECRET": SECRET,
    "GATEWAY_URL": "http://127.0.0.1:9/in",
    "PAGERDUTY_ROUTING_KEY": "R0UT1NGKEY0123456789",
    "EVENT_BUS_URL": "http://127.0.0.1:9/events",
    "SLACK_URL": "http://127.0.0.1:9/services/T00/B00",
    "TEAMS_URL": "http://127.0.0.1:9/workflows",
    "MAIL_USER": "tsad",
    "MAIL_PASSWORD": "pass-7890123",
}


def tsad(*arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tsad_cli.main", *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_check_prints_it_resolved_and_masked(name, tmp_path):
    result = tsad("check", str(CONFIGS / name), folder=tmp_path, **ENVIRONMENT)

    assert result.returncode == 0, result.stderr
    shown = yaml.safe_load(result.stdout)
    assert shown["commit"]["rows"] == 10000
    assert SECRET not in result.stdout
    assert "R0UT1NGKEY" not in result.stdout
    as_json = tsad("check", str(CONFIGS / name), "--json", folder=tmp_path, **ENVIRONMENT)
    assert json.loads(as_json.stdout) == shown


def test_replay_of_a_file_without_a_broker(tmp_path):
    (tmp_path / "replay-file.yaml").write_text((CONFIGS / "replay-file.yaml").read_text())
    made = tsad("simulate", "pump.csv", "--duration", "1h", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    result = tsad("run", "replay-file.yaml", folder=tmp_path)

    assert result.returncode == 0, result.stderr
    with History(tmp_path / "replay.duckdb") as history, history.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM samples").fetchone()[0] > 3000
        assert cursor.execute("SELECT count(*) FROM episodes").fetchone()[0] > 0


def run_on_kafka(name, replace, n, tmp_path, bootstrap, **environment):
    """Run an example against a broker until it has committed `n` records; returns the history's path."""
    text = (CONFIGS / name).read_text()
    for old, new in replace.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / name
    path.write_text(text)
    configuration = load_configuration(path, {**ENVIRONMENT, "KAFKA_BOOTSTRAP": bootstrap, **environment})
    source = KafkaSource([bootstrap], sorted({s.topic for s in configuration.streams}))
    with History(configuration.history.path) as history:
        service = Service(configuration, source, history)
        service.start()
        end = time.monotonic() + 60
        while service.pipeline.statistics.records < n:
            assert time.monotonic() < end, (service.problems(), service.pipeline.statistics.counts)
            assert not service.wait(0.1)
        service.stop()
        assert service.wait(10)
    return configuration.history.path


def test_plant_example_takes_all_that_the_simulator_sends(kafka_bootstrap, make_topic, produce, tmp_path):
    topics = {kind: make_topic(kafka_bootstrap) for kind in ("pumps", "nodes", "access", "inspection", "dead")}
    recording = simulate(PlantSettings(training_seconds=60.0), (time.time_ns() // 10**9 - 200) * 10**9, 120)
    sent = {name: [] for name in topics}
    for message in messages(recording):
        kind = {"events": "access", "inspections": "inspection"}.get(message.topic_kind)
        kind = kind or ("nodes" if "node" in message.key else "pumps")
        sent[kind].append((0, json.dumps(message.payload).encode()))
    sent["pumps"].append((0, b"{broken"))
    for name, records in sent.items():
        produce(kafka_bootstrap, topics[name], records)
    names = {f"plant.{name}": topics[name] for name in ("pumps", "nodes", "access", "inspection")}
    replace = {f"topic: {old}\n": f"topic: {new}\n" for old, new in names.items()}
    with WebhookReceiver([SECRET]) as receiver:
        path = run_on_kafka(
            "plant.yaml", {**replace, "plant.dead-letters": topics["dead"]}, sum(map(len, sent.values())), tmp_path,
            kafka_bootstrap, CONTROL_ROOM_URL=receiver.url,
        )  # fmt: skip
    with History(path) as history, history.cursor() as cursor:
        counts = {(s, n): c for s, n, c in cursor.execute("SELECT stream, name, count FROM counters").fetchall()}
        assert counts["pumps", "accepted"] == len(sent["pumps"]) - 1
        assert counts["nodes", "accepted"] == len(sent["nodes"])
        for stream, table in (("access", "events"), ("inspection", "inspections")):
            assert counts[stream, "accepted"] == len(sent[stream])
            assert cursor.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == len(sent[stream])
        assert cursor.execute("SELECT reason, published FROM dead_letters").fetchall() == [("malformed_json", True)]
    # The copy in the topic says where the record stood.
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=kafka_bootstrap, enable_auto_commit=False)
    consumer.assign([TopicPartition(topics["dead"], 0)])
    consumer.seek_to_beginning()
    copies, end = [], time.monotonic() + 20
    while not copies and time.monotonic() < end:
        copies = [r for found in consumer.poll(500).values() for r in found]
    consumer.close(autocommit=False, timeout_ms=2000)
    headers = dict(copies[0].headers)
    assert copies[0].value == b"{broken"
    assert headers["tsad-topic"] == topics["pumps"].encode()
    assert headers["tsad-reason"] == b"malformed_json"


def test_long_messages_example(kafka_bootstrap, make_topic, produce, tmp_path):
    topic = make_topic(kafka_bootstrap)
    records = [
        json.dumps({"ts": f"2026-01-01T00:00:{s:02d}Z", "device": "boiler-2", "tag": tag, "v": s}).encode()
        for s in range(0, 60, 5)
        for tag in ("TI-101", "TI-102", "PI-201", "XX-1")
    ]
    produce(kafka_bootstrap, topic, [(0, r) for r in records])
    path = run_on_kafka("long-messages.yaml", {"plant.boilers": topic}, len(records), tmp_path, kafka_bootstrap)

    with History(path) as history, history.cursor() as cursor:
        counts = dict(cursor.execute("SELECT name, count FROM counters").fetchall())
        assert counts["dead_letter_unknown_channel"] == 12
        assert counts["accepted"] == 36
        assert counts["rows"] == 12 - 3  # the last three may still change: 10 s of allowed delay, and their own step


def test_webhooks_are_listed_and_replayed_while_the_daemon_runs_and_after(tmp_path):
    port = free_port()
    made = tsad("simulate", "pump.csv", "--duration", "1h", folder=tmp_path)
    assert made.returncode == 0
    with WebhookReceiver([SECRET]) as receiver:
        document = yaml.safe_load((CONFIGS / "replay-file.yaml").read_text())
        document["webhooks"] = [{"name": "room", "url": receiver.url, "secrets": [SECRET]}]
        document["http"] = {"port": port}
        # A broker that is away keeps the daemon running.
        (tmp_path / "once.yaml").write_text(yaml.safe_dump(document))
        first = tsad("run", "once.yaml", folder=tmp_path)
        assert first.returncode == 0, first.stderr
        document["source"] = {"kind": "kafka", "bootstrap": ["127.0.0.1:1"]}
        (tmp_path / "kafka.yaml").write_text(yaml.safe_dump(document))
        listed = json.loads(tsad("webhooks", "list", "once.yaml", "--json", folder=tmp_path).stdout)
        assert listed
        identity = listed[-1]["webhook_id"]
        unknown = tsad("webhooks", "replay", "once.yaml", "msg_unknown", folder=tmp_path)
        assert (unknown.returncode, "holds no webhooks" in unknown.stderr) == (1, True)

        with (tmp_path / "log").open("wb") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "tsad_cli.main", "run", "kafka.yaml"], cwd=tmp_path, stdout=log, stderr=log
            )
        try:
            end = time.monotonic() + 30
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < end, (tmp_path / "log").read_text()
                    threading.Event().wait(0.1)
            receiver.inbox.wait_for(len(listed))
            before = len(receiver.inbox.requests)
            result = tsad("webhooks", "replay", "kafka.yaml", identity, folder=tmp_path)
            assert result.stdout == "1 deliveries are due again\n", result.stderr
            receiver.inbox.wait_for_requests(before + 1)
            assert receiver.inbox.requests[-1].headers["webhook-id"] == identity
            running = json.loads(tsad("webhooks", "list", "kafka.yaml", "--json", folder=tmp_path).stdout)
            assert {e["webhook_id"] for e in running} == {e["webhook_id"] for e in listed}
        finally:
            daemon.terminate()
            assert daemon.wait(10) == 0
