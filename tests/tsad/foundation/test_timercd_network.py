import math

import numpy as np
import pytest
import torch

from tests.tsad.foundation.network_parts import timercd_weights
from tsad.errors import ConfigurationError
from tsad.foundation.timercd import TimercdConfig, TimercdNetwork, timercd_from_weights


def run(network, values, valid=None):
    values = torch.as_tensor(np.asarray(values, np.float32))
    there = torch.ones(values.shape[0], values.shape[2]) if valid is None else torch.as_tensor(valid)
    with torch.inference_mode():
        return [x.numpy() for x in network(values, there)]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_has_as_many_parameters_as_the_released_checkpoints():
    with torch.device("meta"):
        one, several = TimercdNetwork(TimercdConfig()), TimercdNetwork(TimercdConfig(joint=True))

    assert sum(p.numel() for p in one.parameters()) == 37_056_387
    assert sum(p.numel() for p in several.parameters()) == 37_056_387 + 8 * 16


def test_reads_its_shape_off_the_weights():
    network = timercd_from_weights(timercd_weights(joint=True, width=128, layers=3), "here")

    assert network.config == TimercdConfig(joint=True, patch=16, width=128, layers=3, heads=2, features=32)
    assert not network.training


def test_a_prefix_of_distributed_training_is_left_away():
    weights = timercd_weights()
    plain, prefixed = (
        timercd_from_weights(w, "here") for w in (weights, {f"module.{name}": w for name, w in weights.items()})
    )

    np.testing.assert_array_equal(run(plain, noise(1, 1, 64))[0], run(prefixed, noise(1, 1, 64))[0])


def plain_twin(weights, values, there):
    """The specification read line by line, one window at a time, in double precision."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    c, t = values.shape
    padded = -(-t // 16) * 16
    x = np.zeros((c, padded))
    x[:, :t] = values
    tokens = x.reshape(c * padded // 16, 16)
    keys = np.tile(np.pad(there, (0, padded - t)).reshape(-1, 16).sum(axis=1) > 0, c)
    channel = np.repeat(np.arange(c), padded // 16)
    h = tokens @ w["ts_encoder.embedding_layer.weight"].T + w["ts_encoder.embedding_layer.bias"]
    width = h.shape[1]
    heads = width // 64
    layers = 1 + max(int(name.split(".")[3]) for name in w if name.startswith("ts_encoder.transformer_encoder"))

    def norm(y, scale):
        return y / np.sqrt((y**2).mean(axis=1, keepdims=True) + 1e-5) * scale

    def gelu(y):
        return y * 0.5 * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))

    def rotary(y):
        out = y.copy()
        for position in range(len(y)):
            for pair in range(width // 2):
                angle = position / 10_000 ** (2 * pair / width)
                a, b = y[position, 2 * pair], y[position, 2 * pair + 1]
                out[position, 2 * pair] = a * math.cos(angle) - b * math.sin(angle)
                out[position, 2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    for layer in range(layers):
        p = f"ts_encoder.transformer_encoder.layers.{layer}."
        y = norm(h, w[p + "input_norm.scale"])
        q, k, v = (y @ w[p + f"self_attn.{name}_proj.weight"].T for name in "qkv")
        q, k = rotary(q), rotary(k)
        joined = np.zeros_like(h)
        for head in range(heads):
            cut = slice(64 * head, 64 * head + 64)
            scores = q[:, cut] @ k[:, cut].T / 8
            if p + "self_attn.binary_attention_bias.emd.weight" in w:
                table = w[p + "self_attn.binary_attention_bias.emd.weight"]
                scores += np.where(channel[:, None] == channel, table[1, head], table[0, head])
            scores[:, ~keys] = -np.inf
            share = np.exp(scores - scores.max(axis=1, keepdims=True))
            joined[:, cut] = share / share.sum(axis=1, keepdims=True) @ v[:, cut]
        h = h + joined @ w[p + "self_attn.out_proj.weight"].T
        y = norm(h, w[p + "output_norm.scale"])
        gate = gelu(y @ w[p + "mlp.gate_proj.weight"].T + w[p + "mlp.gate_proj.bias"])
        up = y @ w[p + "mlp.up_proj.weight"].T + w[p + "mlp.up_proj.bias"]
        h = h + (gate * up) @ w[p + "mlp.down_proj.weight"].T + w[p + "mlp.down_proj.bias"]
    steps = h @ w["ts_encoder.projection_layer.weight"].T + w["ts_encoder.projection_layer.bias"]
    steps = steps.reshape(c, padded, -1)[:, :t]
    hidden = gelu(steps @ w["anomaly_head.0.weight"].T + w["anomaly_head.0.bias"])
    logits = hidden @ w["anomaly_head.3.weight"].T + w["anomaly_head.3.bias"]
    return logits[..., 1] - logits[..., 0]


@pytest.mark.parametrize(("channels", "rows", "width"), [(1, 64, 64), (1, 50, 128), (3, 40, 128)])
def test_equals_the_specification_read_line_by_line(channels, rows, width):
    weights = timercd_weights(joint=channels > 1, width=width)
    values = noise(channels, rows)
    there = np.ones(rows, np.float32)
    there[-18:] = 0

    logits, rebuilt = run(timercd_from_weights(weights, "here"), values[None], there[None])

    assert logits.shape == rebuilt.shape == (1, channels, rows)
    np.testing.assert_allclose(logits[0], plain_twin(weights, values, there), rtol=1e-4, atol=1e-4)


def test_masked_patches_at_the_end_change_nothing_for_one_channel():
    network = timercd_from_weights(timercd_weights(), "here")
    values = noise(1, 1, 96)
    there = np.ones((1, 96), np.float32)
    there[:, 64:] = 0

    np.testing.assert_allclose(run(network, values, there)[0][..., :64], run(network, values[..., :64])[0], atol=1e-5)


def test_rows_that_fill_no_patch_and_less_than_a_patch_have_a_result():
    network = timercd_from_weights(timercd_weights(), "here")

    assert [run(network, noise(1, 1, rows))[0].shape[2] for rows in (5, 16, 33)] == [5, 16, 33]


@pytest.mark.parametrize(("joint", "channels"), [(False, 3), (True, 1)])
def test_weights_for_one_channel_and_for_several_are_told_apart(joint, channels):
    network = timercd_from_weights(timercd_weights(joint=joint), "here")

    with pytest.raises(ConfigurationError, match=rf"{'more than one' if joint else '1'} channel.*has {channels}"):
        run(network, noise(1, channels, 32))


def test_a_missing_and_a_misshapen_tensor_are_named():
    weights = timercd_weights()
    lacking = {name: w for name, w in weights.items() if name != "ts_encoder.projection_layer.bias"}
    with pytest.raises(ConfigurationError, match=r"lack 'ts_encoder.projection_layer.bias'"):
        timercd_from_weights(lacking, "here")

    wrong = {**weights, "ts_encoder.projection_layer.bias": torch.zeros(7)}
    with pytest.raises(ConfigurationError, match=r"'ts_encoder.projection_layer.bias' of shape \(7,\)"):
        timercd_from_weights(wrong, "here")

    with pytest.raises(ConfigurationError, match="no Time-RCD checkpoint"):
        timercd_from_weights({"weight": torch.zeros(3)}, "here")
