"""Rows taken in many at a time leave what they leave one by one, bit for bit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.foundation.row_by_row import RowByRow
from tsad.deadline import Deadline
from tsad.detectors.registry import create_detector
from tsad.foundation.streaming import WindowStream
from tsad.observations import RowBatch, RowFlag


class Network:
    """Its last logit depends on every step of every channel of a window, and on no other window."""

    engine = "none"

    def __init__(self, together):
        self.together = together
        self.seen = []
        self.most = 0

    def __call__(self, values, valid):
        self.most = max(self.most, values.shape[0] * values.shape[1])
        self.seen += [(one.tobytes(), there.tobytes()) for one, there in zip(values, valid, strict=True)]
        along = np.cumsum(values * np.float32(1.3) + valid, axis=2, dtype=np.float32)
        across = np.cumsum(along, axis=1, dtype=np.float32)
        return np.sin(across), np.cos(along - across)


def rows_of(series, values, flags, first):
    n = len(values)
    zeros = np.zeros(n, np.int64)
    return RowBatch(series, np.arange(first, first + n), values, flags, zeros.astype(np.int32), zeros)


def same_bits(one, other, what):
    assert one.dtype == other.dtype, what
    assert one.tobytes() == other.tobytes(), what


@st.composite
def streams(draw):
    """Settings, rows of a few series in any order, and where they are cut into batches."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    channels = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    scales = draw(st.sampled_from([(1,), (1, 2, 4, 8, 16), (1, 3), (1, 5, 7)]))
    n = draw(st.sampled_from([40, 150, 600]))
    series = rng.integers(0, len(channels), n).astype(np.int32)
    if draw(st.booleans()):
        series.sort()
    values = rng.standard_normal((n, max(channels))).cumsum(axis=0).astype(np.float32)
    values[:, rng.random(max(channels)) < 0.2] = 3.0  # stands still
    values[rng.random(values.shape) < draw(st.sampled_from([0, 0.3]))] = np.nan
    for _ in range(draw(st.integers(0, 4))):  # longer than a value is held
        start, channel = rng.integers(n), rng.integers(max(channels))
        values[start : start + 40, channel] = rng.choice([np.nan, np.inf])
    values[rng.random(n) < draw(st.sampled_from([0, 0.05]))] = np.nan
    for number, count in enumerate(channels):
        values[series == number, count:] = np.nan
    flags = np.where(rng.random(n) < draw(st.sampled_from([0, 0.002, 0.02])), RowFlag.BREAK, 0).astype(np.uint8)
    cuts = sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=3))})
    options = {
        "window": draw(st.sampled_from([40, 64])), "scales": scales, "hop": draw(st.sampled_from([1, 4, 16])),
        "longest_gap": draw(st.sampled_from([2, 16])),
    }  # fmt: skip
    known = rng.random((len(channels), max(channels))) < 0.9
    may_ask = rng.random(n) < draw(st.sampled_from([1.0, 0.5])) if draw(st.booleans()) else None
    return options, channels, known, series, values, flags, cuts, may_ask


def prepared(stream, channels, known):
    stream.arrays.reserve(len(channels), max(channels) + 1)  # another series of the stream has one more
    stream.arrays.n_channels[: len(channels)] = channels
    stream.arrays.known[: len(channels), : max(channels)] = known
    stream.begin(np.arange(len(channels), dtype=np.int32))
    return stream


def in_time_for(calls):
    """A deadline that is over after so many looks at the clock."""
    left = [calls]

    def is_over():
        left[0] -= 1
        return left[0] < 0

    return Deadline(is_over)


@settings(max_examples=40)
@given(streams(), st.sampled_from([1, 3, 16]), st.none() | st.integers(0, 40))
def test_many_rows_at_once_leave_what_they_leave_one_by_one(stream, together, patience):
    options, channels, known, series, values, flags, cuts, may_ask = stream
    quick, slow = (prepared(kind(Network(together), **options), channels, known) for kind in (WindowStream, RowByRow))

    for first, after in pairwise(cuts):
        part = slice(first, after)
        rows = rows_of(series[part], values[part], flags[part], first)
        asked = None if may_ask is None else may_ask[part]
        found, expected = (
            one.follow(rows, asked, None if patience is None else in_time_for(patience)) for one in (quick, slow)
        )
        for name in found._fields:
            same_bits(getattr(found, name), getattr(expected, name), name)
        for name, array in quick.arrays.state(len(channels), fitted=False).items():
            same_bits(array, getattr(slow.arrays, name)[: len(channels)], name)

    assert sorted(quick._runner.seen) == sorted(slow._runner.seen)
    assert quick._runner.most <= max(together, *channels)


def test_windows_of_a_prefix_go_through_the_network_together():
    network = Network(16)
    stream = prepared(WindowStream(network, 64, (1, 2, 4), hop=1, longest_gap=16), [1], np.ones((1, 1), np.bool_))
    values = np.random.default_rng(0).standard_normal((400, 2)).astype(np.float32)
    stream.follow(rows_of(np.zeros(400, np.int32), values, np.zeros(400, np.uint8), 0))

    assert network.most == 16


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_the_shipped_network_learns_and_streams_the_same_bits_row_by_row(engine):
    rng = np.random.default_rng(0)
    values = (np.sin(np.arange(400)[:, None] / (7, 9, 11)) + 0.1 * rng.standard_normal((400, 3))).astype(np.float32)
    values[120:150, 1] = np.nan
    values[200:230] = np.nan
    times = np.arange(400) * 10**9
    times[90:] += 30 * 10**9  # a break
    quick, slow = (
        create_detector("timercd-nano", {"engine": engine, "hop": 8, "calibration_rows": 250}) for _ in range(2)
    )
    slow._stream.__class__ = RowByRow
    prefixes = [detector.fit(0, values[:350], times[:350]) for detector in (quick, slow)]
    later = rows_of(np.zeros(50, np.int32), values[350:], np.zeros(50, np.uint8), 350)

    same_bits(*prefixes, "prefix")
    assert np.isfinite(prefixes[0][250:]).all()
    found, expected = (detector.score(later) for detector in (quick, slow))
    for name in ("score", "contributions", "expected", "lower", "upper"):
        same_bits(getattr(found, name), getattr(expected, name), name)
    for fitted in (False, True):
        for name, array in quick.state(1, fitted=fitted).items():
            same_bits(array, slow.state(1, fitted=fitted)[name], name)
