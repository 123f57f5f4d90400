import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.etapr import etapr, tapr
from tests.evaluation import naive
from tests.evaluation.golden import PREDICTION_CASES, TOLERANCE, settings
from tests.evaluation.strategies import labelled_scores

ETAPR = {
    "eTaP": "precision",
    "eTaPd": "precision_detection",
    "eTaPp": "precision_portion",
    "eTaR": "recall",
    "eTaRd": "recall_detection",
    "eTaRp": "recall_portion",
    "f1": "f1",
}
TAPR = {
    "TaP": "precision",
    "TaP_d": "precision_detection",
    "TaP_p": "precision_portion",
    "TaR": "recall",
    "TaR_d": "recall_detection",
    "TaR_p": "recall_portion",
}


def golden_values(prefix):
    for case in PREDICTION_CASES:
        for key, value in case.results["eTaPR"].items():
            if key.startswith(prefix):
                options = {name: float(number) for name, number in settings(key).items()}
                yield pytest.param(case, options, value, id=f"{case}-{key}")


@pytest.mark.parametrize(("case", "options", "value"), list(golden_values("eTaPR")))
def test_etapr_equals_the_reference(case, options, value):
    got = etapr(case.labels, case.predictions, **options)
    if "error" in value:  # the reference crashes without prediction; by rule the value is 0
        assert not case.predictions.any()
        assert got == (0.0,) * 7
        return
    for name, expected in value.items():
        assert getattr(got, ETAPR[name]) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(("case", "options", "value"), list(golden_values("TaPR")))
def test_tapr_equals_the_reference(case, options, value):
    got = tapr(case.labels, case.predictions, **{**options, "delta": int(options["delta"])})
    for name, expected in value.items():
        assert getattr(got, TAPR[name]) == pytest.approx(expected, abs=TOLERANCE)


@given(
    labelled_scores(levels=1),
    st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_etapr_equals_its_naive_twin(pair, theta_p, theta_r, delta):
    y, b = pair
    if not b.any():
        return
    precision, recall = naive.etapr(y, b, theta_p, theta_r, delta)
    got = etapr(y, b, theta_p=theta_p, theta_r=theta_r, delta=delta)
    assert got.precision == pytest.approx(precision)
    assert got.recall == pytest.approx(recall)


@given(labelled_scores(levels=1), st.integers(0, 4))
def test_laws(pair, delta):
    y, b = pair
    for metric in (lambda y, b: etapr(y, b, delta=delta / 2), lambda y, b: tapr(y, b, delta=delta)):
        got = metric(y, b)
        assert all(0 <= value <= 1 for value in got)
        assert metric(y.astype(bool), b.astype(bool)) == got
        assert metric(y, y)[:3] == pytest.approx((1.0, 1.0, 1.0))


def test_undefined_and_refused():
    for metric in (etapr, tapr):
        with pytest.warns(UndefinedMetricWarning) as caught:
            assert np.isnan(metric([0, 0], [0, 1])).all()
        assert len(caught) == 1
        assert metric([0, 1], [0, 0]).f1 == 0.0
        with pytest.raises(InvalidInputError, match="delta must be at least 0"):
            metric([0, 1], [0, 1], delta=-1)
    with pytest.raises(InvalidInputError, match=r"theta_p must be in \[0, 1\], got 1\.5"):
        etapr([0, 1], [0, 1], theta_p=1.5)
