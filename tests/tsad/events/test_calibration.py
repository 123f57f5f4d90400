import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tsad.errors import NotEnoughDataError
from tsad.events.calibration import EventCalibration, fit_event_calibration


def scores(n, seed=0):
    return np.random.default_rng(seed).standard_exponential(n)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(65, 9000), shift=st.floats(-100, 100))
def test_p_values_fall_with_the_score_and_strictly_in_the_tail(seed, n, shift):
    calibration = fit_event_calibration(scores(n, seed) + shift)
    at = np.sort(np.concatenate((scores(200, seed + 1) + shift, calibration.start + np.geomspace(0.01, 50, 30))))
    found = calibration.p_values(at)
    assert ((found > 0) & (found <= 1)).all()
    assert (np.diff(found) <= 1e-15).all()
    tail = at > calibration.start
    assert (np.diff(found[tail]) < 0).all()


def test_p_values_are_about_as_frequent_as_they_say():
    calibration = fit_event_calibration(scores(20_000))
    found = calibration.p_values(scores(200_000, seed=1))
    for level in (0.5, 0.1, 0.01, 0.001):
        assert (found <= level).mean() == pytest.approx(level, rel=0.4)


def test_ranks_equal_the_plain_count_below_the_tail():
    own = scores(500)
    calibration = fit_event_calibration(own)
    at = np.quantile(own, [0.05, 0.3, 0.7])
    plain = [(1 + (own >= s).sum()) / 501 for s in at]
    np.testing.assert_allclose(calibration.p_values(at), plain, atol=1e-12)


def test_too_few_scores_are_told():
    with pytest.raises(NotEnoughDataError, match="at least 65 held-out scores, there are 64"):
        fit_event_calibration(np.concatenate((scores(64), np.full(100, np.nan))))


def test_doubtful_fits_are_flagged():
    assert fit_event_calibration(np.ones(200)).flags == ("degenerate_tail", "few_clusters")
    assert "few_clusters" in fit_event_calibration(scores(100)).flags
    assert fit_event_calibration(scores(5000)).flags == ()
    assert fit_event_calibration(scores(5000)).resolved == 0.002


def test_equal_scores_still_order_what_exceeds_them():
    found = fit_event_calibration(np.full(200, 3.0)).p_values(np.array([2.0, 3.0, 3.1, 4.0]))
    assert found[0] == found[1] == 1.0
    assert found[2] > found[3]


def test_infinite_scores_are_refused_and_missing_ones_stay():
    calibration = fit_event_calibration(scores(200))
    with pytest.raises(ValueError, match="event 1 is infinite"):
        calibration.p_values(np.array([1.0, np.inf]))
    with pytest.raises(ValueError, match="event 0 is infinite"):
        fit_event_calibration(np.full(100, np.inf))
    assert np.isnan(calibration.p_values(np.array([np.nan]))).all()


def test_a_stored_fit_gives_the_same_p_values():
    calibration = fit_event_calibration(scores(9000))
    other = EventCalibration.restored(load(save(calibration.state())))
    at = scores(100, seed=3)
    np.testing.assert_array_equal(calibration.p_values(at), other.p_values(at))
    assert other.flags == calibration.flags
