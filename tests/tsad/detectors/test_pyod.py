import sys

import numpy as np
import pytest

from tests.tsad.detectors import test_contract as contract
from tests.tsad.detectors.test_contract import recording, rows_of
from tsad.detectors.pyod import pyod_detector
from tsad.detectors.registry import create_detector, detector_class, detector_options
from tsad.errors import ConfigurationError, NotEnoughDataError

SECOND = 10**9
# Those of every registered detector that do not draw many examples: a window takes PyOD a millisecond.
CONTRACT = [
    contract.test_says_what_it_is,
    contract.test_is_deterministic,
    contract.test_saved_and_loaded_continues_exactly,
    contract.test_never_sees_the_future,
    contract.test_higher_is_odder,
    contract.test_names_the_channel_that_is_odd,
    contract.test_missing_values_are_defined,
    contract.test_a_channel_that_was_never_seen_is_left_out,
    contract.test_a_gap_empties_the_window,
    contract.test_too_few_rows_say_how_many_are_needed,
    contract.test_hindsight_finds_a_planted_anomaly,
    contract.test_options_are_checked,
]


@pytest.fixture
def pyod():
    return pytest.importorskip("pyod", reason="install the extra pyod to test its models")


@pytest.mark.parametrize("law", CONTRACT, ids=lambda law: law.__name__)
def test_the_contract_of_all_detectors_holds(pyod, law):
    law("pyod:KNN")


@pytest.mark.parametrize("model", ["ECOD", "KNN"])
def test_a_row_does_not_depend_on_its_batch(pyod, model):
    detector = create_detector(f"pyod:{model}")
    values, times = recording(260)
    detector.fit(0, values[:200], times[:200])
    state = {**detector.state(1, fitted=True), **detector.state(1, fitted=False)}
    whole = detector.score(rows_of(values[200:], times[200:])).score
    other = create_detector(f"pyod:{model}")
    other.restore(state)
    pieces = [other.score(rows_of(values[a : a + 7], times[a : a + 7])).score for a in range(200, 260, 7)]

    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_scores_are_those_of_the_model(pyod):
    from pyod.models.knn import KNN

    values, times = recording(300)
    detector = create_detector("pyod:KNN", {"window": 4, "arguments": {"n_neighbors": 3}})
    detector.fit(0, values[:200], times[:200])
    found = detector.score(rows_of(values[200:], times[200:])).score

    scaled = (values.astype(float) - values[:200].mean(axis=0, dtype=float)) / values[:200].std(axis=0, dtype=float)
    windows = np.stack([scaled[t - 3 : t + 1].ravel() for t in range(3, 300)])
    expected = KNN(n_neighbors=3).fit(windows[:197]).decision_function(windows[197:])
    a = detector._arrays
    np.testing.assert_allclose(found, (expected - a.usual[0]) / a.unit[0], rtol=1e-3, atol=1e-3)


def test_the_seed_reaches_models_that_have_one(pyod):
    values, times = recording(80)
    options = {"arguments": {"n_estimators": 10}}
    same = [create_detector("pyod:IForest", {**options, "seed": 1}).fit(0, values, times) for _ in range(2)]
    other = create_detector("pyod:IForest", {**options, "seed": 2}).fit(0, values, times)

    np.testing.assert_array_equal(*same)
    assert not np.array_equal(same[0], other)


def test_names_options_and_mistakes(pyod):
    assert detector_class("pyod:ECOD") is detector_class("pyod:ECOD")
    assert set(detector_options("pyod:ECOD")) == {"window", "most_windows", "seed", "arguments"}
    with pytest.raises(ConfigurationError, match="PyOD has no model 'Nonsense'"):
        create_detector("pyod:Nonsense")
    with pytest.raises(ConfigurationError, match="PyOD has no model 'ecod'"):
        create_detector("pyod:ecod")
    with pytest.raises(ConfigurationError, match="nonsense"):
        create_detector("pyod:KNN", {"arguments": {"nonsense": 1}})
    with pytest.raises(ConfigurationError, match="window is 0"):
        create_detector("pyod:KNN", {"window": 0})


def test_short_pieces_are_refused(pyod):
    values, _ = recording(200)
    times = (np.arange(200) + np.arange(200) // 6 * 100) * SECOND
    with pytest.raises(NotEnoughDataError, match="0 whole windows of 8"):
        create_detector("pyod:KNN").fit(0, values, times)


def test_without_pyod_the_error_names_the_extra(monkeypatch):
    pyod_detector.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    with pytest.raises(ConfigurationError, match=r"needs PyOD; install it with: pip install 'tsad-service\[pyod\]'"):
        create_detector("pyod:ECOD")


class _Without:
    """Finds no package called pyod."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "pyod":
            raise ModuleNotFoundError(f"No module named {name!r}", name="pyod")
