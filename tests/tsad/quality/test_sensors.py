"""Faults of sensors: what is found, what is left alone, and that it depends on the order of rows alone."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.alarm_event import alarm_event
from tests.tsad.quality.naive_sensors import naive_declared, naive_faults
from tsad.engine import StreamEngine
from tsad.observations import ObservationBatch, RowBatch, RowFlag
from tsad.quality.faults import UNIT_CHANGES
from tsad.quality.sensors import SensorWatch
from tsad.quality.settings import SensorSettings
from tsad.series import SeriesTable
from tsad.settings import AlarmSettings, EarlySettings, StreamSettings

SECOND = 1_000_000_000
START = 10**18
CHANNELS = ("flow", "pressure", "temperature")
TRAIN = 300


def quiet(rows=900, n_series=1, seed=0):
    """float32[rows, series, 3]: smooth channels far from zero, as physical ones are."""
    rng = np.random.default_rng(seed)
    walk = np.zeros((rows, n_series, 3))
    for t in range(1, rows):
        walk[t] = 0.98 * walk[t - 1] + 0.2 * rng.standard_normal((n_series, 3))
    return (walk + np.array([50, 5, 20])).astype(np.float32)


def rows_of(values, series=0, flags=None):
    n = len(values)
    return RowBatch(
        np.full(n, series, np.int32), START + np.arange(n) * SECOND, values.astype(np.float32),
        np.zeros(n, np.uint8) if flags is None else flags, np.zeros(n, np.int32), np.arange(n),
    )  # fmt: skip


def watched(settings=None, channels=CHANNELS, train=None):
    table = SeriesTable(channels)
    table.add("pump")
    watch = SensorWatch(settings or SensorSettings(), table)
    watch.learn(0, quiet()[:TRAIN, 0] if train is None else train)
    return watch


def told(values, watch=None, flags=None):
    """(row, raised, channel, kind) of every change, and the rows as they are scored."""
    watch = watch or watched()
    rows, changes = watch.judge_declared(rows_of(values, flags=flags))
    changes += watch.judge(rows, np.arange(len(rows)))
    return [(c.row, c.raised, c.fault.channel, c.fault.kind) for c in changes], rows


def test_a_quiet_recording_raises_nothing_and_is_scored_as_it_is():
    values = quiet(6000)[TRAIN:, 0]
    found, rows = told(values)

    assert found == []
    np.testing.assert_array_equal(rows.values, values)
    assert not rows.flags.any()


def test_a_stuck_channel_is_told_and_masked_until_it_moves_again():
    values = quiet()[TRAIN:, 0]
    values[100:200, 1] = values[100, 1]
    found, rows = told(values)

    (begin, *began), (end, *ended) = found
    assert (began, ended) == ([True, "pressure", "stuck"], [False, "pressure", "stuck"])
    assert 120 < begin < 160
    assert 200 < end < 215
    assert np.isnan(rows.values[begin:200, 1]).all()
    assert not np.isnan(rows.values[:, [0, 2]]).any()
    assert (((rows.flags & RowFlag.MASKED) != 0) == rows.faults.any(axis=1)).all()


def test_an_asset_at_rest_has_no_stuck_sensors():
    values = quiet()[TRAIN:, 0]
    values[100:400] = values[100]
    assert told(values)[0] == []


def test_channels_that_rest_in_the_training_part_are_never_stuck():
    train, values = quiet()[:TRAIN, 0], quiet()[TRAIN:, 0]
    train[:, 1] = np.repeat(train[::30, 1], 30)
    values[100:400, 1] = values[100, 1]
    assert told(values, watched(train=train))[0] == []
    declared = watched(SensorSettings(states=("pressure",)))
    assert told(values, declared)[0] == []


@pytest.mark.parametrize("rows", [1, 3])
def test_a_spike_is_told_when_it_is_back_and_no_score_sees_it(rows):
    values = quiet()[TRAIN:, 0]
    values[100 : 100 + rows, 0] += 40
    found, scored = told(values)

    assert found == [(100 + rows, True, "flow", "spike"), (109 + rows + 1, False, "flow", "spike")]
    assert np.isnan(scored.values[100 : 100 + rows, 0]).all()
    assert np.isnan(scored.values).sum() == rows


def test_a_dropout_is_a_spike_to_nothing():
    values = quiet()[TRAIN:, 0]
    values[100:102, 0] = 0
    assert [c[1:] for c in told(values)[0]] == [(True, "flow", "dropout"), (False, "flow", "dropout")]


def test_a_step_that_stays_is_left_to_the_detectors_three_rows_late():
    values = quiet()[TRAIN:, 0]
    values[100:, 0] += 40
    found, scored = told(values)

    assert found == []
    assert np.flatnonzero(np.isnan(scored.values[:, 0])).tolist() == [100, 101, 102]


@pytest.mark.parametrize("name", ["°C to °F", "°C to K", "bar to kPa", "bar to psi", "times 1000", "divided by 1000"])
def test_another_unit_is_named_and_masked_until_the_old_one_is_back(name):
    values = quiet()[TRAIN:, 0]
    factor, offset = next((f, o) for text, f, o in UNIT_CHANGES if text == name)
    values[100:300, 0] = factor * values[100:300, 0] + offset
    watch = watched()
    rows, _ = watch.judge_declared(rows_of(values))
    changes = watch.judge(rows, np.arange(len(rows)))

    assert [(c.raised, c.fault.kind, c.fault.unit) for c in changes] == [
        (True, "unit_change", name), (False, "unit_change", name),
    ]  # fmt: skip
    assert changes[0].fault.since == START + 100 * SECOND
    assert changes[0].row == 115
    assert changes[1].row == 309
    assert np.isnan(rows.values[100:300, 0]).all()


def test_a_step_that_is_no_known_unit_is_no_change_of_unit():
    values = quiet()[TRAIN:, 0]
    values[100:, 0] = 1.31 * values[100:, 0] + 11
    assert told(values)[0] == []


def test_the_ends_of_the_measuring_range_saturate():
    values = quiet()[TRAIN:, 0]
    values[100:160, 1] = 10 + 0.001 * np.arange(60)  # moves a little, so it is not stuck
    watch = watched(SensorSettings(full_scale={"pressure": (0, 10)}, spikes=False, units=False))
    found, rows = told(values, watch)

    assert [c[1:] for c in found] == [(True, "pressure", "saturated"), (False, "pressure", "saturated")]
    assert found[0][0] == 110
    assert np.isnan(rows.values[110:160, 1]).all()


def test_an_end_where_the_process_usually_is_is_no_fault():
    train, values = quiet()[:TRAIN, 0], quiet()[TRAIN:, 0]
    train[50:100, 1] = 0
    values[100:160, 1] = 0
    watch = watched(
        SensorSettings(full_scale={"pressure": (0, 10)}, stuck=False, spikes=False, units=False), train=train
    )
    assert told(values, watch)[0] == []


@pytest.mark.parametrize(("current", "kind"), [(3.5, "loop_failure"), (22.0, "loop_failure"), (3.7, "saturated"),
                                               (20.7, "saturated"), (3.9, None), (20.4, None)])  # fmt: skip
def test_a_current_loop_is_judged_from_its_first_row_on(current, kind):
    table = SeriesTable(["mA"])
    table.add("pump")
    watch = SensorWatch(SensorSettings(current_loop=("mA",)), table)
    values = np.random.default_rng(0).uniform(8, 12, (100, 1)).astype(np.float32)
    values[40:60] = current
    rows, changes = watch.judge_declared(rows_of(values))

    expected = [] if kind is None else [(42, True, "mA", kind), (69, False, "mA", kind)]
    assert [(c.row, c.raised, c.fault.channel, c.fault.kind) for c in changes] == expected
    assert np.isnan(rows.values[40:60]).all() == (kind is not None)


def test_a_counter_is_scored_by_its_rate_and_its_reset_is_told():
    table = SeriesTable(["counts", "flow"])
    table.add("pump")
    watch = SensorWatch(SensorSettings(counters=("counts",)), table)
    values = quiet(100)[:, 0, :2].copy()
    values[:, 0] = 3 * np.arange(100)
    values[50:, 0] -= 150
    values[70, 0] = np.nan
    rows, changes = watch.judge_declared(rows_of(values))

    assert [(c.row, c.raised, c.fault.kind) for c in changes] == [
        (50, True, "counter_reset"),
        (60, False, "counter_reset"),
    ]
    assert np.flatnonzero(np.isnan(rows.values[:, 0])).tolist() == [0, 50, 70]
    assert np.nanmin(rows.values[:, 0]) == np.nanmax(rows.values[:, 0]) == 3
    np.testing.assert_array_equal(rows.values[:, 1], values[:, 1])


def test_a_counter_that_nobody_declared_tells_its_reset_too():
    train, values = quiet()[:TRAIN, 0], quiet()[TRAIN:, 0]
    train[:, 1], values[:, 1] = np.arange(TRAIN), TRAIN + np.arange(len(values))
    values[100:, 1] -= 350
    found, rows = told(values, watched(train=train))

    assert found == [(100, True, "pressure", "counter_reset"), (110, False, "pressure", "counter_reset")]
    assert np.flatnonzero(np.isnan(rows.values[:, 1])).tolist() == [100]


def test_a_gap_is_neither_a_spike_nor_a_run():
    values = quiet()[TRAIN:, 0]
    flags = np.zeros(len(values), np.uint8)
    values[100:, 0] += 40
    flags[100] = RowFlag.BREAK
    assert told(values, flags=flags)[0] == []


def test_held_values_are_no_run_without_change():
    values = quiet()[TRAIN:, 0]
    flags = np.zeros(len(values), np.uint8)
    # Every fourth row brings a value, the three between are held.
    values[100:300, 1] = np.repeat(values[100:300:4, 1], 4)
    flags[100:300] = np.where(np.arange(200) % 4 == 0, 0, RowFlag.HELD)
    assert told(values, flags=flags)[0] == []


@st.composite
def faulty(draw):
    """Rows with faults anywhere, also on top of one another, and flags."""
    values = quiet(520, seed=draw(st.integers(0, 5)))[TRAIN:, 0]
    n = len(values)
    for _ in range(draw(st.integers(0, 5))):
        c, at, rows = draw(st.integers(0, 2)), draw(st.integers(0, n - 1)), draw(st.integers(1, 90))
        part = values[at : at + rows, c]
        what = draw(st.sampled_from(["hold", "add", "zero", "unit", "gone", "end"]))
        if what == "hold":
            part[:] = part[0]
        elif what == "unit":
            _, factor, offset = draw(st.sampled_from(UNIT_CHANGES))
            part[:] = factor * part + offset
        else:
            part[:] = {"add": part + 60, "zero": 0, "gone": np.nan, "end": 100}[what]
    flags = np.zeros(n, np.uint8)
    for flag in (RowFlag.BREAK, RowFlag.IMPUTED, RowFlag.HELD):
        flags[draw(st.lists(st.integers(0, n - 1), max_size=3))] |= np.uint8(flag)
    return values, flags


LOOSE = SensorSettings(full_scale={"flow": (0, 100)}, stuck_factor=2, spike_factor=2, clear_rows=4)


@profile(max_examples=60, deadline=None)
@given(faulty())
def test_the_kernel_equals_its_naive_twin(recording):
    values, flags = recording
    train = quiet()[:TRAIN, 0]
    watch = watched(LOOSE, train=train)
    rows, _ = watch.judge_declared(rows_of(values, flags=flags.copy()))
    changes = watch.judge(rows, np.arange(len(rows)))

    expected, masked = naive_faults(train, values, flags, watch)
    found = [(c.row, c.fault.channel, c.fault.kind, c.fault.since, c.fault.unit, c.raised) for c in changes]
    assert found == expected
    np.testing.assert_array_equal(rows.faults, masked)
    np.testing.assert_array_equal(np.isnan(rows.values), np.isnan(values) | (masked > 0))


@st.composite
def loop_and_counter(draw):
    """A current and a counter, with faults anywhere, and flags."""
    rng = np.random.default_rng(draw(st.integers(0, 5)))
    n = 120
    values = np.stack([rng.uniform(4, 20, n), rng.integers(0, 3, n).cumsum()], axis=1).astype(np.float32)
    for _ in range(draw(st.integers(0, 6))):
        at, rows = draw(st.integers(0, n - 1)), draw(st.integers(1, 20))
        if draw(st.booleans()):
            values[at : at + rows, 0] = draw(st.sampled_from([3.5, 3.7, 20.7, 22, np.nan]))
        elif draw(st.booleans()):
            values[at:, 1] -= np.float32(draw(st.integers(1, 100)))
        else:
            values[at : at + rows, 1] = np.nan
    flags = np.zeros(n, np.uint8)
    for flag in (RowFlag.BREAK, RowFlag.IMPUTED, RowFlag.HELD):
        flags[draw(st.lists(st.integers(0, n - 1), max_size=4))] |= np.uint8(flag)
    return values, flags


@profile(max_examples=80, deadline=None)
@given(loop_and_counter(), st.lists(st.integers(0, 120), max_size=4))
def test_what_is_declared_equals_its_naive_twin_however_it_is_cut(recording, cuts):
    values, flags = recording
    table = SeriesTable(["mA", "counts"])
    table.add("pump")
    settings = SensorSettings(current_loop=("mA",), counters=("counts",), clear_rows=4)
    watch = SensorWatch(settings, table)
    changes, masked, scored = naive_declared(values, flags, 4)

    found, parts = [], []
    whole = rows_of(values, flags=flags.copy())
    edges = [0, *sorted(cuts), len(values)]
    for start, stop in pairwise(edges):
        state = {**watch.state(1, fitted=True), **watch.state(1, fitted=False)}
        watch = SensorWatch(settings, table)
        watch.restore(state)
        rows, own = watch.judge_declared(whole.take(np.arange(start, stop)))
        parts.append(rows)
        found += [(c.row + start, c.fault.channel, c.fault.kind, c.fault.since, c.raised) for c in own]
    assert sorted(found) == changes
    np.testing.assert_array_equal(np.concatenate([p.faults for p in parts]), masked)
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), scored)


def engine():
    made = StreamEngine(
        StreamSettings(
            name="pumps", step=1, train_rows=200, channels=CHANNELS, detectors=["robust", "sub-pca"],
            alarm=AlarmSettings(false_alarms_per_day=10, off_delay=10),
            sensors=LOOSE.model_copy(update={"counters": ("temperature",)}), early=EarlySettings(rows=100),
        )
    )  # fmt: skip
    for asset in ("a", "b"):
        made.table.add(asset)
    return made


def faulty_plant():
    """Observations of two assets with every fault that is looked for."""
    values = quiet(700, 2)
    values[:, :, 2] = np.arange(700)[:, None]
    values[400:, 0, 2] -= 390
    values[300:380, 0, 1] = values[300, 0, 1]
    values[450:453, 1, 0] += 40
    values[500:600, 1, 1] *= 100
    values[520:560, 1, 0] = 100
    values[610:640, 0, 0] += 3
    n = 1400
    return ObservationBatch(
        np.tile(np.arange(2, dtype=np.int32), 700), np.repeat(START + np.arange(700) * SECOND, 2),
        values.reshape(n, 3), None, np.zeros(n, np.int32), np.arange(n), np.zeros(n, np.int64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole():
    batch = faulty_plant()
    return batch, engine().process(batch)


def test_every_fault_of_a_plant_is_told_and_ends(whole):
    _, output = whole
    raised = {(t.asset, t.fault.channel, t.fault.kind) for t in output.transitions if t.kind == "sensor.fault"}
    cleared = {(t.asset, t.fault.channel, t.fault.kind) for t in output.transitions if t.kind == "sensor.cleared"}

    assert raised >= {
        ("a", "pressure", "stuck"), ("a", "temperature", "counter_reset"), ("b", "flow", "spike"),
        ("b", "pressure", "unit_change"), ("b", "flow", "saturated"),
    }  # fmt: skip
    assert raised == cleared
    assert output.counts["values_masked"] > 200
    # History keeps what the sensors said.
    batch, _ = whole
    np.testing.assert_array_equal(output.rows.values, batch.values)


@profile(max_examples=12, deadline=None)
@given(data=st.data())
def test_cut_and_restarted_anywhere_it_says_the_same(whole, data):
    batch, expected = whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(batch)), min_size=1, max_size=5)))
    restart = data.draw(st.integers(0, len(cuts)))
    current, found = engine(), []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(batch)], strict=True)):
        found.append(current.process(batch.take(np.arange(start, stop))))
        if number == restart:
            fitted, _ = current.state(fitted=True)
            streaming, extra = current.state(fitted=False)
            current = engine()
            current.restore({**fitted, **streaming}, extra)

    for of in (lambda o: o.verdict, lambda o: o.rows.flags, lambda o: o.calibrated.p_values, lambda o: o.rows.values):
        joined = np.concatenate([of(o) for o in found])
        np.testing.assert_array_equal(joined, of(expected))
    assert sorted(map(repr, expected.transitions)) == sorted(repr(t) for o in found for t in o.transitions)


def test_an_alarm_of_the_process_says_what_it_was_judged_without():
    batch = faulty_plant()
    batch.values.reshape(700, 2, 3)[540:560, 1, 2] += 500 * np.arange(20)  # the counter of b races while flow saturates
    output = engine().process(batch)

    when = START + 540 * SECOND
    odd = [t for t in output.transitions if t.kind in {"alarm.raised", "alarm.updated"} and t.asset == "b"]
    odd = [t for t in odd if when <= t.time < when + 5 * SECOND]
    assert odd
    assert {(m.channel, m.fault) for m in odd[0].masked} == {("flow", "saturated"), ("pressure", "unit_change")}
    assert odd[0].contributions[0].channel == "temperature"
    told_ = alarm_event(odd[0])["data"]
    assert told_["quality"]["masked"][0] == {"channel": "flow", "fault": "saturated"}
    assert told_["summary"].endswith("judged without flow, pressure")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"states": ["level"]}, "not among the channels"),
        ({"full_scale": {"flow": (2, 1)}}, "must be less"),
        ({"counters": ["flow"], "current_loop": ["flow"]}, "is a counter"),
        ({"spike_rows": 0}, "greater than or equal to 1"),
        ({"stuk": True}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(settings, problem):
    with pytest.raises(ValueError, match=problem):
        StreamSettings(name="s", step=1, channels=CHANNELS, sensors=settings)
