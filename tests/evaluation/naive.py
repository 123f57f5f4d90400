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
