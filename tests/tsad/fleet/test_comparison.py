import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tests.tsad.fleet.parts import STEP, telemetry
from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.fleet.comparison import FleetComparison, aligned, median_of_others

NAMES, FEATURES = tuple("abcdef"), ("x", "y", "z")


def group(rows=1000, seed=0, season=0.0):
    """Six nodes that follow one load, each in its own way; what all show alike comes on top."""
    random = np.random.default_rng(seed)
    load = np.sin(np.arange(rows) / 40)[:, None, None] + 0.3 * random.standard_normal((rows, 1, 3))
    ways = np.random.default_rng(5)
    slope, level = ways.uniform(0.5, 2, (1, 6, 3)), ways.uniform(-5, 5, (1, 6, 3))
    values = level + slope * (load + season) + 0.1 * random.standard_normal((rows, 6, 3))
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def comparison():
    return FleetComparison.fit(group(), NAMES, FEATURES)


@given(data=st.data())
def test_median_of_others_is_the_naive_one(data):
    t, k, n = (data.draw(st.integers(1, most)) for most in (3, 7, 2))
    values = np.array(
        data.draw(st.lists(st.sampled_from([1.0, 2.0, 2.5, 7.0, np.nan]), min_size=t * k * n, max_size=t * k * n))
    ).reshape(t, k, n)
    fewest = data.draw(st.integers(1, 3))

    found = median_of_others(values, fewest)

    for i, node, j in np.ndindex(t, k, n):
        others = np.delete(values[i, :, j], node)
        others = others[~np.isnan(others)]
        if np.isnan(values[i, node, j]) or len(others) < fewest:
            assert np.isnan(found[i, node, j])
        else:
            assert found[i, node, j] == np.median(others)


def test_one_node_that_leaves_its_group_is_found_and_named(comparison):
    values = group(seed=1)
    values[500:600, 2, 1] += 1.0
    found = comparison.score(values)

    assert np.median(found.error[500:600, 2]) > 3 * np.median(found.error[:500, 2])
    assert np.argmax(found.ratios[550, 2]) == 1
    # The median of the others hardly moves.
    others = np.delete(found.error, 2, axis=1)
    assert np.median(others[500:600]) < 1.5 * np.median(others[:500])


def test_what_all_nodes_show_is_no_fault_of_one(comparison):
    usual = np.median(comparison.score(group(seed=1)).error)
    warmer = np.median(comparison.score(group(seed=1, season=1.0)).error)
    assert warmer < 1.3 * usual


def test_thresholds_hold_on_healthy_rows(comparison):
    over = comparison.score(group(3000, seed=2)).error > comparison.threshold
    assert over.mean() == pytest.approx(0.03, abs=0.015)


def test_a_step_needs_that_step_alone(comparison):
    values = group(200, seed=3)
    values[50, 3] = np.nan
    whole = comparison.score(values)
    streamed = np.concatenate([comparison.score(values[i : i + 1]).error for i in range(len(values))])

    np.testing.assert_array_equal(streamed, whole.error)
    assert np.isnan(whole.error[50, 3])
    assert not np.isnan(np.delete(whole.error[50], 3)).any()


def test_too_few_siblings_cannot_say(comparison):
    values = group(20, seed=3)
    values[:, 3:] = np.nan
    assert np.isnan(comparison.score(values).error).all()
    with pytest.raises(ConfigurationError, match="3 nodes cannot be compared"):
        FleetComparison.fit(group()[:, :3], NAMES[:3], FEATURES)
    silent = group()
    silent[:, 0] = np.nan
    with pytest.raises(NotEnoughDataError, match="node 'a' has 0 of 300"):
        FleetComparison.fit(silent, NAMES, FEATURES)
    with pytest.raises(ConfigurationError, match="choose max or mean"):
        FleetComparison.fit(group(), NAMES, FEATURES, error="sum")


def test_saved_and_loaded_is_the_same(comparison):
    arrays, description = comparison.state()
    other = FleetComparison.restore(load(save(arrays)), json.loads(json.dumps(description)))
    values = group(50, seed=4)
    np.testing.assert_array_equal(other.score(values).error, comparison.score(values).error)
    del arrays["slope"]
    with pytest.raises(SnapshotError, match="'slope' is missing"):
        FleetComparison.restore(arrays, description)


def test_rows_of_a_group_come_onto_one_grid():
    one, other = telemetry("a", 10), telemetry("b", 10, seed=1)
    times, values = aligned([one.rows(slice(0, 8)), other.rows(slice(4, None))], STEP)

    np.testing.assert_array_equal(times, one.times)
    np.testing.assert_array_equal(values[:8, 0], one.values[:8])
    assert np.isnan(values[8:, 0]).all()
    assert np.isnan(values[:4, 1]).all()
    np.testing.assert_array_equal(values[4:, 1], other.values[4:])
