import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import FewDistinctScoresWarning, InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.pate import buffer_sizes, pate, pate_f1, pate_precision_recall_f1
from tests.evaluation import naive
from tests.evaluation.golden import GOLDEN, PREDICTION_CASES, SCORE_CASES, TOLERANCE, settings
from tests.evaluation.strategies import labelled_scores

few_scores = pytest.mark.filterwarnings("ignore::evaluation.errors.FewDistinctScoresWarning")


def buffers(key):
    found = settings(key)
    return {
        "early": int(found["e"]),
        "delay": int(found["d"]),
        "splits": int(found["splits"]),
        "include_zero": found["include_zero"],
    }


def golden_score_values():
    for case in SCORE_CASES:
        for key, value in case.results["PATE"].items():
            if key.startswith("PATE defaults"):
                yield pytest.param(case, {"max_thresholds": 250}, value, id=f"{case}-{key}")
            elif key.startswith("PATE e="):
                keep = settings(key).get("drop_intermediate", True)
                yield pytest.param(case, {**buffers(key), "drop_intermediate": keep}, value, id=f"{case}-{key}")


def golden_prediction_values():
    for case in PREDICTION_CASES:
        for key, value in case.results["PATE"].items():
            if key.startswith("PATE-F1"):
                yield pytest.param(case, buffers(key), value, id=f"{case}-{key}")


@few_scores
@pytest.mark.parametrize(("case", "options", "value"), list(golden_score_values()))
def test_pate_equals_the_reference(case, options, value):
    assert pate(case.labels, case.scores, **options) == pytest.approx(value, abs=TOLERANCE)


@pytest.mark.parametrize(("case", "options", "value"), list(golden_prediction_values()))
def test_pate_f1_equals_the_reference(case, options, value):
    assert pate_f1(case.labels, case.predictions, **options) == pytest.approx(value, abs=TOLERANCE)


@pytest.mark.parametrize("case", PREDICTION_CASES, ids=str)
def test_weighted_precision_and_recall_equal_the_reference(case):
    expected = case.results["PATE"]["weighted precision/recall of pred, e=5 d=5"]
    got = pate_precision_recall_f1(case.labels, case.predictions, early=5, delay=5)
    assert got.precision == pytest.approx(expected["precision"], abs=TOLERANCE)
    assert got.recall == pytest.approx(expected["recall"], abs=TOLERANCE)


@few_scores
@pytest.mark.parametrize("row", GOLDEN["extra"]["pate_constant_score"], ids=lambda row: f"T={row['T']}-e={row['e']}")
def test_a_constant_score_gets_half_by_straight_lines_and_its_precision_by_steps(row):
    labels = np.zeros(row["T"])
    labels[row["event"][0] : row["event"][1] + 1] = 1
    scores = np.full(row["T"], 0.3)
    options = {"early": row["e"], "delay": row["d"], "include_zero": False}
    assert pate(labels, scores, **options) == pytest.approx(row["PATE"], abs=TOLERANCE)
    by_steps = pate(labels, scores, **options, interpolation="step")
    assert by_steps == pytest.approx(2 * row["PATE"] - 1, abs=TOLERANCE)


@few_scores
@given(
    labelled_scores(),
    st.integers(0, 7),
    st.integers(0, 7),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["trapezoid", "step"]),
)
def test_the_kernel_equals_its_naive_twin(pair, early, delay, splits, include_zero, drop, interpolation):
    y, s = pair
    got = pate(
        y,
        s,
        early=early,
        delay=delay,
        splits=splits,
        include_zero=include_zero,
        drop_intermediate=drop,
        interpolation=interpolation,
    )
    expected = naive.pate(y.tolist(), s.tolist(), early, delay, splits, include_zero, drop, interpolation)
    assert got == pytest.approx(expected, abs=1e-10)


@given(labelled_scores(levels=1), st.integers(0, 7), st.integers(0, 7))
def test_binary_weights_equal_their_naive_twin(pair, early, delay):
    y, b = pair
    tp, fp, fn = naive.pate_counts(y.tolist(), b.astype(bool).tolist(), early, delay)
    assert tp + fp == pytest.approx(b.sum())
    got = pate_precision_recall_f1(y, b, early=early, delay=delay)
    assert got.precision == pytest.approx(tp / (tp + fp) if b.any() else 0.0)
    assert got.recall == pytest.approx(tp / (tp + fn) if tp + fn and b.any() else 0.0)


