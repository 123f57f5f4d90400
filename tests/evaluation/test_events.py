import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.events import (
    composite_f1,
    detection_delay,
    event_recall,
    event_wise_f1,
    false_alarms_per_day,
    oracle_best_composite_f1,
    oracle_event_recall_at_false_alarm_rate,
)
from tests.evaluation import naive
from tests.evaluation.golden import PREDICTION_CASES, SCORE_CASES, TOLERANCE
from tests.evaluation.strategies import labelled_scores


@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_composite_f1_equals_the_reference(case):
    expected = case.results["composite"]["pred"]
    assert composite_f1(case.labels, case.predictions) == pytest.approx(list(expected.values()), abs=TOLERANCE)
    assert event_recall(case.labels, case.predictions) == pytest.approx(expected["recall_event"], abs=TOLERANCE)


@pytest.mark.parametrize("case", SCORE_CASES, ids=str)
def test_the_oracle_equals_the_reference(case):
    expected = case.results["composite"]["best over all thresholds (score>=v)"]
    assert oracle_best_composite_f1(case.labels, case.scores).f1 == pytest.approx(expected, abs=TOLERANCE)


@given(labelled_scores(levels=1))
def test_counts_equal_their_naive_twins(pair):
    y, b = pair
    assert event_recall(y, b) == pytest.approx(naive.found_events(y, b) / len(naive.events(y)))
    assert false_alarms_per_day(y, b, rows_per_day=y.size) == naive.false_alarms(y, b)
    found, false = naive.found_events(y, b), naive.false_alarms(y, b)
    got = event_wise_f1(y, b)
    assert got.f1 == pytest.approx(2 * found / (found + false + len(naive.events(y))))
    assert event_wise_f1(y.astype(bool), b.astype(bool)) == got


@given(labelled_scores(), st.integers(0, 4))
def test_the_sweep_equals_its_naive_twin(pair, allowed):
    y, s = pair
    got = oracle_event_recall_at_false_alarm_rate(y, s, rate=allowed, rows_per_day=y.size)
    assert got.event_recall == pytest.approx(naive.event_recall_at_rate(y, s, allowed))
    assert got.false_alarms_per_day <= allowed
    if np.isfinite(got.threshold):
        assert event_recall(y, s >= got.threshold) == pytest.approx(got.event_recall)
        rate = false_alarms_per_day(y, s >= got.threshold, rows_per_day=y.size)
        assert rate == pytest.approx(got.false_alarms_per_day)


@given(labelled_scores())
def test_laws(pair):
    y, s = pair
    assert composite_f1(y, y) == (1.0, 1.0, 1.0)
    assert event_wise_f1(y, y) == (1.0, 1.0, 1.0)
    assert detection_delay(y, y) == 0.0
    assert oracle_best_composite_f1(y, 3 * s + 1).f1 == pytest.approx(oracle_best_composite_f1(y, s).f1)
    best = oracle_best_composite_f1(y, s)
    assert composite_f1(y, s >= best.threshold).f1 == pytest.approx(best.f1)


def test_the_delay_counts_from_the_start_of_found_events():
    y = [0, 1, 1, 1, 0, 1, 1, 0, 1]
    b = [1, 0, 0, 1, 0, 1, 0, 0, 0]
    assert detection_delay(y, b) == 1.0
    assert detection_delay(y, b, summary="median") == 1.0
    assert detection_delay([0, 1, 1], [1, 1, 0]) == 0.0


def test_false_alarms_need_no_anomaly():
    assert false_alarms_per_day([0] * 6, [1, 0, 1, 1, 0, 1], rows_per_day=12) == 6.0


def test_no_threshold_is_quiet_enough():
    got = oracle_event_recall_at_false_alarm_rate([0, 1, 0], [0.9, 0.1, 0.2], rate=0, rows_per_day=3)
    assert got == (0.0, np.inf, 0.0)


def test_undefined_and_refused():
    for metric in (event_recall, composite_f1, event_wise_f1, oracle_best_composite_f1, detection_delay):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0, 1])).all()
        assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning, match="no event was found"):
        assert np.isnan(detection_delay([0, 1], [1, 0]))
    options = {"rate": 1, "rows_per_day": 10}
    with pytest.warns(UndefinedMetricWarning) as caught:
        assert np.isnan(oracle_event_recall_at_false_alarm_rate([0, 0], [0.1, 0.2], **options)).all()
    assert len(caught) == 1
    with pytest.raises(InvalidInputError, match="rows_per_day must be a positive number, got 0"):
        false_alarms_per_day([0, 1], [0, 1], rows_per_day=0)
    with pytest.raises(InvalidInputError, match="rate must be at least 0"):
        oracle_event_recall_at_false_alarm_rate([0, 1], [0, 1], rate=-1, rows_per_day=1)
    with pytest.raises(InvalidInputError, match="summary"):
        detection_delay([0, 1], [0, 1], summary="mode")
