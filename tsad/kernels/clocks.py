"""The loop of `tsad.quality.clocks`."""

from tsad.compiled import compiled
from tsad.observations import ObservationStatus
from tsad.quality.faults import Fault

__all__ = ["watch_clocks"]

_ACCEPTED, _LATE = int(ObservationStatus.ACCEPTED), int(ObservationStatus.LATE)
_FUTURE = int(ObservationStatus.FUTURE)
_FROZEN, _BEHIND, _AHEAD = int(Fault.CLOCK_FROZEN), int(Fault.CLOCK_BEHIND), int(Fault.CLOCK_AHEAD)


@compiled
def watch_clocks(
    start, series, times, arrivals, status, signs, still, clear, last, since_still, count, kind, first_time,
    first_arrival, good, fault, since, out_observation, out_fault, out_since, out_raised,
):  # fmt: skip
    """Return (next observation, changes written)."""
    m = 0
    for i in range(start, len(series)):
        if m + 2 > len(out_observation):
            return i, m
        if arrivals[i] <= 0:
            continue
        s, t, a = series[i], times[i], arrivals[i]
        found, began = 0, a
        moved = t != last[s]
        if moved:
            last[s], since_still[s] = t, a
        elif a - since_still[s] >= still:
            found, began = _FROZEN, since_still[s]
        sign = _BEHIND if status[i] == _LATE else _AHEAD if status[i] == _FUTURE else 0
        if sign and sign == kind[s]:
            count[s] += moved
        else:
            kind[s], count[s] = sign, 1
            first_time[s], first_arrival[s] = t, a
        if sign and count[s] >= signs:
            # A store that is emptied sends old times too, but faster than they once went by.
            passed = t - first_time[s]
            if sign == _AHEAD or (passed > 0 and 2 * (a - first_arrival[s]) >= passed):
                found, began = sign, first_arrival[s]
        if found or sign:
            good[s] = 0
        elif moved and status[i] == _ACCEPTED:
            good[s] += 1
        if found and fault[s] == 0:
            fault[s], since[s] = found, began
            out_observation[m], out_fault[m], out_since[m], out_raised[m] = i, found, began, True
            m += 1
        elif fault[s] and good[s] >= clear:
            out_observation[m], out_fault[m], out_since[m], out_raised[m] = i, fault[s], since[s], False
            m += 1
            fault[s] = 0
    return len(series), m
