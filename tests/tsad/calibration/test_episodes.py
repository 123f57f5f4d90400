import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.calibration.episodes import AlarmPolicy, EpisodeCalibrator
from tsad.calibration.tail import fit_tail
from tsad.errors import NotEnoughDataError
from tsad.kernels.episodes import CLEAR, RAISE

_spec = importlib.util.spec_from_file_location("tsad_naive", Path(__file__).parents[1] / "naive.py")
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

DAY = 1440.0


def golden_scores():
    t = np.arange(800)
    s = 1 + 0.1 * ((37 * t) % 101) / 101 + (t % 50 < 6) * ((((t // 50) * 7) % 11) / 5 + 0.2)
    s[(t >= 603) & (t < 640)] += 4
    return s


def run(calibrator, scores, series=0):
    n = len(scores)
    return calibrator.update(np.full(n, series, np.int32), np.asarray(scores, float), np.zeros(n, bool))


def test_golden_stream():
    scores = golden_scores()
    calibrator = EpisodeCalibrator(AlarmPolicy(false_alarms_per_day=1e-3 * DAY, memory_rows=1000), DAY)
    calibrator.fit(0, scores[:400])

    found = run(calibrator, scores[400:])

    assert [(400 + i, e) for i, e in enumerate(found.events) if e in {RAISE, CLEAR}] == [(603, RAISE), (672, CLEAR)]
    assert found.thresholds[203] == pytest.approx(4.930334525730, abs=1e-11)
    tail = calibrator.tail(0)
    assert (tail.clusters, tail.excess, tail.exposure) == pytest.approx(
        (8.563101697750, 11.003056617223, 569.148258020717), abs=1e-11
    )
    assert calibrator.governor(0) == pytest.approx(0.0872, abs=1e-12)
    assert tail.threshold(1e-3) == pytest.approx(6.428312579299, abs=1e-11)


@given(st.lists(st.floats(0, 50), min_size=70, max_size=200), st.floats(0.01, 100), st.floats(-50, 50))
def test_scale_and_shift_change_nothing_but_the_threshold(values, scale, shift):
    scores = np.round(values, 3)
    prefix, stream = scores[:66], np.tile(scores[66:], 4) * 3
    tail = fit_tail(prefix, 32)
    if tail.degenerate or len(stream) == 0:
        return
    plain, changed = (EpisodeCalibrator(AlarmPolicy(50), DAY) for _ in range(2))
    plain.fit(0, prefix)
    changed.fit(0, prefix * scale + shift)
    if changed.tail(0).excess <= 1e-6 * scale or abs(changed.tail(0).clusters - tail.clusters) > 0:
        return  # rounding moved a score across the quantile
    left, right = run(plain, stream), run(changed, stream * scale + shift)
    # A score on the threshold itself may fall to either side after rounding.
    if np.min(np.abs(left.thresholds - stream)) < 1e-6:
        return
    np.testing.assert_array_equal(left.events, right.events)
    np.testing.assert_allclose(left.thresholds * scale + shift, right.thresholds, rtol=1e-6, atol=1e-6)


@given(
    st.lists(st.floats(0, 10), min_size=70, max_size=120),
    st.lists(st.one_of(st.floats(0, 30), st.just(float("nan"))), max_size=300),
    st.floats(0.1, 500),
    st.sampled_from([0.0, 0.5, 8.0]),
)
def test_stream_equals_the_naive_twin(prefix, stream, budget, prior):
    policy = AlarmPolicy(budget, off_delay_rows=5, memory_rows=50)
    calibrator = EpisodeCalibrator(policy, DAY, prior)
    prefix = np.array(prefix)
    tail = calibrator.fit(0, prefix).tail
    twin = naive.Calibrator(
        tail.start, tail.clusters, tail.excess, tail.exposure,
        gap=5, share=0.25, step=0.1, limit=3.0, budget=budget / DAY, memory=max(len(prefix), 50), prior=prior,
    )  # fmt: skip

    found = run(calibrator, stream)
    expected = [twin.update(s) for s in stream]

    names = {RAISE: "raise", CLEAR: "clear"}
    assert [names.get(int(e)) for e in found.events] == expected
    after = calibrator.tail(0)
    assert (after.clusters, after.excess, after.exposure) == pytest.approx((twin.K, twin.S, twin.N), rel=1e-9)
    assert calibrator.governor(0) == pytest.approx(twin.b, abs=1e-12)


def test_what_is_known_beforehand_counts_in_p_values_thresholds_and_after_a_restart():
    scores = golden_scores()
    calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY, prior_clusters=1e9)
    calibrator.fit(0, scores[:400])
    start = calibrator.tail(0).start
    restarted = EpisodeCalibrator(AlarmPolicy(1.0), DAY, prior_clusters=1e9)
    restarted.restore(calibrator.state(1, fitted=True) | calibrator.state(1, fitted=False))

    for one in (calibrator, restarted):
        expected = one.threshold(0)
        found = run(one, [start + 5.0])
        share = np.mean(scores[:400] > start)
        assert found.p_values[0] == pytest.approx(share * np.exp(-5.0), rel=1e-6)
        assert found.rates[0] == pytest.approx(8 / 400 * np.exp(-5.0), rel=1e-6)
        assert found.thresholds[0] == expected == pytest.approx(start + np.log(8 / 400 * DAY), rel=1e-6)


@pytest.mark.parametrize("prior", [-1.0, float("nan")])
def test_fewer_than_no_clusters_cannot_be_known_beforehand(prior):
    with pytest.raises(ValueError, match="prior_clusters is"):
        EpisodeCalibrator(AlarmPolicy(1.0), DAY, prior)


def test_a_long_anomaly_costs_no_more_than_a_short_one():
    states = []
    for length in (100, 5000):
        calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY)
        calibrator.fit(0, golden_scores()[:400])
        run(calibrator, np.full(length, 50.0))
        states.append((calibrator.tail(0), calibrator.governor(0)))

    assert states[0] == states[1]


def test_the_peak_of_an_alarmed_cluster_does_not_raise_its_own_threshold():
    after = []
    for height in (30.0, 3000.0):
        calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY)
        calibrator.fit(0, golden_scores()[:400])
        run(calibrator, [height, *[1.0] * 200])
        after.append(calibrator.tail(0).excess)

    assert after[0] == after[1]


def test_nan_rows_change_nothing():
    scores = golden_scores()
    with_gaps = np.repeat(scores[400:], 2)
    with_gaps[1::2] = np.nan
    plain, gapped = (EpisodeCalibrator(AlarmPolicy(1.0), DAY) for _ in range(2))
    plain.fit(0, scores[:400])
    gapped.fit(0, scores[:400])

    np.testing.assert_array_equal(run(plain, scores[400:]).events, run(gapped, with_gaps).events[::2])


@pytest.mark.parametrize(("rate", "low", "high"), [(1e-3, 0.4, 1.1), (1e-4, 0.0, 1.1)])
def test_realised_rate_on_independent_exponential_scores(rate, low, high):
    draws = np.random.default_rng(0).exponential(size=1_002_000)
    calibrator = EpisodeCalibrator(AlarmPolicy(rate * DAY), DAY)
    calibrator.fit(0, draws[:2000])

    realised = np.count_nonzero(run(calibrator, draws[2000:]).events == RAISE) / 1_000_000

    assert low <= realised / rate <= high


def test_the_budget_survives_a_jump_of_the_level():
    # Section 7 of the calibration note: AR(1) in the log, a jump to twice the level, budget 1 a day of 1440 rows.
    ratios = []
    for seed in range(10):
        noise = np.random.default_rng(seed).standard_normal(64_000)
        x = np.empty_like(noise)
        x[0] = noise[0]
        for i in range(1, len(x)):
            x[i] = 0.9 * x[i - 1] + np.sqrt(1 - 0.81) * noise[i]
        scores = np.exp(0.5 * x)
        scores[24_000:] *= 2
        calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY)
        calibrator.fit(0, scores[:4000])
        raised = run(calibrator, scores[4000:]).events == RAISE
        ratios.append(raised[40_000:].sum() / (20_000 / DAY))

    assert 0.5 <= np.mean(ratios) <= 1.2


