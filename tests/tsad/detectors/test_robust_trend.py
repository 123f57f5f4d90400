import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import rows_of
from tsad.detectors.registry import create_detector
from tsad.detectors.robust import RobustDetector
from tsad.errors import ConfigurationError

SECOND = 10**9


def drift(rows, slope=0.05, seed=0, channels=2):
    rng = np.random.default_rng(seed)
    return (np.arange(rows)[:, None] * slope * [1, -2][:channels] + rng.standard_normal((rows, channels))).astype(
        np.float32
    )


def run(values, train, **options):
    detector = RobustDetector(**options)
    detector.reserve(1, values.shape[1])
    times = np.arange(len(values)) * SECOND
    prefix = detector.fit(0, values[:train], times[:train])
    return prefix, detector.score(rows_of(values[train:], times[train:])), detector


def twin(detector, level, slope, values, pull, bend):
    """Row by row as the formulas say."""
    a = detector._arrays
    scale, unit, weight = a.scale[0], a.unit[0], a.weight[0]
    scores = []
    for x in values.astype(float):
        level = level + slope
        difference = x - level
        there = ~np.isnan(x)
        scores.append(np.nanmax(np.abs(difference) * weight / scale / unit))
        step = np.where(there, pull * np.clip(np.where(there, difference, 0), -2 * scale, 2 * scale), 0)
        level, slope = level + step, slope + bend * step
    return np.array(scores), level, slope


def test_equals_its_plain_twin():
    values = drift(600)
    values[450:460, 0] += 30
    values[500:520, 1] = np.nan
    options = {"memory_rows": 50, "trend_rows": 20}
    detector = run(values[:400], 400, **options)[2]
    level, slope = detector._arrays.level[0].copy(), detector._arrays.slope[0].copy()
    expected, last_level, last_slope = twin(detector, level, slope, values[400:], 1 / 50, 1 / 20)

    found = detector.score(rows_of(values[400:], np.arange(400, 600) * SECOND))

    np.testing.assert_allclose(found.score, expected, rtol=1e-9)
    np.testing.assert_allclose(detector._arrays.level[0], last_level)
    np.testing.assert_allclose(detector._arrays.slope[0], last_slope)


def test_what_always_drifts_is_expected_to():
    values = drift(3000)
    with_, without = (run(values, 1000, trend_rows=rows)[1].score for rows in (1000, 0))

    assert np.median(with_) < 0.7
    assert np.median(without[-500:]) > 2 * np.median(with_[-500:])


def test_slopes_are_found_among_outliers():
    values = drift(1000)
    values[::7] = 1000
    slope = run(values, 1000, trend_rows=500)[2]._arrays.slope[0]

    np.testing.assert_allclose(slope, [0.05, -0.1], rtol=0.05)


def test_prefix_scores_are_honest():
    values = drift(2000)
    prefix, later, _ = run(values, 1000, trend_rows=500)

    assert np.median(later.score) == pytest.approx(np.median(prefix), rel=0.15)


def test_a_slope_turns_slowly():
    values = drift(4000, slope=0.0)
    values[2000:] += (0.05 * np.arange(2000))[:, None].astype(np.float32)
    found = run(values, 1000, memory_rows=100, trend_rows=100)[1].score

    assert found[1100:1300].max() > 1.5 * np.median(found[:1000])
    assert np.median(found[-500:]) < 1.5 * np.median(found[:1000])


def test_one_far_value_moves_the_slope_by_a_bounded_step():
    values = drift(1100)
    values[1050] = 1e9
    detector = run(values, 1000, memory_rows=100, trend_rows=100)[2]

    assert np.abs(detector._arrays.slope[0] - [0.05, -0.1]).max() < 0.02


@settings(max_examples=20)
@given(cut=st.integers(0, 200), seed=st.integers(0, 100))
def test_batches_and_stored_states_change_nothing(cut, seed):
    values = drift(700, seed=seed)
    detectors = [run(values[:500], 500, trend_rows=200)[2] for _ in range(2)]
    times = np.arange(500, 700) * SECOND
    whole = detectors[0].score(rows_of(values[500:], times)).score
    first = detectors[1].score(rows_of(values[500 : 500 + cut], times[:cut])).score
    other = RobustDetector(trend_rows=200)
    other.restore({**detectors[1].state(1, fitted=True), **detectors[1].state(1, fitted=False)})
    rest = other.score(rows_of(values[500 + cut :], times[cut:])).score

    np.testing.assert_array_equal(whole, np.concatenate([first, rest]))


def test_without_a_trend_nothing_is_stored_for_it():
    assert "slope" not in run(drift(300), 200)[2].state(1, fitted=False)
    assert "slope" in run(drift(300), 200, trend_rows=10)[2].state(1, fitted=False)


def test_with_a_season_both_are_learnt():
    rows = 2400
    t = np.arange(rows)
    values = drift(rows, channels=1) + (5 * np.sin(2 * np.pi * t / 240))[:, None].astype(np.float32)
    found = run(values, 1200, season_seconds=240, season_bins=24, trend_rows=500)[1].score

    assert np.median(found) < 0.7


def test_hindsight_takes_the_trend_out():
    values = drift(1000)
    values[600:620] += 15
    score = RobustDetector(trend_rows=500).score_all(values, np.arange(1000) * SECOND)

    assert score[600:620].min() > np.delete(score, np.s_[600:620]).max()


def test_a_trend_needs_a_level_that_moves():
    with pytest.raises(ConfigurationError, match="a trend needs a level that moves"):
        create_detector("robust", {"memory_rows": 0, "trend_rows": 10})
    with pytest.raises(ConfigurationError, match="must not be negative"):
        create_detector("robust", {"trend_rows": -1})
