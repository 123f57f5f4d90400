import numpy as np
import pytest
from scipy.stats import ks_2samp

from tsad.calibration.tail import fit_tail
from tsad.errors import ConfigurationError
from tsad.fleet.drift import DriftRule, FleetDrift, retraining_rows
from tsad.fleet.thresholds import ThresholdRule, alarms

DAY = 288


def errors(rows, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).gamma(4.0, 0.25, rows)


def test_an_alarm_needs_k_of_n_rows():
    said = alarms(np.array([9.0, 0, 9, 0, 9, 0, 0, 0, 9]), 1.0, ThresholdRule(needed=3, of=5))
    assert said.tolist() == [False] * 4 + [True] + [False] * 4
    single = alarms(np.array([0.0, 9, 0]), 1.0, ThresholdRule(needed=1, of=1))
    assert single.tolist() == [False, True, False]


def test_a_budget_takes_the_tail_where_there_is_enough():
    rule = ThresholdRule(false_alarms_per_day=0.1, needed=1, of=1)
    many, few = errors(3000), errors(1000)

    found = rule.threshold(many, DAY)

    assert found.source == "tail"
    assert found.value == fit_tail(many, 32).threshold(0.1 / DAY)
    assert found.value > many.max() * 0.9
    assert rule.threshold(few, DAY).source == "percentile"
    assert rule.threshold(np.full(5, np.nan), DAY).value == np.inf


def test_a_budget_is_about_kept():
    rule = ThresholdRule(false_alarms_per_day=0.5)
    days = 200
    raised = 0
    for seed in range(4):
        threshold = rule.threshold(errors(5000, seed=seed), DAY).value
        said = alarms(errors(DAY * days, seed=100 + seed), threshold, rule)
        raised += int((np.diff(said.astype(int), prepend=0) == 1).sum())
    assert 0.05 < raised / (4 * days) < 1.0


@pytest.mark.parametrize("option", [{"percentile": 0}, {"false_alarms_per_day": 0.0}, {"needed": 6}, {"needed": 0}])
def test_rules_are_checked(option):
    with pytest.raises(ConfigurationError):
        ThresholdRule(**option)
    with pytest.raises(ConfigurationError):
        DriftRule(memory_days=0)


def run(scales, rule=None, percentile=97.0, nodes=1):
    """Days of errors that grow by a scale; rows over the followed threshold are flagged."""
    drift = FleetDrift([errors(3000, seed=n) for n in range(nodes)], rule)
    days = []
    for day, scale in enumerate(scales):
        today = np.stack([errors(DAY, scale, 1000 + day * nodes + n) for n in range(nodes)], axis=1)
        days.append(drift.day(today, today > drift.threshold))
    return drift, days


def test_a_steady_fleet_is_quiet_and_keeps_its_thresholds():
    drift, days = run([1.0] * 60, nodes=3)

    assert sum(bool(told) for day in days for told in day.told) == 0
    np.testing.assert_allclose(drift.threshold, drift.frozen, rtol=0.1)


def test_a_shift_is_told_on_its_first_day():
    _, days = run([1.0] * 5 + [2.0])
    assert days[4].told == ((),)
    assert "errors" in days[5].told[0]
    assert days[5].psi[0] > 0.25


def test_thresholds_follow_at_most_so_far_a_day():
    drift, days = run([1.0] * 3 + [3.0] * 40, DriftRule(most_a_day=0.02))
    thresholds = np.array([drift.frozen[0], *(day.threshold[0] for day in days)])
    steps = thresholds[1:] / thresholds[:-1]

    assert steps.max() <= 1.02 + 1e-12
    assert steps.min() >= 0.98 - 1e-12
    # A fault that triples the errors overnight is not learnt within six weeks, and the frozen threshold is kept.
    assert drift.threshold[0] < 2.5 * drift.frozen[0]
    assert drift.frozen[0] == np.percentile(errors(3000), 97)


def test_a_slow_change_ends_in_a_divergence():
    drift, days = run(list(np.linspace(1, 1.6, 90)))
    assert days[0].told == ((),)
    assert "divergence" in days[-1].told[0]
    assert days[-1].divergence[0] == drift.threshold[0] / drift.frozen[0] > 1.25


def test_ks_is_scipys_and_silent_or_clipped_days_are_told():
    reference = errors(512)
    drift = FleetDrift([reference])
    today = errors(DAY, 1.2, 3)
    found = drift.day(today[:, None], np.zeros((DAY, 1), bool), np.full((DAY, 1), 0.05))
    expected = ks_2samp(drift.reference[0], today).statistic
    assert found.ks[0] == pytest.approx(expected)
    assert "clipped" in found.told[0]

    before = drift.threshold.copy()
    silent = drift.day(np.full((DAY, 1), np.nan), np.zeros((DAY, 1), bool))
    assert np.isnan(silent.psi[0])
    assert silent.told == ((),)
    np.testing.assert_array_equal(drift.threshold, before)
    with pytest.raises(ConfigurationError, match="node number 0 has 3"):
        FleetDrift([np.ones(3)])


def test_drift_goes_on_from_its_state():
    drift, _ = run([1.0] * 5)
    other = FleetDrift([np.arange(20.0)])
    other.restore(drift.state())
    today, none = errors(DAY, 1.3, 9)[:, None], np.zeros((DAY, 1), bool)
    assert drift.day(today, none).threshold == other.day(today, none).threshold


def test_retraining_leaves_flagged_rows_and_their_neighbours_out_and_replays_old_months():
    times = np.arange(90 * DAY, dtype=np.int64) * 300 * 10**9
    flagged = np.zeros(len(times), bool)
    flagged[80 * DAY] = True
    kept = retraining_rows(times, flagged, margin=12, replayed_share=0.1)

    assert not kept[80 * DAY - 12 : 80 * DAY + 13].any()
    assert kept[61 * DAY :].sum() == 29 * DAY - 25
    for month in (0, 1):
        share = kept[month * 30 * DAY : (month + 1) * 30 * DAY - DAY].mean()
        assert share == pytest.approx(0.1, abs=0.02)
    assert len(retraining_rows(times[:0], flagged[:0])) == 0
