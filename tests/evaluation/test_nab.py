import numpy as np
import pytest
from hypothesis import given

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.nab import nab_score
from tests.evaluation import naive
from tests.evaluation.strategies import labelled_scores

WEIGHTS = {"standard": (0.11, 1), "reward_low_fp_rate": (0.22, 1), "reward_low_fn_rate": (0.11, 2)}


@pytest.mark.parametrize("profile", WEIGHTS)
@given(pair=labelled_scores(levels=1))
def test_equals_its_naive_twin(profile, pair):
    y, b = pair
    got = nab_score(y, b, profile=profile)
    assert got == pytest.approx(naive.nab(y, b, *WEIGHTS[profile]), abs=1e-12)
    assert nab_score(y.astype(bool), b.astype(bool), profile=profile) == got
    assert got <= 1 + 1e-12


@given(labelled_scores(levels=1))
def test_silence_is_0_and_every_first_step_is_1(pair):
    y, _ = pair
    assert nab_score(y, np.zeros_like(y)) == 0
    first = np.diff(y, prepend=0) == 1
    assert nab_score(y, first) == pytest.approx(1)


def test_worked_positions():
    """Hits at -1.0 and -0.25 of a window, false detections close behind, far behind and before any window."""
    y = np.zeros(120, int)
    y[40:60] = 1
    for step, expected in ((40, 1.0), (55, 0.5546 / 0.98661), (59, 0.1244 / 0.98661)):
        b = np.zeros(120, int)
        b[step] = 1
        # A hit of value v scores (v + 1) / 2 between silence (-1) and perfection (+1).
        assert nab_score(y, b) == pytest.approx((expected + 1) / 2, abs=2e-3)
    for step, cost in ((10, 0.11), (119, 0.11), (60, 0.11 * 0.1308)):
        b = np.zeros(120, int)
        b[step] = 1
        assert nab_score(y, b) == pytest.approx(-cost / 2, abs=2e-4)


def test_what_is_wrong_or_undefined():
    with pytest.raises(InvalidInputError, match="profile is 'fast'; choose one of standard, reward_low_fp_rate"):
        nab_score([0, 1], [0, 1], profile="fast")
    with pytest.warns(UndefinedMetricWarning, match="nab_score"):
        assert np.isnan(nab_score([0, 0], [0, 1]))
