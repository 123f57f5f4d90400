import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tests.tsad.foundation.chronos_models import KINDS, write_chronos
from tsad.detectors.base import Unscored
from tsad.detectors.registry import create_detector
from tsad.detectors.themis import ADAPTERS
from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.foundation.encoders import ModuleEncoder
from tsad.observations import RowBatch, RowFlag


class Shapes(nn.Module):
    """An encoder without training: every patch of 8 less the mean of its window, and the patch before it."""

    def forward(self, windows):
        centred = (windows - windows.nanmean(dim=1, keepdim=True)).nan_to_num()
        patches = centred.reshape(len(windows), -1, 8)
        before = torch.cat([patches[:, :1], patches[:, :-1]], dim=1)
        return torch.cat([patches, before, torch.ones_like(patches[..., :1])], dim=-1)


def shapes(identity="shapes"):
    return ModuleEncoder(Shapes(), identity, context=128, patch=8, width=17)


def themis(**options):
    return create_detector("themis", {"encoder": shapes(), "window": 128, **options})


def wave(rows, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return (np.sin(t / (8 + np.arange(channels))) + 0.1 * rng.standard_normal((rows, channels))).astype(np.float32)


def times_of(values, first=0):
    return np.arange(first, first + len(values)) * 1_000_000_000


def rows_of(values, first=0, breaks=()):
    numbers = np.zeros(len(values), np.int32)
    flags = np.zeros(len(values), np.uint8)
    flags[list(breaks)] = RowFlag.BREAK
    return RowBatch(numbers, times_of(values, first), values, flags, numbers, np.arange(len(values), dtype=np.int64))


def fitted(values, **options):
    detector = themis(**options)
    detector.reserve(1, values.shape[1])
    return detector, detector.fit(0, values, times_of(values))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("chronos")
    return {kind: str(write_chronos(root / kind, kind, context=128)) for kind in KINDS}


# --------------------------------------------------------------------------------------------------------- mode full


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("window_scores", ["calibrated", "rank"])
def test_every_adapter_finds_a_foreign_shape_with_hindsight(adapter, window_scores):
    t = np.arange(1200)
    values = (np.sin(t / 5) + 0.02 * np.random.default_rng(0).standard_normal(1200)).astype(np.float32)[:, None]
    values[700:716, 0] = 1.5 * np.random.default_rng(1).standard_normal(16)
    options = {"adapter": adapter, "window_scores": window_scores, "lof_neighbours": 5, "spectral_kept": 2, "margin": 8}

    scores = themis(**options).score_all(values, times_of(values))

    inside = np.zeros(1200, np.bool_)
    inside[700:716] = True
    # In rank form every window has one vector of the highest rank.
    assert scores[inside].max() >= np.quantile(scores[~inside], 0.95)


@pytest.mark.parametrize("kind", KINDS)
def test_chronos_models_run_in_both_modes(folders, kind):
    # Their weights are random, so what they find is chance; that they hear what changed, and where, is not.
    clean, changed = wave(300, 2), wave(300, 2)
    changed[200:230, 1] += 4
    full, live = [], []
    for values in (clean, changed):
        detector = create_detector("themis", {"encoder": folders[kind], "window": 64, "hop": 4})
        full.append(detector.score_all(values, times_of(values)))
        detector.reserve(1, 2)
        detector.fit(0, values[:160], times_of(values[:160]))
        live.append(detector.score(rows_of(values[160:], 160)))

    assert np.isfinite(full).all()
    assert np.isfinite([one.score for one in live]).all()
    np.testing.assert_array_equal(live[0].score[:40], live[1].score[:40])
    assert (live[0].score[44:70] != live[1].score[44:70]).all()
    assert live[1].contributions[44:70, 1].mean() > live[0].contributions[44:70, 1].mean()
    assert (full[0] != full[1]).any()


@pytest.mark.parametrize("kind", ["bolt", "t5"])
def test_streaming_equals_batch_with_chronos(folders, kind):
    values = wave(110, 2)
    options = {"encoder": folders[kind], "window": 32}
    whole, parts = (create_detector("themis", options) for _ in range(2))
    for detector in (whole, parts):
        detector.reserve(1, 2)
        detector.fit(0, values[:80], times_of(values[:80]))
    at_once = whole.score(rows_of(values[80:], 80))
    one_by_one = [parts.score(rows_of(values[i : i + 1], i)) for i in range(80, 110)]

    for field in ("score", "contributions", "expected"):
        streamed = np.concatenate([getattr(one, field) for one in one_by_one])
        np.testing.assert_array_equal(getattr(at_once, field), streamed)


def test_a_trained_forecaster_of_the_index_finds_a_change():
    fracast = pytest.importorskip("fracast", reason="extra of the tests")
    model = fracast.FracastModel.from_pretrained(weights="fp32")

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = model.core

        def forward(self, windows):
            there = ~windows.isnan()
            scaled = (windows - windows.nanmean(dim=1, keepdim=True)).nan_to_num()
            padding = (model.context_length - windows.shape[1], 0)
            valid = nn.functional.pad(there, padding)[:, None]
            hidden = self.core(nn.functional.pad(scaled, padding)[:, None], valid, valid.float())
            return hidden[:, -windows.shape[1] :]

    encoder = ModuleEncoder(Hidden(), "fracast-0", context=model.context_length, patch=1, width=model.core.d)
    values = wave(900)
    values[600:640, 0] = 0.0
    scores = create_detector("themis", {"encoder": encoder, "window": 256}).score_all(values, times_of(values))
    inside = np.zeros(900, np.bool_)
    inside[600:640] = True
    assert scores[inside].mean() > np.quantile(scores[~inside], 0.9)


def test_a_known_training_part_is_what_is_usual():
    values = wave(1000)
    values[500:] += 0.8 * np.sign(np.sin(np.arange(500) / 2))[:, None].astype(np.float32)
    learnt = themis().score_all(values, times_of(values), 500)
    # More than half of what is usual without it.
    assert np.median(learnt[560:]) > 2 * np.median(learnt[:440])


def test_every_row_has_a_score_and_windows_are_tiled_beyond_the_context():
    values = wave(1003)
    scores = themis().score_all(values, times_of(values))
    assert scores.shape == (1003,)
    assert np.isfinite(scores).all()


def test_comparing_adapters_embeds_once():
    values = wave(600)
    encoder = shapes()
    calls = []

    class Counted:
        identity, context, patch, width = encoder.identity, encoder.context, encoder.patch, encoder.width

        def __call__(self, windows):
            calls.append(len(windows))
            return encoder(windows)

    detector = create_detector("themis", {"encoder": Counted(), "window": 128})
    first = detector.score_all(values, times_of(values))
    before = len(calls)
    again = detector.score_all(values, times_of(values))
    assert len(calls) == before
    assert detector.cache.hits > 0
    np.testing.assert_array_equal(first, again)


def test_contributions_name_the_channel_with_hindsight():
    values = wave(800, 3)
    values[400:416, 2] = np.random.default_rng(1).standard_normal(16) * 2
    found = themis().hindsight(values)
    assert (found.contributions[402:414].argmax(axis=1) == 2).all()
    np.testing.assert_allclose(found.contributions.sum(axis=1), 1, atol=1e-5)
    assert not found.degenerate.any()


# ------------------------------------------------------------------------------------------------------- mode causal


def test_offset_and_unit_of_a_channel_do_not_matter():
    values = wave(500)
    values[400:420] += 1.5
    scores = []
    for factor, offset in ((1, 0), (4, 8192)):
        moved = values * np.float32(factor) + np.float32(offset)
        detector, _ = fitted(moved[:300])
        scores.append(detector.score(rows_of(moved[300:], 300)).score)
    np.testing.assert_allclose(scores[0], scores[1], rtol=0.05)


def test_with_a_hop_the_last_answer_stands():
    values = wave(400)
    always, _ = fitted(values[:300])
    sometimes, _ = fitted(values[:300], hop=4)
    asked = always.score(rows_of(values[300:], 300)).expected[:, 0]
    found = sometimes.score(rows_of(values[300:], 300))

    assert not np.isnan(asked).any()
    assert np.isfinite(found.score).all()
    for start in range(3, 90, 4):
        assert (found.score[start : start + 4] == found.score[start]).all()
    assert len(np.unique(found.score)) > 20


def test_a_scale_looks_at_means_of_rows():
    values = wave(1200)
    values[900:960] += 1.5
    detector, _ = fitted(values[:800], scale=4)
    assert detector.window == 512
    found = detector.score(rows_of(values[800:], 800)).score
    assert np.median(found[110:160]) > 2 * np.median(found[:95])
    assert np.isfinite(themis(scale=4).score_all(values, times_of(values))).all()


def test_windows_are_as_long_as_the_training_part_allows_and_choices_say_so():
    values = np.column_stack([wave(100), np.full(100, 3, np.float32)])
    detector, prefix = fitted(values)
    assert detector.choices(0)[0] == "windows of 48 steps"
    assert "not looked at: 1" in detector.choices(0)[1]
    assert np.isnan(prefix[:47]).all()
    assert np.isfinite(prefix[47:]).all()


def test_a_break_needs_a_whole_new_window():
    values = wave(400)
    detector, _ = fitted(values[:100])
    found = detector.score(rows_of(values[100:], 100, breaks=[50]))
    assert (found.reason[50:97] == Unscored.WINDOW_INCOMPLETE).all()
    assert (found.reason[97:] == Unscored.SCORED).all()


def test_a_state_of_another_encoder_is_refused():
    values = wave(200)
    detector, _ = fitted(values)
    state = {**detector.state(1, fitted=True), **detector.state(1, fitted=False)}
    other = create_detector("themis", {"encoder": shapes("other"), "window": 128})
    with pytest.raises(SnapshotError, match="another encoder than other"):
        other.restore(state)


def test_the_bank_is_bounded():
    detector, _ = fitted(wave(900), memory=40)
    assert detector.state(1, fitted=True)["bank"].shape[2] == 40


# --------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "needed"), [({"adapter": "spectral-residual"}, 96), ({"adapter": "bank"}, 32), ({"scale": 2}, 64)]
)
def test_short_recordings_say_what_is_needed(options, needed):
    values = wave(needed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert themis(**options).score_all(values, times_of(values)).shape == (needed,)
    with pytest.raises(NotEnoughDataError, match=f"needs {needed} rows with values, there are {needed - 1}"):
        themis(**options).score_all(values[1:], times_of(values[1:]))


def test_a_short_training_part_says_what_is_needed():
    values = wave(64)
    fitted(values)
    with pytest.raises(NotEnoughDataError, match="needs 64 rows with values, there are 63"):
        fitted(values[1:])
    times = times_of(values) + np.arange(64) // 20 * 10**12
    detector = themis()
    detector.reserve(1, 1)
    with pytest.raises(NotEnoughDataError, match="rows without a break"):
        detector.fit(0, values, times)


def test_fewer_vectors_than_neighbours_are_told():
    values = wave(300)
    with pytest.warns(UserWarning, match="16 vectors, so that fewer than 20 neighbours count"):
        themis(adapter="lof").score_all(values, times_of(values))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_constant_recording_is_not_odd_and_flagged(adapter):
    values = np.full((400, 2), 5, np.float32)
    found = themis(adapter=adapter).hindsight(values)
    assert (found.score == 0).all()
    assert found.degenerate.all()

    detector, prefix = fitted(values)
    assert (prefix == 0).all()
    later = detector.score(rows_of(values[:50], 400))
    assert (later.score == 0).all()
    assert (later.reason == Unscored.SCORED).all()


def test_a_window_that_stands_still_is_flagged_and_not_odd():
    values = wave(900)
    values[400:700] = values[400]
    found = themis().hindsight(values)
    assert found.degenerate[515:570].all()
    assert (found.score[515:570] == 0).all()
    assert not found.degenerate[:380].any()


def test_gaps_have_no_score_and_mostly_empty_windows_are_told_once():
    values = wave(900)
    values[100:110] = np.nan
    values[400:700] = np.nan
    with pytest.warns(UserWarning, match="windows have no score") as told:
        scores = themis().score_all(values, times_of(values))
    assert len(told) == 1
    assert np.isnan(scores[100:110]).all()
    assert np.isnan(scores[400:700]).all()
    assert np.isfinite(np.delete(scores, np.r_[100:110, 380:720])).all()


def test_infinite_values_are_named_with_hindsight_and_missing_when_live():
    values = wave(300, 2)
    values[260, 1] = np.inf
    with pytest.raises(ValueError, match="channel 1 is infinite in row 260"):
        themis().score_all(values, times_of(values))
    detector, _ = fitted(values[:250])
    found = detector.score(rows_of(values[250:], 250))
    assert np.isfinite(found.score).all()
    assert found.contributions[10, 1] == 0


def test_a_channel_without_values_or_moves_changes_nothing():
    values = wave(500, 2)
    values[300:310, 0] += 2
    alone = themis().score_all(values, times_of(values))
    more = np.column_stack([values, np.full(500, np.nan, np.float32), np.full(500, 7, np.float32)])
    with pytest.warns(UserWarning, match="without a move are not looked at: 2, 3"):
        np.testing.assert_array_equal(themis().score_all(more, times_of(values)), alone)
    with pytest.raises(NotEnoughDataError):
        themis().score_all(np.full((500, 2), np.nan, np.float32), times_of(values))

    detector, _ = fitted(more[:250])
    other, _ = fitted(values[:250])
    one, two = (d.score(rows_of(v[250:], 250)) for d, v in ((detector, more), (other, values)))
    np.testing.assert_allclose(one.score, two.score, rtol=1e-4)


def test_channels_that_begin_late_leave_the_others_their_say():
    # Unequal lengths: a channel that starts when half of the recording is over.
    values = wave(600, 2)
    values[:300, 1] = np.nan
    with pytest.warns(UserWarning, match="windows have no score"):
        found = themis().hindsight(values)
    assert np.isfinite(found.score).all()
    assert (found.contributions[:300, 1] == 0).all()
    assert found.contributions[330:, 1].mean() > 0.2


def test_too_many_channels_are_refused():
    with pytest.raises(ConfigurationError, match="5 channels are more than most_channels, 4"):
        themis(most_channels=4).score_all(wave(200, 5), times_of(wave(200)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adapter": "best"}, "choose bank, spectral-residual"),
        ({"similarity": "cosine"}, "choose absolute"),
        ({"window_scores": "raw"}, "choose calibrated, rank"),
        ({"channel_aggregate": "median"}, "choose max"),
        ({"window": 256}, "takes 16 to 128 steps"),
        ({"window": 8}, "takes 16 to 128 steps"),
        ({"hop": 0}, "hop is 0"),
        ({"stride": -1}, "stride is -1"),
        ({"top_share": 0}, "shares of a window"),
        ({"encoder": "timercd-nano", "device": "tpux"}, "torch does not know"),
        ({"encoder": "timercd-nano", "dtype": "float16"}, "runs in float32"),
        ({"encoder": "nowhere.safetensors"}, "no weights at"),
        ({"encoder": "amazon/chronos-2-none"}, "tsad downloads nothing"),
        ({"encoder": 3}, "encoder is int, which lacks"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        themis(**options)
