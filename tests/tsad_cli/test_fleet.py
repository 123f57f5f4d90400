import json

import numpy as np
import polars as pl
import pytest

from tests.tsad_cli.command_line import tsad

ROWS, TRAIN = 1100, 800


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five nodes that follow one load; node 3 leaves the others at row 1000."""
    folder = tmp_path_factory.mktemp("nodes")
    random = np.random.default_rng(0)
    load = np.sin(np.arange(ROWS) / 30)[:, None] + 0.3 * random.standard_normal((ROWS, 2))
    times = np.datetime64("2026-01-01", "us") + np.arange(ROWS) * np.timedelta64(5, "m")
    for node in range(5):
        values = 20 + 3 * load @ np.array([[1, 2, 0.5, 1], [0.5, -1, 2, 1]]) + 0.1 * random.standard_normal((ROWS, 4))
        if node == 3:
            values[1000:, 2] += 10
        table = pl.DataFrame({"timestamp": times, **{f"m{c}": values[:, c] for c in range(4)}})
        for part, rows in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
            (folder / part).mkdir(exist_ok=True)
            table[rows].write_csv(folder / part / f"n{node}.csv")
    return folder


def inputs(folder, part, nodes=range(5)):
    return [argument for node in nodes for argument in ("--input", folder / part / f"n{node}.csv")]


@pytest.fixture(scope="module")
def model(files):
    out = files / "model"
    result = tsad("fleet", "fit", *inputs(files, "train"), "--out", out, "--epochs", 20, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["nodes"] == {f"n{node}": "own" for node in range(5)}
    assert told["siblings"] is True
    return out


def test_scores_tell_the_node_that_left_the_others(files, model):
    out = files / "scores"
    result = tsad("fleet", "score", "--model", model, *inputs(files, "test"), "--out", out, "--json")

    assert result.exit_code == 0, result.output
    told = {one["node"]: one for one in json.loads(result.stdout)["nodes"]}
    assert told["n3"]["oddest"] == "m2"
    assert told["n3"]["alarmed"] > 90
    assert told["n3"]["siblings_alarmed"] > 90
    assert max(told[n]["siblings_alarmed"] for n in ("n0", "n1", "n2", "n4")) < 30
    found = pl.read_csv(out / "n3.csv")
    assert found.columns == ["timestamp", "error", "alarm", "siblings", "siblings_alarm", "valid", "oddest"]
    assert len(found) == ROWS - TRAIN
    assert found["alarm"][205:].all()
    assert found["alarm"][:200].sum() < 20
    assert found["oddest"][205:].mode().to_list() == ["m2"]


def test_the_table_is_for_people(files, model):
    result = tsad("fleet", "score", "--model", model, *inputs(files, "test"), "--out", files / "shown")
    assert result.exit_code == 0, result.output
    assert "against siblings" in result.stdout
    assert "m2" in result.stdout


def test_a_node_that_is_not_known_needs_leave(files, model):
    stranger = files / "stranger.csv"
    stranger.write_bytes((files / "test" / "n1.csv").read_bytes())
    result = tsad("fleet", "score", "--model", model, "--input", stranger, "--out", files / "other")
    assert result.exit_code == 2
    assert "no node 'stranger'; known are n0" in result.stderr
    result = tsad(
        "fleet", "score", "--model", model, "--input", stranger, "--out", files / "other", "--unknown", "base", "--json"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["nodes"][0]
    assert told["model"] == "base"
    assert told["siblings_alarmed"] is None


def test_wrong_arguments_are_refused(files, model, tmp_path):
    for arguments, message in (
        (("fit", *inputs(files, "train"), "--out", model), "holds a fleet already"),
        (("fit", *inputs(files, "train"), "--out", tmp_path, "--error", "sum"), "choose max, mean"),
        (("score", "--model", tmp_path, *inputs(files, "test"), "--out", tmp_path), "holds no fleet"),
        (("measure",), "give either --dataset NAME or --simulated"),
    ):
        result = tsad("fleet", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    untimed = tmp_path / "n.csv"
    pl.read_csv(files / "train" / "n0.csv").drop("timestamp").write_csv(untimed)
    result = tsad("fleet", "fit", "--input", untimed, "--out", tmp_path / "m")
    assert result.exit_code == 2
    assert "'timestamp' is missing" in result.stderr


def test_protocols_are_measured_on_labelled_files(tmp_path, files):
    for node in range(2):
        train, test = (pl.read_csv(files / part / f"n{node + 2}.csv") for part in ("train", "test"))
        whole = pl.concat([train, test])
        label = np.zeros(ROWS, np.int64)
        if node == 1:
            label[1000:] = 1
        split = ["train"] * TRAIN + ["test"] * (ROWS - TRAIN)
        whole.with_columns(label=pl.Series(label), split=pl.Series(split)).write_csv(tmp_path / f"n{node + 2}.csv")
    result = tsad("fleet", "measure", "--dataset", tmp_path, "--epochs", 20, "--json")

    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout).values()
    assert told["nodes"] == 2
    assert {one["protocol"] for one in told["results"]} == {"paper", "honest"}
    assert all(one["node"] == "n3" for one in told["results"])
    assert told["means"]["auc"]["honest"] > 0.95
    shown = tsad("fleet", "measure", "--dataset", tmp_path, "--epochs", 2)
    assert "paper (oracle)" in shown.stdout


@pytest.mark.parametrize("command", ["fit", "score", "measure"])
def test_help_has_an_example(command):
    result = tsad("fleet", command, "--help")
    assert result.exit_code == 0
    assert f"Example: tsad fleet {command}" in result.stdout
