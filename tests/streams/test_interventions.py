"""Operators' words reach the engines at a definite place: whenever the daemon dies, the history is the same."""

from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.history.interventions import load_interventions, read_versions
from streams.intervention_desk import InterventionRefusedError
from streams.pipeline import Pipeline
from tests.streams.plant import START, contents, messages, stream
from tests.streams.test_pipeline import configuration, records
from tsad.lifecycle import Action

LABEL_AT, END = 720, 960  # the alarm of the first fault clears before the end, that of both detectors too
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANGES = [
    {"streams": [stream(detectors=["robust"])]},
    {"streams": [stream(detectors=[{"name": "patchbank", "options": {"ring_rows": 64}}, "robust"])]},
]


def pipeline(history, which=0):
    settings = configuration(history.path, **CHANGES[which])
    return Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks], now=lambda: NOW)


@pytest.fixture(scope="module")
def values():
    return messages(END // 2)


def first_alarm(history):
    with history.cursor() as cursor:
        return cursor.execute(
            "SELECT alarm_id, episode_id, epoch_ns(started), epoch_ns(ended), asset FROM episodes ORDER BY started"
        ).fetchone()


def said(worker, history, label):
    """Say the label, once all is committed up to the place where it is to be heeded."""
    alarm = first_alarm(history)
    worker.annunciator.act(alarm[0], Action("label", "ann", "seen", label=label, episode_id=alarm[1]))


def all_of(history):
    found = contents(history)
    with history.cursor() as cursor:
        found["interventions"] = [
            (one.number, one.kind, one.asset, one.start, one.end, one.applied, one.effects)
            for one in load_interventions(cursor)
        ]
        found["versions"] = read_versions(cursor)
    return found


@pytest.fixture(scope="module")
def undisturbed(values, tmp_path_factory):
    """The history of a daemon that never dies and commits at the place of the label, and at another one behind it."""

    @cache
    def run(which, label, behind=None):
        with History(tmp_path_factory.mktemp("undisturbed") / "h.duckdb") as history:
            worker = pipeline(history, which)
            worker.handle([records(values, 0, LABEL_AT)])
            worker.commit(snapshot=True)
            said(worker, history, label)
            worker.commit(snapshot=False)
            if behind is not None:
                worker.handle([records(values, LABEL_AT, behind)])
                worker.commit(snapshot=False)
            worker.handle([records(values, behind or LABEL_AT)])
            worker.commit(snapshot=True)
            return all_of(history)

    return run


@pytest.fixture(scope="module")
def expected(undisturbed):
    return {(which, label): undisturbed(which, label) for which in range(len(CHANGES)) for label in ("true", "false")}


LIVES = st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.booleans(), st.booleans()), max_size=3)


@pytest.mark.parametrize("which", range(len(CHANGES)))
@profile(max_examples=6, deadline=None)
@given(
    label=st.sampled_from(["true", "false"]),
    cut=st.integers(1, LABEL_AT - 1),
    stored=st.tuples(st.booleans(), st.booleans()),
    heeded=st.booleans(),
    lives=LIVES,
)
def test_dying_anywhere_around_a_label_changes_nothing(
    values, undisturbed, tmp_path_factory, which, label, cut, stored, heeded, lives
):
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history, which)
        worker.handle([records(values, 0, cut)])
        worker.commit(snapshot=stored[0])
        worker.handle([records(values, cut, LABEL_AT)])
        worker.commit(snapshot=stored[1])
        said(worker, history, label)
        if heeded:
            worker.commit(snapshot=False)
    for heeds, rows, commits, snapshot in lives:
        with History(path) as history:
            worker = pipeline(history, which)
            waits = bool(load_interventions(history.cursor(), waiting=True))
            start = worker.positions["plant", 0]
            # What was heeded is stored with the state behind it: nothing before it is read again.
            assert waits or start >= LABEL_AT
            if start < LABEL_AT:
                worker.handle([records(values, start, LABEL_AT)])
            if waits and not heeds:
                continue
            worker.commit(snapshot=False)
            start = worker.positions["plant", 0]
            if start < END:
                worker.handle([records(values, start, start + rows)])
            if commits:
                worker.commit(snapshot=snapshot)
    with History(path) as history:
        worker = pipeline(history, which)
        if worker.positions["plant", 0] < LABEL_AT:
            worker.handle([records(values, worker.positions["plant", 0], LABEL_AT)])
        worker.commit(snapshot=False)
        start = worker.positions["plant", 0]
        if start < len(values):
            worker.handle([records(values, start)])
        worker.commit(snapshot=True)
        found = all_of(history)
    # The rest of an alarm that stood when it was labelled is heeded with the first commit behind its end, and so at
    # another place where a life ended in between; that place is what the undisturbed daemon is given.
    (_, _, place), *others = [one for words in found["interventions"] for one in words[5]]
    assert (place, len(others) <= 1) == (LABEL_AT, True)
    assert found == undisturbed(which, label, *(place for _, _, place in others if place < len(values)))


