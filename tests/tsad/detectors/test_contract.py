"""What every registered detector must keep; a new one is tested before its author writes a test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.detectors.base import Unscored
from tsad.detectors.registry import create_detector, detector_class, detector_names, detector_options
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.observations import RowBatch, RowFlag

# A network of the foundation tier takes milliseconds for every row and scale.
QUICK: dict[str, dict[str, object]] = {
    "timercd-nano": {"scales": (1, 4)},
    "patchbank, lite": {"lite": True},
    "patchbank, held": {"hold": 200, "most_held": 50},
}
# A form of a detector keeps the contract too; its name comes first.
NAMES = [*detector_names(), *(name for name in QUICK if "," in name)]
TRAIN, CHANNELS = 300, 3
# Rows of each of two series that are interleaved and cut; a network of the foundation tier takes milliseconds for each.
INTERLEAVED = {"timercd-nano": 3, "themis": 3}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def of_class(name):
    return name.partition(",")[0]


def silent(name):
    return create_detector(of_class(name), QUICK.get(name))


def make(name):
    detector = silent(name)
    detector.give_delayed()
    return detector


def recording(rows, seed=0, channels=CHANNELS):
    """Correlated channels around a slow wave."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    common = np.sin(t / 15) + 0.3 * rng.standard_normal(rows)
    values = common[:, None] * np.linspace(1, 2, channels) + 0.2 * rng.standard_normal((rows, channels))
    return values.astype(np.float32), t * 1_000_000_000


def rows_of(values, times, series=0, flags=None):
    n = len(values)
    numbers = np.full(n, series, np.int32) if np.isscalar(series) else np.asarray(series, np.int32)
    return RowBatch(
        numbers, np.asarray(times, np.int64), np.asarray(values, np.float32),
        np.zeros(n, np.uint8) if flags is None else flags, np.zeros(n, np.int32), np.arange(n, dtype=np.int64),
    )  # fmt: skip


def fitted(name, train=TRAIN, series=(0,), channels=CHANNELS):
    detector = make(name)
    detector.reserve(max(series) + 1, channels)
    for s in series:
        values, times = recording(train, seed=s, channels=channels)
        detector.fit(s, values, times)
    return detector


def test_says_what_it_is(name):
    detector = make(name)

    assert detector.name == of_class(name)
    assert detector.summary
    assert detector.cost in {"light", "model", "foundation"}
    assert detector.lookahead == 0
    assert detector.window >= 1
    assert detector.min_train >= 1
    assert detector_class(of_class(name)).__doc__


def test_is_deterministic(name):
    values, times = recording(200, seed=9)
    scores = [fitted(name).score(rows_of(values, times)).score for _ in range(2)]

    np.testing.assert_array_equal(*scores)


@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_streaming_equals_batch_among_other_series(name, data):
    # Bit for bit, however rows of two series are interleaved and cut.
    detectors = _pair(name)
    rows = INTERLEAVED.get(name, 60)
    values = [recording(rows, seed=20 + s)[0] for s in (0, 1)]
    order = data.draw(st.permutations([0] * rows + [1] * rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, 2 * rows), max_size=4)))
    series = np.array(order, np.int32)
    mixed = np.empty((2 * rows, CHANNELS), np.float32)
    for s in (0, 1):
        mixed[series == s] = values[s]
    times = np.arange(2 * rows) * 1_000_000_000

    whole = [detectors[0].score(rows_of(values[s], np.flatnonzero(series == s) * 1_000_000_000, s)) for s in (0, 1)]
    parts = [
        detectors[1].score(rows_of(mixed[a:b], times[a:b], series[a:b]))
        for a, b in zip([0, *cuts], [*cuts, 2 * rows], strict=True)
    ]

    for field in ("score", "expected", "contributions", *(("delayed",) if detectors[0].delays else ())):
        streamed = np.concatenate([getattr(p, field) for p in parts])
        for s in (0, 1):
            np.testing.assert_array_equal(streamed[series == s], getattr(whole[s], field))


_FITTED = {}


def _pair(name):
    """Two equal detectors in the state after fitting two series; fitting once is enough for all examples."""
    if name not in _FITTED:
        detector = fitted(name, series=(0, 1))
        _FITTED[name] = {**detector.state(2, fitted=True), **detector.state(2, fitted=False)}
    pair = [make(name), make(name)]
    for detector in pair:
        detector.reserve(2, CHANNELS)
        detector.restore({key: value.copy() for key, value in _FITTED[name].items()})
    return pair


def test_saved_and_loaded_continues_exactly(name):
    values, times = recording(120, seed=5)
    detector = fitted(name)
    detector.score(rows_of(values[:50], times[:50]))
    other = make(name)
    other.reserve(1, CHANNELS)
    other.restore({**detector.state(1, fitted=True), **detector.state(1, fitted=False)})

    left = detector.score(rows_of(values[50:], times[50:]))
    right = other.score(rows_of(values[50:], times[50:]))

    np.testing.assert_array_equal(left.score, right.score)
    if detector.delays:
        np.testing.assert_array_equal(left.delayed, right.delayed)


def test_never_sees_the_future(name):
    values, times = recording(120, seed=5)
    changed = values.copy()
    changed[80:] += 100

    left = fitted(name).score(rows_of(values, times))
    right = fitted(name).score(rows_of(changed, times))

    np.testing.assert_array_equal(left.score[:80], right.score[:80])
    assert not np.array_equal(left.score[80:], right.score[80:])
    if left.delayed is not None:
        np.testing.assert_array_equal(left.delayed[:80], right.delayed[:80])


