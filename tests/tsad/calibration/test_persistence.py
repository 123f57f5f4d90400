import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.calibration.persistence import PersistenceFilter


def apply(f, scores, breaks=None):
    n = len(scores)
    return f.apply(np.zeros(n, np.int32), np.asarray(scores, float), np.zeros(n, bool) if breaks is None else breaks)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 3), st.floats(-5, 5))
def test_exceeds_a_level_exactly_when_k_of_n_do(scores, k, more, level):
    n = k + more
    found = apply(PersistenceFilter(k, n), scores)

    for i in range(len(scores)):
        last = scores[max(0, i - n + 1) : i + 1]
        if len(last) < k:
            assert np.isnan(found[i]) or n == 1
        else:
            assert (found[i] > level) == (sum(s > level for s in last) >= k)


def test_a_break_empties_the_window():
    found = apply(PersistenceFilter(2, 2), [9, 9, 9, 9], np.array([False, False, True, False]))

    np.testing.assert_array_equal(found, [np.nan, 9, np.nan, 9])


def test_one_of_one_changes_nothing():
    assert apply(PersistenceFilter(1, 1), [1.0, np.nan, 3.0])[2] == 3.0


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="3 of 2"):
        PersistenceFilter(3, 2)
