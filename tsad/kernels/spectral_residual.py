"""The loops of `tsad.detectors.spectral_residual`: a Fourier transform and saliency, row by row.

The transform is written out because its sums must have one order: a library may choose another by how many rows come
at once, and then a score would depend on its batch.
"""

import numpy as np

from tsad.compiled import compiled
from tsad.kernels.windows import take_row

__all__ = ["ESTIMATED", "LOOK_BACK", "NEIGHBOURS", "saliency", "score_spectral_residual", "transform"]

ESTIMATED = 5
"""Rows put behind the newest one by estimate (kappa of the paper)."""
LOOK_BACK = 5
"""Rows that the estimate is made from (m of the paper)."""
NEIGHBOURS = 21
"""Rows of the map that the newest is compared with (z of the paper)."""
_LEAST_AMPLITUDE = 1e-8


@compiled
def transform(real, imaginary, cosines, sines, inverse):
    """Discrete Fourier transform in place, by halving (radix 2); not divided by the size.

    `cosines` and `sines` are those of ``2 pi k / size``, k < size / 2.
    """
    size = len(real)
    j = 0
    for i in range(1, size):
        bit = size >> 1
        while j & bit:
            j ^= bit
            bit >>= 1
        j |= bit
        if i < j:
            real[i], real[j] = real[j], real[i]
            imaginary[i], imaginary[j] = imaginary[j], imaginary[i]
    half = 1
    while half < size:
        stride = size // (2 * half)
        for start in range(0, size, 2 * half):
            for k in range(half):
                c = cosines[k * stride]
                s = sines[k * stride] if inverse else -sines[k * stride]
                a, b = start + k, start + k + half
                x = real[b] * c - imaginary[b] * s
                y = real[b] * s + imaginary[b] * c
                real[b], imaginary[b] = real[a] - x, imaginary[a] - y
                real[a], imaginary[a] = real[a] + x, imaginary[a] + y
        half *= 2


@compiled
def saliency(real, imaginary, cosines, sines, logs):
    """Turn a window (in `real`) into its saliency map, in place; all zero where the window is constant.

    The spectral residual is the log amplitude less its mean over three neighbouring frequencies, the level left out;
    `logs` is room.
    """
    size = len(real)
    mean = 0.0
    for i in range(size):
        mean += real[i]
    mean /= size
    largest = 0.0
    for i in range(size):
        real[i] -= mean
        imaginary[i] = 0.0
        largest = max(largest, abs(real[i]))
    if largest <= _LEAST_AMPLITUDE:
        for i in range(size):
            real[i] = 0.0
        return
    transform(real, imaginary, cosines, sines, False)
    least = _LEAST_AMPLITUDE * largest
    for i in range(size):
        logs[i] = np.log(max(np.sqrt(real[i] * real[i] + imaginary[i] * imaginary[i]), least))
    # The level is no part of the shape: without it the mean over frequencies has a neighbour in its place.
    logs[0] = logs[1]
    real[0] = imaginary[0] = 0.0
    for i in range(size):
        around = (logs[(i - 1) % size] + logs[i] + logs[(i + 1) % size]) / 3.0
        # exp(log A - mean log A) with the phase of the spectrum.
        factor = np.exp(-around)
        real[i] *= factor
        imaginary[i] *= factor
    transform(real, imaginary, cosines, sines, True)
    for i in range(size):
        real[i] = np.sqrt(real[i] * real[i] + imaginary[i] * imaginary[i]) / size


@compiled
def score_spectral_residual(
    series, values, breaks, n_channels, location, scale, weight, newest_unit, recent_unit, band, cosines, sines, ring,
    gone, filled, position, score, reason, contributions, expected, lower, upper, newest_ratio, recent_ratio,
):  # fmt: skip
    """Score rows; `newest_ratio` and `recent_ratio`, float64[m, c] before units, may have no rows."""
    rows = ring.shape[1]
    size = rows + ESTIMATED
    real, imaginary, logs = np.empty(size), np.empty(size), np.empty(size)
    for i in range(len(series)):
        s = series[i]
        n = n_channels[s]
        newest = take_row(values[i], breaks[i], s, n, rows, location, scale, weight, ring, gone, filled, position)
        ready = filled[s] == rows
        seen = False
        best = -1.0
        total = 0.0
        for c in range(n):
            if gone[s, newest, c]:
                continue
            seen = True
            if not ready:
                continue
            missing = 0
            for a in range(rows):
                place = (newest + 1 + a) % rows
                real[a] = ring[s, place, c]
                missing += gone[s, place, c]
            if 2 * missing > rows:
                continue
            # The rows before the newest one tell what follows (LOOK_BACK times their mean slope): so it stands out.
            last = real[rows - 2]
            slope = 0.0
            before = 0.0
            for k in range(1, LOOK_BACK + 1):
                slope += (last - real[rows - 2 - k]) / k
                before += real[rows - 1 - k]
            guess = real[rows - 1 - LOOK_BACK] + slope
            for a in range(rows, size):
                real[a] = guess
            saliency(real, imaginary, cosines, sines, logs)
            mean = 0.0
            for a in range(size):
                mean += real[a]
            mean /= size
            near = 0.0
            peak = 0.0
            for a in range(rows - 1 - NEIGHBOURS, rows - 1):
                near += real[a]
                peak = max(peak, real[a])
            near /= NEIGHBOURS
            now = real[rows - 1]
            peak = max(peak, now)
            first = min(now / near, 1e6) if near > 0.0 else 0.0
            second = peak / mean if mean > 0.0 else 0.0
            if len(newest_ratio):
                newest_ratio[i, c] = first
                recent_ratio[i, c] = second
            ratio = max(first / newest_unit[s, c], second / recent_unit[s, c])
            best = max(best, ratio)
            contributions[i, c] = ratio * ratio
            total += ratio * ratio
            unit = scale[s, c]
            center = location[s, c] + before / LOOK_BACK * unit
            expected[i, c] = center
            lower[i, c] = center - band[s, c] * unit
            upper[i, c] = center + band[s, c] * unit
        if best < 0.0:
            reason[i] = 2 if seen and not ready else 3
            continue
        score[i] = best
        if total > 0.0:
            for c in range(n):
                contributions[i, c] /= total
