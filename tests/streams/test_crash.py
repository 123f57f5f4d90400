"""The daemon as a process: killed, stopped, out of disk space."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from connectors.history.database import History
from connectors.webhooks import ScriptedAnswer, WebhookReceiver
from tests.streams.plant import SECRET, contents, document, messages, stream


class Daemon:
    """`tsad run` as a process of its own."""

    def __init__(self, folder, name, **changes):
        self.history = folder / f"{name}.duckdb"
        self.log = folder / f"{name}.log"
        self.path = folder / f"{name}.yaml"
        self.path.write_text(yaml.safe_dump(document(self.history, **changes)))
        self.process = None
        self.starts = 0

    def start(self, *prefix):
        self.starts += 1
        with self.log.open("ab") as log:
            command = [*prefix, sys.executable, "-m", "tsad_cli.main", "run", str(self.path)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def ran_for(self, seconds):
        """Wait for the process to end; False when it still runs after that time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self):
        """SIGTERM; returns seconds until the end and the exit code."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return time.monotonic() - began, code

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait_for(self, text, seconds=60, times=1):
        """Wait until the log holds `text`."""
        end = time.monotonic() + seconds
        while self.log.read_text().count(text) < times:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            self.ran_for(0.02)


def records_committed(path):
    """Records in a history that no process has open."""
    with History(path) as history, history.cursor() as cursor:
        return sum(offset for (offset,) in cursor.execute("SELECT next_offset FROM positions").fetchall())


def wait_until_read(daemon, n, seconds, stretch=2.0):
    """Stop and start the daemon until it has committed `n` records; ends with SIGTERM each time."""
    end = time.monotonic() + seconds
    while True:
        daemon.ran_for(stretch)
        took, code = daemon.end()
        assert code == 0, daemon.log.read_text()[-3000:]
        assert took < 5
        committed = records_committed(daemon.history)
        if committed >= n:
            return
        assert time.monotonic() < end, f"{committed} of {n} records; {daemon.log.read_text()[-2000:]}"
        # On a busy machine a short life may end before it has read anything.
        stretch *= 1.5
        daemon.start()


def crash_and_compare(bootstrap, topic, send, records, folder, kills, seed, stretch):
    """Kill a daemon while records keep coming, and compare its history with that of an undisturbed one."""
    total = len(records)
    changes = {
        "source": {"kind": "kafka", "bootstrap": [bootstrap]},
        # What is delivered is judged here, not how well it is scored: the quickest detector that says more later.
        "streams": [stream(topic=topic, detectors=[{"name": "patchbank", "options": {"ring_rows": 100}}])],
        "commit": {"every": 0.1, "rows": 2000, "snapshot_every": 0.3},
    }
    luck = random.Random(seed)
    portions = np.array_split(np.arange(total), kills)
    with WebhookReceiver([SECRET]) as receiver:
        daemon = Daemon(folder, "killed", webhook=receiver.url, **changes)
        for portion in portions:
            # Every life has records of its own to read, besides what earlier ones left.
            send(bootstrap, topic, [records[i] for i in portion])
            daemon.start()
            # From before it has connected, through its commits, to after the last of them.
            daemon.ran_for(luck.uniform(0.8, 3.2))
            daemon.kill()
        daemon.start()
        wait_until_read(daemon, total, 120, stretch)
        with History(daemon.history) as history, history.cursor() as cursor:
            found = contents(history)
            sent = cursor.execute("SELECT webhook_id, status FROM outbox").fetchall()
        received = [hook.webhook_id for hook in receiver.inbox.webhooks]
    calm = Daemon(folder, "calm", **changes).start()
    wait_until_read(calm, total, 120, stretch)
    with History(calm.history) as history:
        expected = contents(history)

    for name in expected:
        if name != "outbox":
            assert found[name] == expected[name], name
    assert len(expected["transitions"]) == len(sent) > 0
    assert len(expected["delayed_scores"]) > total
    assert {status for _, status in sent} == {"delivered"}
    # At least once, and under the id that the ledger knows.
    assert set(received) == {identity for identity, _ in sent}


def by_asset(values, partitions):
    """Keyed by asset: the records of one asset stand in one partition."""
    return [(int(v[v.index(b"pump-") + 5 : v.index(b'"', v.index(b"pump-"))]) % partitions, v) for v in values]


def test_killed_at_random_instants_nothing_is_missing_or_twice(kafka_bootstrap, make_topic, produce, tmp_path):
    topic = make_topic(kafka_bootstrap, partitions=2)
    records = by_asset(messages(rows=3000, assets=4), 2)

    crash_and_compare(kafka_bootstrap, topic, produce, records, tmp_path, kills=4, seed=1, stretch=2.0)


@pytest.mark.slow
def test_killed_twenty_times_during_200_000_messages(throughput_broker, make_topic, produce, tmp_path):
    topic = make_topic(throughput_broker.bootstrap, partitions=2)
    records = by_asset(messages(rows=4000, assets=50), 2)
    # This broker answers a fetch with one batch, so small batches would be read slowly.
    send = partial(produce, batch_size=1 << 18, compression_type="lz4")

    crash_and_compare(throughput_broker.bootstrap, topic, send, records, tmp_path, kills=20, seed=2, stretch=12.0)


def replay(tmp_path, name, **changes):
    path = tmp_path / "recording.jsonl"
    if not path.exists():
        path.write_bytes(b"\n".join(messages()))
    source = {"kind": "file", "path": str(path), "topic": "plant"}
    return Daemon(tmp_path, name, source=source, **changes)


def test_replays_a_file_and_ends_with_it(tmp_path):
    daemon = replay(tmp_path, "once").start()

    assert daemon.ran_for(60)
    assert daemon.process.returncode == 0, daemon.log.read_text()
    assert records_committed(daemon.history) == 800


def test_a_history_that_is_open_elsewhere_is_said_at_once(tmp_path):
    daemon = replay(tmp_path, "locked")
    with History(daemon.history):
        daemon.start()
        assert daemon.ran_for(60)
    assert daemon.process.returncode == 1
    assert "is open in another process" in daemon.log.read_text()


def test_a_full_disk_loses_nothing_and_stops_nothing(tmp_path):
    # A limit on the size of files is what a full disk is to a process; raising it is making room.
    import resource

    calm = replay(tmp_path, "calm").start()
    assert calm.ran_for(60)
    full = replay(tmp_path, "full", http={"enabled": False})
    # The file exists already, so that the start itself succeeds; its log may not grow.
    History(full.history).close()
    full.start("prlimit", "--fsize=50000:unlimited")
    full.wait_for("commit failed; nothing is lost, it is tried again")
    assert full.process.poll() is None
    resource.prlimit(full.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    assert full.ran_for(60), full.log.read_text()[-3000:]
    assert full.process.returncode == 0, full.log.read_text()[-3000:]
    with History(calm.history) as left, History(full.history) as right:
        assert contents(left) == contents(right)


def test_a_receiver_that_hangs_does_not_hold_up_the_end(tmp_path):
    with WebhookReceiver([SECRET]) as receiver:
        receiver.inbox.answer_with(ScriptedAnswer(200, hang=True))
        daemon = replay(tmp_path, "hanging", webhook=receiver.url).start()
        requests = receiver.inbox.wait_for_requests(1, 60)
        assert daemon.ran_for(20)  # the file is read out; the receiver still has not answered
        assert daemon.process.returncode == 0, daemon.log.read_text()[-3000:]
        receiver.inbox.release()

        daemon.start()
        assert daemon.ran_for(60)
        again = [r.headers["webhook-id"] for r in receiver.inbox.wait_for_requests(2, 60)]
    assert again[0] == again[1] == requests[0].headers["webhook-id"]


def test_a_wrong_configuration_stops_the_start_with_code_2(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("streams: []\n")
    result = subprocess.run(
        [sys.executable, "-m", "tsad_cli.main", "run", str(path)], capture_output=True, text=True, check=False
    )

    assert result.returncode == 2
    assert "source: Field required" in result.stderr
    assert "Traceback" not in result.stderr


def test_interrupt_is_as_good_as_terminate(kafka_bootstrap, make_topic, tmp_path):
    topic = make_topic(kafka_bootstrap)
    source = {"kind": "kafka", "bootstrap": [kafka_bootstrap]}
    daemon = Daemon(tmp_path, "idle", source=source, streams=[stream(topic=topic)]).start()
    daemon.wait_for("kafka partitions assigned")
    os.kill(daemon.process.pid, signal.SIGINT)

    assert daemon.ran_for(5)
    assert daemon.process.returncode == 0
    assert Path(daemon.history).exists()
