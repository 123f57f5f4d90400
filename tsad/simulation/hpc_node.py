"""An HPC node: thirty metrics driven by the kind of job that runs.

Jobs of five kinds follow one another. A job's kind sets six latent loads (cores, memory traffic, memory footprint,
network, disk reads, disk writes), each wandering a little around its level; the metrics are smooth functions of
them. Power heats, heat drives fans, temperature throttles the frequency. Nodes are alike but not equal: each has its
own gains.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.signals import autoregressive_noise, daily_swing, first_order_lag, generator, hold_index

__all__ = ["NODE_METRICS", "REGIMES", "HpcNodeSettings", "simulate_hpc_node"]

REGIMES = ("idle", "compute", "memory_bound", "input_output", "communication")

# What each regime asks for, as shares of the node's capacity, in the order of _LOADS.
_LOADS = ("cores", "traffic", "footprint", "network", "reads", "writes")
_REGIME_LOADS = np.array(
    [
        [0.04, 0.03, 0.08, 0.02, 0.02, 0.02],
        [0.93, 0.25, 0.35, 0.08, 0.04, 0.05],
        [0.70, 0.88, 0.75, 0.10, 0.05, 0.05],
        [0.30, 0.25, 0.40, 0.15, 0.70, 0.55],
        [0.60, 0.40, 0.45, 0.80, 0.06, 0.08],
    ]
)
# How often a new job is of each kind.
_REGIME_SHARES = (0.2, 0.3, 0.2, 0.15, 0.15)

# Metric and standard deviation of its own white noise, in its unit.
_METRICS: tuple[tuple[str, float], ...] = (
    ("cpu_utilisation_percent", 0.6),
    ("cpu_user_percent", 0.6),
    ("cpu_system_percent", 0.15),
    ("cpu_iowait_percent", 0.12),
    ("load_average_1m", 0.3),
    ("cpu_frequency_mhz", 8.0),
    ("instructions_per_cycle", 0.02),
    ("cpu_power_w", 2.0),
    ("memory_power_w", 0.4),
    ("node_power_w", 3.0),
    ("cpu_0_temperature_c", 0.25),
    ("cpu_1_temperature_c", 0.25),
    ("memory_temperature_c", 0.15),
    ("inlet_temperature_c", 0.08),
    ("outlet_temperature_c", 0.12),
    ("fan_1_speed_rpm", 25.0),
    ("fan_2_speed_rpm", 25.0),
    ("memory_used_gib", 0.25),
    ("memory_cached_gib", 0.15),
    ("memory_bandwidth_gib_s", 1.0),
    ("page_faults_per_s", 45.0),
    ("context_switches_per_s", 160.0),
    ("interrupts_per_s", 120.0),
    ("network_receive_mib_s", 6.0),
    ("network_transmit_mib_s", 6.0),
    ("network_packets_per_s", 700.0),
    ("disk_read_mib_s", 3.0),
    ("disk_write_mib_s", 3.0),
    ("disk_io_time_percent", 0.3),
    ("processes_running", 0.5),
)
NODE_METRICS = tuple(name for name, _ in _METRICS)


@dataclass(frozen=True)
class HpcNodeSettings:
    """How busy the nodes are.

    Attributes
    ----------
    job_seconds : float
        Mean length of a job, seconds.
    shortest_job_seconds : float
        Shortest job, seconds.
    wander : float
        Standard deviation of each latent load around its job's level, share of the level.
    gain_spread : float
        Standard deviation of the log gains by which nodes differ.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    job_seconds: float = 600.0
    shortest_job_seconds: float = 90.0
    wander: float = 0.03
    gain_spread: float = 0.04

    def __post_init__(self) -> None:
        if not 0.0 < self.shortest_job_seconds < self.job_seconds:
            raise ConfigurationError(
                f"node.shortest_job_seconds {self.shortest_job_seconds} must be above 0 and below"
                f" node.job_seconds {self.job_seconds}"
            )
        if not (0.0 < self.wander <= 0.2 and 0.0 <= self.gain_spread <= 0.2):
            raise ConfigurationError(
                f"node.wander {self.wander} must be in (0, 0.2] and node.gain_spread {self.gain_spread} in [0, 0.2]"
            )


