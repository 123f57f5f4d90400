import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.tsad.fleet.parts import FEATURES, STEP, changed, settings, telemetry
from tsad.detectors.base import Unscored
from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.fleet.nodes import NodeAutoencoder
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry, TelemetryWarning, ordered, resampled

ERRORS = ("max", "mean", "ratio", "mahalanobis")


@pytest.fixture(scope="module")
def node():
    return NodeAutoencoder.fit(telemetry(), settings())


def later(rows=600, seed=0):
    whole = telemetry(rows=900 + rows, seed=seed)
    return whole.rows(slice(900, None))


def test_has_the_size_of_the_paper(node):
    assert node.parameter_count == 2 * FEATURES * 10 * FEATURES + 10 * FEATURES + FEATURES


@pytest.mark.parametrize("error", ERRORS)
def test_shuffled_rows_have_the_same_errors(error):
    node = NodeAutoencoder.fit(telemetry(), settings(3, error=error))
    rows = later()
    order = np.random.default_rng(0).permutation(len(rows))

    straight = node.score(rows).error

    np.testing.assert_array_equal(node.score(changed(rows, rows.values[order])).error, straight[order])


def test_idle_rows_are_neither_learnt_nor_scored():
    rows = telemetry()
    idle = rows.values.copy()
    idle[::3, :2] = 1.0
    idle[::3, 2:] = 1e5
    node = NodeAutoencoder.fit(changed(rows, idle), settings(idle_features=("f0", "f1")))
    found = node.score(changed(rows, idle))

    assert (found.reason[::3] == Unscored.IDLE).all()
    assert np.isnan(found.error[::3]).all()
    assert not np.isnan(found.error[1::3]).any()
    assert (node.network.scaling.location < 100).all()
    with pytest.raises(ValueError, match="no feature 'load'"):
        NodeAutoencoder.fit(rows, settings(idle_features=("load",)))


def test_threshold_is_the_percentile_of_rows_never_trained_on(node):
    assert len(node.healthy) == 270
    assert node.threshold.value == np.quantile(node.healthy, 0.97, method="linear")


@pytest.mark.parametrize("scaling", ["robust", "standard", "min-max"])
def test_false_alarm_rate_is_what_the_percentile_says(scaling):
    validation = telemetry(rows=3000).rows(slice(900, 1900))
    node = NodeAutoencoder.fit(telemetry(rows=900), settings(scaling=scaling), validation)
    found = node.score(telemetry(rows=3000).rows(slice(1900, None)))

    # Three deviations of the count among 1100 rows, and of the percentile of 1000.
    assert abs((found.error > node.threshold.value).mean() - 0.03) < 3 * np.sqrt(0.03 * 0.97 * (1 / 1100 + 1 / 1000))


@pytest.mark.parametrize("scaling", ["robust", "min-max"])
def test_is_no_identity(scaling):
    node = NodeAutoencoder.fit(telemetry(rows=2000), settings(60, scaling=scaling, error="mean"))
    rows = telemetry(rows=2600).rows(slice(2000, None))
    mixed = rows.values.copy()
    for column in range(FEATURES):
        mixed[:, column] = np.random.default_rng(column).permutation(mixed[:, column])

    assert np.mean(node.score(changed(rows, mixed)).error) > 5 * np.mean(node.score(rows).error)


def test_names_the_feature(node):
    rows = later()
    odd = rows.values.copy()
    odd[300, 5] += 8
    found = node.score(changed(rows, odd))

    feature, ratio = found.ranked(300)[0]
    assert feature == "f5"
    assert ratio == pytest.approx(float(np.abs(found.residuals[300, 5]) / node.usual[5]))
    assert ratio > 1.5


def test_bottleneck_is_smaller():
    node = NodeAutoencoder.fit(telemetry(), settings(hidden="bottleneck"))
    assert node.network.weights.w1.shape == (FEATURES, 3)


def test_saved_and_loaded_scores_the_same():
    rows = later()
    for error in ERRORS:
        node = NodeAutoencoder.fit(telemetry(), settings(2, error=error, idle_features=("f0",)))
        arrays, description = node.state()
        other = NodeAutoencoder.restore(load(save(arrays)), json.loads(json.dumps(description)))
        np.testing.assert_array_equal(node.score(rows).error, other.score(rows).error)
        assert other.settings == node.settings
    with pytest.raises(SnapshotError, match="format 99"):
        NodeAutoencoder.restore(arrays, {**description, "format": 99})
    del arrays["w1"]
    with pytest.raises(SnapshotError, match="damaged"):
        NodeAutoencoder.restore(arrays, description)


# ------------------------------------------------------------------------------------------------- bad input


def without(one, column):
    names = tuple(name for i, name in enumerate(one.features) if i != column)
    return NodeTelemetry(one.node, names, one.times, np.delete(one.values, column, axis=1))


