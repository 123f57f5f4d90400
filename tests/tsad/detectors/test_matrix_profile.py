import numpy as np
import pytest

from tests.tsad.detectors.test_contract import rows_of
from tsad.detectors.base import Unscored
from tsad.detectors.matrix_profile import MatrixProfileDetector
from tsad.errors import NotEnoughDataError
from tsad.kernels.matrix_profile import REFRESH_ROWS
from tsad.observations import RowFlag

SECOND = 10**9


def wave(rows, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / 5 + np.arange(channels)) + 0.2 * rng.standard_normal((rows, channels))).astype(np.float32)


def run(values, train, **options):
    detector = MatrixProfileDetector(**{"window": 8, "reference_rows": 64, "history_rows": 40, **options})
    detector.reserve(1, values.shape[1])
    times = np.arange(len(values)) * SECOND
    prefix = detector.fit(0, values[:train], times[:train])
    later = detector.score(rows_of(values[train:], times[train:]))
    return np.concatenate([prefix, later.score]) * detector._arrays.unit[0], later, detector


def apart(one, other, *, amplitudes):
    """Squared distance a row of two windows of one channel, after z-normalising both."""
    deviations = one.std(), other.std()
    moving = [d > 1e-3 for d in deviations]
    if all(moving):
        found = np.mean(((one - one.mean()) / deviations[0] - (other - other.mean()) / deviations[1]) ** 2)
    else:
        found = float(any(moving))
    return found * max(deviations) ** 2 if amplitudes else found


def twin(values, train, *, window=8, reference=64, history=40, amplitudes=True):
    """Every pair of windows, one by one."""
    x = values.astype(float)
    x = (x - x[:train].mean(axis=0)) / x[:train].std(axis=0)
    found = np.full(len(x), np.nan)

    def at(t):
        return x[t - window + 1 : t + 1]

    for t in range(window - 1, len(x)):
        bank = [j for j in range(max(0, train - reference) + window - 1, train) if abs(t - j) >= window]
        past = range(max(window - 1, t - history), t - window + 1)
        pairs = [
            np.mean([apart(at(t)[:, c], at(j)[:, c], amplitudes=amplitudes) for c in range(x.shape[1])])
            for j in {*(bank if reference else ()), *(past if history else ())}
        ]
        if pairs:
            found[t] = np.sqrt(min(pairs))
    return found


