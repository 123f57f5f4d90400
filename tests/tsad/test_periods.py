import numpy as np
import pytest

from tsad.periods import shared_period


def wave(period, rows=900, channels=2, noise=0.2, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    values = np.sin(2 * np.pi * t / period + np.arange(channels)) + noise * rng.standard_normal((rows, channels))
    return values.astype(np.float32)


@pytest.mark.parametrize("period", [12, 50, 288])
def test_the_period_is_found_through_noise(period):
    assert shared_period(wave(period)) == pytest.approx(period, abs=max(1, period // 50))


def test_a_day_is_found_and_not_a_week():
    t = np.arange(900)
    values = np.sin(2 * np.pi * t / 24) + 0.2 * np.sin(2 * np.pi * t / 168)
    assert shared_period(values[:, None].astype(np.float32)) == 24


def test_what_has_no_period():
    rng = np.random.default_rng(1)
    assert shared_period(rng.standard_normal((900, 3)).astype(np.float32)) == 0
    assert shared_period(np.cumsum(rng.standard_normal((900, 1)), axis=0).astype(np.float32)) == 0
    assert shared_period(np.full((900, 2), np.nan, np.float32)) == 0
    assert shared_period(wave(10, rows=20)) == 0


def test_missing_values_and_units_change_nothing():
    values = wave(50)
    units = values * np.float32([1e-3, 1e4]) + np.float32([5, 1e5])
    values[::7, 0] = np.nan
    assert shared_period(units) == 50
    assert shared_period(values) == pytest.approx(50, abs=1)
