"""Clusters, the lite form, and windows of alarms that are held back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import rows_of
from tests.tsad.detectors.test_patchbank import days, run, twin, wave
from tsad.detectors.patchbank import PatchBankDetector
from tsad.patch_learning import settled_scores, usual_score

SECOND = 10**9


def scaled_by_itself(window):
    return (window - window.mean(axis=0)) / (window.std(axis=0) + 0.05)


def distances_to_centres(values, detector, width):
    """Window by window, by the definition."""
    a, channels = detector._arrays, values.shape[1]
    u = ((values.astype(np.float32) - a.location[0, :channels]) * a.factor[0, :channels]).astype(np.float32)
    centres = a.centres[0, :channels, :width, : a.n_centres[0]].astype(np.float64)
    found = np.full(len(u), np.nan)
    for t in range(width - 1, len(u)):
        window = scaled_by_itself(u[t - width + 1 : t + 1].astype(np.float64))
        found[t] = min(np.sqrt(np.sum((window - centres[:, :, k].T) ** 2) / width) for k in range(centres.shape[2]))
    return found


def shares_of_channels(values, detector, width):
    a, channels = detector._arrays, values.shape[1]
    u = ((values.astype(np.float32) - a.location[0, :channels]) * a.factor[0, :channels]).astype(np.float32)
    centres = a.centres[0, :channels, :width, : a.n_centres[0]].astype(np.float64)
    found = np.full(u.shape, np.nan)
    for t in range(width - 1, len(u)):
        window = scaled_by_itself(u[t - width + 1 : t + 1].astype(np.float64))
        squares = (window[:, :, None] - centres.transpose(1, 0, 2)) ** 2
        nearest = squares.sum(axis=(0, 1)).argmin()
        found[t] = squares[:, :, nearest].sum(axis=0) / squares[:, :, nearest].sum()
    return found


def test_clusters_say_the_distance_to_the_nearest_typical_window():
    values = wave(700, 3)
    values[600:640, 1] = values[600:640, 1][::-1]
    windows, ratios, scores, detector = run(values, 500, ring_rows=100, clusters="always")
    assert detector._arrays.n_centres[0] == 20
    expected = distances_to_centres(values, detector, 40)
    np.testing.assert_allclose(windows[:, 4], expected, rtol=1e-5)
    usual = usual_score(expected[:500], 0.0)
    assert detector._arrays.usual[0, 4] == pytest.approx(usual, rel=1e-5)
    np.testing.assert_allclose(ratios[:, 4], expected[:500], rtol=1e-5)
    without = run(values, 500, ring_rows=100, clusters="never")[2]
    np.testing.assert_allclose(scores.score - without.score, expected[500:] / usual, rtol=1e-4)
    # Its squares by channel join the shares of the others.
    own = scores.contributions * scores.score[:, None] - without.contributions * without.score[:, None]
    shares = own / own.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, shares_of_channels(values, detector, 40)[500:], atol=1e-3)


def test_clusters_say_nothing_at_once_unless_they_are_told_to():
    """They are slow to see an onset: alarms, which hang on the immediate score, do not wait for them."""
    values = wave(700, 3)
    values[600:640, 1] += 2
    for clean in (False, True):
        plain, never = (run(values, 500, clusters=how, clean_training=clean)[2] for how in ("auto", "never"))
        np.testing.assert_array_equal(plain.score, never.score)
        np.testing.assert_array_equal(plain.contributions, never.contributions)
    detector = PatchBankDetector()
    detector.reserve(1, 3)
    prefix = detector.fit(0, values[:500].astype(np.float32), np.arange(500) * SECOND)
    other = PatchBankDetector(clusters="never")
    other.reserve(1, 3)
    np.testing.assert_array_equal(prefix, other.fit(0, values[:500].astype(np.float32), np.arange(500) * SECOND))
    assert detector._arrays.member_on[0, 4]


def test_clusters_leave_out_what_is_missing():
    values = wave(700, 3)
    masked = values.copy()
    masked[560:, 0] = np.nan
    found, detector = (run(masked, 500, clusters="always")[k] for k in (2, 3))
    assert np.isfinite(found.score).all()
    assert (found.contributions[160:, 0] == 0).all()
    # Two of three channels are there, and stand for the third.
    a = detector._arrays
    u = ((values.astype(np.float32) - a.location[0, :3]) * a.factor[0, :3]).astype(np.float32).astype(np.float64)
    centres = a.centres[0, :3, :40, :20].astype(np.float64)
    window = scaled_by_itself(u[650:690])
    expected = min(1.5 * np.sum((window - centres[:, :, k].T)[:, 1:] ** 2) / 40 for k in range(20))
    windows = run(masked, 500, clusters="always")[0]
    assert windows[689, 4] == pytest.approx(np.sqrt(expected), rel=1e-5)


def test_clusters_at_a_delay_say_the_mean_over_the_windows_so_far():
    values = wave(700, 2).astype(np.float32)
    times = np.arange(700) * SECOND
    said, usual = {}, {}
    for clusters in ("auto", "never"):
        detector = PatchBankDetector(ring_rows=100, clusters=clusters)
        detector.give_delayed()
        detector.reserve(1, 2)
        detector.fit(0, values[:500], times[:500])
        said[clusters] = detector.score(rows_of(values[500:], times[500:])).delayed
        usual[clusters] = detector._arrays.delayed_usual[0]
        if clusters == "auto":
            distances = distances_to_centres(values, detector, 40)
    early, settled = settled_scores(distances, 17), settled_scores(distances, 40)
    rows = np.arange(500, 600)
    added = said["auto"] - said["never"]
    np.testing.assert_allclose(added[rows + 16 - 500, 0], early[rows] / usual["auto"][0, 4], rtol=1e-4)
    np.testing.assert_allclose(added[rows + 95 - 500, 1], settled[rows] / usual["auto"][1, 4], rtol=1e-4)
    assert usual["auto"][0, 4] == pytest.approx(usual_score(settled_scores(distances[:500], 17), 0.0), rel=1e-5)


def test_where_there_are_clusters():
    commands = (np.arange(500) % 50 < 10).astype(float)[:, None]
    still = np.full((500, 1), 3.0)

    def clustered(values, **options):
        detector = run(values, 400, ring_rows=50, **options)[3]
        told = [text for text in detector.choices(0) if "typical" in text]
        assert bool(told) == bool(detector._arrays.member_on[0, 4])
        return bool(told)

    assert clustered(wave(500, 2))
    assert not clustered(wave(500, 1))
    assert not clustered(np.concatenate([wave(500, 1), commands, still], axis=1)), "one channel is measured and moves"
    assert clustered(np.concatenate([wave(500, 1), commands], axis=1), clusters="always")
    assert not clustered(wave(500, 1), clusters="always"), "of one channel there is nothing to compare"
    assert not clustered(days(500)), "compared at the same time of day"
    assert clustered(days(500), clusters="always")


def test_without_a_whole_window_there_are_no_clusters():
    values = wave(400, 2).astype(np.float32)
    times = np.arange(400) * SECOND
    times += np.arange(400) // 39 * 1000 * SECOND
    detector = PatchBankDetector(ring_rows=50)
    detector.reserve(1, 2)
    detector.fit(0, values, times)
    assert detector._arrays.widths[0].tolist() == [8, 32, 96, 40]
    assert not detector._arrays.member_on[0, 4]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), factor=st.floats(0.01, 100))
def test_clusters_do_not_depend_on_units(seed, factor):
    values = wave(400, 2, seed)
    plain = run(values, 300, ring_rows=30, units="shared")[0][:, 4]
    moved = run(values * factor, 300, ring_rows=30, units="shared")[0][:, 4]
    np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_lite_form_is_one_window_without_its_mean_and_a_frozen_bank(channels):
    values = wave(190, channels)
    windows, ratios, scores, detector = run(values, 80, lite=True)
    nearest, early = twin(values, 80, 20, 0, 2, centred=True)
    assert windows.shape[1] == 1
    np.testing.assert_allclose(windows[:, 0], nearest, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ratios[:, 0], early[:80], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scores.score, early[80:] / detector._arrays.usual[0, 0], rtol=1e-5)


def test_the_lite_form_expects_rows_at_the_level_of_the_newest_window():
    values = wave(900)
    values[600:] += 50.0
    scores = run(values, 500, lite=True)[2]
    settled = np.arange(200, 400)
    assert np.abs(scores.expected[settled, 0] - values[500 + settled, 0]).mean() < 1.0
    inside = (values[500 + settled, 0] >= scores.lower[settled, 0]) & (
        values[500 + settled, 0] <= scores.upper[settled, 0]
    )
    assert inside.mean() > 0.9
    whole = PatchBankDetector()
    lite = PatchBankDetector(lite=True)
    for detector in (whole, lite):
        detector.reserve(1, 1)
        detector.fit(0, values[:500].astype(np.float32), np.arange(500) * SECOND)
    sizes = [sum(array.nbytes for array in d.state(1, fitted=False).values()) for d in (whole, lite)]
    assert sizes[1] < 0.2 * sizes[0]


def repeated(rows=3000, start=900, apart=300):
    """The same odd stretch again and again."""
    values = wave(rows, 1, 4)
    starts = np.arange(start, rows - 200, apart)
    for at in starts:
        values[at : at + 40, 0] += 3 * np.sin(np.arange(40) / 2.5)
    return values, starts


def test_held_windows_keep_a_repeated_event_odd():
    values, starts = repeated()
    found = {}
    for hold in (0, 1000):
        score = run(values, 800, hold=hold)[2].score
        found[hold] = np.array([np.nanmax(score[at - 800 : at - 800 + 60]) for at in starts])
    # The second distinct neighbour still tells the second event, and the third is usual.
    assert found[0][1] > 0.7 * found[0][0]
    assert found[0][2:].max() < 0.5 * found[0][0]
    assert found[1000].min() > 0.6 * found[1000][0]


def test_held_windows_count_after_a_while_and_are_bounded():
    values, starts = repeated(rows=5000)
    score = run(values, 800, hold=600)[2].score
    late = [np.nanmax(score[at - 800 : at - 800 + 60]) for at in starts[-3:]]
    assert max(late) < 0.5 * np.nanmax(score), "what waited long enough is usual"
    _, _, _, detector = run(values[: starts[3] + 60], 800, hold=2000, most_held=25)
    a, depth = detector._arrays, detector._form.depth
    assert a.history_held[0, :depth].sum() == 25
    unbounded = run(values[: starts[3] + 60], 800, hold=2000)[3]
    assert unbounded._arrays.history_held[0, :depth].sum() > 50


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hold": 3000}, "0 to its 2000 rows"),
        ({"hold": -1}, "hold is -1"),
        ({"hold": 100, "most_held": 0}, "most_held 0"),
        ({"lite": True, "hold": 10}, "0 to its 0 rows"),
        ({"clusters": "some"}, "clusters is 'some'"),
        ({"lite": True, "clusters": "always"}, "lite has one member"),
    ],
    ids=str,
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        PatchBankDetector(**options)
