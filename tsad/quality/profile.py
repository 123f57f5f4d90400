"""What is usual of a sensor, learnt from the training part."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.kernels.sensors import COUNTER_RULE, HIGH_RULE, JUMP_RULE, LOW_RULE, STUCK_RULE, UNIT_RULE
from tsad.quality.settings import SensorSettings

__all__ = ["ChannelProfile", "learn_channel"]

_LEAST_CHANGES = 40
_MOVING_SHARE = 0.5  # of rows that differ from the one before; what moves less rests legitimately
_LEAST_STUCK_ROWS = 30
# Spikes are looked for where the rate is physical: a channel that crosses much of its reach in a step may do so again.
_MOST_REACHES = 1.5  # that the limit of a step may span
_MOST_BURST = 20.0  # largest usual step in units of their root mean square
_LEAST_END_ROWS = 10
_RESTS_AT_END = 0.05  # share of rows at an end of the range from which on that is where the process is
_RISING_SHARE = 0.2
_END = 1e-3  # of the measuring range: as near counts as being there


@dataclass(frozen=True, slots=True)
class ChannelProfile:
    """What a channel does when all is well; field names are those of the arrays of `tsad.quality.sensors`."""

    rules: int = 0
    resolution: float = 0.0
    stuck_after: int = 0
    usual_step: float = 0.0
    limit: float = 0.0
    step_rms: float = 0.0
    lowest: float = 0.0
    highest: float = 0.0
    low_end: float = 0.0
    high_end: float = 0.0
    low_after: int = 0
    high_after: int = 0


def learn_channel(values: npt.NDArray[np.float32], name: str, settings: SensorSettings) -> ChannelProfile:
    """Learn one channel.

    Parameters
    ----------
    values
        float32[t], the training part, NaN where missing.
    name, settings
        The channel, and what is looked for.

    Examples
    --------
    >>> level = np.random.default_rng(0).standard_normal(500).cumsum().astype(np.float32)
    >>> found = learn_channel(level, "level", SensorSettings())
    >>> found.stuck_after, found.rules == STUCK_RULE | JUMP_RULE | UNIT_RULE
    (30, True)
    """
    known = values[~np.isnan(values)].astype(np.float64)
    steps = np.diff(known)
    size = np.abs(steps)
    moved = size[size > 0]
    if name in settings.counters:
        return ChannelProfile()
    rules, ends = 0, (0.0, 0.0)
    low_after = high_after = 0
    if name in settings.full_scale:
        low, high = settings.full_scale[name]
        ends = (low + _END * (high - low), high - _END * (high - low))
        at_low, at_high = known <= ends[0], known >= ends[1]
        for rule, at_end in ((LOW_RULE, at_low), (HIGH_RULE, at_high)):
            if len(known) and at_end.mean() < _RESTS_AT_END:
                rules |= rule
        low_after, high_after = (
            max(_LEAST_END_ROWS, round(settings.stuck_factor * longest_run(at_end))) for at_end in (at_low, at_high)
        )
    if len(moved) < _LEAST_CHANGES:
        return ChannelProfile(
            rules=rules, low_end=ends[0], high_end=ends[1], low_after=low_after, high_after=high_after
        )
    # Half of the smallest change is below the sensor's quantisation step.
    resolution = 0.5 * float(moved.min())
    usual_step, lowest, highest = float(size.max()), float(known.min()), float(known.max())
    if (steps >= 0).all() and len(moved) >= _RISING_SHARE * len(steps) and name not in settings.states:
        return ChannelProfile(
            rules=rules | COUNTER_RULE, resolution=resolution, lowest=lowest, highest=highest, low_end=ends[0],
            high_end=ends[1], low_after=low_after, high_after=high_after,
        )  # fmt: skip
    stuck_after = max(_LEAST_STUCK_ROWS, round(settings.stuck_factor * (1 + longest_run(size <= resolution))))
    moving = len(moved) >= _MOVING_SHARE * len(steps)
    if settings.stuck and moving and name not in settings.states and stuck_after < len(known):
        rules |= STUCK_RULE
    step_rms = float(np.sqrt(np.mean(steps**2)))
    limit = settings.spike_factor * usual_step
    smooth = limit <= _MOST_REACHES * (highest - lowest) and usual_step <= _MOST_BURST * step_rms
    if settings.spikes and moving and smooth:
        rules |= JUMP_RULE
    if settings.units and moving:
        rules |= UNIT_RULE
    return ChannelProfile(
        rules=rules,
        resolution=resolution,
        stuck_after=stuck_after,
        usual_step=usual_step,
        limit=limit,
        step_rms=step_rms,
        lowest=lowest,
        highest=highest,
        low_end=ends[0],
        high_end=ends[1],
        low_after=low_after,
        high_after=high_after,
    )


def longest_run(there: npt.NDArray[np.bool_]) -> int:
    """How many true values follow one another at most.

    Examples
    --------
    >>> longest_run(np.array([True, False, True, True]))
    2
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
