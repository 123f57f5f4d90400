import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.events.batch import MISSING
from tsad.events.binning import Binning, fit_quantile_bins
from tsad.events.errors import EventFormatError
from tsad.events.vocabulary import EventVocabulary


@given(values=st.lists(st.integers(-(10**9), 10**9), min_size=1))
def test_powers_of_two_equal_a_loop(values):
    plain = [int(math.copysign(math.floor(math.log2(1 + abs(v))), v)) if v else 0 for v in values]
    assert Binning("powers-of-two").bins(values).tolist() == [str(v) for v in plain]


@given(times=st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)), min_size=1))  # noqa: DTZ001
def test_hours_and_days_equal_the_calendar(times):
    aware = [time.replace(tzinfo=UTC) for time in times]
    start = datetime(1970, 1, 1, tzinfo=UTC)
    ns = [(time - start) // timedelta(microseconds=1) * 1000 for time in aware]
    assert Binning("hour-of-day").bins(ns).tolist() == [str(time.hour) for time in aware]
    assert Binning("day-of-week").bins(ns).tolist() == [str(time.weekday()) for time in aware]


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2), bins=st.integers(2, 8))
def test_quantile_bins_hold_every_value(values, bins):
    if len(set(values)) < 2:
        return
    try:
        found = fit_quantile_bins(np.array(values), bins)
    except EventFormatError:
        # Nearly all values equal the lowest one: every quantile does too.
        assert np.quantile(values, (bins - 1) / bins) == min(values)
        return
    assert 1 <= len(found.edges) < bins
    assert {int(word) for word in found.bins(values)} <= set(range(bins))


def test_missing_numbers_are_missing_words():
    words = EventVocabulary(("size",), binnings={"size": Binning("powers-of-two")})
    assert words.encode({"size": [3, None, float("nan"), 5.5]}).codes.ravel().tolist() == [2, MISSING, MISSING, 2]
    assert words.words("size", [2]) == ["2"]


def test_bins_are_stored_with_the_words():
    words = EventVocabulary(("size",), binnings={"size": Binning("edges", (1.0, 2.0))})
    words.encode({"size": [0.5, 1.5]})
    other = EventVocabulary(("size",))
    other.restore(words.state())
    assert other.encode({"size": [1.7, 9.0]}).codes.ravel().tolist() == [3, 4]


@pytest.mark.parametrize(
    ("kind", "edges", "message"),
    [
        ("thirds", (), "kind 'thirds' do not exist"),
        ("edges", (), "edges with 0 edges"),
        ("hour-of-day", (1.0,), "only kind edges"),
        ("edges", (2.0, 1.0), "must be finite and rising"),
        ("edges", (1.0, float("nan")), "must be finite and rising"),
    ],
)
def test_bins_that_make_no_sense_are_refused(kind, edges, message):
    with pytest.raises(EventFormatError, match=message):
        Binning(kind, edges)


def test_bad_numbers_are_told():
    with pytest.raises(EventFormatError, match="need numbers"):
        Binning("powers-of-two").bins(["x"])
    with pytest.raises(EventFormatError, match="value 1 is infinite"):
        Binning("edges", (1.0,)).bins([1.0, float("inf")])
    with pytest.raises(EventFormatError, match="nothing to bin"):
        fit_quantile_bins(np.ones(5))
    with pytest.raises(EventFormatError, match="'zone', which is no attribute"):
        EventVocabulary(("a",), binnings={"zone": Binning("hour-of-day")})
