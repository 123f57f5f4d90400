"""Physical ranges of values, as the series grow."""

import numpy as np
import pytest

from tsad.observations import ObservationBatch
from tsad.quality import RangeLimits
from tsad.series import SeriesTable

INF = np.inf
RANGES = {"level": (0.0, 5.0), "flow": (-1.0, 1.0)}


def batch_of(series, width, channels):
    n = len(series)
    zeros = np.zeros(n, np.int64)
    return ObservationBatch(
        np.array(series, np.int32), zeros, np.zeros((n, width), np.float32), channels, zeros.astype(np.int32),
        zeros, zeros,
    )  # fmt: skip


def wide(series, width):
    return batch_of(series, width, None)


def long(series, channels):
    return batch_of(series, 1, np.array(channels, np.int32))


def table_of(*series):
    table = SeriesTable()
    for asset, channels in series:
        number = table.add(asset)
        for channel in channels:
            table.add_channel(number, channel)
    return table


def told(limits, batch):
    low, high = limits.of(batch)
    return low.tolist(), high.tolist()


def test_each_value_has_the_range_of_its_channel():
    table = table_of(("tank", ["level", "noise"]), ("pump", ["noise", "flow"]))
    limits = RangeLimits(RANGES, table)

    assert told(limits, wide([1, 0], 2)) == ([[-INF, -1.0], [0.0, -INF]], [[INF, 1.0], [5.0, INF]])
    assert told(limits, wide([0], 1)) == ([[0.0]], [[5.0]])
    assert told(limits, long([0, 1, 1], [0, 0, 1])) == ([[0.0], [-INF], [-1.0]], [[5.0], [INF], [1.0]])


@pytest.mark.parametrize("ranges", [{}, RANGES])
def test_without_ranges_or_values_there_are_no_limits(ranges):
    batch = wide([0], 1) if not ranges else wide([], 1)

    assert RangeLimits(ranges, table_of(("tank", ["level"]))).of(batch) == (None, None)


def test_a_table_that_grows_between_batches_is_heeded():
    table = table_of(("tank", ["noise"]))
    limits = RangeLimits(RANGES, table)
    assert told(limits, wide([0], 1)) == ([[-INF]], [[INF]])

    table.add_channel(0, "level")
    assert told(limits, long([0, 0], [0, 1])) == ([[-INF], [0.0]], [[INF], [5.0]])

    for number in range(1, 40):
        table.add(f"pump-{number}")
        table.add_channel(number, "flow")
    assert told(limits, long([39, 0], [0, 1])) == ([[-1.0], [0.0]], [[1.0], [5.0]])


def test_declared_channels_hold_for_series_that_come_later():
    table = SeriesTable(["level"])
    limits = RangeLimits(RANGES, table)
    table.add("tank-1")
    assert told(limits, wide([0], 1)) == ([[0.0]], [[5.0]])

    table.add("tank-2")
    assert told(limits, wide([1], 1)) == ([[0.0]], [[5.0]])


def test_a_restored_table_of_the_same_shape_is_another():
    table = table_of(("tank", ["level", "flow"]))
    limits = RangeLimits(RANGES, table)
    limits.of(wide([0], 2))

    table.restore(table_of(("pump", ["flow", "noise"])).state())

    assert told(limits, wide([0], 2)) == ([[-1.0, -INF]], [[1.0, INF]])


def test_only_what_is_new_is_looked_up():
    class Watched(SeriesTable):
        asked = ()

        def channel_names(self, series):
            self.asked += (series,)
            return super().channel_names(series)

    table = Watched()
    for asset in ("a", "b", "c"):
        table.add_channel(table.add(asset), "flow")
    limits = RangeLimits(RANGES, table)
    limits.of(long([0], [0]))
    limits.of(long([1], [0]))
    assert table.asked == (0, 1, 2)

    table.add_channel(1, "level")
    table.add_channel(table.add("d"), "level")
    limits.of(long([1], [1]))
    assert table.asked == (0, 1, 2, 1, 3)
