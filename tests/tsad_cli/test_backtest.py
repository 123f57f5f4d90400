import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.tsad_cli.command_line import tsad


@pytest.fixture
def recording(tmp_path):
    """A file of one labelled series; a second, short one beside it."""
    rng = np.random.default_rng(4)
    folder = tmp_path / "plant"
    folder.mkdir()
    for name, rows, train in (("pump", 400, 200), ("fan", 100, 50)):
        values = rng.normal(size=(rows, 2)).astype(np.float32)
        labels = np.zeros(rows, np.int64)
        labels[train + 20 : train + 40] = 1
        values[labels == 1] += 9
        split = np.where(np.arange(rows) < train, "train", "test")
        pl.DataFrame({"a": values[:, 0], "b": values[:, 1], "label": labels, "split": split}).write_csv(
            folder / f"{name}.csv"
        )
    return folder / "pump.csv"


def test_backtest_prints_a_table_and_writes_results(recording, tmp_path):
    out = tmp_path / "out"
    arguments = ("backtest", "--dataset", recording, "--detector", "robust,sub-pca,robust+sub-pca", "--out", out)
    result = tsad(*arguments)
    assert result.exit_code == 0, result.output
    for text in ("mode causal", "threshold false-alarms-per-day", "constant", "random", "all_ones", "robust+sub-pca"):
        assert text in result.stdout
    assert "pa-f1" not in result.stdout
    document = json.loads((out / "results.json").read_text())
    assert len(document["cells"]) == 6
    assert document["provenance"]["command"][0] == "tsad"
    again = tsad(*arguments, "--point-adjusted")
    assert "6 of 6 cells were finished" in again.stdout
    assert "Warning: pa-f1 is point-adjusted" in again.stdout


def test_backtest_prints_json_alone(recording):
    result = tsad("backtest", "--dataset", recording, "--mode", "full", "--json", "--detector", "robust")
    document = json.loads(result.stdout)
    assert {cell["threshold_rule"] for cell in document["cells"]} == {"oracle-best-f1"}
    cell = document["cells"][-1]
    assert {"dataset", "series", "detector", "mode", "delay", "seed", "metrics", "seconds"} <= set(cell)
    assert (cell["dataset"], cell["series"], cell["detector"], cell["mode"]) == ("pump", "pump", "robust", "full")


def test_intervals_take_the_place_of_labels(recording, tmp_path):
    table = pl.read_csv(recording)
    table.drop("label").write_csv(tmp_path / "pump.csv")
    (tmp_path / "events.csv").write_text("start,end,severity\n220,239,2\n")
    result = tsad("backtest", "--dataset", tmp_path / "pump.csv", "--intervals", tmp_path / "events.csv", "--json")
    assert result.exit_code == 0, result.output
    cells = json.loads(result.stdout)["cells"]
    labelled = json.loads(tsad("backtest", "--dataset", recording, "--json").stdout)["cells"]
    assert cells[-1]["metrics"]["vus_pr"] == labelled[-1]["metrics"]["vus_pr"]
    assert "severity_c_index" in cells[-1]["metrics"]
    assert "severity_c_index" not in labelled[-1]["metrics"]


def test_too_little_data_is_told_and_is_no_failure(recording):
    result = tsad("backtest", "--dataset", recording.parent, "--detector", "robust")
    assert result.exit_code == 0
    assert "plant/fan robust has too little data: plant/fan has 50 training rows" in result.stderr
    assert "1/2" in result.stdout


