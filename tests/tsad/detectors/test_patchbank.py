import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tsad.detectors.test_contract import rows_of
from tsad.detectors import patchbank
from tsad.detectors.base import Unscored
from tsad.detectors.patchbank import PatchBankDetector
from tsad.errors import NotEnoughDataError
from tsad.kernels.patchbank import REFRESH_ROWS
from tsad.observations import RowFlag
from tsad.patch_form import Member
from tsad.patch_learning import settled_scores, usual_score
from tsad.patch_scaling import PatchScaling, fit_patch_scaling

SECOND = 10**9


def members(monkeypatch, width, *, centred=(False, True)):
    """One narrow width instead of three wide ones, so that a plain twin keeps up."""
    monkeypatch.setattr(patchbank, "EARLY_DELAY", 3)
    chosen = tuple(Member(width, centred=c, univariate=True) for c in centred)
    monkeypatch.setattr(patchbank, "MEMBERS", chosen)


def run(values, train, **options):
    """Distances, and early scores of the training part, and scores of the rest."""
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    times = np.arange(len(values)) * SECOND
    detector = PatchBankDetector(**options)
    detector.reserve(1, values.shape[1])
    learnt, ratios = detector._learn(0, values[:train], times[:train])
    scores, nearest = detector._score(rows_of(values[train:], times[train:]), with_nearest=True)
    return np.concatenate([learnt, nearest]), ratios[:, 0] * detector._arrays.usual[0], scores, detector


def twin(values, train, width, ring, order, *, centred, delay=0):
    """Every pair of windows, one by one; windows that may be compared are given by the definition."""
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    scaling = fit_patch_scaling(values[:train].astype(np.float32))
    u = ((values - scaling.location) * scaling.factor).astype(np.float32).astype(np.float64)
    distances, early = np.full(len(u), np.nan), np.full(len(u), np.nan)
    weights = width - np.abs(np.arange(width)[::-1] - delay)

    def window(t):
        found = u[t - width + 1 : t + 1]
        return found - found.mean(axis=0) if centred else found

    for t in range(width - 1, len(u)):
        bank = [j for j in range(width - 1, train) if abs(t - j) >= width]
        past = list(range(max(train, t - ring), t - width + 1)) if t >= train else []
        pairs = {j: np.sum((window(t) - window(j)) ** 2) / width for j in (*bank, *past)}
        match = None
        for _ in range(order):
            if not pairs:
                break
            match = min(pairs, key=pairs.get)
            distances[t] = np.sqrt(pairs[match])
            pairs = {j: d for j, d in pairs.items() if abs(j - match) >= width}
        squares = np.sum((window(t) - window(match)) ** 2, axis=1)
        early[t] = np.sqrt(np.sum(weights * squares) / np.sum(weights))
    return distances, early


