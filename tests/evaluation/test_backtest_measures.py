import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.backtest.measures import (
    MeasureSettings,
    alarm_episodes,
    measure_predictions,
    measure_scores,
    ranking_scores,
)
from evaluation.metrics.pate import pate
from evaluation.metrics.point_adjust import random_point_adjusted_f1
from evaluation.metrics.pointwise import average_precision
from evaluation.metrics.registry import METRICS

RNG = np.random.default_rng(5)
LABELS = np.zeros(400, np.uint8)
LABELS[100:120] = LABELS[300:310] = 1
SCORES = RNG.normal(size=400) + 2 * LABELS
TIMES = np.arange(400) * 10**9


def test_scores_get_every_metric_that_needs_no_threshold():
    found = measure_scores(LABELS, SCORES, 1440.0, 1.0, MeasureSettings())
    assert found["auc_pr"] == average_precision(LABELS, SCORES)
    assert {"pate", "pate_step", "vus_pr", "vus_roc", "auc_roc"} <= set(found)
    assert found["pate"] == pate(LABELS, SCORES)
    assert not {"f1", "severity_c_index"} & set(found)


def test_pate_takes_its_buffers_and_vus_its_length():
    settings = MeasureSettings(pate_early=20, pate_delay=10, pate_splits=2, pate_zero=False, vus_length=25)
    found = measure_scores(LABELS, SCORES, 1440.0, 1.0, settings)
    assert found["pate"] == pate(LABELS, SCORES, early=20, delay=10, splits=2, include_zero=False)
    assert found["vus_pr"] != measure_scores(LABELS, SCORES, 1440.0, 1.0, MeasureSettings())["vus_pr"]


def test_point_adjusted_f1_never_comes_without_its_random_twin():
    found = measure_predictions(LABELS, SCORES > 1.5, 1440.0, MeasureSettings())
    assert found["pa_f1_random"] == random_point_adjusted_f1(LABELS)
    assert found["pa_f1"] >= found["f1"]


def test_every_metric_is_measured_but_severity():
    settings = MeasureSettings()
    found = measure_scores(LABELS, SCORES, 1440.0, 1.0, settings) | measure_predictions(
        LABELS, SCORES > 1, 1440.0, settings
    )
    assert len(found) == sum(m.needs != "severity" for m in METRICS.values())


def test_without_anomaly_values_are_nan_and_nothing_warns():
    found = measure_scores(0 * LABELS, SCORES, 1440.0, 1.0, MeasureSettings())
    assert math.isnan(found["vus_pr"])
    found = measure_predictions(0 * LABELS, SCORES > 2.5, 400.0, MeasureSettings())
    assert found["false_alarms_per_day"] > 0
    assert math.isnan(found["f1"])


@given(st.lists(st.one_of(st.just(math.nan), st.floats(-1e6, 1e6)), min_size=1, max_size=30))
def test_cannot_say_ranks_lowest_and_nothing_else_moves(values):
    scores = np.array(values)
    ranked = ranking_scores(scores)
    known = ~np.isnan(scores)
    np.testing.assert_array_equal(ranked[known], scores[known])
    assert np.isfinite(ranked).all()
    if known.any() and not known.all():
        assert ranked[~known].max() <= scores[known].min()


def transition(kind, second, severity="low"):
    return SimpleNamespace(
        kind=kind, time=second * 10**9, severity=severity, state="normal" if kind == "alarm.cleared" else "active"
    )


@pytest.mark.parametrize(
    ("start", "stop", "overlaps"),
    [(90, 101, True), (90, 100, False), (119, 150, True), (120, 150, False), (50, 350, True), (200, 250, False)],
)
def test_an_alarm_overlaps_an_event_when_it_stands_in_a_row_of_it(start, stop, overlaps):
    steps = [transition("alarm.raised", start), transition("alarm.cleared", stop)]
    (episode,) = alarm_episodes(steps, TIMES, LABELS)
    assert (episode.started, episode.ended, episode.overlaps_event) == (start * 10**9, stop * 10**9, overlaps)


def test_alarms_from_before_the_test_part_count_only_while_they_stand_in_it():
    steps = [
        transition("alarm.raised", -50),
        transition("alarm.cleared", -10),
        transition("alarm.raised", -5),
        transition("alarm.updated", 1, "high"),
        transition("alarm.cleared", 3, "high"),
        transition("alarm.raised", 390),
    ]
    first, last = alarm_episodes(steps, TIMES, LABELS)
    assert (first.started, first.severity, first.overlaps_event) == (-5 * 10**9, "high", False)
    assert (last.ended, last.overlaps_event) == (None, False)


def test_an_alarm_that_still_stands_reaches_later_events():
    (episode,) = alarm_episodes([transition("alarm.raised", 200)], TIMES, LABELS)
    assert episode.overlaps_event
