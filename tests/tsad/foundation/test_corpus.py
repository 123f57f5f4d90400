import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.foundation.corpus import CorpusSettings, corpus_batch, recorded_length
from tsad.foundation.corpus_anomalies import ANOMALIES, inject, visible
from tsad.foundation.corpus_blocks import BLOCK, corpus_blocks
from tsad.foundation.corpus_graphs import CausalGraph, faulty_plant
from tsad.foundation.corpus_signals import SIGNALS, normal_series
from tsad.kernels.corpus import nearest_distance, roughness_gap

SMALL = CorpusSettings(window=256, batch=12, multivariate=0)


@pytest.mark.parametrize("make", [make for make, _ in SIGNALS], ids=lambda make: make.__name__)
def test_every_signal_is_finite_and_follows_its_seed(make):
    for seed in range(8):
        one, again = (make(np.random.default_rng(seed), 700) for _ in range(2))
        assert one.shape == (700,)
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, again)


@given(seed=st.integers(0, 10_000), n=st.integers(128, 1500))
@settings(max_examples=30)
def test_normal_series_are_finite(seed, n):
    x = normal_series(np.random.default_rng(seed), n)

    assert x.shape == (n,)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("change", [change for change, _ in ANOMALIES], ids=lambda change: change.__name__)
def test_changes_stay_inside_their_segment(change):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x = normal_series(rng, 600)
        y = change(rng, x, 200, 260)
        outside = np.r_[0:200, 260:600]
        np.testing.assert_array_equal(y[outside], x[outside])
        assert np.isfinite(y).all()
        assert y is not x


def test_what_is_injected_is_visible_and_begins_and_ends_with_a_change():
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = normal_series(rng, 700)
        said = inject(rng, x, 0, 700, 150)
        if said is None:
            continue
        found += 1
        y, a, b, _ = said
        assert y[a] != x[a]
        assert y[b - 1] != x[b - 1]
        assert visible(x, y, a, b)
    assert 20 < found < 60


def test_a_shape_that_recurs_is_no_anomaly():
    x = 0.05 * np.random.default_rng(0).standard_normal(600)
    once = x.copy()
    once[300:310] += 3
    often = x.copy()
    for at in (50, 150, 450, 550):
        often[at : at + 10] += 3
    again = often.copy()
    again[300:310] += 3

    assert visible(x, once, 300, 310)
    assert not visible(often, again, 300, 310)


def test_a_change_below_the_noise_is_invisible():
    x = np.random.default_rng(0).standard_normal(600)
    y = x.copy()
    y[300:330] += 0.2

    assert not visible(x, y, 300, 330)


def test_a_quiet_stretch_in_noise_is_visible_by_its_roughness():
    x = np.random.default_rng(0).standard_normal(600)
    y = x.copy()
    y[300:360] = 0

    assert visible(x, y, 300, 360)


