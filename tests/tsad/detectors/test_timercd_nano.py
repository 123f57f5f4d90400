import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tsad.detectors.base import Unscored
from tsad.detectors.registry import create_detector
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.foundation.streaming import LEAST_STEPS
from tsad.observations import RowBatch


def rows_of(values, first=0):
    n = len(values)
    numbers = np.zeros(n, np.int32)
    times = np.arange(first, first + n) * 1_000_000_000
    return RowBatch(numbers, times, values, np.zeros(n, np.uint8), numbers, np.arange(n, dtype=np.int64))


def times_of(values):
    return np.arange(len(values)) * 1_000_000_000


def wave(rows, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / (8 + np.arange(channels))) + 0.1 * rng.standard_normal((rows, channels))).astype(np.float32)


def nano(**options):
    # On a GPU scores are close, but not the same bits: tests/tsad/test_on_a_gpu.py.
    return create_detector("timercd-nano", {"scales": (1,), "device": "cpu", **options})


def test_says_what_runs_it():
    assert nano().engine == "onnx:timercd-nano"
    assert nano().choices(0) == ("timercd-nano: the network runs by onnx:timercd-nano",)
    assert nano(engine="torch").engine == "torch"


@pytest.mark.parametrize(
    ("change", "size"), [("level", 4.0), ("flat", 0.0), ("noise", 1.5), ("spike", 6.0), ("quick", 0.0)]
)
def test_finds_with_hindsight_what_it_never_saw(change, size):
    values = wave(2000)
    clean = values.copy()
    where = slice(1200, 1201 if change == "spike" else 1280)
    if change == "flat":
        values[where] = values[1200]
    elif change == "noise":
        values[where] += size * np.random.default_rng(1).standard_normal((80, 1)).astype(np.float32)
    elif change == "quick":
        values[where] = clean[1200:1360:2]
    else:
        values[where] += size
    scores = nano().score_all(values, times_of(values))

    inside = np.zeros(2000, np.bool_)
    inside[where] = True
    assert scores[inside].mean() > np.quantile(scores[~inside], 0.98)
    odd, usual = (nano(channel_aggregate="max").score_all(v, times_of(values))[inside].mean() for v in (values, clean))
    assert odd > 2 * usual


def test_both_engines_give_the_same_scores():
    values = wave(700, 2)
    values[400:430, 1] += 3

    by_onnx, by_torch = (nano(engine=engine).score_all(values, times_of(values)) for engine in ("onnx", "torch"))

    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_shift_and_scale_of_a_channel_do_not_matter():
    values = wave(700, 2)
    moved = values * np.array([3.0, 0.01], np.float32) + np.array([500.0, -7.0], np.float32)

    np.testing.assert_allclose(
        nano().score_all(values, times_of(values)), nano().score_all(moved, times_of(values)), atol=2e-3
    )


def test_the_order_of_channels_does_not_matter():
    values = wave(600, 4)
    values[300:330, 2] += 3

    one = nano().score_all(values, times_of(values))
    other = nano().score_all(np.ascontiguousarray(values[:, [2, 0, 3, 1]]), times_of(values))

    np.testing.assert_allclose(one, other, atol=1e-4)


def test_evidence_of_many_calm_channels_does_not_drown_what_one_of_them_says():
    values = wave(1500, 12)
    values[700:760, 5] += 3
    inside = np.zeros(1500, np.bool_)
    inside[700:760] = True

    scores = nano(channel_aggregate="evidence").score_all(values, times_of(values))

    assert scores[inside].mean() > 1.1 * np.quantile(scores[~inside], 0.99)
    assert average_precision_score(inside, scores) > 0.85


def test_a_channel_that_is_always_odd_to_the_network_is_no_evidence():
    values = wave(1500, 3)
    values[:, 0] = np.random.default_rng(5).standard_exponential(1500) ** 3
    values[700:760, 2] += 3
    inside = np.zeros(1500, np.bool_)
    inside[700:760] = True
    scores = nano().score_all(values, times_of(values))

    assert np.median(scores[inside]) > np.quantile(scores[~inside], 0.95)


def test_a_channel_that_stands_still_changes_nothing():
    values = wave(600, 2)
    with_constant = np.column_stack([values, np.full(600, 7, np.float32)])

    one, other = (nano().score_all(v, times_of(v)) for v in (values, with_constant))

    np.testing.assert_array_equal(one, other)


def test_scores_with_all_scales_need_the_rows_for_them():
    values = wave(200)
    one, several = (nano(scales=scales).score_all(values, times_of(values)) for scales in ((1, 4), (1, 4, 16)))

    np.testing.assert_array_equal(one, several)