@pytest.mark.parametrize("amplitudes", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_its_plain_twin(channels, amplitudes):
    values = wave(240, channels)
    values[200:206] += 3
    found, _, _ = run(values, 150, amplitudes=amplitudes)

    np.testing.assert_allclose(found, twin(values, 150, amplitudes=amplitudes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("reference", "history"), [(64, 0), (0, 40)])
def test_reference_and_past_each_alone(reference, history):
    values = wave(240)
    found, _, _ = run(values, 150, reference_rows=reference, history_rows=history)

    np.testing.assert_allclose(found, twin(values, 150, reference=reference, history=history), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_equals_stumpy():
    """The left matrix profile of a bounded past, by a package of another hand."""
    core = pytest.importorskip("stumpy.core", reason="install stumpy (extra dev) to compare with it")
    values = wave(400)
    found, _, _ = run(values, 200, window=16, reference_rows=0, history_rows=100, amplitudes=False)
    x = values[:, 0].astype(float)
    for t in range(200, 400, 7):
        query = x[t - 15 : t + 1]
        past = x[t - 100 - 15 : t - 16 + 1]
        assert found[t] == pytest.approx(core.mass(query, past).min() / 4, abs=1e-4)


def test_long_streams_do_not_drift():
    """Past the row where dot products are computed anew, around the ring many times, and after far outliers."""
    values = wave(REFRESH_ROWS + 300)
    values[1000:1003] = 500
    found, _, _ = run(values, 100)
    for stop in (REFRESH_ROWS - 5, REFRESH_ROWS + 30, len(values)):
        # The past forgets: only the reference and the last rows matter to the plain twin.
        piece = np.concatenate([values[:100], values[stop - 120 : stop]])
        np.testing.assert_allclose(found[stop - 30 : stop], twin(piece, 100)[-30:], rtol=1e-4, atol=1e-4)


def test_level_and_size_do_not_decide_on_shape():
    values = wave(400)
    other = values.copy()
    other[300:] = other[300:] * 4 + 50
    plain, scaled = (run(v, 250, amplitudes=False, history_rows=0)[0] for v in (values, other))

    # Windows wholly beyond the change: the same shapes.
    np.testing.assert_allclose(scaled[310:], plain[310:], rtol=2e-3, atol=2e-3)


def test_a_quiet_stretch_is_odd_only_without_amplitudes():
    rng = np.random.default_rng(3)
    values = wave(600)
    values[450:500] = 0.02 * rng.standard_normal((50, 1))
    with_, without = (run(values, 300, amplitudes=a, window=16, reference_rows=250)[0] for a in (True, False))

    assert np.median(without[465:500]) > 1.2 * np.median(without[320:440])
    assert np.median(with_[465:500]) < 3 * np.median(with_[320:440])


def test_windows_that_do_not_move_are_equal_to_each_other_alone():
    values = wave(300)
    values[100:120] = values[220:240] = 0.5
    found, _, _ = run(values, 200, reference_rows=200, amplitudes=False)

    assert found[230] == pytest.approx(0, abs=1e-6)
    values[100:120] = wave(20, seed=9)
    found, _, _ = run(values, 200, reference_rows=200, history_rows=0, amplitudes=False)
    assert found[230] == pytest.approx(1)


def test_what_comes_again_is_known():
    values = wave(700)
    motif = 3 * np.sign(np.sin(np.arange(12) / 1.5))[:, None]
    for start in (400, 600):
        values[start : start + 12] += motif.astype(np.float32)
    found, _, _ = run(values, 300, history_rows=300, window=12)

    assert found[400:420].max() > 1.5 * found[600:620].max()


def test_windows_with_gaps_and_without_values_are_nobodys_neighbours():
    values = wave(300, 2)
    values[220:223, 0] = np.nan
    values[230] = np.nan
    detector = run(values[:200], 200)[2]
    flags = np.zeros(100, np.uint8)
    flags[50] = RowFlag.BREAK
    found = detector.score(rows_of(values[200:], np.arange(200, 300) * SECOND, flags=flags))

    # Three of eight rows are too many: the other channel speaks alone.
    assert (found.contributions[22:25, 0] == 0).all()
    assert np.isfinite(found.score[20:30]).all()
    assert found.reason[30] == Unscored.VALUES_MISSING
    assert (found.reason[50:57] == Unscored.WINDOW_INCOMPLETE).all()
    assert np.isfinite(found.score[57:]).all()


def test_a_training_part_of_short_pieces_is_refused():
    values = wave(200)
    times = (np.arange(200) + np.arange(200) // 20 * 100) * SECOND
    with pytest.raises(NotEnoughDataError, match="no two windows of 32"):
        MatrixProfileDetector().fit(0, values, times)


def test_hindsight_equals_its_plain_twin():
    values = wave(120, 2)
    times = np.arange(120) * SECOND
    score = MatrixProfileDetector(window=8, amplitudes=False).score_all(values, times)

    profile = twin(values, 120, reference=120, history=0, amplitudes=False)
    expected = [np.nanmean(profile[t : t + 8]) for t in range(120)]
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"window": 3}, "window"),
        ({"reference_rows": 40}, "reference_rows"),
        ({"history_rows": 1}, "history_rows"),
        ({"reference_rows": 0, "history_rows": 0}, "nothing to compare"),
    ],
    ids=str,
)
def test_wrong_options(options, match):
    with pytest.raises(ValueError, match=match):
        MatrixProfileDetector(**options)
