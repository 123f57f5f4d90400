"""What operators say changes what is learnt: the same at whatever cut of the batches, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.tsad.test_engine import SECOND, observations
from tsad.engine import StreamEngine
from tsad.interventions import Intervention
from tsad.settings import AlarmSettings, StreamSettings

START = 10**18
CHANNELS = ("flow", "pressure", "current")


def engine(detectors=("patchbank",), train_rows=300, n_series=1):
    made = StreamEngine(
        StreamSettings(
            name="pumps", step=1, train_rows=train_rows, channels=CHANNELS, detectors=list(detectors),
            alarm=AlarmSettings(false_alarms_per_day=20),
        )
    )  # fmt: skip
    for number in range(n_series):
        made.table.add(f"pump-{number}")
    return made


def recording(rows=1400, faults=(500, 800, 1100), n_series=1, seed=0):
    """Noise around a wave; the same fault of 60 rows comes again and again."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(rows) / 8)[:, None, None]
    values = (wave + 0.1 * rng.standard_normal((rows, n_series, 3))).astype(np.float32)
    shape = 1.5 * np.sin(np.arange(60) / 2.0)[:, None]
    for at in faults:
        values[at : at + 60, :, 2] += shape
    return values


def at(row):
    return START + row * SECOND


def score(made, values, first=0, last=None):
    n_series = values.shape[1]
    whole = observations(values)
    return made.process(whole.take(slice(first * n_series, None if last is None else last * n_series)))


def peak(output, row):
    inside = (output.rows.times >= at(row)) & (output.rows.times < at(row + 60))
    return float(np.nanmax(output.verdict[inside]))


def test_a_fault_that_was_called_bad_never_becomes_normal():
    values = recording(faults=(500, 650, 800, 950, 1100))
    told, silent = engine(), engine()
    for made in (told, silent):
        for row in (500, 650, 800, 950):
            score(made, values, row - (500 if row == 500 else 50), row + 100)
            if made is told:
                made.learn(Intervention("bad", "pump-0", at(row), at(row + 95)))
    odd, usual = (score(made, values, 1050) for made in (told, silent))

    assert peak(odd, 1100) > 1.5 * peak(usual, 1100)


def test_a_bad_stretch_of_the_training_part_leaves_the_bank():
    values = recording(faults=(60, 160, 500))
    told, silent = engine(), engine()
    for made in (told, silent):
        score(made, values, 0, 400)
    effect = told.learn(Intervention("bad", "pump-0", at(60), at(225)))[0]

    assert effect.windows > 0
    assert peak(score(told, values, 400), 500) > 1.2 * peak(score(silent, values, 400), 500)


def test_a_bad_stretch_is_not_learnt_from_by_a_series_that_still_warms_up():
    values = recording(faults=(100,))
    made = engine()
    score(made, values, 0, 250)
    effect = made.learn(Intervention("bad", "pump-0", at(100), at(159)))[0]

    assert effect.rows == 60
    assert score(made, values, 250, 355).fits == []
    assert [fit.problem for fit in score(made, values, 355, 365).fits] == [None]


def alarmed(detectors=("robust",)):
    made = engine(detectors)
    values = recording(faults=(500,))
    output = score(made, values, 0, 650)
    raised = [t for t in output.transitions if t.kind == "alarm.raised" and t.time >= at(495)]
    cleared = [t for t in output.transitions if t.kind == "alarm.cleared" and t.time > raised[0].time]
    assert raised
    assert cleared
    return made, raised[0].time, cleared[-1].time


@pytest.mark.parametrize("detectors", [("robust",), ("robust", "sub-pca")])
def test_a_false_alarm_raises_the_threshold_and_a_true_one_lowers_it(detectors):
    made, start, end = alarmed(detectors)

    false = made.learn(Intervention("false_alarm", "pump-0", start, end, episode=True))[0]
    assert false.clusters == 1
    assert false.after.clusters == pytest.approx(false.before.clusters + 1, abs=0.1)
    assert false.after.excess > false.before.excess
    again = made.learn(Intervention("withdraw", "pump-0", start, end, episode=True))[0]
    assert again.after.clusters == pytest.approx(false.before.clusters)
    assert again.after.excess == pytest.approx(false.before.excess)

    true = made.learn(Intervention("bad", "pump-0", start, end, episode=True))[0]
    assert true.after.excess < true.before.excess
    assert true.after.governor < true.before.governor
    assert true.after.threshold < true.before.threshold


