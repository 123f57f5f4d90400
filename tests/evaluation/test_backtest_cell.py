import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.cell import Cell, run_cell
from evaluation.backtest.measures import MeasureSettings
from evaluation.backtest.storage import without_nan
from evaluation.backtest.thresholds import ThresholdRule
from tests.evaluation.backtest_parts import recording
from tsad.detectors.registry import create_detector
from tsad.settings import AlarmSettings, DetectorSettings

SERIES = recording()
ALARM = AlarmSettings(false_alarms_per_day=100.0)


def cell(name="robust", mode="causal", rule="false-alarms-per-day", **changes):
    detectors = tuple(DetectorSettings(name=part) for part in name.split("+"))
    return replace(Cell(name, detectors, mode, None, ThresholdRule.parse(rule, mode), ALARM), **changes)


def trivial(name, rule="false-alarms-per-day"):
    return Cell(name, (), "causal", None, ThresholdRule.parse(rule, "causal"), ALARM)


def test_a_causal_cell_is_the_engine_and_its_alarms():
    result = run_cell(cell(), SERIES)
    run = run_causal(SERIES, stream_settings(SERIES, [DetectorSettings(name="robust")], ALARM))
    np.testing.assert_array_equal(result.curves["score"], run.test_scores)
    np.testing.assert_array_equal(result.curves["p_value"], run.test_p_values)
    np.testing.assert_array_equal(result.curves["alarm"], run.test_on)
    record = result.record
    assert record["error"] is None
    assert record["threshold_rule"] == "false-alarms-per-day"
    assert (record["delay"], record["seed"], record["trivial"]) == (0, None, False)
    assert record["counts"]["unscored_rows"] == 0
    assert record["counts"]["alarmed_rows"] == run.test_on.sum()
    assert record["metrics"]["event_recall"] == 1.0
    assert record["metrics"]["auc_roc"] > 0.95
    assert record["accepted_false_alarms_per_day"] == 100.0
    assert record["test_days"] == pytest.approx(200 / 86_400)
    assert record["rows"] == {"own": 200, "shared": 0, "unfinished": 0, "imputed": 0}
    assert record["alarms"][0]["overlaps_event"]
    json.dumps(without_nan(record), allow_nan=False)


def test_false_alarms_are_alarms_that_touch_no_event():
    labels = np.zeros_like(SERIES.labels)
    labels[390:] = 1
    moved = replace(SERIES, labels=labels)
    record = run_cell(cell(), moved).record
    alarms = [alarm["overlaps_event"] for alarm in record["alarms"]]
    assert record["false_alarms"] == alarms.count(False) >= 1
    assert record["metrics"]["false_alarms_per_day"] == pytest.approx(alarms.count(False) * 432)


@pytest.mark.parametrize("rule", ["quantile-of-train=0.9", "mean+1.5std"])
@pytest.mark.parametrize("name", ["robust", "robust+sub-pca"])
def test_rules_on_training_scores_use_the_honest_prefix(rule, name):
    result = run_cell(cell(name, rule=rule), SERIES)
    detectors = [DetectorSettings(name=part) for part in name.split("+")]
    run = run_causal(SERIES, stream_settings(SERIES, detectors, ALARM))
    expected = ThresholdRule.parse(rule, "causal").threshold(SERIES.test_labels, run.test_scores, run.prefix_scores)
    assert result.record["threshold"] == expected
    assert result.record["counts"]["alarmed_rows"] == (run.test_scores >= expected).sum()
    np.testing.assert_array_equal(result.curves["alarm"], run.test_on, "the file keeps the engine's own alarms")


def test_hindsight_scores_the_test_part_alone_and_its_rule_is_called_oracle():
    result = run_cell(cell("sub-pca", "full", "oracle-best-f1"), replace(SERIES, train_length=100))
    series = replace(SERIES, train_length=100)
    expected = create_detector("sub-pca").score_all(series.test_values, series.test_times)
    np.testing.assert_array_equal(result.curves["score"], expected)
    assert np.isnan(result.curves["p_value"]).all()
    assert result.record["threshold_rule"] == "oracle-best-f1"
    assert result.record["delay"] == 300
    assert "alarms" not in result.record
    assert result.record["metrics"]["f1"] == pytest.approx(result.record["metrics"]["oracle_best_f1"])


