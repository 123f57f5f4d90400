"""The loops of `tsad.fleet.waiting_rows` and `tsad.fleet.following`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["FEWEST_SPEAKING", "NOWHERE", "compare", "place"]

NOWHERE = -(2**62)
"""A time step before all others."""
FEWEST_SPEAKING = 4
"""Members that a comparison needs: a node and three others."""


@compiled
def place(
    series, steps, group_of, members, starts, wait, ahead, last, first, newest, frontier, late
):  # fmt: skip
    """Take in rows in order of arrival; `late` tells of each whether its step was closed already.

    Parameters
    ----------
    series, steps
        int32[m] and int64[m], time step of each row within its group.
    group_of
        int32[n], group of each series.
    members, starts
        int32[n] and int64[g + 1], series of group i are ``members[starts[i]:starts[i + 1]]``.
    wait, ahead
        Steps behind the newest at which a member is waited for no longer; steps by which fewer than four members may
        be in front of the others before they count as the newest.
    last
        int64[n], newest step of each series.
    first, newest, frontier
        int64[g], first step of each group, the newest that four members have reached, the newest that is closed.
    late
        bool[m], out.
    """
    top = np.empty(FEWEST_SPEAKING, dtype=np.int64)
    for i in range(len(series)):
        s = series[i]
        g = group_of[s]
        step = steps[i]
        late[i] = step <= frontier[g] or step <= last[s]
        last[s] = max(last[s], step)
        if first[g] == NOWHERE or (frontier[g] == NOWHERE and step < first[g]):
            first[g] = step
        top[:] = NOWHERE
        for at in range(starts[g], starts[g + 1]):
            value = last[members[at]]
            for rank in range(FEWEST_SPEAKING):
                if value > top[rank]:
                    value, top[rank] = top[rank], value
        newest[g] = max(newest[g], top[FEWEST_SPEAKING - 1], top[0] - ahead)
        # Members that have not begun cannot be waited for; so nothing is closed at first.
        if newest[g] <= first[g] + wait:
            continue
        closed = newest[g]
        for at in range(starts[g], starts[g + 1]):
            value = last[members[at]]
            if value >= newest[g] - wait:
                closed = min(closed, value)
        frontier[g] = max(frontier[g], closed)


@compiled
def compare(values, location, scale, level, slope, usual, clip, ratios, group):
    """Judge every node against the median over the others, step by step.

    Parameters
    ----------
    values
        float32[t, k, n], NaN where missing.
    location, scale, level, slope, usual
        float64[k, n]; NaN in `scale` of what is not known.
    clip
        Deviations beyond which a value counts no further.
    ratios, group
        float32[t, k, n], out: signed distance from what is expected in units of `usual`, and the median of the others
        in deviations; NaN where fewer than three others speak.
    """
    t, k, n = values.shape
    own = np.empty(k, dtype=np.float64)
    ranked = np.empty(k, dtype=np.float64)
    for step in range(t):
        for c in range(n):
            known = 0
            for node in range(k):
                z = (values[step, node, c] - location[node, c]) / scale[node, c]
                own[node] = z if np.isnan(z) else min(max(z, -clip), clip)
                if not np.isnan(z):
                    ranked[known] = own[node]
                    known += 1
            ranked[:known].sort()
            others = known - 1
            low, high = max(others - 1, 0) // 2, others // 2
            for node in range(k):
                z = own[node]
                if np.isnan(z) or known < FEWEST_SPEAKING:
                    ratios[step, node, c] = np.nan
                    group[step, node, c] = np.nan
                    continue
                # Without the node itself, all that come behind it move up by one; among equals it does not matter.
                middle = 0.5 * (
                    ranked[low + 1 if z <= ranked[low] else low] + ranked[high + 1 if z <= ranked[high] else high]
                )
                group[step, node, c] = middle
                ratios[step, node, c] = (z - level[node, c] - slope[node, c] * middle) / usual[node, c]
