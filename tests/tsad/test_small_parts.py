"""Series, arrays, quality, warm-up, silence, fusion, alarms: the parts with few rules each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.alarms import AlarmBook
from tsad.errors import SnapshotError
from tsad.fusion import harmonic_score
from tsad.quality import screen
from tsad.scaling import fit_scaling
from tsad.series import SeriesTable
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays
from tsad.warm_up import WarmUp


def test_series_keep_their_numbers_over_a_restart():
    table = SeriesTable()
    for asset, channel in (("a", "x"), ("b", "y"), ("a", "z")):
        table.add_channel(table.add(asset), channel)
    other = SeriesTable()
    other.restore(table.state())

    assert other.assets == ("a", "b")
    assert other.channel_names(0) == ("x", "z")
    assert other.width == 2


def test_declared_channels_must_be_the_stored_ones():
    with pytest.raises(SnapshotError, match="declares"):
        SeriesTable(["x"]).restore(SeriesTable(["y"]).state())


def test_a_declared_stream_takes_no_further_channel():
    table = SeriesTable(["x"])
    with pytest.raises(ValueError, match="not among"):
        table.add_channel(table.add("a"), "y")


def test_arrays_keep_values_when_they_grow():
    arrays = SeriesArrays({"v": Field(np.float64, np.nan, (2, PER_CHANNEL))})
    arrays.reserve(1, 2)
    arrays.v[0] = 7
    arrays.reserve(50, 5)

    assert (arrays.v[0, :, :2] == 7).all()
    assert np.isnan(arrays.v[0, :, 2:]).all()


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        ({}, "lacks"),
        ({"v": np.zeros((1, 3))}, "float64"),
        ({"v": np.zeros((1, 3), np.float32)}, "settings ask"),
    ],
)
def test_arrays_refuse_what_does_not_fit(stored, problem):
    with pytest.raises(SnapshotError, match=problem):
        SeriesArrays({"v": Field(np.float32, 0, (2,))}).restore(stored)


def test_absent_values_are_not_counted_as_bad():
    values, counts = screen(np.array([[np.nan, 1.0]], np.float32))

    assert (counts.not_finite, counts.out_of_range) == (0, 0)
    assert values[0, 1] == 1.0


@given(st.lists(st.integers(0, 7), min_size=1, max_size=10))
def test_warm_up_uses_exactly_the_rows_it_needs(sizes):
    warm_up = WarmUp(12)
    values = np.arange(sum(sizes), dtype=np.float32)[:, None]
    start, used = 0, 0
    for size in sizes:
        if not warm_up.is_full(0) and size:
            used += warm_up.take(0, values[start : start + size], np.arange(size), 1)
        start += size

    assert used == min(12, sum(sizes))
    if used:
        np.testing.assert_array_equal(warm_up.rows(0)[0][:, 0], np.arange(used))


def test_warm_up_passes_over_empty_rows_and_takes_new_channels():
    warm_up = WarmUp(4)
    warm_up.take(0, np.array([[1.0], [np.nan], [2.0]], np.float32), np.arange(3), 1)
    warm_up.take(0, np.array([[3.0, 30.0]], np.float32), np.array([3]), 2)

    np.testing.assert_array_equal(warm_up.rows(0)[0], np.array([[1, np.nan], [2, np.nan], [3, 30]], np.float32))


def test_warm_up_tries_again_on_newer_rows():
    warm_up = WarmUp(8)
    warm_up.take(0, np.arange(8, dtype=np.float32)[:, None], np.arange(8), 1)
    warm_up.forget_oldest(0)

    assert warm_up.rows(0)[0][:, 0].tolist() == [2, 3, 4, 5, 6, 7]
    assert not warm_up.is_full(0)


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=5))
def test_combined_score_lies_between_the_members(p_values):
    combined = np.exp(-harmonic_score(np.array(p_values)[:, None])[0])

    assert min(p_values) * (1 - 1e-9) <= combined <= max(p_values) * (1 + 1e-9)


def test_silent_members_do_not_count():
    score = harmonic_score(np.array([[0.01, np.nan], [np.nan, np.nan]]))

    assert score[0] == pytest.approx(-np.log(0.01))
    assert np.isnan(score[1])


def test_transitions_count_on_over_episodes_and_restarts():
    book = AlarmBook("pumps")
    first = book.step("alarm.raised", "a", "anomaly", 10, (0, 1), severity="low")
    book.step("alarm.cleared", "a", "anomaly", 20, (0, 2), severity="low")
    other = AlarmBook("pumps")
    other.restore(book.state())
    second = other.step("alarm.raised", "a", "anomaly", 30, (0, 3), severity="low")

    assert (first.transition_seq, second.transition_seq) == (1, 3)
    assert first.alarm_id == second.alarm_id
    assert first.episode_id != second.episode_id


def test_severity_never_falls_within_an_episode():
    book = AlarmBook("pumps")
    book.step("alarm.raised", "a", "anomaly", 10, (0, 1), severity="high")

    assert book.step("alarm.cleared", "a", "anomaly", 20, (0, 2), severity="low").severity == "high"


def test_closing_all_ends_every_open_episode():
    book = AlarmBook("pumps")
    book.step("alarm.raised", "a", "anomaly", 10, (0, 1), severity="high")
    book.step("stream.silent", "b", "silence", 10, (0, 1), severity="medium")

    assert [t.kind for t in book.close_all(50)] == ["alarm.cleared", "stream.resumed"]
    assert book.close_all(60) == []


def test_state_channels_weigh_little_unless_all_are_states():
    values = np.array([[0, 1.5], [1, 2.5], [0, 3.5]], np.float32)

    assert fit_scaling(values).weight.tolist() == [0.05, 1.0]
    assert fit_scaling(values[:, :1]).weight.tolist() == [1.0]


def test_constant_channels_get_a_floor():
    scaling = fit_scaling(np.array([[5.0, 0.0]] * 4, np.float32), robust=True)

    assert scaling.scale.tolist() == [0.025, 1.0]


@given(
    st.lists(
        st.one_of(st.just(np.nan), st.floats(-1e3, 1e3, width=32), st.sampled_from([0.0, 1.0])), min_size=1, max_size=30
    ),
    st.booleans(),
)
def test_scales_equal_the_plain_computation(values, robust):
    x = np.array(values, np.float32)
    known = x[~np.isnan(x)].astype(np.float64)
    scaling = fit_scaling(x[:, None], robust=robust)

    if not len(known):
        assert scaling.weight[0] == 0
        return
    center = np.median(known) if robust else known.mean()
    spread = 1.4826 * np.median(np.abs(known - center)) if robust else 0.0
    deviation = spread if spread > 0 else known.std()
    reach = np.ptp(known)
    floor = 0.005 * reach if reach > 0 else 0.005 * abs(known[0])
    assert scaling.location[0] == pytest.approx(center, abs=1e-9)
    expected = max(deviation, floor) if reach > 0 else floor or 1.0
    assert scaling.scale[0] == pytest.approx(expected, rel=1e-9, abs=1e-12)
