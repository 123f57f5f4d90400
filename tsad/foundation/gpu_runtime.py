"""The nano network on a GPU as CUDA graphs: one launch a call instead of hundreds."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tsad.foundation.nano import NanoNetwork

__all__ = ["TOGETHER_ON_GPU", "GraphedNano", "has_tf32", "padded_windows"]

TOGETHER_ON_GPU = 512
_SIZES = (1, 4, 16, 64, 256, 512, 1024)
"""Windows that graphs take; the last is also the most windows times channels, and more of them take several replays."""
_KEPT = 32
"""Graphs that are kept; the one that was not used for longest goes first."""
_WARM_UP = 3
_TF32_CAPABILITY = 8
Windows = npt.NDArray[np.float32]


def padded_windows(windows: int, channels: int) -> int:
    """Windows of the graph that takes so many, or as many as the largest graph holds.

    Examples
    --------
    >>> padded_windows(1, 1), padded_windows(17, 1), padded_windows(2000, 1), padded_windows(30, 38)
    (1, 64, 1024, 26)
    """
    enough = next((size for size in _SIZES if size >= windows), _SIZES[-1])
    return min(enough, max(1, _SIZES[-1] // channels))


def has_tf32(device: str) -> bool:
    """Whether a CUDA device multiplies in TF32: from compute capability 8 on."""
    return torch.cuda.get_device_capability(torch.device(device))[0] >= _TF32_CAPABILITY


class _Graph:
    """The network for one shape of batch: pinned memory there, the network, pinned memory back, as one launch."""

    def __init__(self, network: nn.Module, shape: tuple[int, int, int], device: torch.device, pool: Any) -> None:
        self.sent = torch.zeros(2, *shape, pin_memory=True)
        self.said = torch.zeros(2, *shape, pin_memory=True)
        inputs = torch.zeros(2, *shape, device=device)

        def run() -> None:
            inputs.copy_(self.sent, non_blocking=True)
            logits, rebuilt = network(inputs[0], inputs[1])
            self.said[0].copy_(logits, non_blocking=True)
            self.said[1].copy_(rebuilt, non_blocking=True)

        # Libraries set themselves up at the first calls, which no graph may hold.
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self.stream):
            for _ in range(_WARM_UP):
                run()
        self.stream.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile, a training of another detector for instance.
        with torch.cuda.graph(self.graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
            run()
        self._inputs = inputs

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """Judge as many windows as there are; what is left from before in the rest of the batch touches nobody."""
        n = len(values)
        self.sent[0, :n] = torch.from_numpy(values)
        self.sent[1, :n] = torch.from_numpy(valid)
        with torch.cuda.stream(self.stream):
            self.graph.replay()
        self.stream.synchronize()
        return self.said[0, :n].numpy().copy(), self.said[1, :n].numpy().copy()


class GraphedNano:
    """The nano network as CUDA graphs, one for each shape of batch, captured when it is first asked for.

    Batches are padded to a few sizes, so that a handful of graphs serves a stream. Calls from several threads take
    turns. Scores (probabilities) differ from those of a CPU by at most 1e-4, with TF32 by at most 2e-3.

    Parameters
    ----------
    network
        In evaluation mode; moved to the device.
    device
        A CUDA device.
    tf32
        Multiply in TF32, with 10 bits of mantissa; everything else stays in float32. bfloat16 was no quicker and
        sixteen times as far off.
    """

    def __init__(self, network: NanoNetwork, device: str, *, tf32: bool) -> None:
        self.engine = f"torch:cuda-graph{'-tf32' if tf32 else ''}"
        self.together = TOGETHER_ON_GPU
        self._device, self._tf32 = torch.device(device), tf32
        self._network = network.to(self._device).eval()
        with torch.cuda.device(self._device):
            self._pool = torch.cuda.graph_pool_handle()
        self._graphs: OrderedDict[tuple[int, int, int], _Graph] = OrderedDict()
        self._turn = threading.Lock()

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """See `tsad.foundation.runtime.Runner`."""
        windows, channels, steps = values.shape
        size = padded_windows(windows, channels)
        with self._turn, torch.cuda.device(self._device), torch.inference_mode():
            graph = self._graph((size, channels, steps))
            parts = [graph(values[a : a + size], valid[a : a + size]) for a in range(0, windows, size)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _graph(self, shape: tuple[int, int, int]) -> _Graph:
        if shape not in self._graphs:
            with _products(tf32=self._tf32):
                self._graphs[shape] = _Graph(self._network, shape, self._device, self._pool)
            if len(self._graphs) > _KEPT:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(shape)
        return self._graphs[shape]


@contextmanager
def _products(*, tf32: bool) -> Iterator[None]:
    """How matrices are multiplied by what is captured meanwhile; a graph keeps it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
