import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import tsad.simulation
from tsad.errors import ConfigurationError
from tsad.simulation import (
    NODE_METRICS,
    PUMP_CHANNELS,
    FaultKind,
    PlantSettings,
    PumpSkidSettings,
    default_faults,
    simulate,
)
from tsad.simulation.plant import PROCESS_FAULTS

SECOND = 1_000_000_000
PUMP = "plant/utilities/pump-1"


def arrays(recording):
    """All arrays of a recording by name."""
    found = {}
    for asset, sensor in recording.sensors.items():
        found |= {f"{asset}.{name}": getattr(sensor, name) for name in ("times", "values", "present")}
    for part in ("access", "inspections"):
        columns = dataclasses.asdict(getattr(recording, part))
        found |= {f"{part}.{name}": column for name, column in columns.items() if isinstance(column, np.ndarray)}
    return found


def test_public_names_are_sorted_and_there():
    assert sorted(tsad.simulation.__all__, key=lambda name: (not name.isupper(), name)) == tsad.simulation.__all__
    assert all(hasattr(tsad.simulation, name) for name in tsad.simulation.__all__)


def test_equal_settings_give_equal_recordings_bit_for_bit(settings, start, faulty):
    again = simulate(settings, start, 5_400.0, default_faults(settings, start, 5_400.0))

    for name, array in arrays(again).items():
        assert array.tobytes() == arrays(faulty)[name].tobytes(), name
    assert again.faults == faulty.faults


def test_another_seed_gives_another_day(settings, start):
    one = arrays(simulate(settings, start, 600.0))
    two = arrays(simulate(dataclasses.replace(settings, seed=12), start, 600.0))

    same = {name for name in one if one[name].tobytes() == two[name].tobytes()}
    assert {name for name in same if name.endswith((".values", "access.times", "raw_score", "user"))} == set()


@hypothesis_settings(max_examples=15)
@given(seconds=st.integers(2, 900), seed=st.integers(0, 2**40))
def test_a_longer_recording_begins_with_the_shorter_one(start, seconds, seed):
    settings = PlantSettings(seed=seed, node_assets=("plant/hpc/node-1",))
    short = arrays(simulate(settings, start, float(seconds)))
    long = arrays(simulate(settings, start, 900.0))

    for name, array in short.items():
        assert array.tobytes() == np.ascontiguousarray(long[name][: len(array)]).tobytes(), name


def test_adding_an_asset_leaves_the_others_as_they_were(settings, start):
    more = dataclasses.replace(settings, pump_assets=(PUMP, "plant/utilities/pump-2"))
    before, after = simulate(settings, start, 300.0), simulate(more, start, 300.0)

    np.testing.assert_array_equal(after.sensors[PUMP].values, before.sensors[PUMP].values)
    assert (after.sensors[PUMP].values != after.sensors["plant/utilities/pump-2"].values).any()


def test_shapes_types_and_times(settings, faulty, start):
    assert list(faulty.sensors) == [*settings.pump_assets, *settings.node_assets]
    for asset, sensor in faulty.sensors.items():
        width = len(PUMP_CHANNELS) if asset == PUMP else len(NODE_METRICS)
        assert sensor.values.shape == (5_400, width) == (sensor.times.size, len(sensor.channels))
        assert (sensor.values.dtype, sensor.times.dtype, sensor.present.dtype) == (np.float32, np.int64, np.bool_)
        assert sensor.times[0] == start
        assert (np.diff(sensor.times) == SECOND).all()
        assert np.isfinite(sensor.values[sensor.present]).all()
    assert (len(NODE_METRICS), len(PUMP_CHANNELS)) == (30, 8)


def test_steps_are_configurable(start):
    settings = PlantSettings(step_seconds=0.25, node_step_seconds=30.0)
    recording = simulate(settings, start, 120.0)

    assert recording.sensors[PUMP].times.size == 480
    assert recording.sensors["plant/hpc/node-1"].times.tolist() == [start + k * 30 * SECOND for k in range(4)]


def test_recordings_cannot_be_written_to(faulty):
    with pytest.raises(ValueError, match="read-only"):
        faulty.sensors[PUMP].values[0, 0] = 1.0


