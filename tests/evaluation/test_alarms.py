import numpy as np
import pytest
from hypothesis import given

from evaluation.errors import UndefinedMetricWarning
from evaluation.metrics.alarms import alarm_metrics, early_detection
from evaluation.metrics.events import event_recall, event_wise_f1
from tests.evaluation import naive
from tests.evaluation.strategies import labelled_scores

quiet = pytest.mark.filterwarnings("ignore::evaluation.errors.UndefinedMetricWarning")


@quiet
@given(labelled_scores(levels=1))
def test_equals_its_naive_twin(pair):
    y, b = pair
    alarms = naive.events(b)
    right = sum(any(y[a : z + 1]) for a, z in alarms)
    found = naive.found_events(y, b)
    got = alarm_metrics(y, b)
    assert got.precision == pytest.approx(right / len(alarms) if alarms else 0)
    assert got.recall == pytest.approx(event_recall(y, b))
    assert got.alarms_per_event == pytest.approx(right / found if found else np.nan, nan_ok=True)
    assert alarm_metrics(y.astype(bool), b.astype(bool)) == pytest.approx(got, nan_ok=True)


@given(labelled_scores(levels=1))
def test_early_detection_equals_its_naive_twin(pair):
    y, b = pair
    shares = []
    for a, z in naive.events(y):
        hits = [t for t in range(a, z + 1) if b[t]]
        shares.append((z - hits[0] + 1) / (z - a + 1) if hits else 0.0)
    assert early_detection(y, b) == pytest.approx(np.mean(shares))
    assert early_detection(y, y) == 1
    assert early_detection(y, np.zeros_like(y)) == 0


def test_repeats_cost_precision_only_where_they_are_false():
    y = [0, 1, 1, 1, 1, 1, 0, 0, 0]
    repeated, once = [0, 1, 0, 1, 0, 1, 0, 1, 0], [0, 1, 1, 1, 1, 1, 0, 1, 0]
    assert alarm_metrics(y, repeated).precision == 0.75
    assert alarm_metrics(y, repeated).alarms_per_event == 3
    assert alarm_metrics(y, once).precision == 0.5 == event_wise_f1(y, repeated).precision
    assert alarm_metrics(y, once).alarms_per_event == 1


def test_without_anomaly_or_alarm():
    with pytest.warns(UndefinedMetricWarning, match="alarm_metrics"):
        assert np.isnan(alarm_metrics([0, 0], [0, 1])).all()
    with pytest.warns(UndefinedMetricWarning, match="no event was found"):
        assert alarm_metrics([0, 1], [1, 0])[:3] == (0, 0, 0)
    with pytest.warns(UndefinedMetricWarning, match="early_detection"):
        early_detection([0, 0], [0, 1])