@given(seed=st.integers(0, 500), a=st.integers(0, 80), length=st.integers(2, 30), step=st.integers(1, 3))
@settings(max_examples=25)
def test_kernels_equal_their_plain_twins(seed, a, length, step):
    rng = np.random.default_rng(seed)
    x, y, b = rng.standard_normal(120), rng.standard_normal(120), a + length
    starts = [s for s in range(0, 120 - length + 1, max(1, length // 32)) if s >= b or s + length <= a]
    distances = [sum((y[a + i] - x[s + i]) ** 2 for i in range(0, length, step)) for s in starts]
    expected = min(distances) / len(range(0, length, step))
    scale = 1e-3 * (np.abs(np.diff(x)).mean() + 1e-9)

    def rough(part):
        return np.log(np.abs(np.diff(part)).mean() + scale)

    others = [s for s in range(0, 120 - length + 1, max(1, length // 16)) if s >= b or s + length <= a]
    gap = min(abs(rough(y[a:b]) - rough(x[s : s + length])) for s in others)

    assert nearest_distance(x, y, a, b, step) == pytest.approx(expected)
    assert roughness_gap(x, y, a, b) == pytest.approx(gap)


def test_a_batch_is_made_from_its_number_alone():
    one, again = (corpus_batch(SMALL, seed=3, number=7) for _ in range(2))
    other = corpus_batch(SMALL, seed=3, number=8)

    for field in ("values", "clean", "labels", "valid", "severity"):
        np.testing.assert_array_equal(getattr(one, field), getattr(again, field))
    assert not np.array_equal(one.values, other.values)


def test_batches_keep_what_they_promise():
    labelled = 0.0
    for number in range(12):
        batch = corpus_batch(CorpusSettings(window=256, batch=12), seed=1, number=number)
        b, c, t = batch.values.shape
        assert t == 256
        assert b * c <= 12
        assert np.isfinite(batch.values).all()
        assert np.isfinite(batch.clean).all()
        assert (batch.values[batch.valid == 0] == 0).all()
        assert (batch.labels[batch.valid == 0] == 0).all()
        # Where most of a channel is labelled, the rest would be what looks odd.
        assert (batch.labels.sum(axis=-1) <= 0.46 * batch.valid.sum(axis=-1)).all()
        labelled += batch.labels.mean() / 12
        if batch.labels.any():
            assert batch.severity[batch.labels == 1].mean() > 10 * batch.severity[batch.labels == 0].mean()
    assert 0.005 < labelled < 0.2


def test_windows_without_anomalies_equal_their_clean_twin():
    batch = corpus_batch(CorpusSettings(window=256, batch=12, multivariate=0, anomalous=0), seed=1, number=0)

    np.testing.assert_allclose(batch.values, batch.clean, atol=1e-5)
    assert not batch.labels.any()


def test_generators_can_be_left_out():
    only_noise = tuple(make.__name__ for make, _ in SIGNALS if make.__name__ != "white")

    x = normal_series(np.random.default_rng(3), 4000, only_noise)

    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.5


def test_recorded_series_are_drawn_from():
    marked = np.where(np.arange(2000) % 2 == 0, 1000.0, 1001.0)
    batch = corpus_batch(SMALL.without(anomalous=0), 1, 0, [marked])

    # Alternating values, which normalise to plus and minus one, are of no generator.
    is_recorded = (np.abs(np.abs(batch.values[..., -100:]) - np.arcsinh(1)) < 1e-3).all(axis=-1)
    assert 2 <= is_recorded.sum() < 12
    assert recorded_length(SMALL) == 512


def test_children_follow_their_parents_with_their_lag():
    graph = CausalGraph(
        np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([[0, 0], [5, 0]]), np.zeros((2, 2), np.int64),
        np.stack([np.sin(np.arange(100) / 3), np.zeros(100)]),
    )  # fmt: skip
    values = graph.run()

    np.testing.assert_allclose(values[1, 5:], 2 * values[0, :-5])
    fault = np.zeros(100)
    fault[50:60] = 1
    np.testing.assert_allclose(graph.run({0: fault})[1, 55:65] - values[1, 55:65], 2)
    np.testing.assert_allclose(graph.run({1: fault})[0], values[0])


def test_blocks_are_the_same_whoever_makes_them():
    here, there = (list(corpus_blocks(SMALL, 5, range(1, 3), workers=workers)) for workers in (0, 2))

    assert [len(block) for block in here] == [BLOCK, BLOCK]
    for one, other in zip((b for block in here for b in block), (b for block in there for b in block), strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(here[1][2].values, corpus_batch(SMALL, 5, 2 * BLOCK + 2).values)


def test_faults_of_a_unit_touch_several_channels_at_once():
    several = {0.0: 0, 1.0: 0}
    for common in several:
        for seed in range(40):
            _, _, labels = faulty_plant(np.random.default_rng(seed), 12, 600, 0, 600, 120, most_faults=1, common=common)
            several[common] += labels.any(axis=1).sum() > 1
            rows = np.flatnonzero(labels.any(axis=0))
            assert not common or not len(rows) or rows[-1] - rows[0] < 120
    assert several[1.0] >= 10 > 3 * several[0.0]


def test_plants_have_faults_on_some_channels_and_quiet_ones_none():
    faulty, changed = 0, []
    for seed in range(40):
        values, clean, labels = faulty_plant(np.random.default_rng(seed), 4, 600, 0, 600, 120)
        assert values.shape == clean.shape == labels.shape == (4, 600)
        if not labels.any():
            np.testing.assert_array_equal(values, clean)
            continue
        faulty += 1
        changed.extend((values != clean)[labels == 1])
    assert 10 < faulty < 40
    # Between the spikes of one run, and where a broken tie happens to agree, nothing differs.
    assert np.mean(changed) > 0.9
