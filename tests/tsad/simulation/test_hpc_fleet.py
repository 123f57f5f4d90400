import itertools

import numpy as np
import pytest

from tsad.errors import ConfigurationError
from tsad.simulation.hpc_fleet import (
    FleetFault,
    FleetFaultKind,
    HpcFleetSettings,
    fleet_faults,
    simulate_hpc_fleet,
)

SETTINGS = HpcFleetSettings(seed=3, nodes=6, days=40, training_days=18)


@pytest.fixture(scope="module")
def pair():
    return simulate_hpc_fleet(SETTINGS), simulate_hpc_fleet(SETTINGS, faults=())


def test_equal_settings_give_equal_recordings_and_other_seeds_others(pair):
    again = simulate_hpc_fleet(SETTINGS)
    np.testing.assert_array_equal(again.values, pair[0].values)
    other = simulate_hpc_fleet(HpcFleetSettings(seed=4, nodes=6, days=40, training_days=18))
    assert not np.array_equal(other.values, pair[0].values)


@pytest.mark.parametrize("sensors", [30, 48, 60])
def test_has_the_shape_it_says(sensors):
    settings = HpcFleetSettings(nodes=2, sensors=sensors, days=2, training_days=1)
    made = simulate_hpc_fleet(settings, faults=())
    assert made.values.shape == (2, 576, sensors)
    assert len(set(made.features)) == sensors
    assert np.isfinite(made.values).all()
    assert (np.diff(made.times) == 300 * 10**9).all()


def test_every_kind_of_fault_is_once_on_every_node_after_training(pair):
    made = pair[0]
    for node in range(6):
        own = sorted((f.first, f.last, f.kind) for f in made.faults if f.node == node)
        assert {kind for *_, kind in own} == set(FleetFaultKind)
        assert own[0][0] > made.training_rows
        assert all(later[0] > before[1] for before, later in itertools.pairwise(own))
        marked = np.zeros(len(made.times), np.uint8)
        for first, last, _ in own:
            marked[first:last] = 1
        np.testing.assert_array_equal(made.labels[node], marked)


def test_faults_change_their_rows_and_no_others(pair):
    faulty, clean = pair
    touched = (faulty.values != clean.values).any(axis=2)
    # Heat lags behind: what a governor does to the temperature lasts a little longer than the fault.
    late = np.stack([np.convolve(row, np.ones(40))[: len(row)] > 0 for row in faulty.labels])
    assert not (touched & ~late).any()
    for fault in faulty.faults:
        assert touched[fault.node, fault.first : fault.last].mean() > 0.9


def test_sensor_faults_stay_within_the_usual_range(pair):
    faulty, clean = pair
    for fault in faulty.faults:
        if fault.kind in (FleetFaultKind.UNTIED, FleetFaultKind.STUCK, FleetFaultKind.OFFSET):
            inside = faulty.values[fault.node, fault.first : fault.last]
            usual = clean.values[fault.node]
            spread = usual.std(axis=0)
            assert (inside <= usual.max(axis=0) + spread).all()
            assert (inside >= usual.min(axis=0) - spread).all()
    untied = next(f for f in faulty.faults if f.kind is FleetFaultKind.UNTIED)
    rows = slice(untied.first, untied.last)
    np.testing.assert_array_equal(
        np.sort(faulty.values[untied.node, rows], axis=0), np.sort(clean.values[untied.node, rows], axis=0)
    )


def test_shared_load_ties_nodes_together():
    def tie(share):
        made = simulate_hpc_fleet(
            HpcFleetSettings(seed=1, nodes=2, days=20, training_days=1, shared_load=share), faults=()
        )
        column = made.features.index("power_0")
        return np.corrcoef(made.values[:, :, column])[0, 1]

    assert tie(1.0) > 0.95
    assert tie(0.0) < 0.3


def test_a_season_warms_all_nodes():
    def temperatures(season):
        made = simulate_hpc_fleet(HpcFleetSettings(nodes=2, days=10, training_days=1, season_c=season), faults=())
        return made.values[:, -288:, made.features.index("temperature_0")].mean(axis=1)

    assert (temperatures(5.0) - temperatures(0.0) > 3.0).all()


@pytest.mark.parametrize("option", [{"nodes": 0}, {"sensors": 20}, {"shared_load": 1.5}, {"training_days": 60.0}])
def test_settings_are_checked(option):
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        HpcFleetSettings(**option)


def test_faults_must_fit():
    with pytest.raises(ConfigurationError, match="need at least"):
        fleet_faults(HpcFleetSettings(days=20, training_days=18))
    with pytest.raises(ConfigurationError, match="lies outside"):
        simulate_hpc_fleet(SETTINGS, faults=(FleetFault(FleetFaultKind.FAN, 9, 5, 9),))
