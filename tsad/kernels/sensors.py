"""The loops of `tsad.quality.sensors`."""

import math

import numpy as np

from tsad.compiled import compiled
from tsad.observations import RowFlag
from tsad.quality.faults import Fault

__all__ = [
    "COUNTER_RULE",
    "HIGH_RULE",
    "JUMP_RULE",
    "LOOP_RULE",
    "LOW_RULE",
    "RATE_RULE",
    "STUCK_RULE",
    "UNIT_ROWS",
    "UNIT_RULE",
    "declared",
    "judge",
]  # fmt: skip

STUCK_RULE, JUMP_RULE, UNIT_RULE, LOW_RULE, HIGH_RULE, COUNTER_RULE = 1, 2, 4, 8, 16, 32
LOOP_RULE, RATE_RULE = 1, 2
UNIT_ROWS = 16
"""Rows that must speak for another unit before it is told."""

_BREAK, _IMPUTED, _HELD = int(RowFlag.BREAK), int(RowFlag.IMPUTED), int(RowFlag.HELD)
_SUSPECTED, _STUCK, _SPIKE, _DROPOUT = int(Fault.SUSPECTED), int(Fault.STUCK), int(Fault.SPIKE), int(Fault.DROPOUT)
_SATURATED, _LOOP, _UNIT = int(Fault.SATURATED), int(Fault.LOOP_FAILURE), int(Fault.UNIT_CHANGE)
_RESET = int(Fault.COUNTER_RESET)
_LOOP_ROWS = 3
_NEVER = np.int32(1 << 30)


@compiled
def declared(
    start, series, times, values, flags, rules, n_channels, clear_rows, last, count, fault, since, quiet,
    out_codes, out_row, out_channel, out_fault, out_since, out_raised,
):  # fmt: skip
    """What needs no learning: current loops and counters. Return (next row, events written)."""
    m = 0
    for i in range(start, len(series)):
        s = series[i]
        if m + 2 * n_channels[s] > len(out_row):
            return i, m
        for c in range(n_channels[s]):
            rule = rules[s, c]
            if rule == 0:
                continue
            x = values[i, c]
            here = not np.isnan(x) and not flags[i] & _IMPUTED
            if rule == LOOP_RULE:
                sign = 0
                if here:
                    if x <= 3.6 or x >= 21.0:
                        sign = _LOOP
                    elif x < 3.8 or x > 20.5:
                        sign = _SATURATED
                    if sign:
                        if count[s, c] == 0 and fault[s, c] == 0:
                            since[s, c] = times[i]
                        count[s, c] = min(count[s, c] + 1, _NEVER)
                        quiet[s, c] = 0
                    else:
                        count[s, c] = 0
                        quiet[s, c] += 1
                    if fault[s, c] == 0 and count[s, c] >= _LOOP_ROWS:
                        fault[s, c] = sign
                        out_row[m], out_channel[m], out_fault[m] = i, c, sign
                        out_since[m], out_raised[m] = since[s, c], True
                        m += 1
                    elif fault[s, c] and quiet[s, c] >= clear_rows:
                        out_row[m], out_channel[m], out_fault[m] = i, c, fault[s, c]
                        out_since[m], out_raised[m] = since[s, c], False
                        m += 1
                        fault[s, c] = 0
                if fault[s, c]:
                    out_codes[i, c] = fault[s, c]
                elif sign or (not here and count[s, c]):
                    out_codes[i, c] = _SUSPECTED
                if out_codes[i, c]:
                    values[i, c] = np.nan
                continue
            # A counter: its rate takes the place of its level. `count` is how many rows ago it was last seen.
            values[i, c] = np.nan
            if flags[i] & _BREAK:
                last[s, c] = np.nan
            if np.isnan(x) or (flags[i] & (_IMPUTED | _HELD) and x == last[s, c]):
                count[s, c] = min(count[s, c] + 1, _NEVER)
            else:
                if not np.isnan(last[s, c]):
                    moved = np.float64(x) - last[s, c]
                    if moved >= 0:
                        values[i, c] = np.float32(moved / (count[s, c] + 1))
                        quiet[s, c] += 1
                    else:
                        out_codes[i, c] = _RESET
                        quiet[s, c] = 0
                        if fault[s, c] == 0:
                            fault[s, c] = _RESET
                            since[s, c] = times[i]
                            out_row[m], out_channel[m], out_fault[m] = i, c, _RESET
                            out_since[m], out_raised[m] = times[i], True
                            m += 1
                last[s, c] = x
                count[s, c] = 0
            if fault[s, c] and quiet[s, c] >= clear_rows:
                out_row[m], out_channel[m], out_fault[m] = i, c, fault[s, c]
                out_since[m], out_raised[m] = since[s, c], False
                m += 1
                fault[s, c] = 0
    return len(series), m


