import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import rows_of
from tsad.clustering import cluster
from tsad.detectors.base import Unscored
from tsad.detectors.kmeans import KMeansDetector
from tsad.errors import NotEnoughDataError
from tsad.observations import RowFlag

SECOND = 10**9


def wave(rows, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / 6 + np.arange(channels)) + 0.1 * rng.standard_normal((rows, channels))).astype(np.float32)


def run(values, train, **options):
    detector = KMeansDetector(**options)
    detector.reserve(1, values.shape[1])
    times = np.arange(len(values)) * SECOND
    prefix = detector.fit(0, values[:train], times[:train])
    return prefix, detector.score(rows_of(values[train:], times[train:])), detector


def twin(values, train, detector):
    """Distance of every window to every centre that was learnt from the whole training part."""
    a = detector._arrays
    scaled = (values.astype(float) - a.location[0]) / a.scale[0]
    centres = detector._centres[0, : a.n_centres[0]].astype(float)
    w = detector.window
    found = np.full(len(values), np.nan)
    for t in range(w - 1, len(values)):
        window = scaled[t - w + 1 : t + 1].ravel()
        found[t] = np.sqrt(min(np.sum((window - centre) ** 2) for centre in centres) / w)
    return found[train:] / a.unit[0]


@pytest.mark.parametrize(("window", "clusters", "channels"), [(8, 5, 1), (20, 20, 2), (12, 3, 3)])
def test_equals_its_plain_twin(window, clusters, channels):
    values = wave(500, channels)
    _, later, detector = run(values, 400, window=window, clusters=clusters)

    np.testing.assert_allclose(later.score, twin(values, 400, detector), rtol=1e-4)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), rows=st.integers(10, 60), count=st.integers(1, 6))
def test_centres_are_the_means_of_what_is_nearest(seed, rows, count):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((rows, 3)).round(1)
    centres = cluster(points, count, np.random.default_rng(seed))

    distances = np.array([[np.sum((p - c) ** 2) for c in centres] for p in points])
    owner = distances.argmin(axis=1)
    # Points that lie between two centres may belong to either: leave those draws to the bound below.
    gaps = np.diff(np.sort(distances, axis=1), axis=1)
    if count == 1 or gaps[:, 0].min() > 1e-9:
        for k in set(owner.tolist()):
            np.testing.assert_allclose(centres[k], points[owner == k].mean(axis=0), atol=1e-9)
    around = ((points - points.mean(axis=0)) ** 2).sum()
    assert distances.min(axis=1).sum() <= around + 1e-9


def test_far_clusters_are_found():
    rng = np.random.default_rng(1)
    middles = rng.uniform(-100, 100, (6, 4))
    points = np.concatenate([m + 0.1 * rng.standard_normal((30, 4)) for m in middles])
    for seed in range(5):
        centres = cluster(points, 6, np.random.default_rng(seed))
        nearest = np.linalg.norm(middles[:, None] - centres, axis=2).min(axis=1)
        assert (nearest < 0.2).all()


def test_equal_points_make_no_trouble():
    assert cluster(np.ones((10, 2)), 3, np.random.default_rng(0)).shape == (3, 2)


def test_an_odd_stretch_of_the_training_part_does_not_judge_itself():
    values = wave(900)
    values[400:430] += 5
    prefix, _, _ = run(values, 900)

    usual = np.delete(prefix, np.s_[400:450])
    assert np.nanmax(prefix[400:450]) > 3 * np.nanquantile(usual, 0.99)


def test_the_seed_chooses_and_repeats():
    values = wave(500)
    same = [run(values, 400, seed=3)[1].score for _ in range(2)]
    other = run(values, 400, seed=4)[1].score

    np.testing.assert_array_equal(*same)
    assert not np.array_equal(same[0], other)


def test_missing_values_are_left_out():
    values = wave(500)
    values[420:424, 0] = np.nan
    _, later, detector = run(values, 400)
    a = detector._arrays
    scaled = (values.astype(float) - a.location[0]) / a.scale[0]
    window = scaled[404:424]
    centres = detector._centres[0, : a.n_centres[0]].reshape(-1, 20, 2).astype(float)
    nearest = min(np.nansum((window - centre) ** 2) for centre in centres)

    assert later.score[23] == pytest.approx(np.sqrt(nearest / 36 * 2) / a.unit[0], rel=1e-4)


def test_a_gap_needs_a_whole_window():
    values = wave(500)
    detector = run(values, 400)[2]
    flags = np.zeros(100, np.uint8)
    flags[40] = RowFlag.BREAK
    found = detector.score(rows_of(values[400:], np.arange(400, 500) * SECOND, flags=flags))

    assert (found.reason[40:59] == Unscored.WINDOW_INCOMPLETE).all()
    assert (found.reason[59:] == Unscored.SCORED).all()


def test_training_rows_between_gaps_that_are_too_short_are_refused():
    values = wave(200)
    times = (np.arange(200) + np.arange(200) // 15 * 100) * SECOND
    with pytest.raises(NotEnoughDataError, match="0 whole windows of 20"):
        KMeansDetector().fit(0, values, times)


def test_hindsight_learns_from_the_training_part():
    values = wave(900)
    values[700:900] += 5
    times = np.arange(900) * SECOND
    score = KMeansDetector().score_all(values, times, 600)

    assert np.isfinite(score).all()
    assert score[720:].min() > 3 * score[:680].max()


def test_the_state_of_wider_series_keeps_that_of_narrow_ones():
    narrow, wide = wave(300, 1), wave(300, 4)
    times = np.arange(300) * SECOND
    detector, alone = KMeansDetector(), KMeansDetector()
    for d in (detector, alone):
        d.fit(0, narrow, times)
    detector.fit(1, wide, times)
    later = wave(50, 1, seed=5)

    np.testing.assert_array_equal(
        detector.score(rows_of(np.pad(later, ((0, 0), (0, 3))), times[:50])).score,
        alone.score(rows_of(later, times[:50])).score,
    )


@pytest.mark.parametrize("options", [{"window": 1}, {"clusters": 0}, {"seed": -1}], ids=str)
def test_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        KMeansDetector(**options)
