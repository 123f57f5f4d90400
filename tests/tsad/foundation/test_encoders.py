import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.tsad.foundation.chronos_models import KINDS, write_chronos
from tsad.errors import ConfigurationError
from tsad.foundation.encoders import EmbeddingCache, ModuleEncoder, NanoEncoder, embed_windows, load_encoder

PATCH = {"t5": 1, "bolt": 16, "chronos-2": 16, "nano": 16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of every kind, random and tiny."""
    root = tmp_path_factory.mktemp("chronos")
    return {kind: write_chronos(root / kind, kind, context=256) for kind in KINDS}


@pytest.fixture(params=[*KINDS, "nano"])
def encoder(request, folders):
    return NanoEncoder() if request.param == "nano" else load_encoder(str(folders[request.param]))


def windows_of(b, t, seed=0):
    rng = np.random.default_rng(seed)
    return (np.sin(np.arange(t) / 7) + 0.2 * rng.standard_normal((b, t))).astype(np.float32)


@pytest.mark.parametrize("t", [64, 100])
def test_a_vector_a_step_or_patch_without_special_tokens(encoder, t):
    vectors = encoder(windows_of(3, t))
    assert vectors.shape == (3, -(-t // encoder.patch), encoder.width)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_what_they_say(folders, kind):
    encoder = load_encoder(str(folders[kind]))
    assert (encoder.family, encoder.patch, encoder.context, encoder.width) == (kind, PATCH[kind], 256, 64)


def test_vectors_stand_for_the_steps_that_the_alignment_says(encoder):
    # A change of one step changes the vector of its patch most; patches are counted from the end. Turning its sign
    # leaves the mean absolute value, by which T5 scales, where it was.
    values = windows_of(1, 100)
    step = 70
    values[0, step] = 3
    changed = values.copy()
    changed[0, step] = -3
    moved = np.abs(encoder(changed) - encoder(values)).sum(axis=-1)[0]

    patches = -(-100 // encoder.patch)
    first = 100 - encoder.patch * (patches - np.arange(patches))
    at = int(np.argmax(moved))
    assert first[at] <= step < first[at] + encoder.patch


def test_where_all_is_missing_there_is_no_vector(encoder):
    values = windows_of(2, 96)
    values[0, :40] = np.nan
    vectors = encoder(values)

    gone = 40 // encoder.patch
    assert np.isnan(vectors[0, :gone]).all()
    assert not np.isnan(vectors[0, gone:]).any()
    assert not np.isnan(vectors[1]).any()
    assert np.isnan(encoder(np.full((1, 64), np.nan, np.float32))).all()


def test_longer_windows_than_the_context_are_refused(encoder):
    with pytest.raises(ValueError, match="longer than the"):
        encoder(windows_of(1, encoder.context + 1))
    assert encoder(windows_of(1, encoder.context)).shape[1] == encoder.context // encoder.patch


def test_the_same_windows_give_the_same_vectors(encoder):
    np.testing.assert_array_equal(encoder(windows_of(2, 80)), encoder(windows_of(2, 80)))


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_the_library(folders, kind):
    from chronos import BaseChronosPipeline

    pipeline = BaseChronosPipeline.from_pretrained(folders[kind], device_map="cpu", dtype=torch.float32)
    values = windows_of(2, 96)
    if kind == "chronos-2":
        reference = torch.stack([one[0, :-2] for one in pipeline.embed(torch.from_numpy(values)[:, None])[0]])
    else:
        reference = pipeline.embed(torch.from_numpy(values))[0][:, :-1]
    np.testing.assert_array_equal(load_encoder(str(folders[kind]))(values), reference.numpy())


def test_a_large_offset_hides_everything_from_t5(folders):
    # Why themis takes the median off: in units of the mean absolute value all steps fall into one bin.
    encoder = load_encoder(str(folders["t5"]))
    low, high = windows_of(1, 64), windows_of(1, 64) + 1e4
    assert np.ptp(encoder(low)[0, 1:-1], axis=0).max() > 0
    calm = encoder(high.astype(np.float32))
    other = encoder((windows_of(1, 64, seed=5) + 1e4).astype(np.float32))
    np.testing.assert_array_equal(calm, other)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_and_float32_is_what_runs_by_default(folders, dtype, tmp_path):
    saved_half = tmp_path / "half"
    shutil.copytree(folders["bolt"], saved_half)
    from safetensors.torch import load_file, save_file

    stored = {name: tensor.bfloat16() for name, tensor in load_file(saved_half / "model.safetensors").items()}
    save_file(stored, saved_half / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((saved_half / "config.json").read_text())
    (saved_half / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))

    values = windows_of(2, 96)
    full, half = load_encoder(str(saved_half)), load_encoder(str(saved_half), dtype=dtype)
    assert full._pipeline.inner_model.dtype == torch.float32
    assert full.identity != half.identity
    np.testing.assert_allclose(full(values), half(values), atol=0.02)


def test_the_identity_tells_weights_apart(folders, tmp_path):
    other = write_chronos(tmp_path / "other", "bolt", context=256, seed=1)
    assert load_encoder(str(other)).identity != load_encoder(str(folders["bolt"])).identity
    assert load_encoder(str(folders["bolt"])).identity == load_encoder(str(folders["bolt"])).identity


def test_loading_leaves_the_random_state_alone(folders):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    load_encoder(str(folders["bolt"]))
    assert torch.equal(before, torch.get_rng_state())


# ---------------------------------------------------------------------------------------------------- cache, modules


def test_the_cache_gives_the_same_and_forgets_the_oldest():
    encoder = NanoEncoder()
    batches = [windows_of(2, 128, seed=seed) for seed in range(3)]
    one = encoder(batches[0]).nbytes / (1 << 20)
    cache = EmbeddingCache(2.5 * one)
    first = cache(encoder, batches[0])

    assert cache(encoder, batches[0]) is first
    assert cache.hits == 1
    cache(encoder, batches[1])
    cache(encoder, batches[2])
    np.testing.assert_array_equal(cache(encoder, batches[0]), first)
    assert cache.hits == 1


def test_the_cache_tells_encoders_and_contents_apart(folders):
    cache = EmbeddingCache(10)
    values = windows_of(2, 128)
    cache(NanoEncoder(), values)
    other = cache(load_encoder(str(folders["bolt"])), values)
    assert other.shape[2] == 64
    changed = values.copy()
    changed[1, 5] += 1e-6
    assert not np.array_equal(cache(NanoEncoder(), changed), cache(NanoEncoder(), values))


def test_many_windows_go_through_in_batches():
    encoder = NanoEncoder()
    values = windows_of(7, 128)
    whole = embed_windows(encoder, values, EmbeddingCache(0), batch=3)
    np.testing.assert_allclose(whole, encoder(values), atol=1e-5)
    assert embed_windows(encoder, values[:0], EmbeddingCache(0)).shape == (0, 8, encoder.width)


class Pairs(nn.Module):
    def forward(self, windows):
        return windows.nan_to_num().reshape(len(windows), -1, 2)


def test_a_module_of_the_user_is_an_encoder():
    encoder = load_encoder(ModuleEncoder(Pairs(), "pairs", context=64, patch=2, width=2))
    np.testing.assert_array_equal(encoder(np.float32([[1, 2, np.nan, np.nan]])), [[[1, 2], [np.nan, np.nan]]])
    wrong = ModuleEncoder(Pairs(), "pairs", context=64, patch=2, width=3)
    with pytest.raises(ValueError, match=r"gave vectors of shape \(1, 4, 2\), not \(1, 4, 3\)"):
        wrong(windows_of(1, 8))


def test_what_is_no_encoder_is_told_what_it_lacks():
    with pytest.raises(ConfigurationError, match="Pairs, which lacks identity, context, patch, width"):
        load_encoder(Pairs())


def test_a_pretrained_forecaster_serves_as_a_module():
    # The one really trained forecaster that installs from the index: its weights lie in its wheel.
    fracast = pytest.importorskip("fracast", reason="extra of the tests")
    model = fracast.FracastModel.from_pretrained(weights="fp32")

    longest = model.context_length

    class Hidden(nn.Module):
        """A vector a step of its convolutions, which take windows of one length, scaled."""

        def __init__(self):
            super().__init__()
            self.core = model.core

        def forward(self, windows):
            there = ~windows.isnan()
            count = there.sum(dim=1, keepdim=True).clamp(min=1)
            values = windows.nan_to_num()
            centred = (values - values.sum(dim=1, keepdim=True) / count) * there
            scaled = centred / (centred.square().sum(dim=1, keepdim=True) / count).sqrt().clamp(min=1e-6)
            padding = (longest - windows.shape[1], 0)
            valid = nn.functional.pad(there, padding)[:, None]
            hidden = self.core(nn.functional.pad(scaled, padding)[:, None], valid, valid.float())
            return hidden[:, -windows.shape[1] :]

    encoder = ModuleEncoder(Hidden(), "fracast-0", context=longest, patch=1, width=model.core.d)
    values = windows_of(2, 256)
    vectors = encoder(values)
    assert vectors.shape == (2, 256, encoder.width)
    changed = values.copy()
    changed[0, 200:204] += 5
    moved = np.abs(encoder(changed) - vectors).max(axis=-1)
    assert moved[0, 200:204].max() > 2 * np.median(moved[0, 20:150])
    np.testing.assert_array_equal(moved[1], 0)


# ---------------------------------------------------------------------------------------------------------- bad input


def broken(folder, tmp_path, **changes):
    copy = tmp_path / "broken"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    for key, value in changes.items():
        if value is None:
            del config[key]
        elif isinstance(value, dict):
            config.setdefault(key, {}).update(value)
        else:
            config[key] = value
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chronos_config": None}, "no chronos_config"),
        ({"chronos_pipeline_class": "OtherPipeline"}, "kind 'OtherPipeline'"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "never run"),
        ({"chronos_config": {"input_patch_stride": 8}}, "overlap"),
        ({"chronos_config": {"context_length": "long"}}, "does not tell context_length"),
        ({"d_model": None}, "does not tell d_model"),
        ({"d_ff": 100}, "could not be loaded as a Chronos model"),
    ],
)
def test_wrong_configurations_are_refused(folders, tmp_path, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load_encoder(str(broken(folders["bolt"], tmp_path, **changes)))


def test_a_decoder_only_chronos_is_refused(folders, tmp_path):
    with pytest.raises(ConfigurationError, match="model_type 'causal'"):
        load_encoder(str(broken(folders["t5"], tmp_path, chronos_config={"model_type": "causal"})))


def test_a_truncated_file_is_named(folders, tmp_path):
    copy = broken(folders["bolt"], tmp_path)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ConfigurationError, match=r"model\.safetensors is no whole safetensors file"):
        load_encoder(str(copy))


def test_a_pickle_is_refused_unopened(folders, tmp_path):
    copy = broken(folders["bolt"], tmp_path)
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ConfigurationError, match=r"pytorch_model\.bin, a pickle, which can run code"):
        load_encoder(str(copy))


@pytest.mark.filterwarnings("ignore")  # the library's own, of the missing weights
def test_weights_that_lack_a_tensor_are_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = broken(folders["bolt"], tmp_path)
    stored = load_file(copy / "model.safetensors")
    gone = next(name for name in sorted(stored) if "encoder.block.1" in name)
    del stored[gone]
    save_file(stored, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=f"lack '{gone}'"):
        load_encoder(str(copy))


@pytest.mark.filterwarnings("ignore")  # the library's own, of the missing weights
def test_weights_that_only_forecasts_need_may_be_missing(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = broken(folders["bolt"], tmp_path)
    stored = {k: v for k, v in load_file(copy / "model.safetensors").items() if not k.startswith("output_patch")}
    save_file(stored, copy / "model.safetensors", metadata={"format": "pt"})
    values = windows_of(1, 64)
    np.testing.assert_array_equal(load_encoder(str(copy))(values), load_encoder(str(folders["bolt"]))(values))


def test_an_adapter_of_another_model_is_refused(folders, tmp_path):
    copy = broken(folders["chronos-2"], tmp_path)
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="adapter of another model"):
        load_encoder(str(copy))


def test_weights_that_are_not_here_say_how_to_get_them_without_a_network(monkeypatch, tmp_path):
    def refused(*arguments, **keywords):
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with pytest.raises(ConfigurationError, match="`hf download amazon/chronos-bolt-tiny --local-dir DIR`"):
        load_encoder("amazon/chronos-bolt-tiny")
    for nowhere in ("chronos", str(tmp_path / "nowhere")):
        with pytest.raises(ConfigurationError, match=r"there is no encoder .*then give encoder=DIR"):
            load_encoder(nowhere)


def test_a_hub_id_that_was_fetched_before_is_found(folders, monkeypatch, tmp_path):
    snapshot = tmp_path / "models--amazon--chronos-bolt-tiny" / "snapshots" / "abc"
    shutil.copytree(folders["bolt"], snapshot)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert load_encoder("amazon/chronos-bolt-tiny").family == "bolt"


def test_devices_and_types_that_are_not_there_are_refused(folders):
    folder = str(folders["bolt"])
    with pytest.raises(ConfigurationError, match="choose float32, bfloat16, float16"):
        load_encoder(folder, dtype="int3")
    with pytest.raises(ConfigurationError, match="torch does not know"):
        load_encoder(folder, device="tpux")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="torch sees no GPU"):
            load_encoder(folder, device="cuda:0")
    with pytest.raises(ConfigurationError, match="runs in float32"):
        load_encoder("timercd-nano", dtype="bfloat16")


def test_the_package_is_asked_for_by_name_and_nothing_else_is_imported(folders):
    # In a process of its own: without the package there is one sentence, and the default encoder never needs it.
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "from tsad.detectors.registry import create_detector\n"
        "create_detector('themis')\n"
        "assert not {'chronos', 'transformers'} & set(sys.modules), 'imported'\n"
        "import tsad.foundation.chronos_encoders as c\n"
        "c.find_spec = lambda name: None if name == 'chronos' else find(name)\n"
        "try:\n    create_detector('themis', {'encoder': sys.argv[1]})\n"
        "except ValueError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folders["bolt"])], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "pip install 'tsad-service[chronos]'" in done.stdout
