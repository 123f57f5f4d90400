import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.backtest.causal import LEAST_TRAIN_ROWS, run_causal, stream_settings
from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.errors import InvalidInputError
from tsad.detectors.registry import create_detector
from tsad.errors import NotEnoughDataError
from tsad.settings import AlarmSettings, DetectorSettings, StreamSettings

CHOICES = {
    "robust": ["robust"],
    "sub-pca": [DetectorSettings(name="sub-pca", options={"window": 8})],
    "autoencoder": [DetectorSettings(name="autoencoder", options={"epochs": 1})],
    "combined": ["robust", DetectorSettings(name="sub-pca", options={"window": 8})],
}


def detectors(name):
    return [d if isinstance(d, DetectorSettings) else DetectorSettings(name=d) for d in CHOICES[name]]


def recording(rows=400, channels=3, train=200, seed=0, times=None, values=None):
    rng = np.random.default_rng(seed)
    if values is None:
        values = rng.normal(size=(rows, channels)).astype(np.float32)
        values[train + 50 : train + 80] += 8
    labels = np.zeros(rows, np.uint8)
    labels[train + 50 : train + 80] = 1
    times = SECOND * np.arange(rows) if times is None else times
    names = tuple(f"c{i}" for i in range(values.shape[1]))
    return LabelledSeries("made", "one", names, times, values, labels, train, SECOND)


def run(series, name="robust", budget=100.0):
    return run_causal(
        series, stream_settings(series, detectors(name), AlarmSettings(false_alarms_per_day=budget, off_delay=20))
    )


def same_until(first, second, row):
    for name in ("test_scores", "test_p_values", "test_on"):
        np.testing.assert_array_equal(getattr(first, name)[:row], getattr(second, name)[:row])


@pytest.mark.parametrize("name", CHOICES)
@given(row=st.integers(0, 199), seed=st.integers(0, 3), missing=st.booleans())
@settings(max_examples=8)
def test_values_after_a_row_change_no_score_up_to_it(name, row, seed, missing):
    series = recording(seed=seed)
    values = series.values.copy()
    if missing:
        values[200:][np.random.default_rng(seed).random((200, 3)) < 0.1] = np.nan
    other = values.copy()
    other[200 + row :] = np.random.default_rng(seed + 9).normal(5, 30, size=other[200 + row :].shape)
    first, second = run(recording(values=values), name), run(recording(values=other), name)
    same_until(first, second, row)
    assert not np.array_equal(first.test_scores[row:], second.test_scores[row:], equal_nan=True)


@given(cut=st.integers(201, 399))
@settings(max_examples=8)
def test_a_recording_that_ends_earlier_has_the_same_scores_so_far(cut):
    whole = recording()
    start = LabelledSeries(
        "made", "one", whole.channels, whole.times[:cut], whole.values[:cut], whole.labels[:cut], 200, SECOND
    )
    first, second = run(whole, "sub-pca"), run(start, "sub-pca")
    same_until(first, second, cut - 200)
    assert len(second.test_scores) == cut - 200


@pytest.mark.parametrize("name", CHOICES)
def test_labels_never_reach_a_detector(name):
    series = recording()
    shuffled = np.random.default_rng(1).permutation(series.labels)
    other = LabelledSeries("made", "one", series.channels, series.times, series.values, shuffled, 200, SECOND)
    same_until(run(series, name), run(other, name), 200)


def test_a_planted_step_is_alarmed_and_the_training_part_is_not():
    found = run(recording())
    assert found.test_on[50:80].any()
    assert not found.test_on[:50].any()
    assert [t.kind for t in found.transitions[:1]] == ["alarm.raised"]
    assert np.isnan(found.verdict[:200]).all()
    assert found.fit.rows == 200


def test_rows_that_are_missing_are_imputed_and_have_no_row_in_the_recording():
    keep = np.ones(400, bool)
    keep[[250, 300, 301]] = False
    whole = recording()
    series = LabelledSeries(
        "made", "one", whole.channels, whole.times[keep], whole.values[keep], whole.labels[keep], 200, SECOND
    )
    found = run(series)
    assert (found.origin.own, found.origin.imputed, found.origin.shared) == (197, 3, 0)
    np.testing.assert_array_equal(found.times[found.test_rows], series.test_times)


