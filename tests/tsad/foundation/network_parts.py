"""Small checkpoints with the layouts of the real ones."""

import torch

from tsad.foundation.timercd import TimercdConfig, TimercdNetwork


def timercd_weights(*, joint=False, width=64, layers=2, seed=0):
    """Tensors named as in a released Time-RCD checkpoint, rotary table included; random, but no two alike."""
    heads = max(1, width // 64)
    network = TimercdNetwork(TimercdConfig(joint, 16, width, layers, heads, 32))
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name: 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in network.state_dict().items()
    }
    weights["ts_encoder.rope_embedder.inv_freq"] = 1 / 10_000 ** (torch.arange(0, width, 2) / width)
    return weights
