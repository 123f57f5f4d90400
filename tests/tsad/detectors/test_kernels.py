"""The detectors' compiled loops against plain NumPy."""

import importlib.util
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.detectors.autoencoder import AutoencoderDetector
from tsad.detectors.robust import RobustDetector
from tsad.detectors.sub_pca import SubPcaDetector
from tsad.kernels.autoencoder import reconstruct
from tsad.observations import RowBatch

_spec = importlib.util.spec_from_file_location("tsad_naive", Path(__file__).parents[1] / "naive.py")
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)


def rows(values):
    n = len(values)
    zeros = np.zeros(n, np.int64)
    return RowBatch(np.zeros(n, np.int32), zeros, values, np.zeros(n, np.uint8), zeros.astype(np.int32), zeros)


def data(seed, n, channels=4):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(n).cumsum() * 0.1
    return (common[:, None] + 0.3 * rng.standard_normal((n, channels))).astype(np.float32)


@given(st.integers(0, 50), st.floats(0, 0.4))
def test_robust_equals_the_naive_twin(seed, missing):
    values = data(seed, 120)
    values[np.random.default_rng(seed).random(values.shape) < missing] = np.nan
    detector = RobustDetector(memory_rows=20)
    detector.reserve(1, 4)
    detector.fit(0, data(seed + 1, 200), np.arange(200))
    a = {
        name: array[0].copy()
        for name, array in {**detector.state(1, fitted=True), **detector.state(1, fitted=False)}.items()
    }

    found = detector.score(rows(values)).score

    expected = naive.robust_scores(a["level"], a["scale"], a["unit"], a["weight"], values, 1 / 20, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(st.integers(0, 20))
def test_sub_pca_equals_plain_matrix_products(seed):
    detector = SubPcaDetector(window=6, explained=0.95)
    detector.reserve(1, 4)
    train, later = data(seed, 300), data(seed + 100, 60)
    detector.fit(0, train, np.arange(300))
    s = {name: array[0] for name, array in detector.state(1, fitted=True).items()}
    found = detector.score(rows(later))

    values = np.concatenate([train[-5:], later]).astype(np.float64)
    scaled = ((values - s["location"]) / s["scale"] * s["weight"]).astype(np.float32).astype(np.float64)
    basis, variances = s["bases"][: s["n_components"]], s["variances"][: s["n_components"]]
    for i in range(60):
        z = scaled[i : i + 6].reshape(-1) - s["means"]
        along = basis @ z
        rest = (z - basis.T @ along).reshape(6, 4)
        parts = (
            (np.mean(rest**2, axis=0) / s["noise"] ** 2).max() / s["residual_unit"],
            (rest[-1] ** 2 / s["noise"] ** 2).max() / s["newest_unit"],
            np.sum(along**2 / variances) / s["subspace_unit"],
        )
        np.testing.assert_allclose(found.score[i], np.sqrt(max(parts)), rtol=1e-9)
        expected = s["location"] + (scaled[i + 5] - rest[-1]) * s["scale"] / s["weight"]
        np.testing.assert_allclose(found.expected[i], expected, rtol=1e-4, atol=1e-4)


def test_reconstruction_equals_plain_matrix_products():
    rng = np.random.default_rng(0)
    x, w1, b1, w2, b2 = (rng.standard_normal(s).astype(np.float32) for s in ((20, 5), (5, 50), 50, (50, 5), 5))
    out = np.empty_like(x)
    reconstruct(x, w1, b1, w2, b2, out)

    np.testing.assert_allclose(out, np.maximum(x @ w1 + b1, 0) @ w2 + b2, rtol=1e-4, atol=1e-4)


def test_autoencoder_has_the_size_of_the_paper():
    assert AutoencoderDetector().parameter_count(166) == 166 * 1660 * 2 + 1660 + 166


def test_autoencoder_is_no_identity():
    values = data(0, 1000, channels=6)
    detector = AutoencoderDetector(error="mean")
    detector.fit(0, values[:700], np.arange(700))
    usual = np.nanmean(detector.score(rows(values[700:])).score)
    mixed = values[700:].copy()
    for c in range(6):
        mixed[:, c] = np.random.default_rng(c).permutation(mixed[:, c])

    assert np.nanmean(detector.score(rows(mixed)).score) > 2 * usual


def test_autoencoder_judges_each_row_alone():
    values = data(0, 400)
    detector = AutoencoderDetector(epochs=5)
    detector.fit(0, values[:200], np.arange(200))
    order = np.random.default_rng(0).permutation(200)

    straight = detector.score(rows(values[200:])).score
    np.testing.assert_array_equal(detector.score(rows(values[200:][order])).score, straight[order])


def test_idle_rows_are_neither_learnt_nor_scored():
    values = data(0, 400) + np.float32(20)
    values[::2, 0] = 1.0
    detector = AutoencoderDetector(epochs=5, idle_channels=(0,), idle_below=10.0)
    prefix = detector.fit(0, values[:200], np.arange(200))
    found = detector.score(rows(values[200:]))

    assert np.isnan(prefix[::2]).all()
    assert (found.reason[::2] == 4).all()
    assert not np.isnan(found.score[1::2]).any()


def test_season_is_expected():
    t = np.arange(4000)
    values = (
        np.sin(2 * np.pi * t / 400)[:, None] * 5 + 0.1 * np.random.default_rng(0).standard_normal((4000, 1))
    ).astype(np.float32)
    times = t * 1_000_000_000
    scores = []
    for season in (0.0, 400.0):
        detector = RobustDetector(season_seconds=season, season_bins=40)
        detector.reserve(1, 1)
        detector.fit(0, values[:2000], times[:2000])
        later = values[2000:].copy()
        later[100] = 0.0  # within the range of the wave, but not at this time of it
        batch = rows(later)
        found = detector.score(
            RowBatch(
                batch.series, times[2000:], later, *(getattr(batch, n) for n in ("flags", "partitions", "offsets"))
            )
        )
        scores.append(found.score[100] / np.quantile(found.score, 0.99))

    assert scores[1] > 2 > scores[0]
