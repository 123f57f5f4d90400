import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.simulation.signals import (
    autoregressive_noise,
    daily_swing,
    first_order_lag,
    generator,
    hold_index,
)

HOUR = 3_600 * 1_000_000_000


def naive_lag(inputs, time_constant, step):
    decay = np.exp(-step / time_constant)
    result = [inputs[0]]
    for value in inputs[1:]:
        result.append(decay * result[-1] + (1.0 - decay) * value)
    return np.array(result)


@given(
    inputs=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80).map(np.array),
    time_constant=st.floats(0.01, 1e6),
    step=st.floats(0.01, 60.0),
)
def test_lag_equals_its_naive_twin(inputs, time_constant, step):
    np.testing.assert_allclose(
        first_order_lag(inputs, time_constant, step), naive_lag(inputs, time_constant, step), rtol=1e-9, atol=1e-6
    )


def test_lag_reaches_63_percent_of_a_step_after_one_time_constant():
    inputs = np.r_[0.0, np.ones(1_000)]

    lagged = first_order_lag(inputs, 100.0, 1.0)

    assert lagged[100] == pytest.approx(1.0 - np.exp(-1.0), abs=1e-9)


def test_autoregressive_noise_has_the_deviation_and_memory_asked_for():
    noise = autoregressive_noise(generator(1, "x"), 200_000, 2.0, 10.0, 1.0)

    assert noise.std() == pytest.approx(2.0, rel=0.05)
    assert np.corrcoef(noise[10:], noise[:-10])[0, 1] == pytest.approx(np.exp(-1.0), abs=0.05)


def test_holds_last_at_least_the_minimum_and_on_average_the_mean():
    index = hold_index(generator(1, "x"), 500_000, 1.0, 200.0, 50.0)
    lengths = np.bincount(index)[:-1]  # the last hold is cut off

    assert lengths.min() >= 50
    assert lengths.mean() == pytest.approx(200.0, rel=0.1)


def test_daily_swing_peaks_at_its_hour():
    times = np.arange(24) * HOUR

    assert daily_swing(times, 3.0, peak_hour=15.0).argmax() == 15
    assert daily_swing(times, 3.0, peak_hour=15.0).max() == pytest.approx(3.0)


def test_generators_of_different_paths_are_independent():
    one, two, again = (generator(7, "plant", name).standard_normal(1_000) for name in ("a", "b", "a"))

    assert abs(np.corrcoef(one, two)[0, 1]) < 0.1
    np.testing.assert_array_equal(one, again)
