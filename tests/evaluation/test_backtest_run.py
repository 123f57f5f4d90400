import json
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest

from evaluation.backtest import provenance, run
from evaluation.backtest.plan import Plan
from evaluation.backtest.report import summarise, tables
from evaluation.backtest.run import backtest
from evaluation.errors import InvalidInputError
from tests.evaluation.backtest_parts import recording
from tsad.settings import AlarmSettings

PLAN = Plan([("robust",), ("sub-pca",)], alarm=AlarmSettings(false_alarms_per_day=50))
SERIES = [recording(name="a/1", seed=1), recording(name="b", seed=2), recording(name="short", train=40)]


def test_a_second_run_takes_finished_cells_and_says_how_many(tmp_path, monkeypatch):
    seen = []
    first = backtest(SERIES, PLAN, out=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert (len(first.cells), first.skipped) == (15, 0)
    assert seen == [(n, 15) for n in range(16)]
    monkeypatch.setattr(run, "run_cells", lambda tasks, **_: iter([]) if not tasks else pytest.fail("ran again"))
    second = backtest(SERIES, PLAN, out=tmp_path)
    assert second.skipped == 15
    assert second.cells == first.cells


def test_new_detectors_data_or_code_run_what_is_new(tmp_path, monkeypatch):
    backtest(SERIES[:1], PLAN, out=tmp_path)
    more = replace(PLAN, detectors=[*PLAN.detectors, ("robust", "sub-pca")])
    assert backtest(SERIES[:1], more, out=tmp_path).skipped == 5
    other = [recording(name="a/1", seed=9)]
    assert backtest(other, PLAN, out=tmp_path).skipped == 0
    assert backtest(SERIES[:1], replace(PLAN, alarm=AlarmSettings()), out=tmp_path).skipped == 0
    monkeypatch.setattr(provenance, "code_hash", lambda: "another")
    assert backtest(SERIES[:1], PLAN, out=tmp_path).skipped == 0


def test_a_damaged_or_failed_cell_is_run_again(tmp_path, monkeypatch):
    backtest(SERIES[:1], PLAN, out=tmp_path)
    damaged = min((tmp_path / "cells").glob("*robust*.json"))
    damaged.write_text(damaged.read_text()[:50])
    assert backtest(SERIES[:1], PLAN, out=tmp_path).skipped == 4

    def broken(*_):
        raise RuntimeError("broken")

    full = replace(PLAN, mode="full", alarm=AlarmSettings())
    with monkeypatch.context() as patch:
        patch.setattr("tsad.detectors.robust.RobustDetector.score_all", broken)
        failed = backtest(SERIES[:1], full, out=tmp_path)
    assert [cell["detector"] for cell in failed.errors("failed")] == ["robust"]
    again = backtest(SERIES[:1], full, out=tmp_path)
    assert (again.skipped, again.errors("failed")) == (4, [])


def test_the_folder_holds_results_scores_and_where_they_come_from(tmp_path):
    found = backtest(SERIES, PLAN, out=tmp_path, command=["tsad", "backtest"])
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["cells"] == found.cells
    origin = document["provenance"]
    assert origin["command"] == ["tsad", "backtest"]
    assert set(origin["data_hashes"]) == {"made/a/1", "made/b", "made/short"}
    assert {"python", "numpy", "torch", "tsad-service"} <= set(origin["versions"])
    assert {"git_commit", "time", "seeds", "metrics_version", "code_hash"} <= set(origin)
    table = pl.read_parquet(tmp_path / "results.parquet")
    assert table.height == 15
    assert {"dataset", "series", "detector", "mode", "delay", "seed", "vus_pr", "seconds", "error"} <= set(
        table.columns
    )
    assert not list(tmp_path.rglob("*.partial"))
    for cell in found.cells:
        if cell["error"] is None:
            scores = pl.read_parquet(tmp_path / cell["scores_file"])
            assert scores.columns == ["time", "label", "score", "p_value", "alarm"]
            assert scores.height == cell["counts"]["test_rows"]
        else:
            assert cell["error_kind"] == "too_little_data"
    assert len(found.errors("too_little_data")) == 2


def test_results_come_in_the_order_of_series_and_plan_whatever_finished_first():
    found = backtest(SERIES[:2], PLAN, jobs=2, backend="threading")
    expected = [(s, d) for s in ("a/1", "b") for d in ("constant", "random", "all_ones", "robust", "sub-pca")]
    assert [(cell["series"], cell["detector"]) for cell in found.cells] == expected
    assert "scores_file" not in found.cells[0]


def test_a_file_in_the_way_of_the_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InvalidInputError, match="cannot be used"):
        backtest(SERIES[:1], PLAN, out=tmp_path / "out")


def test_summary_is_the_mean_over_series_and_false_alarms_over_all_days():
    found = backtest(SERIES, PLAN)
    summaries = {summary.detector: summary for summary in summarise(found.cells)}
    assert list(summaries) == ["constant", "random", "all_ones", "robust", "sub-pca"]
    robust = summaries["robust"]
    cells = [cell for cell in found.cells if cell["detector"] == "robust" and cell["error"] is None]
    assert (robust.done, robust.series) == (2, 3)
    assert robust.means["vus_pr"] == pytest.approx(sum(c["metrics"]["vus_pr"] for c in cells) / 2)
    days = sum(c["test_days"] for c in cells)
    assert robust.false_alarms_per_day == pytest.approx(sum(c["false_alarms"] for c in cells) / days)


def test_spread_is_over_seeds():
    plan = Plan([("autoencoder",)], seeds=2, options={"autoencoder": {"epochs": 1, "samples_per_metric": 5}})
    summary = summarise(backtest([recording(train=240, rows=480)], plan).cells)[-1]
    assert summary.seeds == 2
    assert summary.spreads["vus_pr"] > 0
    (table,) = tables(backtest([recording(train=240, rows=480)], plan).cells)
    assert "±" in list(table.columns[2].cells)[-1]


def test_tables_name_mode_and_rule_and_hide_point_adjustment():
    cells = backtest(SERIES[:1], PLAN).cells
    (table,) = tables(cells)
    assert "mode causal, threshold false-alarms-per-day, accepted 50 false alarms a day" in str(table.title)
    headers = [str(column.header) for column in table.columns]
    assert not any("pa-f1" in header for header in headers)
    (shown,) = tables(cells, point_adjusted=True)
    headers = [str(column.header) for column in shown.columns]
    assert headers[headers.index("pa-f1") + 1] == "pa-f1 of random"


def test_code_that_only_reads_figures_is_not_in_the_hash(tmp_path, monkeypatch):
    package = tmp_path / "evaluation"
    for name in ("metrics", "report"):
        (package / name).mkdir(parents=True)
        (package / name / "one.py").write_text("a = 1\n")
    monkeypatch.setattr(provenance, "evaluation", SimpleNamespace(__file__=str(package / "__init__.py")))

    def hashed():
        provenance.code_hash.cache_clear()
        return provenance.code_hash()

    try:
        before = hashed()
        (package / "report" / "one.py").write_text("a = 2\n")
        assert hashed() == before
        (package / "metrics" / "one.py").write_text("a = 2\n")
        assert hashed() != before
    finally:
        provenance.code_hash.cache_clear()
