"""Faults of a sensor or an asset: what they are, and how each changes a clean recording.

A fault says *what* happens *where* and *when*; `distort` says what that does to the clean readings. It is a pure
function: the same fault on the same clean readings gives the same faulty readings, and nothing outside the fault's
rows is touched. Severities are told in units of the local noise, so that one number means the same difficulty on a
pressure of 5 bar and on a speed of 2,900 rpm.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.simulation.signals import NANOSECONDS_PER_SECOND

__all__ = ["Fault", "FaultKind", "distort", "local_noise", "resolve"]

# Rows on either side of the fault that count as "local" when the noise is measured.
_NOISE_MARGIN = 60


class FaultKind(StrEnum):
    """The kinds of fault; `docs/simulator.md` tells what each does and what its severity means."""

    STUCK = "stuck"
    DRIFT = "drift"
    SPIKE = "spike"
    LEVEL_SHIFT = "level_shift"
    VARIANCE_CHANGE = "variance_change"
    BROKEN_CORRELATION = "broken_correlation"
    OSCILLATION = "oscillation"
    SILENCE = "silence"


@dataclass(frozen=True)
class Fault:
    """One fault of one asset.

    Attributes
    ----------
    kind : FaultKind
        What happens.
    asset : str
        Path of the asset.
    channels : tuple of str
        Channels it happens to; must be empty for `silence`, which takes the whole asset (a resolved silence names
        them all).
    start, end : int
        Event times, nanoseconds UTC; rows with `start <= time < end` are touched.
    severity : float
        Size in units of the local noise (standard deviation of the fast noise of the channel around the fault). A
        negative one points downwards. Without meaning for `stuck`, `broken_correlation` and `silence`.
    period_seconds : float
        Period of an `oscillation`.
    seed : int
        Seed of the noise that a `variance_change` adds.

    Raises
    ------
    ConfigurationError
        When the times, the severity, the period or the channels make no such fault.
    """

    kind: FaultKind
    asset: str
    channels: tuple[str, ...]
    start: int
    end: int
    severity: float = 8.0
    period_seconds: float = 24.0
    seed: int = 0

    def __post_init__(self) -> None:
        name = f"fault {self.kind!s} of {self.asset!r}"
        if self.start >= self.end:
            raise ConfigurationError(f"{name}: start {self.start} must be before end {self.end}")
        if not math.isfinite(self.severity) or self.severity == 0.0:
            raise ConfigurationError(f"{name}: severity {self.severity} must be finite and not zero")
        if self.kind is FaultKind.VARIANCE_CHANGE and self.severity <= 1.0:
            raise ConfigurationError(
                f"{name}: severity {self.severity} is the new noise over the old; it must be above 1"
            )
        if self.kind is FaultKind.OSCILLATION and not self.period_seconds > 0.0:
            raise ConfigurationError(f"{name}: period_seconds {self.period_seconds} must be above 0")
        if self.kind is not FaultKind.SILENCE and not self.channels:
            raise ConfigurationError(f"{name}: name at least one channel")
        if len(set(self.channels)) != len(self.channels):
            raise ConfigurationError(f"{name}: channels {self.channels} name one twice")
        if self.seed < 0:
            raise ConfigurationError(f"{name}: seed {self.seed} must not be negative")


def local_noise(column: NDArray[np.float32], first: int, last: int) -> float:
    """Measure the fast noise of a clean channel around rows `first` to `last`.

    The spread of the first differences is taken robustly (median absolute deviation), so that set-point changes and
    job starts nearby do not count as noise.

    Parameters
    ----------
    column : float32[rows]
        Clean readings.
    first, last : int
        Rows of the fault, `first <= row < last`; 60 rows on either side are looked at too.

    Returns
    -------
    float
        Standard deviation in the channel's unit, always above zero: at least a thousandth of the channel's overall
        deviation, and for a constant channel a thousandth of its size.
    """
    near = column[max(0, first - _NOISE_MARGIN) : last + _NOISE_MARGIN].astype(np.float64)
    steps = np.diff(near)
    spread = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2.0) if steps.size else 0.0
    floor = 1e-3 * float(np.std(column, dtype=np.float64))
    if floor == 0.0:
        floor = 1e-3 * (abs(float(column[0])) or 1.0)
    return max(spread, floor)


def resolve(fault: Fault, channels: tuple[str, ...], times: NDArray[np.int64], step: int) -> Fault:
    """Snap a fault to the rows that it changes and check it against its asset.

    Parameters
    ----------
    fault : Fault
        As asked for.
    channels : tuple of str
        The asset's channels.
    times : int64[rows]
        The asset's time grid, nanoseconds UTC.
    step : int
        Nanoseconds between rows.

    Returns
    -------
    Fault
        With `start` the first row's time, `end` the time of the first row no longer changed (one step past the last
        row where the fault outlives the recording), and for `silence` all channels.

    Raises
    ------
    ConfigurationError
        When a channel is unknown, no row lies in the fault, or the kind needs more rows than it has.
    """
    name = f"fault {fault.kind!s} of {fault.asset!r}"
    silence = fault.kind is FaultKind.SILENCE
    if silence and fault.channels not in ((), channels):
        raise ConfigurationError(f"{name}: a silence takes the whole asset; leave its channels empty")
    unknown = sorted(set(fault.channels) - set(channels))
    if unknown:
        raise ConfigurationError(f"{name}: unknown channels {unknown}; the asset has {list(channels)}")
    first, last = (int(row) for row in np.searchsorted(times, [fault.start, fault.end]))
    if first == last:
        raise ConfigurationError(
            f"{name}: no row between {fault.start} and {fault.end}; the recording has {times.size} rows"
            f" from {int(times[0])} to {int(times[-1])}, {step} ns apart"
        )
    least = {FaultKind.BROKEN_CORRELATION: 8, FaultKind.OSCILLATION: 2, FaultKind.VARIANCE_CHANGE: 2}
    if last - first < least.get(fault.kind, 1):
        raise ConfigurationError(f"{name}: {last - first} rows; it takes at least {least[fault.kind]}")
    if fault.kind is FaultKind.OSCILLATION and fault.period_seconds * NANOSECONDS_PER_SECOND < 4 * step:
        raise ConfigurationError(
            f"{name}: period_seconds {fault.period_seconds} is too short for rows {step / NANOSECONDS_PER_SECOND} s"
            " apart; take at least four rows a period"
        )
    if fault.kind is FaultKind.STUCK and first == 0:
        raise ConfigurationError(f"{name}: it starts with the recording, so there is no reading to be stuck at")
    return dataclasses.replace(
        fault,
        channels=channels if silence else fault.channels,
        start=int(times[first]),
        end=int(times[last - 1]) + step,
    )


def distort(
    fault: Fault, channel: str, clean: NDArray[np.float32], first: int, last: int, step: float
) -> NDArray[np.float32]:
    """Return what rows `first` to `last` of one channel read under a fault.

    Parameters
    ----------
    fault : Fault
        What happens.
    channel : str
        Name of the channel.
    clean : float32[rows]
        The channel's clean readings over the whole recording.
    first, last : int
        Rows of the fault, `first <= row < last`.
    step : float
        Seconds between rows.

    Returns
    -------
    float32[last - first]
        The faulty readings; NaN under a silence.
    """
    inside = clean[first:last].astype(np.float64)
    if fault.kind is FaultKind.STUCK:
        return np.full(inside.size, clean[first - 1], dtype=np.float32)
    if fault.kind is FaultKind.SILENCE:
        return np.full(inside.size, np.nan, dtype=np.float32)
    if fault.kind is FaultKind.BROKEN_CORRELATION:
        return np.roll(clean[first:last], _decorrelating_shift(inside))
    noise = local_noise(clean, first, last)
    return (inside + noise * _OFFSETS[fault.kind](fault, channel, inside.size, step)).astype(np.float32)


def _decorrelating_shift(inside: NDArray[np.float64]) -> int:
    """Choose how far to turn the readings round in time.

    Turning keeps every value and so the marginal distribution exactly, and (unlike shuffling) all but two of the
    steps from row to row; only the tie to the other channels is lost. Among turns by a quarter to three quarters,
    the one with the least correlation to the unturned channel loses most.
    """
    rows = inside.size
    spectrum = np.fft.rfft(inside - inside.mean())
    correlation = np.abs(np.fft.irfft(spectrum * np.conj(spectrum), rows))
    quarter = rows // 4
    return quarter + int(np.argmin(correlation[quarter : rows - quarter + 1]))


def _drift(fault: Fault, _channel: str, rows: int, _step: float) -> NDArray[np.float64]:
    return fault.severity * np.arange(1, rows + 1) / rows


def _constant(fault: Fault, _channel: str, rows: int, _step: float) -> NDArray[np.float64]:
    return np.full(rows, fault.severity)


def _extra_noise(fault: Fault, channel: str, rows: int, _step: float) -> NDArray[np.float64]:
    # Independent noise adds in squares: old² + added² = (severity · old)².
    added = math.sqrt(fault.severity**2 - 1.0)
    names = (zlib.crc32(name.encode()) for name in (fault.asset, channel))
    return added * np.random.default_rng([fault.seed, *names]).standard_normal(rows)


def _oscillation(fault: Fault, _channel: str, rows: int, step: float) -> NDArray[np.float64]:
    # Half a row of phase, so that the first row already differs.
    phase = 2.0 * np.pi * (np.arange(rows, dtype=np.float64) + 0.5) * step / fault.period_seconds
    return fault.severity * np.sin(phase)


_OFFSETS: dict[FaultKind, Callable[[Fault, str, int, float], NDArray[np.float64]]] = {
    FaultKind.DRIFT: _drift,
    FaultKind.SPIKE: _constant,
    FaultKind.LEVEL_SHIFT: _constant,
    FaultKind.VARIANCE_CHANGE: _extra_noise,
    FaultKind.OSCILLATION: _oscillation,
}
