import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.errors import ConfigurationError
from tsad.simulation import Fault, FaultKind, simulate
from tsad.simulation.faults import local_noise

SECOND = 1_000_000_000
PUMP = "plant/utilities/pump-1"
FIRST, LAST = 2_000, 2_300


def apply(settings, start, kind, channel="flow_m3_h", first=FIRST, last=LAST, **more):
    """Return (faulty, clean, resolved fault) of one fault on the pump."""
    channels = () if kind is FaultKind.SILENCE else (channel,)
    fault = Fault(kind, PUMP, channels, start + first * SECOND, start + last * SECOND, **more)
    recording = simulate(settings, start, 3_000.0, [fault])
    return recording.sensors[PUMP], recording.clean_sensors[PUMP], recording.faults[0]


def difference(faulty, clean, channel="flow_m3_h", first=FIRST, last=LAST):
    return (faulty.column(channel).astype(float) - clean.column(channel))[first:last]


@given(
    kind=st.sampled_from(FaultKind),
    first=st.integers(1, 500),
    rows=st.integers(8, 200),
    severity=st.floats(2.0, 50.0),
    seed=st.integers(0, 2**31),
)
def test_a_fault_changes_its_rows_and_channels_and_nothing_else(settings, start, kind, first, rows, severity, seed):
    channels = () if kind is FaultKind.SILENCE else ("motor_current_a", "vibration_mm_s")
    fault = Fault(kind, PUMP, channels, start + first * SECOND, start + (first + rows) * SECOND, severity, seed=seed)

    recording = simulate(settings, start, 750.0, [fault])

    after, before = recording.sensors[PUMP], recording.clean_sensors[PUMP]
    labels = recording.channel_labels(PUMP)
    np.testing.assert_array_equal(after.values[~labels].view(np.int32), before.values[~labels].view(np.int32))
    changed = np.flatnonzero((after.values != before.values).any(axis=1))
    assert changed[0] == first
    assert changed[-1] == first + rows - 1
    assert np.flatnonzero(recording.labels(PUMP)).tolist() == list(range(first, first + rows))
    np.testing.assert_array_equal(after.present, ~recording.labels(PUMP) | (kind is not FaultKind.SILENCE))
    assert simulate(settings, start, 750.0).sensors[PUMP].values.tobytes() == before.values.tobytes()


def test_stuck_holds_the_last_good_reading(settings, start):
    faulty, clean, _ = apply(settings, start, FaultKind.STUCK)

    assert np.unique(faulty.column("flow_m3_h")[FIRST:LAST]).tolist() == [clean.column("flow_m3_h")[FIRST - 1]]


def test_drift_grows_linearly_to_its_severity(settings, start):
    faulty, clean, _ = apply(settings, start, FaultKind.DRIFT, severity=20.0)
    noise = local_noise(clean.column("flow_m3_h"), FIRST, LAST)

    expected = 20.0 * noise * np.arange(1, 301) / 300
    np.testing.assert_allclose(difference(faulty, clean), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [FaultKind.SPIKE, FaultKind.LEVEL_SHIFT])
@pytest.mark.parametrize("severity", [9.0, -9.0])
def test_spike_and_level_shift_add_their_severity(settings, start, kind, severity):
    faulty, clean, _ = apply(settings, start, kind, severity=severity)

    np.testing.assert_allclose(
        difference(faulty, clean), severity * local_noise(clean.column("flow_m3_h"), FIRST, LAST), atol=1e-4
    )


def test_variance_change_multiplies_the_noise_by_its_severity(settings, start):
    faulty, clean, _ = apply(settings, start, FaultKind.VARIANCE_CHANGE, severity=5.0)

    before = local_noise(clean.column("flow_m3_h"), FIRST, LAST)
    inside = np.diff(faulty.column("flow_m3_h")[FIRST:LAST].astype(float)).std() / np.sqrt(2.0)
    assert inside / before == pytest.approx(5.0, rel=0.15)
    assert abs(difference(faulty, clean).mean()) < before  # the level stays


def test_variance_change_of_another_seed_adds_other_noise(settings, start):
    one, _, _ = apply(settings, start, FaultKind.VARIANCE_CHANGE, seed=1)
    two, _, _ = apply(settings, start, FaultKind.VARIANCE_CHANGE, seed=2)

    assert (one.column("flow_m3_h")[FIRST:LAST] != two.column("flow_m3_h")[FIRST:LAST]).all()


def test_oscillation_has_its_period_and_size(settings, start):
    faulty, clean, _ = apply(settings, start, FaultKind.OSCILLATION, severity=6.0, period_seconds=30.0)
    added = difference(faulty, clean)

    spectrum = np.abs(np.fft.rfft(added))
    assert spectrum.argmax() == 300 / 30
    assert added.max() == pytest.approx(6.0 * local_noise(clean.column("flow_m3_h"), FIRST, LAST), rel=0.02)


