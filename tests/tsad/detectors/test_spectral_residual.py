import numpy as np
import pytest

from tests.tsad.detectors.test_contract import rows_of
from tsad.detectors.base import Unscored
from tsad.detectors.spectral_residual import SpectralResidualDetector, _whole_map
from tsad.kernels.spectral_residual import transform
from tsad.observations import RowFlag

SECOND = 10**9


def wave(rows, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / 5 + np.arange(channels)) + 0.2 * rng.standard_normal((rows, channels))).astype(np.float32)


def run(values, train, **options):
    detector = SpectralResidualDetector(**options)
    detector.reserve(1, values.shape[1])
    times = np.arange(len(values)) * SECOND
    prefix = detector.fit(0, values[:train], times[:train])
    return prefix, detector.score(rows_of(values[train:], times[train:])), detector


def saliency(x):
    """The map of a window by the paper's formulas, with a transform of another hand."""
    x = x - x.mean()
    f = np.fft.fft(x)
    logs = np.log(np.maximum(np.abs(f), 1e-8 * np.abs(x).max()))
    logs[0] = logs[1]
    residual = logs - (np.roll(logs, 1) + logs + np.roll(logs, -1)) / 3
    spectrum = np.exp(residual + 1j * np.angle(f))
    spectrum[0] = 0
    return np.abs(np.fft.ifft(spectrum))


def twin(x, size):
    """Both comparisons of every row."""
    rows = size - 5
    found = np.full((len(x), 2), np.nan)
    for t in range(rows - 1, len(x)):
        window = x[t - rows + 1 : t + 1].astype(float)
        before = window[:-1]
        slope = np.mean([(before[-1] - before[-1 - k]) / k for k in range(1, 6)])
        found_map = saliency(np.concatenate([window, np.full(5, before[-5] + 5 * slope)]))
        near = found_map[rows - 22 : rows - 1]
        found[t] = found_map[rows - 1] / near.mean(), max(near.max(), found_map[rows - 1]) / found_map.mean()
    return found


@pytest.mark.parametrize("size", [8, 64, 256])
def test_the_transform_is_that_of_numpy(size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    angles = 2 * np.pi * np.arange(size // 2) / size
    for inverse in (False, True):
        real, imaginary = x.real.copy(), x.imag.copy()
        transform(real, imaginary, np.cos(angles), np.sin(angles), inverse)
        expected = np.fft.ifft(x) * size if inverse else np.fft.fft(x)
        np.testing.assert_allclose(real + 1j * imaginary, expected, atol=1e-10)


@pytest.mark.parametrize("size", [32, 64])
def test_equals_its_plain_twin(size):
    values = wave(400)
    values[350] += 4
    prefix, later, detector = run(values, 250, size=size)

    ratios = twin((values[:, 0] - values[:250, 0].mean(dtype=float)) / values[:250, 0].std(dtype=float), size)
    units = np.nanquantile(ratios[:250], 0.99, axis=0)

    np.testing.assert_allclose(detector._arrays.newest_unit[0], units[0], rtol=1e-5)
    np.testing.assert_allclose(detector._arrays.recent_unit[0], units[1], rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([prefix, later.score]), (ratios / units).max(axis=1), rtol=1e-4)


def test_a_spike_stands_out_at_once_and_a_step_at_its_edge():
    values = wave(500)
    values[400] += 5
    values[450:] += 5
    score = run(values, 300)[1].score

    usual = np.quantile(score[:90], 0.99)
    assert score[100] > 2 * usual
    assert score[150] > 1.5 * usual


def test_offsets_and_units_change_nothing():
    values = wave(400)
    other = (values.astype(np.float64) * 64 + 1024).astype(np.float32)

    np.testing.assert_allclose(run(values, 300)[1].score, run(other, 300)[1].score, rtol=2e-2)


def test_a_gap_needs_a_whole_window_and_missing_values_are_not_judged():
    values = wave(500, 2)
    values[420:423, 0] = np.nan
    values[430] = np.nan
    detector = run(values[:300], 300)[2]
    flags = np.zeros(200, np.uint8)
    flags[20] = RowFlag.BREAK
    found = detector.score(rows_of(values[300:], np.arange(300, 500) * SECOND, flags=flags))

    assert (found.reason[20:78] == Unscored.WINDOW_INCOMPLETE).all()
    assert (found.contributions[120:123, 0] == 0).all()
    assert np.isfinite(found.score[120:123]).all()
    assert found.reason[130] == Unscored.VALUES_MISSING
    assert (found.reason[131:] == Unscored.SCORED).all()


@pytest.mark.parametrize("rows", [300, 301])
def test_the_map_of_a_whole_recording_is_that_of_the_window(rows):
    x = wave(rows)[:, 0].astype(float)

    np.testing.assert_allclose(_whole_map(x), saliency(x), rtol=1e-6, atol=1e-9)


def test_with_hindsight_rows_without_values_have_no_score():
    values = wave(400, 2)
    values[200:210] = np.nan
    score = SpectralResidualDetector().score_all(values, np.arange(400) * SECOND)

    assert np.isnan(score[200:210]).all()
    assert np.isfinite(np.delete(score, np.s_[200:210])).all()


@pytest.mark.parametrize("size", [16, 60, 100])
def test_wrong_sizes(size):
    with pytest.raises(ValueError, match="power of two"):
        SpectralResidualDetector(size=size)