@pytest.mark.parametrize("name", [n for n in NAMES if silent(n).delays])
def test_says_more_of_a_row_later(name):
    """Where it is asked, and in the same way of rows that it learns from; what it says at once stays as it is."""
    train, times = recording(TRAIN, seed=0)
    values = recording(200, seed=9)[0]
    later = times[:200] + TRAIN * 10**9
    asked, unasked = make(name), silent(name)
    assert list(asked.delays) == sorted(set(asked.delays))
    assert asked.delays[0] > 0
    prefixes = []
    for detector in (asked, unasked):
        detector.reserve(1, CHANNELS)
        prefixes.append(detector.fit_with_delays(0, train, times))
    np.testing.assert_array_equal(prefixes[0][0], prefixes[1][0])
    np.testing.assert_array_equal(prefixes[0][0], unasked.fit(0, train, times))
    assert prefixes[0][1].shape == (TRAIN, len(asked.delays))
    said = asked.score(rows_of(values, later))
    assert said.delayed.shape == (200, len(asked.delays))
    for k, delay in enumerate(asked.delays):
        assert np.isnan(said.delayed[:delay, k]).all()
        assert np.isfinite(said.delayed[delay:, k]).all()
    immediate = unasked.score(rows_of(values, later))
    assert immediate.delayed is None
    for field in ("score", "expected", "contributions", "nearest"):
        np.testing.assert_array_equal(getattr(said, field), getattr(immediate, field))


def test_higher_is_odder(name):
    values, times = recording(400, seed=7)
    odd = values.copy()
    odd[300:320] += 8

    scores = fitted(name).score(rows_of(odd, times)).score

    usual = scores[~np.isnan(scores)][:200]
    assert np.nanmedian(scores[305:320]) > np.quantile(usual, 0.99)


def test_names_the_channel_that_is_odd(name):
    values, times = recording(200, seed=7)
    values[150, 1] += 6

    found = fitted(name).score(rows_of(values, times))

    assert int(np.argmax(found.contributions[150])) == 1
    assert found.contributions[150].sum() == pytest.approx(1, abs=1e-5)
    assert not found.lower[150, 1] <= values[150, 1] <= found.upper[150, 1]
    assert found.lower[100, 0] <= found.expected[100, 0] <= found.upper[100, 0]


def test_prefix_scores_are_honest_and_comparable(name):
    train, times = recording(1500, seed=3)
    detector = make(name)
    detector.reserve(1, CHANNELS)
    prefix = detector.fit(0, train[:750], times[:750])
    later = detector.score(rows_of(train[750:], times[750:])).score

    known = prefix[~np.isnan(prefix)]
    assert len(known) >= 0.25 * 750
    # What follows is as usual as the prefix was: in-sample scores would be lower.
    assert np.nanmedian(later) == pytest.approx(np.median(known), rel=0.35)


def test_missing_values_are_defined(name):
    values, times = recording(200, seed=7)
    values[100:110, 0] = np.nan
    values[150] = np.nan

    found = fitted(name).score(rows_of(values, times))

    assert not np.isinf(found.score).any()
    assert not np.isnan(found.score[100:110]).any()
    assert (np.isnan(found.score) == (found.reason != Unscored.SCORED)).all()
    if detector_class(of_class(name)).__name__ != "SubPcaDetector":
        assert found.reason[150] == Unscored.VALUES_MISSING


def test_constant_and_huge_inputs_are_defined(name):
    values, times = recording(200, seed=7)
    constant = np.full_like(values, 5.0)
    huge = values * np.float32(1e30)
    for data in (constant, huge):
        detector = make(name)
        detector.reserve(1, CHANNELS)
        prefix = detector.fit(0, data, times)
        assert not np.isinf(prefix).any()
        assert not np.isinf(detector.score(rows_of(data, times)).score).any()


def test_a_channel_that_was_never_seen_is_left_out(name):
    values, times = recording(300, seed=7)
    values[:, 2] = np.nan
    detector = make(name)
    detector.reserve(1, CHANNELS)
    detector.fit(0, values, times)
    later = values.copy()
    later[:, 2] = 1e6

    found = detector.score(rows_of(later, times))

    assert not np.isinf(found.score).any()
    assert (found.contributions[:, 2] == 0).all()


def test_a_gap_empties_the_window(name):
    values, times = recording(200, seed=7)
    flags = np.zeros(200, np.uint8)
    flags[120] = RowFlag.BREAK

    found = fitted(name).score(rows_of(values, times, flags=flags))

    needed = int(np.count_nonzero(found.reason[120:] == Unscored.WINDOW_INCOMPLETE))
    assert needed < detector_window(name)
    np.testing.assert_array_equal(found.reason[:120] == Unscored.WINDOW_INCOMPLETE, False)


def detector_window(name):
    return make(name).window + 1


def test_too_few_rows_say_how_many_are_needed(name):
    values, times = recording(8)
    detector = make(name)
    detector.reserve(1, CHANNELS)

    with pytest.raises(NotEnoughDataError, match=r"needs \d+ .*there are 8"):
        detector.fit(0, values, times)


def test_hindsight_finds_a_planted_anomaly(name):
    values, times = recording(600, seed=7)
    values[400:430] += 6
    scores = make(name).score_all(values, times)

    assert scores.shape == (600,)
    inside, outside = np.nanmean(scores[400:430]), np.nanmean(np.delete(scores, np.s_[400:430]))
    assert inside > 2 * outside


def test_options_are_checked(name):
    with pytest.raises(ConfigurationError, match="has no option 'nonsense'"):
        create_detector(of_class(name), {"nonsense": 1})
    assert isinstance(detector_options(of_class(name)), dict)


def test_unknown_detector_lists_those_that_exist():
    with pytest.raises(ConfigurationError, match=r"no detector 'lof'.*robust"):
        create_detector("lof")
