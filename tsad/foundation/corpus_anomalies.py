"""Anomalies of the synthetic corpus: changes of a segment, and the rule by which a change earns a label."""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from tsad.foundation.corpus_signals import normal_series
from tsad.kernels.corpus import nearest_distance, roughness_gap

__all__ = ["ANOMALIES", "inject", "visible"]

Series = npt.NDArray[np.float64]
Generator = np.random.Generator

_LEAST_RATIO = 1.6
_LEAST_ROUGHNESS = 0.7
_MATCHED_POINTS = 24


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _size(rng: Generator, x: Series) -> float:
    """Size of a change: some deviations of the series, or of its steps, either sign."""
    return float(rng.choice([-1, 1]) * _log_uniform(rng, 0.6, 6) * (x.std() + 1e-3))


def spikes(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Add one or more spikes of one to three steps within the segment."""
    y = x.copy()
    size = _size(rng, x) * 1.5
    for _ in range(1 if b - a < 8 else int(rng.integers(1, 6))):
        at = int(rng.integers(a, b))
        y[at : min(at + int(rng.integers(1, 4)), b)] += size * rng.uniform(0.7, 1.3)
    return y


def level(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Shift the segment, with sharp or soft edges."""
    y = x.copy()
    edge = max(1, int((b - a) * rng.choice([0, 0, 0.1, 0.3])))
    t = np.arange(b - a)
    y[a:b] += _size(rng, x) * np.minimum(1, np.minimum(t + 1, b - a - t) / edge)
    return y


def ramp(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Drift away and drop back, or rise and fall as a tent."""
    y = x.copy()
    t = np.linspace(0, 1, b - a)
    y[a:b] += _size(rng, x) * (t if rng.random() < 0.5 else 1 - np.abs(2 * t - 1))
    return y


def decay(rng: Generator, x: Series, a: int, b: int) -> Series:
    """A jump that fades."""
    y = x.copy()
    y[a:b] += 1.5 * _size(rng, x) * np.exp(-4 * np.linspace(0, 1, b - a))
    return y


def speed(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Play the segment faster or slower, or with a phase that swings out and back."""
    y = x.copy()
    n = b - a
    if rng.random() < 0.5:
        factor = _log_uniform(rng, 1.4, 4) ** rng.choice([-1, 1])
        at = a + np.arange(n) * factor
    else:
        at = a + np.arange(n) + rng.choice([-1, 1]) * rng.uniform(0.2, 0.6) * n * np.sin(np.pi * np.arange(n) / n)
    low, high = 0, len(x) - 1
    span = high - low
    # What runs over the end comes back from it, so that no flat end is made by accident.
    at = low + np.abs((at - low + span) % (2 * span) - span)
    y[a:b] = np.interp(at, np.arange(len(x)), x)
    return y


def flat(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Stuck at the last value, at a usual one, at an extreme, or dropped out to nothing."""
    y = x.copy()
    kind = rng.integers(4)
    value = (x[a], float(np.median(x)), x.min() if rng.random() < 0.5 else x.max(), x.min() - abs(_size(rng, x)) / 2)
    y[a:b] = value[kind]
    if rng.random() < 0.3:
        y[a:b] += 0.05 * x.std() * rng.standard_normal(b - a)
    return y


def noise(rng: Generator, x: Series, a: int, b: int) -> Series:
    """A burst of noise."""
    y = x.copy()
    y[a:b] += _log_uniform(rng, 0.4, 3) * (x.std() + 1e-3) * rng.standard_normal(b - a)
    return y


def foreign(rng: Generator, x: Series, a: int, b: int) -> Series:
    """Another signal with the mean and deviation of the segment it replaces, or nearly."""
    y = x.copy()
    z = normal_series(rng, max(b - a, 128))[: b - a]
    z = (z - z.mean()) / (z.std() + 1e-9)
    y[a:b] = x[a:b].mean() + z * (x[a:b].std() + 0.05 * x.std()) * _log_uniform(rng, 0.7, 1.5)
    return y


def turned(rng: Generator, x: Series, a: int, b: int) -> Series:
    """The segment backwards, upside down, or another stretch of the same series in its place."""
    y = x.copy()
    kind = rng.integers(3)
    if kind == 0:
        y[a:b] = x[a:b][::-1]
    elif kind == 1:
        y[a:b] = 2 * x[a:b].mean() - x[a:b]
    else:
        start = int(rng.integers(0, len(x) - (b - a) + 1))
        y[a:b] = x[start : start + b - a]
    return y


def amplitude(rng: Generator, x: Series, a: int, b: int) -> Series:
    """The segment larger or smaller around its mean, or around the series' mean."""
    y = x.copy()
    factor = _log_uniform(rng, 1.5, 4) if rng.random() < 0.5 else rng.uniform(0, 0.5)
    centre = x[a:b].mean() if rng.random() < 0.5 else x.mean()
    y[a:b] = centre + factor * (x[a:b] - centre)
    return y


def smoothed(rng: Generator, x: Series, a: int, b: int) -> Series:
    """The segment without its quick part."""
    y = x.copy()
    width = int(np.clip((b - a) * rng.uniform(0.1, 0.5), 2, 64))
    padded = np.pad(x[a:b], (width // 2, width - 1 - width // 2), mode="edge")
    y[a:b] = np.convolve(padded, np.ones(width) / width, "valid")
    return y


def clipped(rng: Generator, x: Series, a: int, b: int) -> Series:
    """The segment cut off above or below."""
    y = x.copy()
    limit = np.quantile(x[a:b], rng.uniform(0.3, 0.7))
    y[a:b] = np.minimum(x[a:b], limit) if rng.random() < 0.5 else np.maximum(x[a:b], limit)
    return y


def oscillation(rng: Generator, x: Series, a: int, b: int) -> Series:
    """A frequency that was not there."""
    y = x.copy()
    t = np.arange(b - a)
    y[a:b] += _size(rng, x) * 0.6 * np.sin(2 * np.pi * (t / _log_uniform(rng, 3, max(6, (b - a) / 2)) + rng.random()))
    return y


def missing_cycle(rng: Generator, x: Series, a: int, b: int) -> Series:
    """The segment bridged by a straight line: a cycle, event or swing that does not happen."""
    y = x.copy()
    y[a:b] = np.linspace(x[a - 1 if a else a], x[min(b, len(x) - 1)], b - a)
    quick = np.median(np.abs(np.diff(x))) / 0.95
    y[a:b] += min(quick, x.std() / 2) * rng.standard_normal(b - a)
    return y


ANOMALIES: tuple[tuple[Callable[[Generator, Series, int, int], Series], float], ...] = (
    (spikes, 2.5),
    (level, 2.5),
    (ramp, 1.0),
    (decay, 1.0),
    (speed, 1.0),
    (flat, 1.5),
    (noise, 1.0),
    (foreign, 1.5),
    (turned, 1.0),
    (amplitude, 1.5),
    (smoothed, 0.5),
    (clipped, 0.5),
    (oscillation, 0.8),
    (missing_cycle, 1.0),
)


@cache
def _weights(leave_out: tuple[str, ...]) -> Series:
    weights = np.array([0.0 if change.__name__ in leave_out else weight for change, weight in ANOMALIES])
    return np.asarray(weights / weights.sum())


def visible(clean: Series, changed: Series, a: int, b: int) -> bool:
    """Whether the rest of the series shows that rows a to b were changed.

    The changed segment (a little wider) must be farther from its nearest neighbour in the rest of the clean series
    than the clean segment is from its own, or of a roughness that occurs nowhere else. So a spike among like spikes,
    a copy of another cycle, and a shift that drowns in the noise earn no label.

    Parameters
    ----------
    clean, changed
        float64[n], equal outside [a, b).
    a, b
        The segment.

    Examples
    --------
    >>> x = np.sin(np.arange(400) / 5)
    >>> y = x.copy(); y[200:220] += 2
    >>> visible(x, y, 200, 220), visible(x, x, 200, 220)
    (True, False)
    """
    margin = max(2, (b - a) // 8)
    low, high = max(0, a - margin), min(len(clean), b + margin)
    if high - low > 0.45 * len(clean):
        return False
    step = max(1, (high - low) // _MATCHED_POINTS)
    floor = 0.05 * float(clean.std()) + 1e-6
    changed_distance = np.sqrt(nearest_distance(clean, changed, low, high, step))
    clean_distance = np.sqrt(nearest_distance(clean, clean, low, high, step))
    if changed_distance > _LEAST_RATIO * (clean_distance + floor):
        return True
    if b - a < 12:
        return False
    return bool(
        roughness_gap(clean, changed, a, b) > _LEAST_ROUGHNESS
        and roughness_gap(clean, clean, a, b) < 0.5 * _LEAST_ROUGHNESS
    )


def inject(
    rng: Generator,
    clean: Series,
    low: int,
    high: int,
    longest: int,
    *,
    visible_only: bool = True,
    leave_out: tuple[str, ...] = (),
) -> tuple[Series, int, int, str] | None:
    """Change a random segment that begins within [low, high).

    Returns
    -------
    The changed series, the segment and the name of the change; None where nobody could see it.
    """
    length = round(_log_uniform(rng, 1, longest))
    change, _ = ANOMALIES[rng.choice(len(ANOMALIES), p=_weights(leave_out))]
    # Anything but a spike or a shift needs some rows to have a shape.
    length = length if change in {spikes, level} else max(length, 6)
    a = int(rng.integers(low, max(low + 1, high - length + 1)))
    b = min(a + length, high)
    if b <= a:
        return None
    changed = change(rng, clean, a, b)
    # The label covers what differs: the soft ends of a ramp and the rows between spikes far apart are no anomaly.
    differs = np.flatnonzero(np.abs(changed[a:b] - clean[a:b]) > 0.1 * np.abs(changed[a:b] - clean[a:b]).max())
    if not len(differs) or not np.isfinite(changed).all():
        return None
    a, b = a + int(differs[0]), a + int(differs[-1]) + 1
    return (changed, a, b, change.__name__) if not visible_only or visible(clean, changed, a, b) else None
