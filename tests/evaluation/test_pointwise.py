import numpy as np
import pytest
from hypothesis import given

from evaluation.errors import UndefinedMetricWarning
from evaluation.metrics.pointwise import (
    auc_pr_trapezoid,
    auc_roc,
    average_precision,
    oracle_best_f1,
    precision_recall_f1,
)
from tests.evaluation import naive
from tests.evaluation.golden import PREDICTION_CASES, SCORE_CASES, TOLERANCE
from tests.evaluation.strategies import labelled_scores


@pytest.mark.parametrize("case", SCORE_CASES, ids=str)
def test_curves_equal_the_reference(case):
    expected = case.results["pointwise"]
    got = average_precision(case.labels, case.scores)
    assert got == pytest.approx(expected["AP (average_precision_score)"], abs=TOLERANCE)
    assert auc_pr_trapezoid(case.labels, case.scores) == pytest.approx(expected["AUC-PR trapezoid"], abs=TOLERANCE)
    if case.labels.all():
        assert np.isnan(auc_roc(case.labels, case.scores, on_undefined=np.nan))
    else:
        assert auc_roc(case.labels, case.scores) == pytest.approx(expected["AUC-ROC"], abs=TOLERANCE)


@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_precision_recall_f1_equal_the_reference(case):
    expected = case.results["pointwise"]["pointwise P/R/F1 of pred"]
    got = precision_recall_f1(case.labels, case.predictions)
    assert got._asdict() == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("case", [c for c in SCORE_CASES if c.name != "readme500"], ids=str)
def test_oracle_f1_equals_the_reference(case):
    expected = case.results["PA%K"]["best-threshold F1 per K and its AUC"]["f1_K100"]
    assert oracle_best_f1(case.labels, case.scores).f1 == pytest.approx(expected, abs=TOLERANCE)


@given(labelled_scores(both=True))
def test_curves_equal_their_naive_twins(pair):
    y, s = pair
    assert auc_roc(y, s) == pytest.approx(naive.auc_roc(y.tolist(), s.tolist()))
    assert average_precision(y, s) == pytest.approx(naive.average_precision(y.tolist(), s.tolist()))
    assert oracle_best_f1(y, s).f1 == pytest.approx(naive.best_f1(y.tolist(), s.tolist()))


@given(labelled_scores(both=True))
def test_laws(pair):
    y, s = pair
    for metric in (auc_roc, average_precision, auc_pr_trapezoid, lambda y, s: oracle_best_f1(y, s).f1):
        assert metric(y, 3 * s**3 + 1) == pytest.approx(metric(y, s))
        assert metric(y.astype(bool), s) == metric(y, s)
        assert metric(y, 100 * y + s) == pytest.approx(1.0)
        order = np.random.default_rng(0).permutation(y.size)
        assert metric(y[order], s[order]) == pytest.approx(metric(y, s))
    assert auc_roc(y, -s) == pytest.approx(1 - auc_roc(y, s))


@given(labelled_scores())
def test_the_oracle_threshold_gives_the_oracle_f1(pair):
    y, s = pair
    best = oracle_best_f1(y, s)
    assert precision_recall_f1(y, s >= best.threshold).f1 == pytest.approx(best.f1)


def test_undefined_values_are_told_once():
    for metric in (auc_roc, average_precision, auc_pr_trapezoid):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0.1, 0.2]))
        assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning, match="every step is labelled") as caught:
        assert np.isnan(auc_roc([1, 1], [0.1, 0.2]))
    with pytest.warns(UndefinedMetricWarning) as caught:
        assert np.isnan(precision_recall_f1([0, 0], [0, 1]).f1)
    assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(oracle_best_f1([0, 0], [0.1, 0.2]).threshold)


def test_nothing_predicted_has_precision_zero():
    assert precision_recall_f1([0, 1], [0, 0]) == (0.0, 0.0, 0.0)
