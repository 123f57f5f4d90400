"""Slow twins of the fast metrics: straight from the definitions, one threshold and one step at a time."""

from itertools import pairwise, product

import numpy as np


def events(y):
    found, t = [], 0
    while t < len(y):
        if y[t]:
            a = t
            while t + 1 < len(y) and y[t + 1]:
                t += 1
            found.append((a, t))
        t += 1
    return found


def pate_counts(y, b, early, delay):
    """True positive, false positive and false negative weight of predictions."""
    T, bounds = len(y), events(y)
    tp = fp = fn = 0.0
    weight = {}  # step -> (weight, event, "post" | "pre")
    for k, (a, z) in enumerate(bounds):
        n = z - a + 1
        following = bounds[k + 1][0] if k + 1 < len(bounds) else T
        D = min(delay, following - 1 - z)
        for x in range(1, D + 1):
            weight[z + x] = ((D - x) / (D + (n - 1) / 2), k, "post")
    for k, (a, z) in enumerate(bounds):
        n = z - a + 1
        before = a
        while before > 0 and a - (before - 1) <= early and before - 1 not in weight and not y[before - 1]:
            before -= 1
        E = a - before
        for t in range(before, a):
            weight[t] = ((E - (a - t)) / (E + (n - 1) / 2), k, "pre")
    hit = [any(b[a : z + 1]) for a, z in bounds]
    for t in range(T):
        if not b[t]:
            continue
        if y[t]:
            tp += 1
        elif t in weight:
            w, k, side = weight[t]
            if side == "pre" and not hit[k]:
                w = 0.0
            tp += w
            fp += 1 - w
        else:
            fp += 1
    for k, (a, z) in enumerate(bounds):
        n = z - a + 1
        if not hit[k]:
            fn += n
            continue
        f = next(t for t in range(a, z + 1) if b[t])
        run = 0
        while f + run <= z and b[f + run]:
            run += 1
        for o in range(n):
            if not b[a + o]:
                fn += 1 if o <= run else 1 - (run + 1) * (o - run / 2) / (n * (n - 1) / 2)
    return tp, fp, fn


def pate(y, s, early, delay, splits, include_zero, drop_intermediate, interpolation):
    def sizes(largest):
        grid = [largest * i / splits for i in range(0 if include_zero else 1, splits + 1)]
        return [int(v) for v in grid]

    thresholds = sorted(set(s), reverse=True)
    found = [sum(1 for t in range(len(y)) if y[t] and s[t] >= th) for th in thresholds]
    if drop_intermediate:
        last = len(thresholds) - 1
        thresholds = [
            th
            for i, th in enumerate(thresholds)
            if i in (0, last) or found[i] != found[i - 1] or found[i] != found[i + 1]
        ]
    areas = []
    for early_size, delay_size in product(sizes(early), sizes(delay)):
        points = [(0.0, 1.0)]
        for th in thresholds:
            b = [v >= th for v in s]
            tp, fp, fn = pate_counts(y, b, early_size, delay_size)
            recall = tp / (tp + fn) if tp + fn else 0.0
            if recall >= max(r for r, _ in points) - 1e-12:
                points.append((recall, tp / (tp + fp)))
        area = 0.0
        for (r0, p0), (r1, p1) in pairwise(points):
            area += (r1 - r0) * (p1 if interpolation == "step" else (p0 + p1) / 2)
        areas.append(area)
    return float(np.mean(areas))


def auc_roc(y, s):
    pairs = [(p, n) for p, l in zip(s, y, strict=True) if l for n, m in zip(s, y, strict=True) if not m]
    return sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)


def average_precision(y, s):
    total, before = 0.0, 0.0
    for th in sorted(set(s), reverse=True):
        b = [v >= th for v in s]
        hit = sum(1 for l, p in zip(y, b, strict=True) if l and p)
        total += (hit / sum(y) - before) * hit / sum(b)
        before = hit / sum(y)
    return total


def best_f1(y, s):
    best = 0.0
    for th in set(s):
        hit = sum(1 for l, v in zip(y, s, strict=True) if l and v >= th)
        best = max(best, 2 * hit / (sum(y) + sum(v >= th for v in s)))
    return best


