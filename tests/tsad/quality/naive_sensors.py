"""The sensors' rules as one reads them, a channel and row at a time, with lists instead of running sums."""

import math

import numpy as np

from tsad.kernels.sensors import COUNTER_RULE, HIGH_RULE, JUMP_RULE, LOW_RULE, STUCK_RULE, UNIT_ROWS, UNIT_RULE
from tsad.observations import RowFlag
from tsad.quality.faults import UNIT_CHANGES, Fault
from tsad.quality.profile import learn_channel

SECOND, START = 1_000_000_000, 10**18
LASTING = {Fault.STUCK, Fault.SATURATED, Fault.UNIT_CHANGE}


class Channel:
    """State of one channel."""

    def __init__(self, train, profile):
        self.p = profile
        self.last = self.good = float(train[-1])
        self.run, self.run_since, self.gone = 1, 0, 0
        self.away = []
        self.maps = []
        self.at_end = []
        self.fault, self.since, self.quiet, self.unit = Fault.NONE, 0, 0, None

    def within(self, x):
        reach = 0.1 * (self.p.highest - self.p.lowest)
        return self.p.lowest - reach <= x <= self.p.highest + reach


def naive_faults(train, values, flags, watch):
    """Changes and uint8[n, c] of masked faults."""
    settings, names = watch.settings, watch.table.channel_names(0)
    channels = [Channel(train[:, c], learn_channel(train[:, c], name, settings)) for c, name in enumerate(names)]
    changes, masked = [], np.zeros(values.shape, np.uint8)
    for i, row in enumerate(values):
        time = START + i * SECOND
        for ch, x in zip(channels, row, strict=True):
            if flags[i] & RowFlag.BREAK:
                ch.last = ch.good = math.nan
                ch.away, ch.at_end = [], []
            ch.known = not (
                np.isnan(x) or flags[i] & RowFlag.IMPUTED or (flags[i] & RowFlag.HELD and np.float32(ch.last) == x)
            )
            if ch.known:
                if abs(np.float32(x) - np.float32(ch.last)) <= ch.p.resolution:
                    ch.run += 1
                else:
                    ch.run, ch.run_since = 1, time
        runs = [ch.run if ch.p.rules & STUCK_RULE else 1 << 30 for ch in channels]
        for c, (ch, x) in enumerate(zip(channels, row, strict=True)):
            if not ch.p.rules:
                continue
            code = Fault.NONE
            if not ch.known:
                ch.gone += 1
                code = ch.fault if ch.fault in LASTING else Fault.SUSPECTED if ch.away else Fault.NONE
                masked[i, c] = code
                continue
            others = min((run for k, run in enumerate(runs) if k != c), default=0)
            alone = sum(run < 1 << 30 for run in runs) == 1
            found, since, unit = judged(ch, float(x), time, alone or 2 * others <= ch.run, settings.spike_rows)
            ch.quiet += 1
            if ch.fault == Fault.UNIT_CHANGE:
                _, factor, offset = ch.unit
                if not ch.within(float(x)) or ch.within((float(x) - offset) / factor):
                    ch.quiet = 0
            elif found and ch.fault in {Fault.NONE, found}:
                ch.quiet = 0
                if not ch.fault:
                    ch.fault, ch.since, ch.unit = found, since, unit
                    changes.append((i, names[c], found.name.lower(), since, unit and unit[0], True))
            if ch.fault and ch.quiet >= settings.clear_rows:
                changes.append((i, names[c], ch.fault.name.lower(), ch.since, ch.unit and ch.unit[0], False))
                if ch.fault == Fault.UNIT_CHANGE:
                    ch.good, ch.away = float(x), []
                ch.fault = Fault.NONE
            if ch.fault in LASTING:
                code = ch.fault
            elif found in {Fault.COUNTER_RESET, Fault.STUCK, Fault.SATURATED}:
                code = found
            elif ch.away:
                code = Fault.SUSPECTED
            masked[i, c] = code
            ch.gone, ch.last = 0, float(x)
    return changes, masked


