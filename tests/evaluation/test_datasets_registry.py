import pickle
from pathlib import Path

import numpy as np
import pytest

from evaluation.datasets.location import data_directory, pick
from evaluation.datasets.registry import DATASETS, available, load_dataset
from evaluation.datasets.schema import MINUTE, LabelledSeries, synthetic_times
from evaluation.errors import DatasetFormatError, DatasetNotFoundError, InvalidInputError


def series(**changes):
    fields = {
        "dataset": "demo",
        "name": "a",
        "channels": ("x", "y"),
        "times": synthetic_times(4),
        "values": np.zeros((4, 2), np.float32),
        "labels": np.array([0, 0, 1, 0], np.uint8),
        "train_length": 2,
        "step": MINUTE,
    }
    return LabelledSeries(**{**fields, **changes})


def test_a_series_knows_its_parts():
    one = series()
    assert one.train_values.shape == one.test_values.shape == (2, 2)
    assert one.test_labels.tolist() == [1, 0]
    assert one.test_times[0] == one.times[2]
    assert one == one, "compared by identity: arrays have no single truth value"  # noqa: PLR0124
    assert one != series()
    assert pickle.loads(pickle.dumps(one)).channels == one.channels, "series travel to worker processes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("x",)}, "1 channel names for 2 columns"),
        ({"channels": ("x", "x")}, "channel names repeat"),
        ({"values": np.zeros((4, 2))}, "values must be a 2-D array of float32, got 2-D float64"),
        ({"labels": [0, 0, 1, 0]}, "labels must be a 1-D array of uint8, got list"),
        ({"labels": np.array([0, 0, 2, 0], np.uint8)}, "label 2 in row 2"),
        ({"labels": np.zeros(3, np.uint8)}, "4 rows of values, 4 times, 3 labels"),
        ({"times": synthetic_times(4)[::-1].copy()}, "time of row 1 is before"),
        ({"times": np.zeros(4, np.int64)}, "time of row 1 repeats"),
        ({"severity": [0, 0, 1, 0]}, "severity must be a 1-D array of uint8, got list"),
        ({"severity": np.zeros(3, np.uint8)}, "4 labels and 3 severities"),
        ({"severity": np.array([0, 9, 1, 0], np.uint8)}, "severity 9 in row 1, which is labelled normal"),
        ({"train_length": 5}, r"train_length 5 is outside 0\.\.4"),
        ({"step": 0}, "step must be positive"),
        ({"values": np.full((4, 2), np.inf, np.float32)}, "channel 'x' is infinite .* row 0"),
    ],
)
def test_every_rule_is_checked(changes, message):
    with pytest.raises(DatasetFormatError, match=f"demo/a: .*{message}"):
        series(**changes)


def test_the_data_directory_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TSAD_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    assert not DATASETS["SKAB"].is_present()
    with pytest.raises(DatasetNotFoundError, match=rf"Looked for: {tmp_path}.*TSAD_DATA.*Licence: GPL"):
        load_dataset("skab")
    monkeypatch.delenv("TSAD_DATA")
    assert data_directory() == Path("../shared/data")


@pytest.mark.parametrize("name", available())
def test_a_missing_set_says_where_how_and_licence(name, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"Looked for: .*Get .*Licence: "):
        load_dataset(name, data_directory=tmp_path)
    with pytest.raises(InvalidInputError, match="has its own split"):
        load_dataset(name, data_directory=tmp_path, train_fraction=0.5)


def test_paths(tmp_path):
    path = tmp_path / "pump.csv"
    path.write_text("x,label\n1,0\n2,0\n3,1\n")
    (one,) = load_dataset(path, train_fraction=0.4)
    assert one.train_length == 1
    assert [s.name for s in load_dataset(str(tmp_path), train_fraction=0.4)] == ["pump"]
    with pytest.raises(DatasetNotFoundError, match=r"neither a known data set \(SMAP, MSL, .*TSB-AD-U\) nor a file"):
        load_dataset("nothing")


def test_pick_keeps_order_and_refuses_unknown_names():
    assert pick("d", ["b", "a1", "a2"], ["a*", "b"]) == ["b", "a1", "a2"]
    assert pick("d", ["b", "a1"], "a1") == ["a1"]
    with pytest.raises(DatasetNotFoundError, match="d has no series 'z'"):
        pick("d", ["b"], ["z"])
