import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.backtest.thresholds import BUDGET_RULE, ORACLE_RULE, RULES, ThresholdRule, default_rule
from evaluation.errors import InvalidInputError

LABELS = np.array([0, 0, 1, 1], np.uint8)
SCORES = np.array([0.1, 0.4, 0.3, 0.9])


def parse(text, mode="causal"):
    return ThresholdRule.parse(text, mode)


@pytest.mark.parametrize("text", RULES)
def test_every_rule_named_to_the_user_can_be_read(text):
    assert parse(text).name == text


@pytest.mark.parametrize(
    "text", ["best", "quantile-of-train", "quantile-of-train=1.5", "mean+std", "fixed=", "fixed=x", "mean-3std", ""]
)
def test_other_texts_are_refused(text):
    with pytest.raises(InvalidInputError, match="is not a rule; write one of"):
        parse(text)


@pytest.mark.parametrize("text", [BUDGET_RULE, "quantile-of-train=0.99", "mean+3std"])
def test_rules_that_need_alarms_or_training_scores_are_causal(text):
    with pytest.raises(InvalidInputError, match="needs mode causal"):
        parse(text, "full")


def test_values():
    train = np.array([np.nan, 0.0, 1.0, 2.0, 3.0])
    assert parse("fixed=-0.5").threshold(LABELS, SCORES) == -0.5
    assert parse("quantile-of-train=0.5").threshold(LABELS, SCORES, train) == 1.5
    assert parse("mean+2std").threshold(LABELS, SCORES, train) == pytest.approx(1.5 + 2 * np.sqrt(1.25))
    assert parse(ORACLE_RULE).threshold(LABELS, SCORES) == 0.3
    assert np.isnan(parse(ORACLE_RULE).threshold(0 * LABELS, SCORES))
    with pytest.raises(InvalidInputError, match="needs training scores"):
        parse("mean+2std").threshold(LABELS, SCORES)


@given(st.permutations(range(4)), st.sampled_from(["fixed=0.5", "quantile-of-train=0.9", "mean+1std"]))
def test_only_the_oracle_looks_at_labels(order, text):
    train = np.arange(10.0)
    assert parse(text).threshold(LABELS, SCORES, train) == parse(text).threshold(LABELS[list(order)], SCORES, train)


def test_a_rule_that_uses_labels_is_the_default_of_hindsight_only_and_says_so():
    assert default_rule("causal") == BUDGET_RULE
    assert "oracle" in default_rule("full")
