"""A fleet of like compute nodes over weeks, on a grid of minutes, with the faults that node models are judged on.

Five latent loads (cores, memory traffic, footprint, network, storage) follow from jobs and from day and night. Some
jobs run on all nodes at once, the others on each node by itself. Sensors are smooth functions of the loads; power
follows load and frequency, temperature follows power and fans. Every node has gains of its own.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.faults import Fault, FaultKind, distort
from tsad.simulation.recording import read_only
from tsad.simulation.signals import (
    autoregressive_noise,
    daily_swing,
    first_order_lag,
    generator,
    hold_index,
)

__all__ = [
    "FleetFault",
    "FleetFaultKind",
    "HpcFleetRecording",
    "HpcFleetSettings",
    "fleet_faults",
    "simulate_hpc_fleet",
]

STEP_SECONDS = 300.0
_STEP_NS = 300 * 10**9
_LOADS = ("cores", "traffic", "footprint", "network", "storage")
# What the kinds of job ask for, as shares of the node's capacity; the first is idle.
_JOBS = np.array(
    [
        [0.004, 0.01, 0.05, 0.01, 0.01],
        [0.93, 0.25, 0.35, 0.08, 0.05],
        [0.70, 0.88, 0.75, 0.10, 0.05],
        [0.30, 0.25, 0.40, 0.15, 0.65],
        [0.60, 0.40, 0.45, 0.80, 0.08],
    ]
)
_JOB_SHARES = (0.12, 0.33, 0.22, 0.15, 0.18)
_SHARES = {"core_utilisation": 1 / 6, "frequency": 1 / 8, "power": 1 / 6, "temperature": 1 / 6, "fan": 1 / 12}


class FleetFaultKind(StrEnum):
    """The kinds of fault."""

    GOVERNOR = "governor"  # frequency no longer follows load as it did; power and temperature go with it
    STUCK = "stuck"  # one sensor stays at its last value
    FAN = "fan"  # one fan slows down over days, and what it cools grows warmer
    OFFSET = "offset"  # one sensor reads half a deviation too much: well within its usual range
    UNTIED = "untied"  # three sensors show readings of another time: the same values, no tie to the load


# Hours: long enough that several jobs run meanwhile.
_LENGTHS = {
    FleetFaultKind.GOVERNOR: 24.0,
    FleetFaultKind.STUCK: 24.0,
    FleetFaultKind.FAN: 72.0,
    FleetFaultKind.OFFSET: 24.0,
    FleetFaultKind.UNTIED: 24.0,
}


@dataclass(frozen=True)
class HpcFleetSettings:
    """What the fleet is.

    Attributes
    ----------
    seed : int
        Of everything random.
    nodes : int
        How many, at least one.
    sensors : int
        Of a node, 30 to 200.
    days : float
        Length of the recording.
    training_days : float
        The first days, in which nothing odd happens.
    shared_load : float
        Share of the time in which all nodes run one job together, 0 to 1; what siblings can tell of each other hangs
        on it.
    gain_spread : float
        Standard deviation of the log gains by which nodes differ.
    season_c : float
        By how many degrees the air in the room grows warmer over the recording, evenly: what all nodes show alike.

    Raises
    ------
    ConfigurationError
        A value is out of its range.
    """

    seed: int = 0
    nodes: int = 8
    sensors: int = 48
    days: float = 60.0
    training_days: float = 36.0
    shared_load: float = 0.5
    gain_spread: float = 0.1
    season_c: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("nodes", 1, 10_000), ("sensors", 30, 200), ("shared_load", 0, 1), ("gain_spread", 0, 0.5),
            ("seed", 0, 2**32), ("season_c", -20, 20),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; give {low} to {high}")
        if not 0 < self.training_days < self.days:
            raise ConfigurationError(f"training_days {self.training_days} must be above 0 and below days {self.days}")

    @property
    def rows(self) -> int:
        """Rows of every node."""
        return round(self.days * 288)

    @property
    def training_rows(self) -> int:
        """Rows before which nothing odd happens."""
        return round(self.training_days * 288)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the sensors."""
        names = [f"{kind}_{i}" for kind, share in _SHARES.items() for i in range(max(2, int(self.sensors * share)))]
        return tuple(names + [f"counter_{i}" for i in range(self.sensors - len(names))])

    @property
    def core_features(self) -> tuple[str, ...]:
        """Sensors of the cores' utilisation, in percent, by which idle rows are told."""
        return tuple(name for name in self.features if name.startswith("core_utilisation"))


@dataclass(frozen=True)
class FleetFault:
    """One fault: rows `first` to `last` (not included) of a node; `severity` 1 is the usual size."""

    kind: FleetFaultKind
    node: int
    first: int
    last: int
    severity: float = 1.0


