import json

import pytest

from tests.evaluation.report_parts import run
from tests.tsad_cli.command_line import tsad


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


def test_the_report_of_a_finished_backtest_is_written_again(folder):
    path = folder / "report.html"
    whole = path.read_text(encoding="utf-8")
    result = tsad("report", folder, "--report-series", "1")
    assert (result.exit_code, result.stdout) == (0, f"report: {path}\n")
    assert "1 of 6 series are shown" in path.read_text(encoding="utf-8")
    assert tsad("report", folder).exit_code == 0
    assert path.read_text(encoding="utf-8") == whole


def test_a_folder_without_results_is_one_sentence_and_exit_code_two(tmp_path):
    result = tsad("report", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("tsad report: ")
    assert "give the folder of a backtest with --out" in result.stderr
    (tmp_path / "results.json").write_text(json.dumps({"cells": [], "provenance": {}}))
    assert "has no cells" in tsad("report", tmp_path).stderr
    assert tsad("report", tmp_path, "--report-series", "-1").exit_code == 2
