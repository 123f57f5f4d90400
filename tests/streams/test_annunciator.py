"""Operators and alarms: what is announced, kept over restarts, and done over HTTP and from the command line."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import httpx
import numpy as np
import pytest
import yaml

from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.sources.base import RecordBatch
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.errors import AlarmNotFoundError
from streams.http import HttpServer, create_application
from streams.pipeline import Pipeline
from streams.service import Service
from tests.streams.plant import START, document, messages, stream
from tests.tsad_cli.command_line import tsad
from tsad.lifecycle import Action, ActionRefusedError

RECEIVER = "http://127.0.0.1:9/hook"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def pipeline(history, clock, **changes):
    # `robust` clears as soon as a fault is over.
    changes = {"streams": [stream(detectors=["robust"])], **changes}
    settings = Configuration.model_validate(document(history.path, webhook=RECEIVER, **changes))
    return Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks], now=clock)


def feed(worker, values, start, stop):
    offsets = np.arange(start, stop, dtype=np.int64)
    arrivals = np.full(stop - start, (START + 10**6) * 10**6, np.int64)
    worker.handle([RecordBatch("plant", 0, values[start:stop], offsets, arrivals)])
    worker.commit(snapshot=True)


def announced(history):
    with history.cursor() as cursor:
        rows = cursor.execute("SELECT body FROM outbox ORDER BY rowid").fetchall()
    found = [json.loads(body) for (body,) in rows]
    return [(one["type"], one["data"]["asset"]) for one in found]


def until(clock, hours):
    return round((clock.now + timedelta(hours=hours)).timestamp()) * 10**9


@pytest.fixture(scope="module")
def values():
    return messages()


@pytest.fixture
def plant(tmp_path, values):
    """A pipeline in the midst of the first fault."""
    clock = Clock()
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, clock)
        feed(worker, values, 0, 570)
        yield history, worker, clock


def standing(worker, asset="pump-0"):
    return next(one for one in worker.annunciator.conditions() if one.asset == asset)


def test_an_alarm_is_seen_clears_and_is_kept_over_a_restart(plant, values):
    history, worker, clock = plant
    alarm = standing(worker)
    assert alarm.state == "active_unacknowledged"
    after = worker.annunciator.act(alarm.alarm_id, Action("acknowledge", "ann", "looking"))
    assert (after.state, after.acknowledged_by) == ("active_acknowledged", "ann")
    again = pipeline(history, clock)
    assert again.annunciator.conditions() == worker.annunciator.conditions()
    feed(again, values, 570, len(values))

    states = {one.asset: one.state for one in again.annunciator.conditions()}
    assert states == {"pump-0": "normal", "pump-1": "returned_unacknowledged"}
    assert ("alarm.acknowledged", "pump-0") in announced(history)
    with history.cursor() as cursor:
        trail = cursor.execute("SELECT kind, operator, comment, previous_state, state FROM alarm_actions").fetchall()
    assert trail == [("acknowledge", "ann", "looking", "active_unacknowledged", "active_acknowledged")]


def test_a_shelved_alarm_is_judged_and_written_and_not_announced(plant, values):
    history, worker, clock = plant
    alarm = standing(worker)
    worker.annunciator.act(alarm.alarm_id, Action("shelve", "ann", "cleaning", until(clock, 1)))
    feed(worker, values, 570, len(values))

    told = [kind for kind, asset in announced(history) if asset == "pump-0"]
    assert told[-1] == "alarm.shelved"
    assert ("alarm.cleared", "pump-1") in announced(history)
    with history.cursor() as cursor:
        written = cursor.execute("SELECT kind FROM alarm_transitions WHERE asset = 'pump-0'").fetchall()
    assert written[-1] == ("alarm.cleared",)
    assert worker.statistics.quiet_transitions > 0
    assert standing(worker).state == "shelved"


def test_when_the_time_is_up_an_active_alarm_is_announced_again(plant):
    history, worker, clock = plant
    alarm = standing(worker)
    worker.annunciator.act(alarm.alarm_id, Action("acknowledge", "ann"))
    worker.annunciator.act(alarm.alarm_id, Action("shelve", "ann", "cleaning", until(clock, 1)))
    assert worker.annunciator.expire() == 0
    clock.now += timedelta(hours=1)
    assert worker.annunciator.expire() == 1
    assert worker.annunciator.expire() == 0

    assert standing(worker).state == "active_unacknowledged"
    assert announced(history)[-1] == ("alarm.unshelved", "pump-0")


def test_a_one_shot_shelving_ends_when_the_alarm_clears_and_receivers_are_told_of_that(plant, values):
    history, worker, clock = plant
    alarm = standing(worker)
    worker.annunciator.act(alarm.alarm_id, Action("shelve", "ann", "cleaning", until(clock, 8), one_shot=True))
    feed(worker, values, 570, len(values))
    assert standing(worker).state == "returned_unacknowledged"
    told = [kind for kind, asset in announced(history) if asset == "pump-0"]
    assert told[-2:] == ["alarm.shelved", "alarm.cleared"]


def test_a_clock_that_steps_back_ends_no_shelving_and_starts_none_in_the_past(plant):
    _, worker, clock = plant
    alarm = standing(worker)
    worker.annunciator.act(alarm.alarm_id, Action("shelve", "ann", "cleaning", until(clock, 1)))
    clock.now -= timedelta(days=1)
    assert worker.annunciator.expire() == 0
    with pytest.raises(ActionRefusedError, match="25 hours are more than the 8"):
        worker.annunciator.act(alarm.alarm_id, Action("shelve", "ann", "x", until(clock, 25)))


def test_what_cannot_be_written_has_not_happened(plant, monkeypatch):
    history, worker, _ = plant
    alarm = standing(worker)
    with monkeypatch.context() as broken:
        broken.setattr(history, "commit", lambda _: (_ for _ in ()).throw(HistoryError("no space left")))
        with pytest.raises(HistoryError):
            worker.annunciator.act(alarm.alarm_id, Action("acknowledge", "ann"))
    assert standing(worker) == alarm
    assert worker.annunciator.act(alarm.alarm_id, Action("acknowledge", "ann")).state == "active_acknowledged"


def test_alarms_from_before_there_were_conditions_stand_as_they_were(plant, values):
    history, worker, clock = plant
    expected = {one.asset: one for one in worker.annunciator.conditions()}
    with history.cursor() as cursor:
        cursor.execute("DELETE FROM alarm_conditions")
    found = {one.asset: one for one in pipeline(history, clock).annunciator.conditions()}
    assert found == expected


def test_an_unknown_alarm_is_not_found(plant):
    _, worker, _ = plant
    with pytest.raises(AlarmNotFoundError, match="no alarm 'alm_x'"):
        worker.annunciator.act("alm_x", Action("acknowledge", "ann"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, values):
    """A running service that has read everything, its HTTP door, and its configuration file."""
    folder = tmp_path_factory.mktemp("daemon")
    lines = document(folder / "h.duckdb", streams=[stream(detectors=["robust"])])
    with History(folder / "h.duckdb") as history:
        service = Service(Configuration.model_validate(lines), MemorySource({"plant": values}), history)
        service.start()
        assert service.wait(60)
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        file = folder / "tsad.yaml"
        file.write_text(yaml.safe_dump({**lines, "http": {"port": server.port}}))
        yield httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False), file
        server.stop()


def test_alarms_are_listed_and_acted_on_over_http(daemon):
    client, _ = daemon
    found = client.get("/api/v1/alarms", params={"state": "returned_unacknowledged", "asset": "pump-0"}).json()
    [alarm] = found
    path = f"/api/v1/alarms/{alarm['alarm_id']}"
    assert client.post(f"{path}/acknowledge", json={"by": "ann"}).json()["state"] == "normal"
    second = client.post(f"{path}/acknowledge", json={"by": "bob"})
    assert (second.status_code, "ann has done so" in second.json()["error"]) == (409, True)
    assert client.post(f"{path}/label", json={"by": "ann", "label": "false", "comment": "test"}).status_code == 200
    assert client.post(f"{path}/comment", json={"by": "ann", "comment": "seen it"}).status_code == 200
    out = client.post(f"{path}/take-out-of-service", json={"by": "ann", "comment": "overhaul"})
    assert out.json()["state"] == "out_of_service"
    assert client.post(f"{path}/return-to-service", json={"by": "ann"}).json()["state"] == "normal"

    shown = client.get(path).json()
    assert [one["kind"] for one in shown["actions"]] == [
        "return_to_service", "take_out_of_service", "comment", "label", "acknowledge",
    ]  # fmt: skip
    assert shown["actions"][3]["label"] == "false"
    assert shown["transitions"][-1]["kind"] == "alarm.raised"


def test_kpis_and_states_are_told(daemon):
    client, _ = daemon
    found = client.get("/api/v1/alarms/kpis").json()
    assert (found["alarms"], found["standing"], found["top_10_share"]) == (2, 0, 1.0)
    assert client.get("/api/v1/alarms/kpis", params={"days": 0}).status_code == 422
    scraped = client.get("/metrics").text
    assert 'tsad_alarms{state="out_of_service"} 0.0' in scraped
    assert "tsad_alarm_transitions_not_announced_total 0.0" in scraped


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("alm_x/acknowledge", {"by": "ann"}, 404),
        ("{alarm}/acknowledge", {}, 422),
        ("{alarm}/acknowledge", {"by": "ann", "admin": True}, 422),
        ("{alarm}/acknowledge", {"by": "a" * 201}, 422),
        ("{alarm}/shelve", {"by": "ann", "comment": "x"}, 409),
        ("{alarm}/shelve", {"by": "ann", "comment": "x", "minutes": 481}, 409),
        ("{alarm}/shelve", {"by": "ann", "comment": "x", "until": "2026-01-01T00:00:00"}, 422),
        ("{alarm}/shelve", {"by": "ann", "comment": "", "minutes": 5}, 422),
        ("{alarm}/unshelve", {"by": "ann"}, 409),
        ("{alarm}/label", {"by": "ann", "label": "odd"}, 422),
        ("'; DROP TABLE alarm_actions; --/acknowledge", {"by": "ann"}, 404),
    ],
)
def test_bad_requests_are_refused(daemon, path, body, status):
    client, _ = daemon
    alarm = client.get("/api/v1/alarms", params={"asset": "pump-1"}).json()[0]["alarm_id"]
    assert client.post(f"/api/v1/alarms/{path.format(alarm=alarm)}", json=body).status_code == status


def test_operators_may_use_the_command_line(daemon):
    _, file = daemon
    listed = tsad("alarms", "list", str(file), "--asset", "pump-1", "--json")
    alarm = json.loads(listed.stdout)[0]["alarm_id"]
    table = tsad("alarms", "list", str(file))
    assert "pump-0" in table.stdout
    done = tsad("alarms", "shelve", str(file), alarm, "--minutes", "30", "--reason", "cleaning", "--by", "ann")
    assert done.stdout.endswith("pump-1: shelved\n")
    for words in (["unshelve"], ["acknowledge", "--comment", "ok"], ["take-out-of-service", "--reason", "overhaul"]):
        result = tsad("alarms", words[0], str(file), alarm, *words[1:], "--by", "ann")
        assert result.exit_code == 0, result.output
    assert tsad("alarms", "return-to-service", str(file), alarm).exit_code == 0
    assert tsad("alarms", "label", str(file), alarm, "known", "--json").exit_code == 0
    refused = tsad("alarms", "unshelve", str(file), alarm)
    assert (refused.exit_code, "is not shelved" in refused.stderr) == (1, True)
    shown = json.loads(tsad("alarms", "show", str(file), alarm).stdout)
    assert [one["kind"] for one in shown["actions"]][-1] == "shelve"


def test_without_a_daemon_the_command_line_says_so(tmp_path):
    file = tmp_path / "tsad.yaml"
    file.write_text(yaml.safe_dump({**document(tmp_path / "h.duckdb"), "http": {"port": 1}}))
    result = tsad("alarms", "list", str(file))
    assert (result.exit_code, "no daemon answers" in result.stderr) == (1, True)


def test_the_trail_is_there_for_everybody_when_the_daemon_is_stopped(plant):
    history, worker, _ = plant
    worker.annunciator.act(standing(worker).alarm_id, Action("comment", "ann", "odd smell"))
    history.close()
    with duckdb.connect(str(history.path), read_only=True) as connection:
        assert connection.execute("SELECT operator, comment FROM alarm_actions").fetchall() == [("ann", "odd smell")]
