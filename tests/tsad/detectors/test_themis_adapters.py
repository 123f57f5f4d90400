import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import LocalOutlierFactor

from tsad.detectors.themis_adapters import (
    local_outlier_factor,
    mean_similarity,
    similarity_matrix,
    spectral_residual,
    trimmed_top_k,
    unit_rows,
)
from tsad.detectors.themis_bank import held_out, learn_bank

ADAPTERS = {
    "spectral-residual": lambda v: spectral_residual(v, kept=2),
    "lof": lambda v: local_outlier_factor(v, neighbours=5),
    "mean-similarity": mean_similarity,
    "top-k": lambda v: trimmed_top_k(v, share=0.2, trimmed=0.05),
}


@pytest.fixture(params=ADAPTERS)
def adapter(request):
    return ADAPTERS[request.param]


def two_clusters(outlier=17, size=40, width=12, seed=0):
    """Unit vectors around two directions at right angles, and one that shares nothing with either."""
    rng = np.random.default_rng(seed)
    vectors = np.zeros((size, width))
    vectors[: size // 2, 0] = 1
    vectors[size // 2 :, 1] = 1
    vectors += 0.03 * rng.standard_normal(vectors.shape)
    vectors[outlier] = 0
    vectors[outlier, 2] = 1
    return vectors


def test_the_outlier_beside_two_clusters_is_the_oddest(adapter):
    scores = adapter(two_clusters())
    assert int(np.argmax(scores)) == 17
    assert scores[17] > 1.5 * np.median(scores)


def test_the_order_in_time_does_not_matter(adapter):
    vectors = two_clusters()
    order = np.random.default_rng(1).permutation(len(vectors))

    np.testing.assert_allclose(adapter(vectors[order]), adapter(vectors)[order], rtol=1e-6, atol=1e-9)


def test_length_of_vectors_does_not_matter(adapter):
    vectors = two_clusters()
    stretched = vectors * np.random.default_rng(1).uniform(0.1, 10, (len(vectors), 1))

    np.testing.assert_allclose(adapter(stretched), adapter(vectors), rtol=1e-6, atol=1e-9)


def test_a_vector_that_points_nowhere_has_no_score_and_changes_no_other(adapter):
    vectors = two_clusters()
    with_holes = np.insert(vectors, [3, 9], 0.0, axis=0)
    with_holes[3] = np.nan

    scores = adapter(with_holes)

    assert np.isnan(scores[[3, 10]]).all()
    np.testing.assert_allclose(np.delete(scores, [3, 10]), adapter(vectors), rtol=1e-9)


def test_one_and_two_vectors_are_defined(adapter):
    vectors = two_clusters()[:2]
    assert np.isfinite(adapter(vectors)).all()
    alone = adapter(vectors[:1])
    assert alone.shape == (1,)
    assert adapter(np.zeros((0, 4))).shape == (0,)


def test_vectors_that_are_all_alike_are_not_odd(adapter):
    scores = adapter(np.tile([1.0, 2.0, 3.0], (30, 1)))
    usual = 1.0 if adapter is ADAPTERS["lof"] else 0.0
    np.testing.assert_allclose(scores, usual, atol=1e-6)


def test_all_eigenvalues_leave_no_residual():
    np.testing.assert_allclose(spectral_residual(two_clusters(), kept=40), 0, atol=1e-9)


def test_spectral_residual_is_the_distance_to_the_truncated_matrix():
    vectors = two_clusters()
    matrix = similarity_matrix(vectors)
    values, sides = np.linalg.eigh(matrix)
    largest = np.argsort(-np.abs(values))[:3]
    truncated = (sides[:, largest] * values[largest]) @ sides[:, largest].T

    expected = np.linalg.norm(matrix - truncated, axis=1)
    np.testing.assert_allclose(spectral_residual(vectors, kept=3), expected, atol=1e-9)


@given(arrays(np.float64, (25, 6), elements=st.floats(0.05, 1)), st.integers(1, 10))
def test_the_path_without_a_matrix_agrees_where_no_cosine_is_negative(vectors, kept):
    sizes = np.sort(np.linalg.eigvalsh(similarity_matrix(vectors)))[::-1]
    # Of equal eigenvalues at the cut either may be kept: the matrix of the largest ones is not unique then.
    assume(sizes[kept - 1] - sizes[kept] > 1e-6 or sizes[kept - 1] < 1e-6)
    fast = spectral_residual(vectors, kept=kept, similarity="signed")
    np.testing.assert_allclose(fast, spectral_residual(vectors, kept=kept), atol=1e-6)


def test_lof_is_that_of_the_reference():
    vectors = np.random.default_rng(2).standard_normal((60, 8))
    apart = 1 - similarity_matrix(vectors)
    reference = LocalOutlierFactor(n_neighbors=20, metric="precomputed").fit(apart)

    np.testing.assert_allclose(local_outlier_factor(vectors), -reference.negative_outlier_factor_, rtol=1e-6)


def test_top_k_by_hand():
    vectors = two_clusters()
    matrix = similarity_matrix(vectors)
    i = 8
    others = np.sort(np.delete(matrix[i], range(i - 1, i + 2)))[::-1]
    scores = trimmed_top_k(vectors, share=0.1, trimmed=0.05, exclusion=1)

    assert scores[i] == pytest.approx(1 - others[2:6].mean())


def test_similarities_are_what_they_say():
    vectors = np.array([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(similarity_matrix(vectors), [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(similarity_matrix(vectors, "signed"), [[1, -1, 0], [-1, 1, 0], [0, 0, 1]])
    assert similarity_matrix(vectors, "distance")[0, 1] == pytest.approx(1 / 4)


# ------------------------------------------------------------------------------------------------------------- bank


def cone(n, seed=0, width=10):
    rng = np.random.default_rng(seed)
    vectors = np.zeros((n, width))
    vectors[:, 0] = 3
    vectors[:, 1:4] = rng.standard_normal((n, 3))
    return unit_rows(vectors + 0.01 * rng.standard_normal(vectors.shape)).astype(np.float32)


def test_the_bank_finds_what_is_far_and_what_is_near_in_an_unusual_direction():
    bank = learn_bank(cone(500), np.zeros(500, np.float32), 200)
    usual, _ = bank.judge(cone(100, seed=1), 3)
    odd = cone(1, seed=2)
    odd[0, 8] += 0.5

    distances, _ = bank.judge(odd, 3)

    assert (distances[0] > usual.max(axis=0)).all()
    assert len(bank.vectors) == 200


def test_the_bank_is_the_naive_one():
    learnt = cone(60)
    newest = np.arange(60, dtype=np.float32)
    bank = learn_bank(learnt, newest, 60)
    asked = cone(5, seed=3)

    distances, expected = bank.judge(asked, 4)

    apart = np.linalg.norm(asked[:, None].astype(np.float64) - learnt[None], axis=-1)
    nearest = np.argsort(apart, axis=1)[:, :4]
    np.testing.assert_allclose(distances[:, 0], np.take_along_axis(apart, nearest, 1).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(expected, nearest.mean(axis=1))
    centred = asked - bank.mean
    along = centred @ bank.axes.T.astype(np.float64)
    across = (centred**2).sum(axis=1) - (along**2).sum(axis=1)
    squares = (along**2 * bank.weights[:-1]).sum(axis=1) + across * bank.weights[-1]
    np.testing.assert_allclose(distances[:, 1], np.sqrt(squares), rtol=1e-5)


def test_a_vector_without_direction_gets_no_distance():
    bank = learn_bank(cone(20), np.zeros(20, np.float32), 20)
    distances, expected = bank.judge(np.full((1, 10), np.nan, np.float32), 3)
    assert np.isnan(distances).all()
    assert np.isnan(expected).all()


def test_held_out_distances_are_those_of_vectors_that_were_not_learnt():
    vectors, rows = cone(400), np.arange(400)
    newest = np.zeros(400, np.float32)
    inside, _ = learn_bank(vectors, newest, 400).judge(vectors, 1)
    honest, _ = held_out(vectors, newest, rows, memory=400, neighbours=1, apart=10)
    fresh, _ = learn_bank(vectors, newest, 400).judge(cone(400, seed=9), 1)

    # float32 against itself: not exactly 0
    assert np.median(inside[:, 0]) < 1e-3
    assert np.median(honest[:, 0]) == pytest.approx(np.median(fresh[:, 0]), rel=0.2)