def test_a_missing_feature_is_an_error_or_imputed():
    rows = later()
    with pytest.raises(ValueError, match="'f3' is missing"):
        NodeAutoencoder.fit(telemetry(), settings(1)).score(without(rows, 3))

    node = NodeAutoencoder.fit(telemetry(), settings(missing="impute"))
    found = node.score(without(rows, 3))
    median = rows.values.copy()
    median[:, 3] = np.float32(np.nanmedian(telemetry().values[np.sort(_training_rows()), 3]))
    beside = node.score(changed(rows, median))

    assert found.imputed == ("f3",)
    assert (found.ratios[:, 3] == 0).all()
    # The others are judged as with the training median in the place of the missing one.
    np.testing.assert_allclose(np.delete(found.ratios, 3, 1), np.delete(beside.ratios, 3, 1), rtol=1e-3, atol=1e-3)


def _training_rows():
    blocks = np.arange(900) * 10 // 900
    return np.flatnonzero(~np.isin(blocks, (2, 5, 8)))


def test_an_extra_feature_is_ignored_with_one_warning(node):
    rows = later()
    more = NodeTelemetry(
        "a", ("new", *rows.features), rows.times, np.column_stack([np.full(len(rows), 1e9, np.float32), rows.values])
    )
    with pytest.warns(TelemetryWarning, match="1 features were not there in training") as heard:
        found = node.score(more)

    assert len(heard) == 1
    np.testing.assert_array_equal(found.error, node.score(rows).error)


def test_missing_values_are_masked_and_never_zero(node):
    rows = later()
    values = rows.values.copy()
    values[:, 0] = np.nan
    values[10, :5] = np.nan
    found = node.score(changed(rows, values))

    assert not np.isnan(np.delete(found.error, 10)).any()
    assert (found.ratios[:, 0] == 0).all()
    assert np.isnan(found.error[10])
    assert found.reason[10] == Unscored.VALUES_MISSING
    # A zero would be 10 deviations from the usual 20, and clipped; a missing value is not odd.
    assert np.median(np.delete(found.error, 10)) < 3 * np.median(node.score(rows).error)


def test_a_constant_that_breaks_is_an_alarm():
    rows = telemetry()
    values = rows.values.copy()
    values[:, 4] = 3.0
    node = NodeAutoencoder.fit(changed(rows, values), settings())
    test = later()
    still = test.values.copy()
    still[:, 4] = 3.0
    still[50, 4] = 3.5

    found = node.score(changed(test, still))

    assert 4 not in node.kept
    assert found.broken[50].tolist() == [False] * 4 + [True] + [False] * 3
    assert found.broken.sum() == 1
    assert found.alarm[50]
    assert found.ranked(50)[0] == ("f4", np.inf)


def test_unsorted_and_repeated_rows_are_put_right():
    rows = later()
    order = np.random.default_rng(0).permutation(len(rows))
    with pytest.warns(TelemetryWarning, match="earlier than the one above"):
        put = ordered(rows.rows(order))
    np.testing.assert_array_equal(put.values, rows.values)

    twice = rows.rows(np.repeat(np.arange(len(rows)), 2))
    twice.values[::2] = 99.0
    with pytest.warns(TelemetryWarning, match=f"{len(rows)} rows repeat"):
        np.testing.assert_array_equal(ordered(twice).values, rows.values)


def test_gaps_stay_gaps_unless_asked_and_are_bridged_only_when_short(node):
    rows = later()
    gappy = rows.rows(np.r_[0:100, 102:200, 210:600])
    assert len(node.score(gappy).error) == 588

    grid = resampled(gappy, STEP)

    assert len(grid) == 600
    assert not np.isnan(grid.values[100:102]).any()
    assert np.isnan(grid.values[200:210]).all()
    np.testing.assert_array_equal(grid.values[:100], rows.values[:100])
    np.testing.assert_allclose(grid.values[100], (2 * rows.values[99] + rows.values[102]) / 3, rtol=1e-5)


def test_too_few_healthy_rows_are_told():
    with pytest.raises(NotEnoughDataError, match=r"node 'a' needs 80 healthy rows for 8 features.*there are 70"):
        NodeAutoencoder.fit(telemetry(rows=70), settings(1))


def test_a_fault_in_the_training_part_is_told():
    rows = telemetry(rows=3000)
    values = rows.values.copy()
    values[1000:1020, 2] += 60
    with pytest.warns(TelemetryWarning, match="one stretch of rows"):
        NodeAutoencoder.fit(changed(rows, values), settings(1))


@pytest.mark.parametrize(
    ("option", "message"),
    [({"error": "sum"}, "choose max, mean"), ({"hidden": "none"}, "over-complete"), ({"clip": 0.0}, "above 0"),
     ({"samples_per_feature": 0}, "at least 1"), ({"scaling": "log"}, "robust"), ({"missing": "zero"}, "impute")],
)  # fmt: skip
def test_settings_are_checked(option, message):
    with pytest.raises(ConfigurationError, match=message):
        NodeSettings(**option)


def test_telemetry_is_checked():
    with pytest.raises(ValueError, match="for 2 times and 1 features"):
        NodeTelemetry("a", ("x",), np.arange(2), np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="'x' is there twice"):
        NodeTelemetry("a", ("x", "x"), np.arange(2), np.zeros((2, 2), np.float32))
