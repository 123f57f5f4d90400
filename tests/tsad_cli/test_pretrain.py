import json

import numpy as np
import polars as pl
import pytest
import torch

from evaluation.datasets.location import data_directory
from tests.tsad_cli.command_line import tsad
from tsad.detectors.registry import create_detector
from tsad.foundation.weights import load_nano
from tsad_cli.pretrain_validation import VALIDATION_SERIES, load_validation, validate

TINY = [
    "--setting", "network.window=128", "--setting", "corpus.window=128", "--setting", "network.width=16",
    "--setting", "network.layers=2", "--setting", "network.heads=2", "--setting", "network.joint=[1]",
    "--setting", "corpus.batch=8",
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def trained(out, *more, steps=4):
    return tsad("pretrain", "timercd", "--out", out, "--steps", steps, "--every", 2, *TINY, "--no-validation", *more)


def lines(out):
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_writes_weights_a_card_and_a_log_that_a_detector_can_use(tmp_path):
    result = trained(tmp_path / "nano", "--seed", 3)

    assert result.exit_code == 0, result.output
    assert "mean of steps 2, 4, not validated" in result.output
    _, card = load_nano(tmp_path / "nano" / "timercd-nano.safetensors")
    assert card["settings"]["seed"] == 3
    assert card["provenance"]["versions"]["torch"]
    assert card["kept"]["mean_of_steps"] == [2, 4]
    assert [line["step"] for line in lines(tmp_path / "nano") if "step" in line] == [2, 4]
    detector = create_detector("timercd-nano", {"weights": str(tmp_path / "nano" / "timercd-nano.safetensors")})
    values = np.random.default_rng(0).standard_normal((200, 2)).astype(np.float32)
    assert np.isfinite(detector.score_all(values, np.arange(200))).all()


def test_the_same_command_again_goes_on(tmp_path):
    trained(tmp_path / "nano")
    again = trained(tmp_path / "nano")

    assert again.exit_code == 0
    assert [line.get("step") for line in lines(tmp_path / "nano")] == [None, 2, 4, None, None, None]


def test_another_setting_in_the_same_folder_is_refused(tmp_path):
    trained(tmp_path / "nano")
    result = trained(tmp_path / "nano", "--seed", 9)

    assert result.exit_code == 2
    assert "another seed" in result.output


def test_own_recordings_are_trained_on_from_given_weights(tmp_path):
    trained(tmp_path / "nano")
    recording = tmp_path / "own.csv"
    pl.DataFrame({"flow": np.sin(np.arange(600) / 9), "state": np.zeros(600)}).write_csv(recording)

    result = trained(
        tmp_path / "tuned", "--from", tmp_path / "nano" / "timercd-nano.safetensors", "--finetune", recording
    )

    assert result.exit_code == 0, result.output
    one, other = (load_nano(tmp_path / name / "timercd-nano.safetensors")[0] for name in ("nano", "tuned"))
    assert not np.array_equal(one.embed_directly.weight.detach(), other.embed_directly.weight.detach())


def test_a_recording_that_is_too_short_is_refused(tmp_path):
    recording = tmp_path / "own.csv"
    pl.DataFrame({"flow": np.sin(np.arange(100) / 9)}).write_csv(recording)

    result = trained(tmp_path / "nano", "--finetune", recording)

    assert result.exit_code == 2
    assert "384 rows in a row" in result.output


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("speed=3", "is not NAME=VALUE"),
        ("corpus.speed=3", "is not NAME=VALUE"),
        ("learning_rate", "is not NAME=VALUE"),
        ("learning_rate=fast", "is no JSON value"),
        ("corpus.window=256", "set both alike"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, setting, message):
    result = tsad("pretrain", "timercd", "--out", tmp_path / "nano", "--setting", setting, "--no-validation")

    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "nano").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(tmp_path):
    result = trained(tmp_path / "nano", "--device", "cuda")

    assert result.exit_code == 2
    assert "torch sees no GPU" in result.output


def test_the_validation_split_is_fixed():
    assert len(VALIDATION_SERIES) == len(set(VALIDATION_SERIES)) == 18
    assert list(VALIDATION_SERIES) == sorted(VALIDATION_SERIES)


@pytest.mark.skipif(not (data_directory() / "nab").is_dir(), reason="NAB is not in the data directory")
def test_the_shipped_weights_have_the_figure_of_their_card():
    series = load_validation()
    network, card = load_nano()
    options = {"scales": (1, 2, 4, 8, 16), "stride": 128}

    assert tuple(s.name for s in series) == VALIDATION_SERIES
    assert validate(network, series, **options) == pytest.approx(card["kept"]["validation_vus_pr"], abs=0.01)


def test_the_last_weights_can_be_kept_instead_of_the_mean(tmp_path):
    mean, last = (trained(tmp_path / keep, "--keep", keep) for keep in ("mean", "last"))

    assert mean.exit_code == last.exit_code == 0
    folder = tmp_path / "last"
    one, other = (
        load_nano(path)[0].embed_directly.weight.detach()
        for path in (folder / "timercd-nano.safetensors", folder / "checkpoints" / "4.safetensors")
    )
    assert np.array_equal(one, other)
    averaged = load_nano(tmp_path / "mean" / "timercd-nano.safetensors")[0].embed_directly.weight.detach()
    assert not np.array_equal(averaged, other)
    assert trained(tmp_path / "x", "--keep", "all").exit_code == 2
