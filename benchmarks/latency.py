"""From a record produced to Kafka to a webhook accepted by its receiver: ``python -m benchmarks latency``.

Live, at so many series of one record a second each, with `robust`; a few planted faults a second are what is timed.
Producer, broker, daemon and receiver share the machine's processors, and the producer's own delay counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from confluent_kafka import Producer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.throughput import broker, free_port
from connectors.webhooks.receiver import ReceiverInbox, WebhookReceiver

_SECRET = "whsec_" + "A" * 43 + "="
_SLOTS = 20
_FAULTS_A_SECOND = 5
_FAULT = 1_000.0


@dataclass(frozen=True)
class Measured:
    """Latencies in seconds of the faults that were told, how many were planted, and records that were waiting.

    `late` is the share of the rows scored live that a network was too late for.
    """

    latencies: np.ndarray
    planted: int
    waiting: int
    late: float


@dataclass(frozen=True)
class Setup:
    """What runs live.

    Attributes
    ----------
    series, every, seconds
        How many, `commit.every`, and for how long.
    detectors, deadline
        As in the configuration.
    train_rows
        Rows from which a series is learnt.
    """

    series: int
    every: str
    seconds: int
    detectors: tuple[Any, ...] = ("robust",)
    deadline: str | None = None
    train_rows: int = 100


def measure(folder: Path, bootstrap: str, setup: Setup) -> Measured:
    """One run."""
    series, every = setup.series, setup.every
    name = f"live-{series}-{every.replace('.', '')}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=1)])
    admin.close()
    port = free_port()
    with WebhookReceiver([_SECRET], inbox=ReceiverInbox(100_000)) as receiver:
        document = {
            "source": {"kind": "kafka", "bootstrap": [bootstrap]},
            "streams": [{
                "name": "live", "topic": name, "step": "1s", "train_rows": setup.train_rows,
                "detectors": list(setup.detectors), "deadline": setup.deadline,
                "channels": ["value"], "alarm": {"false_alarms_per_day": 20},
            }],
            "commit": {"every": every},
            "history": {"path": str(folder / f"{name}.duckdb")},
            "http": {"port": port, "console": False, "requests_per_minute": 10_000},
            "webhooks": [{
                "name": "room", "url": receiver.url, "secrets": [_SECRET], "event_types": ["alarm.raised"],
            }],
        }  # fmt: skip
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tsad_cli.main", "run", str(path)], stdout=log, stderr=log
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                return _live(bootstrap, name, client, receiver, setup)
        finally:
            process.terminate()
            process.wait()


def _live(bootstrap: str, topic: str, client: httpx.Client, receiver: WebhookReceiver, setup: Setup) -> Measured:
    series, seconds, train_rows = setup.series, setup.seconds, setup.train_rows
    rng = np.random.default_rng(0)
    producer = Producer({
        "bootstrap.servers": bootstrap, "linger.ms": 5, "acks": 1, "queue.buffering.max.messages": 2_000_000,
    })  # fmt: skip
    start = int(time.time()) + 1
    for row in range(train_rows + 20):
        when = (start - train_rows - 20 + row) * 1000
        for one, value in enumerate(rng.standard_normal(series)):
            producer.produce(topic, _record(when, one, value), partition=0)
        producer.poll(0)
    producer.flush(120)
    while _count(client, "records") < series * (train_rows + 20):
        time.sleep(0.2)
    late_before = _count(client, "network_late")
    planted: dict[tuple[str, int], float] = {}
    begin = int(time.time()) + 1
    resting = {}
    for second in range(seconds):
        values = rng.standard_normal(series)
        well = [one for one in rng.permutation(series) if resting.get(one, -1) < second][:_FAULTS_A_SECOND]
        values[well] = _FAULT
        resting |= dict.fromkeys(well, second + 120)
        faulty = set(map(int, well))
        for slot in range(_SLOTS):
            # Behind schedule nothing is left out: the delay is part of what is measured.
            time.sleep(max(0.0, begin + second + slot / _SLOTS - time.time()))
            for one in range(slot, series, _SLOTS):
                if one in faulty:
                    planted[f"s{one}", begin + second] = time.time()
                producer.produce(topic, _record((begin + second) * 1000, one, values[one]), partition=0)
            producer.poll(0)
    producer.flush(60)
    waiting = int(client.get("/readyz").json()["lag"] or 0)
    end = time.monotonic() + 30
    found: dict[tuple[str, int], float] = {}
    while len(found) < len(planted) and time.monotonic() < end:
        time.sleep(0.5)
        for one in receiver.inbox.webhooks:
            data = json.loads(one.body)["data"]
            at = int(np.datetime64(data["event_time_start"].rstrip("Z"), "s").astype(np.int64))
            if (data["asset"], at) in planted:
                found[data["asset"], at] = one.received_at.timestamp()
    latencies = np.array([found[key] - planted[key] for key in found])
    late = (_count(client, "network_late") - late_before) / (series * seconds)
    return Measured(latencies, len(planted), waiting, late)


def _record(when: int, series: int, value: float) -> bytes:
    return b'{"time":%d,"asset":"s%d","values":{"value":%.4f}}' % (when, series, value)


def _count(client: httpx.Client, name: str) -> int:
    try:
        streams = client.get("/api/v1/status").json()["streams"]
    except (httpx.HTTPError, KeyError):
        return 0
    return int(streams.get("live", {}).get(name, 0))


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    arguments, _ = parser.parse_known_args()
    table = Table("series", "every", "told", "p50, s", "p99, s", "worst, s", "waiting")
    for series in (1_000, 10_000):
        for every in ("1s", "200ms"):
            with tempfile.TemporaryDirectory() as name, broker(Path(name)) as bootstrap:
                found = measure(Path(name), bootstrap, Setup(series, every, arguments.seconds))
            p50, p99, worst = np.quantile(found.latencies, [0.5, 0.99, 1.0])
            table.add_row(
                f"{series:,}", every, f"{len(found.latencies)} of {found.planted}", f"{p50:.2f}", f"{p99:.2f}",
                f"{worst:.2f}", f"{found.waiting:,}",
            )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
