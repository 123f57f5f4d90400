import numpy as np
import pytest

from evaluation.errors import InvalidInputError
from evaluation.metrics.baselines import (
    TRIVIAL_PREDICTORS,
    all_ones_predictions,
    constant_scores,
    random_predictions,
    random_scores,
    trivial_scores,
)
from evaluation.metrics.pointwise import auc_roc, average_precision, precision_recall_f1
from evaluation.metrics.thresholds import (
    fixed_threshold,
    mean_deviation_threshold,
    predict,
    quantile_threshold,
)


def labels(steps=4000):
    y = np.zeros(steps, dtype=int)
    y[100:300] = y[2000:2200] = 1
    return y


def test_trivial_predictors_get_what_the_formulas_say():
    y = labels()
    scores = trivial_scores(y, np.random.default_rng(1))
    assert set(scores) == set(TRIVIAL_PREDICTORS)
    assert auc_roc(y, scores["constant"]) == 0.5
    assert average_precision(y, scores["all_ones"]) == pytest.approx(0.1)
    assert average_precision(y, scores["random"]) == pytest.approx(0.1, abs=0.02)
    assert precision_recall_f1(y, all_ones_predictions(y.size)).f1 == pytest.approx(0.2 / 1.1)


def test_the_same_generator_gives_the_same_scores():
    first, second = (random_scores(50, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second)
    assert random_predictions(1000, 0.1, np.random.default_rng(9)).mean() == pytest.approx(0.1, abs=0.03)


def test_no_steps_is_refused():
    with pytest.raises(InvalidInputError, match="steps must be at least 1"):
        constant_scores(0)


def test_every_threshold_names_its_rule():
    training = np.arange(101.0)
    assert fixed_threshold(0.25).rule == "fixed 0.25"
    assert quantile_threshold(training, 0.99).value == 99.0
    rule = mean_deviation_threshold([0.0, 2.0, np.nan])
    assert (rule.value, rule.rule) == (4.0, "training mean + 3 std")
    assert predict([3.9, 4.0, np.nan], rule).tolist() == [0, 1, 0]


def test_wrong_thresholds_are_refused():
    with pytest.raises(InvalidInputError, match="must be finite"):
        fixed_threshold(float("nan"))
    with pytest.raises(InvalidInputError, match=r"in \[0, 1\], got 2"):
        quantile_threshold([1.0], 2)
    with pytest.raises(InvalidInputError, match="none of the 1 training scores is finite"):
        mean_deviation_threshold([np.nan])
