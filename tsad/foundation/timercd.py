"""The full Time-RCD network, so that its released weights load; ours for the same task is `tsad.foundation.nano`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsad.errors import ConfigurationError
from tsad.foundation.weights import fill

__all__ = ["TimercdConfig", "TimercdNetwork", "timercd_from_weights"]

_ROTARY_BASE = 10_000.0
_NORM_FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class TimercdConfig:
    """Shape of the network; the defaults are those of the released weights.

    Attributes
    ----------
    joint
        Whether it is a multivariate model, with a learned attention bias for patches of the same and of other channels.
    patch, width, layers, heads, features
        Steps a token; sizes of tokens, stack and attention; numbers a step that the heads read.
    """

    joint: bool = False
    patch: int = 16
    width: int = 512
    layers: int = 8
    heads: int = 8
    features: int = 256


class _RootMeanSquareNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Divide tokens by their root mean square."""
        return self.scale * x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _NORM_FLOOR)


class _ChannelBias(nn.Module):
    """One number a head for patches of different channels (row 0), one for patches of the same (row 1)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.emd = nn.Embedding(2, heads)


class _Attention(nn.Module):
    def __init__(self, config: TimercdConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width, bias=False) for _ in range(4))
        if config.joint:
            self.binary_attention_bias = _ChannelBias(config.heads)

    def forward(self, x: Tensor, angles: Tensor, there: Tensor, channel: Tensor) -> Tensor:
        """Attend over tokens [b, l, width]; `there` bool[b, l] are the keys, `channel` int64[l] whose they are."""
        b, l, width = x.shape
        q, k = _turned(self.q_proj(x), angles), _turned(self.k_proj(x), angles)
        q, k, v = (y.reshape(b, l, self.heads, -1).transpose(1, 2) for y in (q, k, self.v_proj(x)))
        bias = torch.zeros(b, 1, 1, l, dtype=x.dtype, device=x.device).masked_fill(~there[:, None, None], -math.inf)
        if hasattr(self, "binary_attention_bias"):
            same = (channel[:, None] == channel[None, :]).long()
            bias = bias + self.binary_attention_bias.emd(same).permute(2, 0, 1)
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out_proj(attended.transpose(1, 2).reshape(b, l, width))  # type: ignore[no-any-return]


def _turned(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the interleaved pairs (0, 1), (2, 3), … of the whole width, before it is split into heads."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cosines, sines = angles.cos(), angles.sin()
    return torch.stack([even * cosines - odd * sines, even * sines + odd * cosines], dim=-1).flatten(-2)


class _Gated(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, 4 * width), nn.Linear(width, 4 * width)
        self.down_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Gated perceptron."""
        return self.down_proj(functional.gelu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, config: TimercdConfig) -> None:
        super().__init__()
        self.input_norm, self.output_norm = _RootMeanSquareNorm(config.width), _RootMeanSquareNorm(config.width)
        self.self_attn = _Attention(config)
        self.mlp = _Gated(config.width)

    def forward(self, x: Tensor, angles: Tensor, there: Tensor, channel: Tensor) -> Tensor:
        """One pre-norm layer."""
        x = x + self.self_attn(self.input_norm(x), angles, there, channel)
        return x + self.mlp(self.output_norm(x))  # type: ignore[no-any-return]


class _Stack(nn.Module):
    def __init__(self, config: TimercdConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))


class _Encoder(nn.Module):
    def __init__(self, config: TimercdConfig) -> None:
        super().__init__()
        self.embedding_layer = nn.Linear(config.patch, config.width)
        self.transformer_encoder = _Stack(config)
        self.projection_layer = nn.Linear(config.width, config.patch * config.features)


