"""Siblings in the daemon: nothing lost, nothing twice, though the order of partitions is not the same twice."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.errors import HistoryError
from connectors.history.database import History
from streams.errors import StateMismatchError
from streams.pipeline import Pipeline
from tests.streams.plant import START, contents, stream
from tests.streams.test_pipeline import configuration, pipeline, records
from tsad.lifecycle import Action

NODES, ROWS, TRAIN, FAULT, DEVIANT = 6, 260, 100, slice(180, 215), 4
NANO = 10**6


def messages(seed=0):
    """Nodes of one load that rises and falls; while it is high, one of them stays where it was at first."""
    random = np.random.default_rng(seed)
    load = 5 * np.sin(np.arange(ROWS) / 15)[:, None] + 0.3 * random.standard_normal((ROWS, 1))
    values = 40 + load * np.linspace(0.8, 1.2, NODES) + 0.2 * random.standard_normal((ROWS, NODES))
    values[FAULT, DEVIANT] = 40 + 0.2 * random.standard_normal(FAULT.stop - FAULT.start)
    return [
        [
            json.dumps(
                {
                    "time": START + 1000 * row,
                    "asset": f"rack/node-{node}",
                    "values": {"power": round(float(values[row, node]), 3), "fan": round(100 + float(load[row, 0]), 3)},
                }
            ).encode()
            for row in range(ROWS)
            for node in range(NODES)
            if node % 2 == side
        ]
        for side in (0, 1)
    ]


def nodes(siblings=None, **changes):
    given = {
        "groups": {"rack": "rack/*"},
        "train_rows": TRAIN,
        "alarm": {"false_alarms_per_day": 20, "off_delay": "10s"},
        **(siblings or {}),
    }
    return stream(name="nodes", train_rows=120, detectors=["robust"], **{"siblings": given, **changes})


CHANGES = [{"streams": [nodes()]}, {"streams": [nodes(history={"keep": "notable", "surroundings_rows": 5})]}]


def takes(seed, most=80):
    """How many records each of two partitions gives, time after time, until both are read; neither runs far ahead."""
    random = np.random.default_rng(seed)
    done = np.zeros(2, int)
    total = ROWS * NODES // 2
    while (done < total).any():
        take = random.integers(1, most, 2)
        take = np.minimum(take, np.minimum(done.min() + 3 * (NODES // 2), total) - done).clip(0)
        if not take.any():
            take = np.minimum(1, total - done)
        yield tuple(int(one) for one in take)
        done += take


def handle(worker, values, take):
    batches = []
    for partition in (0, 1):
        start = worker.positions.get(("plant", partition), 0)
        if take[partition]:
            batches.append(records(values[partition], start, start + take[partition], partition=partition))
    worker.handle(batches)


@pytest.fixture(scope="module")
def values():
    return messages()


@pytest.fixture(scope="module")
def expected(values, tmp_path_factory):
    found = []
    for changes in CHANGES:
        with History(tmp_path_factory.mktemp("whole") / "h.duckdb") as history:
            worker = pipeline(history, **changes)
            for take in takes(0):
                handle(worker, values, take)
            worker.commit(snapshot=True)
            found.append(contents(history))
    return found


def of_siblings(rows):
    return [row for row in rows if "nodes.siblings" in row]


def test_a_node_that_does_not_follow_the_others_is_alarmed_by_them_and_not_by_itself(values, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, **CHANGES[0])
        for take in takes(0):
            handle(worker, values, take)
        worker.commit(snapshot=True)
        alarms = history.cursor().execute(
            "SELECT stream, asset, epoch_ns(time), details FROM alarm_transitions WHERE kind = 'alarm.raised'"
        )
        raised = [
            (name, asset, (time // NANO - START) // 1000, json.loads(details)) for name, asset, time, details in
            alarms.fetchall()
        ]  # fmt: skip
        count = dict(
            history.cursor().execute("SELECT name, count FROM counters WHERE stream = 'nodes.siblings'").fetchall()
        )
        channels = history.cursor().execute(
            "SELECT channels FROM series JOIN streams USING (stream_id) WHERE name = 'nodes.siblings'"
        )
        assert {tuple(names) for (names,) in channels.fetchall()} == {("power", "fan")}
        assert worker.statistics.fitted["nodes.siblings"] == NODES

    found = [(asset, at, details) for name, asset, at, details in raised if name == "nodes.siblings"]
    assert [asset for asset, *_ in found] == [f"rack/node-{DEVIANT}"]
    assert FAULT.start <= found[0][1] < FAULT.stop
    assert found[0][2]["contributions"][0]["channel"] == "power"
    assert found[0][2]["verdicts"][0]["detector"] == "siblings"
    assert not [one for one in raised if one[0] == "nodes" and FAULT.start <= one[2] < FAULT.stop]
    assert count["rows"] == NODES * (ROWS - TRAIN)
    assert "late" not in count


def test_what_siblings_say_is_a_stream_like_any_other(expected):
    for found in expected:
        assert of_siblings(found["samples"])
        assert of_siblings(found["rollups"])
        assert of_siblings(found["outbox"])
        assert of_siblings(found["fits"])


@pytest.mark.parametrize("which", range(len(CHANGES)))
def test_other_orders_of_the_partitions_give_the_same(values, expected, tmp_path, which):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, **CHANGES[which])
        for take in takes(7):
            handle(worker, values, take)
        worker.commit(snapshot=True)
        found = contents(history)

    for table in ("transitions", "samples", "fits", "dead_letters", "positions"):
        assert sorted(found[table]) == sorted(expected[which][table])


@pytest.mark.parametrize("which", range(len(CHANGES)))
@profile(max_examples=12)
@given(data=st.data())
def test_dying_anywhere_changes_nothing(values, expected, tmp_path_factory, which, data):
    """Where it dies, what was read since the last commit is read again in the same order, or in another one."""
    path = tmp_path_factory.mktemp("lives") / "h.duckdb"
    seed = data.draw(st.integers(0, 3))
    for _ in range(data.draw(st.integers(1, 4))):
        with History(path) as history:
            worker = pipeline(history, **CHANGES[which])
            catch_up(worker, values)
            for take in takes_on(worker, seed, data.draw(st.integers(1, 20))):
                handle(worker, values, take)
                if data.draw(st.booleans()):
                    worker.commit(snapshot=data.draw(st.integers(0, 3)) == 0)
    with History(path) as history:
        worker = pipeline(history, **CHANGES[which])
        catch_up(worker, values)
        for take in takes_on(worker, seed, None):
            handle(worker, values, take)
        worker.commit(snapshot=True)
        found = contents(history)

    for table in found:
        assert found[table] == expected[which][table], table


def catch_up(worker, values):
    """Read again what was committed already."""
    committed = worker._committed
    handle(
        worker, values,
        [max(0, committed.get(("plant", p), 0) - worker.positions.get(("plant", p), 0)) for p in (0, 1)],
    )  # fmt: skip


def takes_on(worker, seed, most):
    """Like `takes`, from where a worker stands, so that neither partition ever runs far ahead."""
    random = np.random.default_rng(seed)
    total, each = ROWS * NODES // 2, NODES // 2
    while most is None or most > 0:
        done = np.array([worker.positions.get(("plant", p), 0) for p in (0, 1)])
        if (done >= total).all():
            return
        take = np.minimum(random.integers(1, 40, 2), np.minimum(done.min() + 3 * each, total) - done).clip(0)
        yield tuple(int(one) for one in take)
        most = most if most is None else most - 1


def test_a_failed_commit_keeps_everything_for_the_next(values, expected, tmp_path, monkeypatch):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, **CHANGES[0])
        worker.commit(snapshot=True)
        for place, take in enumerate(takes(0)):
            handle(worker, values, take)
            if place % 9 == 4:
                with monkeypatch.context() as broken:
                    broken.setattr(history, "commit", lambda _: (_ for _ in ()).throw(HistoryError("no space left")))
                    with pytest.raises(HistoryError):
                        worker.commit(snapshot=place % 2 == 0)
            if place % 9 == 8:
                worker.commit(snapshot=False)
        worker.commit(snapshot=False)
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, **CHANGES[0])
        catch_up(worker, values)
        worker.commit(snapshot=True)

        assert contents(history) == expected[0]


def test_notes_are_no_more_and_no_larger_than_the_state_behind_them(values, expected, tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, **CHANGES[0])
        for take in takes_on(worker, 0, None):
            handle(worker, values, take)
            worker.commit(snapshot=False)
        stored = history.snapshots()
        size = {kind: len(one.arrays) for (name, kind), one in stored.items() if name == "nodes.siblings"}
        assert {"committed", "fitted", "told-0"} <= set(size)
        number = stored["nodes.siblings", "committed"].extra["number"]
        assert 1 < number < 30
        valid = [
            len(one.arrays)
            for (name, kind), one in stored.items()
            if name == "nodes.siblings" and one.extra.get("number") == number and kind != "committed"
        ]
        assert sum(valid[:-1]) <= size["committed"]
        found = contents(history)
        assert found == expected[0]


def half(path, values):
    with History(path) as history:
        worker = pipeline(history, **CHANGES[0])
        for take in takes_on(worker, 0, 60):
            handle(worker, values, take)
        worker.commit(snapshot=True)
        stood = worker.positions["plant", 0] // (NODES // 2)
        for take in takes_on(worker, 1, 6):
            handle(worker, values, take)
            worker.commit(snapshot=False)
        return stood


@pytest.mark.parametrize("relearn", ["nodes", "nodes.siblings"])
def test_other_groups_are_refused_until_they_are_learnt_anew(values, tmp_path, relearn):
    path = tmp_path / "h.duckdb"
    assert TRAIN < half(path, values) < ROWS
    other = {"streams": [nodes({"groups": {"all": "*"}})]}
    with History(path) as history:
        with pytest.raises(StateMismatchError, match=r"other settings of siblings.*--relearn nodes\.siblings"):
            pipeline(history, **other)
        pipeline(history, streams=[nodes({"wait_rows": 3, "alarm": {"false_alarms_per_day": 1, "off_delay": "10s"}})])
        worker = Pipeline(configuration(path, **other), history, relearn=[relearn])
        assert worker.engines["nodes.siblings"].fit_count == 0
        catch_up(worker, values)
        for take in takes_on(worker, 2, None):
            handle(worker, values, take)
            worker.commit(snapshot=False)
    with History(path) as history:
        again = pipeline(history, **other)
        assert again.engines["nodes.siblings"].newest == worker.engines["nodes.siblings"].newest


def test_a_label_on_an_alarm_of_siblings_is_heeded_once(values, tmp_path):
    found = []
    for lives in (1, 2):
        path = tmp_path / f"{lives}.duckdb"
        with History(path) as history:
            worker = pipeline(history, **CHANGES[0])
            for take in takes(0):
                handle(worker, values, take)
            worker.commit(snapshot=True)
            alarm_id, episode_id = history.cursor().execute(
                "SELECT alarm_id, episode_id FROM episodes WHERE stream = 'nodes.siblings' ORDER BY started"
            ).fetchone()  # fmt: skip
            label = Action("label", "ann", "job was pinned", label="false", episode_id=episode_id)
            worker.annunciator.act(alarm_id, label)
            worker.commit(snapshot=False)
            applied, effects = history.cursor().execute("SELECT applied, effects FROM interventions").fetchone()
            assert applied is not None
            assert json.loads(effects)[0]["asset"] == f"rack/node-{DEVIANT}"
            if lives == 1:
                found.append(worker.engines["nodes.siblings"].state(fitted=False))
        if lives == 2:
            with History(path) as history:
                found.append(pipeline(history, **CHANGES[0]).engines["nodes.siblings"].state(fitted=False))
    (arrays, extra), (others, other_extra) = found
    assert json.loads(json.dumps(extra)) == json.loads(json.dumps(other_extra))
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"siblings": {"groups": {"a": "rack/*", "b": "*/node-1"}}}, "an asset has one group"),
        ({"siblings": {"groups": {"a": "*"}, "train_rows": 80}}, r"siblings\.train_rows is 80; an off_delay of 32"),
        ({"siblings": {"racks": {"a": "*"}}}, "racks"),
    ],
)
def test_siblings_that_cannot_be_are_refused(tmp_path, changes, why):
    with pytest.raises(ValidationError, match=why):
        configuration(tmp_path / "h.duckdb", streams=[stream(name="nodes", **changes)])


def test_the_name_of_the_derived_stream_must_be_free(tmp_path):
    with pytest.raises(ValidationError, match=r"the name 'nodes\.siblings' stands twice"):
        configuration(tmp_path / "h.duckdb", streams=[nodes(), stream(name="nodes.siblings")])
