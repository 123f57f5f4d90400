"""The loop of `tsad.silence`."""

import numpy as np

from tsad.compiled import compiled

__all__ = ["LOST", "RESTORED", "RESUMED", "SILENT", "watch"]

SILENT, RESUMED, LOST, RESTORED = 0, 1, 2, 3
_FACTOR = 3


@compiled
def watch(
    start, series, times, partitions, needed, least, tick, group, share, debounce, watermark, home, last, silent, told,
    allowed, reports, longest, second, grace, lost, members, quiet, out_subject, out_observation, out_kind, out_times,
):  # fmt: skip
    """Return (next observation, changes written)."""
    m = 0
    n_series, n_groups = len(group), len(members)
    for i in range(start, len(series)):
        if m + n_series + n_groups + 2 > len(out_subject):
            return i, m
        s = series[i]
        p = partitions[i]
        t = times[i]
        home[s] = p
        if t > last[s]:
            if reports[s] > 0 and reports[s] < needed:
                gap = t - last[s]
                if gap > longest[s]:
                    longest[s], second[s] = gap, longest[s]
                elif gap > second[s]:
                    second[s] = gap
            reports[s] += 1
            if reports[s] >= needed and allowed[s] == 0:
                # One outage in the training part is not what is usual.
                allowed[s] = max(_FACTOR * second[s], least)
        if silent[s]:
            silent[s] = False
            if told[s]:
                told[s] = False
                out_subject[m], out_observation[m], out_kind[m], out_times[m] = s, i, RESUMED, t
                m += 1
        last[s] = max(last[s], t)
        crossed = False
        if t > watermark[p]:
            # Looking at all series only when the clock of the partition passes a tick keeps this cheap, and makes the
            # moment of detection a matter of the data alone.
            crossed = watermark[p] != np.iinfo(np.int64).min and t // tick > watermark[p] // tick
            watermark[p] = t
        back = n_groups > 0 and group[s] >= 0 and lost[group[s], p]
        if not crossed and not back:
            continue
        for other in range(n_series if crossed else 0):
            if home[other] != p or silent[other] or allowed[other] == 0 or t - last[other] <= allowed[other]:
                continue
            silent[other] = True
            if group[other] < 0:
                told[other] = True
                out_subject[m], out_observation[m], out_kind[m] = other, i, SILENT
                out_times[m] = last[other] + allowed[other]
                m += 1
        if n_groups == 0:
            continue
        members[:] = 0
        quiet[:] = 0
        for other in range(n_series):
            if home[other] == p and group[other] >= 0:
                members[group[other]] += 1
                quiet[group[other]] += silent[other]
        for g in range(n_groups):
            gone = members[g] > 1 and quiet[g] >= share * members[g]
            if gone and not lost[g, p]:
                since = np.iinfo(np.int64).min
                for other in range(n_series):
                    if home[other] == p and group[other] == g and silent[other]:
                        since = max(since, last[other] + allowed[other])
                out_subject[m], out_observation[m], out_kind[m], out_times[m] = g, i, LOST, since
                m += 1
            elif lost[g, p] and not gone:
                for other in range(n_series):
                    if home[other] == p and group[other] == g:
                        grace[other] = t + debounce
                out_subject[m], out_observation[m], out_kind[m], out_times[m] = g, i, RESTORED, t
                m += 1
            lost[g, p] = gone
        for other in range(n_series if crossed else 0):
            if home[other] != p or group[other] < 0 or not silent[other] or told[other] or lost[group[other], p]:
                continue
            # The others of its controller have been waited for.
            if t >= grace[other] and (members[group[other]] < 2 or t - last[other] > allowed[other] + debounce):
                told[other] = True
                out_subject[m], out_observation[m], out_kind[m] = other, i, SILENT
                out_times[m] = last[other] + allowed[other]
                m += 1
    return len(series), m
