"""Every asset against its siblings, step by step: cut anyhow, in any order that lags little, from any stored state."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tsad.naive import compared_with_siblings
from tsad.errors import SnapshotError, StoppedError
from tsad.fleet.following import Following, judge, learn, median_of_group
from tsad.fleet.sibling_engine import SiblingEngine
from tsad.fleet.sibling_settings import SiblingSettings, SiblingStream, common_name
from tsad.interventions import Intervention
from tsad.observations import RowBatch, RowFlag

STEP, START = 10**9, 1_767_225_600 * 10**9
NODES, CHANNELS, TRAIN, ROWS = 6, ("x", "y", "z"), 90, 190
FAULT = slice(130, 160)
DEVIANT = 2


def readings(seed=0, rows=ROWS, nodes=NODES):
    """float32[t, k, 3], nodes that follow one load, each in its own way; one of them leaves it for a while."""
    random = np.random.default_rng(seed)
    load = np.cumsum(random.standard_normal((rows, 1, 3)), axis=0) / 5
    values = load * random.uniform(0.5, 2, (1, nodes, 3)) + 0.1 * random.standard_normal((rows, nodes, 3))
    values[FAULT, DEVIANT, 1] += 2.0
    return values.astype(np.float32)


def batch(values, *, first=0, flags=None):
    """Rows of all nodes step by step; the offset of a row is its place."""
    t, k, _ = values.shape
    series = np.tile(np.arange(k, dtype=np.int32), t)
    times = START + STEP * np.repeat(np.arange(first, first + t), k)
    return RowBatch(
        series, times, values.reshape(t * k, -1), np.zeros(t * k, np.uint8) if flags is None else flags,
        np.zeros(t * k, np.int32), np.arange(t * k),
    )  # fmt: skip


def engine(nodes=NODES, **changes):
    siblings = SiblingSettings.model_validate(
        {
            "groups": {"rack": "node-*"},
            "train_rows": TRAIN,
            "alarm": {"false_alarms_per_day": 50, "off_delay": 10},
            **changes,
        }
    )
    made = SiblingEngine(SiblingStream("nodes.siblings", 1.0, siblings, CHANNELS, max_ahead=20.0))
    for node in range(nodes):
        made.table.add(f"node-{node}")
    return made


def said(outputs, table):
    """Everything that was said, in an order of its own."""
    rows, transitions, fits = [], [], []
    for out in outputs:
        rows += [
            (table.assets[s], *rest)
            for s, *rest in zip(
                out.rows.series.tolist(), out.rows.times.tolist(), out.rows.flags.tolist(),
                map(repr, out.rows.values.tolist()), map(repr, out.verdict.tolist()),
                map(repr, out.calibrated.p_values.tolist()), out.calibrated.on.tolist(), strict=True,
            )
        ]  # fmt: skip
        transitions += map(repr, out.transitions)
        fits += [(fit.asset, fit.time, fit.rows, fit.problem) for fit in out.fits]
    return sorted(rows), sorted(transitions), sorted(fits, key=repr)


def pieces(data, total):
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=6)))
    return list(zip([0, *cuts], [*cuts, total], strict=True))


@pytest.fixture(scope="module")
def whole():
    """What an engine says of all rows at once."""
    made = engine()
    out = made.process(batch(readings()))
    return out, said([out], made.table)


def test_a_node_that_does_not_follow_its_siblings_is_alarmed_and_explained(whole):
    out, _ = whole
    raised = [one for one in out.transitions if one.kind == "alarm.raised" and one.asset == f"node-{DEVIANT}"]

    assert [(one.time - START) // STEP for one in raised] == [FAULT.start]
    lead = raised[0].contributions[0]
    reading = readings()[FAULT.start, DEVIANT, 1]
    assert (lead.channel, lead.direction, lead.observed) == ("y", "high", pytest.approx(reading))
    assert lead.expected == pytest.approx(reading - 2.0, abs=0.5)
    assert lead.lower < lead.expected < lead.upper < lead.observed
    assert (raised[0].stream, raised[0].verdicts[0].detector) == ("nodes.siblings", "siblings")
    cleared = [one for one in out.transitions if one.kind == "alarm.cleared" and one.asset == f"node-{DEVIANT}"]
    assert FAULT.stop <= (cleared[0].time - START) // STEP <= FAULT.stop + 15
    own = (out.rows.series == DEVIANT) & (out.rows.times >= START + STEP * FAULT.start)
    assert out.rows.values[own][0, 1] > 3  # signed, in units of what is usual
    assert out.rows.values[own][0, 1] == pytest.approx(out.verdict[own][0])


def test_the_comparison_is_the_naive_one():
    values = readings()
    values[100:110, 4] = np.nan
    values[105:110, :2, 0] = values[105, 3, 0]  # equal readings
    known, errors = learn(values[:TRAIN])
    found = judge(values, known)
    for step, node in ((95, 0), (105, 4), (105, 1), (140, DEVIANT)):
        expected = compared_with_siblings(values[step], node, [np.asarray(part) for part in known])
        np.testing.assert_allclose(found.ratios[step, node], expected, rtol=1e-5, atol=1e-6)
    assert errors.shape == (TRAIN, NODES)
    assert np.nanquantile(errors, 0.5) < 1.0 < np.nanmax(errors)


def test_one_node_alone_is_learnt_as_among_the_others():
    values = readings()[:TRAIN]
    together, errors = learn(values)
    group = judge(values, together).group[:, [3]].astype(np.float64)
    alone, own = learn(values[:, [3]], group)

    np.testing.assert_allclose(alone.slope[0], together.slope[3], rtol=1e-4)
    np.testing.assert_allclose(alone.location[0], together.location[3])
    assert np.corrcoef(own[:, 0], errors[:, 3])[0, 1] > 0.7  # either way half of the rows judge the other half
    others = np.delete(np.arange(NODES), 3)
    median = median_of_group(values[:, others], Following(*(part[others] for part in together)))
    np.testing.assert_allclose(median, group[:, 0], rtol=1e-6)


@profile(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_cutting_says_the_same(whole, data):
    made, rows = engine(), batch(readings())
    outputs = [made.process(rows.take(np.arange(*piece))) for piece in pieces(data, len(rows))]

    assert said(outputs, made.table) == whole[1]


def interleaved(data, lag):
    """Places of the rows in an order in which each of two partitions keeps its own, `lag` steps apart at most."""
    partition = data.draw(st.lists(st.booleans(), min_size=NODES, max_size=NODES))
    queues = [
        [step * NODES + node for step in range(ROWS) for node in range(NODES) if partition[node] == side]
        for side in (False, True)
    ]
    order, done = [], [0, 0]
    coins = iter(np.random.default_rng(data.draw(st.integers(0, 2**16))).random(2 * ROWS * NODES) < 0.5)
    while any(done[side] < len(queues[side]) for side in (0, 1)):
        step = [queues[side][done[side]] // NODES if done[side] < len(queues[side]) else None for side in (0, 1)]
        able = [s for s in (0, 1) if step[s] is not None and (step[1 - s] is None or step[s] <= step[1 - s] + lag - 1)]
        side = able[0] if len(able) == 1 else int(next(coins))
        order.append(queues[side][done[side]])
        done[side] += 1
    return np.array(order)


@profile(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_order_in_which_nobody_lags_too_far_says_the_same(whole, data):
    made, rows = engine(), batch(readings())
    order = interleaved(data, lag=5)
    outputs = [made.process(rows.take(order[slice(*piece)])) for piece in pieces(data, len(rows))]

    assert sum(out.counts["late"] for out in outputs) == 0
    found, table = said(outputs, made.table), made.table
    assert found == whole[1], table


@profile(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_order_at_all_says_the_same_however_it_is_cut(data):
    rows = batch(readings())
    rows = rows.take(interleaved(data, lag=data.draw(st.integers(6, 40))))
    first, second = engine(), engine()
    once = said([first.process(rows)], first.table)
    outputs = [second.process(rows.take(np.arange(*piece))) for piece in pieces(data, len(rows))]

    assert said(outputs, second.table) == once


@profile(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_stored_state_continues_exactly(whole, data):
    made, rows = engine(), batch(readings())
    cut = data.draw(st.integers(0, len(rows)))
    outputs = [made.process(rows.take(np.arange(cut)))]
    arrays, extra = made.state(fitted=False)
    arrays |= made.state(fitted=True)[0]
    other = engine(nodes=0)
    other.restore(arrays, json.loads(json.dumps(extra)))
    outputs.append(other.process(rows.take(np.arange(cut, len(rows)))))

    assert said(outputs, other.table) == whole[1]


def test_a_silent_node_blocks_nobody_and_is_late_when_it_comes_back_behind():
    values, rows = readings(), batch(readings())
    made = engine()
    silent = (rows.series == 5) & (rows.times >= START + 120 * STEP)
    out = made.process(rows.take(~silent))
    newest = out.rows.times.max()

    assert newest == START + (ROWS - 1) * STEP
    assert f"node-{DEVIANT}" in {one.asset for one in out.transitions}
    behind = made.process(rows.take(np.flatnonzero(silent)[:10]))
    assert (behind.counts["late"], len(behind.rows)) == (10, 0)
    # Its first row shows that it is back, too late for that step; it is waited for from the next on.
    again = made.process(batch(values[-5:], first=ROWS))
    own = again.rows.series == 5
    assert (again.counts["late"], own.sum()) == (1, 4)
    assert (again.rows.flags[own] & RowFlag.BREAK).tolist() == [1, 0, 0, 0]


def test_one_fast_clock_does_not_shut_the_others_out(whole):
    rows = batch(readings())
    fast = replace(
        rows, times=rows.times + np.where((rows.series == 0) & (rows.times > START + 100 * STEP), 15, 0) * STEP
    )
    made = engine()
    out = made.process(fast)

    assert out.counts["late"] == 0
    assert made.waiting > 0
    assert f"node-{DEVIANT}" in {one.asset for one in out.transitions if one.kind == "alarm.raised"}


def test_a_newcomer_is_learnt_from_its_own_rows_and_then_judged(whole):
    rows = batch(readings())
    late = (rows.series == 4) & (rows.times < START + 20 * STEP)
    made = engine()
    out = made.process(rows.take(~late))
    fits = {fit.asset: (fit.time - START) // STEP for fit in out.fits}

    assert fits == {f"node-{node}": 109 if node == 4 else 89 for node in range(NODES)}
    own = out.rows.series == 4
    assert out.rows.times[own].min() == START + 110 * STEP
    everybody = whole[0]
    same = everybody.rows.series == 4
    tail = everybody.rows.times[same] >= START + 110 * STEP
    assert np.corrcoef(out.verdict[own], everybody.verdict[same][tail])[0, 1] > 0.9


def test_rows_of_maintenance_and_held_rows_are_not_learnt_from():
    values = readings()
    values[20:40, 1] += 50.0
    rows = batch(values)
    marked = (rows.series == 1) & (rows.times >= START + 20 * STEP) & (rows.times < START + 40 * STEP)
    flags = np.where(marked, RowFlag.MAINTENANCE, 0).astype(np.uint8)
    made = engine()
    out = made.process(replace(rows, flags=flags))

    fits = {fit.asset: fit.rows for fit in out.fits}
    assert fits["node-1"] == TRAIN - 20 or fits["node-1"] == TRAIN
    assert "node-1" not in {one.asset for one in out.transitions}
    held = engine().process(replace(rows, flags=np.where(marked, RowFlag.IMPUTED, 0).astype(np.uint8)))
    assert "node-1" not in {one.asset for one in held.transitions}


def test_too_few_say_nothing_and_say_so():
    made = engine(nodes=3)
    out = made.process(batch(readings(rows=ROWS, nodes=3)))

    assert not len(out.rows)
    assert out.counts["too_few_siblings"] > 3 * TRAIN
    assert [(fit.asset, fit.problem.split(";")[0]) for fit in out.fits] == [
        ("rack", f"at {TRAIN} steps fewer than 4 assets had rows")
    ]
    assert made.waiting <= 3 * 26  # the allowance for fast clocks bounds what waits


def test_assets_without_a_group_are_counted():
    made = engine(groups={"rack": "node-[0]", "row": ["node-1", "node-?x"]})
    out = made.process(batch(readings()[:3]))

    assert out.counts["without_siblings"] == 3 * (NODES - 1)


def test_channels_are_matched_by_name_whatever_their_order():
    siblings = engine().stream.siblings
    made = SiblingEngine(SiblingStream("nodes.siblings", 1.0, siblings, None, max_ahead=20.0))
    values = readings()
    turned = values.copy()
    turned[:, 3] = values[:, 3, ::-1]
    turned[:, 5, 2] = np.nan
    for node in range(NODES):
        names = CHANNELS[::-1] if node == 3 else CHANNELS[:2] if node == 5 else CHANNELS
        made.table.add(f"node-{node}")
        for name in names:
            made.table.add_channel(node, name)
    out = made.process(batch(turned))
    lacking = values.copy()
    lacking[:, 5, 2] = np.nan
    expected = engine().process(batch(lacking))

    np.testing.assert_array_equal(out.verdict, expected.verdict)
    own = out.rows.series == 3
    np.testing.assert_array_equal(out.rows.values[own][:, ::-1], expected.rows.values[own])


def test_words_of_operators_change_calibration_and_what_is_learnt_from(whole):
    made = engine()
    out = made.process(batch(readings()))
    alarm = next(one for one in out.transitions if one.asset == f"node-{DEVIANT}" and one.kind == "alarm.raised")
    before = made.learnt(DEVIANT)
    word = Intervention("false_alarm", alarm.asset, alarm.time, alarm.time + 20 * STEP, 1, episode=True)
    (effect,) = made.learn(word)

    assert (effect.asset, effect.clusters, made.changes) == (alarm.asset, 1, 1)
    assert effect.before is not None
    made.learn(Intervention("restore", alarm.asset, 0, 0, 2, learnt=before))
    assert made.learn(replace(word, kind="withdraw"))[0].before.clusters == effect.before.clusters
    new = engine()
    new.process(batch(readings()[:50]))
    (bad,) = new.learn(Intervention("bad", "node-1", START + 10 * STEP, START + 19 * STEP, 3))
    assert (bad.rows, bad.before, bad.after) == (10, None, None)
    assert new.learn(Intervention("maintenance", "node-*", START, START + STEP, 4))[0].rows == 2
    assert new.learn(Intervention("end_maintenance", "node-*", START, START, 4)) == []
    assert made.learn(Intervention("bad", "pump-1", START, START, 5)) == []


def test_learning_anew_closes_what_stands_and_counts_on():
    made = engine()
    made.process(batch(readings()[: FAULT.start + 5]))
    _, extra = made.state(fitted=False)
    other = engine()
    closed = other.relearn(extra)

    assert {one.kind for one in closed} == {"alarm.cleared"}
    again = other.process(batch(readings()))
    assert min(one.transition_seq for one in again.transitions if one.asset == closed[0].asset) > 2


def test_learning_is_broken_off_when_all_stops():
    made = engine()
    made.is_stopping = lambda: True
    made.process(batch(readings()[: TRAIN - 1]))
    with pytest.raises(StoppedError):
        made.process(batch(readings()[TRAIN - 1 :], first=TRAIN - 1))


def test_a_damaged_state_is_refused():
    made = engine()
    arrays, extra = made.state(fitted=False)
    with pytest.raises(SnapshotError, match="learn it anew"):
        engine(nodes=0).restore(arrays, {})
    with pytest.raises(SnapshotError):
        engine(nodes=0).restore(arrays, extra)


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ({"a": "rack-1/*", "b": "*/node-1"}, "both hold an asset called 'rack-1/node-1'"),
        ({"a": ["n1", "n2"], "b": "n2"}, "both hold the asset 'n2'"),
        ({"a": []}, "groups.a names no assets"),
        ({}, "at least 1 item"),
    ],
)
def test_groups_that_share_an_asset_are_refused(groups, why):
    with pytest.raises(ValidationError, match=why):
        SiblingSettings.model_validate({"groups": groups})


@given(
    first=st.text("ab*?[", max_size=5), second=st.text("ab*?[", max_size=5), name=st.text("abx[", max_size=5)
)  # fmt: skip
def test_a_common_name_is_one_and_is_found_where_there_is_one(first, second, name):
    own, other = (
        SiblingSettings.model_validate({"groups": {"a": pattern or "x"}}).matchers()[0] for pattern in (first, second)
    )
    found = common_name(first or "x", second or "x")
    if found is None:
        assert not (own.match(name) and other.match(name))
    else:
        assert own.match(found)
        assert other.match(found)


def test_settings_that_leave_too_little_to_calibrate_on_are_refused():
    siblings = SiblingSettings.model_validate({"groups": {"a": "*"}, "train_rows": 80})
    with pytest.raises(ValueError, match=r"siblings\.train_rows is 80; an off_delay of 32 steps needs 82 or more"):
        SiblingStream("n.siblings", 1.0, siblings).check()
