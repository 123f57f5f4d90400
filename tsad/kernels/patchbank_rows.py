"""One row after the other for `tsad.detectors.patchbank`: take it in, judge the window that it completes."""

import numpy as np

from tsad.compiled import compiled
from tsad.kernels.patch_clusters import cluster_distance
from tsad.kernels.patchbank import (
    advance,
    delayed_scores,
    distances_of_window,
    early_scores,
    hold_back,
    row_distances,
    two_nearest,
)

__all__ = ["BRIDGED_STEPS", "phase_of", "score_bank_rows", "score_rows"]

BRIDGED_STEPS = 8
"""Windows go on over a gap of up to so many steps, as if its ends were neighbours."""

ALARM_RATIO = 3.0
"""Mean ratio of the members from which on a window may be held back."""

_FARTHEST = 1e4
"""Scaled values are cut off here: beyond ten thousand deviations sums of squares would swallow everything usual."""


@compiled
def phase_of(time, epoch, step, period):
    """Row of the period at a time; 0 where there is none."""
    if period <= 0:
        return 0
    return int((time - epoch + step // 2) // step) % period


@compiled
def _take(
    x, is_break, phase, channels, rows, ring, depth, newest, location, factor, widths, used, centred_width, bank,
    history, history_phase, absent, history_good, history_means, gaps, run, bank_sums, ring_sums, entering, leaving,
):  # fmt: skip
    """Put a row into the history and bring all sums up to date; returns where it stands and its run since a break."""
    at = newest % depth
    before = (newest - 1) % depth
    end = at + depth
    run = 1 if is_break else run + 1
    history_phase[at] = history_phase[end] = phase
    missing, known = 0, 0
    for c in range(channels):
        if factor[c] == 0.0:
            # Never seen in training: there is nothing to compare it with.
            absent[c, at] = absent[c, end] = True
            continue
        known += 1
        value = np.float64(x[c])
        gone = np.isnan(value)
        if gone:
            # As a part of the bank the row stands at its last value; as a query it is left out.
            scaled = np.float32(0.0) if run == 1 else history[c, before]
            missing += 1
        else:
            scaled = np.float32(min(max((value - location[c]) * factor[c], -_FARTHEST), _FARTHEST))
        history[c, at] = history[c, end] = scaled
        absent[c, at] = absent[c, end] = gone
    for k in range(len(widths)):
        width = widths[k]
        left = 0
        for c in range(channels):
            left += factor[c] != 0.0 and absent[c, end - width]
        gaps[k] += missing - (left if newest >= width else 0)
        good = run >= width and 2 * gaps[k] <= width * known
        history_good[k, at] = history_good[k, end] = good
    for c in range(channels):
        total = 0.0
        for a in range(centred_width):
            total += history[c, end - a]
        history_means[c, at] = history_means[c, end] = total / centred_width
    advance(
        bank, history, absent, channels, rows, ring, end, newest, widths, used, bank_sums, ring_sums, entering, leaving
    )
    return end, run


@compiled
def _matched(bank, history, bank_means, history_means, c, rows, ring, end, place, centred):
    """What the matched window has for the newest row; moved to the newest window's mean where means do not count."""
    if place < rows:
        other, mean = bank[c, place], bank_means[c, place]
    else:
        other, mean = history[c, end - ring + (place - rows)], history_means[c, end - ring + (place - rows)]
    return other + (history_means[c, end] - mean) if centred else other


@compiled
def score_bank_rows(
    values, breaks, location, factor, widths, used, member_width, member_centred, member_clusters, member_on, centres,
    n_centres, centred_width, order, ring, depth, delays, period, bank, bank_good, bank_means, bank_phase, history,
    history_phase, absent, history_good, history_means, gaps, bank_sums, ring_sums, nearest, early, by_channel,
    residuals, explaining,
):  # fmt: skip
    """Judge every row of a training part against the rest of it; returns the run since the last break.

    `values` are its rows from the bank's first on; ``nearest[t, m]`` and ``early[t, m, k]`` become the distances of
    the window ending at t and the score at ``delays[k]``, of which there are three; ``residuals[t, c]`` that of the
    newest row for member `explaining`. With a `period` the scores are summed by channel, and each channel's part goes
    to ``by_channel[t, m, k, c]``.
    """
    rows, channels = values.shape
    size = max(rows, 2 * depth)
    entering, leaving = np.zeros(size, np.float32), np.zeros(size, np.float32)
    nothing = np.zeros(channels, np.bool_)
    distances, shares = np.empty(rows + ring, np.float32), np.zeros((3, channels))
    weights, ones = np.empty((5, widths.max())), np.ones((3, channels))
    window = np.empty((channels, widths.max()))
    known = 0
    for c in range(channels):
        known += factor[c] != 0.0
    run = 0
    for t in range(rows):
        end, run = _take(
            values[t], breaks[t], bank_phase[t], channels, rows, ring, depth, t, location, factor, widths, used,
            centred_width, bank, history, history_phase, absent, history_good, history_means, gaps, run, bank_sums,
            ring_sums, entering, leaving,
        )  # fmt: skip
        # What entered and left is in the sums now: the same room holds the distances between levels.
        row_distances(bank_means, history_means[:, end], nothing, channels, 0, rows, entering)
        row_distances(history_means, history_means[:, end], nothing, channels, end - ring, end, leaving)
        for m in range(len(member_width)):
            k = member_width[m]
            if not member_on[m] or not history_good[k, end]:
                continue
            if member_clusters[m]:
                nearest[t, m] = cluster_distance(
                    history, absent, channels, end, widths[k], centres, n_centres, window, shares[0]
                )
                early[t, m] = nearest[t, m]
                continue
            distances_of_window(
                bank_sums[k], ring_sums[k], bank_good[k], history_good[k], rows, ring, end, t, 0, widths[k], entering,
                leaving, member_centred[m], period, bank_phase, history_phase, distances,
            )  # fmt: skip
            place, found = two_nearest(distances, rows, ring, t, 0, widths[k], order)
            if place < 0:
                continue
            complete = gaps[k] == 0 and known == channels
            early_scores(
                bank, history, absent, bank_means, history_means, channels, rows, ring, end, place, widths[k], delays,
                member_centred[m], complete, period > 0, ones, weights, shares, early[t, m],
            )  # fmt: skip
            nearest[t, m] = np.sqrt(found)
            if period > 0:
                by_channel[t, m] = shares
            if m == explaining:
                for c in range(channels):
                    other = _matched(
                        bank, history, bank_means, history_means, c, rows, ring, end, place, member_centred[m]
                    )
                    residuals[t, c] = abs(history[c, end] - other)
    return run


@compiled
def score_rows(
    series, times, values, breaks, n_channels, n_bank, newest, last, run, location, factor, widths, used, member_width,
    member_centred, member_clusters, member_on, centres, n_centres, centred_width, usual, channel_usual, delayed_usual,
    clusters_count, order, summed, ring, hold, most_held, depth, early, delays, period, epoch, step, explaining, bank,
    bank_means, bank_phase, history, history_phase, absent, history_good, history_means, gaps, bank_sums, ring_sums,
    band, bad, bank_times, bank_kept, history_times, history_kept, history_held, clean, windows, score, reason,
    contributions, expected, lower, upper, nearest, nearest_time, delayed,
):  # fmt: skip
    """Judge rows of many series; `nearest[i, m]`, the distances behind the scores, may have no rows.

    `early` are the delays of the early scores: the immediate one alone, or three as in `score_bank_rows`, which
    `nearest` and `delayed` need. ``delayed[i, k]`` becomes the score of the row ``delays[k]`` before row i of its
    series; without `delays` nothing is spent on them, and `windows`, the scores of the last windows of each series, is
    left alone. Members of clusters count in the immediate score if `clusters_count`. Windows over `bad` rows never
    count as normal; with a `hold`, those that end in an alarm count so many rows later, if no more than `most_held` of
    the ring wait already. `nearest_time[i]` becomes the time of the window that the row was explained by.
    """
    size = max(bank.shape[2], 2 * depth)
    entering, leaving = np.zeros(size, np.float32), np.zeros(size, np.float32)
    nothing = np.zeros(values.shape[1], np.bool_)
    distances = np.empty(bank.shape[2] + ring, np.float32)
    shares, weights = np.zeros((3, values.shape[1])), np.empty((5, widths.max() if len(widths) else 0))
    found_early, later = np.empty(3), np.empty(len(member_width))
    window = np.empty((values.shape[1], centres.shape[2]))
    asked = len(delays) > 0
    for i in range(len(series)):
        s = series[i]
        channels, rows = n_channels[s], n_bank[s]
        t = newest[s] + 1
        newest[s] = t
        broken = breaks[i] and times[i] - last[s] > BRIDGED_STEPS * step[s]
        last[s] = times[i]
        end, run[s] = _take(
            values[i], broken, phase_of(times[i], epoch[s], step[s], period[s]), channels, rows, ring, depth, t,
            location[s], factor[s], widths[s], used[s], centred_width[s], bank[s], history[s], history_phase[s],
            absent[s], history_good[s], history_means[s], gaps[s], run[s], bank_sums[s], ring_sums[s], entering,
            leaving,
        )  # fmt: skip
        at = t % depth
        clean[s] = 0 if bad[i] else clean[s] + 1
        history_times[s, at] = history_times[s, end] = times[i]
        history_held[s, at] = history_held[s, end] = False
        for k in range(history_kept.shape[1]):
            kept = history_good[s, k, end] and clean[s] >= widths[s, k]
            history_kept[s, k, at] = history_kept[s, k, end] = kept
        row_distances(bank_means[s], history_means[s, :, end], nothing, channels, 0, rows, entering)
        row_distances(history_means[s], history_means[s, :, end], nothing, channels, end - ring, end, leaving)
        if asked:
            windows[s, :, t % windows.shape[2]] = np.nan
            later[:] = np.nan
        ready, seen, known = True, False, 0
        for c in range(channels):
            known += factor[s, c] != 0.0
        for m in range(len(member_width)):
            if member_on[s, m] and not history_good[s, member_width[m], end]:
                ready = False
        for c in range(channels):
            seen = seen or not absent[s, c, end]
        if not ready or not seen:
            # The longest window is the last to be complete again after a break.
            full = run[s] >= widths[s].max()
            reason[i] = 3 if full or not seen else 2
            if asked:
                delayed_scores(
                    windows[s], later, member_on[s], member_width, member_clusters, widths[s], delays,
                    delayed_usual[s], t, rows, summed, delayed[i],
                )  # fmt: skip
            continue
        total, largest, voices = 0.0, 0.0, 0
        for m in range(len(member_width)):
            if not member_on[s, m]:
                continue
            k = member_width[m]
            width = widths[s, k]
            if member_clusters[m]:
                if not (clusters_count or asked or len(nearest)):
                    continue
                of_window = cluster_distance(
                    history[s], absent[s], channels, end, width, centres[s], n_centres[s], window, shares[0]
                )
                found_early[0] = of_window
                place = -1
            else:
                distances_of_window(
                    bank_sums[s, k], ring_sums[s, k], bank_kept[s, k], history_kept[s, k], rows, ring, end, t, 0, width,
                    entering, leaving, member_centred[m], period[s], bank_phase[s], history_phase[s], distances,
                )  # fmt: skip
                if hold > 0:
                    hold_back(distances, history_held[s], rows, ring, end, hold)
                place, found = two_nearest(distances, rows, ring, t, 0, width, order)
                if place < 0:
                    ready = False
                    break
                complete = gaps[s, k] == 0 and known == channels
                early_scores(
                    bank[s], history[s], absent[s], bank_means[s], history_means[s], channels, rows, ring, end, place,
                    width, early, member_centred[m], complete, period[s] > 0, channel_usual[s, m], weights, shares,
                    found_early,
                )  # fmt: skip
                of_window = found_early[2] if period[s] > 0 else np.sqrt(found)
            ratio = found_early[0] / usual[s, m]
            if len(nearest):
                nearest[i, m] = of_window
            if asked:
                windows[s, m, t % windows.shape[2]] = of_window
                later[m] = found_early[1]
            if member_clusters[m] and not clusters_count:
                continue
            voices += 1
            total += ratio
            largest = max(largest, ratio)
            weight = 0.0
            for c in range(channels):
                weight += shares[0, c]
            if weight > 0.0:
                for c in range(channels):
                    contributions[i, c] += ratio * shares[0, c] / weight
            if m == explaining[s]:
                before = bank_times[s, place] if place < rows else history_times[s, end - ring + (place - rows)]
                nearest_time[i] = before
                for c in range(channels):
                    if factor[s, c] == 0.0:
                        continue
                    unit = 1.0 / factor[s, c]
                    other = _matched(
                        bank[s], history[s], bank_means[s], history_means[s], c, rows, ring, end, place,
                        member_centred[m],
                    )  # fmt: skip
                    expected[i, c] = location[s, c] + other * unit
                    lower[i, c] = expected[i, c] - band[s, c] * unit
                    upper[i, c] = expected[i, c] + band[s, c] * unit
        if asked:
            delayed_scores(
                windows[s], later, member_on[s], member_width, member_clusters, widths[s], delays, delayed_usual[s], t,
                rows, summed, delayed[i],
            )  # fmt: skip
        if not ready:
            # Everything that was learnt has been taken out of the bank.
            reason[i] = 3
            contributions[i] = 0.0
            nearest_time[i] = 0
            continue
        score[i] = total if summed else largest
        if hold > 0 and total >= ALARM_RATIO * voices:
            waiting = 0
            for p in range(end - ring, end):
                waiting += history_held[s, p]
            history_held[s, at] = history_held[s, end] = waiting < most_held
        weight = 0.0
        for c in range(channels):
            weight += contributions[i, c]
        if weight > 0.0:
            for c in range(channels):
                contributions[i, c] /= weight