def test_rows_all_scores_and_measures_the_training_part_too():
    result = run_cell(cell("sub-pca", "full", "oracle-best-f1", rows="all"), SERIES)
    expected = create_detector("sub-pca").score_all(SERIES.values, SERIES.times)
    np.testing.assert_array_equal(result.curves["score"], expected)
    np.testing.assert_array_equal(result.curves["label"], SERIES.labels)
    assert (result.record["scored_rows"], result.record["counts"]["test_rows"]) == ("all", 400)
    assert run_cell(cell(), SERIES).record["scored_rows"] == "test"


def test_the_width_of_soft_labels_follows_the_period_where_asked():
    wave = np.sin(np.arange(400) * 2 * np.pi / 40)[:, None].astype(np.float32)
    wave[5] = np.nan
    series = replace(SERIES, values=np.repeat(wave, 2, axis=1))
    chosen = cell(measures=MeasureSettings(vus_length="auto"))
    found = run_cell(chosen, series).record
    assert found["vus_length"] == 40
    by_hand = run_cell(cell(measures=MeasureSettings(vus_length=40)), series).record
    assert found["metrics"]["vus_pr"] == by_hand["metrics"]["vus_pr"]


def test_peak_memory_is_that_of_the_cell():
    small = run_cell(trivial("constant"), SERIES).record
    assert small["peak_memory_of"] == ("cell" if sys.platform == "linux" else "process")
    hungry = np.ones(40_000_000)
    del hungry
    after = run_cell(trivial("constant"), SERIES).record
    if after["peak_memory_of"] == "cell":
        assert after["added_memory_mb"] < 100, "300 MiB that were given back before count no more"


def test_rows_without_a_score_rank_lowest_never_alarm_and_are_counted():
    values = SERIES.values.copy()
    values[260:280] = np.nan
    series = replace(SERIES, values=values)
    result = run_cell(cell(rule="fixed=-1"), series)
    counts = result.record["counts"]
    # Three rows hold the values from before.
    assert counts["unscored_rows"] == 17
    assert counts["alarmed_rows"] == 200 - 17


def test_too_little_data_is_a_record_and_no_metrics():
    record = run_cell(cell(), recording(train=60)).record
    assert record["error_kind"] == "too_little_data"
    assert "60 training rows" in record["error"]
    assert record["metrics"] == {}
    assert run_cell(trivial("random"), recording(train=400, rows=400)).record["error_kind"] == "too_little_data"


def test_a_detector_that_breaks_is_a_record_too(monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("tsad.detectors.robust.RobustDetector.score_all", broken)
    record = run_cell(cell(mode="full", rule="oracle-best-f1"), SERIES).record
    assert (record["error_kind"], record["error"]) == ("failed", "RuntimeError: out of order")


def test_trivial_predictors_see_nothing():
    results = {name: run_cell(trivial(name), SERIES).record for name in ("constant", "random", "all_ones")}
    assert all(record["trivial"] for record in results.values())
    assert results["constant"]["metrics"]["event_recall"] == 0
    assert results["all_ones"]["metrics"]["recall"] == 1
    assert results["random"]["metrics"]["auc_roc"] == pytest.approx(0.5, abs=0.12)
    assert {record["threshold_rule"] for record in results.values()} == {"fixed=0.5"}
    assert run_cell(trivial("random", "oracle-best-f1"), SERIES).record["threshold_rule"] == "oracle-best-f1"


def test_shuffled_labels_change_no_score_and_no_alarm():
    shuffled = replace(SERIES, labels=np.random.default_rng(2).permutation(SERIES.labels))
    for one in (cell(), cell("robust+sub-pca"), cell("sub-pca", "full", "oracle-best-f1")):
        first, second = run_cell(one, SERIES), run_cell(one, shuffled)
        np.testing.assert_array_equal(first.curves["score"], second.curves["score"])
        if one.mode == "causal":
            np.testing.assert_array_equal(first.curves["alarm"], second.curves["alarm"])
