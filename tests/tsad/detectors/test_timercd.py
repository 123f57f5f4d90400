import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.tsad.foundation.network_parts import timercd_weights
from tsad.detectors.registry import create_detector, detector_names, detector_options
from tsad.errors import ConfigurationError
from tsad.foundation.runtime import timercd_runner
from tsad.observations import RowBatch


@pytest.fixture
def files(tmp_path):
    """Generated checkpoints for one channel and for several."""
    paths = {}
    for joint in (False, True):
        paths[joint] = str(tmp_path / f"{joint}.safetensors")
        save_file(timercd_weights(joint=joint), paths[joint])
    return paths


def walk(rows, channels=1):
    return np.cumsum(np.random.default_rng(0).standard_normal((rows, channels)), axis=0).astype(np.float32)


def times_of(values):
    return np.arange(len(values)) * 1_000_000_000


def test_is_found_by_name_but_is_in_no_list():
    assert "timercd" not in detector_names()
    assert detector_options("timercd")["window"] == 5000
    with pytest.raises(ConfigurationError, match=r"weights=FILE_OR_FOLDER.*timercd-nano"):
        create_detector("timercd")


@pytest.mark.parametrize("channels", [1, 3])
def test_full_mode_is_the_published_inference(files, channels):
    values = walk(150, channels)
    detector = create_detector("timercd", {"weights": files[channels > 1], "window": 64})
    network = timercd_runner(files[channels > 1]).network
    scaled = ((values - values.mean(axis=0)) / values.std(axis=0)).T
    expected = []
    for start in (0, 64, 128):
        window = scaled[:, start : start + 64]
        missing = 64 - window.shape[1]
        window = np.concatenate([window, np.repeat(window[:, -1:], missing, axis=1)], axis=1)
        there = np.arange(64) < 64 - missing
        with torch.inference_mode():
            logits = network(torch.from_numpy(window[None]), torch.from_numpy(there[None].astype(np.float32)))[0]
        expected.append(logits[0, :, : 64 - missing].numpy())
    probability = 1 / (1 + np.exp(-np.concatenate(expected, axis=1).astype(np.float64)))

    found = detector.score_all(values, times_of(values))

    np.testing.assert_allclose(found, probability.mean(axis=0), atol=1e-5)


def test_a_stride_averages_overlapping_windows(files):
    values = walk(150)
    apart, together = (
        create_detector("timercd", {"weights": files[False], "window": 64, "stride": stride}) for stride in (0, 16)
    )

    one, other = (d.score_all(values, times_of(values)) for d in (apart, together))

    assert not np.isnan(other).any()
    assert not np.allclose(one, other)


def test_a_short_series_does_not_shrink_the_window_of_the_next(files):
    detector = create_detector("timercd", {"weights": files[False], "window": 128})
    values = walk(300)
    before = detector.score_all(values, times_of(values))
    detector.score_all(values[:40], times_of(values)[:40])

    np.testing.assert_array_equal(detector.score_all(values, times_of(values)), before)


def test_channels_beyond_the_cap_are_taken_in_groups_with_a_warning(files):
    values = walk(64, 6)
    detector = create_detector("timercd", {"weights": files[True], "window": 64, "most_tokens": 12})
    with pytest.warns(UserWarning, match="6 channels of 64 rows are taken in groups"):
        found = detector.score_all(values, times_of(values))

    halves = [
        create_detector("timercd", {"weights": files[True], "window": 64}).score_all(part, times_of(part))
        for part in (np.ascontiguousarray(values[:, :3]), np.ascontiguousarray(values[:, 3:]))
    ]
    np.testing.assert_allclose(found, np.mean(halves, axis=0), atol=1e-6)


def test_univariate_weights_judge_channels_one_by_one_and_multivariate_ones_refuse_one(files):
    values = walk(64, 2)
    with pytest.warns(UserWarning, match="in groups"):
        both = create_detector("timercd", {"weights": files[False], "window": 64}).score_all(values, times_of(values))
    alone = [
        create_detector("timercd", {"weights": files[False], "window": 64}).score_all(
            np.ascontiguousarray(values[:, c : c + 1]), times_of(values)
        )
        for c in (0, 1)
    ]
    np.testing.assert_allclose(both, np.mean(alone, axis=0), atol=1e-6)

    one = np.ascontiguousarray(values[:, :1])
    with pytest.raises(ConfigurationError, match="more than one channel"):
        create_detector("timercd", {"weights": files[True], "window": 64}).score_all(one, times_of(one))


def test_live_scores_do_not_depend_on_cuts_and_never_see_the_future(files):
    values = walk(100, 2)
    options = {"weights": files[True], "causal_window": 64}
    whole, parts, changed = (create_detector("timercd", options) for _ in range(3))
    for detector in (whole, parts, changed):
        detector.reserve(1, 2)
        detector.fit(0, values[:60], times_of(values)[:60])

    def rows(array, first):
        n = len(array)
        zeros = np.zeros(n, np.int32)
        return RowBatch(
            zeros, np.arange(first, first + n) * 1_000_000_000, array, zeros.astype(np.uint8), zeros, np.arange(n)
        )

    later = values[60:].copy()
    later[20:] += 50
    one = whole.score(rows(values[60:], 60)).score
    pieces = [parts.score(rows(values[a:b], a)).score for a, b in ((60, 61), (61, 90), (90, 100))]

    np.testing.assert_array_equal(one, np.concatenate(pieces))
    np.testing.assert_array_equal(one[:20], changed.score(rows(later, 60)).score[:20])


@pytest.mark.parametrize(
    ("options", "message"), [({"window": 31}, "at least 32"), ({"causal_window": 40}, "multiple of 16")]
)
def test_windows_are_whole_patches(files, options, message):
    with pytest.raises(ConfigurationError, match=message):
        create_detector("timercd", {"weights": files[False], **options})
