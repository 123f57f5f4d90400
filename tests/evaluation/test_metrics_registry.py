import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from evaluation.errors import InvalidInputError, UndefinedMetricError, UndefinedMetricWarning
from evaluation.metrics.baselines import trivial_scores
from evaluation.metrics.pate import pate
from evaluation.metrics.registry import METRICS, METRICS_VERSION, evaluate
from evaluation.metrics.thresholds import fixed_threshold
from evaluation.metrics.vus import vus_pr
from tests.evaluation.golden import case
from tests.evaluation.strategies import labelled_scores

few_scores = pytest.mark.filterwarnings("ignore::evaluation.errors.FewDistinctScoresWarning")
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"


def example(steps=600):
    rng = np.random.default_rng(6)
    y = np.zeros(steps, dtype=int)
    y[100:120] = y[400:430] = 1
    return y, rng.normal(size=steps) + 2 * y


def test_everything_that_the_inputs_allow_is_computed():
    y, s = example()
    assert set(evaluate(y, s)) == {name for name, metric in METRICS.items() if metric.needs == "scores"}
    values = evaluate(y, s, threshold=1.5, rows_per_day=100, severity=2 * y)
    assert list(values) == list(METRICS)
    assert all(np.isfinite(value) for value in values.values())
    assert all(isinstance(value, float) for value in values.values())


def test_values_are_those_of_the_functions():
    y, s = example()
    values = evaluate(y, s, window=20, early=5, delay=10, metrics=["pate", "vus_pr"])
    assert values == {"vus_pr": vus_pr(y, s, window=20), "pate": pate(y, s, early=5, delay=10)}
    one = case("early_ramp")
    values = evaluate(one.labels, one.scores, threshold=fixed_threshold(0.5), metrics=["f1", "composite_f1"])
    assert values == pytest.approx({"f1": 0.6, "composite_f1": 0.75})


@pytest.mark.parametrize(
    "name", ["point_adjusted_f1", "oracle_best_point_adjusted_f1", "pa_k_area", "oracle_pa_k_area"]
)
def test_point_adjustment_never_comes_without_its_random_twin(name):
    y, s = example()
    assert set(evaluate(y, s, threshold=1.5, metrics=[name])) == {name, "random_point_adjusted_f1"}
    assert METRICS[name].group == "diagnostic"


def test_names_tell_where_labels_choose_the_threshold():
    for metric in METRICS.values():
        if "best" in metric.definition or "set with the labels" in metric.definition:
            assert "oracle" in metric.name


def test_one_warning_names_all_values_that_are_missing():
    _, s = example()
    with pytest.warns(UndefinedMetricWarning, match=r"0 of 600 steps anomalous, no threshold\): vus_pr") as caught:
        values = evaluate(np.zeros(600), s)
    assert len(caught) == 1
    assert all(np.isnan(value) for value in values.values())
    with pytest.raises(UndefinedMetricError):
        evaluate(np.zeros(600), s, on_undefined="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(evaluate(np.zeros(600), s, on_undefined=0.0).values()) == {0.0}
        quiet = evaluate(np.zeros(600), s, threshold=9, rows_per_day=600, metrics=["false_alarms_per_day"])
    assert quiet == {"false_alarms_per_day": 0.0}


def test_scores_that_are_missing():
    y, s = example()
    s[50] = np.nan
    with pytest.raises(InvalidInputError, match="1 of 600 scores are NaN or infinite, first at index 50"):
        evaluate(y, s)
    assert evaluate(y, s, nan_policy="omit", severity=y, metrics=["severity_c_index"])["severity_c_index"] > 0.5


def test_what_is_wrong_is_named():
    y, s = example()
    with pytest.raises(InvalidInputError, match="unknown metrics f2; known are vus_pr"):
        evaluate(y, s, metrics=["f1", "f2"])
    with pytest.raises(InvalidInputError, match="metric f1 needs threshold"):
        evaluate(y, s, metrics=["f1"])
    with pytest.raises(InvalidInputError, match="severity must be as long as the scores"):
        evaluate(y, s, severity=[0, 1])


@few_scores
@pytest.mark.filterwarnings("ignore::evaluation.errors.UndefinedMetricWarning")
@given(labelled_scores())
def test_every_value_keeps_to_its_range(pair):
    y, s = pair
    values = evaluate(y, s, threshold=3, rows_per_day=10, severity=y, window=6)
    for name, value in values.items():
        if METRICS[name].range.startswith("0 to 1") and not np.isnan(value):
            assert -1e-9 <= value <= 1 + 1e-9, name
    assert evaluate(y.astype(bool), s, window=6) == pytest.approx(evaluate(y, s, window=6), nan_ok=True)


@few_scores
@pytest.mark.filterwarnings("ignore::evaluation.errors.UndefinedMetricWarning")
def test_a_good_score_beats_the_trivial_predictors_on_primary_metrics():
    y, s = example()
    good = evaluate(y, s)
    for scores in trivial_scores(y, np.random.default_rng(0)).values():
        trivial = evaluate(y, scores)
        assert good["vus_pr"] > trivial["vus_pr"]
        assert good["pate_step"] > trivial["pate_step"]


def test_every_metric_is_documented():
    text = DOCUMENTATION.read_text()
    assert [name for name in METRICS if f"`{name}`" not in text] == []
    assert METRICS_VERSION in text
