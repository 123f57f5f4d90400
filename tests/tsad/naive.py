"""Slow, obvious twins of the compiled loops. They are the specification."""

import math
from types import SimpleNamespace

import numpy as np

NAN = float("nan")


def align_first(observations, n_channels, step, hold, slots):
    """Rows of one series under the rule ``first``: (time, values, imputed, break) in order.

    `observations` are (time, {channel: value}) in order of arrival. Statuses are not told.
    """
    rows, cells = [], {}
    start = newest = None
    head, last_cell = 0, None
    held = {}
    broken = False

    def emit(cell):
        nonlocal last_cell, broken
        values = [NAN] * n_channels
        content = cells.pop(cell, None)
        for c in range(n_channels):
            if content is not None and c in content[1]:
                held[c] = (content[1][c], cell)
                values[c] = content[1][c]
            elif c in held and cell - held[c][1] <= hold:
                values[c] = held[c][0]
        time = content[0] if content is not None else start + cell * step
        rows.append((time, values, content is None, broken))
        broken = False
        if content is not None:
            last_cell = cell

    for time, given in observations:
        if start is None:
            start, newest = time, 0
        cell = (time - start + step // 2) // step
        if cell < head:
            continue
        newest = max(newest, cell)
        cells.setdefault(cell, (time, {}))
        while head <= newest - slots:
            if cells.get(head, (None, None))[1] is not None and head in cells and (head != cell or cells[cell][1]):
                emit(head)
                head += 1
                continue
            following = min(c for c in cells if c > head)
            if last_cell is not None and following - last_cell - 1 <= hold:
                emit(head)
                head += 1
            else:
                broken = last_cell is not None
                head = min(following, newest - slots + 1)
        for c, value in given.items():
            cells[cell][1].setdefault(c, value)
        while head in cells and len(cells[head][1]) == n_channels:
            emit(head)
            head += 1
    return rows


class Calibrator:
    """One series of `EpisodeCalibrator`, statement by statement as in the specification (float64)."""

    def __init__(self, u, clusters, excess, exposure, *, gap, share, step, limit, budget, memory, prior=0.0):
        self.prior = prior
        self.u, self.K, self.S, self.N = u, clusters, excess, exposure
        self.G, self.h, self.eta, self.b_max, self.lam = gap, share, step, limit, budget
        self.rho = 1 - 1 / memory
        self.b, self.now = 0.0, 0
        self.cluster = None
        self.on = False
        self.off_row = None

    def theta(self):
        k = max(self.K + self.prior, 1.0)
        zeta = (self.K + 1) / self.N
        if self.lam >= zeta:
            return self.u
        return self.u + (k + 1) * ((self.S + self.prior) / k) * ((zeta / self.lam) ** (1 / k) - 1)

    def update(self, s):
        if math.isnan(s):
            return None
        self.now += 1
        theta = self.u + (self.theta() - self.u) * math.exp(self.b)
        event = None
        cap = None
        if not self.on and s > theta:
            event, self.on = "raise", True
            self.b = min(self.b + self.eta, self.b_max)
            cap = theta - self.u
            self.off_row = self.now
        if cap is not None and self.cluster is not None and self.cluster.cap is None:
            self.cluster.cap = cap
        if s > self.u:
            if self.cluster is None:
                self.cluster = SimpleNamespace(peak=s, cap=cap, last=self.now)
            self.cluster.peak = max(self.cluster.peak, s)
            self.cluster.last = self.now
        if self.on:
            if s > self.u + self.h * (theta - self.u):
                self.off_row = self.now
            if self.now - self.off_row > self.G:
                event, self.on = "clear", False
        if self.cluster is not None and not self.on and self.now - self.cluster.last > self.G:
            x = self.cluster.peak - self.u
            if self.cluster.cap is None:
                self.S += x
                self.K += 1
            else:
                self.S += min(x, self.cluster.cap)
            self.cluster = None
        if not self.on:
            self.N = self.rho * self.N + 1
            if self.rho * self.K >= 1:
                self.K, self.S = self.rho * self.K, self.rho * self.S
            self.b = max(0.0, self.b - self.eta * self.lam)
        return event


def robust_scores(train_level, scale, unit, weight, values, pull, limit):
    """Scores of `RobustDetector` without season: (t, c) arrays in, one score a row out."""
    level = np.array(train_level, dtype=float)
    scores = []
    for row in values:
        best = NAN
        for c, x in enumerate(row):
            if math.isnan(x) or weight[c] == 0:
                continue
            ratio = abs(x - level[c]) / (unit[c] * scale[c] / weight[c])
            best = ratio if math.isnan(best) else max(best, ratio)
            bound = limit * scale[c]
            level[c] += pull * min(max(x - level[c], -bound), bound)
        scores.append(best)
    return np.array(scores)


def compared_with_siblings(values, node, known):
    """Ratios of one node at one step: float32[k, n] values, and location, scale, level, slope, usual by node."""
    location, scale, level, slope, usual = known
    found = []
    for c in range(values.shape[1]):
        z = [min(max((float(values[k, c]) - location[k, c]) / scale[k, c], -10.0), 10.0) for k in range(len(values))]
        others = sorted(z[k] for k in range(len(values)) if k != node and not math.isnan(z[k]))
        if math.isnan(z[node]) or len(others) < 3:
            found.append(NAN)
            continue
        half = len(others) // 2
        median = others[half] if len(others) % 2 else (others[half - 1] + others[half]) / 2
        found.append((z[node] - level[node, c] - slope[node, c] * median) / usual[node, c])
    return found


def closed_up_to(rows, wait, ahead):
    """Of one group: whether each ``(member, step)`` comes late, and up to which step all is closed after it."""
    last, first, frontier, found = {}, None, None, []
    for member, step in rows:
        late = (frontier is not None and step <= frontier) or step <= last.get(member, -math.inf)
        last[member] = max(step, last.get(member, -math.inf))
        if frontier is None:
            first = step if first is None else min(first, step)
        reached = sorted(last.values(), reverse=True)
        newest = max([reached[0] - ahead, *reached[3:4]])
        if newest > first + wait:
            waited_for = [s for s in last.values() if s >= newest - wait]
            frontier = max(min([newest, *waited_for]), -math.inf if frontier is None else frontier)
        found.append((late, frontier))
    return found
