import pytest

from evaluation.backtest.plan import Plan, load_series, parse_detectors, parse_options, plan_cells
from evaluation.errors import DatasetError, DatasetNotFoundError, EvaluationError, InvalidInputError
from tests.evaluation.backtest_parts import recording, write_csv
from tsad.errors import ConfigurationError


def names(plan):
    return [(cell.name, cell.seed) for cell in plan_cells(plan)]


def test_trivial_predictors_come_first_and_only_randomness_gets_seeds():
    plan = Plan(parse_detectors(["robust,autoencoder", "robust+autoencoder"]), seeds=2)
    assert names(plan) == [
        ("constant", None), ("random", 0), ("random", 1), ("all_ones", None), ("robust", None), ("autoencoder", 0),
        ("autoencoder", 1), ("robust+autoencoder", 0), ("robust+autoencoder", 1),
    ]  # fmt: skip
    options = {cell.seed: cell.detectors[0].options for cell in plan_cells(plan) if cell.name == "autoencoder"}
    assert options == {0: {"seed": 0}, 1: {"seed": 1}}


def test_options_reach_their_detector_and_a_fixed_seed_is_the_only_one():
    options = parse_options(["autoencoder.seed=7", "autoencoder.idle_channels=[0, 1]"])
    plan = Plan([("autoencoder",)], seeds=3, options=options)
    (cell,) = [cell for cell in plan_cells(plan) if not cell.is_trivial]
    assert dict(cell.detectors[0].options) == {"seed": 7, "idle_channels": (0, 1)}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan([("robust",)], mode="half"), "choose causal or full"),
        (Plan([("robust",)], seeds=0), "at least one"),
        (Plan([("robust",)], threshold="oracle"), "is not a rule"),
        (Plan([("robust",)], options={"sub-pca": {}}), "names detector 'sub-pca', which is not among robust"),
        (Plan([("robust",)], options={"robust": {"windows": 3}}), "has no option 'windows'"),
        (Plan([("sub-pca",)], options={"sub-pca": {"explained": 3}}), "explained is 3"),
        (Plan([("robust", "sub-pca")], mode="full"), "combined in mode causal only"),
        (Plan([("robust",)], rows="all"), "rows all needs mode full"),
        (Plan([("robust",)], mode="full", rows="train"), "choose test or all"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(plan, message):
    with pytest.raises((EvaluationError, ConfigurationError), match=message):
        plan_cells(plan)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "there is no detector 'nothing'"),
        ("robust,", "empty name"),
        ("robust+", "empty name"),
        ("robust,robust", "twice"),
        ("robust+robust", "with itself"),
    ],
)
def test_wrong_detectors(text, message):
    with pytest.raises((EvaluationError, ConfigurationError), match=message):
        parse_detectors([text])


@pytest.mark.parametrize("text", ["epochs=3", "autoencoder.epochs", ".epochs=3", "autoencoder.=3", ""])
def test_wrong_options(text):
    with pytest.raises(InvalidInputError, match=r"is not DETECTOR.OPTION=VALUE"):
        parse_options([text])


def test_series_come_from_folders_and_files_by_pattern(tmp_path):
    for name in ("pump-1", "pump-2", "fan"):
        write_csv(tmp_path / f"{name}.csv", recording(name=name))
    assert [s.name for s in load_series([str(tmp_path)], patterns=["pump-*"])] == ["pump-1", "pump-2"]
    assert [s.name for s in load_series([str(tmp_path / "fan.csv")])] == ["fan"]
    with pytest.raises(DatasetNotFoundError, match="no series matches 'valve'; there are fan, pump-1, pump-2"):
        load_series([str(tmp_path)], patterns=["valve", "fan"])
    with pytest.raises(InvalidInputError, match="asked for twice"):
        load_series([str(tmp_path), str(tmp_path)])
    with pytest.raises(InvalidInputError, match="own split"):
        load_series(["smap"], train_fraction=0.5)
    with pytest.raises(DatasetError, match="neither a known data set"):
        load_series(["wadi"])