def soft_labels(y, width, right):
    """Labels with soft steps: `right` is how many steps after an event are reached."""
    soft = [0.0] * len(y)
    for a, z in events(y):
        for t in range(a, z + 1):
            soft[t] += 1.0
        for delta in range(1, width // 2 + 1):
            if a - delta >= 0:
                soft[a - delta] += (1 - delta / width) ** 0.5
            if delta <= right and z + delta < len(y):
                soft[z + delta] += (1 - delta / width) ** 0.5
    return [min(1.0, value) for value in soft]


def range_curves(y, s, width, variant):
    """ROC and precision-recall areas for one width of soft labels; `variant` "opt", "2022" or "range"."""
    T, P = len(y), sum(y)
    half = width // 2
    soft = soft_labels(y, width, max(0, half - 1) if variant == "2022" else half)
    segments = events([value > 0 for value in soft])
    ranked = sorted(s, reverse=True)
    roc_points, pr_points = [(0.0, 0.0)], [(0.0, 1.0)]
    for j in np.linspace(0, T - 1, 250).astype(int):
        b = [value >= ranked[j] for value in s]
        hit = sum(value for value, on in zip(soft, b, strict=True) if on)
        outside = [t for t in range(T) if soft[t] > 0 and not y[t]]
        counted = sum(soft[t] for t in outside if variant != "opt" or b[t])
        positives = (P + P + counted) / 2
        found = sum(any(b[a : z + 1]) for a, z in segments) / len(segments)
        tpr = min(hit / positives, 1.0) * found
        fpr = (sum(b) - hit) / (T - positives) if positives < T else float("nan")
        roc_points.append((fpr, tpr))
        pr_points.append((tpr, hit / sum(b)))
    roc_points.append((1.0, 1.0))
    roc = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(roc_points))
    pr = sum((r1 - r0) * (p1 if variant == "opt" else (p0 + p1) / 2) for (r0, p0), (r1, p1) in pairwise(pr_points))
    return roc, pr


def affiliation(y, b, grid=200):
    """Affiliation precision and recall by sums over a fine grid: right to about one part in `grid`."""
    T, bounds = len(y), [(a, z + 1) for a, z in events(y)]
    middle = [(z + a) / 2 for (_, z), (a, _) in pairwise(bounds)]
    zones = list(zip([0.0, *middle], [*middle, float(T)], strict=True))
    points = (np.arange(T * grid) + 0.5) / grid
    predicted = np.repeat(np.asarray(b, dtype=bool), grid)
    precisions, recalls = [], []
    for (a, z), (left, right) in zip(bounds, zones, strict=True):
        here = (points > left) & (points < right)
        x = points[here & predicted]
        uniform = points[here]
        distances = np.sort(np.maximum(0, np.maximum(a - uniform, uniform - z)))
        if x.size == 0:
            recalls.append(0.0)
            continue
        own = np.maximum(0, np.maximum(a - x, x - z))
        farther = 1 - np.searchsorted(distances, own, side="right") / distances.size
        precisions.append(np.mean(np.where(own == 0, 1.0, farther)))
        inside = points[(points > a) & (points < z)]
        at = np.searchsorted(x, inside)
        after = np.abs(x[np.minimum(at, x.size - 1)] - inside)
        before = np.abs(inside - x[np.maximum(at - 1, 0)])
        D = np.minimum(after, before)
        recalls.append(np.mean(1 - (np.minimum(D, inside - left) + np.minimum(D, right - inside)) / (right - left)))
    return (float(np.mean(precisions)) if precisions else float("nan")), float(np.mean(recalls))


def pa_k_f1(y, b, k):
    adjusted = list(b)
    for a, z in events(y):
        if sum(b[a : z + 1]) / (z - a + 1) > k / 100:
            adjusted[a : z + 1] = [1] * (z - a + 1)
    hit = sum(1 for l, p in zip(y, adjusted, strict=True) if l and p)
    return 2 * hit / (sum(y) + sum(adjusted))


def oracle_pa_k_f1(y, s, k):
    return max(pa_k_f1(y, [int(v >= th) for v in s], k) for th in set(s))


