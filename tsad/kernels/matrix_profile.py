"""The loops of `tsad.detectors.matrix_profile`: rolling dot products of the newest window with all others.

A window is known by its mean and its deviation. Instead of a positive deviation stand CONSTANT where it does not move,
UNKNOWN where too much of it is missing, and BROKEN where time is missing inside it.
"""

import numpy as np

from tsad.compiled import compiled
from tsad.kernels.windows import FARTHEST

__all__ = [
    "BROKEN",
    "CONSTANT",
    "LEAST_DEVIATION",
    "REFRESH_ROWS",
    "UNKNOWN",
    "profile_of_recording",
    "score_matrix_profile",
]

CONSTANT, UNKNOWN, BROKEN = 0.0, -1.0, -2.0
LEAST_DEVIATION = 1e-3
"""In units of the channel's scale: below it a window is constant, and its rounding is no shape."""
REFRESH_ROWS = 4096
"""After so many rows dot products are computed anew, so that rounding does not add up."""


@compiled
def _shape(values, end, width):
    """Mean and deviation of the `width` values up to place `end` of a ring."""
    depth = len(values)
    total = 0.0
    place = end
    for _ in range(width):
        total += values[place]
        place = place - 1 if place > 0 else depth - 1
    mean = total / width
    squares = 0.0
    place = end
    for _ in range(width):
        d = values[place] - mean
        squares += d * d
        place = place - 1 if place > 0 else depth - 1
    deviation = np.sqrt(squares / width)
    return mean, deviation if deviation > LEAST_DEVIATION else CONSTANT


@compiled
def _take(
    x, is_break, t, run, channels, width, location, scale, weight, history, means, deviations, gone,
):  # fmt: skip
    """Put row number `t` into the history and describe the window it completes; returns the run since a break."""
    depth = history.shape[1]
    at = t % depth
    run = 1 if is_break else run + 1
    for c in range(channels):
        value = np.float64(x[c])
        absent = np.isnan(value) or weight[c] == 0.0
        if absent:
            # Rows are scored against the last value; the window says how much of it was held.
            history[c, at] = history[c, (t - 1) % depth] if run > 1 else np.float32(0.0)
        else:
            history[c, at] = min(max((value - location[c]) / scale[c], -FARTHEST), FARTHEST)
        gone[c, t % width] = absent
        missing = 0
        for a in range(width):
            missing += gone[c, a]
        means[c, at] = 0.0
        if run < width:
            deviations[c, at] = BROKEN
        elif 4 * missing > width:
            deviations[c, at] = UNKNOWN
        else:
            mean, deviation = _shape(history[c], at, width)
            means[c, at] = mean
            deviations[c, at] = deviation
    return run


@compiled
def _roll_reference(dots, reference, newest, leaving, values, at, width, anew):
    """Dot products of the newest window with those of the reference, by their last row."""
    rows = len(reference)
    depth = len(values)
    if anew:
        for j in range(width - 1, rows):
            total = 0.0
            for a in range(width):
                total += np.float64(values[(at - a) % depth]) * reference[j - a]
            dots[j] = total
        return
    for j in range(rows - 1, width - 1, -1):
        dots[j] = dots[j - 1] + newest * reference[j] - leaving * reference[j - width]
    if rows >= width:
        total = 0.0
        place = at
        for a in range(width):
            total += np.float64(values[place]) * reference[width - 1 - a]
            place = place - 1 if place > 0 else depth - 1
        dots[width - 1] = total


@compiled
def _roll_history(dots, newest, leaving, values, at, width, anew):
    """Dot products of the newest window with those before it, by lag."""
    depth = len(values)
    lags = len(dots)
    if anew:
        for lag in range(lags):
            total = 0.0
            for a in range(width):
                total += np.float64(values[(at - a) % depth]) * values[(at - a - lag) % depth]
            dots[lag] = total
        return
    # In two pieces each, to the start of the ring and from its end: plain loops are vectorised.
    turn = min(at + 1, lags)
    for lag in range(turn):
        dots[lag] += newest * values[at - lag]
    for lag in range(turn, lags):
        dots[lag] += newest * values[at + depth - lag]
    old = (at - width) % depth
    turn = min(old + 1, lags)
    for lag in range(turn):
        dots[lag] -= leaving * values[old - lag]
    for lag in range(turn, lags):
        dots[lag] -= leaving * values[old + depth - lag]


