"""Faults of sensors: which there are, and how they are told."""

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["UNIT_CHANGES", "Fault", "MaskedChannel", "SensorFault", "fault_rule", "words"]


class Fault(IntEnum):
    """What is wrong with a sensor."""

    NONE = 0
    SUSPECTED = 1  # not told: a spike or a change of unit, if the next rows bear it out
    STUCK = 2
    SPIKE = 3
    DROPOUT = 4
    SATURATED = 5
    LOOP_FAILURE = 6
    UNIT_CHANGE = 7
    COUNTER_RESET = 8
    CLOCK_FROZEN = 9
    CLOCK_BEHIND = 10
    CLOCK_AHEAD = 11


UNIT_CHANGES: tuple[tuple[str, float, float], ...] = (
    ("°C to °F", 1.8, 32.0),
    ("°F to °C", 1 / 1.8, -32 / 1.8),
    ("°C to K", 1.0, 273.15),
    ("K to °C", 1.0, -273.15),
    ("°F to K", 1 / 1.8, 273.15 - 32 / 1.8),
    ("K to °F", 1.8, 32 - 1.8 * 273.15),
    ("bar to kPa", 100.0, 0.0),
    ("kPa to bar", 0.01, 0.0),
    ("bar to psi", 14.503774, 0.0),
    ("psi to bar", 1 / 14.503774, 0.0),
    ("psi to kPa", 6.894757, 0.0),
    ("kPa to psi", 1 / 6.894757, 0.0),
    ("times 1000", 1000.0, 0.0),
    ("divided by 1000", 0.001, 0.0),
)
"""In words, factor and offset: new = factor · old + offset."""

_WORDS = {
    Fault.STUCK: "has not changed since {since}, much longer than usual, while the asset goes on",
    Fault.SPIKE: "jumped past any usual rate of change and back",
    Fault.DROPOUT: "dropped to nothing and came back",
    Fault.SATURATED: "stands at the end of its measuring range",
    Fault.LOOP_FAILURE: "signals a failure: its loop current is out of 3.6 to 21 mA",
    Fault.UNIT_CHANGE: "reads as if its unit had changed ({unit})",
    Fault.COUNTER_RESET: "counts anew from a lower value",
    Fault.CLOCK_FROZEN: "keeps sending the same time: its clock stands still",
    Fault.CLOCK_BEHIND: "sends times long past: its clock was set back",
    Fault.CLOCK_AHEAD: "sends times in the future: its clock is ahead",
}


@dataclass(frozen=True, slots=True)
class SensorFault:
    """A fault as it is told.

    Attributes
    ----------
    channel
        Which; None where it is the clock of the whole asset.
    kind
        Name of a `Fault`, in small letters.
    since
        Event time of its first sign, ns UTC.
    unit
        For a change of unit, from what to what.
    """

    channel: str | None
    kind: str
    since: int
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class MaskedChannel:
    """A channel that was left out of a row's scores, and why."""

    channel: str
    fault: str


def fault_rule(kind: str, channel: str | None) -> str:
    """Rule of the alarm that tells of a fault: one for each channel and kind.

    Examples
    --------
    >>> fault_rule("stuck", "flow")
    'sensor/stuck/flow'
    """
    return f"sensor/{kind}/{'' if channel is None else channel}"


def words(fault: SensorFault, since: str) -> str:
    """Return what is wrong, in words; `since` is the time as text.

    Examples
    --------
    >>> words(SensorFault("t", "unit_change", 0, "°C to °F"), "")
    't reads as if its unit had changed (°C to °F)'
    """
    said = _WORDS[Fault[fault.kind.upper()]].format(since=since, unit=fault.unit)
    return said if fault.channel is None else f"{fault.channel} {said}"