def wave(rows, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(rows)[:, None]
    return np.sin(t / 4 + np.arange(channels)) + 0.2 * rng.standard_normal((rows, channels))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_its_plain_twin(monkeypatch, channels, order):
    members(monkeypatch, 8)
    values = wave(190, channels)
    nearest, early, scores, detector = run(values, 80, ring_rows=30, repeats=order - 1)
    for m, centred in enumerate((False, True)):
        distances, expected = twin(values, 80, 8, 30, order, centred=centred)
        np.testing.assert_allclose(nearest[:, m], distances, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(early[:, m], expected[:80], rtol=1e-5, atol=1e-5)
    ratios = [twin(values, 80, 8, 30, order, centred=c)[1][80:] for c in (False, True)]
    usual = detector._arrays.usual[0]
    np.testing.assert_allclose(scores.score, ratios[0] / usual[0] + ratios[1] / usual[1], rtol=1e-5)


def test_long_streams_do_not_drift(monkeypatch):
    """Past the rows where sums are computed anew, around the ring many times, and after far outliers."""
    members(monkeypatch, 8)
    values = wave(REFRESH_ROWS + 300, 2)
    values[1000:1003] = 500
    nearest, _, _, _ = run(values, 60, ring_rows=25)
    last = np.r_[REFRESH_ROWS - 30 : REFRESH_ROWS + 30, len(values) - 30 : len(values)]
    # The ring forgets: only the bank and the last rows matter to the plain twin.
    for stop in (REFRESH_ROWS + 30, len(values)):
        piece = np.concatenate([values[:60], values[stop - 120 : stop]])
        expected, _ = twin(piece, 60, 8, 25, 2, centred=False)
        rows = np.arange(stop - 30, stop)
        np.testing.assert_allclose(nearest[rows, 0], expected[-30:], rtol=1e-5, atol=1e-5)
    assert np.isfinite(nearest[last]).all()


GOLDEN_ROWS = np.arange(120)


def golden():
    x = np.sin(2 * np.pi * GOLDEN_ROWS / 20) + 0.01 * ((7 * GOLDEN_ROWS) % 11)
    x[95:100] += 1
    x[110:] += 0.5
    return x


def test_golden_values(monkeypatch):
    """patch-memory specification, section 11."""
    members(monkeypatch, 8)
    nearest, _, scores, detector = run(golden(), 80, ring_rows=20)
    assert detector._arrays.location[0, 0] == pytest.approx(0.049375)
    assert 1 / detector._arrays.factor[0, 0] == pytest.approx(0.7085268922, abs=1e-7)
    starts = {0: 0.06805423, 85: 0.06731849, 92: 0.32430315, 97: 0.55626604, 112: 0.63193971}
    for start, second in starts.items():
        assert nearest[start + 7, 0] == pytest.approx(second, abs=2e-7)
    for start, second in {92: 0.28897232, 97: 0.30845278, 112: 0.05134467}.items():
        assert nearest[start + 7, 1] == pytest.approx(second, abs=2e-7)
    settled = [settled_scores(nearest[:, m], 8) for m in (0, 1)]
    assert settled[0][[96, 110]] == pytest.approx([0.5592383, 0.32936161], abs=2e-7)
    assert settled[1][96] == pytest.approx(0.32906528, abs=2e-7)
    assert [int(np.nanargmax(s)) for s in settled] == [119, 96]
    usual = [usual_score(settled_scores(nearest[:80, m], 8), 0.0) for m in (0, 1)]
    assert usual == pytest.approx([0.07598363, 0.07509339], abs=2e-7)
    assert detector._arrays.usual[0, 0] == pytest.approx(0.07973563, abs=2e-7)
    both, unit = scores.score, detector._arrays.usual[0]
    members(monkeypatch, 8, centred=(False,))
    absolute = run(golden(), 80, ring_rows=20)[2].score
    for row, value in {96: 0.88584884, 99: 0.27620984, 103: 0.61527374, 106: 0.26860163}.items():
        assert absolute[row - 80] * unit[0] == pytest.approx(value, abs=1e-6)
    for row, value in {96: 0.37951202, 103: 0.29886721, 106: 0.35900045}.items():
        assert (both - absolute)[row - 80] * unit[1] == pytest.approx(value, abs=1e-6)


def delayed_of(values, train, step=SECOND, flags=None, **options):
    """Delayed scores of the rows of a stream at the time they come, and the detector."""
    values = np.asarray(values, np.float32).reshape(len(values), -1)
    times = np.arange(len(values)) * step
    detector = PatchBankDetector(**options)
    detector.give_delayed()
    detector.reserve(1, values.shape[1])
    detector.fit(0, values[:train], times[:train])
    return detector.score(rows_of(values[train:], times[train:], flags=flags)).delayed, detector


def test_golden_values_with_delay(monkeypatch):
    """Specification, section 11: the early score at a delay of 3, and the settled one."""
    members(monkeypatch, 8, centred=(False,))
    delayed, detector = delayed_of(golden(), 80, ring_rows=20)
    assert detector.delays == (3, 7)
    early, settled = (delayed * detector._arrays.delayed_usual[0, :, 0]).T
    for row, value in {99: 0.62698004, 103: 0.34762775}.items():
        assert early[row + 3 - 80] == pytest.approx(value, abs=1e-6)
    for row, value in {96: 0.5592383, 110: 0.32936161}.items():
        assert settled[row + 7 - 80] == pytest.approx(value, abs=1e-6)
    assert detector._arrays.delayed_usual[0, 1, 0] == pytest.approx(0.07598363, abs=2e-7)
    assert np.isnan(early[:3]).all(), "of rows of the training part nothing is said"
    assert np.isnan(settled[:7]).all()
    assert np.isfinite(early[3:]).all()
    assert np.isfinite(settled[7:]).all()


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**16),
    by_phase=st.booleans(),
    clean=st.booleans(),
    gap=st.integers(0, 40),
    missing=st.lists(st.integers(0, 110), max_size=12),
)
def test_what_is_said_in_the_end_is_what_hindsight_says(seed, by_phase, clean, gap, missing):
    """The settled score of the stream is the mean over all windows that cover a row, also around gaps."""
    values = (days(430, seed, 40)[:, :2] if by_phase else wave(430, 2, seed)).astype(np.float32)
    values[310 + np.array(missing, int), 0] = np.nan
    values[340:343] = np.nan
    times = np.arange(430) * SECOND
    times[370:] += gap * SECOND
    # Their magnitudes are a thousandfold apart, more or less: too near the border to be told by.
    options = {"ring_rows": 100, "clean_training": clean, "units": "mixed" if by_phase else "auto"}
    flags = np.zeros(130, np.uint8)
    flags[70] = RowFlag.BREAK if gap else 0
    detector = PatchBankDetector(**options)
    detector.give_delayed()
    detector.reserve(1, 2)
    detector.fit(0, values[:300], times[:300])
    assert (detector._arrays.period[0] > 0) == by_phase
    said = detector.score(rows_of(values[300:], times[300:], flags=flags)).delayed[:, -1]
    expected = PatchBankDetector(**options).score_all(values, times, 300)[300:]
    np.testing.assert_allclose(said[95:], expected[: 130 - 95], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
def test_the_early_score_with_delay_equals_its_plain_twin(monkeypatch, order):
    """A narrow member, of which all windows are there at the delay, says the mean over them."""
    monkeypatch.setattr(patchbank, "EARLY_DELAY", 6)
    chosen = tuple(Member(w, centred=w == 12, univariate=True) for w in (5, 12))
    monkeypatch.setattr(patchbank, "MEMBERS", chosen)
    values = wave(190, 2)
    delayed, detector = delayed_of(values, 80, ring_rows=40, repeats=order - 1)
    narrow, _ = twin(values, 80, 5, 40, order, centred=False)
    _, wide = twin(values, 80, 12, 40, order, centred=True, delay=6)
    usual = detector._arrays.delayed_usual[0, 0]
    rows = np.arange(80, 184)
    expected = settled_scores(narrow, 5)[rows] / usual[0] + wide[rows + 6] / usual[1]
    np.testing.assert_allclose(delayed[6:, 0], expected, rtol=1e-5)
    assert usual[1] == pytest.approx(np.nanquantile(wide[:80], 0.99), rel=1e-5)
    assert usual[0] == pytest.approx(np.nanquantile(settled_scores(narrow[:80], 5), 0.99), rel=1e-5)


def test_behind_a_gap_a_window_says_nothing_of_rows_before_it(monkeypatch):
    members(monkeypatch, 8)
    flags = np.zeros(80, np.uint8)
    flags[40] = RowFlag.BREAK
    values = wave(180).astype(np.float32)
    times = np.arange(180) * SECOND
    times[140:] += 100 * SECOND
    detector = PatchBankDetector(ring_rows=40)
    detector.give_delayed()
    detector.reserve(1, 1)
    detector.fit(0, values[:100], times[:100])
    early, settled = detector.score(rows_of(values[100:], times[100:], flags=flags)).delayed.T
    # The first whole window behind the gap ends at row 47, and speaks of row 44; all windows of row 39 were there.
    assert np.isnan(early[40:47]).all()
    assert np.isfinite(early[47:]).all()
    assert np.isfinite(settled[7:]).all()


def test_golden_values_channel_by_channel(monkeypatch):
    """Specification, section 11: mixed units, no yardstick; the phase changes nothing there."""
    members(monkeypatch, 8, centred=(False,))
    monkeypatch.setattr(patchbank, "shared_period", lambda _: 20)
    monkeypatch.setattr(PatchScaling, "by_noise", lambda self, _: self)
    t = GOLDEN_ROWS
    other = 5000 + 1000 * np.cos(2 * np.pi * t / 20) + 10 * ((5 * t) % 7)
    other[97:100] += 800
    nearest, _, _, detector = run(np.column_stack([golden(), other]), 80, ring_rows=20, units="mixed")
    assert 1 / detector._arrays.factor[0, 1] == pytest.approx(707.19347436, rel=1e-6)
    assert detector._arrays.channel_usual[0, 0, 2] == pytest.approx([0.07794595, 0.04999387], abs=1e-6)
    for start, value in {85: 1.52883897, 92: 24.74949477, 97: 20.96000405, 112: 10.02840686}.items():
        assert nearest[start + 7, 0] == pytest.approx(value, rel=1e-5)
    settled = settled_scores(nearest[:, 0], 8)
    assert settled[[96, 110]] == pytest.approx([21.35815722, 9.33035296], rel=1e-5)
    assert usual_score(settled_scores(nearest[:80, 0], 8), 0.0) == pytest.approx(1.94247016, rel=1e-5)


def days(rows, seed=0, period=100):
    """Three indicators of mixed units that swing with a day of 100 rows, by their own noise."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(rows) * 2 * np.pi / period)[:, None]
    return (swing + np.array([0.01, 0.02, 0.01]) * rng.standard_normal((rows, 3))) * np.array([1e-3, 1.0, 1e5])


def test_indicators_of_mixed_units_are_compared_at_the_same_time_of_day():
    values = days(1400)
    values[1200:1204, 1] += 0.15
    _, _, scores, detector = run(values, 900, ring_rows=300)
    assert detector._arrays.period[0] == 100
    # A move of seven times its noise, far inside the day's swing.
    assert np.nanargmax(scores.score) in range(300, 310)
    assert scores.contributions[303].argmax() == 1
    plain = run(values, 900, ring_rows=300, same_phase="never")[3]
    assert plain._arrays.period[0] == 0
    assert run(values[:, :1], 900)[3]._arrays.period[0] == 0, "one channel is not compared by phase"
    assert run(values / [1e-3, 1, 1e5], 900)[3]._arrays.period[0] == 0, "nor is one unit"


def test_the_phase_counts_time_and_not_rows():
    values = days(1200).astype(np.float32)
    # A quarter of a day is lost: rows go on where the day has gone on.
    later = np.arange(925, 1200)
    flags = np.zeros(len(later), np.uint8)
    flags[0] = RowFlag.BREAK
    scores = []
    for lost in (0, 25):
        detector = PatchBankDetector(ring_rows=100)
        detector.reserve(1, 3)
        detector.fit(0, values[:900], np.arange(900) * SECOND)
        scores.append(detector.score(rows_of(values[later], (later - lost) * SECOND, flags=flags)).score)
    assert np.nanmax(scores[0]) < 10
    assert np.nanmedian(scores[1][95:150]) > 3 * np.nanmedian(scores[0][95:150]), "where the time is wrong"


@settings(max_examples=15)
@given(offsets=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2), factor=st.floats(0.01, 100))
def test_offsets_and_units_change_nothing(offsets, factor):
    values = wave(260, 2)
    values[220:230] += 3

    def scores(data, units):
        return run(data, 200, ring_rows=50, units=units)[2].score

    np.testing.assert_allclose(
        scores(values + offsets, "shared"), scores(values, "shared"), rtol=2e-2, atol=1e-2
    )  # float32 input
    np.testing.assert_allclose(scores(values * factor, "shared"), scores(values, "shared"), rtol=1e-3, atol=1e-3)
    mixed = values * [factor, 1 / factor]
    np.testing.assert_allclose(scores(mixed, "mixed"), scores(values, "mixed"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("copies", "finds"), [(0, (True, True)), (1, (False, True)), (2, (False, False))])
def test_an_odd_stretch_in_training_hides_the_next_only_where_it_repeats(copies, finds):
    values = wave(1600)
    values[1300:1340, 0] += 4 * np.sin(np.arange(40) / 2)
    for copy in range(copies):
        start = 150 + 400 * copy
        values[start : start + 300] = values[1200:1500]
    for repeats, found in zip((0, 1, 2), (*finds, True), strict=True):
        nearest = run(values, 1100, repeats=repeats)[0]
        # The widest window, in units of what is usual among the rows before the event.
        ratio = nearest[1310:1380, 2].max() / np.quantile(nearest[1500:, 2], 0.9)
        assert (ratio > 1.5) == found, (repeats, ratio)


def test_what_lasts_becomes_usual():
    values = wave(3000)
    values[1000:] += 2.0
    score = run(values, 800, ring_rows=500)[2].score
    assert score[220:300].mean() > 2 * score[-500:].mean()


def test_missing_values(monkeypatch):
    members(monkeypatch, 8)
    values = wave(200, 3)
    values[120:125, 0] = np.nan
    values[150:160] = np.nan
    _, _, scores, _ = run(values, 100, ring_rows=40)
    assert np.isfinite(scores.score[:50]).all()
    assert (scores.reason[50:60] == Unscored.VALUES_MISSING).all()
    assert scores.contributions[:50].sum(axis=1) == pytest.approx(1)
    assert (scores.contributions[27:50, 0] > 0).all()
    assert np.isfinite(scores.score[-20:]).all()


def test_a_gap_starts_the_window_anew(monkeypatch):
    members(monkeypatch, 8)
    values = wave(160, 2).astype(np.float32)
    detector = PatchBankDetector(ring_rows=40)
    detector.reserve(1, 2)
    detector.fit(0, values[:100], np.arange(100) * SECOND)
    flags = np.zeros(60, np.uint8)
    flags[[10, 20]] = RowFlag.BREAK
    stream = np.arange(100, 160) * SECOND
    stream[10:] += 5 * SECOND
    stream[20:] += 20 * SECOND
    found = detector.score(rows_of(values[100:], stream, flags=flags))
    assert np.isfinite(found.score[:20]).all(), "a few steps are gone over"
    assert (found.reason[20:27] == Unscored.WINDOW_INCOMPLETE).all()
    assert np.isfinite(found.score[27:]).all()
    train = values[:100]
    gapped = PatchBankDetector(ring_rows=40)
    gapped.reserve(1, 2)
    times = np.arange(100) * SECOND
    times[50:] += 1000 * SECOND
    prefix = gapped.fit(0, train, times)
    assert np.isnan(prefix[50:57]).all()
    assert np.isfinite(prefix[57:]).all()


def test_short_training_parts_have_narrower_windows():
    values = wave(400).astype(np.float32)
    detector = PatchBankDetector()
    detector.reserve(1, 1)
    prefix = detector.fit(0, values[:80], np.arange(80) * SECOND)
    assert detector._arrays.widths[0].tolist() == [8, 20, 20, 20]
    assert np.isfinite(prefix[19:]).all()
    detector.fit(0, values[:100], np.arange(100) * SECOND)
    assert detector._arrays.widths[0].tolist() == [8, 32, 25, 25], "each by its own length"
    with pytest.raises(NotEnoughDataError, match="patchbank needs 32 rows with values, there are 31"):
        detector.fit(0, values[:31], np.arange(31) * SECOND)


def test_only_the_newest_rows_of_a_long_training_part_are_kept():
    values = wave(900).astype(np.float32)
    detector = PatchBankDetector(bank_rows=300, ring_rows=50)
    detector.reserve(1, 1)
    prefix = detector.fit(0, values, np.arange(900) * SECOND)
    assert np.isnan(prefix[:600]).all()
    assert np.isfinite(prefix[700:]).all()


def test_a_training_part_that_repeats_itself_exactly_has_a_floor():
    values = np.tile(np.arange(10.0), 60)
    _, _, scores, _ = run(values, 400)
    assert scores.score.max() < 10
    values[500] += 5
    assert run(values, 400)[2].score[100] > 10


def test_with_hindsight_the_training_part_is_what_it_is_told():
    values = wave(700).astype(np.float32)
    values[600:620] += 3
    times = np.arange(700) * SECOND
    score = PatchBankDetector().score_all(values, times, 400)
    assert 540 < int(np.nanargmax(score)) < 640
    assert np.isfinite(score).all()
    alone = PatchBankDetector().score_all(values, times)
    assert 540 < int(np.nanargmax(alone)) < 640, "without a training part every window is judged against the rest"


@pytest.mark.parametrize(
    "options", [{"bank_rows": 10}, {"ring_rows": -1}, {"repeats": -1}, {"units": "metric"}], ids=str
)
def test_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PatchBankDetector(**options)


def test_scales_of_channels():
    rng = np.random.default_rng(0)
    live = rng.normal(size=(200, 2))
    state = (np.arange(200) % 7 == 0).astype(float)
    train = np.column_stack([live, 0.001 * live[:, 0], state, np.full(200, 3.0)]).astype(np.float32)
    shared = fit_patch_scaling(train, "shared")
    floor = 0.1 * np.median(train[:, :3].std(axis=0))
    assert 1 / shared.factor[2] == pytest.approx(floor, rel=1e-5)
    assert shared.factor[3] == pytest.approx(0.05 / train[:, 3].std(), rel=1e-5)
    mixed = fit_patch_scaling(train, "mixed")
    assert 1 / mixed.factor[2] == pytest.approx(train[:, 2].std(), rel=1e-5)
    assert 1 / mixed.factor[4] == pytest.approx(0.015)
    assert fit_patch_scaling(train[:, :2]).shared
    assert not fit_patch_scaling(train * np.float32([1, 1e5, 1, 1, 1])).shared
    assert not fit_patch_scaling(train[:, :1]).shared
    assert fit_patch_scaling(state[:, None].astype(np.float32)).factor[0] == pytest.approx(1 / state.std(), rel=1e-5)
    assert fit_patch_scaling(np.full((50, 1), np.nan, np.float32)).factor[0] == 0