def test_what_is_said_twice_changes_nothing_the_second_time():
    made, start, end = alarmed()
    made.learn(Intervention("false_alarm", "pump-0", start, end, episode=True))
    second = made.learn(Intervention("false_alarm", "pump-0", start, end, episode=True))[0]

    assert (second.clusters, second.before) == (0, second.after)


def test_an_unknown_asset_and_an_empty_period_change_nothing():
    made, start, _ = alarmed()

    assert made.learn(Intervention("bad", "pump-9", start, start)) == []
    effect = made.learn(Intervention("bad", "pump-0", START - 9, START - 1))[0]
    assert (effect.windows, effect.clusters, effect.rows) == (0, 0, 0)


def test_what_was_learnt_can_be_put_back():
    values = recording(faults=(500, 800))
    told, silent = engine(), engine()
    for made in (told, silent):
        score(made, values, 0, 650)
    before = told.learnt(0)
    told.learn(Intervention("bad", "pump-0", at(100), at(595)))
    told.learn(Intervention("restore", "pump-0", 0, 0, learnt=before))
    one, other = score(told, values, 650), score(silent, values, 650)

    np.testing.assert_array_equal(one.verdict, other.verdict)
    np.testing.assert_array_equal(one.calibrated.thresholds, other.calibrated.thresholds)


def test_nothing_is_learnt_in_maintenance_and_alarms_are_judged_all_the_same():
    values = recording(faults=(500, 560, 620))
    told, silent = engine(("robust",)), engine(("robust",))
    for made in (told, silent):
        score(made, values, 0, 480)
    told.learn(Intervention("maintenance", "pump-*", at(490), at(720), number=3))
    figures = told.learn(Intervention("bad", "pump-0", 0, 0))[0].after
    output = score(told, values, 480, 719)

    assert "alarm.raised" in {t.kind for t in output.transitions}
    after = told.learn(Intervention("bad", "pump-0", 0, 0))[0].after
    assert after.exposure == pytest.approx(figures.exposure + 10, abs=1)
    assert after.governor <= figures.governor
    assert score(silent, values, 480, 719).rows.flags.max() < 64


def test_ended_maintenance_marks_nothing_more():
    made = engine(("robust",))
    values = recording()
    score(made, values, 0, 480)
    made.learn(Intervention("maintenance", "*", at(470), at(900), number=1))
    made.learn(Intervention("end_maintenance", "", 0, at(500), number=1))

    flags = score(made, values, 480, 520).rows.flags & 64
    assert flags.tolist() == [64] * 20 + [0] * 20


@profile(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 1399), max_size=5),
    detectors=st.sampled_from([("patchbank",), ("robust", "patchbank"), ("robust",)]),
    through=st.integers(0, 3),
)
def test_interventions_at_the_same_place_give_the_same_whatever_the_cuts(cuts, detectors, through):
    values = recording(n_series=2)
    said = {
        620: Intervention("bad", "pump-0", at(500), at(570), episode=True),
        700: Intervention("false_alarm", "pump-1", at(500), at(570), episode=True),
        900: Intervention("maintenance", "*", at(780), at(1000), number=1),
    }
    found = []
    for places in ([620, 700, 900, 1400], sorted({*cuts, 620, 700, 900, 1400})):
        made, first, outputs = engine(detectors, n_series=2), 0, []
        for number, place in enumerate(places):
            outputs.append(score(made, values, first, place))
            first = place
            if place in said:
                made.learn(said[place])
            if number == through:
                fitted, _ = made.state(fitted=True)
                streaming, extra = made.state(fitted=False)
                made = engine(detectors, n_series=0)
                made.restore({**fitted, **streaming}, extra)
        order = np.argsort(np.concatenate([o.rows.series for o in outputs]), kind="stable")
        found.append(
            [
                np.concatenate([o.verdict for o in outputs])[order],
                np.concatenate([o.calibrated.thresholds for o in outputs])[order],
                np.concatenate([o.rows.flags for o in outputs])[order],
            ]
        )

    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_nearest_normal_window_is_told():
    made = engine()
    values = recording(faults=(500,))
    output = score(made, values)
    raised = next(t for t in output.transitions if t.kind == "alarm.raised" and t.time >= at(495))

    assert START <= raised.nearest_normal < raised.time
