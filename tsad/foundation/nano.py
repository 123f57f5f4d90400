"""The network of `timercd-nano`: patches of a window, attention over time and over channels, a label a step."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["NanoConfig", "NanoNetwork"]

_FEATURES = 3  # value, difference, whether there is a value
_BLOCKED = -1e4


@dataclass(frozen=True, slots=True)
class NanoConfig:
    """Shape of the network.

    Attributes
    ----------
    window, patch
        Steps of its input, and of one token.
    width, layers, heads, hidden
        Of the tokens, of the stack, of attention, and of the gated part in multiples of the width.
    joint
        Layers after which channels attend to each other at the same patch.
    rotary_base
        Wave length of the slowest rotary pair, in patches, over 2 pi.
    """

    window: int = 512
    patch: int = 16
    width: int = 96
    layers: int = 4
    heads: int = 4
    hidden: int = 4
    joint: tuple[int, ...] = (2, 4)
    rotary_base: float = 1000.0

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "NanoConfig":
        """The configuration that was written as JSON."""
        return cls(**{**stored, "joint": tuple(stored["joint"])})

    def json(self) -> dict[str, Any]:
        """The configuration as JSON writes it."""
        return {**asdict(self), "joint": list(self.joint)}


class _Attention(nn.Module):
    """Attention of tokens [n, l, width] with an additive bias; rotary positions if there are any."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, x: Tensor, bias: Tensor | None, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """Attend; `bias` broadcasts to [n, heads, l, l]."""
        n, l, width = x.shape
        q, k, v = self.qkv(x).reshape(n, l, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if rotary is not None:
            q, k = _turned(q, *rotary), _turned(k, *rotary)
        weights = q @ k.transpose(-1, -2) / math.sqrt(width // self.heads)
        if bias is not None:
            weights = weights + bias
        attended = weights.softmax(dim=-1) @ v
        return self.out(attended.transpose(1, 2).reshape(n, l, width))  # type: ignore[no-any-return]


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cosines + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sines


class _Block(nn.Module):
    """Pre-norm attention, then a pre-norm two-layer perceptron."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.before_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden * width), nn.GELU(), nn.Linear(hidden * width, width))

    def forward(self, x: Tensor, bias: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        """One layer over tokens [n, l, width]."""
        x = x + self.attention(self.before_attention(x), bias, rotary)
        return x + self.perceptron(self.before_perceptron(x))  # type: ignore[no-any-return]


class NanoNetwork(nn.Module):
    """Labels the steps of windows, each relative to the rest of its window; see docs/foundation-models.md.

    Source: the idea (relative context discrepancy) of X. Lan et al., arXiv 2509.21190; shape and inputs are ours.

    Parameters
    ----------
    config
        Its shape.
    """

    def __init__(self, config: NanoConfig) -> None:
        super().__init__()
        self.config = config
        width, patch = config.width, config.patch
        self.embed = nn.Sequential(nn.Linear(_FEATURES * patch, width), nn.GELU(), nn.Linear(width, width))
        self.embed_directly = nn.Linear(_FEATURES * patch, width)
        self.hidden_patch = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(_Block(width, config.heads, config.hidden) for _ in range(config.layers))
        self.before_joint = nn.ModuleList(nn.LayerNorm(width) for _ in config.joint)
        self.joint = nn.ModuleList(_Attention(width, config.heads) for _ in config.joint)
        self.last = nn.LayerNorm(width)
        self.label = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, patch))
        self.rebuild = nn.Linear(width, patch)
        tokens, half = config.window // patch, width // config.heads // 2
        angles = torch.arange(tokens)[:, None] * config.rotary_base ** (-torch.arange(half) / half)
        self.register_buffer("cosines", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sines", angles.sin().repeat(1, 2), persistent=False)
        nn.init.constant_(self.label[-1].bias, -3.0)  # type: ignore[arg-type]

    def tokens(self, values: Tensor, valid: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Encode windows: one vector a patch and channel, [b, c, window / patch, width].

        Parameters
        ----------
        values
            float32[b, c, window], normalised, 0 where not valid.
        valid
            float32[b, c, window], 1 where there is a value.
        hidden
            bool[b, c, window / patch]: patches whose values the network must not see.
        """
        b, c, t = values.shape
        patch = self.config.patch
        before = torch.cat([values[..., :1], values[..., :-1]], dim=-1)
        there_before = torch.cat([valid[..., :1], valid[..., :-1]], dim=-1)
        differences = 3 * (values - before) * valid * there_before
        features = torch.cat([x.reshape(b * c, t // patch, patch) for x in (values, differences, valid)], dim=-1)
        x = self.embed(features) + self.embed_directly(features)
        there = valid.reshape(b * c, t // patch, patch).amax(dim=-1)
        if hidden is not None:
            x = torch.where(hidden.reshape(b * c, -1, 1), self.hidden_patch.to(x.dtype), x)
        bias = ((1 - there) * _BLOCKED)[:, None, None, :]
        rotary = (self.cosines, self.sines)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, bias, rotary)
            if number in self.config.joint and (c > 1 or torch.onnx.is_in_onnx_export()):
                x = x + self._joined(x, there, b, c, self.config.joint.index(number))
        tokens: Tensor = x.reshape(b, c, t // patch, -1)
        return tokens

    def _joined(self, x: Tensor, there: Tensor, b: int, c: int, at: int) -> Tensor:
        """Let the channels of each patch attend to each other."""
        p = x.shape[1]
        bias = ((1 - there) * _BLOCKED).reshape(b, c, p).transpose(1, 2).reshape(b * p, 1, 1, c)
        across = self.before_joint[at](x).reshape(b, c, p, -1).transpose(1, 2).reshape(b * p, c, -1)
        joined = self.joint[at](across, bias, None).reshape(b, p, c, -1).transpose(1, 2).reshape(b * c, p, -1)
        # An exported graph serves any number of channels: one alone gets nothing from here, as above.
        several = (across[:1, :, 0] * 0 + 1).sum().clamp(max=2) - 1
        gained: Tensor = joined * several
        return gained

    def forward(self, values: Tensor, valid: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits that a step is anomalous, and what it should have been, each [b, c, window]; see `tokens`."""
        x = self.last(self.tokens(values, valid, hidden))
        return self.label(x).reshape(values.shape), self.rebuild(x).reshape(values.shape)
