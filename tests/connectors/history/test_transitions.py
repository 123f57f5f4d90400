"""Alarm transitions as they come back from a real history file."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.history.database import Commit, History
from connectors.history.transitions import newest_transitions
from tsad.alarms import AlarmBook, AlarmTransition, Contribution, OddAttribute, PartEvidence, Verdict
from tsad.quality.faults import MaskedChannel, SensorFault

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
numbers = st.floats(allow_nan=False)
maybe = st.none() | numbers
times = st.integers(0, 2**62)
parts = st.builds(
    PartEvidence, part_id=texts, final=st.booleans(), flagged=st.booleans(), method=texts, dependence=maybe,
    decided_by=st.none() | texts, missing=st.lists(texts, max_size=2).map(tuple),
    uncalibrated=st.lists(texts, max_size=2).map(tuple), station=st.none() | texts, channel=st.none() | texts,
    began=st.none() | times, shared_by=st.integers(0, 9), closer_imaging=st.booleans(),
)  # fmt: skip
details = st.fixed_dictionaries(
    {},
    optional={
        "contributions": st.builds(
            Contribution, texts, numbers, maybe, maybe, maybe, maybe,
            st.sampled_from(["high", "low", "within", "unknown"]),
        ).map(lambda one: (one,)),
        "attributes": st.builds(
            OddAttribute, texts, numbers, texts, st.booleans(), st.lists(st.tuples(texts, maybe), max_size=2).map(tuple)
        ).map(lambda one: (one,)),
        "verdicts": st.builds(Verdict, texts, maybe, maybe).map(lambda one: (one,)),
        "part": parts,
        "fault": st.builds(SensorFault, st.none() | texts, texts, times, st.none() | texts),
        "masked": st.builds(MaskedChannel, texts, texts).map(lambda one: (one,)),
        "nearest_normal": times,
        "score": maybe,
        "one_in_days": maybe,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    with History(tmp_path_factory.mktemp("history") / "h.duckdb") as found:
        yield found


def read(history, alarm_ids, **options):
    with history.cursor() as cursor:
        return {one.alarm_id: one for one in newest_transitions(cursor, alarm_ids, **options)}


@settings(max_examples=60, deadline=None)
@given(one=details, asset=texts, time=times)
def test_a_transition_comes_back_as_it_was_written(history, one, asset, time):
    written = AlarmBook("s").step("alarm.raised", asset, "anomaly", time, (3, 7), severity="high", details=one)
    cursor = history.cursor()
    cursor.execute("DELETE FROM alarm_transitions")
    history.commit(Commit(transitions=[written]))
    assert read(history, [written.alarm_id]) == {written.alarm_id: written}


def test_the_newest_counts_and_the_newest_that_left_it_active_says_what_it_was(history):
    history.cursor().execute("DELETE FROM alarm_transitions")
    book = AlarmBook("s")
    made = [
        book.step(kind, asset, "anomaly", time, (0, time), severity="low")
        for kind, asset, time in (
            ("alarm.raised", "a", 1), ("alarm.raised", "b", 2), ("alarm.updated", "a", 3), ("alarm.cleared", "a", 4),
        )
    ]  # fmt: skip
    history.commit(Commit(transitions=made))
    a, b = book.alarm_id("a", "anomaly"), book.alarm_id("b", "anomaly")
    assert read(history, [a, b, "alm_none"]) == {a: made[3], b: made[1]}
    assert read(history, [a, b], active=True) == {a: made[2], b: made[1]}
    assert read(history, []) == {}


def test_one_of_an_older_version_that_says_less_is_read(history):
    cursor = history.cursor()
    cursor.execute("DELETE FROM alarm_transitions")
    written = AlarmBook("s").step("alarm.raised", "a", "anomaly", 5, (0, 1), severity="low")
    history.commit(Commit(transitions=[written]))
    cursor.execute("UPDATE alarm_transitions SET details = ?", [json.dumps({"contributions": [], "verdicts": []})])
    found = read(history, [written.alarm_id])[written.alarm_id]
    assert isinstance(found, AlarmTransition)
    assert found == replace(written)
