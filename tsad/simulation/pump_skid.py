"""A centrifugal pump skid: eight channels that physics ties together.

A demand set-point moves the speed and the control valve; speed and valve give the flow; flow and speed give the head
and so the pressures; hydraulic power gives the motor current; losses warm the bearing slowly; running off the best
efficiency point shakes the shaft. Every channel carries measurement noise of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.signals import autoregressive_noise, daily_swing, first_order_lag, generator, hold_index

__all__ = ["PUMP_CHANNELS", "PumpSkidSettings", "simulate_pump_skid"]

PUMP_CHANNELS = (
    "speed_rpm",
    "flow_m3_h",
    "suction_pressure_bar",
    "discharge_pressure_bar",
    "motor_current_a",
    "bearing_temperature_c",
    "vibration_mm_s",
    "valve_position_percent",
)

# Standard deviation of each transmitter's own white noise, in the channel's unit, in the order above.
_TRANSMITTER_NOISE = (1.2, 0.35, 0.004, 0.012, 0.22, 0.05, 0.035, 0.12)

_RATED_SPEED_RPM = 2_950.0
_RATED_FLOW_M3_H = 120.0
_SHUTOFF_PRESSURE_BAR = 6.2
_FALLING_PRESSURE_BAR = 1.9  # lost between shut-off and rated flow


@dataclass(frozen=True)
class PumpSkidSettings:
    """How lively the pump skid's day is.

    Attributes
    ----------
    set_point_seconds : float
        Mean time between changes of the demand set-point, seconds.
    shortest_set_point_seconds : float
        Shortest time between two changes, seconds.
    lowest_demand, highest_demand : float
        Range of set-points as shares of the rated demand, 0 < lowest < highest ≤ 1.
    daily_demand : float
        Amplitude of the daily swing of the demand, share of the rated demand.
    disturbance : float
        Standard deviation of the process disturbance that all channels share, share of the rated demand.
    bearing_seconds : float
        Thermal time constant of the bearing, seconds.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    set_point_seconds: float = 900.0
    shortest_set_point_seconds: float = 180.0
    lowest_demand: float = 0.6
    highest_demand: float = 0.95
    daily_demand: float = 0.03
    disturbance: float = 0.008
    bearing_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not 0.0 < self.shortest_set_point_seconds < self.set_point_seconds:
            raise ConfigurationError(
                f"pump.shortest_set_point_seconds {self.shortest_set_point_seconds} must be above 0 and below"
                f" pump.set_point_seconds {self.set_point_seconds}"
            )
        if not 0.0 < self.lowest_demand < self.highest_demand <= 1.0:
            raise ConfigurationError(
                f"pump.lowest_demand {self.lowest_demand} and pump.highest_demand {self.highest_demand} must keep"
                " 0 < lowest < highest <= 1"
            )
        if not (0.0 <= self.daily_demand <= 0.2 and 0.0 < self.disturbance <= 0.05):
            raise ConfigurationError(
                f"pump.daily_demand {self.daily_demand} must be in [0, 0.2] and pump.disturbance"
                f" {self.disturbance} in (0, 0.05]"
            )
        if not self.bearing_seconds > 0.0:
            raise ConfigurationError(f"pump.bearing_seconds {self.bearing_seconds} must be above 0")


def simulate_pump_skid(
    settings: PumpSkidSettings, seed: int, asset: str, times: NDArray[np.int64], step: float
) -> NDArray[np.float32]:
    """Simulate the clean readings of one pump skid.

    Parameters
    ----------
    settings : PumpSkidSettings
        How lively it is.
    seed : int
        The plant's seed.
    asset : str
        Path of the pump; pumps of different names differ.
    times : int64[rows]
        Event times, nanoseconds UTC.
    step : float
        Seconds between rows.

    Returns
    -------
    float32[rows, 8]
        Readings in the order of `PUMP_CHANNELS`.
    """
    rows = times.size

    def noise(name: str, deviation: float, time_constant: float) -> NDArray[np.float64]:
        return autoregressive_noise(generator(seed, asset, name), rows, deviation, time_constant, step)

    index = hold_index(
        generator(seed, asset, "holds"),
        rows,
        step,
        settings.set_point_seconds,
        settings.shortest_set_point_seconds,
    )
    levels = generator(seed, asset, "levels").uniform(
        settings.lowest_demand, settings.highest_demand, int(index[-1]) + 1
    )
    set_point = levels[index] + daily_swing(times, settings.daily_demand, peak_hour=14.0)
    disturbance = noise("disturbance", settings.disturbance, 15.0)

    # The drive follows within 20 s, the valve within 8 s; the disturbance reaches both.
    demand = first_order_lag(set_point, 20.0, step) + disturbance
    opening = first_order_lag(set_point, 8.0, step) + 0.6 * disturbance
    speed = 0.35 + 0.62 * demand
    flow = speed * (0.25 + 0.75 * opening)
    tank_level = noise("tank level", 0.03, 1_800.0)
    suction = 1.8 + tank_level - 0.45 * flow**2
    lift = _SHUTOFF_PRESSURE_BAR * speed**2 - _FALLING_PRESSURE_BAR * flow**2
    # Efficiency falls away from the best point, and the idle losses grow with the speed.
    efficiency = 0.78 - 0.35 * (flow - 0.75) ** 2
    power = flow * lift / efficiency
    current = 14.0 * speed + 9.5 * power
    ambient = 24.0 + daily_swing(times, 4.0, peak_hour=15.0) + noise("ambient", 0.3, 1_200.0)
    bearing = ambient + first_order_lag(18.0 * speed**2 + 3.5 * power, settings.bearing_seconds, step)
    turbulence = 1.0 + noise("turbulence", 0.03, 4.0)
    vibration = (0.9 + 1.6 * speed**2 + 6.0 * (flow - 0.75) ** 2) * turbulence

    columns = (
        _RATED_SPEED_RPM * speed,
        _RATED_FLOW_M3_H * flow,
        suction,
        suction + lift,
        current,
        bearing,
        vibration,
        100.0 * (0.1 + 0.85 * opening),
    )
    values = np.empty((rows, len(PUMP_CHANNELS)), dtype=np.float32)
    for column, (channel, clean) in enumerate(zip(PUMP_CHANNELS, columns, strict=True)):
        white = generator(seed, asset, "transmitter", channel).standard_normal(rows)
        values[:, column] = clean + _TRANSMITTER_NOISE[column] * white
    return values
