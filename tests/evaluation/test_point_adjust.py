import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.point_adjust import (
    oracle_best_point_adjusted_f1,
    oracle_pa_k_curve,
    pa_k,
    pa_k_area,
    point_adjust,
    point_adjusted_f1,
    random_point_adjusted_f1,
    simulated_random_point_adjusted_f1,
)
from evaluation.metrics.pointwise import oracle_best_f1, precision_recall_f1
from tests.evaluation import naive
from tests.evaluation.golden import GOLDEN, PREDICTION_CASES, SCORE_CASES, TOLERANCE, settings
from tests.evaluation.strategies import labelled_scores


@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_point_adjustment_equals_its_definition(case):
    expected = case.results["pointwise"]["PA P/R/F1 of pred (definition)"]
    got = point_adjusted_f1(case.labels, case.predictions)
    assert got[:3] == pytest.approx(list(expected.values()), abs=TOLERANCE)


def test_the_first_step_is_filled_where_the_reference_forgets_it():
    case = next(case for case in SCORE_CASES if case.name == "all_anomaly")
    assert point_adjusted_f1(case.labels, case.predictions).f1 == 1.0
    assert case.results["TSB-AD"]["PA-F1 pred"] == pytest.approx(0.9565217391)


@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_pa_k_equals_the_reference(case):
    for key, expected in case.results["PA%K"].items():
        if key.startswith("pred"):
            got = pa_k(case.labels, case.predictions, k=int(settings(key)["K"]))
            assert got._asdict() == pytest.approx(expected, abs=TOLERANCE)
        elif "step 1 " in key:
            assert pa_k_area(case.labels, case.predictions) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("case", [c for c in SCORE_CASES if c.name != "readme500"], ids=str)
def test_oracle_pa_k_equals_the_reference(case):
    expected = case.results["PA%K"]["best-threshold F1 per K and its AUC"]
    got = oracle_pa_k_curve(case.labels, case.scores)
    assert [got.area, *got.f1[[0, 20, 50, 100]]] == pytest.approx(list(expected.values()), abs=TOLERANCE)
    assert oracle_best_point_adjusted_f1(case.labels, case.scores).f1 == pytest.approx(expected["f1_K0"])


@given(labelled_scores(), st.integers(0, 100))
def test_the_sweep_equals_its_naive_twin(pair, k):
    y, s = pair
    curve = oracle_pa_k_curve(y, s)
    assert curve.f1[k] == pytest.approx(naive.oracle_pa_k_f1(y.tolist(), s.tolist(), k))


@given(labelled_scores(levels=1), st.integers(0, 100))
def test_one_threshold_equals_its_naive_twin(pair, k):
    y, b = pair
    assert pa_k(y, b, k=k).f1 == pytest.approx(naive.pa_k_f1(y.tolist(), b.astype(int).tolist(), k))
    assert pa_k(y.astype(bool), b.astype(bool), k=k) == pa_k(y, b, k=k)


@given(labelled_scores())
def test_laws(pair):
    y, s = pair
    best = oracle_best_point_adjusted_f1(y, s)
    assert point_adjusted_f1(y, s >= best.threshold).f1 == pytest.approx(best.f1)
    assert best.f1 >= oracle_best_f1(y, s).f1 - 1e-12
    assert oracle_pa_k_curve(y, 2 * s + 7).area == pytest.approx(oracle_pa_k_curve(y, s).area)
    assert pa_k(y, s >= 3, k=100) == precision_recall_f1(y, s >= 3)
    assert oracle_pa_k_curve(y, 100 * y + s).area == pytest.approx(1.0)
    assert 0 < random_point_adjusted_f1(y) <= 1


@pytest.mark.parametrize("row", GOLDEN["extra"]["point_adjust_random_uniform"], ids=lambda r: f"L={r['L']}")
def test_a_random_score_wins_on_long_events(row):
    length, events = row["L"], row["events"]
    labels = np.zeros(round(events * length / row["gamma"]))
    for start in np.arange(events) * (labels.size // events):
        labels[start : start + length] = 1
    assert random_point_adjusted_f1(labels) == pytest.approx(row["closed_form_best"], abs=2e-5)
    simulated = simulated_random_point_adjusted_f1(labels, np.random.default_rng(2), repeats=20)
    assert simulated == pytest.approx(row["sim_best_mean20"], abs=0.02)


def test_undefined_values_are_told_once():
    for metric in (point_adjusted_f1, pa_k_area, oracle_best_point_adjusted_f1):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0, 1])).all()
        assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(oracle_pa_k_curve([0, 0], [0.1, 0.2]).f1).all()
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(pa_k([0, 0], [0, 1], k=5).f1)
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(random_point_adjusted_f1([0, 0]))
    assert simulated_random_point_adjusted_f1([0, 0], np.random.default_rng(0), on_undefined=0.0) == 0.0
    assert point_adjust([0, 0], [0, 1]).tolist() == [0, 1]


def test_wrong_settings_are_refused():
    with pytest.raises(InvalidInputError, match=r"k must be a percentage in \[0, 100\], got 101"):
        point_adjust([0, 1], [0, 1], k=101)
