"""What the light tier promises: little state a series, and thousands of series in one call."""

import numpy as np
import pytest

from tests.tsad.detectors.test_contract import recording
from tsad.detectors.registry import create_detector, detector_class, detector_names
from tsad.observations import RowBatch

LARGEST_STATE = 18 * 1024
# A bank of windows is what they are for; docs/detectors.md tells how large it is.
LARGER = {"auto", "patchbank"}
LIGHT = [name for name in detector_names() if detector_class(name).cost == "light"]


def fitted(name, series, train=1000):
    detector = create_detector(name)
    detector.reserve(series, 1)
    for s in range(series):
        values, times = recording(train, seed=s, channels=1)
        detector.fit(s, values, times)
    return detector


def state_bytes(detector, series):
    return sum(a.nbytes for f in (True, False) for a in detector.state(series, fitted=f).values())


@pytest.mark.parametrize("name", sorted(set(LIGHT) - LARGER))
def test_a_series_of_one_channel_takes_little_state(name):
    detector = fitted(name, 2)

    assert state_bytes(detector, 2) / 2 <= LARGEST_STATE


@pytest.mark.parametrize("name", LIGHT)
def test_thousands_of_series_in_one_call_say_what_each_says_alone(name):
    series = 2000
    detector = fitted(name, 2, train=300)
    states = {f: detector.state(2, fitted=f) for f in (True, False)}
    many = create_detector(name)
    many.restore({key: np.resize(a, (series, *a.shape[1:])) for f in states.values() for key, a in f.items()})
    values, times = recording(3, seed=9, channels=1)

    def rows(numbers):
        n = 3 * len(numbers)
        zeros = np.zeros(n, np.int64)
        return RowBatch(
            np.tile(numbers, 3).astype(np.int32), np.repeat(times, len(numbers)),
            np.repeat(values, len(numbers), axis=0), np.zeros(n, np.uint8), zeros.astype(np.int32), zeros,
        )  # fmt: skip

    together = many.score(rows(np.arange(series))).score.reshape(3, series)
    alone = detector.score(rows(np.arange(2))).score.reshape(3, 2)

    np.testing.assert_array_equal(together, np.tile(alone, series // 2))


@pytest.mark.parametrize("name", LIGHT)
def test_recordings_that_miss_a_row_now_and_then_are_scored_with_hindsight(name):
    # As SKAB: a second between most rows, two between some. The engine would fill such gaps.
    values, times = recording(900, channels=2)
    times = times + np.cumsum(np.arange(900) % 9 == 0) * 1_000_000_000

    assert np.isfinite(create_detector(name).score_all(values, times)).mean() > 0.9