def test_with_a_hop_the_last_answer_stands():
    values = wave(120)
    # Evidence is above what is usual, which a hop makes from fewer answers.
    always, sometimes = nano(channel_aggregate="max"), nano(hop=4, channel_aggregate="max")
    for detector in (always, sometimes):
        detector.reserve(1, 1)
        detector.fit(0, values[:80], times_of(values)[:80])
    one, other = (d.score(rows_of(values[80:], 80)).score for d in (always, sometimes))

    np.testing.assert_array_equal(other[3::4], one[3::4])
    for start in range(3, 36, 4):
        assert (other[start : start + 4] == other[start]).all()


def test_only_the_newest_rows_of_a_prefix_are_scored():
    values = wave(150)
    detector = nano(calibration_rows=40)
    detector.reserve(1, 1)
    prefix = detector.fit(0, values, times_of(values))

    assert np.isnan(prefix[:110]).all()
    assert not np.isnan(prefix[110:]).any()


# ---------------------------------------------------------------------------------------------------- bad input


def test_thirty_two_rows_are_enough_and_fewer_are_not():
    values = wave(32)
    assert nano().score_all(values, times_of(values)).shape == (32,)
    with pytest.raises(NotEnoughDataError, match="needs 32 rows with values, there are 31"):
        nano().score_all(values[:31], times_of(values)[:31])


def test_gaps_are_bridged_when_short_and_unscored_when_long():
    values = wave(400)
    values[100:110] = np.nan
    values[200:240] = np.nan

    scores = nano().score_all(values, times_of(values))

    assert not np.isnan(scores[100:110]).any()
    assert np.isnan(scores[200:240]).all()
    assert not np.isnan(np.delete(scores, np.s_[200:240])).any()


def test_infinite_values_are_named_with_hindsight_and_missing_when_live():
    values = wave(100, 2)
    values[60, 1] = np.inf
    with pytest.raises(ValueError, match="channel 1 is infinite in row 60"):
        nano().score_all(values, times_of(values))

    detector = nano()
    detector.reserve(1, 2)
    detector.fit(0, values[:50], times_of(values)[:50])
    found = detector.score(rows_of(values[50:], 50))
    assert np.isfinite(found.score).all()


def test_a_channel_without_values_is_left_out_and_nothing_but_such_is_too_little():
    values = wave(200, 2)
    values[:, 1] = np.nan
    alone = nano().score_all(np.ascontiguousarray(values[:, :1]), times_of(values))

    np.testing.assert_array_equal(nano().score_all(values, times_of(values)), alone)
    with pytest.raises(NotEnoughDataError):
        nano().score_all(np.full((200, 2), np.nan, np.float32), times_of(values))


def test_a_constant_recording_is_not_odd():
    values = np.full((200, 2), 5, np.float32)
    assert (nano().score_all(values, times_of(values)) == 0).all()

    detector = nano()
    detector.reserve(1, 2)
    prefix = detector.fit(0, values, times_of(values))
    found = detector.score(rows_of(values[:20], 200))
    assert (found.score == 0).all()
    assert (found.reason == Unscored.SCORED).all()
    # Without honest scores of it the series could never be calibrated.
    assert np.isnan(prefix[: LEAST_STEPS - 1]).all()
    assert (prefix[LEAST_STEPS - 1 :] == 0).all()


def test_rows_that_calibration_does_not_ask_about_have_no_score_even_where_nothing_moves():
    values = np.full((200, 2), 5, np.float32)
    detector = nano(calibration_rows=50)
    detector.reserve(1, 2)

    prefix = detector.fit(0, values, times_of(values))

    assert np.isnan(prefix[:150]).all()
    assert (prefix[150:] == 0).all()


def test_a_long_gap_of_one_channel_leaves_the_others_their_say():
    values = wave(160, 2)
    detector = nano()
    detector.reserve(1, 2)
    detector.fit(0, values[:100], times_of(values)[:100])
    later = values[100:].copy()
    later[5:40, 1] = np.nan

    found = detector.score(rows_of(later, 100))

    assert (found.reason == Unscored.SCORED).all()
    assert (found.contributions[22:40, 1] == 0).all()
    assert (found.contributions[:5, 1] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (4, 1)}, "rising"),
        ({"scales": (2, 4)}, "the first one 1"),
        ({"scales": ()}, "rising"),
        ({"hop": 0}, "hop is 0"),
        ({"stride": 0}, "stride is 0"),
        ({"channel_aggregate": "median"}, "choose evidence, max"),
        ({"engine": "tpu"}, "choose auto"),
        pytest.param(
            {"device": "cuda:7", "engine": "torch"},
            "torch sees no GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        ({"weights": "nowhere.safetensors"}, "no weights at"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        nano(**options)


def test_a_state_that_switches_counts_little_beside_what_is_measured():
    values = np.column_stack([wave(800), np.zeros(800, np.float32)])
    values[400:403, 1] = 1
    values[600:640, 0] += 4

    beside, alone = (nano().score_all(np.ascontiguousarray(v), times_of(v)) for v in (values, values[:, 1:]))

    assert beside[600:640].mean() > 3 * beside[400:403].mean()
    assert alone[400:403].mean() > 3 * beside[400:403].mean()
