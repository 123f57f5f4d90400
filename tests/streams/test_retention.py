"""Rollups and the choice of rows against plain twins."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from streams.kernels import NO_MINUTE, roll_up, select_delayed, select_notable

MINUTE = 60


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from([1.0, 2.5, np.nan])), max_size=60),
    st.integers(4, 12),
)
def test_rollups_equal_a_plain_group_by(rows, capacity):
    rows.sort(key=lambda r: r[1])
    series = np.array([r[0] for r in rows], np.int32)
    times = np.array([r[1] * 20 for r in rows], np.int64)
    values = np.array([[r[2]] for r in rows], np.float32).reshape(-1, 1)
    p = np.linspace(0.9, 0.1, len(rows))
    minute, lowest = np.full(2, NO_MINUTE), np.full(2, np.nan)
    count, low, high, total = (
        np.zeros((2, 1), np.int64),
        *(np.zeros((2, 1), np.float32) for _ in range(2)),
        np.zeros((2, 1)),
    )
    found, start = [], 0
    while start < len(rows):
        out = (
            np.empty(capacity, np.int32), np.empty(capacity, np.int64), np.empty(capacity, np.int16),
            np.empty(capacity, np.int32), np.empty(capacity, np.float32), np.empty(capacity, np.float32),
            np.empty(capacity), np.empty(capacity),
        )  # fmt: skip
        counts = np.ones(2, np.int32)
        start, m = roll_up(
            start, series, times, values, p, counts, MINUTE, minute, count, low, high, total, lowest, *out
        )
        found += [tuple(float(column[i]) for column in out) for i in range(m)]

    expected = []
    for s in (0, 1):
        own = [(t // MINUTE, v, q) for (r, _, v), t, q in zip(rows, times, p, strict=True) if r == s]
        minutes = sorted({m for m, _, _ in own})
        for m in minutes[:-1]:  # the last minute is still open
            inside = [v for n, v, _ in own if n == m and not np.isnan(v)]
            if inside:
                oddest = min(q for n, _, q in own if n == m)
                expected.append((s, m * MINUTE, 0, len(inside), min(inside), max(inside), np.mean(inside), oddest))
    assert sorted(found) == [tuple(map(float, row)) for row in sorted(expected)]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["quiet", "odd", "alarm"])), max_size=60),
    st.integers(0, 4),
    st.integers(6, 20),
)
@profile(max_examples=60)
def test_notable_rows_equal_the_plain_rule(rows, around, capacity):
    n = len(rows)
    series = np.array([r[0] for r in rows], np.int32)
    on = np.array([r[1] == "alarm" for r in rows], np.bool_)
    p = np.array([0.0001 if r[1] == "odd" else 0.5 for r in rows])
    slots = max(around, 1)
    state = (
        np.zeros((2, slots, 1), np.int64), np.zeros((2, slots, 1)), np.zeros((2, slots, 1), np.float32),
        np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64),
    )  # fmt: skip
    whole = np.arange(n)[:, None]
    found, start = [], 0
    while start < n:
        out = (
            np.empty(capacity, np.int32),
            np.empty((capacity, 1), np.int64),
            np.empty((capacity, 1)),
            np.empty((capacity, 1), np.float32),
        )
        start, m = select_notable(
            start, series, whole, np.zeros((n, 1)), np.zeros((n, 1), np.float32), p, on, 0.001, around, *state, *out
        )
        found += out[1][:m, 0].tolist()

    expected = []
    for s in (0, 1):
        remembered, after = [], 0
        for i in np.flatnonzero(series == s).tolist():
            if on[i]:
                # What came last before an alarm belongs to its picture.
                expected += [*remembered, i]
                remembered, after = [], around
            elif p[i] <= 0.001 or after > 0:
                expected.append(i)
                after = max(0, after - 1)
            else:
                remembered = [*remembered, i][-around:] if around else []
    assert sorted(found) == sorted(expected)
    assert pa.array(found).null_count == 0


@given(
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["quiet", "odd", "alarm"])), max_size=60), st.integers(0, 60)
)
def test_delayed_scores_of_notable_rows_and_of_alarms_are_kept(rows, cut):
    delays, slots, n = (2, 5), 6, len(rows)
    series = np.array([r[0] for r in rows], np.int32)
    on = np.array([r[1] == "alarm" for r in rows], np.bool_)
    p = np.array([0.0001 if r[1] == "odd" else np.nan for r in rows])
    came, about, late = [], [], []
    for i in range(n):
        own = [j for j in range(i + 1) if series[j] == series[i]]
        for delay in delays:
            if len(own) > delay:
                came.append(i)
                about.append(own[-1 - delay])
                late.append(delay)
    came, late = np.array(came, np.int64), np.array(late, np.int16)
    marks, seen, after = np.zeros((2, slots), np.bool_), np.zeros(2, np.int64), np.zeros(2, np.int64)
    keep = np.zeros(len(came), np.bool_)
    cut = min(cut, n)
    for start, stop in ((0, cut), (cut, n)):
        part = (came >= start) & (came < stop)
        kept = np.zeros(np.count_nonzero(part), np.bool_)
        select_delayed(
            series[start:stop], p[start:stop], on[start:stop], 0.001, came[part] - start, late[part], marks, seen,
            after, kept,
        )  # fmt: skip
        keep[part] = kept

    for i, j, found in zip(came.tolist(), about, keep.tolist(), strict=True):
        own = np.flatnonzero(series[: i + 1] == series[i])
        in_alarm = on[own[-1 - slots :]].any()
        assert found == (on[j] or p[j] <= 0.001 or in_alarm)