@few_scores
@given(labelled_scores())
def test_only_the_order_of_the_scores_matters(pair):
    y, s = pair
    assert pate(y, np.exp(s / 2) - 9, early=3, delay=3) == pytest.approx(pate(y, s, early=3, delay=3), abs=1e-12)


@few_scores
@given(labelled_scores())
def test_a_perfect_score_gets_one_and_booleans_equal_integers(pair):
    y, s = pair
    perfect = 100 * y + s
    assert pate(y, perfect, early=0, delay=0, interpolation="step") == pytest.approx(1.0)
    assert pate(y, y, early=5, delay=5, interpolation="trapezoid") <= 1.0
    assert pate(y.astype(bool), s, early=3, delay=3) == pate(y, s, early=3, delay=3)
    assert pate_f1(y.astype(bool), y.astype(bool), early=4, delay=4) == pytest.approx(1.0)


@few_scores
@given(labelled_scores(), st.integers(2, 9))
def test_a_limit_on_thresholds_stays_in_range(pair, limit):
    y, s = pair
    assert 0 <= pate(y, s, early=3, delay=3, max_thresholds=limit) <= 1


def test_swapping_events_that_are_far_apart_changes_nothing():
    quiet = np.zeros(30)
    first, second = np.array([0.9, 0.2, 0.7]), np.array([0.4, 0.8, 0.85, 0.1, 0.6])
    rng = np.random.default_rng(3)
    noise = [rng.permutation(np.linspace(0, 0.5, 30)) for _ in range(3)]

    def series(one, two):
        y = np.concatenate([quiet, np.ones(one.size), quiet, np.ones(two.size), quiet])
        return y, np.concatenate([noise[0], one, noise[1], two, noise[2]])

    options = {"early": 0, "delay": 0}
    assert pate(*series(first, second), **options) == pytest.approx(pate(*series(second, first), **options))


def test_few_distinct_scores_are_told_and_steps_are_silent():
    with pytest.warns(FewDistinctScoresWarning, match="only 2 distinct scores"):
        pate([0, 1, 0], [0.0, 1.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pate([0, 1, 0], [0.0, 1.0, 0.0], interpolation="step")


def test_without_anomaly_the_result_is_nan_with_one_warning():
    with pytest.warns(UndefinedMetricWarning, match="pate is not defined") as caught:
        assert np.isnan(pate([0, 0], [0.1, 0.2]))
    assert len(caught) == 1
    assert pate_f1([0, 0], [0, 1], on_undefined=0.0) == 0.0


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(InvalidInputError, match="splits must be at least 1, got 0"):
        pate([0, 1], [0.1, 0.2], splits=0)
    with pytest.raises(InvalidInputError, match="buffer must be at least 0, got -1"):
        pate_f1([0, 1], [0, 1], early=-1)
    with pytest.raises(InvalidInputError, match="interpolation"):
        pate([0, 1], [0.1, 0.2], interpolation="spline")
    with pytest.raises(InvalidInputError, match="max_thresholds must be at least 2"):
        pate([0, 1], [0.1, 0.2], max_thresholds=1)


def test_buffer_sizes_are_cut_to_whole_steps():
    assert buffer_sizes(5, 2, include_zero=True) == [0, 2, 5]
    assert buffer_sizes(5, 2, include_zero=False) == [2, 5]
    assert buffer_sizes(0, 1, include_zero=True) == [0, 0]


def test_a_long_series_ends_at_full_recall():
    rng = np.random.default_rng(5)
    y = np.zeros(20_000)
    for start in range(100, 20_000, 500):
        y[start : start + 50] = 1
    s = rng.normal(size=y.size) + y
    value = pate(y, s, early=20, delay=20)
    assert 0.1 < value < 0.9
    assert pate(y, rng.random(y.size), early=20, delay=20) < value
