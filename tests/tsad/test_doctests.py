"""Examples in public docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import connectors
import streams
import tsad

_MODULES = sorted(
    module.name
    for package in (tsad, streams, connectors)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
)


@pytest.mark.parametrize("name", _MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)

    assert result.failed == 0