def test_a_failed_cell_has_exit_code_one(recording, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("tsad.detectors.robust.RobustDetector.score_all", broken)
    result = tsad("backtest", "--dataset", recording, "--mode", "full", "--detector", "robust")
    assert result.exit_code == 1
    assert "pump/pump robust failed: RuntimeError: out of order" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nowhere"], "neither a known data set"),
        (["--dataset", "FILE", "--detector", "deep"], "there is no detector 'deep'"),
        (["--dataset", "FILE", "--mode", "half"], "choose causal or full"),
        (["--dataset", "FILE", "--delay", "late"], "--delay 'late' is no number of rows"),
        (["--dataset", "FILE", "--detector", "robust", "--delay", "settled"], "robust says all of a row at once"),
        (["--dataset", "FILE", "--backend", "slurm"], "choose one of loky, threading, ray, dask"),
        (["--dataset", "FILE", "--threshold", "best"], "is not a rule"),
        (["--dataset", "FILE", "--rows", "all"], "rows all needs mode full"),
        (["--dataset", "FILE", "--vus-length", "wide"], "neither a number of rows nor auto"),
        (["--dataset", "FILE", "--series", "valve*"], "no series matches 'valve*'"),
        (["--dataset", "FILE", "--train-fraction", "0.5"], "leave train_fraction out"),
        (["--dataset", "FILE", "--false-alarms-per-day", "0"], "--false-alarms-per-day 0.0"),
        (["--dataset", "FILE", "--detector", "robust", "--option", "robust.x=1"], "has no option 'x'"),
        (["--dataset", "FILE", "--out", "FILE"], "cannot be used"),
        (["--dataset", "FILE", "--mode", "full", "--detector", "robust+sub-pca"], "combined in mode causal only"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_exit_code_two(recording, arguments, message):
    result = tsad("backtest", *[str(recording) if a == "FILE" else a for a in arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("tsad backtest: ")
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_bad_files_are_told(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,label\n1,0\n")
    result = tsad("backtest", "--dataset", path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no 'split' column" in result.stderr
    path.write_text("a\n1\n")
    assert "column 'label' is missing" in tsad("backtest", "--dataset", path).stderr


def test_the_installed_command_runs_on_two_workers(recording, tmp_path):
    root = Path(__file__).parents[2]
    entry = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]["tsad"]
    module, _, function = entry.partition(":")
    code = f"import {module}; {module}.{function}()"
    arguments = ["backtest", "--dataset", recording, "--jobs", "2", "--json", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["cells"]) == 4
    assert done.stderr == ""


@pytest.fixture
def plants(tmp_path):
    """Six recordings and a table of published results of five of them."""
    rng = np.random.default_rng(7)
    folder = tmp_path / "plants"
    folder.mkdir()
    for number in range(6):
        values = rng.normal(size=(300, 1))
        labels = np.zeros(300, np.int64)
        labels[220:240] = 1
        values[labels == 1] += 4
        split = np.where(np.arange(300) < 150, "train", "test")
        pl.DataFrame({"a": values[:, 0], "label": labels, "split": split}).write_csv(folder / f"P{number}.csv")
    published = tmp_path / "published"
    published.mkdir()
    pl.DataFrame({"file": [f"P{n}.csv" for n in range(5)], "Sub-PCA": [0.0] * 5}).write_csv(
        published / "uni_mergedTable_VUS-PR.csv"
    )
    return folder, published


def test_several_series_are_compared_in_pairs_and_with_published_results(plants, tmp_path):
    folder, published = plants
    arguments = ("backtest", "--dataset", folder, "--detector", "robust,sub-pca", "--out", tmp_path / "out")
    result = tsad(*arguments, "--published", published)
    assert result.exit_code == 0, result.output
    for text in ("paired differences of VUS-PR", "robust - sub-pca", "won / tied / lost", "not told apart"):
        assert text in result.stdout
    for text in ("sub-pca against published Sub-PCA on 5 files", "published: with hindsight, the whole file"):
        assert text in result.stdout
    assert "5 series have published results, 1 have none" in result.stdout
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(document) == {"cells", "provenance", "comparison", "published"}
    assert document["published"]["runs"][0]["files"] == 5
    pool = document["comparison"]["pools"][0]
    assert (pool["metric"], pool["series"], len(pool["pairs"])) == ("vus_pr", 6, 3)
    without = tsad(*arguments)
    assert "published" not in json.loads((tmp_path / "out" / "results.json").read_text())
    assert "Sub-PCA" not in without.stdout


def test_missing_published_results_are_told_before_anything_runs(recording, tmp_path):
    result = tsad("backtest", "--dataset", recording, "--published", tmp_path / "none", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not a directory; give the one that holds tables" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_kept_backtest_has_a_report_with_as_many_series_as_asked_for(plants, tmp_path):
    folder, published = plants
    out = tmp_path / "out"
    result = tsad("backtest", "--dataset", folder, "--out", out, "--report-series", "2", "--published", published)
    assert f"report: {out / 'report.html'}" in result.stdout
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "2 of 6 series are shown" in page
    assert "Published results" in page
    assert "published: with hindsight, the whole file" in page
    without = tsad("backtest", "--dataset", folder)
    assert "report:" not in without.stdout
