"""The loop of `tsad.alignment`."""

import numpy as np

from tsad.compiled import compiled
from tsad.observations import ObservationStatus, RowFlag

__all__ = ["FIRST", "LAST", "MEAN", "UNUSED", "align"]

_ACCEPTED = int(ObservationStatus.ACCEPTED)
_DUPLICATE = int(ObservationStatus.DUPLICATE)
_CORRECTION = int(ObservationStatus.CORRECTION)
_SUPERFLUOUS = int(ObservationStatus.SUPERFLUOUS)
_LATE = int(ObservationStatus.LATE)
_FUTURE = int(ObservationStatus.FUTURE)
_BREAK = int(RowFlag.BREAK)
_IMPUTED = int(RowFlag.IMPUTED)
_HELD = int(RowFlag.HELD)
UNUSED = int(np.iinfo(np.int64).min)

FIRST, LAST, MEAN = 0, 1, 2


@compiled
def _emit(
    s, cell, imputed, step, hold, n_channels, phase, pending, pending_count, pending_time, last_values, last_cell,
    last_row, last_time, last_row_cell, broken, out_series, out_times, out_values, out_flags, m,
):  # fmt: skip
    """Write the row of `cell` to the output at `m` and free its slot."""
    slots = pending.shape[1]
    slot = cell % slots
    flags = 0
    for c in range(out_values.shape[1]):
        out_values[m, c] = np.nan
    for c in range(n_channels[s]):
        value = np.float32(np.nan)
        if not imputed and pending_count[s, slot, c] > 0:
            value = np.float32(pending[s, slot, c])
        if not np.isnan(value):
            last_values[s, c] = value
            last_cell[s, c] = cell
        elif not np.isnan(last_values[s, c]) and cell - last_cell[s, c] <= hold:
            flags |= _HELD
            out_values[m, c] = last_values[s, c]
        if not imputed:
            last_row[s, c] = value
        if not np.isnan(value):
            out_values[m, c] = value
    if imputed:
        flags |= _IMPUTED
        out_times[m] = phase[s] + cell * step
    else:
        out_times[m] = pending_time[s, slot]
        last_time[s] = pending_time[s, slot]
        last_row_cell[s] = cell
        for c in range(pending.shape[2]):
            pending_count[s, slot, c] = 0
        pending_time[s, slot] = UNUSED
    if broken[s]:
        flags |= _BREAK
        broken[s] = False
    out_series[m] = s
    out_flags[m] = flags


@compiled
def align(
    start, series, times, values, channels, arrivals, max_ahead, step, hold, rule, n_channels, started, phase, head,
    newest, pending, pending_count, pending_time, last_values, last_cell, last_row, last_time, last_row_cell, broken,
    status, source, out_series, out_times, out_values, out_flags,
):  # fmt: skip
    """Apply observations from `start` on until the output is full; return (next observation, rows written)."""
    slots = pending.shape[1]
    wide = len(channels) == 0
    room = slots * (hold + 2) + 1
    m = 0
    for i in range(start, len(series)):
        if m + room > len(out_series):
            return i, m
        s = series[i]
        t = times[i]
        if arrivals[i] > 0 and t > arrivals[i] + max_ahead:
            status[i] = _FUTURE
            continue
        if not started[s]:
            started[s] = True
            phase[s] = t
            head[s] = 0
            newest[s] = 0
            last_row_cell[s] = -1
        cell = (t - phase[s] + step // 2) // step
        if cell < head[s]:
            status[i] = _LATE
            if t == last_time[s]:
                status[i] = _DUPLICATE
                for j in range(values.shape[1]):
                    c = j if wide else channels[i]
                    if not np.isnan(values[i, j]) and values[i, j] != last_row[s, c]:
                        status[i] = _CORRECTION
            elif cell == last_row_cell[s] and t > last_time[s]:
                status[i] = _SUPERFLUOUS
            continue
        if cell > newest[s]:
            newest[s] = cell
        # Cells that can no longer be completed: whatever they hold becomes final.
        while head[s] <= newest[s] - slots:
            k = head[s]
            if pending_time[s, k % slots] != UNUSED:
                _emit(
                    s, k, False, step, hold, n_channels, phase, pending, pending_count, pending_time, last_values,
                    last_cell, last_row, last_time, last_row_cell, broken, out_series, out_times, out_values,
                    out_flags, m,
                )  # fmt: skip
                source[m] = i
                m += 1
                head[s] = k + 1
                continue
            following = newest[s]
            for later in range(k + 1, min(k + slots, newest[s])):
                if pending_time[s, later % slots] != UNUSED:
                    following = later
                    break
            if last_row_cell[s] >= 0 and following - last_row_cell[s] - 1 <= hold:
                _emit(
                    s, k, True, step, hold, n_channels, phase, pending, pending_count, pending_time, last_values,
                    last_cell, last_row, last_time, last_row_cell, broken, out_series, out_times, out_values,
                    out_flags, m,
                )  # fmt: skip
                source[m] = i
                m += 1
                head[s] = k + 1
            else:
                broken[s] = last_row_cell[s] >= 0
                head[s] = min(following, newest[s] - slots + 1)
        slot = cell % slots
        status[i] = _ACCEPTED
        fresh = pending_time[s, slot] == UNUSED
        for j in range(values.shape[1]):
            value = values[i, j]
            if np.isnan(value):
                continue
            c = j if wide else channels[i]
            count = pending_count[s, slot, c]
            if count == 0:
                pending[s, slot, c] = value
                pending_count[s, slot, c] = 1
            elif t == pending_time[s, slot] and rule != MEAN:
                if value == np.float32(pending[s, slot, c]):
                    status[i] = _DUPLICATE
                pending[s, slot, c] = value
            elif rule == FIRST:
                status[i] = _SUPERFLUOUS
            elif rule == LAST:
                pending[s, slot, c] = value
            else:
                pending[s, slot, c] += (value - pending[s, slot, c]) / (count + 1)
                pending_count[s, slot, c] = count + 1
        if fresh:
            pending_time[s, slot] = t
        while rule == FIRST and head[s] <= newest[s]:
            k = head[s]
            complete = pending_time[s, k % slots] != UNUSED
            if complete:
                for c in range(n_channels[s]):
                    if pending_count[s, k % slots, c] == 0:
                        complete = False
                        break
            if not complete:
                break
            _emit(
                s, k, False, step, hold, n_channels, phase, pending, pending_count, pending_time, last_values,
                last_cell, last_row, last_time, last_row_cell, broken, out_series, out_times, out_values, out_flags, m,
            )  # fmt: skip
            source[m] = i
            m += 1
            head[s] = k + 1
    return len(series), m
