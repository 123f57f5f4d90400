"""Normal series of the synthetic corpus: what plants, servers and people do when nothing is wrong.

Every generator takes a random generator and a length and gives float64[n] of no particular unit.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

__all__ = ["SIGNALS", "normal_series"]

Series = npt.NDArray[np.float64]
Generator = np.random.Generator


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _cycle(rng: Generator, points: int = 64) -> Series:
    """One cycle of unit size, float64[points]: harmonics, a pulse, steps, a saw, a loop, or a day and night."""
    phase = np.arange(points) / points
    kind = rng.integers(6)
    if kind == 0:
        k = np.arange(1, rng.integers(2, 9))
        weights = rng.standard_normal(len(k)) / k ** rng.uniform(0.5, 2)
        shape = weights @ np.sin(2 * np.pi * (k[:, None] * phase + rng.random((len(k), 1))))
    elif kind == 1:
        centres, widths = rng.random(3), rng.uniform(0.01, 0.15, 3)
        distance = np.abs((phase[:, None] - centres + 0.5) % 1 - 0.5)
        shape = np.exp(-0.5 * (distance / widths) ** 2) @ rng.standard_normal(3)
    elif kind == 2:
        edges = np.sort(rng.random(rng.integers(1, 6)))
        shape = rng.standard_normal(len(edges) + 1)[np.searchsorted(edges, phase)]
    elif kind == 3:
        turn = rng.uniform(0.02, 0.98)
        shape = np.where(phase < turn, phase / turn, (1 - phase) / (1 - turn)) ** rng.uniform(0.5, 2)
    elif kind == 4:
        walk = np.cumsum(rng.standard_normal(points))
        walk -= phase * walk[-1]
        width = int(rng.integers(1, 10))
        shape = np.convolve(np.concatenate([walk, walk[: width - 1]]), np.ones(width) / width, "valid")
    else:
        start, length = rng.random(), rng.uniform(0.2, 0.6)
        awake = ((phase - start) % 1 < length).astype(float)
        shape = np.convolve(np.tile(awake, 3), np.hanning(9) / np.hanning(9).sum(), "same")[points : 2 * points]
    return np.asarray((shape - shape.mean()) / (shape.std() + 1e-9))


def _repeated(rng: Generator, n: int, cycle: Series, period: float) -> Series:
    """`cycle` over and over, with jitter of phase and amplitude from cycle to cycle."""
    count = int(n / period) + 3
    jitter = rng.choice([0.0, 0.01, 0.05]) * period
    knots = (np.arange(count) - rng.random()) * period
    phase = np.interp(np.arange(n), knots + jitter * rng.standard_normal(count), np.arange(count))
    levels = 1 + rng.choice([0.0, 0.03, 0.15]) * rng.standard_normal(count)
    amplitude = np.interp(phase, np.arange(count), levels)
    position = (phase % 1) * len(cycle)
    low = position.astype(int) % len(cycle)
    share = position - np.floor(position)
    return np.asarray(amplitude * ((1 - share) * cycle[low] + share * cycle[(low + 1) % len(cycle)]))


def seasonal(rng: Generator, n: int) -> Series:
    """A repeated cycle, some with a second season that modulates it or is added (day and week)."""
    period = _log_uniform(rng, 8, n / 2.5)
    x = _repeated(rng, n, _cycle(rng), period)
    other = rng.random()
    if other < 0.2 and period * 7 < 2 * n:
        week = np.ones(7)
        week[-2:] = rng.uniform(0.2, 0.9)
        days = (np.arange(n) / period + rng.random() * 7).astype(int) % 7
        x *= week[days]
    elif other < 0.45:
        x += rng.uniform(0.2, 1) * _repeated(rng, n, _cycle(rng), _log_uniform(rng, 6, n / 3))
    return x


def sinusoids(rng: Generator, n: int) -> Series:
    """A sum of sinusoids that are no multiples of each other."""
    k = int(rng.integers(1, 6))
    periods = np.exp(rng.uniform(np.log(5), np.log(n / 2), k))
    return np.asarray(
        rng.standard_normal(k) @ np.sin(2 * np.pi * (np.arange(n) / periods[:, None] + rng.random((k, 1))))
    )


def smooth(rng: Generator, n: int) -> Series:
    """A draw of a Gaussian process by random Fourier features, with a narrow or a heavy-tailed spectrum."""
    k = 24
    length = _log_uniform(rng, 4, n / 4)
    frequency = (rng.standard_normal(k) if rng.random() < 0.5 else np.clip(rng.standard_cauchy(k), -20, 20)) / length
    x = np.cos(np.arange(n)[:, None] * frequency + rng.uniform(0, 2 * np.pi, k)).sum(axis=1) / np.sqrt(k)
    return np.asarray(x * seasonal(rng, n) if rng.random() < 0.15 else x)


def autoregressive(rng: Generator, n: int) -> Series:
    """AR(1) or AR(2) with stable, often oscillating poles; heavy-tailed now and then."""
    noise = rng.standard_normal(n + 200) if rng.random() < 0.75 else rng.standard_t(3, n + 200)
    if rng.random() < 0.6:
        poles = [1.0, -(1 - _log_uniform(rng, 0.005, 1))]
    else:
        radius, angle = 1 - _log_uniform(rng, 0.003, 0.3), 2 * np.pi / _log_uniform(rng, 4, 100)
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
    x = lfilter([1.0], poles, noise)[200:]
    return np.asarray(x / (x.std() + 1e-9))


def walk(rng: Generator, n: int) -> Series:
    """A random walk, some with rare larger steps that belong to it."""
    steps = rng.standard_normal(n)
    if rng.random() < 0.3:
        steps *= rng.random(n) < rng.uniform(0.05, 0.5)
    x = np.cumsum(steps)
    return np.asarray(x / (x.std() + 1e-9))


def white(rng: Generator, n: int) -> Series:
    """Independent values: normal, heavy-tailed, uniform or skewed."""
    kind = rng.integers(4)
    if kind == 0:
        return rng.standard_normal(n)
    if kind == 1:
        return np.asarray(np.clip(rng.standard_t(3, n), -8, 8))
    return rng.random(n) if kind == 2 else np.exp(rng.uniform(0.3, 0.9) * rng.standard_normal(n))


def counts(rng: Generator, n: int) -> Series:
    """Events counted a step, more of them at some times of a season."""
    level = _log_uniform(rng, 0.3, 60)
    rate = level * np.exp(rng.uniform(0.1, 1) * np.clip(seasonal(rng, n), -3, 3))
    return rng.poisson(np.minimum(rate, 1e4)).astype(float)


def states(rng: Generator, n: int) -> Series:
    """A few levels held for a while each, as commands and set points are; noise and a slow answer for some."""
    levels = rng.choice([0.0, 1.0, 2.0], 2, replace=False) if rng.random() < 0.4 else rng.standard_normal(4)
    typical = _log_uniform(rng, 4, n / 8)
    durations = np.maximum(1, rng.gamma(rng.choice([1.0, 8.0, 60.0]), 1.0, int(n / typical * 3) + 8))
    durations = np.maximum(1, durations / durations.mean() * typical).astype(int)
    many = len(durations)
    order = np.arange(many) % len(levels) if rng.random() < 0.6 else rng.integers(0, len(levels), many)
    held = np.repeat(levels[order], durations)
    x = held[:n] if len(held) >= n else np.concatenate([held, np.full(n - len(held), held[-1])])
    if rng.random() < 0.4:
        pole = 1 - 1 / _log_uniform(rng, 1.5, 30)
        x = lfilter([1 - pole], [1, -pole], x - x[0]) + x[0]
    return np.asarray(x, dtype=float)


def recurring_events(rng: Generator, n: int) -> Series:
    """One or two shapes (spikes, pulses, decays, dips) that come again and again at odd or even distances.

    They look like anomalies and are none, because they recur.
    """
    x = np.zeros(n)
    for _ in range(rng.integers(1, 3)):
        length = max(1, int(_log_uniform(rng, 1, n / 16)))
        t = np.arange(length)
        shape = (
            np.ones(length),
            np.exp(-3 * t / length),
            np.hanning(length + 2)[1:-1],
            np.interp(t, [0, length / 3, length], [1, -0.5, 0]),
        )[rng.integers(4)] * rng.choice([-1, 1])
        gap = length + _log_uniform(rng, 6, n / 6)
        even = rng.random() < 0.5
        at = -rng.random() * gap
        while at < n:
            start = int(at)
            own = shape * (1 + rng.choice([0.02, 0.15]) * rng.standard_normal())
            a, b = max(start, 0), min(start + length, n)
            if b > a:
                x[a:b] += own[a - start : b - start]
            at += gap * (1 + 0.03 * rng.standard_normal()) if even else length + (gap - length) * rng.exponential()
            at = max(at, start + 1.0)
    return x


def bursts(rng: Generator, n: int) -> Series:
    """Load of a machine: a floor, jobs that come and go, decaying after-effects."""
    arrivals = (rng.random(n) < _log_uniform(rng, 0.005, 0.3)) * rng.exponential(1.0, n)
    pole = 1 - 1 / _log_uniform(rng, 1, 40)
    return np.asarray(lfilter([1.0], [1, -pole], arrivals))


def volatile(rng: Generator, n: int) -> Series:
    """Noise whose size itself changes slowly."""
    size = np.exp(0.7 * smooth(rng, n))
    return np.asarray(size * rng.standard_normal(n))


def charging(rng: Generator, n: int) -> Series:
    """A level that rises and falls between two limits at changing speeds, as tanks and batteries do."""
    knots, values, at, up = [0.0], [rng.random()], 0.0, rng.random() < 0.5
    rise, fall = _log_uniform(rng, 6, n / 4), _log_uniform(rng, 6, n / 4)
    spread = rng.choice([0.02, 0.3])
    while at < n:
        at += max(1.0, (rise if up else fall) * (1 + spread * rng.standard_normal()))
        knots.append(at)
        values.append((1.0 if up else 0.0) + 0.02 * rng.standard_normal())
        up = not up
    return np.asarray(np.interp(np.arange(n), knots, values))


def regimes(rng: Generator, n: int) -> Series:
    """Two ways to run that take turns at least four times."""
    turns = int(rng.integers(4, 13))
    edges = np.sort(rng.integers(0, n, turns))
    second = np.searchsorted(edges, np.arange(n), side="right") % 2 == 1
    a, b = (SIGNALS[rng.integers(len(SIGNALS) - 1)][0](rng, n) for _ in range(2))
    a, b = (x / (x.std() + 1e-9) for x in (a, b))
    return np.asarray(np.where(second, b * _log_uniform(rng, 0.3, 3) + 2 * rng.standard_normal(), a))


SIGNALS: tuple[tuple[Callable[[Generator, int], Series], float], ...] = (
    (seasonal, 5.0),
    (sinusoids, 1.0),
    (smooth, 1.5),
    (autoregressive, 1.5),
    (walk, 1.0),
    (white, 1.0),
    (counts, 1.0),
    (states, 2.0),
    (recurring_events, 2.0),
    (bursts, 1.5),
    (volatile, 0.5),
    (charging, 1.0),
    (regimes, 1.0),
)


@cache
def _weights(leave_out: tuple[str, ...]) -> Series:
    weights = np.array([0.0 if make.__name__ in leave_out else weight for make, weight in SIGNALS])
    return np.asarray(weights / weights.sum())


def normal_series(rng: Generator, n: int, leave_out: tuple[str, ...] = ()) -> Series:
    """Draw a normal series.

    One generator, or two mixed; then trend, noise, floor, rounding, clipping or an exponential, a flip of sign or time.

    Parameters
    ----------
    rng
        All randomness comes from it.
    n
        Steps.
    leave_out
        Names of generators that are not drawn from.

    Returns
    -------
    float64[n]

    Examples
    --------
    >>> normal_series(np.random.default_rng(0), 512).shape
    (512,)
    """
    weights = _weights(leave_out)
    x = _standard(SIGNALS[rng.choice(len(SIGNALS), p=weights)][0](rng, n))
    if rng.random() < 0.25:
        share = rng.uniform(0.1, 0.9)
        x = share * x + (1 - share) * _standard(SIGNALS[rng.choice(len(SIGNALS), p=weights)][0](rng, n))
    if rng.random() < 0.15:
        x = x + rng.uniform(-2, 2) * np.linspace(-0.5, 0.5, n) ** int(rng.integers(1, 3))
    if rng.random() < 0.75:
        noise = rng.standard_normal(n) if rng.random() < 0.8 else np.clip(rng.standard_t(3, n), -10, 10)
        x = x + _log_uniform(rng, 0.005, 0.5) * noise
    change = rng.random()
    if change < 0.08:
        x = np.exp(np.clip(x * rng.uniform(0.3, 1.2), -8, 5))
    elif change < 0.16:
        x = np.clip(x, *np.quantile(x, (rng.uniform(0, 0.2), rng.uniform(0.8, 1))))
    elif change < 0.24:
        x = np.maximum(x, np.quantile(x, rng.uniform(0.1, 0.7)))
    if rng.random() < 0.15:
        step = max(x.std(), 1e-6) * _log_uniform(rng, 0.02, 0.7)
        x = np.round(x / step) * step
    if rng.random() < 0.3:
        x = -x
    if rng.random() < 0.15:
        x = x[::-1]
    return np.ascontiguousarray(x)


def _standard(x: Series) -> Series:
    return np.asarray((x - x.mean()) / (x.std() + 1e-9))
