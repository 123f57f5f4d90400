"""Clocks that stand still, were set back, or are ahead; and back-filled records, which are none of these."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tsad.engine import StreamEngine
from tsad.observations import ObservationBatch
from tsad.settings import StreamSettings

SECOND = 1_000_000_000
START = 10**18


def engine(**sensors):
    made = StreamEngine(
        StreamSettings(name="s", step=1, train_rows=80, channels=("x",), detectors=["robust"], sensors=sensors)
    )
    made.table.add("a")
    made.table.add("b")
    return made


def batch(seconds, arrivals=None, series=0):
    """Records with these event times; they arrive a second apart."""
    n = len(seconds)
    arrivals = np.arange(n) if arrivals is None else np.asarray(arrivals)
    return ObservationBatch(
        np.full(n, series, np.int32), START + np.asarray(seconds, np.int64) * SECOND,
        np.random.default_rng(0).standard_normal((n, 1)).astype(np.float32), None, np.zeros(n, np.int32),
        np.arange(n, dtype=np.int64), START + np.asarray(arrivals, np.int64) * SECOND + SECOND // 2,
    )  # fmt: skip


def told(observations, **sensors):
    found = engine(**sensors).process(observations).transitions
    return [(t.kind, t.fault.kind, (t.time - START) // SECOND, (t.fault.since - START) // SECOND)
            for t in found if t.fault is not None]  # fmt: skip


def test_a_clock_that_runs_with_the_arrivals_is_trusted():
    assert told(batch(range(300))) == []


def test_a_clock_that_stands_still_is_told_until_it_runs_again():
    seconds = [*range(100), *[99] * 50, *range(150, 200)]
    assert told(batch(seconds)) == [
        ("sensor.fault", "clock_frozen", 109, 99), ("sensor.cleared", "clock_frozen", 159, 99),
    ]  # fmt: skip


def test_a_clock_that_was_set_back_is_told_until_it_catches_up():
    seconds = [*range(100), *range(40, 140)]
    assert told(batch(seconds)) == [
        ("sensor.fault", "clock_behind", 109, 100), ("sensor.cleared", "clock_behind", 169, 100),
    ]  # fmt: skip


def test_a_clock_in_the_future_is_told():
    seconds = np.arange(200)
    seconds[100:150] += 4000
    assert told(batch(seconds)) == [
        ("sensor.fault", "clock_ahead", 109, 100), ("sensor.cleared", "clock_ahead", 159, 100),
    ]  # fmt: skip


@pytest.mark.parametrize("between", [0, 1])
def test_records_of_a_store_that_is_emptied_are_no_fault(between):
    # Sixty seconds of old records come within six, alone or among new ones.
    old, new = list(range(40, 100)), list(range(160, 166))
    seconds = [*range(40), *range(100, 160), *(sum(zip(old, new * 10, strict=True), ()) if between else old)]
    arrivals = [*range(40), *range(100, 160), *np.linspace(160, 166, 60 * (1 + between)).astype(int)]
    assert told(batch(seconds, arrivals)) == []


def test_without_arrivals_or_when_it_is_switched_off_nothing_is_said():
    seconds = [*range(100), *[99] * 50]
    unknown = batch(seconds)
    unknown.arrivals[:] = 0
    assert told(unknown) == []
    assert told(batch(seconds), clock=False) == []


@profile(max_examples=20, deadline=None)
@given(st.data())
def test_cut_and_restarted_anywhere_it_says_the_same(data):
    seconds = np.arange(260)
    for _ in range(data.draw(st.integers(0, 4))):
        at, shift = data.draw(st.integers(0, 240)), data.draw(st.sampled_from([-60, -7, 4000, None]))
        rows = data.draw(st.integers(1, 40))
        seconds[at : at + rows] = seconds[at] if shift is None else seconds[at : at + rows] + shift
    whole = batch(seconds)
    expected = engine().process(whole).transitions
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=4)))
    current, found = engine(), []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += current.process(whole.take(np.arange(start, stop))).transitions
        fitted, _ = current.state(fitted=True)
        streaming, extra = current.state(fitted=False)
        current = engine()
        current.restore({**fitted, **streaming}, extra)

    assert sorted(map(repr, expected)) == sorted(map(repr, found))
