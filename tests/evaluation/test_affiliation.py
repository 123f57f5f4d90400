import numpy as np
import pytest
from hypothesis import given

from evaluation.datasets.location import data_directory
from evaluation.datasets.nasa import FOLDER, load_nasa
from evaluation.errors import UndefinedMetricWarning
from evaluation.metrics.affiliation import (
    affiliation,
    affiliation_by_event,
    affiliation_floor,
    oracle_best_affiliation_f1,
)
from evaluation.metrics.point_adjust import simulated_random_point_adjusted_f1
from tests.evaluation import naive
from tests.evaluation.golden import GOLDEN, PREDICTION_CASES, SCORE_CASES, TOLERANCE
from tests.evaluation.strategies import labelled_scores

undefined_is_fine = pytest.mark.filterwarnings("ignore::evaluation.errors.UndefinedMetricWarning")


@undefined_is_fine
@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_affiliation_equals_the_reference(case):
    expected = case.results["affiliation"]
    got = affiliation(case.labels, case.predictions)
    values = [float(expected[name]) for name in ("precision", "recall", "f1")]
    assert got[:3] == pytest.approx(values, abs=TOLERANCE, nan_ok=True)
    precision, recall = affiliation_by_event(case.labels, case.predictions)
    individual = [float(v) for v in expected["individual_precision"]]
    assert precision == pytest.approx(individual, abs=TOLERANCE, nan_ok=True)
    assert recall == pytest.approx(expected["individual_recall"], abs=TOLERANCE)


@pytest.mark.parametrize("case", SCORE_CASES, ids=str)
def test_the_oracle_equals_the_reference(case):
    expected = case.results["TSB-AD"]["Affiliation-F oracle"]
    # the reference gives NaN where no threshold predicts anything; by definition F1 is then 0
    expected = 0.0 if expected == "nan" else expected
    assert oracle_best_affiliation_f1(case.labels, case.scores) == pytest.approx(expected, abs=TOLERANCE)


@undefined_is_fine
@given(labelled_scores(levels=1))
def test_closed_forms_equal_sums_over_a_fine_grid(pair):
    y, b = pair
    precision, recall = naive.affiliation(y.tolist(), b.tolist())
    got = affiliation(y, b)
    assert got.precision == pytest.approx(precision, abs=0.01, nan_ok=True)
    assert got.recall == pytest.approx(recall, abs=0.01)


@undefined_is_fine
@given(labelled_scores(levels=1))
def test_laws(pair):
    y, b = pair
    got = affiliation(y, b)
    assert affiliation(y.astype(bool), b.astype(bool)) == pytest.approx(got, nan_ok=True)
    assert affiliation(y[::-1], b[::-1]) == pytest.approx(got, nan_ok=True)
    perfect = affiliation(y, y)
    assert perfect[:3] == pytest.approx((1.0, 1.0, 1.0))
    ones = affiliation(y, np.ones_like(y))
    assert ones.f1 == pytest.approx(affiliation_floor(y))
    assert ones.recall == pytest.approx(1.0)
    assert ones.precision >= 0.5


def test_undefined_values_are_told_once():
    with pytest.warns(UndefinedMetricWarning, match="nothing is predicted") as caught:
        got = affiliation([0, 1, 0, 0], [0, 0, 0, 0])
    assert len(caught) == 1
    assert np.isnan(got.precision)
    assert (got.recall, got.f1) == (0.0, 0.0)
    for metric in (affiliation, oracle_best_affiliation_f1):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0, 1])).all()
        assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(affiliation_floor([0, 0]))
    with pytest.warns(UndefinedMetricWarning, match="already right"):
        assert np.isnan(affiliation([1, 1], [1, 0]).f1_above_floor)


@pytest.mark.skipif(
    not (data_directory() / FOLDER / "labeled_anomalies.csv").is_file(),
    reason=f"no NASA data: set TSAD_DATA to a directory that holds {FOLDER} (see docs/datasets.md)",
)
def test_trivial_predictors_on_the_real_labels():
    expected = GOLDEN["extra"]["trivial_baselines_on_real_labels"]["data"]["MSL"]
    channels = sorted(load_nasa(data_directory() / FOLDER, "MSL"), key=lambda series: series.name)
    labels = np.concatenate([series.test_labels for series in channels])
    assert (labels.size, int(labels.sum())) == (expected["T"], expected["anomalous"])
    assert affiliation_floor(labels) == pytest.approx(expected["affiliation all-ones"]["F"], abs=1e-6)
    random = simulated_random_point_adjusted_f1(labels, np.random.default_rng(0))
    assert random == pytest.approx(expected["PA-F1 best of uniform random score, mean of 3 seeds"], abs=0.02)