def test_pump_channels_are_tied_as_physics_ties_them(start):
    pump = simulate(PlantSettings(seed=4, node_assets=()), start, 14_400.0).sensors[PUMP]
    ties = np.corrcoef(pump.values.T.astype(float))
    tie = {(a, b): ties[i, j] for i, a in enumerate(PUMP_CHANNELS) for j, b in enumerate(PUMP_CHANNELS)}

    assert tie["speed_rpm", "flow_m3_h"] > 0.95
    assert tie["flow_m3_h", "motor_current_a"] > 0.95
    assert tie["flow_m3_h", "suction_pressure_bar"] < -0.6
    assert tie["speed_rpm", "discharge_pressure_bar"] > 0.8
    assert tie["valve_position_percent", "flow_m3_h"] > 0.95
    assert tie["speed_rpm", "vibration_mm_s"] > 0.3


def test_the_bearing_follows_the_load_slowly(start):
    calm = PumpSkidSettings(daily_demand=0.0, set_point_seconds=4_000.0, shortest_set_point_seconds=2_000.0)
    pump = simulate(PlantSettings(seed=4, node_assets=(), pump=calm), start, 40_000.0).sensors[PUMP]
    current = pump.column("motor_current_a").astype(float)
    bearing = pump.column("bearing_temperature_c").astype(float)
    lags = (0, 300, 600, 900)

    ties = [np.corrcoef(current[:39_000], bearing[lag : 39_000 + lag])[0, 1] for lag in lags]

    assert np.argmax(ties) > 0  # warmth comes after power


def test_a_nodes_metrics_follow_its_job(start):
    recording = simulate(PlantSettings(seed=4), start, 20_000.0)
    node, regimes = recording.sensors["plant/hpc/node-1"], recording.regimes["plant/hpc/node-1"]
    mean = {
        (name, kind): node.column(name)[regimes == kind].mean()
        for name in ("cpu_utilisation_percent", "memory_bandwidth_gib_s", "disk_read_mib_s", "network_receive_mib_s")
        for kind in range(5)
    }

    assert set(np.unique(regimes)) == set(range(5))
    assert (
        mean["cpu_utilisation_percent", 1] > 2 * mean["cpu_utilisation_percent", 3] > mean["cpu_utilisation_percent", 0]
    )
    assert max(range(5), key=lambda kind: mean["memory_bandwidth_gib_s", kind]) == 2
    assert max(range(5), key=lambda kind: mean["disk_read_mib_s", kind]) == 3
    assert max(range(5), key=lambda kind: mean["network_receive_mib_s", kind]) == 4
    ties = np.corrcoef(node.values.T.astype(float))
    names = list(NODE_METRICS)
    assert ties[names.index("cpu_power_w"), names.index("node_power_w")] > 0.95
    assert ties[names.index("cpu_power_w"), names.index("cpu_0_temperature_c")] > 0.9
    assert ties[names.index("cpu_utilisation_percent"), names.index("cpu_frequency_mhz")] < -0.8
    assert (node.values >= 0.0).all()


def test_nodes_are_alike_but_not_equal(start):
    recording = simulate(PlantSettings(seed=4), start, 20_000.0)
    idle_power = [
        recording.sensors[asset].column("node_power_w")[regimes == 0].mean()
        for asset, regimes in recording.regimes.items()
    ]

    assert len(set(np.round(idle_power, 1))) == 4
    assert max(idle_power) < 1.6 * min(idle_power)


