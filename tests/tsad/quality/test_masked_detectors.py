"""Every registered detector goes on judging the other channels while one is masked for long."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import fitted, recording, rows_of
from tsad.detectors.registry import detector_names
from tsad.kernels.sub_pca import complete


@pytest.mark.parametrize("name", detector_names())
def test_a_masked_channel_does_not_blind_the_others(name):
    values, times = recording(420, seed=7)
    masked, odd = values.copy(), values.copy()
    odd[350:380, 1] += 8
    masked[100:, 0] = odd[100:, 0] = np.nan

    usual, quiet, found = (fitted(name).score(rows_of(data, times)) for data in (values, masked, odd))

    assert not np.isnan(found.score[100:]).any()
    # A hundred rows later no window of these settings holds the channel.
    assert (found.contributions[200:, 0] == 0).all()
    # Nothing stands in for the masked channel that would contradict the others.
    for of in (np.median, lambda scores: np.quantile(scores, 0.99)):
        assert of(quiet.score[200:]) <= 1.15 * of(usual.score[200:])
    assert found.score[350:380].max() > quiet.score[200:].max()


@pytest.mark.parametrize("name", detector_names())
def test_the_only_channel_of_an_asset_is_not_scored_while_it_is_masked(name):
    values, times = recording(300, seed=7, channels=1)
    values[100:250] = np.nan
    found = fitted(name, channels=1).score(rows_of(values, times))

    assert np.isnan(found.score[160:250]).all()
    assert not np.isnan(found.score[100 - 5]).any()


@given(st.integers(0, 2**20), st.integers(1, 5))
def test_missing_values_of_sub_pca_equal_the_plain_conditional_mean(seed, k):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((12, k)))[0].T
    variances, noise = rng.uniform(0.1, 10, k), rng.uniform(0.05, 1, 3)
    z, present = rng.standard_normal(12), rng.random(12) < 0.6
    found = z.copy()
    complete(found, present, 3, basis, variances, noise)

    precision = 1 / np.tile(noise, 4)[present] ** 2
    own = basis[:, present]
    along = np.linalg.solve(np.diag(1 / variances) + (own * precision) @ own.T, (own * precision) @ z[present])
    np.testing.assert_allclose(found, np.where(present, z, along @ basis), rtol=1e-6, atol=1e-9)
