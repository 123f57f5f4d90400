"""Compiled loops over rows: which to keep, and one-minute rollups. `streams.retention` documents them."""

# ruff: noqa: ANN001, ANN201
# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit

__all__ = ["NO_MINUTE", "roll_up", "select_delayed", "select_notable"]

NO_MINUTE = -1


@njit(cache=True, nogil=True)
def select_notable(
    start, series, whole, real, values, p_values, on, limit, surroundings, ring_whole, ring_real, ring_values,
    ring_head, ring_size, after, out_series, out_whole, out_real, out_values,
):  # fmt: skip
    """Return (next row, rows kept); stops when the output might not hold what a further row brings."""
    m = 0
    slots = ring_whole.shape[1]
    for i in range(start, len(series)):
        if m + slots + 1 > len(out_series):
            return i, m
        s = series[i]
        keep = on[i] or p_values[i] <= limit or after[s] > 0
        if on[i]:
            after[s] = surroundings
            # What came before belongs to the picture of an alarm.
            for j in range(ring_size[s]):
                slot = (ring_head[s] + j) % slots
                out_series[m] = s
                out_whole[m] = ring_whole[s, slot]
                out_real[m] = ring_real[s, slot]
                out_values[m] = ring_values[s, slot]
                m += 1
            ring_size[s] = 0
        elif after[s] > 0:
            after[s] -= 1
        if keep:
            out_series[m] = s
            out_whole[m] = whole[i]
            out_real[m] = real[i]
            out_values[m] = values[i]
            m += 1
        elif surroundings > 0:
            if ring_size[s] == slots:
                ring_head[s] = (ring_head[s] + 1) % slots
                ring_size[s] -= 1
            slot = (ring_head[s] + ring_size[s]) % slots
            ring_whole[s, slot] = whole[i]
            ring_real[s, slot] = real[i]
            ring_values[s, slot] = values[i]
            ring_size[s] += 1
    return len(series), m


@njit(cache=True, nogil=True)
def select_delayed(series, p_values, on, limit, rows, delays, marks, seen, after, keep):
    """Mark the delayed scores to keep: of notable rows, and those that came in an alarm or soon behind it.

    ``rows[j]`` is the row that score j came with. ``marks[s, n mod R]`` tells whether row n of series s was notable;
    ``after[s]`` counts down the R rows behind an alarm, so that the scores of all its rows are kept.
    """
    slots = marks.shape[1]
    j = 0
    for i in range(len(series)):
        s = series[i]
        marks[s, seen[s] % slots] = on[i] or p_values[i] <= limit
        while j < len(rows) and rows[j] == i:
            keep[j] = on[i] or after[s] > 0 or marks[s, (seen[s] - delays[j]) % slots]
            j += 1
        seen[s] += 1
        if on[i]:
            after[s] = slots
        elif after[s] > 0:
            after[s] -= 1


@njit(cache=True, nogil=True)
def roll_up(
    start, series, times, values, p_values, n_channels, minute_ns, minute, count, low, high, total, lowest_p,
    out_series, out_minute, out_channel, out_count, out_low, out_high, out_mean, out_p,
):  # fmt: skip
    """Return (next row, rollups written); stops when the output is full."""
    m = 0
    for i in range(start, len(series)):
        s = series[i]
        n = n_channels[s]
        if m + n > len(out_series):
            return i, m
        now = times[i] // minute_ns
        if minute[s] != now:
            if minute[s] != NO_MINUTE:
                for c in range(n):
                    if count[s, c] > 0:
                        out_series[m] = s
                        out_minute[m] = minute[s] * minute_ns
                        out_channel[m] = c
                        out_count[m] = count[s, c]
                        out_low[m] = low[s, c]
                        out_high[m] = high[s, c]
                        out_mean[m] = total[s, c] / count[s, c]
                        out_p[m] = lowest_p[s]
                        m += 1
            minute[s] = now
            lowest_p[s] = np.nan
            for c in range(n):
                count[s, c] = 0
                total[s, c] = 0.0
        p = p_values[i]
        if not np.isnan(p) and not p >= lowest_p[s]:
            lowest_p[s] = p
        for c in range(n):
            x = values[i, c]
            if np.isnan(x):
                continue
            if count[s, c] == 0 or x < low[s, c]:
                low[s, c] = x
            if count[s, c] == 0 or x > high[s, c]:
                high[s, c] = x
            count[s, c] += 1
            total[s, c] += x
    return len(series), m
