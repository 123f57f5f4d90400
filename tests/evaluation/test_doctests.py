import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import evaluation.datasets
import evaluation.metrics

MODULES = sorted(
    module.name
    for package in (evaluation.metrics, evaluation.datasets)
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
)


@pytest.mark.filterwarnings("ignore::evaluation.errors.MetricWarning")
@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    with np.printoptions(legacy=False):
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
