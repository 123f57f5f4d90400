"""The whole plant: pump skids, HPC nodes, access events and an inspection station, with faults planted on request."""

import dataclasses
import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.access_events import AccessSettings, simulate_access_events
from tsad.simulation.faults import Fault, FaultKind, distort, resolve
from tsad.simulation.hpc_node import NODE_METRICS, HpcNodeSettings, simulate_hpc_node
from tsad.simulation.inspection import InspectionSettings, simulate_inspections
from tsad.simulation.pump_skid import PUMP_CHANNELS, PumpSkidSettings, simulate_pump_skid
from tsad.simulation.recording import PlantRecording, SensorRecording, read_only
from tsad.simulation.signals import NANOSECONDS_PER_SECOND

__all__ = ["PROCESS_FAULTS", "PlantSettings", "default_faults", "simulate"]

_MILLISECOND = 1_000_000

# Faults of the process itself, which parts suffer from; the others are faults of a sensor or of its connection.
PROCESS_FAULTS = frozenset({FaultKind.LEVEL_SHIFT, FaultKind.OSCILLATION, FaultKind.BROKEN_CORRELATION})

# Rows before, between and after the faults of one asset in the default schedule.
_QUIET_ROWS = 60


@dataclass(frozen=True)
class PlantSettings:
    """What the plant consists of and how it behaves.

    Attributes
    ----------
    seed : int
        Seed of everything random; equal settings give equal recordings.
    step_seconds : float
        Time between a pump's rows, seconds, whole milliseconds.
    node_step_seconds : float
        Time between a node's rows, seconds, whole milliseconds.
    training_seconds : float
        Length of the opening stretch in which nothing odd happens, seconds.
    pump_assets, node_assets : tuple of str
        Asset paths, all different.
    pump, node, access, inspection
        Settings of the parts.

    Raises
    ------
    ConfigurationError
        When a value is out of its range or two assets share a path.
    """

    seed: int = 0
    step_seconds: float = 1.0
    node_step_seconds: float = 1.0
    training_seconds: float = 3_600.0
    pump_assets: tuple[str, ...] = ("plant/utilities/pump-1",)
    node_assets: tuple[str, ...] = ("plant/hpc/node-1", "plant/hpc/node-2", "plant/hpc/node-3", "plant/hpc/node-4")
    pump: PumpSkidSettings = field(default_factory=PumpSkidSettings)
    node: HpcNodeSettings = field(default_factory=HpcNodeSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    inspection: InspectionSettings = field(default_factory=InspectionSettings)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigurationError(f"seed {self.seed} must not be negative")
        for name in ("step_seconds", "node_step_seconds"):
            milliseconds = 1_000.0 * getattr(self, name)
            if not (math.isfinite(milliseconds) and milliseconds >= 1.0 and milliseconds.is_integer()):
                raise ConfigurationError(f"{name} {getattr(self, name)} must be a whole number of milliseconds above 0")
        if not (math.isfinite(self.training_seconds) and self.training_seconds >= 0.0):
            raise ConfigurationError(f"training_seconds {self.training_seconds} must be finite and not negative")
        assets = (*self.pump_assets, *self.node_assets, self.inspection.station)
        repeated = sorted({asset for asset in assets if assets.count(asset) > 1})
        if repeated:
            raise ConfigurationError(f"pump_assets, node_assets and inspection.station share the paths {repeated}")

    def step(self, asset: str) -> int:
        """Return the nanoseconds between the rows of a pump or node."""
        seconds = self.step_seconds if asset in self.pump_assets else self.node_step_seconds
        return round(1_000.0 * seconds) * _MILLISECOND

    def channels(self, asset: str) -> tuple[str, ...]:
        """Return the channels of a pump or node."""
        return PUMP_CHANNELS if asset in self.pump_assets else NODE_METRICS


def simulate(
    settings: PlantSettings, start: int, duration_seconds: float, faults: Sequence[Fault] = ()
) -> PlantRecording:
    """Simulate a stretch of the plant's life.

    Parameters
    ----------
    settings : PlantSettings
        What the plant consists of.
    start : int
        First event time, nanoseconds UTC, whole milliseconds.
    duration_seconds : float
        Length, seconds; at least one row of every asset.
    faults : sequence of Fault
        What goes wrong; the faults of one asset must not overlap.

    Returns
    -------
    PlantRecording
        With the clean twin of every sensor recording beside the faulty one.

    Raises
    ------
    ConfigurationError
        When the times do not fit, a fault names an unknown asset or channel or hits no row, or two faults of one
        asset overlap.
    """
    _check_span(settings, start, duration_seconds)
    clean: dict[str, SensorRecording] = {}
    regimes: dict[str, NDArray[np.int8]] = {}
    for asset in settings.pump_assets:
        times = _grid(settings, asset, start, duration_seconds)
        values = simulate_pump_skid(settings.pump, settings.seed, asset, times, settings.step_seconds)
        clean[asset] = _sensor_recording(asset, PUMP_CHANNELS, times, values)
    for asset in settings.node_assets:
        times = _grid(settings, asset, start, duration_seconds)
        values, kinds = simulate_hpc_node(settings.node, settings.seed, asset, times, settings.node_step_seconds)
        clean[asset] = _sensor_recording(asset, NODE_METRICS, times, values)
        regimes[asset] = read_only(kinds)

    resolved = _resolve_all(settings, clean, faults)
    faulty = dict(clean)
    for fault in resolved:
        faulty[fault.asset] = _apply(fault, clean[fault.asset], faulty[fault.asset], settings.step(fault.asset))

    training_end = start + round(settings.training_seconds * NANOSECONDS_PER_SECOND)
    disturbances = [
        (fault.start, fault.end)
        for fault in resolved
        if fault.kind in PROCESS_FAULTS and fault.asset in settings.pump_assets
    ]
    return PlantRecording(
        start=start,
        duration_seconds=duration_seconds,
        training_end=training_end,
        sensors=faulty,
        clean_sensors=clean,
        regimes=regimes,
        access=simulate_access_events(settings.access, settings.seed, start, duration_seconds, training_end),
        inspections=simulate_inspections(
            settings.inspection, settings.seed, start, duration_seconds, training_end, disturbances
        ),
        faults=resolved,
    )


# Kind, longest and shortest length in rows, severity, channel of a pump, channel of a node.
_SCHEDULE: tuple[tuple[FaultKind, int, int, float, str, str], ...] = (
    (FaultKind.LEVEL_SHIFT, 120, 20, 8.0, "flow_m3_h", "memory_bandwidth_gib_s"),
    (FaultKind.STUCK, 120, 20, 1.0, "discharge_pressure_bar", "cpu_0_temperature_c"),
    (FaultKind.SPIKE, 3, 2, 15.0, "vibration_mm_s", "network_receive_mib_s"),
    (FaultKind.BROKEN_CORRELATION, 300, 60, 1.0, "motor_current_a", "cpu_power_w"),
    (FaultKind.DRIFT, 300, 60, 12.0, "bearing_temperature_c", "inlet_temperature_c"),
    (FaultKind.VARIANCE_CHANGE, 120, 40, 5.0, "suction_pressure_bar", "disk_read_mib_s"),
    (FaultKind.OSCILLATION, 144, 48, 6.0, "valve_position_percent", "fan_1_speed_rpm"),
    (FaultKind.SILENCE, 60, 20, 1.0, "", ""),
)


def default_faults(
    settings: PlantSettings, start: int, duration_seconds: float, *, rounds: int = 1
) -> tuple[Fault, ...]:
    """Plant the documented schedule: after the training stretch, every kind of fault on every pump, two on a node.

    Faults are spread evenly, in one order, with at least 60 quiet rows before, between and after those of one
    asset. Nodes take turns, so that four nodes show every kind too. Where time is short the faults are shortened.

    Parameters
    ----------
    settings : PlantSettings
        The plant.
    start : int
        First event time of the recording, nanoseconds UTC.
    duration_seconds : float
        Length of the recording, seconds.
    rounds : int
        How often the schedule is gone through.

    Returns
    -------
    tuple of Fault
        In order of start; times lie on rows already.

    Raises
    ------
    ConfigurationError
        When an asset has too few rows after training for the shortest schedule; the message names the length needed.
    """
    _check_span(settings, start, duration_seconds)
    if rounds < 1:
        raise ConfigurationError(f"rounds {rounds} must be at least 1")
    faults: list[Fault] = []
    for asset in settings.pump_assets:
        plan = [(kind, most, least, size, pump) for kind, most, least, size, pump, _ in _SCHEDULE]
        faults += _spread(settings, asset, start, duration_seconds, plan * rounds)
    for number, asset in enumerate(settings.node_assets):
        turns = [_SCHEDULE[(2 * number + turn) % len(_SCHEDULE)] for turn in range(2 * rounds)]
        plan = [(kind, most, least, size, node) for kind, most, least, size, _, node in turns]
        faults += _spread(settings, asset, start, duration_seconds, plan)
    return tuple(sorted(faults, key=lambda fault: (fault.start, fault.asset)))


def _spread(
    settings: PlantSettings,
    asset: str,
    start: int,
    duration_seconds: float,
    plan: Sequence[tuple[FaultKind, int, int, float, str]],
) -> list[Fault]:
    """Lay out one asset's faults over its rows after training."""
    step = settings.step(asset)
    first = math.ceil(settings.training_seconds * NANOSECONDS_PER_SECOND / step)
    rows = _rows(duration_seconds, step) - first
    quiet = _QUIET_ROWS * (len(plan) + 1)
    shortest = sum(least for _, _, least, _, _ in plan)
    longest = sum(most for _, most, _, _, _ in plan)
    if rows < quiet + shortest:
        needed = (first + quiet + shortest) * step / NANOSECONDS_PER_SECOND
        raise ConfigurationError(
            f"default faults of {asset!r}: {max(rows, 0)} rows after training_seconds {settings.training_seconds};"
            f" {len(plan)} faults need {quiet + shortest}. Record at least {needed} s"
        )
    share = min(1.0, (rows - quiet - shortest) / (longest - shortest))
    lengths = [least + math.floor(share * (most - least)) for _, most, least, _, _ in plan]
    gap = (rows - sum(lengths)) // (len(plan) + 1)
    faults = []
    row = first
    for (kind, _, _, size, channel), length in zip(plan, lengths, strict=True):
        row += gap
        faults.append(
            Fault(
                kind=kind,
                asset=asset,
                channels=(channel,) if channel else (),
                start=start + row * step,
                end=start + (row + length) * step,
                severity=size,
                period_seconds=24 * step / NANOSECONDS_PER_SECOND,
                seed=settings.seed,
            )
        )
        row += length
    return faults


def _check_span(settings: PlantSettings, start: int, duration_seconds: float) -> None:
    if start < 0 or start % _MILLISECOND:
        raise ConfigurationError(f"start {start} must be whole milliseconds after 1970, in nanoseconds UTC")
    longest = max(settings.step_seconds, settings.node_step_seconds)
    if not (math.isfinite(duration_seconds) and duration_seconds >= longest):
        raise ConfigurationError(f"duration_seconds {duration_seconds} must hold at least one row of {longest} s")


def _rows(duration_seconds: float, step: int) -> int:
    return round(duration_seconds * NANOSECONDS_PER_SECOND) // step


def _grid(settings: PlantSettings, asset: str, start: int, duration_seconds: float) -> NDArray[np.int64]:
    step = settings.step(asset)
    return read_only(start + step * np.arange(_rows(duration_seconds, step), dtype=np.int64))


def _sensor_recording(
    asset: str, channels: tuple[str, ...], times: NDArray[np.int64], values: NDArray[np.float32]
) -> SensorRecording:
    present = read_only(np.ones(times.size, dtype=np.bool_))
    return SensorRecording(asset=asset, channels=channels, times=times, values=read_only(values), present=present)


def _resolve_all(
    settings: PlantSettings, clean: Mapping[str, SensorRecording], faults: Sequence[Fault]
) -> tuple[Fault, ...]:
    """Check all faults against the plant and against each other, and put them in order of start."""
    resolved: list[Fault] = []
    for fault in faults:
        if fault.asset not in clean:
            raise ConfigurationError(f"fault {fault.kind!s}: unknown asset {fault.asset!r}; there are {sorted(clean)}")
        recording = clean[fault.asset]
        resolved.append(resolve(fault, recording.channels, recording.times, settings.step(fault.asset)))
    by_asset = operator.attrgetter("asset")
    for asset, group in itertools.groupby(sorted(resolved, key=by_asset), key=by_asset):
        for before, after in itertools.pairwise(sorted(group, key=lambda fault: fault.start)):
            if after.start < before.end:
                raise ConfigurationError(
                    f"faults of {asset!r} overlap: {before.kind!s} until {before.end} and {after.kind!s} from"
                    f" {after.start}; each needs a clean stretch of its own"
                )
    return tuple(sorted(resolved, key=lambda fault: (fault.start, fault.asset)))


def _apply(fault: Fault, clean: SensorRecording, faulty: SensorRecording, step: int) -> SensorRecording:
    """Return `faulty` with one more fault, computed from the clean readings."""
    first, last = (int(row) for row in np.searchsorted(clean.times, [fault.start, fault.end]))
    values = faulty.values.copy()
    present = faulty.present
    for channel in fault.channels:
        values[first:last, clean.channels.index(channel)] = distort(
            fault, channel, clean.column(channel), first, last, step / NANOSECONDS_PER_SECOND
        )
    if fault.kind is FaultKind.SILENCE:
        present = present.copy()
        present[first:last] = False
    return dataclasses.replace(faulty, values=read_only(values), present=read_only(present))
