"""The pipeline over a real history file: nothing lost, nothing twice, whenever it dies."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.sources.base import Gap, RecordBatch
from streams.configuration import Configuration
from streams.errors import StateMismatchError
from streams.pipeline import Pipeline
from tests.streams.plant import START, contents, document, event_messages, event_stream, messages, stream

RECEIVER = "http://127.0.0.1:9/hook"


def configuration(path, **changes):
    return Configuration.model_validate(document(path, webhook=RECEIVER, **changes))


def pipeline(history, **changes):
    settings = configuration(history.path, **changes)
    return Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks])


def records(values, start=0, stop=None, topic="plant", partition=0):
    chunk = values[start:stop]
    offsets = np.arange(start, start + len(chunk), dtype=np.int64)
    arrival = (START + 10**6) * 10**6
    return RecordBatch(topic, partition, chunk, offsets, np.full(len(chunk), arrival, np.int64))


def undisturbed(path, values, **changes):
    with History(path) as history:
        worker = pipeline(history, **changes)
        worker.handle([records(values)])
        worker.commit(snapshot=True)
        return contents(history)


CHANGES = [
    {},
    {"streams": [stream(history={"keep": "notable", "surroundings_rows": 5})]},
    {"streams": [stream(detectors=["robust", "sub-pca"], silent_after=20)]},
    {"streams": [stream(detectors=["sub-pca"], early={})]},
    {
        "streams": [
            stream(
                detectors=["robust"],
                sensors={"full_scale": {"flow": [-10, 10]}, "clear_rows": 5},
                silent_after="auto",
                message={"quality": {"coding": "opc_da"}},
            )
        ]
    },
]


@pytest.fixture(scope="module")
def values():
    good = messages()
    good[333:333] = [b"{broken", b'{"time": 1, "asset": "pump-0", "values": {"flow": "x"}}']
    return good


@pytest.fixture(scope="module")
def expected(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return [undisturbed(folder / f"{i}.duckdb", values, **changes) for i, changes in enumerate(CHANGES)]


def test_a_planted_fault_is_stored_with_its_webhook(expected):
    found = expected[0]

    assert len(found["transitions"]) == len(found["outbox"]) >= 2
    assert len(found["samples"]) == 800
    assert [("malformed_json" in row, "wrong_type" in row) for row in found["dead_letters"]] == [
        (True, False),
        (False, True),
    ]


def test_a_sensor_fault_is_stored_and_sent_like_any_alarm(expected):
    found = expected[4]
    sent = [row for row in found["outbox"] if "'sensor.fault'" in row]

    assert len(sent) == 2
    assert all('"fault":{"channel":"flow","kind":"saturated"' in row for row in sent)
    assert sum("sensor.cleared" in row for row in found["transitions"]) == 2


@pytest.mark.parametrize("which", range(len(CHANGES)))
@profile(max_examples=12)
@given(data=st.data())
def test_dying_anywhere_changes_nothing(values, expected, tmp_path_factory, which, data):
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    found = lives(path, values, data, "plant", CHANGES[which], 350)

    assert found == expected[which]


SETTLED = [
    {"streams": [stream(detectors=[{"name": "patchbank", "options": {"ring_rows": 100}}], history={"keep": keep})]}
    for keep in ("full", "notable")
]


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    """A recording that goes on until the settled scores of its alarms are there, and what is stored of it."""
    values, folder = messages(rows=600), tmp_path_factory.mktemp("settled")
    paths = [folder / f"{i}.duckdb" for i in range(len(SETTLED))]
    return values, paths, [undisturbed(path, values, **one) for path, one in zip(paths, SETTLED, strict=True)]


def test_an_episode_is_drawn_anew_when_its_settled_scores_are_there(redrawn):
    _, paths, found = redrawn
    assert found[0]["transitions"] == found[1]["transitions"]
    assert found[0]["episodes"] == found[1]["episodes"], "what is kept is enough"
    assert 0 < len(found[1]["delayed_scores"]) < len(found[0]["delayed_scores"])
    with History(paths[0]) as history, history.cursor() as cursor:
        episodes = cursor.execute(
            "SELECT asset, epoch_ns(started), epoch_ns(ended), epoch_ns(settled_started), epoch_ns(settled_ended) "
            "FROM episodes ORDER BY ALL"
        ).fetchall()
        settled = cursor.execute(
            "SELECT asset, epoch_ns(time), score, level FROM delayed_scores JOIN series USING (stream_id, series) "
            "WHERE delay = 95 ORDER BY time"
        ).fetchall()
    assert len(episodes) >= 2
    for asset, started, ended, settled_started, settled_ended in episodes:
        own = [(t, s, u) for a, t, s, u in settled if a == asset and started - 95 * 10**9 <= t <= ended]
        peak, level = max(s for _, s, _ in own), own[0][2]
        above = [t for t, s, _ in own if s > level + (peak - level) / 2]
        assert (settled_started, settled_ended) == (above[0], above[-1])
        # The planted fault of 20 rows lies inside.
        fault = (START + 1000 * (280 + 10 * int(asset[-1]))) * 10**6
        assert settled_started <= fault
        assert settled_ended >= fault + 19 * 10**9


def test_what_is_kept_of_notable_rows_comes_with_what_was_said_later(redrawn):
    _, paths, _ = redrawn
    with History(paths[1]) as history, history.cursor() as cursor:
        lacking = cursor.execute(
            "SELECT count(*) FROM samples WHERE p_value <= 0.001 AND (stream_id, series, time) NOT IN "
            "(SELECT (stream_id, series, time) FROM delayed_scores WHERE delay = 95)"
        ).fetchall()
    assert lacking == [(0,)]


@pytest.mark.parametrize("which", range(len(SETTLED)))
@profile(max_examples=8)
@given(data=st.data())
def test_dying_anywhere_changes_nothing_of_what_is_said_later(redrawn, tmp_path_factory, which, data):
    values, _, expected = redrawn
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    assert lives(path, values, data, "plant", SETTLED[which], 550) == expected[which]


def test_partitions_are_kept_apart(values, tmp_path):
    good = messages(assets=2)
    odd, even = [v for v in good if b"pump-1" in v], [v for v in good if b"pump-0" in v]
    found = []
    for name, order in (("a", (0, 1)), ("b", (1, 0))):
        with History(tmp_path / f"{name}.duckdb") as history:
            worker = pipeline(history)
            both = [records(even, partition=0), records(odd, partition=1)]
            for partition in order:
                worker.handle([both[partition]])
            worker.commit(snapshot=True)
            found.append(contents(history))

    assert found[0] == found[1]


def test_a_failed_commit_keeps_everything_for_the_next(values, expected, tmp_path, monkeypatch):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, 500)])
        with monkeypatch.context() as broken:
            broken.setattr(history, "commit", lambda _: (_ for _ in ()).throw(HistoryError("no space left")))
            with pytest.raises(HistoryError):
                worker.commit(snapshot=True)
        worker.handle([records(values, 500)])
        worker.commit(snapshot=True)

        assert contents(history) == expected[0]


def test_other_settings_are_refused_until_the_stream_is_learnt_anew(values, tmp_path):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, 570)])  # within the first fault: an episode is open
        worker.commit(snapshot=True)
        assert history.cursor().execute("SELECT count(*) FROM episodes WHERE state = 'active'").fetchone() == (1,)
    changed = {"streams": [stream(detectors=["sub-pca"])]}
    with History(path) as history:
        with pytest.raises(StateMismatchError, match="--relearn pumps"):
            pipeline(history, **changed)
        settings = configuration(path, **changed)
        worker = Pipeline(settings, history, endpoints=[w.endpoint() for w in settings.webhooks], relearn=["pumps"])
        assert worker.positions == {("plant", 0): 570}
        worker.handle([records(values, 570)])
        worker.commit(snapshot=True)

        rows = history.cursor().execute("SELECT alarm_id, transition_seq FROM alarm_transitions").fetchall()
        assert len(set(rows)) == len(rows)
        assert history.cursor().execute("SELECT count(*) FROM episodes WHERE state = 'active'").fetchone() == (0,)
        assert history.cursor().execute("SELECT count(DISTINCT webhook_id) FROM outbox").fetchone() == (len(rows),)


def test_the_budget_may_change_between_runs(values, tmp_path):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, 500)])
        worker.commit(snapshot=True)
    with History(path) as history:
        pipeline(history, streams=[stream(alarm={"false_alarms_per_day": 0.01})])


def test_unknown_stream_cannot_be_learnt_anew(tmp_path):
    with History(tmp_path / "h.duckdb") as history, pytest.raises(StateMismatchError, match="no such stream"):
        Pipeline(configuration(history.path), history, relearn=["boilers"])


def test_event_and_inspection_streams_are_kept_counted_and_checked(tmp_path):
    event = json.dumps({"time": START, "user": "u1", "action": "login"}).encode()
    part = json.dumps(
        {"inspection_id": "i1", "part_id": "p1", "captured_at": "2025-01-01T00:00:00Z", "pred_score": 0.4}
    ).encode()
    streams = [
        {"kind": "events", "name": "access", "topic": "e"},
        {"kind": "inspections", "name": "parts", "topic": "i"},
    ]
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, streams=streams)
        worker.handle([records([event, b"[]", b"{}", b"{", None], topic="e"), records([part, event], topic="i")])
        worker.commit(snapshot=True)
        cursor = history.cursor()

        assert cursor.execute("SELECT payload FROM events").fetchall() == [(event.decode(),)]
        assert cursor.execute("SELECT inspection_id, part_id, score FROM inspections").fetchall() == [("i1", "p1", 0.4)]
        reasons = cursor.execute("SELECT topic, record_offset, reason FROM dead_letters ORDER BY ALL").fetchall()
        assert reasons == [
            ("e", 1, "wrong_type"), ("e", 2, "missing_field"), ("e", 3, "malformed_json"), ("e", 4, "empty_message"),
            ("i", 1, "missing_field"),
        ]  # fmt: skip


def lives(path, values, data, topic, changes, most):
    """Each life handles some batches, commits some of them with or without the state, and is forgotten as if killed."""
    for _ in range(data.draw(st.integers(1, 3))):
        with History(path) as history:
            worker = pipeline(history, **changes)
            for _ in range(data.draw(st.integers(1, 4))):
                start = worker.positions.get((topic, 0), 0)
                stop = start + data.draw(st.integers(1, most))
                worker.handle([records(values, start, stop, topic=topic)] if start < len(values) else [])
                if data.draw(st.booleans()):
                    worker.commit(snapshot=data.draw(st.booleans()))
    with History(path) as history:
        worker = pipeline(history, **changes)
        start = worker.positions.get((topic, 0), 0)
        worker.handle([records(values, start, topic=topic)] if start < len(values) else [])
        worker.commit(snapshot=True)
        return contents(history)


@pytest.fixture(scope="module")
def scored_events(tmp_path_factory):
    values = event_messages()
    values[700:700] = [b"{broken", b'{"time": 1}', b'{"user": "u1"}']
    path = tmp_path_factory.mktemp("events") / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history, streams=[event_stream()])
        worker.handle([records(values, topic="plant.access")])
        worker.commit(snapshot=True)
        return values, contents(history)


def test_odd_events_and_odd_rates_are_alarmed_and_told(scored_events):
    values, found = scored_events

    odd = [row for row in found["events"] if '"vault"' in row]
    assert sum(row.count("True, ") for row in odd) >= len(odd) / 2 > 0
    assert len(found["events"]) == len(values) - 2  # without a user and a host an event is one all the same
    assert any('"host"' in row and "vault" in row and "'access'" in row for row in found["transitions"])
    assert any("'access.rate'" in row and "access/partition-0" in row for row in found["transitions"])
    assert len(found["transitions"]) == len(found["outbox"])
    assert len(found["samples"]) > 190


@profile(max_examples=12)
@given(data=st.data())
def test_dying_anywhere_changes_nothing_of_events(scored_events, tmp_path_factory, data):
    values, expected = scored_events
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    assert lives(path, values, data, "plant.access", {"streams": [event_stream()]}, 600) == expected


def test_what_was_learnt_from_several_partitions_is_stored_with_the_first_scores(tmp_path):
    values = event_messages()
    path = tmp_path / "h.duckdb"
    halves = [
        records(values, 0, 700, topic="plant.access", partition=0),
        records(values, 700, 1500, topic="plant.access", partition=1),
    ]
    with History(path) as history:
        worker = pipeline(history, streams=[event_stream(rate=None)])
        worker.commit(snapshot=True)
        worker.handle(halves)
        worker.commit(snapshot=False)  # not asked for, and made nevertheless
        before = contents(history)
    with History(path) as history:
        worker = pipeline(history, streams=[event_stream(rate=None)])
        assert worker.positions == {("plant.access", 0): 700, ("plant.access", 1): 1500}
        # Reading the other way round could not change anything now.
        worker.handle(halves[::-1])
        worker.commit(snapshot=True)
        assert contents(history) == before


def test_an_event_stream_with_other_settings_is_refused_until_it_is_learnt_anew(tmp_path):
    values = event_messages()
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history, streams=[event_stream()])
        worker.handle([records(values, 0, 1000, topic="plant.access")])
        worker.commit(snapshot=True)
    other = event_stream()
    other["scoring"]["detectors"] = ["rarity"]
    with History(path) as history:
        with pytest.raises(StateMismatchError, match="--relearn access"):
            pipeline(history, streams=[other])
        Pipeline(configuration(path, streams=[other]), history, relearn=["access"])


def test_late_and_corrected_rows_are_kept_and_counted(tmp_path):
    good = messages(rows=300, assets=1)
    late = json.loads(good[100])
    late["values"]["flow"] = 99.0
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records([*good, json.dumps(late).encode(), good[-1]])])
        worker.commit(snapshot=True)
        cursor = history.cursor()

        assert cursor.execute('SELECT "values" FROM samples WHERE flags & 8 > 0').fetchall()[0][0][0] == 99.0
        counts = dict(cursor.execute("SELECT name, count FROM counters").fetchall())
        assert (counts["late"], counts["duplicate"], counts["accepted"]) == (1, 1, 300)


def test_records_from_the_future_are_dead_letters(tmp_path):
    good = messages(rows=3, assets=1)
    future = json.dumps({"time": START + 10**9, "asset": "pump-0", "values": {"flow": 1, "pressure": 1}}).encode()
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records([good[0], future, good[1]])])
        worker.commit(snapshot=True)

        found = history.cursor().execute("SELECT record_offset, reason, detail FROM dead_letters").fetchall()
        assert [(o, r) for o, r, _ in found] == [(1, "time_in_future")]
        assert "ahead of the arrival" in found[0][2]


def test_records_that_expired_at_the_source_are_told(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.note_gaps([Gap("plant", 0, 10, 25)])
        worker.commit(snapshot=False)

        assert history.positions() == {("plant", 0): 25}
        assert history.cursor().execute("SELECT detail FROM dead_letters").fetchone()[0].startswith("offsets 10 to 24")
        assert history.cursor().execute("SELECT count FROM counters").fetchall() == [(15,)]


def test_records_that_expired_after_their_commit_are_not_lost_and_not_written_twice(values, expected, tmp_path):
    # The engines' state is older than the results; what lies between was to be read again, and is gone.
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, 300)])
        worker.commit(snapshot=True)
        worker.handle([records(values, 300, 500)])
        worker.commit(snapshot=False)
    with History(path) as history:
        worker = pipeline(history)
        assert worker.positions == {("plant", 0): 300}
        worker.note_gaps([Gap("plant", 0, 300, 400)])
        worker.handle([records(values, 400)])
        worker.commit(snapshot=True)
        found = contents(history)

    offsets = [row.rsplit(", ", 1)[1] for row in found["samples"]]
    assert len(set(offsets)) == len(offsets) == len(expected[0]["samples"])
    assert not any("records_expired" in row for row in found["dead_letters"])


def test_a_topic_that_was_made_anew_is_read_from_its_start(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.handle([records(values, 0, 400)])
        worker.commit(snapshot=True)
        worker.note_gaps([Gap("plant", 0, 400, 0)])
        fresh = records(values, 400, 500)
        worker.handle([RecordBatch("plant", 0, fresh.values, np.arange(100), fresh.arrivals)])
        worker.commit(snapshot=True)

        assert history.positions() == {("plant", 0): 100}
        assert history.cursor().execute("SELECT count(*) FROM samples").fetchone() == (498,)  # two of them are bad


def test_notable_keeps_alarms_with_their_surroundings_and_all_minutes(values, tmp_path):
    found = undisturbed(
        tmp_path / "h.duckdb", values, streams=[stream(history={"keep": "notable", "surroundings_rows": 5})]
    )

    assert 20 < len(found["samples"]) < 250
    with History(tmp_path / "h.duckdb") as history:
        cursor = history.cursor()
        first_alarm = cursor.execute("SELECT min(time) FROM samples WHERE alarm AND series = 0").fetchone()[0]
        before = cursor.execute("SELECT count(*) FROM samples WHERE series = 0 AND time < ?", [first_alarm]).fetchone()[
            0
        ]
        assert before >= 5
        # Six full minutes of two assets and two channels, sixty rows each.
        assert cursor.execute(
            "SELECT DISTINCT count FROM rollups WHERE minute > (SELECT min(minute) FROM rollups)"
        ).fetchall() == [(60,)]


def test_empty_batches_are_fine(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        worker.commit(snapshot=False)
        worker.handle([])
        assert worker.commit(snapshot=False) is False


def test_what_a_state_was_stored_before_is_read_again_from_its_beginning(values, expected, tmp_path):
    """A state that was stored while nothing had come yet knows no partition, and a partition may come later."""
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        worker.commit(snapshot=True)
        worker.handle([records(values, 0, 300)])
        worker.commit(snapshot=False)
    with History(path) as history:
        worker = pipeline(history)
        worker.handle([records(values, worker.positions[("plant", 0)])])
        worker.commit(snapshot=True)
        assert contents(history) == expected[0]


def test_a_partition_that_comes_later_is_stored_with_its_first_commit(values, tmp_path):
    good = messages(assets=2)
    first, second = [v for v in good if b"pump-0" in v], [v for v in good if b"pump-1" in v]

    def undisturbed():
        with History(tmp_path / "whole.duckdb") as history:
            worker = pipeline(history)
            worker.handle([records(first, partition=0)])
            worker.handle([records(second, partition=1)])
            worker.commit(snapshot=True)
            return contents(history)

    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        worker.handle([records(first, partition=0)])
        worker.commit(snapshot=True)
        worker.handle([records(second, 0, 150, partition=1)])
        worker.commit(snapshot=False)
    with History(path) as history:
        worker = pipeline(history)
        start = worker.positions[("plant", 1)]
        worker.handle([records(second, start, partition=1)])
        worker.commit(snapshot=True)
        assert contents(history) == undisturbed()
