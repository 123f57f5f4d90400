"""The golden cases: reference implementations run on small arrays (golden_metrics.json says which)."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_metrics.json").read_text())
TOLERANCE = 1e-9

# Their references raise or return half-true numbers; the project's own rule is tested in test_validation.py.
WITHOUT_ANOMALY = "no_anomaly"
WITH_NAN = "nan_score"


@dataclass(frozen=True)
class Case:
    name: str
    threshold: float
    labels: np.ndarray
    scores: np.ndarray
    predictions: np.ndarray
    results: dict[str, Any]

    def __str__(self):
        return self.name


def _expand(stored):
    if isinstance(stored, dict):
        array = np.zeros(stored["length"])
        for first, last in stored["ones"]:
            array[first : last + 1] = 1
        return array
    return np.array([float(value) for value in stored])


def _case(name):
    stored = GOLDEN["cases"][name]
    return Case(
        name,
        stored["thr"],
        _expand(stored["label"]).astype(int),
        _expand(stored["score"]),
        _expand(stored["pred"]).astype(int),
        stored["results"],
    )


CASES = [_case(name) for name in GOLDEN["cases"]]
PREDICTION_CASES = [case for case in CASES if case.name != WITHOUT_ANOMALY]
SCORE_CASES = [case for case in PREDICTION_CASES if case.name != WITH_NAN]


def case(name):
    return next(c for c in CASES if c.name == name)


def settings(key):
    """Return the `name=value` parts of a golden key."""
    found = {}
    for name, value in re.findall(r"(\w+)=([\w.]+)", key):
        found[name] = {"True": True, "False": False}.get(value, value)
    return found


def number(value):
    return float(value)
