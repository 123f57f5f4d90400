"""The loop of `tsad.fleet.waiting_rows`: up to which time step the rows of a group are complete."""

import numpy as np
from numba import njit

__all__ = ["FEWEST_SPEAKING", "NOWHERE", "place"]

NOWHERE = -(2**62)
"""A time step before all others."""
FEWEST_SPEAKING = 4
"""Members that a comparison needs: a node and three others."""


@njit(cache=True, nogil=True)
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
