import json

import numpy as np
import polars as pl
import pytest

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.datasets.files import load_file
from tests.tsad_cli.command_line import tsad
from tsad.detectors.registry import create_detector
from tsad.settings import DetectorSettings

ROWS, TRAIN = 700, 400


def table(*, timed=True, channels=("flow", "speed"), step=1):
    rng = np.random.default_rng(3)
    t = np.arange(ROWS)
    common = np.sin(t / 15) + 0.2 * rng.standard_normal(ROWS)
    columns = {
        name: 10 * (c + 1) + common * (c + 1) + 0.1 * rng.standard_normal(ROWS) for c, name in enumerate(channels)
    }
    columns["speed"][600:610] += 6
    if timed:
        times = pl.Series(np.datetime64("2026-01-01", "us") + t * step * np.timedelta64(1, "s"))
        columns = {"timestamp": times, **columns}
    return pl.DataFrame(columns)


@pytest.fixture
def files(tmp_path):
    """Both parts of a recording as CSV files; `write` takes another one."""

    class Files:
        train, test, out = (tmp_path / f"{name}.csv" for name in ("train", "test", "scores"))
        folder = tmp_path

        def write(self, whole):
            whole[:TRAIN].write_csv(self.train)
            whole[TRAIN:].write_csv(self.test)

        def scores(self):
            return pl.read_csv(self.out, infer_schema_length=None)

    found = Files()
    found.write(table())
    return found


