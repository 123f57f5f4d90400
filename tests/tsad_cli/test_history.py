"""`tsad history export` and `tsad token`: without a daemon, beside one (a process of its own), and by whom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.service import Service
from tests.conftest import free_port
from tests.streams.plant import document, messages, stream
from tests.tsad_cli.command_line import tsad


@pytest.fixture
def file(tmp_path):
    """A configuration whose history holds the small plant; the daemon's topics are never there."""
    path = tmp_path / "h.duckdb"
    settings = document(path, streams=[stream(detectors=["robust"])])
    with History(path) as history:
        service = Service(Configuration.model_validate(settings), MemorySource({"plant": messages()}), history)
        service.start()
        assert service.wait(60)
    settings["http"] = {"port": free_port(), "console": False}
    settings["history"]["exports"] = "parquet"
    file = tmp_path / "plant.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def exported(file):
    return pq.read_table(file.parent / "parquet" / "samples").num_rows


def test_a_history_at_rest_is_exported_and_what_is_wrong_is_said(file, tmp_path):
    done = tsad("history", "export", file, "--table", "samples", "--json")
    assert json.loads(done.stdout)["tables"] == {"samples": 800}
    assert exported(file) == 800
    whole = tsad("history", "export", file)
    assert "800 rows of samples" in whole.stdout
    for words, code, problem in (
        (["--table", "secrets"], 1, "cannot be exported"),
        (["--since", "yesterday"], 2, "give a time such as"),
        (["--since", "2026-01-01T00:00:00"], 2, "give its zone too"),
    ):
        refused = tsad("history", "export", file, *words)
        assert (refused.exit_code, problem in refused.stderr) == (code, True), refused.stderr
    (tmp_path / "h.duckdb").unlink()
    assert "is not there" in tsad("history", "export", file).stderr


def test_a_running_daemon_exports_for_admins(file, monkeypatch):
    made = {role: json.loads(tsad("token", role, "--role", role, "--json").stdout) for role in ("admin", "viewer")}
    settings = yaml.safe_load(file.read_text())
    settings["http"]["tokens"] = [one["entry"] for one in made.values()]
    file.write_text(yaml.safe_dump(settings))
    process = subprocess.Popen(
        [sys.executable, "-m", "tsad_cli.main", "run", str(file)],
        cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{settings['http']['port']}", trust_env=False) as client:
            while True:
                assert process.poll() is None
                try:
                    client.get("/healthz")
                    break
                except httpx.TransportError:
                    continue
        refused = tsad("history", "export", file)
        assert "there is no Authorization header" in refused.stderr
        monkeypatch.setenv("TSAD_TOKEN", made["viewer"]["token"])
        assert "admins may do this" in tsad("history", "export", file).stderr
        assert tsad("alarms", "kpis", file).exit_code == 0
        monkeypatch.setenv("TSAD_TOKEN", made["admin"]["token"])
        done = tsad("history", "export", file, "--table", "samples")
        assert "800 rows of samples" in done.stdout, done.stderr
        assert exported(file) == 800
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_token_is_shown_once_with_what_the_configuration_needs():
    shown = tsad("token", "room", "--role", "operator", "--days", "7").stdout
    entry = yaml.safe_load(shown.split("http.tokens:")[1])[0]
    assert set(entry) == {"name", "role", "hash", "expires"}
    assert shown.split()[0].startswith("tsad_")
    assert shown.split()[0] not in str(entry)
    assert tsad("token", "room", "--role", "king").exit_code == 2
