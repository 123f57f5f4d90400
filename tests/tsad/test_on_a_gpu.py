"""What a GPU does differently, on a machine that has one: elsewhere these tests are skipped."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr

from tests.tsad.events.event_parts import auc, cliques, mixed
from tsad.detectors.registry import create_detector
from tsad.errors import ConfigurationError
from tsad.events.registry import create_event_detector
from tsad.fleet.network import Training, train_together
from tsad.foundation.corpus import CorpusSettings
from tsad.foundation.gpu_runtime import GraphedNano
from tsad.foundation.nano import NanoConfig
from tsad.foundation.runtime import nano_runner
from tsad.foundation.training import TrainingSettings, train
from tsad.observations import RowBatch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

FLOAT32, TF32 = 1e-4, 2e-3
"""Largest difference of a score from that of a CPU, as the documentation states it."""
SMALL = TrainingSettings(
    steps=12, every=6, warm_up=3, corpus=CorpusSettings(window=128, batch=12, most_channels=3),
    network=NanoConfig(window=128, width=16, layers=2, heads=2, joint=(1,)),
)  # fmt: skip


def windows(b, c, seed=0):
    values = np.random.default_rng(seed).standard_normal((b, c, 512)).astype(np.float32)
    values[:, :, 300:330] += 3
    valid = np.ones_like(values)
    valid[0, 0, :200] = 0
    return values * valid, valid


def wave(rows, channels=1):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(rows)[:, None] / (8 + np.arange(channels))) + 0.1 * rng.standard_normal((rows, channels))
    values[rows // 2 : rows // 2 + 40, 0] += 3
    return values.astype(np.float32)


def times_of(values):
    return np.arange(len(values)) * 1_000_000_000


@pytest.mark.parametrize(("engine", "bound"), [("torch", FLOAT32), ("cuda-graph", FLOAT32), ("cuda-graph-tf32", TF32)])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (70, 1), (3, 4), (1100, 1), (300, 5), (2, 38)])
def test_scores_are_those_of_a_cpu(engine, bound, shape):
    here, _ = nano_runner(engine=engine, device="cuda")
    there, _ = nano_runner(engine="torch", device="cpu")

    said, expected = (runner(*windows(*shape))[0] for runner in (here, there))

    assert said.shape == expected.shape
    np.testing.assert_allclose(expit(said), expit(expected), rtol=0, atol=bound)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="numbered from cuda:0 on"):
        nano_runner(engine="torch", device=f"cuda:{torch.cuda.device_count()}")


def test_a_gpu_without_tf32_keeps_to_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (7, 5))

    assert nano_runner()[0].engine == "torch:cuda-graph"
    with pytest.raises(ConfigurationError, match="has TF32"):
        nano_runner(engine="cuda-graph-tf32")


def test_a_replay_hears_nothing_of_the_one_before():
    runner, _ = nano_runner(engine="cuda-graph", device="cuda")
    values, valid = windows(3, 2)
    first = runner(values, valid)
    runner(*windows(4, 2, seed=1))
    again = runner(values, valid)

    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_calls_from_several_threads_take_turns():
    runner, _ = nano_runner(engine="cuda-graph", device="cuda")
    asked = [windows(1 + seed % 5, 1 + seed % 2, seed) for seed in range(24)]
    expected = [runner(*one)[0] for one in asked]

    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda one: runner(*one)[0], asked))

    for one, other in zip(said, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_engine_says_what_it_became():
    assert nano_runner()[0].engine == "torch:cuda-graph-tf32"
    assert nano_runner(engine="cuda-graph")[0].engine == "torch:cuda-graph"
    assert nano_runner(engine="cuda-graph-tf32")[0].engine == "torch:cuda-graph-tf32"
    assert nano_runner(engine="torch")[0].engine == "torch"
    assert nano_runner(device="cpu")[0].engine == "onnx:timercd-nano"
    detector = create_detector("timercd-nano", {})
    assert detector.choices(0)[0].endswith(nano_runner()[0].engine)


@pytest.mark.parametrize(("engine", "bound"), [("cuda-graph", 1e-3), ("cuda-graph-tf32", 5e-3)])
def test_a_detector_scores_as_on_a_cpu(engine, bound):
    values = wave(1500, 3)
    options = {"channel_aggregate": "max", "calibration_rows": 200, "hop": 4}
    here, there = (
        create_detector("timercd-nano", {**options, **more}) for more in ({"engine": engine}, {"device": "cpu"})
    )

    np.testing.assert_allclose(
        here.score_all(values, times_of(values)), there.score_all(values, times_of(values)), atol=bound
    )
    found = []
    for detector in (here, there):
        detector.reserve(1, 3)
        detector.fit(0, values[:600], times_of(values)[:600])
        found.append(detector.score(rows(values, 600, 1500)).score)
    np.testing.assert_allclose(found[0], found[1], atol=bound)


def rows(values, first, last):
    numbers = np.zeros(last - first, np.int32)
    return RowBatch(
        numbers, times_of(values)[first:last], values[first:last], np.zeros(last - first, np.uint8), numbers,
        np.arange(last - first, dtype=np.int64),
    )  # fmt: skip


@pytest.mark.parametrize("engine", ["cuda-graph", "cuda-graph-tf32"])
def test_rows_one_by_one_score_as_in_batches(engine):
    values = wave(760, 2)
    found = []
    for step in (1, 37, 160):
        detector = create_detector(
            "timercd-nano", {"engine": engine, "calibration_rows": 50, "channel_aggregate": "max"}
        )
        detector.reserve(1, 2)
        detector.fit(0, values[:600], times_of(values)[:600])
        batches = [rows(values, a, min(a + step, 760)) for a in range(600, 760, step)]
        found.append(np.concatenate([detector.score(batch).score for batch in batches]))

    bound = FLOAT32 if engine == "cuda-graph" else TF32
    np.testing.assert_allclose(found[1], found[0], atol=bound)
    np.testing.assert_allclose(found[2], found[0], atol=bound)


@pytest.mark.parametrize("bf16", [False, True])
def test_training_goes_on_where_it_stopped_and_learns_what_a_cpu_learns(tmp_path, bf16):
    class StopError(Exception):
        pass

    def stop(checkpoint):
        if checkpoint.step == 6:
            raise StopError

    settings = dataclasses.replace(SMALL, bf16=bf16)
    losses = {}
    for device in ("cpu", "cuda"):
        heard = []
        train(settings, device=device, heard=heard.append)
        losses[device] = [one.loss for one in heard]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.02)

    with pytest.raises(StopError):
        train(settings, folder=tmp_path, device="cuda", heard=stop)
    resumed = train(settings, folder=tmp_path, device="cuda")
    whole = train(settings, device="cuda")
    for one, other in zip(resumed.state_dict().values(), whole.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=2e-3)


def test_graphs_of_more_shapes_than_are_kept_go_on_working(monkeypatch):
    monkeypatch.setattr("tsad.foundation.gpu_runtime._KEPT", 2)
    runner, _ = nano_runner(engine="cuda-graph", device="cuda")
    assert isinstance(runner, GraphedNano)
    expected = runner(*windows(1, 1))[0]
    for channels in range(2, 6):
        runner(*windows(1, channels))

    np.testing.assert_array_equal(runner(*windows(1, 1))[0], expected)


def test_the_autoencoders_of_nodes_learn_what_they_learn_on_a_cpu():
    nodes = [np.random.default_rng(s).standard_normal((200, 5)).astype(np.float32) for s in range(3)]

    here, there = (train_together(nodes, 20, Training(epochs=3, device=device)) for device in ("cuda", "cpu"))

    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.w1, other.w1, atol=1e-3)


def test_ape_tells_mixed_groups_from_usual_ones():
    events = cliques(2000)
    detector = create_event_detector("ape", {"device": "cuda", "epochs": 30, "dimensions": 8})
    detector.fit(events)

    assert auc(detector.score(mixed(events)).score, detector.score(events).score) > 0.99


def test_themis_finds_the_same_rows_odd():
    values = wave(1200)
    here, there = (
        create_detector("themis", {"device": device}).score_all(values, times_of(values)) for device in ("cuda", "cpu")
    )

    assert spearmanr(here, there, nan_policy="omit").statistic > 0.99
    assert np.nanargmax(here) == pytest.approx(np.nanargmax(there), abs=20)
