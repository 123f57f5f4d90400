import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.tsad.fleet.parts import changed, settings, telemetry
from tsad.errors import NotEnoughDataError, SnapshotError
from tsad.fleet.fleet import FleetSizeWarning, NodeFleet
from tsad.fleet.nodes import NodeAutoencoder
from tsad.fleet.scores import ModelSource


def nodes(count=4, rows=900):
    return [telemetry(f"n{s}", rows + 10 * s, s) for s in range(count)]


@pytest.fixture(scope="module")
def cold():
    """Three warm nodes, one with 300 rows, one with 600 of the 640 that ten a feature are."""
    whole = [telemetry(f"n{s}", 900, s) for s in range(3)]
    short = [telemetry("short", 300, 8), telemetry("middle", 600, 9)]
    return NodeFleet.fit([*whole, *short], settings(5, samples_per_feature=80))


def test_trained_together_equals_one_by_one():
    telemetries = nodes()
    # One node has a constant, so its network has another shape.
    values = telemetries[2].values.copy()
    values[:, 1] = 5.0
    telemetries[2] = changed(telemetries[2], values)
    together = NodeFleet.fit(telemetries, settings(), with_base=False)

    for one in telemetries:
        alone = NodeAutoencoder.fit(one, settings())
        np.testing.assert_allclose(together.score(one).error, alone.score(one).error, atol=1e-5)
        assert together.models[one.node].threshold.value == pytest.approx(alone.threshold.value, abs=1e-5)


def test_cold_nodes_have_the_base_model_or_one_tuned_from_it(cold):
    assert cold.cold == ("short",)
    assert cold.nodes == ("middle", "n0", "n1", "n2", "short")
    sources = {name: cold.model(name).source for name in cold.nodes}
    assert sources["n0"] is ModelSource.OWN
    assert sources["middle"] is ModelSource.FINE_TUNED
    assert sources["short"] is ModelSource.BASE
    found = cold.score(telemetry("short", 900, 8))
    assert found.source is ModelSource.BASE
    assert found.node == "short"
    # The base model's threshold allows for nodes that differ in their gains.
    assert (found.error > found.threshold.value).mean() < 0.3
    tuned = cold.score(telemetry("middle", 1500, 9).rows(slice(600, None)))
    assert (tuned.error > tuned.threshold.value).mean() < 0.1


def test_the_base_model_sees_faults_of_a_cold_node(cold):
    rows = telemetry("short", 900, 8)
    odd = rows.values.copy()
    odd[400:500, 3] = odd[np.random.default_rng(0).permutation(100) + 600, 3]
    error = cold.score(changed(rows, odd)).error
    assert np.mean(error[400:500]) > 1.5 * np.mean(error[:400])


def test_unknown_nodes_are_an_error_or_judged_by_the_base_model(cold):
    with pytest.raises(ValueError, match="no node 'n9'; known are middle, n0, n1, n2, short"):
        cold.score(telemetry("n9"))
    found = cold.score(telemetry("n9", seed=12), unknown="base")
    assert found.source is ModelSource.BASE
    without = NodeFleet.fit(nodes(1), settings(1), with_base=False)
    with pytest.raises(ValueError, match="no node 'n9'"):
        without.score(telemetry("n9"), unknown="base")


def test_without_a_base_model_too_few_rows_are_an_error():
    with pytest.raises(NotEnoughDataError, match="node 'n0' needs 80"):
        NodeFleet.fit([telemetry("n0", 70)], settings(1), with_base=False)
    with pytest.raises(NotEnoughDataError, match="no node of 1 has enough"):
        NodeFleet.fit([telemetry("n0", 300)], settings(1))
    with pytest.raises(ValueError, match="'n0' is there twice"):
        NodeFleet.fit([telemetry("n0"), telemetry("n0")], settings(1))


def test_saved_and_loaded_scores_the_same(cold):
    arrays, description = cold.state()
    other = NodeFleet.restore(load(save(arrays)), json.loads(json.dumps(description)))

    assert other.nodes == cold.nodes
    for name in cold.nodes:
        rows = telemetry(name, 200, 5)
        np.testing.assert_array_equal(other.score(rows).error, cold.score(rows).error)
        assert other.score(rows).source is cold.score(rows).source
    with pytest.raises(SnapshotError, match="format 7"):
        NodeFleet.restore(arrays, {**description, "format": 7})
    with pytest.raises(SnapshotError, match="damaged"):
        NodeFleet.restore({}, description)


def test_a_large_fleet_is_told():
    with pytest.warns(FleetSizeWarning, match="the models of 2 nodes take 0 MB, over the 0"):
        NodeFleet.fit(nodes(2), settings(1), with_base=False, warn_above_megabytes=0.001)


def test_validation_from_later_fixes_the_threshold():
    whole = telemetry("n0", 1200)
    fleet = NodeFleet.fit(
        [whole.rows(slice(0, 900))], settings(), validation={"n0": whole.rows(slice(900, None))}, with_base=False
    )
    later = fleet.score(whole.rows(slice(900, None)))
    np.testing.assert_array_equal(fleet.models["n0"].healthy, later.error)