class TimercdNetwork(nn.Module):
    """Time-RCD: a bidirectional transformer over the patches of all channels, with a label a step.

    Names of modules are those of released checkpoints. Dropout, which only training uses, is left out: positions in the
    heads stand for it.

    Source: X. Lan et al., "Time-RCD", arXiv 2509.21190, as specified in docs/foundation-models.md.

    Parameters
    ----------
    config
        Its shape.
    """

    def __init__(self, config: TimercdConfig) -> None:
        super().__init__()
        self.config = config
        self.ts_encoder = _Encoder(config)
        features = config.features
        self.reconstruction_head = nn.Sequential(
            nn.Linear(features, 4 * features), nn.GELU(), nn.Identity(),
            nn.Linear(4 * features, 4 * features), nn.GELU(), nn.Identity(), nn.Linear(4 * features, 1),
        )  # fmt: skip
        self.anomaly_head = nn.Sequential(
            nn.Linear(features, features // 2), nn.GELU(), nn.Identity(), nn.Linear(features // 2, 2)
        )

    def forward(self, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Logit differences (anomalous less normal) of every channel, and the rebuilt values.

        The published score is the logistic of the mean of these differences over channels.

        Parameters
        ----------
        values
            float32[b, c, t], scaled to mean 0 and deviation 1.
        valid
            float32[b, t], 1 where the rows are there; patches without such rows are no keys of attention.

        Returns
        -------
        float32[b, c, t] each.
        """
        b, c, t = values.shape
        if self.config.joint != (c > 1):
            kind, wanted = (
                ("multivariate", "more than one channel") if self.config.joint else ("univariate", "1 channel")
            )
            raise ConfigurationError(f"these are {kind} weights, for {wanted}, but the series has {c}")
        patch, config = self.config.patch, self.config
        missing = -t % patch
        patches = functional.pad(values, (0, missing)).reshape(b, -1, patch)
        length = patches.shape[1]
        there = (functional.pad(valid, (0, missing)).reshape(b, -1, patch).sum(dim=-1) > 0).repeat(1, c)
        channel = torch.arange(c, device=values.device).repeat_interleave(length // c)
        pairs = torch.arange(0, config.width, 2, dtype=torch.float32, device=values.device) / config.width
        # Positions run over all channels one after the other, so that channels share none.
        angles = torch.arange(length, device=values.device)[:, None] / _ROTARY_BASE**pairs
        x = self.ts_encoder.embedding_layer(patches)
        for layer in self.ts_encoder.transformer_encoder.layers:
            x = layer(x, angles, there, channel)
        steps = self.ts_encoder.projection_layer(x).reshape(b, c, -1, config.features)[:, :, :t]
        logits = self.anomaly_head(steps)
        return logits[..., 1] - logits[..., 0], self.reconstruction_head(steps).squeeze(-1)


def timercd_from_weights(weights: Mapping[str, Tensor], where: str) -> TimercdNetwork:
    """The network that tensors with the names of a released checkpoint belong to; its shape is read off them.

    Parameters
    ----------
    weights
        Tensors by name; a prefix ``module.`` of distributed training and the table of rotary frequencies are left away.
    where
        How messages call them.

    Raises
    ------
    ConfigurationError
        They are not of this model; the message names the tensor.
    """
    own = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    own.pop("ts_encoder.rope_embedder.inv_freq", None)
    try:
        width, patch = own["ts_encoder.embedding_layer.weight"].shape
        features = own["anomaly_head.0.weight"].shape[1]
    except (KeyError, ValueError) as error:
        raise ConfigurationError(f"the weights of {where} are no Time-RCD checkpoint: they lack {error}") from error
    prefix, table = "ts_encoder.transformer_encoder.layers.", "self_attn.binary_attention_bias.emd.weight"
    layers = {int(name.removeprefix(prefix).split(".")[0]) for name in own if name.startswith(prefix)}
    # Heads have 64 numbers each, as published; a table of biases tells their number outright.
    heads = own[f"{prefix}0.{table}"].shape[1] if f"{prefix}0.{table}" in own else max(1, width // 64)
    config = TimercdConfig(f"{prefix}0.{table}" in own, patch, width, len(layers), heads, features)
    # First weights are drawn and thrown away; torch's own random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        network = TimercdNetwork(config)
    fill(network, own, where)
    return network.eval()
