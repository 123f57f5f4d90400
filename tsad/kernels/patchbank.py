"""The loops of `tsad.detectors.patchbank`.

Rows come one at a time, and with each the squared distance of the newest window to every window of the bank and of the
ring is brought up to date: the pair that enters is added, the pair that leaves is subtracted, whatever the width. The
bank's sums are kept by ``(j - t) mod N`` and the ring's by lag, so nothing is ever shifted. All pairs are computed by
one function from the same stored float32 values, so what was added is exactly what is subtracted; the rest of the
rounding is removed by computing the sums anew now and then.

Layouts: ``bank[c, j]`` with the j-th row of the training part; ``history[c, p]`` with the last L rows twice, so that
any L of them lie side by side: the newest at ``end = newest mod L + L``.
"""

import numpy as np

from tsad.compiled import compiled

__all__ = [
    "REFRESH_ROWS", "advance", "delayed_scores", "distances_of_window", "early_scores", "hold_back", "row_distances",
    "two_nearest",
]  # fmt: skip

REFRESH_ROWS = 4096
"""Rows after which the sums are computed anew."""
_BLOCK = 256


@compiled
def row_distances(values, x, missing, channels, low, high, out):
    """Squared distances of row x to columns low..high-1 of values; missing channels are left out and made up for.

    In float32, four channels at a time: this is where the time goes.
    """
    used = 0
    there = np.empty(channels, np.int64)
    for c in range(channels):
        if not missing[c]:
            there[used] = c
            used += 1
    # Slices from 0 on: with other bounds the compiler must reckon with negative places, and does not vectorise.
    o = out[low:high]
    m = len(o)
    for j in range(m):
        o[j] = np.float32(0.0)
    n = 0
    while n + 4 <= used:
        c0, c1, c2, c3 = there[n], there[n + 1], there[n + 2], there[n + 3]
        x0, x1, x2, x3 = x[c0], x[c1], x[c2], x[c3]
        v0, v1, v2, v3 = values[c0, low:high], values[c1, low:high], values[c2, low:high], values[c3, low:high]
        for j in range(m):
            d0 = x0 - v0[j]
            d1 = x1 - v1[j]
            d2 = x2 - v2[j]
            d3 = x3 - v3[j]
            o[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        n += 4
    while n < used:
        own, v = x[there[n]], values[there[n], low:high]
        for j in range(m):
            d = own - v[j]
            o[j] += d * d
        n += 1
    if 0 < used < channels:
        factor = np.float32(channels / used)
        for j in range(m):
            o[j] *= factor


@compiled
def _exchange(sums, entering, leaving):
    """Add what enters and subtract what leaves, place by place."""
    for i in range(len(sums)):
        sums[i] += np.float64(entering[i]) - np.float64(leaving[i])


@compiled
def _refresh(bank, history, absent, channels, rows, ring, end, newest, width, bank_sums, ring_sums, scratch):
    """Compute the sums of one width from nothing."""
    for j in range(rows):
        bank_sums[j] = 0.0
    for r in range(ring + 1):
        ring_sums[r] = 0.0
    offset = newest % rows
    for a in range(width):
        row_distances(bank, history[:, end - a], absent[:, end - a], channels, 0, rows - a, scratch)
        for j in range(width - 1, rows):
            q = j - offset
            bank_sums[q + rows if q < 0 else q] += scratch[j - a]
        # Windows at lag l end at end - l; its row a lies at end - l - a.
        first = end - ring - a
        row_distances(history, history[:, end - a], absent[:, end - a], channels, first, end - a, scratch)
        for r in range(ring):
            ring_sums[r] += scratch[first + r]


@compiled
def advance(
    bank, history, absent, channels, rows, ring, end, newest, widths, used, bank_sums, ring_sums, entering, leaving
):  # fmt: skip
    """Take the newest row, which stands in `history` already, into the sums of every width."""
    if newest % REFRESH_ROWS == 0:
        for k in range(len(widths)):
            if used[k]:
                _refresh(
                    bank, history, absent, channels, rows, ring, end, newest, widths[k], bank_sums[k], ring_sums[k],
                    leaving,
                )  # fmt: skip
        return
    offset = newest % rows
    row_distances(bank, history[:, end], absent[:, end], channels, 0, rows, entering)
    for k in range(len(widths)):
        if not used[k]:
            continue
        width = widths[k]
        sums = bank_sums[k]
        old = end - width
        row_distances(bank, history[:, old], absent[:, old], channels, 0, rows - width, leaving)
        # j - offset wraps once: two straight runs.
        low, high = width, min(offset, rows)
        if low < high:
            _exchange(sums[low - offset + rows : high - offset + rows], entering[low:high], leaving[: high - low])
        low = max(width, offset)
        if low < rows:
            _exchange(sums[low - offset : rows - offset], entering[low:rows], leaving[low - width : rows - width])
        # The first window of the bank has no predecessor.
        total = 0.0
        for a in range(width):
            at = width - 1 - a
            row_distances(bank, history[:, end - a], absent[:, end - a], channels, at, at + 1, leaving)
            total += leaving[at]
        q = width - 1 - offset
        sums[q + rows if q < 0 else q] = total
    row_distances(history, history[:, end], absent[:, end], channels, end - ring, end, entering)
    for k in range(len(widths)):
        if not used[k]:
            continue
        width = widths[k]
        sums = ring_sums[k]
        old = end - width
        row_distances(history, history[:, old], absent[:, old], channels, old - ring, old, leaving)
        _exchange(sums[:ring], entering[end - ring : end], leaving[old - ring : old])


@compiled
def distances_of_window(
    bank_sums, ring_sums, bank_good, history_good, rows, ring, end, newest, first, width, level_bank, level_ring,
    centred, period, bank_phase, history_phase, out,
):  # fmt: skip
    """Mean squared distances of the newest window to all others, infinite where there is none to compare with.

    ``out[j]`` is the bank's window ending at j, ``out[rows + r]`` that at lag ``ring - r``. `first` is the number of
    the bank's row 0: within the bank windows on both sides count, as long as they do not overlap. `level_bank` and
    `level_ring` (by place in the history) are the squared distances between means, taken off where `centred`. With a
    `period` only windows at the same time of it count, an eighth of it to either side.
    """
    offset = newest % rows
    if offset:
        _means(bank_sums[rows - offset : rows], level_bank[:offset], width, centred, out[:offset])
    _means(bank_sums[: rows - offset], level_bank[offset:rows], width, centred, out[offset:rows])
    _means(ring_sums[:ring], level_ring[end - ring : end], width, centred, out[rows : rows + ring])
    for j in range(rows):
        if not bank_good[j]:
            out[j] = np.inf
    ring_good = history_good[end - ring : end]
    for r in range(ring):
        if not ring_good[r]:
            out[rows + r] = np.inf
    if period > 0:
        own, slack = history_phase[end], max(2, period // 8)
        for j in range(rows):
            apart = abs(own - bank_phase[j])
            if min(apart, period - apart) > slack:
                out[j] = np.inf
        ring_phase = history_phase[end - ring : end]
        for r in range(ring):
            apart = abs(own - ring_phase[r])
            if min(apart, period - apart) > slack:
                out[rows + r] = np.inf
    _exclude(out, newest, width, rows, ring, newest, first)
    # The same window is not offered twice: the bank has its rows already.
    for r in range(min(ring, max(0, first + rows - newest + ring))):
        out[rows + r] = np.inf


@compiled
def hold_back(distances, history_held, rows, ring, end, hold):
    """Rule out windows of the ring that ended in an alarm less than `hold` rows ago."""
    held = history_held[end - ring : end]
    for r in range(max(0, ring - hold + 1), ring):
        if held[r]:
            distances[rows + r] = np.inf


@compiled
def _means(sums, level, width, centred, out):
    share = 1.0 / width
    if centred:
        for i in range(len(out)):
            out[i] = np.float32(max(sums[i] * share - np.float64(level[i]), 0.0))
    else:
        for i in range(len(out)):
            out[i] = np.float32(max(sums[i] * share, 0.0))


@compiled
def _exclude(distances, number, width, rows, ring, newest, first):
    """Rule out what overlaps the window that ends at row `number`."""
    low, high = number - width + 1, number + width
    for j in range(max(0, low - first), min(rows, high - first)):
        distances[j] = np.inf
    shift = ring - newest
    for r in range(max(0, low + shift), min(ring, high + shift)):
        distances[rows + r] = np.inf


@compiled
def _nearest(bits):
    """Place of the smallest value, the first of equals: by blocks, whose minima of integers are vectorised."""
    best, block = np.int32(2147483647), -1
    for start in range(0, len(bits), _BLOCK):
        part = bits[start : start + _BLOCK]
        low = np.int32(2147483647)
        for i in range(len(part)):
            low = min(low, part[i])
        if low < best:
            best, block = low, start
    if block < 0:
        return -1
    for i in range(block, len(bits)):
        if bits[i] == best:
            return i
    return -1


@compiled
def two_nearest(distances, rows, ring, newest, first, width, order):
    """Place of the nearest window, or of the `order`-th distinct one, and its distance; -1 where there is none.

    Distinct is what does not overlap any nearer one that was taken. With fewer distinct windows the last found counts.
    `distances`, float32 and not negative, are used up.
    """
    place, found = -1, np.inf
    window = distances[: rows + ring]
    # Floats that are not negative have the order of their bits.
    bits = window.view(np.int32)
    for m in range(order):
        at = _nearest(bits)
        if at < 0 or np.isinf(window[at]):
            break
        place, found = at, np.float64(window[at])
        if m + 1 < order:
            number = first + at if at < rows else newest - ring + (at - rows)
            _exclude(distances, number, width, rows, ring, newest, first)
    return place, found


@compiled
def early_scores(
    bank, history, absent, bank_means, history_means, channels, rows, ring, end, place, width, delays, centred,
    complete, by_channel, channel_usual, weights, shares, scores,
):  # fmt: skip
    """Scores at `delays` rows behind the newest one, from the newest window and its match, and each channel's share.

    One delay, or three, which one pass over the residuals serves: ``scores[k]`` is that of ``delays[k]``, and so is
    ``shares[k, c]``, though of the first delay alone where the score is not summed `by_channel`. Residuals count by
    how many of the windows over that row cover them too; with a delay below 0, or one after which no window over the
    row is to come, all count alike. `complete` says that nothing is missing in the window; `weights` is room for five
    times `width` values. Where `by_channel` a score is the sum over channels of their own root mean squares in units
    of ``channel_usual[k]``.
    """
    match = place if place < rows else end - ring + (place - rows)
    n = len(delays)
    for k in range(n):
        delay = delays[k]
        even = delay < 0 or delay >= width - 1
        whole = 0.0
        for i in range(width):
            g = 1.0 if even else float(width - abs(width - 1 - i - delay))
            whole += g
            weights[k, i] = g
        scores[k] = whole
    if not complete:
        for i in range(width):
            used = 0
            for c in range(channels):
                used += not absent[c, end - width + 1 + i]
            for k in range(n):
                weights[k, i] = weights[k, i] * channels / used if used else 0.0
    own_weights, later_weights, even_weights = weights[0], weights[n // 2], weights[n - 1]
    squares, summed = weights[3], weights[4]
    summed[:width] = 0.0
    for c in range(channels):
        own = history[c, end - width + 1 : end + 1]
        if place < rows:
            other = bank[c, match - width + 1 : match + 1]
            level = np.float64(history_means[c, end]) - np.float64(bank_means[c, match])
        else:
            other = history[c, match - width + 1 : match + 1]
            level = np.float64(history_means[c, end]) - np.float64(history_means[c, match])
        shift = level if centred else 0.0
        for i in range(width):
            d = np.float64(own[i]) - np.float64(other[i]) - shift
            squares[i] = d * d
        if not complete:
            gone = absent[c, end - width + 1 : end + 1]
            for i in range(width):
                if gone[i]:
                    squares[i] = 0.0
        share, later, alike = 0.0, 0.0, 0.0
        for i in range(width):
            share += own_weights[i] * squares[i]
        shares[0, c] = share
        if n > 1 and by_channel:
            for i in range(width):
                later += later_weights[i] * squares[i]
                alike += even_weights[i] * squares[i]
            shares[1, c], shares[2, c] = later, alike
        elif n > 1:
            for i in range(width):
                summed[i] += squares[i]
    for k in range(n):
        whole, total = scores[k], 0.0
        if by_channel:
            for c in range(channels):
                shares[k, c] = np.sqrt(shares[k, c] / whole) / channel_usual[k, c]
                total += shares[k, c]
            scores[k] = total
            continue
        if k == 0:
            for c in range(channels):
                total += shares[0, c]
        else:
            for i in range(width):
                total += weights[k, i] * summed[i]
        scores[k] = np.sqrt(total / whole)


@compiled
def delayed_scores(
    windows, later, member_on, member_width, member_clusters, widths, delays, usual, row, first, summed, out
):  # fmt: skip
    """What row number `row` adds to earlier ones: ``out[k]`` becomes the score of the row ``delays[k]`` before it.

    ``windows[m, n mod R]``, of R slots, is the score of the window that ends at row n, NaN where there is none;
    ``later[m]`` the early score at the shortest delay. Where no window over the row is to come its score is the mean
    over all that cover it, and that of a member of clusters is always the mean over those seen so far. Rows before
    `first` have none, and neither has one of which a member cannot say anything.
    """
    slots = windows.shape[1]
    for k in range(len(delays)):
        concerned = row - delays[k]
        if concerned < first:
            continue
        total, largest = 0.0, 0.0
        for m in range(len(member_width)):
            if not member_on[m]:
                continue
            width = widths[member_width[m]]
            value = later[m]
            if member_clusters[m] or delays[k] >= width - 1:
                known, covered = 0, 0.0
                at = concerned % slots
                for _ in range(min(width, delays[k] + 1)):
                    window = windows[m, at]
                    if not np.isnan(window):
                        known += 1
                        covered += window
                    at = at + 1 if at + 1 < slots else 0
                value = covered / known if known else np.nan
            ratio = value / usual[k, m]
            total += ratio
            if np.isnan(ratio):
                break
            largest = max(largest, ratio)
        out[k] = total if summed or np.isnan(total) else largest
