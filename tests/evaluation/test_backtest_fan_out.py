import os
import warnings

import numpy as np
import pytest

from evaluation.backtest.fan_out import check_backend, run_cells
from evaluation.backtest.plan import Plan, plan_cells
from evaluation.errors import EvaluationError, InvalidInputError
from tests.evaluation.backtest_parts import recording


def tasks():
    plan = Plan([("robust",), ("sub-pca",), ("autoencoder",)], options={"autoencoder": {"epochs": 2}})
    return [(cell, recording(rows=500, train=300, seed=s)) for s in (1, 2) for cell in plan_cells(plan)]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_results_do_not_depend_on_workers(backend):
    alone = dict(run_cells(tasks()))
    together = dict(run_cells(tasks(), jobs=2, backend=backend))
    assert sorted(together) == sorted(alone) == list(range(len(tasks())))
    for number, result in alone.items():
        other = together[number]
        assert other.record["metrics"].keys() == result.record["metrics"].keys()
        np.testing.assert_array_equal(list(other.record["metrics"].values()), list(result.record["metrics"].values()))
        for name, column in result.curves.items():
            np.testing.assert_array_equal(other.curves[name], column)
        assert result.record["error"] is None


def test_warning_filters_stay_as_they_were():
    before = list(warnings.filters)
    list(run_cells(tasks()[:1]))
    assert warnings.filters == before


def test_nothing_to_do_starts_nothing():
    assert list(run_cells([], jobs=2)) == []


def test_a_backend_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("evaluation.backtest.fan_out.find_spec", lambda _: None)
    for backend in ("ray", "dask"):
        with pytest.raises(InvalidInputError, match=rf"pip install 'tsad-service\[{backend}\]'"):
            check_backend(backend)
    with pytest.raises(InvalidInputError, match="choose one of loky, threading, ray, dask"):
        check_backend("slurm")


def dies(*_):
    os._exit(1)


@pytest.mark.filterwarnings("ignore::UserWarning")  # joblib tells of the dead worker too
def test_a_worker_that_dies_is_told(monkeypatch):
    monkeypatch.setattr("evaluation.backtest.fan_out._numbered", dies)
    with pytest.raises(EvaluationError, match="a worker process died"):
        list(run_cells(tasks()[:2], jobs=2))
