"""Parts in the daemon: what three topics tell is joined exactly once, and told."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.encoders.registry import FORMATS, encode
from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.sources.base import RecordBatch
from streams.arrival_merge import ArrivalMerge
from streams.configuration import Configuration, load_configuration
from streams.console.views import newest_words
from streams.errors import StateMismatchError
from streams.pipeline import Pipeline
from tests.streams.line import SECOND, TOPICS, image, records, simulated, streams
from tests.streams.plant import QUERIES, SECRET, document
from tsad.fusion.part_events import PartEventKind, PartEvents

ALL = {
    **QUERIES,
    "parts": """SELECT part_id, amendment, final, epoch_ns(time), scores, p_values, p_value, method, decided_by,
        flagged, missing, station, channel, epoch_ns(began), shared_by, closer_imaging FROM parts""",
    "genealogy": "SELECT part_id, station, epoch_ns(started), epoch_ns(time), shared_by FROM genealogy",
    "inspections": "SELECT inspection_id, part_id, station, camera, epoch_ns(time), score FROM inspections",
}


def contents(history):
    with history.cursor() as cursor:
        return {name: sorted(map(repr, cursor.execute(query).fetchall())) for name, query in ALL.items()}


def pipeline(history, **joining):
    settings = Configuration.model_validate(
        document(history.path, webhook="http://127.0.0.1:9/hook", streams=streams(**joining))
    )
    endpoints = [endpoint for hook in settings.webhooks for endpoint in hook.endpoints()]
    return Pipeline(settings, history, endpoints=endpoints)


def piece(batch, start, stop):
    return RecordBatch(
        batch.topic, batch.partition, batch.values[start:stop], batch.offsets[start:stop], batch.arrivals[start:stop]
    )


def run(worker, batches, until):
    """Hand over all records up to a moment of arrival."""
    handed = []
    for topic in TOPICS:
        start = worker.positions.get((topic, 0), 0)
        stop = max(start, int(np.searchsorted(batches[topic].arrivals, until)))
        if stop > start:
            handed.append(piece(batches[topic], start, stop))
    worker.handle(handed)


@pytest.fixture(scope="module")
def line():
    return simulated()


@pytest.fixture(scope="module")
def batches(line):
    return records(line)


@pytest.fixture(scope="module")
def expected(batches, tmp_path_factory):
    with History(tmp_path_factory.mktemp("whole") / "h.duckdb") as history:
        worker = pipeline(history)
        run(worker, batches, np.iinfo(np.int64).max)
        worker.commit(snapshot=True)
        return contents(history)


def test_defects_are_flagged_told_and_explained(line, batches, expected, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        run(worker, batches, np.iinfo(np.int64).max)
        worker.commit(snapshot=True)
        cursor = history.cursor()
        rows = cursor.execute(
            "SELECT part_id, flagged, station, channel, epoch_ns(began), missing FROM parts WHERE final"
        ).fetchall()
        alarms = cursor.execute(
            "SELECT kind, asset, transition_seq, details FROM alarm_transitions WHERE stream = 'inspection.parts'"
        ).fetchall()
        bodies = cursor.execute("SELECT body FROM outbox WHERE event_type = 'part.flagged'").fetchall()
        open_parts = cursor.execute("SELECT count(*) FROM episodes WHERE stream = 'inspection.parts'").fetchone()[0]
    assert share_found(rows, line) > 0.6
    numbers = {name: i for i, name in enumerate(line.part)}
    flagged = [row for row in rows if row[1] and line.cause_station[numbers[row[0]]] >= 0 and row[2]]
    places = [
        (station, channel, began)
        == (line.settings.stations[line.cause_station[i]], f"c{line.cause_channel[i]}", line.cause_time[i])
        for part, _, station, channel, began, _ in flagged
        for i in [numbers[part]]
    ]
    assert len(places) > 3
    assert np.mean(places) > 0.7
    assert {kind for kind, *_ in alarms} >= {"part.flagged", "part.closed"}
    assert open_parts
    parts = [(kind, asset, json.loads(details)["part"]) for kind, asset, _, details in alarms]
    assert all(kind == "part.closed" if part is None else part["part_id"] == asset for kind, asset, part in parts)
    assert all(json.loads(body)["data"]["part_id"] for (body,) in bodies)
    assert len(bodies) == sum(kind == "part.flagged" for kind, *_ in alarms)
    assert any(row[5] for row in rows)  # an image that never came


def test_the_console_and_every_format_can_tell_of_a_part(batches, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        run(worker, batches, np.iinfo(np.int64).max)
        worker.commit(snapshot=True)
        cursor = history.cursor()
        (alarm_id, part_id), *_ = cursor.execute(
            "SELECT alarm_id, asset FROM alarm_transitions WHERE kind = 'part.flagged'"
        ).fetchall()
        bodies = cursor.execute("SELECT body FROM outbox WHERE event_type LIKE 'part.%'").fetchall()
        words = newest_words(SimpleNamespace(history=history, pipeline=worker), alarm_id)
    assert words["part_id"] == part_id
    assert words["summary"].startswith(f"part {part_id} ")
    options = {"routing_key": "r" * 32, "source": "urn:tsad"}
    for name, form in FORMATS.items():
        assert form.has_words_for("part.flagged"), name
        for event in [json.loads(body) for (body,) in bodies[:5]]:
            known = (event["data"]["asset"], event["data"]["alarm_id"])
            assert any(text.encode() in encode(name, event, options).body for text in known), name


def share_found(rows, line):
    """Share of flagged parts among the strong defects that could be judged."""
    numbers = {name: i for i, name in enumerate(line.part)}
    found = [flagged for part, flagged, *_ in rows if line.kind[numbers[part]] == 0 and numbers[part] > 120]
    assert len(found) > 10
    return np.mean(found)


@profile(max_examples=6, deadline=None)
@given(
    shares=st.lists(st.floats(0, 1), min_size=2, max_size=6),
    lives=st.lists(st.sampled_from(["go on", "commit", "snapshot", "die"]), min_size=6, max_size=6),
)
@example(shares=[0.0, 0.4, 0.6, 0.8], lives=["commit", "commit", "commit", "die", "go on", "go on"])
def test_dying_anywhere_changes_nothing_of_parts(batches, expected, tmp_path_factory, shares, lives):
    """Each life hears the three topics in pieces of its own, commits some of them, and is forgotten as if killed."""
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    first, last = int(batches[TOPICS[0]].arrivals[0]), int(batches[TOPICS[2]].arrivals[-1])
    moments = [first + int(share * (last - first)) for share in sorted(shares)]
    history = History(path)
    worker = pipeline(history)
    for moment, what in zip(moments, lives, strict=False):
        run(worker, batches, moment)
        if what in {"commit", "snapshot"}:
            worker.commit(snapshot=what == "snapshot")
        elif what == "die":
            history.close()
            history = History(path)
            worker = pipeline(history)
    run(worker, batches, np.iinfo(np.int64).max)
    worker.commit(snapshot=True)
    found = contents(history)
    history.close()
    assert found == expected


def test_a_failed_commit_keeps_everything_for_the_next(batches, expected, tmp_path, monkeypatch):
    middle = int(np.median(batches[TOPICS[0]].arrivals))
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        run(worker, batches, middle)
        with monkeypatch.context() as broken:
            broken.setattr(history, "commit", lambda _: (_ for _ in ()).throw(HistoryError("no space left")))
            with pytest.raises(HistoryError):
                worker.commit(snapshot=True)
        run(worker, batches, np.iinfo(np.int64).max)
        worker.commit(snapshot=True)
        assert contents(history) == expected


def test_settings_of_joining_may_not_change_unless_it_is_learnt_anew(batches, tmp_path):
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history)
        run(worker, batches, int(batches[TOPICS[2]].arrivals[-1]))
        worker.commit(snapshot=True)
    with History(path) as history:
        pipeline(history, false_parts=0.001, rule="cauchy", decide_by="inspection/camera-1", wait="1min")
        with pytest.raises(StateMismatchError, match=r"--relearn inspection\.parts"):
            pipeline(history, train_parts=60)
        settings = Configuration.model_validate(document(path, streams=streams(train_parts=60)))
        Pipeline(settings, history, relearn=["inspection.parts"])


def told(history, values, arrival=None):
    """Counts and dead letters of some inspection records."""
    worker = pipeline(history)
    at = np.full(len(values), arrival if arrival is not None else 1_750_000_100 * SECOND, np.int64)
    encoded = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    worker.handle([RecordBatch(TOPICS[2], 0, encoded, np.arange(len(values), dtype=np.int64), at)])
    worker.commit(snapshot=True)
    cursor = history.cursor()
    letters = cursor.execute("SELECT record_offset, reason FROM dead_letters ORDER BY ALL").fetchall()
    return dict(cursor.execute("SELECT name, count FROM counters").fetchall()), letters


def test_bad_inspections_get_dead_letters_and_repeated_ones_are_recognised(tmp_path):
    at = 1_750_000_000 * SECOND
    good = image("i1", "p1", 0, at, 1.0)
    values = [
        good,
        good,
        image("i1", "p1", 0, at, 2.0),
        {**image("i2", "p1", 0, at, 1.0), "camera": None},
        image("i3", "p1", 7, at, 1.0),
        image("i4", "p1", 0, at + 2000 * SECOND, 1.0),
        image("i5", "p1", 0, at, 1.0, pred_score=1.5),
        image("i6", "p1", 0, at, float("nan")),
        b"{broken",
    ]
    with History(tmp_path / "h.duckdb") as history:
        counts, letters = told(history, values)
        assert letters == [
            (3, "missing_camera"), (4, "unknown_camera"), (5, "time_in_future"), (6, "score_out_of_range"),
            (7, "score_not_finite"), (8, "malformed_json"),
        ]  # fmt: skip
        assert (counts["accepted"], counts["duplicate"], counts["correction"]) == (2, 1, 1)
        # What came before a restart is recognised after it.
        worker = pipeline(history)
        again = RecordBatch(TOPICS[2], 0, [json.dumps(good).encode()], np.array([9]), np.array([at + SECOND]))
        worker.handle([again])
        worker.commit(snapshot=False)
        rows = history.cursor().execute("SELECT count FROM counters WHERE name = 'correction'").fetchall()
        assert rows == [(2,)]  # its content is that before the correction


def test_bad_intervals_get_dead_letters_and_batches_fan_out(tmp_path):
    def interval(**changes):
        good = {"part_id": "a", "station": "oven", "started": "2025-06-15T15:06:40Z", "ended": "2025-06-15T15:06:48Z"}
        return json.dumps({k: v for k, v in {**good, **changes}.items() if v != "gone"}).encode()

    values = [
        interval(part_id="gone", part_ids=["a", "b", "b"]), interval(station="mill"), b"", b"{", b"[]",
        interval(part_id="gone"), interval(part_ids=[]), interval(part_ids=["x", 1]), interval(station="gone"),
        interval(ended="2025-06-15T15:06:39Z"), interval(started=5), interval(ended="2026-06-15T15:06:40Z"),
        interval(part_ids=[str(i) for i in range(10_001)]),
    ]  # fmt: skip
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history)
        at = np.full(len(values), 1_750_000_010 * SECOND, np.int64)
        worker.handle([RecordBatch(TOPICS[1], 0, values, np.arange(len(values), dtype=np.int64), at)])
        worker.commit(snapshot=True)
        cursor = history.cursor()
        rows = cursor.execute("SELECT part_id, station, shared_by FROM genealogy").fetchall()
        assert rows == [("a", "oven", 2), ("b", "oven", 2), ("a", "mill", 1)]
        letters = [r for (r,) in cursor.execute("SELECT reason FROM dead_letters ORDER BY record_offset").fetchall()]
        assert letters == [
            "empty_message", "malformed_json", "wrong_type", "missing_field", "missing_field", "missing_field",
            "missing_field", "bad_time", "bad_time", "time_in_future", "too_many_parts",
        ]  # fmt: skip
        counts = dict(cursor.execute("SELECT name, count FROM counters").fetchall())
        assert counts["other_station"] == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"process_stream": "genealogy"}, "no stream of kind numeric"),
        ({"genealogy_stream": "nobody"}, "no stream of kind genealogy"),
        ({"genealogy_stream": None}, "name genealogy_stream and process_stream"),
    ],
)
def test_joining_needs_its_streams(tmp_path, changes, problem):
    with pytest.raises(ValueError, match=problem):
        Configuration.model_validate(document(tmp_path / "h.duckdb", streams=streams(**changes)))


# ---------------------------------------------------------------------------------------------- merging


def heard(kind, arrivals):
    n = len(arrivals)
    zeros = np.zeros(n, np.int64)
    return PartEvents(
        np.full(n, kind, np.uint8), np.array(arrivals, np.int64), zeros.astype(np.int32), [None] * n, zeros, zeros,
        np.zeros(n), zeros.astype(np.int32),
    )  # fmt: skip


def merged(merge, kind, arrivals, partition=0):
    merge.add(heard(kind, arrivals), np.full(len(arrivals), partition, np.int32))
    out = merge.release()
    return list(zip(out.kind.tolist(), out.arrival.tolist(), strict=True))


IMAGE, ROW = PartEventKind.IMAGE, PartEventKind.ROW


def test_events_wait_for_what_may_come_before_them():
    merge = ArrivalMerge(frozenset({IMAGE, ROW}), 100)
    assert merged(merge, IMAGE, [10, 30]) == []
    assert merged(merge, ROW, [5, 20]) == [(ROW, 5), (IMAGE, 10)]
    assert merged(merge, ROW, [15, 40]) == [(ROW, 20), (ROW, 20)]  # no source goes back in time
    assert merged(merge, ROW, [140]) == [(IMAGE, 30)]  # the images are silent: after a while they are not waited for
    assert len(merge) == 2


@given(st.lists(st.integers(0, 50), max_size=20), st.lists(st.integers(0, 50), max_size=20), st.data())
def test_the_order_does_not_depend_on_how_sources_were_read(images, process, data):
    images, process = sorted(images), sorted(process)
    whole = ArrivalMerge(frozenset({IMAGE, ROW}), 1000)
    merged(whole, IMAGE, images)
    expected = merged(whole, ROW, process)
    pieces, found = ArrivalMerge(frozenset({IMAGE, ROW}), 1000), []
    while images or process:
        mine, kind = (images, IMAGE) if not process or (images and data.draw(st.booleans())) else (process, ROW)
        n = data.draw(st.integers(1, len(mine)))
        found += merged(pieces, kind, mine[:n])
        del mine[:n]
        arrays, extra = pieces.state()
        pieces = ArrivalMerge(frozenset({IMAGE, ROW}), 1000)
        pieces.restore(arrays, json.loads(json.dumps(extra)))
    if whole._newest.keys() >= {(int(IMAGE), 0), (int(ROW), 0)}:
        assert found == expected


def test_the_example_configuration_judges_a_line(tmp_path):
    example = Path(__file__).parents[2] / "configs" / "inspection-line.yaml"
    environment = {
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CONTROL_ROOM_URL": "http://127.0.0.1:9/hook",
        "CONTROL_ROOM_SECRET": SECRET,
    }
    settings = load_configuration(example, environment)
    assert {s.topic for s in settings.streams} == set(TOPICS)
    told = records(simulated(1150, clean_parts=1080, defect_share=0.5, channels=1))
    with History(tmp_path / "h.duckdb") as history:
        worker = Pipeline(settings, history)
        worker.handle(list(told.values()))
        worker.commit(snapshot=True)
        found = history.cursor().execute("SELECT count(*), count(p_value), sum(flagged::INT) FROM parts").fetchone()
        assert found[0] > 2000
        assert found[1] > 50
        assert found[2] > 10