def test_labels_of_another_kind_give_other_thresholds(expected):
    for which in range(len(CHANGES)):
        assert expected[which, "true"]["samples"] != expected[which, "false"]["samples"]


def test_a_label_is_heeded_with_its_effect_and_what_was_before_it(expected):
    number, kind, asset, _, _, applied, effects = expected[0, "false"]["interventions"][0]

    assert (number, kind, applied) == (1, "false_alarm", [["plant", 0, LABEL_AT]])
    assert effects[0]["asset"] == asset
    assert effects[0]["clusters"] == 1
    assert effects[0]["after"]["excess"] > effects[0]["before"]["excess"]
    assert [(one.number, one.asset) for one in expected[0, "false"]["versions"]] == [(1, asset)]


def test_a_change_is_rolled_back(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, LABEL_AT)])
        worker.commit(snapshot=True)
        said(worker, history, "false")
        worker.commit(snapshot=False)
        worker.desk.roll_back(1, by="ann", reason="it was one after all", at=1)
        worker.commit(snapshot=False)
        first, second = load_interventions(history.cursor())

    assert second.kind == "restore"
    assert second.effects[0]["before"] == first.effects[0]["after"]
    assert second.effects[0]["after"] == first.effects[0]["before"]


def test_what_cannot_be_is_refused(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        desk = pipeline(history).desk
        with pytest.raises(InterventionRefusedError, match="nothing is kept from before change 7"):
            desk.roll_back(7, by="ann", reason="x", at=1)
        with pytest.raises(InterventionRefusedError, match="no stream"):
            desk.submit("maintenance", ["boilers"], "*", (0, 1), by="ann", reason="x", at=1)
        with pytest.raises(InterventionRefusedError, match="say who"):
            desk.submit("maintenance", ["pumps"], "*", (0, 1), by=" ", reason="x", at=1)
        with pytest.raises(InterventionRefusedError, match="ends before"):
            desk.submit("bad", ["pumps"], "*", (2, 1), by="ann", reason="x", at=1)
        with pytest.raises(InterventionRefusedError, match="no maintenance 3"):
            desk.end_maintenance(3, by="ann", reason="x", at=1)
        assert load_interventions(history.cursor()) == []


def test_a_failed_commit_heeds_nothing_twice(values, expected, tmp_path, monkeypatch):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, LABEL_AT)])
        worker.commit(snapshot=True)
        said(worker, history, "false")
        with monkeypatch.context() as broken:
            broken.setattr(history, "commit", lambda _: (_ for _ in ()).throw(HistoryError("no space left")))
            with pytest.raises(HistoryError):
                worker.commit(snapshot=False)
        worker.handle([records(values, LABEL_AT)])
        worker.commit(snapshot=False)
        assert all_of(history) == expected[0, "false"]


def test_an_alarm_that_is_labelled_while_it_stands_is_heeded_again_when_it_is_over(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, 1)
        worker.handle([records(values, 0, 570)])  # within the first fault
        worker.commit(snapshot=True)
        alarm = first_alarm(history)
        assert alarm[3] is None
        said(worker, history, "true")
        worker.commit(snapshot=False)
        worker.handle([records(values, 570)])
        worker.commit(snapshot=False)
        first, second = load_interventions(history.cursor())

    assert first.episode_id == second.episode_id == alarm[1]
    assert first.start == second.start == alarm[2]
    assert second.end < first.end


