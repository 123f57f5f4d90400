import doctest
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

import evaluation.fleet.protocols
from evaluation.errors import InvalidInputError
from evaluation.fleet.protocols import (
    NodeRecording,
    differences,
    measure_honest,
    measure_paper,
    run_honest,
    weighted_f,
)
from tsad.fleet.network import Training
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry
from tsad.simulation.hpc_fleet import HpcFleetSettings, simulate_hpc_fleet

FLEET = HpcFleetSettings(seed=11, nodes=4, sensors=30, days=30, training_days=8)
SETTINGS = NodeSettings(idle_features=FLEET.core_features, training=Training(epochs=5))


@pytest.fixture(scope="module")
def recordings():
    made = simulate_hpc_fleet(FLEET)
    return [
        NodeRecording(NodeTelemetry(name, made.features, made.times, values.copy()), labels, made.training_rows)
        for name, values, labels in zip(made.nodes, made.values, made.labels, strict=True)
    ]


@pytest.fixture(scope="module")
def run(recordings):
    return run_honest(recordings, SETTINGS)


def shuffled(recording, seed=0):
    labels = recording.labels.copy()
    labels[recording.train_rows :] = np.random.default_rng(seed).permutation(labels[recording.train_rows :])
    return replace(recording, labels=labels)


def test_the_honest_protocol_does_not_look_at_labels(recordings, run):
    other = run_honest([shuffled(one) for one in recordings], SETTINGS)
    for name in run.scores:
        np.testing.assert_array_equal(run.scores[name].error, other.scores[name].error)
        assert run.fleet.models[name].threshold == other.fleet.models[name].threshold
        np.testing.assert_array_equal(run.siblings[name], other.siblings[name])


def test_the_honest_protocol_does_not_learn_from_the_test(recordings, run):
    changed = []
    for one in recordings:
        values = one.telemetry.values.copy()
        values[one.train_rows :] *= 1.5
        changed.append(replace(one, telemetry=replace(one.telemetry, values=values)))
    other = run_honest(changed, SETTINGS)
    for name, model in run.fleet.models.items():
        np.testing.assert_array_equal(model.network.weights.w1, other.fleet.models[name].network.weights.w1)
        assert model.threshold == other.fleet.models[name].threshold
    np.testing.assert_array_equal(run.comparison.slope, other.comparison.slope)


def test_both_protocols_find_the_faults_and_tell_what_they_chose(recordings, run):
    paper, honest = measure_paper(recordings, SETTINGS), measure_honest(run, recordings)
    table = differences(paper, honest)

    assert len(paper) == len(honest) == 4
    for results in (paper, honest):
        assert np.mean([one.auc for one in results]) > 0.75
    assert {one.percentile for one in honest} == {97.0}
    assert all(70 <= one.percentile <= 100 for one in paper)
    assert table["auc"]["difference"] == pytest.approx(table["auc"]["paper"] - table["auc"]["honest"])
    # The oracle looks for the best weighted F, so it is never below predicting nothing by more than one percentile.
    assert table["weighted_f"]["paper"] > table["weighted_f_of_silence"]["paper"]


def test_the_papers_percentile_is_an_oracle_on_rows_that_are_aligned(recordings):
    # With labels that mean nothing no row is found better than by chance: misaligned errors would show otherwise.
    results = measure_paper([shuffled(one) for one in recordings], SETTINGS)
    assert np.mean([one.auc for one in results]) == pytest.approx(0.5, abs=0.1)


def test_siblings_are_scored_beside_the_own_model(recordings, run):
    for name, scores in run.scores.items():
        siblings = run.siblings[name]
        assert siblings.shape == scores.error.shape
        assert np.isfinite(siblings).mean() > 0.4
        both = run.both(name)
        np.testing.assert_array_equal(np.isnan(both), np.isnan(scores.error))
        assert (both[~np.isnan(both)] >= run.own[name][~np.isnan(both)]).all()


def test_weighted_f_is_scikit_learns():
    random = np.random.default_rng(0)
    truth, said = random.random(300) < 0.2, random.random(300) < 0.3
    assert weighted_f(truth, said) == pytest.approx(f1_score(truth, said, average="weighted"))


def test_a_node_without_a_test_part_is_refused(recordings):
    with pytest.raises(InvalidInputError, match=r"node-0.*both a training and a test part"):
        run_honest([replace(recordings[0], train_rows=len(recordings[0].labels))], SETTINGS)
    with pytest.raises(InvalidInputError, match="nothing can be measured"):
        differences([], [])


def test_examples_run():
    assert doctest.testmod(evaluation.fleet.protocols).failed == 0