@compiled
def _apart(dot, mean, deviation, other_mean, other_deviation, width, amplitudes):
    """Squared distance a row of two windows: 2 (1 - correlation), or 1 where only one of them moves.

    With `amplitudes` it is that of the two when the smaller is stretched to the larger. Choices without branches, so
    that loops over this are vectorised.
    """
    both = deviation > 0.0 and other_deviation > 0.0
    product = deviation * other_deviation if both else 1.0
    shape = max(2.0 - 2.0 * (dot * (1.0 / width) - mean * other_mean) / product, 0.0)
    apart = 0.0 if deviation == CONSTANT and other_deviation == CONSTANT else 1.0
    found = shape if both else apart
    other = other_deviation if other_deviation >= CONSTANT else 1.0
    larger = max(deviation, other)
    return found * larger * larger if amplitudes else found


@compiled
def _nearest(
    t, width, amplitudes, channels, used, weight, reference_rows, first, reference_means, reference_deviations,
    reference_dots, means, deviations, dots, distances,
):  # fmt: skip
    """Place of the nearest window that shares no row with the newest one, and its distance: -1 where there is none.

    A place below `reference_rows` is one of the reference; beyond, ``place - reference_rows`` is a lag.
    """
    depth = means.shape[1]
    at = t % depth
    lags = dots.shape[1]
    turn = min(at + 1, lags)
    total = 0.0
    for c in range(channels):
        total += weight[c] if used[c] else 0.0
    known = distances[:reference_rows]
    past = distances[reference_rows : reference_rows + lags]
    # Whatever spans a break is ruled out for all channels at once.
    for j in range(reference_rows):
        known[j] = np.inf if reference_deviations[0, j] == BROKEN else 0.0
    for lag in range(turn):
        past[lag] = np.inf if deviations[0, at - lag] == BROKEN else 0.0
    for lag in range(turn, lags):
        past[lag] = np.inf if deviations[0, at + depth - lag] == BROKEN else 0.0
    for c in range(channels):
        if not used[c]:
            continue
        share = weight[c] / total
        mean, deviation = means[c, at], np.float64(deviations[c, at])
        for j in range(reference_rows):
            known[j] += share * _apart(
                reference_dots[c, j], mean, deviation, reference_means[c, j], np.float64(reference_deviations[c, j]),
                width, amplitudes,
            )  # fmt: skip
        for lag in range(turn):
            past[lag] += share * _apart(
                dots[c, lag], mean, deviation, means[c, at - lag], np.float64(deviations[c, at - lag]), width,
                amplitudes,
            )  # fmt: skip
        for lag in range(turn, lags):
            past[lag] += share * _apart(
                dots[c, lag], mean, deviation, means[c, at + depth - lag],
                np.float64(deviations[c, at + depth - lag]), width, amplitudes,
            )  # fmt: skip
    best, nearest = np.inf, -1
    low, high = t - first - width, t - first + width
    for j in range(width - 1, reference_rows):
        if known[j] < best and (j <= low or j >= high):
            best, nearest = known[j], j
    for lag in range(width, min(lags, t + 1)):
        if past[lag] < best:
            best, nearest = past[lag], reference_rows + lag
    return nearest, best


