import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.foundation.aggregation import AGGREGATES, aggregated
from tsad.foundation.scoring import bridged, label_recording
from tsad.foundation.windows import block_means, normalise, window_starts


@given(shift=st.floats(-1e3, 1e3), scale=st.floats(1e-2, 1e3))
def test_shift_and_scale_do_not_matter(shift, scale):
    x = np.random.default_rng(0).standard_normal((2, 64))
    valid = np.ones((2, 64), np.bool_)

    one, _, _ = normalise(x, valid)
    other, _, _ = normalise(shift + scale * x, valid)

    np.testing.assert_allclose(one, other, atol=1e-4)


def test_what_is_not_valid_is_not_looked_at():
    x = np.random.default_rng(0).standard_normal((1, 64))
    y = x.copy()
    y[0, :20] = np.nan
    valid = np.arange(64)[None] >= 20

    scaled, location, scale = normalise(y, valid)

    assert (scaled[0, :20] == 0).all()
    assert location[0, 0] == pytest.approx(x[0, 20:].mean())
    assert scale[0, 0] == pytest.approx(x[0, 20:].std())


def test_constant_and_huge_windows_are_finite():
    for x in (np.full((1, 64), 0.1), np.full((1, 64), 1e38), np.linspace(-3e38, 3e38, 64)[None], np.zeros((1, 64))):
        scaled, location, scale = normalise(x, np.ones((1, 64), np.bool_))
        assert np.isfinite(scaled).all()
        assert np.isfinite(location).all()
        assert (scale > 0).all()
    assert (normalise(np.full((1, 64), 0.1), np.ones((1, 64), np.bool_))[0] == 0).all()


def test_blocks_end_with_the_last_step_and_want_half_of_their_values():
    values = np.arange(10.0)[None]
    valid = np.ones((1, 10), np.bool_)
    valid[0, 2:5] = False

    means, there = block_means(values, valid, 4)

    assert means.shape == (1, 3)
    np.testing.assert_array_equal(there, [[True, False, True]])
    assert means[0, 2] == np.mean([6, 7, 8, 9])
    assert means[0, 0] == 0.5


def test_windows_cover_everything():
    for rows in range(16, 60):
        starts = window_starts(rows, 16, 7)
        covered = np.zeros(rows, np.bool_)
        for start in starts:
            covered[start : start + 16] = True
        assert covered.all()
        assert starts[-1] == rows - 16


def test_a_recording_is_labelled_row_by_row_from_all_windows_and_scales():
    class Marks:
        """Says of every step whether it is above its window's mean."""

        engine = "marks"
        shapes = ()

        def __call__(self, values, valid):
            self.shapes = (*self.shapes, values.shape)
            return np.where(values > 0.5, 4.0, -4.0).astype(np.float32), values

    values = np.zeros((300, 2), np.float32)
    values[::2, 0] = 0.01
    values[100:140, 1] = 5
    runner = Marks()

    found = label_recording(runner, values, window=128, scales=(1, 4), stride=32)

    assert found.shape == (300, 2)
    assert (found[100:140, 1] > 2).all()
    assert found[200:, 1].max() < -2
    assert {shape[1:] for shape in runner.shapes} == {(2, 128)}


def test_short_series_are_padded_on_the_left():
    seen = []

    class Looks:
        engine = "looks"

        def __call__(self, values, valid):
            seen.append(valid.copy())
            return np.zeros_like(values), values

    found = label_recording(Looks(), np.random.default_rng(0).random((40, 1)).astype(np.float32), window=64,
                            scales=(1, 16), stride=16)  # fmt: skip

    assert found.shape == (40, 1)
    assert not np.isnan(found).any()
    (valid,) = seen
    np.testing.assert_array_equal(valid[0, 0], np.arange(64) >= 24)


def test_long_gaps_stay_missing():
    values = np.sin(np.arange(200) / 5).astype(np.float32)[:, None]
    values[50:60] = np.nan
    values[100:140] = np.nan

    filled, valid = bridged(values, 16)

    assert valid[0, 50:60].all()
    assert not valid[0, 100:140].any()
    assert np.isfinite(filled).all()


@pytest.mark.parametrize("how", AGGREGATES)
def test_aggregates_do_not_depend_on_the_order_of_channels_and_rise_with_each(how):
    rng = np.random.default_rng(0)
    p = rng.random((50, 6))
    p[3] = np.nan
    p[:10, 2] = np.nan
    order = rng.permutation(6)

    score, shares = aggregated(p, how)
    turned, turned_shares = aggregated(p[:, order], how)
    higher, _ = aggregated(np.minimum(p + 0.1, 1.1), how)

    np.testing.assert_allclose(score, turned)
    np.testing.assert_allclose(shares[:, order], turned_shares)
    known = ~np.isnan(score)
    assert known.sum() == 49
    assert (higher[known] > score[known]).all()
    np.testing.assert_allclose(shares[known].sum(axis=1), 1, atol=1e-6)
    assert shares[3].sum() == 0


def test_a_channel_that_counts_a_twentieth_is_a_twentieth_as_loud():
    weight = np.array([1.0, 0.05])
    alone, _ = aggregated(np.array([[4.0, 0.0]]), "norm", weight)
    faint, _ = aggregated(np.array([[0.0, 4.0]]), "norm", weight)
    both, _ = aggregated(np.array([[3.0, 80.0]]), "norm", weight)

    assert (alone[0], faint[0], both[0]) == pytest.approx((4.0, 0.2, 5.0))
