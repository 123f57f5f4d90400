import doctest
import importlib
import io
import pkgutil

import polars as pl
import pytest
from rich.console import Console

import evaluation.published
from evaluation.errors import PublishedResultsError
from evaluation.published.compare import SAME_ALGORITHM, compare_published
from evaluation.published.read import read_published
from evaluation.published.tables import published_tables

MODULES = sorted(m.name for m in pkgutil.iter_modules(evaluation.published.__path__, "evaluation.published."))
FACTS = {"ts_len": [100, 200], "anomaly_len": [5, 6], "avg_anomaly_len": [5.0, 6.0], "seq_anomaly": [1, 1]}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.fixture
def folder(tmp_path):
    """All shapes of tables of two files, A and B."""
    files = ["A.csv", "B.csv"]
    pl.DataFrame({"file": files, "Sub-PCA": [0.2, 0.6], "Sub-LOF": [0.1, None], **FACTS}).write_parquet(
        tmp_path / "uni_mergedTable_VUS-PR.parquet"
    )
    pl.DataFrame({"file": ["M1.csv", "M2.csv"], "PCA": [0.3, 0.4], **FACTS}).write_csv(
        tmp_path / "multi_mergedTable_VUS-PR.csv"
    )
    pl.DataFrame({"file": files, "New (ZS)": [0.5, 0.7], "Sub-PCA": [0.2, 0.6], **FACTS}).write_parquet(
        tmp_path / "leaderboard_Uni_New.parquet"
    )
    pl.DataFrame(
        {"filename": files, "AD_Name": ["Deep"] * 2, "train_index": [10, 20], "Time": [900.0, 5.0],
         "AUC-PR": [0.4, 1.0], "VUS-PR": [0.5, 1.0 + 1e-12], "PA-F1": [0.9, 0.9], "F1_T": [-0.5, 18.0]}
    ).write_parquet(tmp_path / "leaderboard_Uni_Deep_Net.parquet")  # fmt: skip
    (tmp_path / "README.md").write_text("what these are")
    pl.DataFrame({"x": [1]}).write_csv(tmp_path / "other.csv")
    return tmp_path


def test_both_shapes_become_one_row_a_value(folder):
    found = read_published(folder)
    assert found.columns == ["suite", "file", "detector", "metric", "value"]
    rows = {row[:4]: row[4] for row in found.iter_rows()}
    assert len(rows) == found.height
    assert rows["U", "A", "Sub-PCA", "vus_pr"] == 0.2
    assert rows["M", "M2", "PCA", "vus_pr"] == 0.4
    assert rows["U", "B", "New (ZS)", "vus_pr"] == 0.7
    assert rows["U", "B", "Deep_Net", "vus_pr"] == 1.0
    assert rows["U", "A", "Deep_Net", "oracle_best_point_adjusted_f1"] == 0.9
    assert ("U", "B", "Sub-LOF", "vus_pr") not in rows
    assert set(found["detector"]) == {"Sub-PCA", "Sub-LOF", "PCA", "New (ZS)", "Deep_Net"}


def table(folder, name, columns):
    pl.DataFrame(columns).write_csv(folder / f"{name}.csv")


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("uni_mergedTable_VUS-PR", {"series": ["A"], "x": [0.1]}, "neither a column 'file' nor 'filename'"),
        ("uni_mergedTable_VUS-PR", {"file": ["A", "A.csv"], "x": [0.1, 0.2]}, "file 'A' is there twice"),
        ("uni_mergedTable_VUS-PR", {"file": ["A", None], "x": [0.1, 0.2]}, "a file has no name"),
        ("uni_mergedTable_VUS-PR", {"file": ["A"], "x": ["high"]}, "column 'x' holds String, not numbers"),
        ("uni_mergedTable_VUS-PR", {"file": ["A"], "x": [1.5]}, "1.5 for A in column 'x' is outside 0 to 1"),
        ("uni_mergedTable_VUS-PR", {"file": ["A"], "ts_len": [7]}, "neither a column of a detector nor of a metric"),
        ("uni_mergedTable_MAP", {"file": ["A"], "x": [0.5]}, "'MAP' in its name is no known metric"),
        ("leaderboard_Uni_X", {"file": ["A"], "VUS-PR": [0.5], "Score": [0.5]}, "column 'Score' is neither a metric"),
        ("uni_mergedTable_VUS-PR", {"file": ["A"], "VUS-PR": [0.5]}, "must be leaderboard_SUITE_DETECTOR"),
    ],
)  # fmt: skip
def test_tables_that_break_a_rule_are_told_with_their_name(tmp_path, name, columns, message):
    table(tmp_path, name, columns)
    with pytest.raises(PublishedResultsError) as error:
        read_published(tmp_path)
    assert message in str(error.value)
    assert name in str(error.value)


def test_missing_empty_or_damaged_directories_are_told(tmp_path):
    with pytest.raises(PublishedResultsError, match="is not a directory"):
        read_published(tmp_path / "none")
    with pytest.raises(PublishedResultsError, match="holds no table of published results"):
        read_published(tmp_path)
    (tmp_path / "leaderboard_Uni_X.parquet").write_text("no parquet")
    with pytest.raises(PublishedResultsError, match="cannot be read"):
        read_published(tmp_path)