def simulate_hpc_node(
    settings: HpcNodeSettings, seed: int, asset: str, times: NDArray[np.int64], step: float
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Simulate the clean metrics of one node and the jobs behind them.

    Parameters
    ----------
    settings : HpcNodeSettings
        How busy it is.
    seed : int
        The plant's seed.
    asset : str
        Path of the node; it decides the node's gains and jobs.
    times : int64[rows]
        Event times, nanoseconds UTC.
    step : float
        Seconds between rows.

    Returns
    -------
    values : float32[rows, 30]
        Metrics in the order of `NODE_METRICS`, never below zero.
    regimes : int8[rows]
        Index of the running job's kind in `REGIMES`.
    """
    rows = times.size

    def noise(name: str, deviation: float, time_constant: float) -> NDArray[np.float64]:
        return autoregressive_noise(generator(seed, asset, name), rows, deviation, time_constant, step)

    job = hold_index(generator(seed, asset, "jobs"), rows, step, settings.job_seconds, settings.shortest_job_seconds)
    jobs = int(job[-1]) + 1
    kinds = generator(seed, asset, "kinds").choice(len(REGIMES), size=jobs, p=_REGIME_SHARES)
    regimes = kinds[job]
    # Jobs of one kind differ among each other by a tenth.
    intensity = generator(seed, asset, "intensity").uniform(0.9, 1.05, jobs)[job]
    loads = []
    for position, name in enumerate(_LOADS):
        level = _REGIME_LOADS[regimes, position] * intensity
        wandering = 1.0 + noise(name, settings.wander, 12.0)
        # Memory fills slowly; everything else follows a job's start within seconds.
        loads.append(first_order_lag(level, 25.0 if name == "footprint" else 3.0, step) * wandering)
    cores, traffic, footprint, network, reads, writes = loads
    disk = 0.5 * (reads + writes)

    gains = np.exp(settings.gain_spread * generator(seed, asset, "gains").standard_normal(len(_METRICS)))
    inlet = 21.0 + daily_swing(times, 1.2, peak_hour=15.0) + noise("inlet", 0.2, 900.0)
    processor_power = 55.0 + 330.0 * cores + 35.0 * traffic
    memory_power = 9.0 + 42.0 * traffic + 6.0 * footprint
    heat = first_order_lag(processor_power, 30.0, step)
    warmth = first_order_lag(processor_power + memory_power, 90.0, step)
    hot = inlet + 12.0 + 0.115 * heat
    fan = 3_200.0 + 11.0 * warmth + 60.0 * (inlet - 21.0)
    # Above 58 °C the frequency is given back gently.
    frequency = 3_350.0 - 500.0 * cores - 9.0 * np.maximum(hot - 58.0, 0.0) + 60.0 * (1.0 - traffic)
    packets = 300.0 + 52_000.0 * network

    columns = (
        100.0 * (0.93 * cores + 0.05 * disk + 0.02 * network),
        90.0 * cores,
        1.0 + 3.0 * cores + 6.0 * disk + 4.0 * network,
        0.6 + 16.0 * disk,
        first_order_lag(64.0 * cores + 10.0 * disk, 60.0, step) + 1.0,
        frequency,
        0.6 + 2.1 * cores / (0.6 + 1.4 * traffic),
        processor_power,
        memory_power,
        95.0 + 1.06 * (processor_power + memory_power) + 0.006 * fan + 12.0 * disk,
        hot,
        hot + 1.5 + 0.004 * heat,
        inlet + 9.0 + first_order_lag(0.42 * memory_power, 60.0, step) + 0.01 * warmth,
        inlet,
        inlet + 4.0 + 0.028 * warmth,
        fan,
        1.02 * fan,
        6.0 + 240.0 * footprint,
        14.0 + first_order_lag(60.0 * disk, 120.0, step),
        1.0 + 185.0 * traffic,
        400.0 + 5_200.0 * footprint * (0.3 + traffic),
        1_500.0 + 9_000.0 * cores + 16_000.0 * (disk + network),
        1_200.0 + 4_500.0 * cores + 0.12 * packets + 9_000.0 * disk,
        2.0 + 1_050.0 * network,
        2.0 + 980.0 * network + 40.0 * writes,
        packets,
        1.0 + 620.0 * reads,
        1.0 + 480.0 * writes,
        0.8 + 95.0 * disk,
        2.0 + 64.0 * cores,
    )
    values = np.empty((rows, len(_METRICS)), dtype=np.float32)
    for position, ((name, deviation), clean) in enumerate(zip(_METRICS, columns, strict=True)):
        white = generator(seed, asset, "sensor", name).standard_normal(rows)
        values[:, position] = np.maximum(gains[position] * clean + deviation * white, 0.0)
    return values, regimes.astype(np.int8)