@compiled
def score_matrix_profile(
    series, values, breaks, width, amplitudes, n_channels, n_reference, first, location, scale, weight, unit, band,
    reference, reference_means, reference_deviations, reference_dots, history, means, deviations, dots, gone, newest,
    run, score, reason, contributions, expected, lower, upper,
):  # fmt: skip
    depth = history.shape[2]
    distances = np.empty(reference.shape[2] + dots.shape[2])
    used = np.zeros(values.shape[1], np.bool_)
    for i in range(len(series)):
        s = series[i]
        channels, rows = n_channels[s], n_reference[s]
        t = newest[s] + 1
        newest[s] = t
        at = t % depth
        run[s] = _take(
            values[i], breaks[i], t, run[s], channels, width, location[s], scale[s], weight[s], history[s], means[s],
            deviations[s], gone[s],
        )  # fmt: skip
        seen, any_used = False, False
        for c in range(channels):
            now = np.float64(history[s, c, at])
            old = np.float64(history[s, c, (at - width) % depth]) if t >= width else 0.0
            anew = t % REFRESH_ROWS == 0
            _roll_reference(
                reference_dots[s, c, :rows], reference[s, c, :rows], now, old, history[s, c], at, width, anew
            )
            _roll_history(dots[s, c], now, old, history[s, c], at, width, anew)
            seen = seen or not gone[s, c, t % width]
            used[c] = weight[s, c] > 0.0 and deviations[s, c, at] >= CONSTANT
            any_used = any_used or used[c]
        if not seen or not any_used:
            reason[i] = 2 if seen and run[s] < width else 3
            continue
        place, found = _nearest(
            t, width, amplitudes, channels, used, weight[s], rows, first[s], reference_means[s],
            reference_deviations[s], reference_dots[s], means[s], deviations[s], dots[s], distances,
        )  # fmt: skip
        if place < 0:
            reason[i] = 2
            continue
        score[i] = np.sqrt(found) / unit[s]
        total = 0.0
        other = (at - (place - rows)) % depth
        for c in range(channels):
            if not used[c]:
                continue
            mean, deviation = means[s, c, at], np.float64(deviations[s, c, at])
            if place < rows:
                other_mean, other_deviation = (
                    reference_means[s, c, place],
                    np.float64(reference_deviations[s, c, place]),
                )
                value, dot = np.float64(reference[s, c, place]), reference_dots[s, c, place]
            else:
                other_mean, other_deviation = means[s, c, other], np.float64(deviations[s, c, other])
                value, dot = np.float64(history[s, c, other]), dots[s, c, place - rows]
            part = weight[s, c] * _apart(dot, mean, deviation, other_mean, other_deviation, width, amplitudes)
            contributions[i, c] = part
            total += part
            center = mean
            if deviation > 0.0 and other_deviation > 0.0:
                center += (value - other_mean) * deviation / other_deviation
            center = location[s, c] + center * scale[s, c]
            expected[i, c] = center
            lower[i, c] = center - band[s, c] * scale[s, c]
            upper[i, c] = center + band[s, c] * scale[s, c]
        if total > 0.0:
            for c in range(channels):
                contributions[i, c] /= total


@compiled
def profile_of_recording(values, weight, means, deviations, width, amplitudes, best):
    """Distance of the window ending at each row to the nearest on either side: along every diagonal of all pairs.

    `values`, `means`, `deviations` are float64[c, t]; ``best[t]`` becomes the squared distance, infinite where none is.
    """
    channels, rows = values.shape
    total = weight.sum()
    apart = np.empty(rows)
    for t in range(rows):
        best[t] = np.inf
    for lag in range(width, rows - width + 1):
        stop = rows - lag
        apart[:stop] = 0.0
        for c in range(channels):
            if weight[c] == 0.0:
                continue
            share = weight[c] / total
            x, y = values[c, :stop], values[c, lag:]
            dot = 0.0
            for a in range(width - 1):
                dot += x[a] * y[a]
            for t in range(width - 1, stop):
                dot += x[t] * y[t]
                apart[t] += share * _apart(
                    dot, means[c, t], deviations[c, t], means[c, t + lag], deviations[c, t + lag], width, amplitudes
                )
                dot -= x[t - width + 1] * y[t - width + 1]
        for t in range(width - 1, stop):
            if deviations[0, t] != BROKEN and deviations[0, t + lag] != BROKEN:
                best[t] = min(best[t], apart[t])
                best[t + lag] = min(best[t + lag], apart[t])