def ok(*arguments):
    result = tsad(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    result = tsad(*arguments)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    return result.stderr


@pytest.mark.parametrize("detector", ["robust", "sub-pca", "poly", "robust+sub-pca"])
def test_scores_are_those_of_a_backtest(files, detector):
    whole = table()
    labelled = files.folder / "whole.csv"
    whole.with_columns(label=pl.lit(0), split=pl.Series(["train"] * TRAIN + ["test"] * (ROWS - TRAIN))).write_csv(
        labelled
    )
    series = load_file(labelled)
    run = run_causal(series, stream_settings(series, [DetectorSettings(name=n) for n in detector.split("+")]))

    ok("score", "--detector", detector, "--train", files.train, "--input", files.test, "--out", files.out)

    found = files.scores()
    assert found.columns == ["timestamp", "score", "p_value", "valid"]
    np.testing.assert_array_equal(found["score"].cast(pl.Float64).fill_null(np.nan), run.test_scores)
    np.testing.assert_array_equal(found["p_value"].cast(pl.Float64).fill_null(np.nan), run.test_p_values)
    assert found["valid"].to_list() == np.isfinite(run.test_scores).tolist()


@pytest.mark.parametrize("delay", ["16", "settled"])
def test_rows_are_scored_when_more_is_known_of_them(files, delay):
    fit = ("--detector", "patchbank", "--train", files.train)
    ok("score", *fit, "--input", files.test, "--out", files.out)
    at_once = files.scores()
    ok("score", *fit, "--input", files.test, "--out", files.out, "--delay", delay)
    later = files.scores()
    ok("fit", *fit, "--out", files.folder / "model")
    model = files.folder / "model"
    ok("score", "--model", model, "--input", files.test, "--out", files.out, "--delay", delay)

    rows = 16 if delay == "16" else 95
    assert later["p_value"].equals(at_once["p_value"])
    assert (later["score"] != at_once["score"])[:-rows].all()
    assert later["score"][-16:].equals(at_once["score"][-16:])
    assert files.scores()["score"].equals(later["score"])


def incomplete(whole):
    """The last training row waits for a value, and later rows lack some."""
    flow = whole["flow"].to_list()
    flow[TRAIN - 1] = flow[450] = None
    return whole.with_columns(flow=pl.Series(flow))


@pytest.mark.parametrize("detector", ["robust", "kmeans", "matrix-profile", "robust+sub-pca"])
@pytest.mark.parametrize(
    "change", [lambda t: t, incomplete, lambda t: t.drop("timestamp")], ids=["whole", "gap", "plain"]
)
def test_a_kept_model_goes_on_exactly(files, detector, change):
    files.write(change(table()))
    ok("score", "--detector", detector, "--train", files.train, "--input", files.test, "--out", files.out,
       "--contributions")  # fmt: skip
    at_once = files.out.read_bytes()
    model = files.folder / "model"

    ok("fit", "--detector", detector, "--train", files.train, "--out", model)
    ok("score", "--model", model, "--input", files.test, "--out", files.out, "--contributions")

    assert files.out.read_bytes() == at_once
    # Scoring leaves the model as it is.
    ok("score", "--model", model, "--input", files.test, "--out", files.out, "--contributions")
    assert files.out.read_bytes() == at_once


def test_options_are_kept_with_the_model(files):
    model = files.folder / "model"
    ok("fit", "--detector", "poly", "--option", "poly.window=16", "--train", files.train, "--out", model)
    ok("score", "--model", model, "--input", files.test, "--out", files.out)
    kept = files.out.read_bytes()
    for window, same in ((16, True), (32, False)):
        ok("score", "--detector", "poly", "--option", f"poly.window={window}", "--train", files.train,
           "--input", files.test, "--out", files.out)  # fmt: skip
        assert (files.out.read_bytes() == kept) == same


def test_contributions_name_the_channel(files):
    ok("score", "--detector", "sub-pca", "--train", files.train, "--input", files.test, "--out", files.out,
       "--contributions")  # fmt: skip
    found = files.scores()
    shares = found.select("contribution:flow", "contribution:speed").to_numpy()

    assert shares[found["valid"].to_numpy()].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (shares[200:208, 1] > shares[200:208, 0]).all()


def test_columns_may_stand_in_another_order_and_labels_are_not_looked_at(files):
    ok("score", "--train", files.train, "--input", files.test, "--out", files.out, "--contributions")
    expected = files.scores()
    test = pl.read_csv(files.test)
    test.select("speed", "flow", "timestamp").with_columns(label=pl.lit("what"), split=pl.lit("?")).write_csv(
        files.test
    )

    ok("score", "--train", files.train, "--input", files.test, "--out", files.out, "--contributions")

    assert files.scores().select(expected.columns).equals(expected)
    assert files.scores().columns[-2:] == ["contribution:speed", "contribution:flow"]


def test_the_first_rows_of_the_input_can_be_the_training_part(files):
    whole = files.folder / "whole.csv"
    table().write_csv(whole)
    ok("score", "--train", files.train, "--input", files.test, "--out", files.out)
    expected = files.scores()
    ok("score", "--train-fraction", TRAIN / ROWS, "--input", whole, "--out", files.out)

    found = files.scores()
    assert found.height == ROWS
    assert not found["valid"][:TRAIN].any()
    assert found["score"][TRAIN:].equals(expected["score"])


@pytest.mark.parametrize("detector", ["robust", "patchbank"])
def test_with_hindsight(files, detector):
    values = table().select("flow", "speed").to_numpy().astype(np.float32)
    times = np.arange(ROWS) * 10**9
    ok("score", "--mode", "full", "--detector", detector, "--train", files.train, "--input", files.test,
       "--out", files.out)  # fmt: skip
    expected = create_detector(detector).score_all(values, times, TRAIN)[TRAIN:]
    found = files.scores()
    np.testing.assert_allclose(found["score"].cast(pl.Float64), expected, rtol=1e-6)
    assert found["p_value"].null_count() == ROWS - TRAIN

    ok("score", "--mode", "full", "--detector", detector, "--input", files.test, "--out", files.out)
    np.testing.assert_allclose(
        files.scores()["score"].cast(pl.Float64),
        create_detector(detector).score_all(values[TRAIN:], times[TRAIN:]),
        rtol=1e-6,
    )


def test_json_tells_the_oddest_row(files):
    told = json.loads(ok("score", "--train", files.train, "--input", files.test, "--out", files.out, "--json").stdout)
    assert told["rows"] == told["valid"] == ROWS - TRAIN
    assert 200 <= told["oddest_row"] < 210
    model = files.folder / "model"
    learnt = json.loads(ok("fit", "--train", files.train, "--out", model, "--json").stdout)
    assert learnt["learnt"]
    assert learnt["channels"] == ["flow", "speed"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --train FILE, --train-fraction SHARE or --model DIR"),
        (["--mode", "half"], "choose causal or full"),
        (["--train", "{train}", "--train-fraction", "0.5"], "exclude each other"),
        (["--model", "{folder}", "--detector", "robust"], "--model and --detector exclude each other"),
        (["--model", "{folder}"], "holds no model"),
        (["--train", "{train}", "--detector", "lof"], "no detector 'lof'"),
        (["--train", "{train}", "--detector", "robust,poly"], "names 2"),
        (["--train", "{train}", "--option", "poly.window=3"], "not among auto"),
        (["--train", "{train}", "--detector", "robust", "--option", "robust.memory_rows=-1"], "must not be negative"),
        (["--train", "{folder}/none.csv"], "no such file"),
        (["--train", "{test}"], "give a training file from before"),
        (["--train-fraction", "1.5"], "between 0 and 1"),
        (["--train-fraction", "0.05"], "warm-up needs"),
        (["--train", "{train}", "--detector", "robust+poly", "--mode", "full"], "no calibration to combine by"),
        (["--train", "{train}", "--mode", "full", "--contributions"], "needs mode causal"),
        (["--train", "{train}", "--mode", "full", "--delay", "16"], "--delay 16 needs mode causal"),
        (["--train", "{train}", "--detector", "robust", "--delay", "settled"], "robust says all of a row at once"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_in_one_sentence(files, arguments, message):
    given = [a.format(train=files.train, test=files.test, folder=files.folder) for a in arguments]
    assert message in refused("score", "--input", files.test, "--out", files.out, *given)
    assert not files.out.exists()


def test_files_that_do_not_belong_together(files):
    table(channels=("speed", "level")).write_csv(files.test)
    assert "test.csv: channel 'flow'" in refused(
        "score", "--train", files.train, "--input", files.test, "--out", files.out
    )
    table(timed=False)[TRAIN:].write_csv(files.test)
    assert "column 'timestamp'" in refused("score", "--train", files.train, "--input", files.test, "--out", files.out)
    model = files.folder / "model"
    ok("fit", "--train", files.train, "--out", model)
    assert "column 'timestamp'" in refused("score", "--model", model, "--input", files.test, "--out", files.out)
    assert "seen rows up to" in refused("score", "--model", model, "--input", files.train, "--out", files.out)


def test_rows_to_be_scored_are_never_learnt_from(files):
    whole = table()
    empty = [None if 50 <= row < 60 else value for row, value in enumerate(whole["flow"])]
    files.write(whole.with_columns(flow=pl.Series(empty)).drop("speed"))
    message = refused("score", "--train", files.train, "--input", files.test, "--out", files.out)
    assert "would be learnt from" in message


def test_models_are_neither_overwritten_nor_taken_when_damaged(files):
    model = files.folder / "model"
    ok("fit", "--train", files.train, "--out", model)
    assert "holds a model already" in refused("fit", "--train", files.train, "--out", model)
    description = json.loads((model / "model.json").read_text())
    (model / "model.json").write_text(json.dumps({**description, "format": 0}))
    assert "is of format 0" in refused("score", "--model", model, "--input", files.test, "--out", files.out)
    (model / "model.json").write_text("{")
    assert "is damaged" in refused("score", "--model", model, "--input", files.test, "--out", files.out)
    (model / "model.json").write_text(json.dumps(description))
    (model / "model.safetensors").write_bytes(b"nothing")
    assert "damaged" in refused("score", "--model", model, "--input", files.test, "--out", files.out)


def test_where_nothing_can_be_written_the_exit_code_is_1(files):
    blocked = files.folder / "train.csv" / "scores.csv"
    result = tsad("score", "--train", files.train, "--input", files.test, "--out", blocked)
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
    result = tsad("fit", "--train", files.train, "--out", files.folder / "train.csv" / "model")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
