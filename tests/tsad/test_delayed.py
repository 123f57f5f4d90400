from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.delayed import DelayedRows
from tsad.observations import RowBatch

SECOND = 10**9


def rows_of(series, times):
    n = len(series)
    return RowBatch(
        np.asarray(series, np.int32), np.asarray(times, np.int64), np.zeros((n, 1), np.float32), np.zeros(n, np.uint8),
        np.zeros(n, np.int32), np.arange(n),
    )  # fmt: skip


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(0, 40), max_size=4), st.integers(0, 4))
def test_finds_the_rows_that_are_spoken_of_in_whatever_pieces_they_came(series, cuts, restart):
    times = np.arange(len(series)) * SECOND
    scores = np.random.default_rng(0).random((len(series), 2))
    expected = []
    for i, s in enumerate(series):
        own = [j for j in range(i + 1) if series[j] == s]
        for k, delay in enumerate((1, 4)):
            if len(own) > delay:
                expected.append((i, s, own[-1 - delay] * SECOND, delay, scores[i, k], (s + 1) * (k + 1) * 0.5))

    def fresh():
        found = DelayedRows((1, 4))
        for s in range(3):
            found.fit(s, np.array([[np.nan, 1.0], [0.5, 1.0]]) * (s + 1))
        return found

    delayed, found = fresh(), []
    bounds = sorted({0, len(series), *(c for c in cuts if c < len(series))})
    for number, (a, b) in enumerate(pairwise(bounds)):
        part = delayed.find(rows_of(series[a:b], times[a:b]), scores[a:b])
        columns = (part.rows + a, part.series, part.times, part.delays, part.scores, part.levels)
        found += zip(*(column.tolist() for column in columns), strict=True)
        if number == restart:
            state = {**delayed.state(3, fitted=True), **delayed.state(3, fitted=False)}
            delayed = fresh()
            delayed.restore(state)
    assert found == expected


def test_the_level_is_the_quantile_of_the_same_delay():
    delayed = DelayedRows((2,))
    delayed.fit(0, np.concatenate([np.full(5, np.nan), np.arange(11.0)])[:, None])
    found = delayed.find(rows_of([0, 0, 0], [1, 2, 3]), np.array([[np.nan], [np.nan], [7.0]]))
    assert (found.times.tolist(), found.scores.tolist(), found.levels.tolist()) == ([1], [7.0], [9.0])
    assert len(found) == 1
