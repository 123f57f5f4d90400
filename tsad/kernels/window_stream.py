"""The loops of `tsad.foundation.streaming`: rows into rings at several time scales, and windows out of them."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["cut_rows", "take_rows", "tell_rows"]


@compiled
def _begin(s, hop, rings, at, filled, within, sums, counts, unasked, last, absent, run, age):
    rings[s] = np.nan
    at[s] = filled[s] = within[s] = 0
    sums[s] = 0.0
    counts[s] = 0
    unasked[s] = False
    last[s] = np.nan
    absent[s] = 0
    run[s] = 0
    age[s] = hop


@compiled
def _push(x, s, longest_gap, scales, known, rings, at, filled, within, sums, counts, unasked, last, absent):
    """Put a row into the rings of series `s`; a scale of one row is a mean over one."""
    window = rings.shape[3]
    for k in range(len(scales)):
        within[s, k] += 1
    for c in range(known.shape[1]):
        if c < len(x) and known[s, c] and np.isfinite(x[c]):
            last[s, c] = x[c]
            absent[s, c] = 0
        else:
            absent[s, c] += 1
        there = not np.isnan(last[s, c]) and absent[s, c] <= longest_gap
        for k in range(len(scales)):
            if there:
                sums[s, k, c] += np.float64(last[s, c])
                counts[s, k, c] += 1
            if within[s, k] == scales[k]:
                half = 2 * counts[s, k, c] >= scales[k]
                rings[s, k, c, at[s, k]] = np.float32(sums[s, k, c] / counts[s, k, c]) if half else np.float32(np.nan)
                sums[s, k, c] = 0.0
                counts[s, k, c] = 0
    for k in range(len(scales)):
        if within[s, k] == scales[k]:
            within[s, k] = 0
            at[s, k] = (at[s, k] + 1) % window
            filled[s, k] = min(filled[s, k] + 1, window)
            unasked[s, k] = True


@compiled
def _cut(i, s, least, n_channels, rings, at, filled, unasked, windows, question_rows, question_scales, asked, slots):
    """Copy the windows of series `s` that hold something new, oldest step first; returns what is there now."""
    window = rings.shape[3]
    for k in range(rings.shape[1]):
        if not unasked[s, k] or filled[s, k] < least:
            continue
        unasked[s, k] = False
        question_rows[asked], question_scales[asked] = i, k
        asked += 1
        older = window - at[s, k]
        for c in range(n_channels[s]):
            windows[slots, :older] = rings[s, k, c, at[s, k] :]
            windows[slots, older:] = rings[s, k, c, : at[s, k]]
            slots += 1
    return asked, slots


@compiled
def take_rows(
    which, first, series, values, breaks, may_ask, hop, least, longest_gap, scales, n_channels, known, rings, at,
    filled, within, sums, counts, unasked, last, absent, run, age, ready, windows, question_rows, question_scales,
):  # fmt: skip
    """Take in the rows ``which[first:]`` until the next one's questions would not fit.

    Where a row is due and may ask, the windows of its series are copied as they are now, one place of `windows` a
    channel. Returns the place in `which` of the next row, and how many questions and places there are.
    """
    asked, slots = 0, 0
    for place in range(first, len(which)):
        i = which[place]
        s = series[i]
        if slots + len(scales) * n_channels[s] > len(windows) or asked + len(scales) > len(question_rows):
            return place, asked, slots
        if breaks[i]:
            _begin(s, hop, rings, at, filled, within, sums, counts, unasked, last, absent, run, age)
        _push(values[i], s, longest_gap, scales, known, rings, at, filled, within, sums, counts, unasked, last, absent)
        run[s] += 1
        age[s] += 1
        ready[i] = run[s] >= least
        if ready[i] and may_ask[i] and age[s] >= hop:
            age[s] = 0
            asked, slots = _cut(
                i, s, least, n_channels, rings, at, filled, unasked, windows, question_rows, question_scales, asked,
                slots,
            )  # fmt: skip
    return len(which), asked, slots


@compiled
def cut_rows(
    which, series, least, n_channels, rings, at, filled, unasked, age, windows, question_rows, question_scales
):
    """Copy the windows of the series of rows that have been taken in; returns how many questions and places."""
    asked, slots = 0, 0
    for place in range(len(which)):
        i = which[place]
        age[series[i]] = 0
        asked, slots = _cut(
            i, series[i], least, n_channels, rings, at, filled, unasked, windows, question_rows, question_scales,
            asked, slots,
        )  # fmt: skip
    return asked, slots


@compiled
def tell_rows(which, series, breaks, ready, n_channels, question_rows, question_scales, answers, logits, said):
    """What stands after each of the rows ``which``: the newest logits of every scale, and their mean in `said`.

    The questions are in the order of the rows, `answers` in that of the questions' channels.
    """
    asked, slots = 0, 0
    width = min(said.shape[1], logits.shape[2])
    for place in range(len(which)):
        i = which[place]
        s = series[i]
        if breaks[i]:
            logits[s] = np.nan
        while asked < len(question_rows) and question_rows[asked] == i:
            for c in range(n_channels[s]):
                logits[s, question_scales[asked], c] = answers[slots]
                slots += 1
            asked += 1
        if not ready[i]:
            continue
        for c in range(width):
            total, count = 0.0, 0
            for k in range(logits.shape[1]):
                if not np.isnan(logits[s, k, c]):
                    total += logits[s, k, c]
                    count += 1
            said[i, c] = total / count if count else np.nan