def test_default_faults_keep_training_clean_and_leave_quiet_gaps(settings, start, faulty):
    assert {fault.kind for fault in faulty.faults if fault.asset == PUMP} == set(FaultKind)
    assert {fault.kind for fault in faulty.faults if fault.asset != PUMP} == set(FaultKind)
    assert faulty.faults == default_faults_with_all_channels(settings, start)
    for asset, sensor in faulty.sensors.items():
        mine = [fault for fault in faulty.faults if fault.asset == asset]
        edges = [faulty.training_end, *(edge for fault in mine for edge in (fault.start, fault.end))]
        edges.append(int(sensor.times[-1]) + SECOND)
        gaps = [(after - before) // SECOND for before, after in zip(edges[::2], edges[1::2], strict=True)]
        assert min(gaps) >= 60
        quiet = ~faulty.labels(asset)
        np.testing.assert_array_equal(sensor.values[quiet], faulty.clean_sensors[asset].values[quiet])
    training = faulty.access.times < faulty.training_end
    assert not faulty.access.odd[training].any()
    assert not faulty.inspections.defect[faulty.inspections.times < faulty.training_end].any()


def default_faults_with_all_channels(settings, start):
    return tuple(
        dataclasses.replace(fault, channels=settings.channels(fault.asset)) if not fault.channels else fault
        for fault in default_faults(settings, start, 5_400.0)
    )


@given(
    extra=st.integers(0, 4_000),
    training=st.integers(0, 500),
    rounds=st.integers(1, 3),
    step=st.sampled_from([0.5, 1, 60]),
)
def test_default_faults_fit_whatever_the_length(start, extra, training, rounds, step):
    settings = PlantSettings(training_seconds=training * step, step_seconds=step, node_step_seconds=step)
    rows = training + 60 * (8 * rounds + 1) + rounds * 308 + extra

    faults = default_faults(settings, start, rows * step, rounds=rounds)

    mine = [fault for fault in faults if fault.asset == PUMP]
    assert len(mine) == 8 * rounds
    edges = [start + training * round(step * SECOND)]
    edges += [edge for fault in mine for edge in (fault.start, fault.end)]
    edges.append(start + rows * round(step * SECOND))
    gaps = [(after - before) / (step * SECOND) for before, after in zip(edges[::2], edges[1::2], strict=True)]
    assert min(gaps) >= 60


def test_too_short_a_recording_says_how_long_it_must_be(settings, start):
    with pytest.raises(ConfigurationError, match=r"Record at least (\d+\.\d) s") as caught:
        default_faults(settings, start, 2_000.0)

    needed = float(str(caught.value).split("at least ")[1].split(" s")[0])
    assert len(default_faults(settings, start, needed)) == 16


def test_parts_suffer_while_the_process_is_disturbed(start):
    settings = PlantSettings(seed=2, training_seconds=600.0, node_assets=())
    faults = default_faults(settings, start, 20_000.0, rounds=6)
    recording = simulate(settings, start, 20_000.0, faults)
    disturbed = np.zeros(recording.inspections.times.size, dtype=bool)
    for fault in recording.faults:
        if fault.kind in PROCESS_FAULTS:
            processed = recording.inspections.processed_at
            disturbed |= (processed >= fault.start) & (processed < fault.end)

    assert recording.inspections.defect[disturbed].mean() == pytest.approx(0.35, abs=0.08)
    assert recording.inspections.defect[~disturbed].mean() < 0.03
    calm = simulate(settings, start, 20_000.0).inspections
    np.testing.assert_array_equal(calm.raw_score[~disturbed], recording.inspections.raw_score[~disturbed])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"step_seconds": 0.0}, "step_seconds"),
        ({"node_step_seconds": 0.0005}, "whole number of milliseconds"),
        ({"training_seconds": -1.0}, "training_seconds"),
        ({"node_assets": (PUMP,)}, "share the paths"),
    ],
)
def test_wrong_settings_name_their_key(change, message):
    with pytest.raises(ConfigurationError, match=message):
        PlantSettings(**change)


@pytest.mark.parametrize(("start", "seconds"), [(-1, 10.0), (1, 10.0), (0, 0.5), (0, float("nan"))])
def test_wrong_spans_are_refused(settings, start, seconds):
    with pytest.raises(ConfigurationError, match=r"start|duration_seconds"):
        simulate(settings, start, seconds)


def test_a_day_of_the_whole_plant_takes_seconds_not_minutes(start):
    """11 million readings; a Python loop over rows would take minutes. Measured: 0.7 s on one core."""
    began = time.perf_counter()

    simulate(PlantSettings(), start, 86_400.0)

    assert time.perf_counter() - began < 15.0
