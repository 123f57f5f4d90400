import doctest
import importlib
import pkgutil

import pytest

import evaluation.backtest

MODULES = sorted(m.name for m in pkgutil.iter_modules(evaluation.backtest.__path__, "evaluation.backtest."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs={"np": importlib.import_module("numpy")}).failed == 0
