"""The operator loop beside a daemon: over HTTP, and from the command line."""

import json

import httpx
import pytest
import yaml

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.streams.plant import document, messages, stream
from tests.tsad_cli.command_line import tsad


class Daemon:
    """A service whose source has ended: its worker's commits are made here."""

    def __init__(self, service, client):
        self.service = service
        self.client = client

    def heeded(self, number):
        self.service.pipeline.commit(snapshot=False)
        found = self.client.get(f"/api/v1/changes/{number}").json()
        assert not found["waits"]
        return found


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("daemon")
    lines = document(folder / "h.duckdb", streams=[stream(detectors=["robust"])])
    with History(folder / "h.duckdb") as history:
        service = Service(Configuration.model_validate(lines), MemorySource({"plant": messages()}), history)
        service.start()
        assert service.wait(60)
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        file = folder / "tsad.yaml"
        file.write_text(yaml.safe_dump({**lines, "http": {"port": server.port}}))
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            yield Daemon(service, client), file
        server.stop()


def test_a_label_is_asked_for_given_seen_and_taken_back(daemon):
    made, file = daemon
    client = made.client
    wanted = json.loads(tsad("alarms", "wanted", str(file), "--json").stdout)
    assert wanted[0]["why"]
    words = (wanted[0]["alarm_id"], "false", "--episode", wanted[0]["episode_id"], "--comment", "a test")
    assert tsad("alarms", "label", str(file), *words).exit_code == 0
    number = client.get("/api/v1/changes").json()[0]["number"]
    change = made.heeded(number)
    assert (change["kind"], change["label"], change["can_be_rolled_back"]) == ("false_alarm", "false", True)
    assert "threshold" in tsad("snapshots", "diff", str(file), str(number)).stdout
    back = tsad("snapshots", "rollback", str(file), str(number), "--reason", "it was one", "--json")
    again = made.heeded(json.loads(back.stdout[back.stdout.index("[\n") :])[0]["number"])
    assert again["effects"][0]["after"] == change["effects"][0]["before"]
    assert "restore" in tsad("snapshots", "list", str(file)).stdout
    assert wanted[0]["episode_id"] not in {one["episode_id"] for one in client.get("/api/v1/labels/wanted").json()}


def test_maintenance_is_declared_listed_and_ended(daemon):
    made, file = daemon
    client = made.client
    words = ("--assets", "pump-*", "--minutes", "60", "--reason", "filter change", "--by", "ann", "--json")
    shown = tsad("maintenance", "add", str(file), *words).stdout
    added = json.loads(shown[shown.index("[\n") :])[0]  # behind the daemon's own log
    made.heeded(added["number"])
    assert [one["reason"] for one in client.get("/api/v1/maintenance").json()] == ["filter change"]
    assert "pump-*" in tsad("maintenance", "list", str(file)).stdout
    assert tsad("maintenance", "end", str(file), str(added["number"]), "--reason", "done").exit_code == 0
    again = tsad("maintenance", "end", str(file), str(added["number"]), "--reason", "done")
    assert (again.exit_code, "is over already" in again.stderr) == (1, True)
    assert client.get("/api/v1/maintenance").json() == []


def test_a_bad_period_is_declared(daemon):
    made, file = daemon
    client = made.client
    times = ("--start", "2025-06-15T15:06:40Z", "--end", "2025-06-15T15:07:40Z")
    assert tsad("alarms", "bad-period", str(file), "pumps", "pump-0", *times, "--reason", "seal").exit_code == 0
    newest = client.get("/api/v1/changes").json()[0]
    assert newest["kind"] == "bad"
    assert made.heeded(newest["number"])["effects"][0]["asset"] == "pump-0"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("bad-periods", {"by": "a", "reason": "x", "stream": "no", "asset": "a", "start": "2025-01-01T00:00:00Z",
                         "end": "2025-01-02T00:00:00Z"}, 409),
        ("bad-periods", {"by": "a", "reason": "x", "stream": "pumps", "asset": "a", "start": "2025-01-03T00:00:00Z",
                         "end": "2025-01-02T00:00:00Z"}, 409),
        ("bad-periods", {"by": "a", "reason": "x", "stream": "pumps", "asset": "a", "start": "2025-01-01T00:00:00",
                         "end": "2025-01-02T00:00:00Z"}, 422),
        ("maintenance", {"by": "a", "until": "2035-01-02T00:00:00Z"}, 422),
        ("maintenance", {"reason": "x", "until": "2035-01-02T00:00:00Z"}, 422),
        ("maintenance/99/end", {"by": "a", "reason": "x"}, 409),
        ("changes/99/rollback", {"by": "a", "reason": "x"}, 409),
        ("changes/0/rollback", {"by": "a", "reason": "x"}, 422),
        (f"changes/{2**63}/rollback", {"by": "a", "reason": "x"}, 422),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(daemon, path, body, status):
    client = daemon[0].client
    assert client.post(f"/api/v1/{path}", json=body).status_code == status


def test_an_unknown_change_is_not_found(daemon):
    client = daemon[0].client
    assert client.get("/api/v1/changes/99").status_code == 404