def test_the_rest_of_a_labelled_alarm_is_heeded_after_a_crash_between_its_clearing_and_that(values, tmp_path):
    found = []
    for dies in (False, True):
        with History(tmp_path / f"{dies}.duckdb") as history:
            worker = pipeline(history, 1)
            worker.handle([records(values, 0, 570)])  # within the first fault
            worker.commit(snapshot=True)
            said(worker, history, "true")
            worker.commit(snapshot=False)
            if dies:
                # As when another partition is read again meanwhile: the clearing is written, the rest waits.
                with pytest.MonkeyPatch.context() as patched:
                    patched.setattr(worker.desk, "heed", lambda *_: False)
                    worker.handle([records(values, 570, END)])
                    worker.commit(snapshot=True)
                assert len(load_interventions(history.cursor())) == 1
                worker = pipeline(history, 1)
            else:
                worker.handle([records(values, 570, END)])
            worker.commit(snapshot=False)
            first, second = load_interventions(history.cursor())
            found.append((first.effects, second.start, second.end, second.applied, second.effects))
            assert len(load_interventions(history.cursor())) == 2
            assert pipeline(history, 1).commit(snapshot=False) in {True, False}
            assert len(load_interventions(history.cursor())) == 2  # and once only
    assert found[0] == found[1]


def test_what_was_kept_before_a_stream_was_learnt_anew_is_not_put_back(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, LABEL_AT)])
        worker.commit(snapshot=True)
        said(worker, history, "false")
        worker.commit(snapshot=False)
        worker.desk.roll_back(1, by="ann", reason="asked for, and not done before the stop", at=1)
        settings = configuration(history.path, **CHANGES[1])
        worker = Pipeline(settings, history, now=lambda: NOW, relearn=["pumps"])
        with pytest.raises(InterventionRefusedError, match="nothing is kept from before change 1"):
            worker.desk.roll_back(1, by="ann", reason="of another detector", at=1)
        worker.handle([records(values, LABEL_AT)])
        worker.commit(snapshot=True)
        assert read_versions(history.cursor()) == []
        assert load_interventions(history.cursor())[1].effects == []
        # What is said from here on is kept again.
        worker.desk.submit("bad", ["pumps"], "pump-0", (0, 1), by="ann", reason="x", at=1)
        worker.commit(snapshot=True)
        assert load_interventions(history.cursor())[2].applied is not None


def maintained(history, kind, values):
    """Alarms by their state, with maintenance over the first fault, declared or known beforehand."""
    start, end = (START + 270_000) * 10**6, (START + 330_000) * 10**6
    changes = dict(CHANGES[0])
    if kind == "known":
        times = {key: datetime.fromtimestamp(ns / 1e9, UTC).isoformat() for key, ns in (("start", start), ("end", end))}
        changes["alarms"] = {"maintenance": [{"reason": "overhaul", "assets": ["pump-0"], **times}]}
    settings = configuration(history.path, **changes)
    worker = Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks], now=lambda: NOW)
    if kind == "declared":
        worker.desk.submit("maintenance", ["pumps"], "pump-0", (start, end), by="ann", reason="overhaul", at=1)
        worker.commit(snapshot=True)
    return worker


@pytest.mark.parametrize("kind", ["known", "declared"])
def test_an_alarm_in_maintenance_is_suppressed_by_design_and_audited(values, tmp_path, kind):
    with History(tmp_path / "h.duckdb") as history:
        worker = maintained(history, kind, values)
        worker.handle([records(values, 0, 575)])
        worker.commit(snapshot=True)
        states = {one.asset: one.state for one in worker.annunciator.conditions()}
        cursor = history.cursor()
        told = {row[0] for row in cursor.execute("SELECT alarm_id FROM outbox").fetchall()}
        trail = cursor.execute("SELECT kind, comment FROM alarm_actions").fetchall()
        pump = next(one for one in worker.annunciator.conditions() if one.asset == "pump-0")

        assert states["pump-0"] == "suppressed_by_design"
        assert pump.alarm_id not in told
        assert trail == [("suppress", "overhaul")]
        worker.handle([records(values, 575)])
        worker.commit(snapshot=True)
        worker.annunciator.expire()
        after = worker.annunciator.condition(pump.alarm_id)
        assert not after.suppressed
