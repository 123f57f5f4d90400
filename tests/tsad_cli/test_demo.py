"""The demonstration as a user runs it: a process of its own, with a real broker, daemon and receiver."""

import json
import signal
import subprocess
import sys

import duckdb

COMMAND = [sys.executable, "-m", "tsad_cli.main", "demo"]


def processes_of(directory):
    """Processes whose command line names a directory."""
    found = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if str(directory) in line]


def test_a_small_demonstration_tells_of_every_fault_and_ends_everything(tmp_path):
    directory = tmp_path / "demo"
    run = subprocess.run(
        [*COMMAND, "--small", "--seconds", "10", "--seed", "0", "--json", "--directory", str(directory)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout)
    assert result["exit_code"] == 0
    assert result["problems"] == []
    assert {fault["kind"] for fault in result["planted"]} == {"level_shift", "variance_change", "silence"}
    assert all(fault["alarmed"] for fault in result["planted"])
    assert all(fault["channel_right"] in {True, None} for fault in result["planted"])
    assert result["records"]["published"] == result["records"]["committed"] > 2000
    assert result["kept"]["events"] > 0
    assert result["kept"]["inspections"] > 0
    assert result["webhooks"]["verified"] == result["webhooks"]["delivered"] >= 5
    assert (result["webhooks"]["refused"], result["webhooks"]["pending"]) == (0, 0)
    assert result["stop_seconds"] < 5
    assert processes_of(directory) == []
    with duckdb.connect(str(directory / "history.duckdb"), read_only=True) as history:
        assert history.execute("SELECT count(*) FROM series").fetchone() == (5,)  # two pumps, three stations


def test_interrupting_it_ends_everything(tmp_path):
    directory = tmp_path / "demo"
    with subprocess.Popen(
        [*COMMAND, "--small", "--seconds", "60", "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:  # pragma: no branch
            if "learning what is usual" in line:
                break
        assert len(processes_of(directory)) >= 3
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in error
    assert processes_of(directory) == []


def test_a_folder_that_holds_a_history_is_left_alone(tmp_path):
    (tmp_path / "history.duckdb").write_bytes(b"mine")
    run = subprocess.run(
        [*COMMAND, "--small", "--directory", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    assert "is there already" in run.stderr
    assert (tmp_path / "history.duckdb").read_bytes() == b"mine"


def test_options_that_do_not_go_together_are_refused():
    for options in (["--keep", "--json"], ["--series", "P-1"]):
        run = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 2
