import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.pointwise import auc_roc
from evaluation.metrics.severity import severity_agreement, severity_c_index
from tests.evaluation import naive
from tests.evaluation.golden import GOLDEN, TOLERANCE
from tests.evaluation.strategies import labelled_scores

EXAMPLE = GOLDEN["extra"]["severity_example"]


def test_the_worked_example():
    got = severity_agreement(EXAMPLE["severity"], EXAMPLE["score"])
    assert got.c_index == pytest.approx(EXAMPLE["C_index"], abs=TOLERANCE)
    assert got.kendall_tau_b == pytest.approx(EXAMPLE["kendall_tau_b"], abs=TOLERANCE)
    assert got.auc_roc == pytest.approx(EXAMPLE["AUROC_0_vs_all"], abs=TOLERANCE)
    for level, value in got.auc_roc_by_level.items():
        assert value == pytest.approx(EXAMPLE[f"AUROC_0_vs_{level:g}"], abs=TOLERANCE)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_kernel_equals_its_naive_twin(pairs):
    severity, scores = np.array(pairs).T
    if np.all(severity == severity[0]):
        return
    got = severity_c_index(severity, scores)
    assert got == pytest.approx(naive.c_index(severity.tolist(), scores.tolist()))
    assert severity_c_index(severity, 2.0**scores) == pytest.approx(got)
    assert severity_c_index(severity, -scores) == pytest.approx(1 - got)
    assert severity_c_index(severity, severity) == 1.0


@given(labelled_scores(both=True))
def test_with_one_level_it_is_auc_roc(pair):
    y, s = pair
    assert severity_c_index(y, s) == pytest.approx(auc_roc(y, s))
    assert severity_agreement(y.astype(bool), s) == severity_agreement(y, s)


def test_undefined_and_refused():
    with pytest.warns(UndefinedMetricWarning, match="one severity") as caught:
        assert np.isnan(severity_c_index([1, 1], [0.1, 0.2]))
    assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning, match="one severity"):
        assert np.isnan(severity_agreement([0, 0], [0.1, 0.2]).c_index)
    with pytest.warns(UndefinedMetricWarning, match="no step is normal") as caught:
        got = severity_agreement([1, 2], [0.1, 0.2])
    assert len(caught) == 1
    assert (got.c_index, np.isnan(got.auc_roc)) == (1.0, True)
    assert severity_agreement([0, 1], [0.5, 0.5]).kendall_tau_b == 0.0
    with pytest.raises(InvalidInputError, match=r"found -1\.0 at index 1"):
        severity_c_index([0, -1], [0.1, 0.2])
    assert severity_c_index([0, 1, 2], [0.1, np.nan, 0.5], nan_policy="omit") == 1.0
