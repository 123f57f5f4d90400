import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import InvalidInputError, UndefinedMetricWarning
from evaluation.metrics.pointwise import auc_roc, average_precision
from evaluation.metrics.vus import autocorrelation_period, range_auc, vus, vus_pr, vus_roc
from tests.evaluation import naive
from tests.evaluation.golden import GOLDEN, SCORE_CASES, TOLERANCE, case, settings
from tests.evaluation.strategies import labelled_scores

undefined_is_fine = pytest.mark.filterwarnings("ignore::evaluation.errors.UndefinedMetricWarning")


def golden_values(prefixes):
    for one in SCORE_CASES:
        for key, value in one.results["VUS"].items():
            # TSB-AD finds no segment in all ones; its other values equal those of the VUS package
            if key.startswith(prefixes) and "error" not in value:
                window = int(settings(key).get("L") or settings(key)["window"])
                yield pytest.param(one, window, [float(v) for v in value.values()], id=f"{one}-{key}")


@undefined_is_fine
@pytest.mark.parametrize(("one", "window", "value"), list(golden_values(("VUS-package", "TSB-AD"))))
def test_opt_equals_the_reference(one, window, value):
    assert vus(one.labels, one.scores, window=window) == pytest.approx(value, abs=TOLERANCE, nan_ok=True)


@undefined_is_fine
@pytest.mark.parametrize(("one", "window", "value"), list(golden_values("VUS-2022")))
def test_2022_equals_the_reference(one, window, value):
    got = vus(one.labels, one.scores, window=window, variant="2022")
    assert got == pytest.approx(value, abs=TOLERANCE, nan_ok=True)


@undefined_is_fine
@pytest.mark.parametrize(("one", "window", "value"), list(golden_values("Range-AUC")))
def test_range_auc_equals_the_reference(one, window, value):
    assert range_auc(one.labels, one.scores, window=window) == pytest.approx(value, abs=TOLERANCE, nan_ok=True)


@pytest.mark.parametrize("key", list(GOLDEN["extra"]["readme500_vus"]))
def test_the_variants_of_the_readme_example(key):
    one = case("readme500")
    variant = "2022" if key.startswith("2022") else "opt"
    got = vus(one.labels, one.scores, window=int(settings(key)["L"]), variant=variant)
    assert list(got) == pytest.approx(list(GOLDEN["extra"]["readme500_vus"][key].values()), abs=TOLERANCE)


@given(labelled_scores(max_size=20, both=True), st.integers(0, 14), st.sampled_from(["opt", "2022"]))
def test_the_kernel_equals_its_naive_twin(pair, window, variant):
    y, s = pair
    curves = [naive.range_curves(y.tolist(), s.tolist(), width, variant) for width in range(window + 1)]
    assert vus(y, s, window=window, variant=variant) == pytest.approx(np.mean(curves, axis=0))


@given(labelled_scores(max_size=20, both=True), st.integers(0, 14))
def test_range_auc_equals_its_naive_twin(pair, window):
    y, s = pair
    expected = naive.range_curves(y.tolist(), s.tolist(), window, "range")
    assert range_auc(y, s, window=window) == pytest.approx(expected)


@given(labelled_scores(both=True), st.integers(0, 10))
def test_laws(pair, window):
    y, s = pair
    value = vus(y, s, window=window)
    assert vus(y, np.exp(s / 3) - 2, window=window) == pytest.approx(value)
    assert vus(y.astype(bool), s, window=window) == value
    assert (vus_roc(y, s, window=window), vus_pr(y, s, window=window)) == value
    assert vus(y, 100 * y + s, window=0) == pytest.approx((1.0, 1.0))


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_width_zero_with_one_event_is_the_point_wise_curve(before, length, after, seed):
    y = np.array([0] * before + [1] * length + [0] * (after + 1))
    s = np.random.default_rng(seed).integers(0, 9, y.size).astype(float)
    assert vus(y, s, window=0) == pytest.approx((auc_roc(y, s), average_precision(y, s)))


def test_undefined_values_are_told_once():
    with pytest.warns(UndefinedMetricWarning) as caught:
        assert np.isnan(vus([0, 0], [0.1, 0.2], window=2)).all()
    assert len(caught) == 1
    with pytest.warns(UndefinedMetricWarning, match="every step") as caught:
        assert np.isnan(vus_roc([1, 1], [0.1, 0.2], window=2))
    assert len(caught) == 1
    assert vus_pr([1, 1], [0.1, 0.2], window=2) == 1.0
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(range_auc([0, 0], [0.1, 0.2], window=2).pr)


def test_wrong_settings_are_refused():
    with pytest.raises(InvalidInputError, match='variant must be "opt" or "2022", got \'2021\''):
        vus([0, 1], [0.1, 0.2], window=2, variant="2021")
    with pytest.raises(InvalidInputError, match="window must be at least 0, got -1"):
        range_auc([0, 1], [0.1, 0.2], window=-1)


def test_the_period_of_a_series():
    rng = np.random.default_rng(4)
    wave = np.sin(np.arange(5000) * 2 * np.pi / 24) + 0.1 * rng.normal(size=5000)
    assert autocorrelation_period(wave) == 24
    wave[100] = np.nan
    assert autocorrelation_period(wave) == 24
    assert autocorrelation_period(np.arange(5.0), fallback=100) == 100
    slow = np.sin(np.arange(5000) * 2 * np.pi / 390)
    assert autocorrelation_period(slow) == 125, "a period of more than 303 lags falls back"
