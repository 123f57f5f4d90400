import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation.datasets.schema import LabelledSeries
from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_feed import NANOSECONDS
from tsad_cli.demo_replay import load_recording, replayed

END = 1_800_000_000 * NANOSECONDS


def series(name="run/1", rows=200, labels=((150, 160), (190, 200)), start=0):
    marked = np.zeros(rows, np.uint8)
    for begin, stop in labels:
        marked[begin:stop] = 1
    values = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    values[5, 1] = np.nan
    times = (start + np.arange(rows, dtype=np.int64)) * NANOSECONDS
    return LabelledSeries("SKAB", name, ("flow", "speed"), times, values, marked, 100, NANOSECONDS)


def test_every_series_ends_now_and_records_are_in_order():
    feed = replayed([series(), series("run/2", rows=300, start=5000)], END)
    times = [record.time for record in feed.records]
    assert times == sorted(times)
    assert times[-2:] == [END - NANOSECONDS] * 2
    assert feed.start == END - 300 * NANOSECONDS
    assert not feed.strict


def test_labelled_stretches_after_training_are_what_is_planted():
    [first, second] = replayed([series(labels=((20, 30), (150, 160), (190, 200)))], END).planted
    assert (END - first.start, END - first.end) == (50 * NANOSECONDS, 40 * NANOSECONDS)
    assert (second.end, second.asset, second.channels) == (END, "skab/run/1", ())


def test_a_missing_value_is_left_out_of_the_message():
    documents = [json.loads(record.value) for record in replayed([series()], END).records]
    assert documents[5]["values"] == {"flow": 10.0}
    assert documents[6]["values"] == {"flow": 12.0, "speed": 13.0}


def test_sets_without_usual_series_want_them_named():
    with pytest.raises(DemoError, match="say which series with --series"):
        load_recording("nab", None)


def test_series_of_different_steps_are_refused(monkeypatch):
    slow = replace(series("run/2"), step=60 * NANOSECONDS)
    monkeypatch.setattr("tsad_cli.demo_replay.load_dataset", lambda *_, **__: [series(), slow])
    with pytest.raises(DemoError, match="steps of 1, 60 s"):
        load_recording("skab", None)


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(DemoError, match="skab"):
        load_recording("kdd", None)
