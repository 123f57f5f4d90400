import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.tsad.foundation.network_parts import timercd_weights
from tsad.errors import ConfigurationError
from tsad.foundation.hub import local_weights
from tsad.foundation.nano import NanoConfig, NanoNetwork
from tsad.foundation.onnx_export import export_nano
from tsad.foundation.runtime import nano_runner, timercd_runner
from tsad.foundation.weights import load_nano, read_weights, save_nano, shipped_folder

TINY = NanoConfig(window=64, width=16, layers=2, heads=2, joint=(1,))


@pytest.fixture
def tiny(tmp_path):
    """A network with random weights on disk: itself and its file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NanoNetwork(TINY).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path / "tiny.safetensors"
    save_nano(network, path, {"step": 3})
    return network, path


def windows(b, c, t, seed=0):
    values = np.random.default_rng(seed).standard_normal((b, c, t)).astype(np.float32)
    valid = np.ones_like(values)
    valid[0, 0, : t // 3] = 0
    return values * valid, valid


def test_saved_and_loaded_judges_alike(tiny):
    network, path = tiny
    loaded, card = load_nano(path)

    values, valid = (torch.from_numpy(x) for x in windows(2, 3, 64))
    with torch.inference_mode():
        for one, other in zip(network(values, valid), loaded(values, valid), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert card["step"] == 3
    assert loaded.config == TINY


def test_the_shipped_weights_tell_where_they_come_from():
    network, card = load_nano()

    assert (shipped_folder() / "timercd-nano.safetensors").stat().st_size < 3_200_000
    assert sum(p.numel() for p in network.parameters()) == 562_208
    assert {"kept", "settings", "provenance"} <= set(card)
    assert card["provenance"]["git_commit"]
    assert isinstance(card["settings"]["seed"], int)
    assert (shipped_folder() / card["log"]).is_file()


def test_a_pickle_is_refused_with_a_way_to_convert_it(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"weight": torch.zeros(3)}, path)

    with pytest.raises(ConfigurationError, match=r"pickle.*save_file"):
        read_weights(path)
    with pytest.raises(ConfigurationError, match="pickle"):
        timercd_runner(str(tmp_path))


def test_a_cut_off_file_and_a_missing_one_are_named(tiny, tmp_path):
    _, path = tiny
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    cut.with_suffix(".json").write_bytes(path.with_suffix(".json").read_bytes())

    with pytest.raises(ConfigurationError, match="no whole safetensors file"):
        load_nano(cut)
    with pytest.raises(ConfigurationError, match="no weights at"):
        load_nano(tmp_path / "other.safetensors")


def test_weights_need_their_card(tiny):
    _, path = tiny
    path.with_suffix(".json").unlink()
    with pytest.raises(ConfigurationError, match="belongs beside"):
        load_nano(path)

    path.with_suffix(".json").write_text(json.dumps({"network": {"width": 3}}))
    with pytest.raises(ConfigurationError, match="shape"):
        load_nano(path)


def test_weights_of_another_shape_are_named(tiny):
    _, path = tiny
    card = json.loads(path.with_suffix(".json").read_text())
    card["network"]["patch"] = 8
    path.with_suffix(".json").write_text(json.dumps(card))

    with pytest.raises(ConfigurationError, match=r"embed.*patch size"):
        load_nano(path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.filterwarnings("ignore")
def test_onnx_runtime_agrees_with_torch(tiny, channels):
    network, path = tiny
    export_nano(network, path.with_suffix(".onnx"))
    by_onnx, config = nano_runner(path, device="cpu")
    by_torch, _ = nano_runner(path, "torch", "cpu")

    values, valid = windows(4, channels, 64)
    assert (by_onnx.engine, by_torch.engine) == ("onnx:tiny", "torch")
    assert config == TINY
    for one, other in zip(by_onnx(values, valid), by_torch(values, valid), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_shipped_graph_agrees_with_the_shipped_weights():
    by_onnx, config = nano_runner(device="cpu")
    by_torch, _ = nano_runner(engine="torch", device="cpu")

    assert by_onnx.engine == "onnx:timercd-nano"
    for channels in (1, 4):
        values, valid = windows(2, channels, config.window)
        for one, other in zip(by_onnx(values, valid), by_torch(values, valid), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)


def test_one_window_alone_gives_the_bits_it_gives_among_others():
    runner, config = nano_runner(device="cpu")
    values, valid = windows(5, 2, config.window)

    together = runner(values, valid)[0]
    alone = np.concatenate([runner(values[i : i + 1], valid[i : i + 1])[0] for i in range(5)])

    np.testing.assert_array_equal(together, alone)


def test_engines_and_devices_that_are_not_there_are_refused(tiny):
    _, path = tiny
    with pytest.raises(ConfigurationError, match="choose auto, onnx"):
        nano_runner(path, "tensorrt")
    with pytest.raises(ConfigurationError, match="graph"):
        nano_runner(path, "onnx")
    with pytest.raises(ConfigurationError, match="runs on the CPU"):
        nano_runner(path, "onnx", "cuda")
    with pytest.raises(ConfigurationError, match="does not know"):
        nano_runner(path, "torch", "abacus")
    with pytest.raises(ConfigurationError, match="engine cuda-graph runs on a GPU, but device is 'cpu'"):
        nano_runner(path, "cuda-graph", "cpu")
    assert nano_runner(path, device="cpu")[0].engine == "torch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("engine", ["cuda-graph", "cuda-graph-tf32"])
def test_graphs_without_a_gpu_are_refused(engine):
    with pytest.raises(ConfigurationError, match="torch sees no GPU"):
        nano_runner(engine=engine)


def test_a_hub_id_is_looked_for_on_this_machine_only(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"downloads nothing.*hf download some/model"):
        local_weights("some/model")

    folder = tmp_path / "models--some--model" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    save_file(timercd_weights(), folder / "uni.safetensors")
    assert local_weights("some/model") == folder / "uni.safetensors"
    assert timercd_runner("some/model").network.config.layers == 2

    save_file(timercd_weights(), folder / "multi.safetensors")
    with pytest.raises(ConfigurationError, match=r"several: multi.safetensors, uni.safetensors"):
        local_weights(str(folder))


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no .safetensors file"):
        local_weights(str(tmp_path))