def test_two_rows_within_a_step_share_its_score():
    times = SECOND * np.arange(400)
    times[260:] -= SECOND
    times[260] += SECOND // 5
    found = run(recording(times=times))
    assert found.origin.shared == 1
    assert found.test_scores[60] == found.test_scores[59]
    assert found.test_on[60] == found.test_on[59]


def test_a_row_still_incomplete_at_the_end_has_no_score_but_the_standing_alarm():
    series = recording()
    values = series.values.copy()
    values[390:] += 50
    values[-1, 0] = np.nan
    found = run(recording(values=values))
    assert found.origin.unfinished == 1
    assert np.isnan(found.test_scores[-1])
    assert found.test_on[-1]
    assert found.test_on[-2]


@given(seed=st.integers(0, 50))
@settings(max_examples=15)
def test_every_test_row_is_accounted_for(seed):
    rng = np.random.default_rng(seed)
    rows = 330
    steps = np.full(rows, 1000)
    steps[200:] = rng.choice([300, 1000, 2000, 9000], size=130, p=[0.1, 0.8, 0.07, 0.03])
    times = np.cumsum(steps) * 1_000_000
    times[205:] += rng.integers(-100, 100, 125) * 1_000_000
    values = rng.normal(size=(rows, 2)).astype(np.float32)
    values[200:][rng.random((130, 2)) < 0.1] = np.nan
    found = run(recording(rows=rows, values=values, times=times))
    origin = found.origin
    assert origin.own + origin.shared + origin.unfinished == 130
    assert (found.test_rows < 0).sum() == origin.unfinished
    known = found.test_rows >= 0
    assert np.all(np.abs(found.times[found.test_rows[known]] - times[200:][known]) <= 10**9)


def test_a_training_part_that_is_too_short_is_told():
    series = recording(train=LEAST_TRAIN_ROWS - 1)
    with pytest.raises(NotEnoughDataError, match="79 training rows, the engine's warm-up needs 80"):
        stream_settings(series, detectors("robust"))
    with pytest.raises(NotEnoughDataError, match="needs 202"):
        stream_settings(recording(train=150), detectors("robust"), AlarmSettings(off_delay=100))
    exact = recording(train=LEAST_TRAIN_ROWS)
    assert stream_settings(exact, detectors("robust")).train_rows == LEAST_TRAIN_ROWS


def test_the_least_training_part_is_that_of_the_engine():
    assert StreamSettings.model_fields["train_rows"].metadata[0].ge == LEAST_TRAIN_ROWS


def test_a_detector_that_needs_more_rows_is_told_and_does_not_learn_from_the_test_part():
    series = recording(train=80, channels=9)
    with pytest.raises(NotEnoughDataError, match="autoencoder needs 90 healthy rows for 9 metrics, there are 80"):
        run(series, "autoencoder")


def test_training_rows_without_values_are_refused():
    values = recording().values.copy()
    values[20:40] = np.nan
    with pytest.raises(InvalidInputError, match="only 183 of 200 training rows count"):
        run(recording(values=values))


def test_no_test_rows_is_told():
    with pytest.raises(NotEnoughDataError, match="no test rows"):
        run(recording(rows=400, train=400, values=np.zeros((400, 2), np.float32)))


def test_prefix_scores_are_those_the_engine_calibrated_on():
    series = recording()
    found = run(series)
    detector = create_detector("robust")
    detector.reserve(1, 3)
    np.testing.assert_array_equal(
        found.prefix_scores, detector.fit(0, series.values[:200], series.times[:200]), strict=True
    )
    # The tail starts at a quantile of them.
    assert np.isin(
        round(found.fit.calibration.tail.start, 9), np.quantile(found.prefix_scores, [0.9, 0.95, 0.98, 0.99]).round(9)
    )
    assert not np.isnan(run(series, "combined").prefix_scores).any()


def test_names_of_streams_and_assets_take_what_files_are_called():
    series = recording()
    odd = LabelledSeries(
        "my data (1)/ü", "run 7/a", series.channels, series.times, series.values, series.labels, 200, SECOND
    )
    settings_ = stream_settings(odd, detectors("robust"))
    assert settings_.name == "my_data__1___"
    settings_ = settings_.model_copy(update={"alarm": AlarmSettings(false_alarms_per_day=100, off_delay=20)})
    assert run_causal(odd, settings_).transitions[0].asset == "run 7/a"