def judged(ch, x, time, others_move, spike_rows):
    """Fault of this row, since when, and which unit."""
    p = ch.p
    found, since, unit = Fault.NONE, time, None
    after = p.low_after if p.rules & LOW_RULE and x <= p.low_end else 0
    if not after and p.rules & HIGH_RULE and x >= p.high_end:
        after = p.high_after
    ch.at_end = [*ch.at_end, time] if after else []
    if after and len(ch.at_end) > after:
        found, since = Fault.SATURATED, ch.at_end[0]
    if not found and p.rules & STUCK_RULE and ch.run > p.stuck_after and (others_move or ch.fault == Fault.STUCK):
        found, since = Fault.STUCK, ch.run_since
    if not found and p.rules & COUNTER_RULE and x < ch.last - p.resolution:
        found = Fault.COUNTER_RESET
    if not p.rules & (JUMP_RULE | UNIT_RULE) or ch.fault == Fault.UNIT_CHANGE:
        return found, since, unit
    if ch.gone > spike_rows:
        ch.good, ch.away = math.nan, []
    if math.isnan(ch.good):
        ch.good = x
    elif abs(np.float32(x) - np.float32(ch.good)) <= p.limit:
        if ch.away and not found and p.rules & JUMP_RULE:
            found, since = Fault.SPIKE, ch.away[0][0]
            if abs(ch.away[-1][1]) <= p.resolution and (p.lowest > p.resolution or p.highest < -p.resolution):
                found = Fault.DROPOUT
        ch.away, ch.good = [], x
    else:
        ch.away.append((time, x))
        away = [value for _, value in ch.away]
        maps = UNIT_CHANGES if p.rules & UNIT_RULE else ()
        ch.maps = [m for m in maps if consistent(ch, away, m)]
        if len(away) >= UNIT_ROWS and ch.maps:
            fits = [
                (abs(np.mean([(v - m[2]) / m[1] for v in away]) - ch.good), m) for m in ch.maps if shaped(p, away, m)
            ]
            if fits and not found:
                found, since, unit = Fault.UNIT_CHANGE, ch.away[0][0], min(fits)[1]
            ch.maps = []
        if not ch.maps and (len(away) > spike_rows or not p.rules & JUMP_RULE):
            ch.good, ch.away = x, []
    return found, since, unit


def consistent(ch, away, unit):
    """Whether everything since the jump may be the old channel in another unit."""
    _, factor, offset = unit
    back = [(v - offset) / factor for v in away]
    steps = np.abs(np.diff(away)) / abs(factor)
    near = abs(back[0] - ch.good) <= 2 * ch.p.usual_step
    return near and all(map(ch.within, back[1:])) and (steps <= 2 * ch.p.usual_step).all()


def shaped(p, away, unit):
    """Whether it moves as much as before, in the new unit."""
    rms = math.sqrt(np.mean(np.diff(away) ** 2))
    return 0.5 <= rms / (abs(unit[1]) * p.step_rms) <= 2


def naive_declared(values, flags, clear_rows):
    """Changes, uint8[n, 2] of masked faults, and values as scored, of a current loop and a counter."""
    changes, masked, scored = [], np.zeros(values.shape, np.uint8), np.full(values.shape, np.nan, np.float32)
    signs, since, fault, quiet = [], 0, Fault.NONE, 0
    for i, x in enumerate(values[:, 0]):
        time = START + i * SECOND
        sign = Fault.NONE
        here = not np.isnan(x) and not flags[i] & RowFlag.IMPUTED
        if here:
            if x <= 3.6 or x >= 21:
                sign = Fault.LOOP_FAILURE
            elif x < 3.8 or x > 20.5:
                sign = Fault.SATURATED
            signs = [*signs, time] if sign else []
            quiet = 0 if sign else quiet + 1
            if len(signs) == 1 and not fault:
                since = time
            if not fault and len(signs) >= 3:
                fault = sign
                changes.append((i, "mA", fault.name.lower(), since, True))
            elif fault and quiet >= clear_rows:
                changes.append((i, "mA", fault.name.lower(), since, False))
                fault = Fault.NONE
        masked[i, 0] = fault or (Fault.SUSPECTED if sign or (not here and signs) else Fault.NONE)
        scored[i, 0] = np.nan if masked[i, 0] else x
    last, seen, fault, since, quiet = None, 0, Fault.NONE, 0, 0
    for i, x in enumerate(values[:, 1]):
        time = START + i * SECOND
        if flags[i] & RowFlag.BREAK:
            last = None
        if not (np.isnan(x) or (flags[i] & (RowFlag.IMPUTED | RowFlag.HELD) and x == last)):
            if last is not None and x >= last:
                scored[i, 1] = (float(x) - float(last)) / (i - seen)
                quiet += 1
            elif last is not None:
                masked[i, 1], quiet = Fault.COUNTER_RESET, 0
                if not fault:
                    fault, since = Fault.COUNTER_RESET, time
                    changes.append((i, "counts", fault.name.lower(), since, True))
            last, seen = x, i
        if fault and quiet >= clear_rows:
            changes.append((i, "counts", fault.name.lower(), since, False))
            fault = Fault.NONE
    return sorted(changes), masked, scored
