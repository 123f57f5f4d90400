import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.range_based import oracle_best_range_based_f1, range_based
from tests.evaluation import naive
from tests.evaluation.golden import PREDICTION_CASES, SCORE_CASES, TOLERANCE, settings
from tests.evaluation.strategies import labelled_scores

BIASES = ["flat", "front", "middle", "back"]


@pytest.mark.parametrize("case", [c for c in PREDICTION_CASES if c.predictions.any()], ids=str)
def test_range_based_equals_the_reference(case):
    for key, expected in case.results["range_based"].items():
        found = settings(key)
        alpha = float(found["alpha"])
        options = {"alpha": alpha, "cardinality": found["cardinality"], "bias": found["bias"]}
        got = range_based(case.labels, case.predictions, **options)
        assert got.precision == pytest.approx(expected["precision_alpha0"], abs=TOLERANCE)
        assert got.recall == pytest.approx(expected["recall"], abs=TOLERANCE)
        got = range_based(case.labels, case.predictions, precision_alpha=alpha, **options)
        assert got.precision == pytest.approx(expected["precision_alpha"], abs=TOLERANCE)


# TSB-AD finds no segment in an array of ones and gives 0 there; the definition gives a value
@pytest.mark.parametrize("case", [c for c in PREDICTION_CASES if not c.predictions.all()], ids=str)
def test_the_settings_of_tsb_ad(case):
    if case.labels.all():
        assert range_based(case.labels, case.predictions, alpha=0.2, cardinality="reciprocal").f1 > 0
        return
    got = range_based(case.labels, case.predictions, alpha=0.2, cardinality="reciprocal").f1
    assert got == pytest.approx(case.results["TSB-AD"]["R-based-F1 pred"], abs=TOLERANCE)


@pytest.mark.parametrize("case", [c for c in SCORE_CASES if not c.labels.all()], ids=str)
def test_the_oracle_equals_the_reference(case):
    expected = case.results["TSB-AD"]["R-based-F1 oracle"]
    assert oracle_best_range_based_f1(case.labels, case.scores) == pytest.approx(expected, abs=TOLERANCE)


@given(labelled_scores(levels=1), st.floats(0, 1), st.sampled_from(["one", "reciprocal"]), st.sampled_from(BIASES))
def test_rewards_equal_their_naive_twin(pair, alpha, cardinality, bias):
    y, b = pair
    if not b.any():
        assert range_based(y, b) == (0.0, 0.0, 0.0)
        return
    got = range_based(y, b, alpha=alpha, cardinality=cardinality, bias=bias)
    assert got.recall == pytest.approx(naive.range_reward(y, b, alpha, cardinality, bias))
    assert got.precision == pytest.approx(naive.range_reward(b, y, 0.0, cardinality, bias))


@given(labelled_scores())
def test_laws(pair):
    y, s = pair
    assert range_based(y.astype(bool), y.astype(bool), alpha=0.3, bias="front") == pytest.approx((1.0, 1.0, 1.0))
    assert range_based(y.astype(bool), s >= 3) == range_based(y, (s >= 3).astype(int))
    flipped = range_based(y[::-1], s[::-1] >= 3, bias="back")
    assert range_based(y, s >= 3, bias="front") == pytest.approx(flipped)
    assert oracle_best_range_based_f1(y, 4 * s + 8) == pytest.approx(oracle_best_range_based_f1(y, s))


def test_undefined_and_refused():
    for metric in (range_based, oracle_best_range_based_f1):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0, 1])).all()
        assert len(caught) == 1
    with pytest.raises(InvalidInputError, match=r"alpha must be in \[0, 1\], got 2"):
        range_based([0, 1], [0, 1], alpha=2)
    with pytest.raises(InvalidInputError, match="bias must be"):
        range_based([0, 1], [0, 1], bias="left")
    with pytest.raises(InvalidInputError, match="cardinality must be"):
        range_based([0, 1], [0, 1], cardinality="two")
