from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.events.rates import EventCounter
from tsad.series import SeriesTable

STEP = 10


def plain(times, partitions):
    """Counts by partition and step, one event at a time."""
    found, first, now, counts = {}, {}, {}, {}
    for time, p in zip(times, partitions, strict=True):
        step = time // STEP
        if p not in now:
            first[p] = now[p] = step
            counts[p] = Counter()
        for over in range(now[p], max(step, now[p])):
            if over > first[p]:
                found[p, over * STEP] = counts[p][over]
        now[p] = max(now[p], step)
        counts[p][now[p]] += 1
    return found


@given(
    gaps=st.lists(st.tuples(st.integers(-5, 25), st.integers(0, 2)), max_size=80),
    cuts=st.lists(st.integers(0, 80), max_size=4),
)
def test_equals_its_plain_twin_however_it_is_cut(gaps, cuts):
    times = 1000 + np.cumsum([gap for gap, _ in gaps], dtype=np.int64)
    partitions = np.array([p for _, p in gaps], np.int32)
    table = SeriesTable(("events",))
    counter, found = EventCounter("e", STEP, table), {}
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
        rows = counter.count(times[start:stop], partitions[start:stop], np.arange(len(times))[start:stop])
        for series, time, value, partition, offset in zip(
            rows.series, rows.times, rows.values[:, 0], rows.partitions, rows.offsets, strict=True
        ):
            assert table.assets[series] == f"e/partition-{partition}"
            assert times[offset] // STEP > time // STEP
            found[int(partition), int(time)] = int(value)
        state = counter.state()
        counter = EventCounter("e", STEP, table)
        counter.restore(state)
    assert found == plain(times.tolist(), partitions.tolist())


def test_a_first_time_in_another_century_costs_nothing():
    counter = EventCounter("e", STEP, SeriesTable(("events",)))
    counter.count(np.array([0]), np.zeros(1, np.int32), np.zeros(1, np.int64))
    far = 10**15 + np.array([0, 10, 20, 25, 31])
    rows = counter.count(far, np.zeros(5, np.int32), np.arange(5))
    assert rows.values[:, 0].tolist() == []
    rows = counter.count(far + 40, np.zeros(5, np.int32), np.arange(5))
    assert len(rows) > 0
