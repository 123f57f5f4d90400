import importlib.util
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.alignment import Aligner
from tsad.observations import ObservationBatch, ObservationStatus, RowFlag

_spec = importlib.util.spec_from_file_location("tsad_naive", Path(__file__).parent / "naive.py")
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

STEP = 10


def batch(rows, width, arrivals=None):
    """`rows`: (series, time, values)."""
    n = len(rows)
    return ObservationBatch(
        series=np.array([r[0] for r in rows], np.int32),
        times=np.array([r[1] for r in rows], np.int64),
        values=np.array([r[2] for r in rows], np.float32).reshape(n, width),
        channels=None,
        partitions=np.zeros(n, np.int32),
        offsets=np.arange(n, dtype=np.int64),
        arrivals=np.zeros(n, np.int64) if arrivals is None else np.array(arrivals, np.int64),
    )


def align(rows, width=1, **settings):
    aligner = Aligner(STEP, **settings)
    series = 1 + max(r[0] for r in rows)
    return aligner.align(batch(rows, width), np.full(series, width, np.int32))


def test_a_complete_row_is_final_at_once():
    rows, status = align([(0, 100, [1.0]), (0, 110, [2.0])])

    assert rows.times.tolist() == [100, 110]
    assert rows.values[:, 0].tolist() == [1.0, 2.0]
    assert not rows.flags.any()
    assert not status.any()


def test_jitter_of_less_than_half_a_step_makes_no_gap():
    rows, _ = align([(0, 100, [1.0]), (0, 114, [2.0]), (0, 116, [3.0])])

    assert rows.times.tolist() == [100, 114, 116]
    assert not rows.flags.any()


def test_short_gap_is_filled_by_held_rows_and_a_long_one_is_a_break():
    rows, _ = align([(0, 0, [1.0]), (0, 30, [2.0]), (0, 100, [3.0])], hold=3)

    assert rows.times.tolist() == [0, 10, 20, 30, 100]
    assert rows.values[:, 0].tolist() == [1.0, 1.0, 1.0, 2.0, 3.0]
    assert rows.flags.tolist() == [0, RowFlag.IMPUTED | RowFlag.HELD, RowFlag.IMPUTED | RowFlag.HELD, 0, RowFlag.BREAK]


def test_missing_channel_is_held_only_as_long_as_allowed():
    nan = np.nan
    observations = [(0, 0, [1.0, 5.0])] + [(0, 10 * k, [1.0, nan]) for k in range(1, 6)]
    rows, _ = align(observations, width=2, hold=2)

    # The last row still waits for its second channel.
    np.testing.assert_array_equal(rows.values[:, 1], np.array([5, 5, 5, nan, nan], np.float32))


def test_statuses_tell_duplicates_corrections_superfluous_and_late():
    rows, status = align([(0, 0, [1.0]), (0, 10, [2.0]), (0, 10, [2.0]), (0, 10, [9.0]), (0, 12, [2.5]), (0, 0, [1.0])])

    assert len(rows) == 2
    assert [ObservationStatus(s).name for s in status] == [
        "ACCEPTED", "ACCEPTED", "DUPLICATE", "CORRECTION", "SUPERFLUOUS", "LATE",
    ]  # fmt: skip


def test_future_is_judged_by_the_arrival():
    aligner = Aligner(STEP, max_ahead=100)
    observations = batch([(0, 50, [1.0]), (0, 500, [2.0]), (0, 60, [3.0])], 1, arrivals=[50, 60, 70])

    rows, status = aligner.align(observations, np.ones(1, np.int32))

    assert status.tolist() == [0, ObservationStatus.FUTURE, 0]
    assert rows.times.tolist() == [50, 60]


def test_allowed_delay_puts_observations_in_order():
    rows, status = align([(0, 0, [0.0]), (0, 20, [2.0]), (0, 10, [1.0]), (0, 30, [3.0])], allowed_delay=20)

    assert rows.values[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert not status.any()


def test_mean_rule_waits_for_the_next_cell():
    rows, _ = align([(0, 0, [1.0]), (0, 2, [3.0]), (0, 10, [7.0])], cell="mean")

    assert rows.values[:, 0].tolist() == [2.0]


def test_last_rule_takes_the_last():
    rows, _ = align([(0, 0, [1.0]), (0, 2, [3.0]), (0, 10, [7.0])], cell="last")

    assert rows.values[:, 0].tolist() == [3.0]


def test_a_gap_of_centuries_costs_nothing():
    rows, _ = align([(0, 0, [1.0]), (0, 10**18, [2.0])])

    assert rows.flags.tolist() == [0, RowFlag.BREAK]


def test_empty_batch():
    aligner = Aligner(STEP)
    rows, status = aligner.align(batch([(0, 0, [1.0])], 1).take(np.zeros(0, np.intp)), np.ones(1, np.int32))

    assert len(rows) == 0
    assert len(status) == 0


observations = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 300), st.lists(st.sampled_from([1.0, 2.0, np.nan]), min_size=2, max_size=2)
    ),
    min_size=1,
    max_size=60,
)


def same_rows(left, right):
    for name in ("series", "times", "values", "flags", "offsets"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@given(observations, st.data(), st.sampled_from([0, 10, 30]), st.sampled_from(["first", "last", "mean"]))
def test_rows_do_not_depend_on_how_observations_were_batched(rows, data, delay, cell):
    whole = batch(rows, 2)
    counts = np.full(3, 2, np.int32)
    expected, expected_status = Aligner(STEP, allowed_delay=delay, cell=cell).align(whole, counts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))

    aligner = Aligner(STEP, allowed_delay=delay, cell=cell)
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        parts.append(aligner.align(whole.take(np.arange(start, stop)), counts))
        restored = Aligner(STEP, allowed_delay=delay, cell=cell)
        restored.restore({**aligner.state(3, fitted=False), **aligner.state(3, fitted=True)})
        aligner = restored

    for name in ("series", "times", "values", "flags", "offsets"):
        got = np.concatenate([getattr(part[0], name) for part in parts])
        np.testing.assert_array_equal(got, getattr(expected, name))
    np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), expected_status)


@given(observations, st.sampled_from([0, 10, 30]))
def test_rows_equal_the_naive_twin(rows, delay):
    # The twin takes only channels that have a value; rows of one series at a time. Its rule for two values of a
    # channel in one cell is the first, so corrections within a waiting cell are left out.
    seen, kept = set(), []
    for series, time, values in rows:
        given_values = {c: v for c, v in enumerate(values) if not np.isnan(v)}
        if given_values and (series, time) not in seen:
            seen.add((series, time))
            kept.append((series, time, values))
    if not kept:
        return
    found, _ = Aligner(STEP, allowed_delay=delay).align(batch(kept, 2), np.full(3, 2, np.int32))
    for series in range(3):
        own = [(t, {c: v for c, v in enumerate(values) if not np.isnan(v)}) for s, t, values in kept if s == series]
        expected = naive.align_first(own, 2, STEP, 3, 1 + -(-delay // STEP))
        where = found.series == series
        assert found.times[where].tolist() == [row[0] for row in expected]
        np.testing.assert_array_equal(found.values[where], np.array([row[1] for row in expected]).reshape(-1, 2))
        assert ((found.flags[where] & RowFlag.IMPUTED) != 0).tolist() == [row[2] for row in expected]
        assert ((found.flags[where] & RowFlag.BREAK) != 0).tolist() == [row[3] for row in expected]