@dataclass(frozen=True, eq=False)
class HpcFleetRecording:
    """The fleet's sensors with their labels.

    Attributes
    ----------
    nodes, features : tuple of str
        Names.
    times : int64[rows]
        ns UTC, five minutes apart.
    values : float32[nodes, rows, features]
        The readings.
    labels : uint8[nodes, rows]
        1 in a fault.
    faults : tuple of FleetFault
        What went wrong.
    training_rows : int
        Rows before the first fault can be.
    """

    nodes: tuple[str, ...]
    features: tuple[str, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    labels: NDArray[np.uint8]
    faults: tuple[FleetFault, ...]
    training_rows: int


def fleet_faults(settings: HpcFleetSettings) -> tuple[FleetFault, ...]:
    """Every kind of fault once on every node after the training part, in another order on each.

    Raises
    ------
    ConfigurationError
        The days after training are too few.
    """
    kinds = list(FleetFaultKind)
    slot = (settings.rows - settings.training_rows) // len(kinds)
    longest = max(_rows_of(kind) for kind in kinds)
    if slot < longest + 24:
        needed = settings.training_days + len(kinds) * (longest + 24) / 288
        raise ConfigurationError(f"days is {settings.days}; {len(kinds)} faults a node need at least {needed:.1f}")
    faults = []
    for node in range(settings.nodes):
        random = generator(settings.seed, f"node-{node}", "faults")
        for place in range(len(kinds)):
            kind = kinds[(place + node) % len(kinds)]
            # At least an hour from the slot's ends, so that two faults of a node never touch.
            first = settings.training_rows + place * slot + int(random.integers(12, slot - _rows_of(kind) - 11))
            faults.append(FleetFault(kind, node, first, first + _rows_of(kind)))
    return tuple(faults)


def simulate_hpc_fleet(
    settings: HpcFleetSettings, start: int = 1_767_225_600_000_000_000, faults: tuple[FleetFault, ...] | None = None
) -> HpcFleetRecording:
    """Simulate the fleet.

    Parameters
    ----------
    settings : HpcFleetSettings
        What it is.
    start : int
        First event time, ns UTC.
    faults : tuple of FleetFault or None
        What goes wrong; None is the schedule of `fleet_faults`.

    Returns
    -------
    HpcFleetRecording
        Equal settings give equal recordings.

    Raises
    ------
    ConfigurationError
        A fault does not lie in the recording.
    """
    planted = fleet_faults(settings) if faults is None else faults
    for fault in planted:
        if not (0 <= fault.node < settings.nodes and 0 < fault.first < fault.last <= settings.rows):
            raise ConfigurationError(f"{fault} lies outside of {settings.nodes} nodes and rows 1 to {settings.rows}")
    times = start + _STEP_NS * np.arange(settings.rows, dtype=np.int64)
    together = _jobs(settings, "fleet", times)
    is_shared = _shared_rows(settings)
    values = np.empty((settings.nodes, settings.rows, settings.sensors), np.float32)
    labels = np.zeros((settings.nodes, settings.rows), np.uint8)
    for node in range(settings.nodes):
        own = [fault for fault in planted if fault.node == node]
        loads = np.where(is_shared, together, _jobs(settings, f"node-{node}", times))
        values[node] = _node(settings, node, times, loads, own)
        for fault in own:
            labels[node, fault.first : fault.last] = 1
    return HpcFleetRecording(
        tuple(f"node-{node}" for node in range(settings.nodes)), settings.features, read_only(times),
        read_only(values), read_only(labels), tuple(planted), settings.training_rows,
    )  # fmt: skip


def _rows_of(kind: FleetFaultKind) -> int:
    return round(_LENGTHS[kind] * 12)


def _jobs(settings: HpcFleetSettings, who: str, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Loads of a sequence of jobs, float64[5, rows]: three hours each on average, lighter at night."""
    rows = len(times)
    job = hold_index(generator(settings.seed, who, "jobs"), rows, STEP_SECONDS, 10_800.0, 1_200.0)
    count = int(job[-1]) + 1
    kinds = generator(settings.seed, who, "kinds").choice(len(_JOBS), size=count, p=_JOB_SHARES)
    intensity = generator(settings.seed, who, "intensity").uniform(0.75, 1.05, count)[job]
    return _JOBS[kinds[job]].T * intensity * (0.88 + daily_swing(times, 0.12, peak_hour=14.0))


def _shared_rows(settings: HpcFleetSettings) -> NDArray[np.bool_]:
    job = hold_index(generator(settings.seed, "fleet", "jobs"), settings.rows, STEP_SECONDS, 10_800.0, 1_200.0)
    coins = generator(settings.seed, "fleet", "shared").random(int(job[-1]) + 1)
    return np.asarray(coins[job] < settings.shared_load)


def _node(
    settings: HpcFleetSettings,
    node: int,
    times: NDArray[np.int64],
    loads: NDArray[np.float64],
    faults: list[FleetFault],
) -> NDArray[np.float32]:
    """Readings of one node under its faults, float32[rows, sensors]."""
    rows, asset = len(times), f"node-{node}"

    def noise(name: str, deviation: float) -> NDArray[np.float64]:
        return autoregressive_noise(generator(settings.seed, asset, name), rows, deviation, 900.0, STEP_SECONDS)

    wander = np.stack([1.0 + noise(name, 0.05) for name in _LOADS])
    cores, traffic, footprint, network, storage = loads * wander
    # Governor: by default the frequency yields with load; "powersave" caps it, "performance" pins it.
    frequency = 3_350.0 - 450.0 * cores - 90.0 * traffic
    slowed, warmed = np.zeros(rows), np.zeros(rows)
    for fault in faults:
        inside = slice(fault.first, fault.last)
        if fault.kind is FleetFaultKind.GOVERNOR:
            capped = frequency[inside] - fault.severity * 260.0 * cores[inside]
            pinned = frequency[inside] + fault.severity * (3_350.0 - frequency[inside])
            frequency[inside] = capped if node % 2 == 0 else pinned
        elif fault.kind is FleetFaultKind.FAN:
            ramp = np.arange(1, fault.last - fault.first + 1) / (fault.last - fault.first)
            slowed[inside], warmed[inside] = 0.25 * fault.severity * ramp, 5.0 * fault.severity * ramp
    speed = frequency / 3_350.0
    power = 60.0 + 290.0 * cores * speed**2 + 45.0 * traffic + 12.0 * storage
    season = settings.season_c * np.arange(rows) / rows
    inlet = 21.0 + season + daily_swing(times, 1.2, peak_hour=15.0) + noise("inlet", 0.2)
    heat = first_order_lag(power, 240.0, STEP_SECONDS)
    fan = 3_200.0 + 11.0 * heat + 60.0 * (inlet - 21.0)
    features = settings.features
    gains = np.exp(settings.gain_spread * generator(settings.seed, asset, "gains").standard_normal(len(features)))
    # What a counter counts is the same on all nodes.
    mixture = generator(settings.seed, "counters").dirichlet(np.full(5, 0.6), len(features))
    bend = generator(settings.seed, "bend").uniform(0.6, 1.6, len(features))
    five = np.maximum(np.stack([cores, traffic, footprint, network, storage]), 0.0)
    out = np.empty((rows, len(features)))
    for column, name in enumerate(features):
        kind, number = name.rsplit("_", 1)
        first = number == "0"
        place = 0.02 * int(number)
        if kind == "core_utilisation":
            clean, deviation = 100.0 * cores * (1.0 - place), 0.8
        elif kind == "frequency":
            clean, deviation = frequency * (1.0 - 0.1 * place), 12.0
        elif kind == "power":
            clean, deviation = power * (0.3 + place) + 20.0 * traffic * place, 1.5
        elif kind == "temperature":
            clean, deviation = inlet + 10.0 + (0.10 + 0.2 * place) * heat + (warmed * cores if first else 0.0), 0.3
        elif kind == "fan":
            clean, deviation = fan * (1.0 + place) * (1.0 - (slowed if first else 0.0)), 30.0
        else:
            clean, deviation = 1_000.0 * (mixture[column] @ five) ** bend[column], 8.0
        white = generator(settings.seed, asset, "sensor", name).standard_normal(rows)
        out[:, column] = gains[column] * clean + deviation * white
    values = np.maximum(out, 0.0).astype(np.float32)
    clean_values = values.copy()
    for fault in faults:
        _distort(settings, fault, clean_values, values, times)
    return values


def _distort(
    settings: HpcFleetSettings,
    fault: FleetFault,
    clean: NDArray[np.float32],
    values: NDArray[np.float32],
    times: NDArray[np.int64],
) -> None:
    """Faults of sensors, written into `values`."""
    kinds = {FleetFaultKind.STUCK: FaultKind.STUCK, FleetFaultKind.UNTIED: FaultKind.BROKEN_CORRELATION}
    if fault.kind not in kinds and fault.kind is not FleetFaultKind.OFFSET:
        return
    random = generator(settings.seed, f"node-{fault.node}", "where", str(fault.kind))
    columns = random.choice(len(settings.features), 3 if fault.kind is FleetFaultKind.UNTIED else 1, replace=False)
    inside = slice(fault.first, fault.last)
    for column in columns:
        reading = clean[:, column]
        if fault.kind is FleetFaultKind.OFFSET:
            values[inside, column] = reading[inside] + 0.5 * fault.severity * float(np.std(reading, dtype=np.float64))
        else:
            name = settings.features[column]
            planted = Fault(
                kinds[fault.kind], f"node-{fault.node}", (name,), int(times[fault.first]),
                int(times[fault.last - 1]) + _STEP_NS,
            )  # fmt: skip
            values[inside, column] = distort(planted, name, reading, fault.first, fault.last, STEP_SECONDS)