def range_reward(ranges, others, alpha, cardinality, bias):
    """Mean reward of the events of `ranges` for being covered by `others` (Tatbul et al.)."""
    rewards = []
    for a, z in events(ranges):
        n = z - a + 1
        weights = {
            "flat": [1] * n,
            "front": [n - i for i in range(n)],
            "back": [i + 1 for i in range(n)],
            "middle": [min(i + 1, n - i) for i in range(n)],
        }[bias]
        covered = sum(w for i, w in enumerate(weights) if others[a + i])
        overlapping = sum(1 for c, d in events(others) if c <= z and d >= a)
        factor = 1 / overlapping if cardinality == "reciprocal" and overlapping else 1
        rewards.append(alpha * (overlapping > 0) + (1 - alpha) * factor * covered / sum(weights))
    return sum(rewards) / len(rewards)


def false_alarms(y, b):
    return sum(1 for a, z in events(b) if not any(y[a : z + 1]))


def found_events(y, b):
    return sum(1 for a, z in events(y) if any(b[a : z + 1]))


def event_recall_at_rate(y, s, allowed):
    best = 0
    for th in sorted(set(s), reverse=True):
        b = [v >= th for v in s]
        if false_alarms(y, b) > allowed:
            break
        best = found_events(y, b)
    return best / len(events(y))


def c_index(severity, s):
    pairs = [(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if severity[i] > severity[j]]
    return sum(1.0 if more > less else 0.5 if more == less else 0.0 for more, less in pairs) / len(pairs)


def etapr(y, b, theta_p, theta_r, delta):
    """Enhanced time-series aware precision and recall, by sets of steps."""
    anomalies, runs = events(y), events(b)
    share = {}
    for i, (a, z) in enumerate(anomalies):
        last = z + 1 + int(delta * (z - a))
        if i + 1 < len(anomalies) and last > anomalies[i + 1][0]:
            last = anomalies[i + 1][0] - 1
        zone = list(range(z + 1, last + 1)) if delta and last > z + 1 else []
        weight = dict.fromkeys(range(a, z + 1), 1.0)
        for t, v in zip(zone, np.linspace(-6, 6, len(zone)), strict=True):
            weight[t] = 1 / (1 + np.exp(v))
        for j, (c, d) in enumerate(runs):
            share[i, j] = sum(weight.get(t, 0.0) for t in range(c, d + 1))
    length_a = [z - a + 1 for a, z in anomalies]
    length_p = [d - c + 1 for c, d in runs]

    def of_anomaly(i):
        return sum(share[i, j] for j in range(len(runs))) / length_a[i]

    def of_run(j):
        return sum(share[i, j] for i in range(len(anomalies))) / length_p[j]

    changed = True
    while changed:
        changed = False
        for i in range(len(anomalies)):
            if 0 < of_anomaly(i) < theta_r:
                changed = True
                share.update({(i, j): 0.0 for j in range(len(runs))})
        for j in range(len(runs)):
            if 0 < of_run(j) < theta_p:
                changed = True
                share.update({(i, j): 0.0 for i in range(len(anomalies))})
    recall = np.mean([(1 + min(1, of_anomaly(i))) / 2 if of_anomaly(i) > 0 else 0 for i in range(len(anomalies))])
    roots = np.sqrt(length_p)
    parts = [(1 + min(1, of_run(j))) / 2 if of_run(j) > 0 else 0 for j in range(len(runs))]
    return float(np.sum(roots * parts) / np.sum(roots)), float(recall)


def nab(y, b, false_weight, miss_weight):
    """NAB score one detection at a time, normalised between silence and every first step."""

    def sigmoid(x):
        return -1.0 if x > 3 else 2 / (1 + np.exp(5 * x)) - 1

    windows, total = events(y), 0.0
    for a, z in windows:
        hits = [t for t in range(a, z + 1) if b[t]]
        n = z - a + 1
        total += sigmoid(-(z - hits[0] + 1) / n) / sigmoid(-1.0) if hits else -miss_weight
    for t in range(len(y)):
        if b[t] and not y[t]:
            before = [(a, z) for a, z in windows if z < t]
            if before:
                a, z = before[-1]
                total += false_weight * sigmoid((t - z) / max(z - a, 1))
            else:
                total -= false_weight
    silent = -miss_weight * len(windows)
    return (total - silent) / (len(windows) - silent)