def test_tables_that_contradict_each_other_are_told(folder):
    table(folder, "leaderboard_Uni_Other", {"file": ["A"], "Sub-PCA": [0.3]})
    with pytest.raises(
        PublishedResultsError, match=r"leaderboard_Uni_Other.csv and .*differ in vus_pr of Sub-PCA on A"
    ):
        read_published(folder)


def cell(dataset, series, detector, value, mode="full", **further):
    return {
        "dataset": dataset, "series": series, "detector": detector, "seed": None, "mode": mode,
        "trivial": detector == "random", "metrics": {"vus_pr": value},
        "configuration": {"measures": {"vus_length": 100}}, **further,
    }  # fmt: skip


def test_the_same_algorithm_is_told_file_by_file_and_means_are_over_the_same_files(folder):
    ours = {"random": 0.1, "robust": 0.3}
    cells = [cell("TSB-AD-U", file, name, value) for file in ("A", "B", "C") for name, value in ours.items()]
    cells += [cell("TSB-AD-U", file, "sub-pca", value) for file, value in {"A": 0.22, "B": 0.5, "C": 0.9}.items()]
    found = compare_published(cells, read_published(folder))
    assert (found["matched"], found["unmatched"]) == (2, 1)
    (run,) = found["runs"][:1]
    assert (run["suite"], run["metric"], run["files"], run["scored_rows"]) == ("U", "vus_pr", 2, ["test"])
    (pair,) = run["same_algorithm"]
    assert (pair["published"], pair["files"], pair["differing"]) == ("Sub-PCA", 2, ["B"])
    assert pair["mean_absolute_difference"] == pytest.approx(0.06)
    assert pair["mean_difference"] == pytest.approx(-0.04)
    means = {(entry["detector"], entry["ours"]): entry["mean"] for entry in run["means"]}
    assert means["sub-pca", True] == pytest.approx(0.36)
    assert means["Sub-PCA", False] == pytest.approx(0.4)
    assert means["Deep_Net", False] == pytest.approx(0.75)
    assert list(means.values()) == sorted(means.values(), reverse=True)
    # It has no value for B: a mean over other files would be no comparison.
    assert run["left_out"] == ["Sub-LOF"]
    assert ("Sub-LOF", False) not in means


def test_a_file_without_one_of_our_values_is_left_out_of_the_means(folder):
    cells = [cell("TSB-AD-U", "A", "robust", 0.3), cell("TSB-AD-U", "B", "robust", 0.5)]
    cells += [cell("TSB-AD-U", "A", "sub-pca", 0.3), cell("TSB-AD-U", "B", "sub-pca", None)]
    (run,) = compare_published(cells, read_published(folder))["runs"][:1]
    assert run["files"] == 1
    assert {e["detector"]: e["mean"] for e in run["means"]}["robust"] == 0.3
    assert run["left_out"] == []


def test_suites_are_kept_apart_and_pca_of_rows_is_no_windowed_pca(folder):
    published = read_published(folder)
    assert set(SAME_ALGORITHM) == {("U", "sub-pca")}
    run = compare_published([cell("TSB-AD-M", "M1", "sub-pca", 0.5)], published)["runs"][0]
    assert (run["suite"], run["same_algorithm"]) == ("M", [])
    # A file of the other suite is no match, and a series of another data set is looked for by its name alone.
    assert compare_published([cell("TSB-AD-M", "A", "sub-pca", 0.5)], published)["matched"] == 0
    assert compare_published([cell("plant", "A", "sub-pca", 0.5)], published)["matched"] == 1
    nothing = compare_published([cell("plant", "pump", "sub-pca", 0.5)], published)
    assert (nothing["matched"], nothing["unmatched"], nothing["runs"]) == (0, 1, [])
    assert nothing["values"] == published.height
    assert nothing["values_hash"] != compare_published([], published.head(3))["values_hash"]


def shown(table):
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


@pytest.mark.parametrize(
    ("mode", "rows", "length", "sentence"),
    [
        ("full", "all", "auto", "ours: mode full, the whole file, as published"),
        (
            "full",
            "all",
            100,
            "whole file, soft labels up to 100 rows; published: with hindsight, the whole file, up to a",
        ),
        ("full", "test", "auto", "the rows after the training part only; published: with hindsight, the whole file"),
        ("causal", "test", "auto", "ours: mode causal, the rows after the training part only"),
    ],
)
def test_terminal_tables_say_how_the_protocols_differ(folder, mode, rows, length, sentence):
    cells = [cell("TSB-AD-U", name, "sub-pca", 0.3, mode, scored_rows=rows) for name in ("A", "B")]
    for one in cells:
        one["configuration"] = {"measures": {"vus_length": length}}
    pair, means = published_tables(compare_published(cells, read_published(folder)))
    assert "mean absolute difference 0.200" in shown(pair)
    assert "2 files differ by more than 0.05" in shown(pair)
    assert sentence in shown(means)


def test_many_differing_files_are_cut_and_counted(tmp_path):
    files = [f"F{n:02}" for n in range(14)]
    table(tmp_path, "uni_mergedTable_VUS-PR", {"file": files, "Sub-PCA": [n / 20 for n in range(14)]})
    cells = [cell("TSB-AD-U", name, "sub-pca", 0.0) for name in files]
    pair, _ = published_tables(compare_published(cells, read_published(tmp_path)))
    text = shown(pair)
    assert "and 2 more files in results.json" in text
    assert "F13" in text
    assert "F02" not in text