@pytest.mark.parametrize("channel", ["flow_m3_h", "motor_current_a", "valve_position_percent"])
def test_broken_correlation_keeps_the_marginals_and_loses_the_ties(settings, start, channel):
    faulty, clean, _ = apply(settings, start, FaultKind.BROKEN_CORRELATION, channel)
    inside = slice(FIRST, LAST)
    after, before = faulty.column(channel)[inside], clean.column(channel)[inside]

    np.testing.assert_array_equal(np.sort(after), np.sort(before))
    speed = clean.column("speed_rpm")[inside]
    assert np.corrcoef(speed, before)[0, 1] > 0.9
    assert abs(np.corrcoef(speed, after)[0, 1]) < 0.3
    # Turned round, not shuffled: the channel alone moves from row to row as it did.
    assert local_noise(after, 0, 300) == pytest.approx(local_noise(before, 0, 300), rel=0.05)


def test_silence_takes_all_channels_and_leaves_no_reading(settings, start):
    faulty, clean, fault = apply(settings, start, FaultKind.SILENCE)

    assert fault.channels == clean.channels
    assert not faulty.present[FIRST:LAST].any()
    assert faulty.present.sum() == 3_000 - 300
    assert np.isnan(faulty.values[FIRST:LAST]).all()


def test_times_between_rows_snap_to_the_rows_inside(settings, start):
    half = SECOND // 2
    asked = Fault(FaultKind.SPIKE, PUMP, ("speed_rpm",), start + 100 * SECOND - half, start + 102 * SECOND - half)

    resolved = simulate(settings, start, 200.0, [asked]).faults[0]

    assert (resolved.start, resolved.end) == (start + 100 * SECOND, start + 102 * SECOND)


def test_a_fault_that_outlives_the_recording_ends_one_step_after_it(settings, start):
    asked = Fault(FaultKind.STUCK, PUMP, ("speed_rpm",), start + 150 * SECOND, start + 999 * SECOND)

    recording = simulate(settings, start, 200.0, [asked])

    assert recording.faults[0].end == start + 200 * SECOND
    assert recording.labels(PUMP).sum() == 50


def test_severity_means_the_same_on_every_channel(settings, start):
    recording = simulate(settings, start, 3_000.0)
    clean = recording.sensors[PUMP]
    shifts = {}
    for channel in clean.channels:
        faulty, _, _ = apply(settings, start, FaultKind.LEVEL_SHIFT, channel, severity=10.0)
        steps = np.diff(clean.column(channel)[FIRST:LAST].astype(float)).std() / np.sqrt(2.0)
        shifts[channel] = difference(faulty, clean, channel).mean() / steps
    assert all(7.0 < size < 13.0 for size in shifts.values()), shifts


@pytest.mark.parametrize("constant", [0.0, -40.0])
def test_local_noise_of_a_constant_channel_is_above_zero(constant):
    assert local_noise(np.full(100, constant, dtype=np.float32), 40, 60) > 0.0


def test_local_noise_ignores_a_set_point_change_nearby():
    noise = np.random.default_rng(0).normal(0.0, 0.5, 2_000)
    noise[1_000:] += 300.0

    assert local_noise(noise.astype(np.float32), 900, 1_100) == pytest.approx(0.5, rel=0.25)


GOOD = Fault(FaultKind.LEVEL_SHIFT, PUMP, ("flow_m3_h",), 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": 1}, "must be before end"),
        ({"severity": 0.0}, "not zero"),
        ({"severity": float("nan")}, "finite"),
        ({"kind": FaultKind.VARIANCE_CHANGE, "severity": 0.5}, "above 1"),
        ({"kind": FaultKind.OSCILLATION, "period_seconds": 0.0}, "period_seconds"),
        ({"channels": ()}, "at least one channel"),
        ({"channels": ("flow_m3_h", "flow_m3_h")}, "twice"),
        ({"seed": -1}, "seed"),
    ],
)
def test_an_impossible_fault_is_refused_with_its_reason(change, message):
    with pytest.raises(ConfigurationError, match=message):
        dataclasses.replace(GOOD, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"asset": "plant/nowhere"}, "unknown asset 'plant/nowhere'"),
        ({"channels": ("flow",)}, r"unknown channels \['flow'\]"),
        ({"kind": FaultKind.SILENCE}, "whole asset"),
        ({"start": 1, "end": 2}, "no row between"),
        ({"kind": FaultKind.BROKEN_CORRELATION}, "at least 8"),
        ({"kind": FaultKind.OSCILLATION, "period_seconds": 2.0}, "too short"),
        ({"kind": FaultKind.STUCK}, "no reading to be stuck at"),
    ],
)
def test_a_fault_that_does_not_fit_the_plant_is_refused(settings, start, change, message):
    fault = dataclasses.replace(GOOD, **({"start": start, "end": start + 3 * SECOND} | change))

    with pytest.raises(ConfigurationError, match=message):
        simulate(settings, start, 100.0, [fault])


def test_overlapping_faults_of_one_asset_are_refused(settings, start):
    one = dataclasses.replace(GOOD, start=start, end=start + 20 * SECOND)
    two = dataclasses.replace(one, channels=("speed_rpm",), start=start + 19 * SECOND, end=start + 30 * SECOND)

    with pytest.raises(ConfigurationError, match="overlap"):
        simulate(settings, start, 100.0, [two, one])
    touching = dataclasses.replace(two, start=start + 20 * SECOND)
    assert len(simulate(settings, start, 100.0, [one, touching]).faults) == 2
