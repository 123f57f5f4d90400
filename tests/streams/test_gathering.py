"""Floods, chattering and reminders as receivers see them, with a real history and over restarts."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from connectors.history.database import Commit, History
from connectors.webhooks.endpoint import WebhookEndpoint
from streams.annunciator import Annunciator
from tests.streams.plant import SECRET
from tsad.alarms import AlarmBook
from tsad.annunciation import (
    AnnunciationSettings,
    ChatteringSettings,
    FloodSettings,
    PriorityRule,
    ReAlarmSettings,
)
from tsad.lifecycle import Action

SECOND = 10**9
START = datetime(2026, 1, 1, tzinfo=UTC)
ENDPOINT = WebhookEndpoint(name="room", url="http://127.0.0.1:9/hook", secrets=(SECRET,))


class Plant:
    """Alarms by hand: what is raised and cleared when, by event time and by the clock alike."""

    def __init__(self, path, settings):
        self.path, self.settings, self.moment = path, settings, START
        self.book = AlarmBook("pumps")
        self.open()

    def open(self):
        self.history = History(self.path)
        self.annunciator = Annunciator(self.history, [ENDPOINT], settings=self.settings, now=lambda: self.moment)

    def restart(self):
        self.history.close()
        self.open()

    def wait(self, seconds):
        self.moment += timedelta(seconds=seconds)
        self.annunciator.expire()

    def step(self, kind, *assets):
        time = round(self.moment.timestamp()) * SECOND
        steps = [self.book.step(f"alarm.{kind}", asset, "r", time, (0, 0), severity="low") for asset in assets]
        commit = Commit(transitions=steps)
        with self.annunciator.lock:
            self.annunciator.take(steps, commit)  # as after a commit that failed
            quiet = self.annunciator.take(steps, commit)
            self.history.commit(commit)
            self.annunciator.taken()
        return quiet

    def told(self):
        """Types and assets of what receivers were told since the last call, sorted: alarms keep no common order."""
        with self.history.cursor() as cursor:
            rows = cursor.execute("SELECT body FROM outbox ORDER BY rowid").fetchall()
        with self.history.write_lock:
            self.history.cursor().execute("DELETE FROM outbox")
        bodies = [json.loads(body) for (body,) in rows]
        self.bodies = {(one["type"].partition(".")[2], one["data"]["asset"]): one["data"] for one in bodies}
        return sorted((one["type"].partition(".")[2], one["data"]["asset"]) for one in bodies)

    def condition(self, asset):
        return self.annunciator.condition(self.book.alarm_id(asset, "r"))


@pytest.fixture
def plant(tmp_path):
    made = []

    def make(**settings):
        made.append(Plant(tmp_path / "h.duckdb", AnnunciationSettings(**settings)))
        return made[-1]

    yield make
    for one in made:
        one.history.close()


def test_without_settings_every_transition_is_told(plant):
    p = plant()
    for _ in range(5):
        p.step("raised", *(f"p{i}" for i in range(20)))
        p.step("cleared", *(f"p{i}" for i in range(20)))
        p.wait(3600)
    assert len(p.told()) == 200
    assert p.condition("p0").seen_at is None


def test_in_a_flood_the_first_of_each_group_is_told_and_what_stands_is_told_at_its_end(plant):
    p = plant(flood=FloodSettings(more_than=3, within=600, ends_below=2))
    assert p.step("raised", "a/1", "a/2", "b/1") == 0
    p.wait(10)
    assert p.step("raised", "a/3", "c/1", "c/2") == 2
    p.restart()
    assert p.step("raised", "b/2") == 1
    assert p.told() == sorted([
        ("raised", "a/1"), ("raised", "a/2"), ("raised", "b/1"), ("flood_started", "plant"), ("raised", "c/1"),
    ])  # fmt: skip
    started = p.bodies["flood_started", "plant"]
    assert started["groups"][0] == {
        "group": "a", "count": 3,
        "first_out": {"alarm_id": p.book.alarm_id("a/1", "r"), "asset": "a/1", "time": "2026-01-01T00:00:00Z"},
    }  # fmt: skip
    p.annunciator.act(p.book.alarm_id("c/2", "r"), Action("acknowledge", "ann"))
    p.step("cleared", "a/3", "a/1")
    p.told()
    p.wait(599)
    assert p.told() == []
    p.wait(1)
    # a/3 is over and was never told; c/2 somebody has seen; b/2 stands and nobody knows of it.
    assert p.told() == sorted([("flood_ended", "plant"), ("released", "b/2")])
    ended = p.bodies["flood_ended", "plant"]
    assert (ended["state"], [(one["group"], one["count"]) for one in ended["groups"]]) == (
        "normal", [("a", 3), ("b", 2), ("c", 2)],
    )  # fmt: skip
    p.restart()
    p.step("raised", "a/3")
    assert p.told() == sorted([("raised", "a/3")])


def test_a_flood_ends_with_a_late_alarm_as_it_does_by_the_clock(plant):
    p = plant(flood=FloodSettings(more_than=2, within=60, ends_below=1))
    p.step("raised", "a/1", "a/2", "a/3", "a/4")
    p.moment += timedelta(seconds=61)
    p.step("raised", "a/5")
    assert p.told() == sorted([
        ("raised", "a/1"), ("raised", "a/2"), ("flood_started", "plant"), ("flood_ended", "plant"), ("released", "a/3"),
        ("released", "a/4"), ("raised", "a/5"),
    ])  # fmt: skip


def test_a_chattering_alarm_is_told_so_once_and_again_when_it_is_calm(plant):
    p = plant(chattering=ChatteringSettings(times=3, within=60, calm=300))
    for _ in range(6):
        p.step("raised", "p")
        p.wait(5)
        p.step("cleared", "p")
        p.wait(5)
    assert p.told() == sorted([("raised", "p"), ("cleared", "p"), ("raised", "p"), ("cleared", "p"), ("held", "p")])
    assert "raised 3 times within 60 s" in p.bodies["held", "p"]["comment"]
    p.restart()
    p.step("raised", "p")
    p.wait(299)
    assert p.told() == []
    p.wait(1)
    assert p.told() == sorted([("released", "p")])
    assert p.bodies["released", "p"]["state"] == "active_unacknowledged"
    assert p.bodies["released", "p"]["summary"].startswith("p is told again and still stands ")
    p.step("cleared", "p")
    assert p.told() == sorted([("cleared", "p")])


def test_one_that_has_cleared_by_the_time_it_is_calm_is_not_said_to_stand(plant):
    p = plant(chattering=ChatteringSettings(times=2, within=60, calm=300))
    p.step("raised", "p")
    p.step("cleared", "p")
    p.step("raised", "p")
    p.step("cleared", "p")
    p.told()
    p.wait(300)
    assert p.told() == [("released", "p")]
    assert p.bodies["released", "p"]["summary"].startswith("p is told again and has cleared ")


def test_what_nobody_has_seen_is_told_again_until_somebody_has(plant):
    p = plant(re_alarm=ReAlarmSettings(after=600, times=2))
    p.step("raised", "p", "q")
    p.wait(599)
    assert len(p.told()) == 2
    p.restart()
    p.wait(1)
    assert p.told() == sorted([("reminded", "p"), ("reminded", "q")])
    p.annunciator.act(p.book.alarm_id("q", "r"), Action("acknowledge", "ann"))
    p.told()
    p.wait(600)
    assert p.told() == sorted([("reminded", "p")])
    p.wait(6000)
    assert p.told() == []
    p.step("cleared", "p")
    p.step("raised", "p")
    p.wait(600)
    assert p.told() == [("cleared", "p"), ("raised", "p"), ("reminded", "p")]


def test_shelved_alarms_are_no_part_of_a_flood_and_are_not_told_again(plant):
    p = plant(flood=FloodSettings(more_than=3, within=600, ends_below=1), re_alarm=ReAlarmSettings(after=60))
    p.step("raised", "a/1")
    until = round((p.moment + timedelta(hours=1)).timestamp()) * SECOND
    p.annunciator.act(p.book.alarm_id("a/1", "r"), Action("shelve", "ann", "cleaning", until))
    p.step("cleared", "a/1")
    p.told()
    p.step("raised", "a/1", "a/2", "a/3")
    p.wait(120)
    assert p.told() == sorted([("raised", "a/2"), ("raised", "a/3"), ("reminded", "a/2"), ("reminded", "a/3")])


def test_a_rationalised_alarm_says_what_to_do(plant):
    p = plant(priorities=[PriorityRule(assets=("boiler",), priority="high", response="close the valve",
                                       time_to_respond=600)])  # fmt: skip
    p.step("raised", "boiler", "pump")
    p.told()
    boiler, pump = p.bodies["raised", "boiler"], p.bodies["raised", "pump"]
    assert (boiler["priority"], boiler["response"], boiler["time_to_respond_seconds"]) == (
        "high",
        "close the valve",
        600,
    )
    assert pump["priority"] == "advisory"
    p.annunciator.act(p.book.alarm_id("boiler", "r"), Action("acknowledge", "ann"))
    p.told()
    assert p.bodies["acknowledged", "boiler"]["priority"] == "high"
