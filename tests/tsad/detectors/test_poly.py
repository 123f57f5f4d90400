import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import rows_of
from tsad.detectors.base import Unscored
from tsad.detectors.poly import PolyDetector, forecast_filter
from tsad.observations import RowFlag

SECOND = 10**9


def wave(rows, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / 9 + np.arange(channels)) + 0.1 * rng.standard_normal((rows, channels))).astype(np.float32)


def run(values, train, **options):
    detector = PolyDetector(**options)
    detector.reserve(1, values.shape[1])
    times = np.arange(len(values)) * SECOND
    prefix = detector.fit(0, values[:train], times[:train])
    return prefix, detector.score(rows_of(values[train:], times[train:])), detector


def forecasts(values, window, degree):
    """One polynomial fit a row and channel."""
    found = np.full(values.shape, np.nan)
    for t in range(window, len(values)):
        for c in range(values.shape[1]):
            fit = np.polynomial.Polynomial.fit(np.arange(window), values[t - window : t, c].astype(float), degree)
            found[t, c] = fit(window)
    return found


@pytest.mark.parametrize(("window", "degree"), [(8, 0), (16, 1), (32, 2), (24, 4)])
def test_equals_its_plain_twin(window, degree):
    values = wave(300)
    prefix, later, _ = run(values, 200, window=window, degree=degree)

    expected = forecasts(values, window, degree)
    residuals = np.abs(values - expected)
    units = np.nanquantile(residuals[:200], 0.99, axis=0)
    ratios = (residuals / units).max(axis=1)

    np.testing.assert_allclose(later.expected, expected[200:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([prefix, later.score]), ratios, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(later.upper - later.expected, np.tile(units, (100, 1)), rtol=1e-3)


@settings(max_examples=20)
@given(degree=st.integers(0, 4), coefficients=st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_a_polynomial_is_forecast_exactly(degree, coefficients):
    t = np.linspace(-1, 1, 33)
    x = np.polynomial.Polynomial(coefficients[: degree + 1])(t)

    assert forecast_filter(32, degree) @ x[:-1] == pytest.approx(x[-1], abs=1e-9)


def test_offsets_and_units_change_nothing():
    values = wave(300, 1)
    other = (values.astype(np.float64) * 64 + 1024).astype(np.float32)

    np.testing.assert_allclose(run(values, 200)[1].score, run(other, 200)[1].score, rtol=2e-2, atol=1e-2)


def test_a_ramp_is_expected_and_its_end_is_not():
    values = wave(400, 1, seed=2) * 0.2
    values[250:, 0] += np.minimum(np.arange(150), 100) * 0.2
    score = run(values, 200)[1].score

    ramp = score[100:145]
    assert np.median(ramp) < 1
    assert score[150:156].max() > ramp.max()


def test_a_missing_value_stands_at_the_last_one():
    values = wave(300)
    values[250, 0] = np.nan
    held = values.copy()
    held[250, 0] = held[249, 0]

    found, other = run(values, 200)[1], run(held, 200)[1]

    assert found.contributions[50, 0] == 0
    np.testing.assert_array_equal(found.score[51:], other.score[51:])


def test_a_channel_that_was_away_for_half_a_window_is_not_judged():
    values = wave(300)
    values[230:260, 0] = np.nan
    found = run(values, 200)[1]

    assert np.isnan(found.expected[50:62, 0]).all()
    assert np.isfinite(found.score[30:60]).all()
    assert np.isfinite(found.expected[-1, 0])


def test_a_gap_needs_a_whole_window():
    values = wave(300)
    detector = run(values, 200)[2]
    flags = np.zeros(100, np.uint8)
    flags[40] = RowFlag.BREAK
    found = detector.score(rows_of(values[200:], np.arange(200, 300) * SECOND, flags=flags))

    assert (found.reason[40:72] == Unscored.WINDOW_INCOMPLETE).all()
    assert (found.reason[72:] == Unscored.SCORED).all()


def test_gaps_in_the_training_part_are_kept():
    values = wave(200)
    times = np.arange(200) * SECOND
    times[100:] += 1000 * SECOND
    detector = PolyDetector()
    prefix = detector.fit(0, values, times)

    assert np.isnan(prefix[100:132]).all()
    assert np.isfinite(prefix[132:]).all()


def test_hindsight_speaks_of_the_first_and_the_last_rows():
    values = wave(300)
    times = np.arange(300) * SECOND

    assert np.isfinite(PolyDetector().score_all(values, times)).all()
    assert np.isfinite(PolyDetector().score_all(values, times, 150)).all()


@pytest.mark.parametrize("options", [{"window": 2, "degree": 2}, {"degree": -1}, {"degree": 9}], ids=str)
def test_wrong_options(options):
    with pytest.raises(ValueError, match="degree"):
        PolyDetector(**options)
