import re
import warnings

import numpy as np
import pytest

from evaluation.errors import EvaluationError, InvalidInputError, UndefinedMetricError, UndefinedMetricWarning
from evaluation.metrics.validation import (
    check_at_least,
    check_labels,
    check_labels_and_predictions,
    check_labels_and_scores,
    check_scores,
    undefined,
)


def refused(message):
    return pytest.raises(InvalidInputError, match=re.escape(message))


def test_booleans_and_numbers_are_the_same_labels():
    for labels in ([0, 1, 1], [False, True, True], np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1], np.int8)):
        checked = check_labels(labels)
        assert checked.dtype == np.uint8
        assert checked.tolist() == [0, 1, 1]


def test_wrong_labels_are_named():
    with refused("labels must be 0 or 1, found -1, 2 (3 of 4 steps, first at index 1)"):
        check_labels([0, 2, -1, 2])
    with refused("labels must be 0 or 1, found nan (1 of 2 steps, first at index 1)"):
        check_labels([0.0, float("nan")])
    with refused("found 2, 3, 4, 5, 6 and 2 more (7 of 7 steps"):
        check_labels([2, 3, 4, 5, 6, 7, 8])
    with refused("predictions must be booleans or the numbers 0 and 1, got dtype <U1"):
        check_labels(["a", "b"], name="predictions")
    with refused("labels must be one-dimensional, got shape (1, 2)"):
        check_labels([[0, 1]])
    with refused("labels are empty"):
        check_labels([])


def test_lengths_are_named():
    with refused("got 3 labels and 2 scores"):
        check_labels_and_scores([0, 1, 0], [0.1, 0.2])
    with refused("got 1 labels and 2 predictions"):
        check_labels_and_predictions([0], [0, 1])


def test_wrong_scores_are_named():
    with refused("scores must be real numbers, got dtype complex128"):
        check_scores([1j])
    with refused("scores must be one-dimensional"):
        check_scores([[1.0]])
    with refused("2 of 4 scores are NaN or infinite, first at index 1"):
        check_labels_and_scores([0, 1, 0, 1], [0.1, np.nan, 0.2, np.inf])
    with refused("none of the 2 scores is finite"):
        check_labels_and_scores([0, 1], [np.nan, np.nan], nan_policy="lowest")
    with refused("1 of 3 scores are NaN or infinite, first at index 2"):
        check_labels_and_scores([0, 1, 0], [0.1, np.nan, np.inf], nan_policy="lowest")
    with refused('nan_policy must be "raise", "omit" or "lowest", got \'drop\''):
        check_labels_and_scores([0, 1], [0.1, 0.2], nan_policy="drop")


def test_nan_policies():
    y, s = check_labels_and_scores([0, 1, 1], [0.5, np.nan, 0.2], nan_policy="omit")
    assert y.tolist() == [0, 1]
    assert s.tolist() == [0.5, 0.2]
    y, s = check_labels_and_scores([0, 1, 1], [0.5, np.nan, 0.2], nan_policy="lowest")
    assert y.tolist() == [0, 1, 1]
    assert s.tolist() == [0.5, 0.2, 0.2]


def test_undefined_does_as_asked():
    with pytest.warns(UndefinedMetricWarning, match="f1 is not defined: no step") as caught:
        assert np.isnan(undefined("f1", "no step"))
    assert len(caught) == 1
    with pytest.raises(UndefinedMetricError, match="f1 is not defined"):
        undefined("f1", "no step", "raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert undefined("f1", "no step", 0.25) == 0.25
    with refused('on_undefined must be "warn", "raise" or a number'):
        undefined("f1", "no step", "zero")


def test_errors_are_value_errors_of_one_family():
    for error in (InvalidInputError, UndefinedMetricError):
        assert issubclass(error, EvaluationError)
        assert issubclass(error, ValueError)


def test_settings_are_refused_by_name():
    check_at_least("delay", 0, 0)
    with refused("delay must be at least 0, got nan"):
        check_at_least("delay", float("nan"), 0)
