import importlib.resources
import sys

import pytest

from tsad_cli import demo_broker
from tsad_cli.demo_errors import DemoError, ProcessFailedError
from tsad_cli.demo_process import ChildProcess, free_port, tail

WAITS = "import signal, sys; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
CLEAN = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); signal.pause()"


def child(tmp_path, code, **options):
    return ChildProcess("the child", [sys.executable, "-c", code], tmp_path / "child.log", **options)


def up(process):
    process.wait_until(lambda: process.log.exists() and "up" in process.log.read_text(), 20)


def test_a_process_that_dies_is_reported_with_its_status_and_the_end_of_its_log(tmp_path):
    code = "print('no disk'); raise SystemExit(3)"
    with (
        child(tmp_path, code) as process,
        pytest.raises(ProcessFailedError, match=r"(?s)status 3.*no disk"),
    ):
        process.wait_until(lambda: False, 20)


def test_a_process_that_is_not_ready_in_time_is_reported(tmp_path):
    with child(tmp_path, WAITS) as process:
        up(process)
        with pytest.raises(ProcessFailedError, match="not ready within 0 s"):
            process.wait_until(lambda: False, 0)


def test_stopping_takes_a_clean_end_only(tmp_path):
    with child(tmp_path, CLEAN) as process:
        up(process)
        assert process.stop(20) < 20
    with child(tmp_path, WAITS) as process:
        up(process)
        with pytest.raises(ProcessFailedError, match="status -15"):
            process.stop(20)


def test_a_process_that_ignores_being_stopped_is_killed_and_reported(tmp_path):
    with child(tmp_path, DEAF) as process:
        up(process)
        with pytest.raises(ProcessFailedError, match="did not end within"):
            process.stop(0.1)
        with pytest.raises(ProcessFailedError, match="ended by itself"):
            process.check()


def test_leaving_the_block_ends_even_a_deaf_process(tmp_path):
    with child(tmp_path, DEAF, patience_seconds=0.1) as process:
        up(process)
    with pytest.raises(ProcessFailedError, match="status -9"):
        process.check()


def test_the_tail_of_a_log_is_short_and_survives_what_is_no_text(tmp_path):
    log = tmp_path / "log"
    assert tail(log) == "(no log)"
    log.write_bytes(b"")
    assert tail(log) == "(the log is empty)"
    log.write_bytes(b"\n".join(b"%d \xff" % i for i in range(100)))
    assert tail(log, 2).splitlines() == ["98 \ufffd", "99 \ufffd"]


def test_without_the_broker_package_the_remedy_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.resources, "files", missing)
    with (
        pytest.raises(DemoError, match=r"pip install 'tsad-service\[demo\]'"),
        demo_broker.running_broker(tmp_path, None),
    ):
        pass


def test_a_given_broker_that_does_not_answer_is_named(tmp_path, monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setattr(demo_broker, "_REQUEST_MILLISECONDS", 300)
    with pytest.raises(DemoError, match=address), demo_broker.running_broker(tmp_path, address):
        pass


def test_the_started_broker_has_the_topics_and_ends_with_the_block(tmp_path):
    from kafka import KafkaAdminClient

    with demo_broker.running_broker(tmp_path, None) as (address, process):
        demo_broker.create_topics(address, ["plant.pumps", "plant.nodes"])
        demo_broker.create_topics(address, ["plant.pumps"])  # there already
        admin = KafkaAdminClient(bootstrap_servers=address)
        topics = set(admin.list_topics())
        admin.close()
    assert {"plant.pumps", "plant.nodes"} <= topics
    with pytest.raises(ProcessFailedError, match="ended by itself"):
        process.check()