def test_p_values_fall_strictly_with_the_score():
    calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY)
    calibrator.fit(0, np.random.default_rng(0).exponential(size=500))

    p = calibrator.prefix_p_values(0, np.linspace(0, 60, 400))

    assert (np.diff(p) <= 0).all()
    assert (np.diff(p[p < 0.05]) < 0).all()
    assert p.min() > 0


def test_too_short_a_prefix_names_the_rows_needed():
    with pytest.raises(NotEnoughDataError, match="at least 65 scored rows"):
        EpisodeCalibrator(AlarmPolicy(), DAY).fit(0, np.ones(64))


@pytest.mark.parametrize("budget", [0.0, -1.0, np.nan, np.inf])
def test_impossible_budgets_are_refused(budget):
    with pytest.raises(ValueError, match="false_alarms_per_day"):
        AlarmPolicy(budget)


def test_infinite_scores_name_their_row():
    calibrator = EpisodeCalibrator(AlarmPolicy(), DAY)
    with pytest.raises(ValueError, match="row 2"):
        run(calibrator, [1.0, 2.0, np.inf])


def test_constant_prefix_is_flagged_and_usable():
    calibrator = EpisodeCalibrator(AlarmPolicy(), DAY)
    fit = calibrator.fit(0, np.ones(200))

    assert "degenerate_tail" in fit.flags
    assert run(calibrator, [1.0, 100.0]).events.tolist() == [0, RAISE]


def test_a_budget_that_cannot_be_spent_is_flagged():
    assert "budget_above_max" in EpisodeCalibrator(AlarmPolicy(1000.0), DAY).fit(0, golden_scores()[:400]).flags


def test_changing_the_budget_keeps_what_was_learnt():
    calibrator = EpisodeCalibrator(AlarmPolicy(1.0), DAY)
    calibrator.fit(0, golden_scores()[:400])
    before = calibrator.tail(0)

    calibrator.set_budget(0.1)

    assert calibrator.tail(0) == before
    assert run(calibrator, [1.0]).thresholds[0] > before.threshold(1.0 / DAY)