@compiled
def judge(
    start, rows, series, times, values, flags, n_channels, clear_rows, spike_rows, factors, offsets, rules, resolution,
    stuck_after, usual_step, limit, step_rms, lowest, highest, low_end, high_end, low_after, high_after, last, run,
    run_since, good, gone, away, away_since, away_last, away_sum, away_squares, maps, end_run, end_since, fault, since,
    quiet, unit, out_codes, out_row, out_channel, out_fault, out_since, out_unit, out_raised,
):  # fmt: skip
    """Judge `rows` by what was learnt; returns (next of `rows`, events written)."""
    m = 0
    n_maps = len(factors)
    for k in range(start, len(rows)):
        i = rows[k]
        s = series[i]
        n = n_channels[s]
        if m + 3 * n > len(out_row):
            return k, m
        broken = flags[i] & _BREAK
        # Runs first: whether a channel is stuck depends on whether the others move.
        fewest, second, fewest_at, judged = _NEVER, _NEVER, -1, 0
        for c in range(n):
            x = values[i, c]
            if broken:
                last[s, c], good[s, c] = np.nan, np.nan
                away[s, c], end_run[s, c] = 0, 0
            known = not np.isnan(x) and not flags[i] & _IMPUTED and not (flags[i] & _HELD and x == last[s, c])
            if known:
                if abs(x - last[s, c]) <= resolution[s, c]:
                    run[s, c] = min(run[s, c] + 1, _NEVER)
                else:
                    run[s, c] = 1
                    run_since[s, c] = times[i]
            if rules[s, c] & STUCK_RULE:
                judged += 1
                if run[s, c] < fewest:
                    second, fewest, fewest_at = fewest, run[s, c], c
                elif run[s, c] < second:
                    second = run[s, c]
        for c in range(n):
            rule = rules[s, c]
            x = values[i, c]
            known = not np.isnan(x) and not flags[i] & _IMPUTED and not (flags[i] & _HELD and x == last[s, c])
            if rule == 0:
                if known:
                    last[s, c] = x
                continue
            if not known:
                gone[s, c] = min(gone[s, c] + 1, _NEVER)
                if fault[s, c] in (_STUCK, _SATURATED, _UNIT):
                    out_codes[i, c] = fault[s, c]
                elif away[s, c]:
                    out_codes[i, c] = _SUSPECTED
                if out_codes[i, c]:
                    values[i, c] = np.nan
                continue
            quiet[s, c] += 1
            found, began, which = 0, times[i], -1
            # --- at the end of the measuring range
            at_end = 0
            if rule & LOW_RULE and x <= low_end[s, c]:
                at_end = low_after[s, c]
            elif rule & HIGH_RULE and x >= high_end[s, c]:
                at_end = high_after[s, c]
            if at_end:
                if end_run[s, c] == 0:
                    end_since[s, c] = times[i]
                end_run[s, c] = min(end_run[s, c] + 1, _NEVER)
                if end_run[s, c] > at_end:
                    found, began = _SATURATED, end_since[s, c]
            else:
                end_run[s, c] = 0
            # --- no change
            if found == 0 and rule & STUCK_RULE and run[s, c] > stuck_after[s, c]:
                others = second if fewest_at == c else fewest
                if judged == 1 or 2 * others <= run[s, c] or fault[s, c] == _STUCK:
                    found, began = _STUCK, run_since[s, c]
            # --- a counter that falls
            if found == 0 and rule & COUNTER_RULE and x < last[s, c] - resolution[s, c]:
                found = _RESET
            # --- past any usual rate, and back again, or by the factor of another unit
            if rule & (JUMP_RULE | UNIT_RULE) and fault[s, c] != _UNIT:
                if gone[s, c] > spike_rows:
                    good[s, c] = np.nan
                    away[s, c] = 0
                if np.isnan(good[s, c]):
                    good[s, c] = x
                elif abs(x - good[s, c]) <= limit[s, c]:
                    if away[s, c]:
                        if found == 0 and rule & JUMP_RULE:
                            found, began = _SPIKE, away_since[s, c]
                            small = abs(away_last[s, c]) <= resolution[s, c]
                            if small and (lowest[s, c] > resolution[s, c] or highest[s, c] < -resolution[s, c]):
                                found = _DROPOUT
                        away[s, c] = 0
                    good[s, c] = x
                else:
                    if away[s, c] == 0:
                        away_since[s, c] = times[i]
                        away_sum[s, c], away_squares[s, c] = 0.0, 0.0
                        maps[s, c] = 0
                        for u in range(n_maps if rule & UNIT_RULE else 0):
                            back = (x - offsets[u]) / factors[u]
                            if abs(back - good[s, c]) <= 2 * usual_step[s, c]:
                                maps[s, c] |= 1 << u
                    else:
                        step = np.float64(x) - away_last[s, c]
                        away_squares[s, c] += step * step
                        reach = 0.1 * (np.float64(highest[s, c]) - lowest[s, c])
                        for u in range(n_maps):
                            if maps[s, c] & (1 << u):
                                back = (x - offsets[u]) / factors[u]
                                within = lowest[s, c] - reach <= back <= highest[s, c] + reach
                                if not within or abs(step / factors[u]) > 2 * usual_step[s, c]:
                                    maps[s, c] ^= 1 << u
                    away[s, c] += 1
                    away_last[s, c] = x
                    away_sum[s, c] += x
                    if away[s, c] >= UNIT_ROWS and maps[s, c]:
                        rms = math.sqrt(away_squares[s, c] / (away[s, c] - 1))
                        best = np.inf
                        for u in range(n_maps):
                            if maps[s, c] & (1 << u):
                                ratio = rms / (abs(factors[u]) * step_rms[s, c])
                                back = (away_sum[s, c] / away[s, c] - offsets[u]) / factors[u]
                                if 0.5 <= ratio <= 2.0 and abs(back - good[s, c]) < best:
                                    best, which = abs(back - good[s, c]), u
                        if which >= 0 and found == 0:
                            found, began = _UNIT, away_since[s, c]
                        maps[s, c] = 0
                    if maps[s, c] == 0 and (away[s, c] > spike_rows or not rule & JUMP_RULE):
                        # It stays: a step of the process, or now known to be another unit.
                        good[s, c], away[s, c] = x, 0
            # --- what stands
            if fault[s, c] == _UNIT:
                u = unit[s, c]
                reach = 0.1 * (np.float64(highest[s, c]) - lowest[s, c])
                back = (x - offsets[u]) / factors[u]
                direct = lowest[s, c] - reach <= x <= highest[s, c] + reach
                if not direct or lowest[s, c] - reach <= back <= highest[s, c] + reach:
                    quiet[s, c] = 0
            elif found and (found == fault[s, c] or fault[s, c] == 0):
                quiet[s, c] = 0
                if fault[s, c] == 0:
                    fault[s, c], since[s, c], unit[s, c] = found, began, which
                    out_row[m], out_channel[m], out_fault[m] = i, c, found
                    out_since[m], out_unit[m], out_raised[m] = began, which, True
                    m += 1
            if fault[s, c] and quiet[s, c] >= clear_rows:
                out_row[m], out_channel[m], out_fault[m] = i, c, fault[s, c]
                out_since[m], out_unit[m], out_raised[m] = since[s, c], unit[s, c], False
                m += 1
                if fault[s, c] == _UNIT:
                    good[s, c], away[s, c] = x, 0
                fault[s, c] = 0
            if fault[s, c] in (_STUCK, _SATURATED, _UNIT):
                out_codes[i, c] = fault[s, c]
            elif found == _RESET or found in (_STUCK, _SATURATED):
                out_codes[i, c] = found
            elif away[s, c]:
                out_codes[i, c] = _SUSPECTED
            if out_codes[i, c]:
                values[i, c] = np.nan
            gone[s, c] = 0
            last[s, c] = x
    return len(rows), m
