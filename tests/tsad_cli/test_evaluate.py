import json

import numpy as np
import polars as pl
import pytest

from evaluation.metrics.pate import pate
from evaluation.metrics.severity import severity_c_index
from evaluation.metrics.vus import vus
from tests.tsad_cli.command_line import tsad


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.zeros(300, np.int64)
    labels[100:120] = 1
    scores = rng.random(300) + 0.5 * labels
    pl.DataFrame({"label": labels}).write_csv(tmp_path / "l.csv")
    pl.DataFrame({"score": scores}).write_csv(tmp_path / "s.csv")
    return tmp_path, labels, scores


def test_evaluate_prints_one_object(files):
    folder, labels, scores = files
    grid = ("--pate-early", 20, "--pate-delay", 20, "--pate-splits", 1, "--no-pate-zero", "--vus-length", 25)
    files_ = ("evaluate", "--labels", folder / "l.csv", "--scores", folder / "s.csv", "--json")
    result = tsad(*files_, *grid, "--threshold", 0.7)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {
        "auc_pr", "auc_roc", "pate", "vus_pr", "vus_roc", "affiliation_precision", "affiliation_recall",
        "affiliation_f1", "pa_f1", "pa_f1_random", "false_alarms_per_day", "parameters",
    } <= set(found)  # fmt: skip
    assert found["pate"] == pate(labels, scores, early=20, delay=20, splits=1, include_zero=False)
    assert found["vus_pr"] == vus(labels, scores, window=25).pr
    assert (found["threshold"], found["threshold_rule"]) == (0.7, "fixed=0.7")
    assert found["parameters"]["pate_zero"] is False
    chosen = json.loads(tsad(*files_).stdout)
    assert chosen["threshold_rule"] == "oracle-best-f1"
    assert "pate" in tsad(*files_[:-1]).stdout


@pytest.mark.parametrize(("policy", "rows"), [("omit", 299), ("lowest", 300)])
def test_rows_without_a_score_are_dropped_or_never_alarm(files, policy, rows):
    folder, _, scores = files
    pl.DataFrame({"score": np.where(np.arange(300) == 5, np.nan, scores)}).write_csv(folder / "s.csv")
    command = ("evaluate", "--labels", folder / "l.csv", "--scores", folder / "s.csv", "--json", "--threshold", 0.7)
    assert tsad(*command).exit_code == 2
    found = json.loads(tsad(*command, "--nan-policy", policy).stdout)
    assert (found["rows"], found["parameters"]["nan_policy"]) == (rows, policy)
    assert "nan_policy" in tsad(*command, "--nan-policy", "guess").stderr


def test_severity_beside_the_labels_adds_its_metrics(files):
    folder, labels, scores = files
    severity = labels * (1 + (np.arange(300) > 110))
    pl.DataFrame({"label": labels, "severity": severity}).write_csv(folder / "l.csv")
    found = json.loads(tsad("evaluate", "--labels", folder / "l.csv", "--scores", folder / "s.csv", "--json").stdout)
    assert found["severity_c_index"] == severity_c_index(severity, scores)


def test_evaluate_without_anomaly_names_what_has_no_value(files):
    folder, _, _ = files
    pl.DataFrame({"label": np.zeros(300, np.int64)}).write_csv(folder / "l.csv")
    result = tsad("evaluate", "--labels", folder / "l.csv", "--scores", folder / "s.csv", "--json", "--threshold", 1)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["vus_pr"] is None
    assert "without a value for these labels: vus_pr" in result.stderr


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ("label\n0\n2\n", "score\n1\n2\n", "2"),
        ("label\n0\n1\n", "score\n1\n", "2"),
        ("label\n0\n1\n", "score\n1\nx\n", "'score' in row 1 is not a number: 'x'"),
        ("truth\n0\n1\n", "score\n1\n2\n", "column 'label' is missing"),
        ("label\n0\n1\n", "score\n1\nnan\n", "NaN"),
        (None, "score\n1\n", "no such file"),
        ("", "score\n1\n", "cannot be read"),
    ],
)
def test_evaluate_refuses_what_it_cannot_use(tmp_path, labels, scores, message):
    for name, text in (("l.csv", labels), ("s.csv", scores)):
        if text is not None:
            (tmp_path / name).write_text(text)
    result = tsad("evaluate", "--labels", tmp_path / "l.csv", "--scores", tmp_path / "s.csv", "--threshold", 1)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("tsad evaluate: ")
    assert "Traceback" not in result.output
