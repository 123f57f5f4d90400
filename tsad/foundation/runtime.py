"""Networks as plain functions of arrays, by ONNX Runtime or by torch."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tsad.devices import torch_device
from tsad.errors import ConfigurationError
from tsad.foundation.gpu_runtime import TOGETHER_ON_GPU, GraphedNano, has_tf32
from tsad.foundation.hub import local_weights
from tsad.foundation.nano import NanoConfig, NanoNetwork
from tsad.foundation.timercd import TimercdNetwork, timercd_from_weights
from tsad.foundation.weights import SHIPPED, load_nano, read_card, read_weights, weights_path

__all__ = [
    "ENGINES",
    "Engine",
    "OnnxNano",
    "Runner",
    "TimercdRunner",
    "TorchNano",
    "nano_runner",
    "timercd_runner",
    "torch_nano",
]

Engine = Literal["auto", "onnx", "onnx-int8", "torch", "cuda-graph", "cuda-graph-tf32"]
ENGINES = ("auto", "onnx", "onnx-int8", "torch", "cuda-graph", "cuda-graph-tf32")
Windows = npt.NDArray[np.float32]
_TOGETHER = 16


class Runner(Protocol):
    """A network that judges normalised windows, float32[b, c, t]."""

    @property
    def engine(self) -> str:
        """What runs it."""
        ...

    @property
    def together(self) -> int:
        """Channels that it is best asked about at once."""
        ...

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """Logits, and what the steps should have been, float32[b, c, t] each."""
        ...


@dataclass(frozen=True, slots=True)
class TorchNano:
    """The nano network by torch.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    device
        A torch device.
    """

    network: NanoNetwork
    device: str = "cpu"
    engine: str = "torch"

    @property
    def together(self) -> int:
        """See `Runner`."""
        return _together(self.device)

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """See `Runner`; on one thread, since a row costs less than waking others."""
        return _by_torch(self.network, values, valid, self.device)


def _together(device: str) -> int:
    return _TOGETHER if torch.device(device).type == "cpu" else TOGETHER_ON_GPU


def _by_torch(network: nn.Module, values: Windows, valid: Windows, device: str) -> tuple[Windows, Windows]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            logits, rebuilt = network(torch.from_numpy(values).to(device), torch.from_numpy(valid).to(device))
    finally:
        torch.set_num_threads(threads)
    return np.asarray(logits.cpu().numpy()), np.asarray(rebuilt.cpu().numpy())


@dataclass(frozen=True, slots=True)
class TimercdRunner:
    """The published network by torch; windows may hold more channels than it can take at once.

    Attributes
    ----------
    network
        In evaluation mode, on `device`.
    device
        A torch device.
    most_tokens
        Patches that attend to each other at once.
    """

    network: TimercdNetwork
    device: str = "cpu"
    most_tokens: int = 2048
    engine: str = "torch"

    @property
    def together(self) -> int:
        """See `Runner`; windows of 5,000 rows fill a processor by themselves."""
        return 1

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """See `Runner`; what asinh shortened is stretched again, which is how this network knows windows."""
        logits, rebuilt = self._run(np.sinh(values), valid.max(axis=1))
        return logits, np.arcsinh(rebuilt)

    def logits(self, values: Windows, there: Windows) -> Windows:
        """Logits of windows [b, c, t] of mean 0 and deviation 1, of which rows are there where `there` [b, t] is 1."""
        return self._run(values, there)[0]

    def most_channels(self, rows: int) -> int:
        """Channels of windows of so many rows that fit into one call."""
        return max(2, self.most_tokens // -(-rows // self.network.config.patch)) if self.network.config.joint else 1

    def _run(self, values: Windows, there: Windows) -> tuple[Windows, Windows]:
        c, rows = values.shape[1:]
        if self.network.config.joint and c == 1:
            raise ConfigurationError("these are multivariate weights, for more than one channel, but the series has 1")
        groups = np.array_split(np.arange(c), -(-c // self.most_channels(rows)))
        parts = [_by_torch(self.network, np.ascontiguousarray(values[:, g]), there, self.device) for g in groups]
        return np.concatenate([p[0] for p in parts], axis=1), np.concatenate([p[1] for p in parts], axis=1)


def timercd_runner(weights: str, device: str = "auto", most_tokens: int = 2048) -> TimercdRunner:
    """The published network with weights from a file, a folder or the hub's cache.

    Raises
    ------
    ConfigurationError
        Weights or device are not there, or the weights are of another model.
    """
    device = str(torch_device(device))
    path = local_weights(weights)
    network = timercd_from_weights(read_weights(path), str(path))
    return TimercdRunner(network.to(device).eval(), device, most_tokens)


@lru_cache(maxsize=8)
def _session(path: Path, changed: int) -> Any:  # noqa: ARG001 - a file that is written again is another one
    """Session of a graph, on one thread; detectors share it, since loading takes as long as a hundred windows."""
    # Slow to import, and nothing else needs it.
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxNano:
    """The nano network by ONNX Runtime, on one thread.

    Parameters
    ----------
    path
        What `tsad.foundation.onnx_export` wrote.
    """

    def __init__(self, path: Path) -> None:
        self.engine = f"onnx:{path.stem}"
        self.together = _TOGETHER
        self._session = _session(path, path.stat().st_mtime_ns)

    def __call__(self, values: Windows, valid: Windows) -> tuple[Windows, Windows]:
        """See `Runner`."""
        logits, rebuilt = self._session.run(None, {"values": values, "valid": valid})
        return logits, rebuilt


def torch_nano(network: NanoNetwork, device: str = "cpu") -> TorchNano:
    """The network by torch, moved to a device.

    Raises
    ------
    ConfigurationError
        The device is not there.
    """
    device = str(torch_device(device))
    return TorchNano(network.to(device).eval(), device)


def nano_runner(weights: str | Path = SHIPPED, engine: str = "auto", device: str = "auto") -> tuple[Runner, NanoConfig]:
    """The nano network, ready to run, and its shape.

    ``auto`` takes ONNX Runtime where it is installed, a graph lies beside the weights and the device is the CPU; it is
    the quicker one for single windows. On a GPU it takes CUDA graphs with TF32, and otherwise torch as it is. The
    runner's `engine` says which it became; an engine that is named and cannot run is an error.

    Parameters
    ----------
    weights
        ``timercd-nano``, or a .safetensors file of `tsad pretrain`.
    engine
        ``auto``, ``onnx``, ``onnx-int8``, ``torch``, or on a GPU ``cuda-graph`` (float32) or ``cuda-graph-tf32``.
    device
        Of torch; ``auto`` takes a GPU where there is one and the engine may be torch.

    Raises
    ------
    ConfigurationError
        Weights, graph, package or device are not there.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"engine is {engine!r}; choose {', '.join(ENGINES)}")
    path = weights_path(weights)
    graph = path.with_name(f"{path.stem}{'-int8' if engine == 'onnx-int8' else ''}.onnx")
    wanted = engine.startswith("onnx")
    there = find_spec("onnxruntime") is not None and graph.is_file()
    if wanted and device not in ("auto", "cpu"):
        raise ConfigurationError(f"engine {engine} runs on the CPU, but device is {device!r}; choose engine torch")
    graphs = engine.startswith("cuda-graph")
    device = "cpu" if wanted else str(torch_device("cuda" if graphs and device == "auto" else device))
    if graphs and torch.device(device).type != "cuda":
        raise ConfigurationError(
            f"engine {engine} runs on a GPU, but device is {device!r}; choose engine auto or torch"
        )
    if wanted and not there:
        lacks = f"the graph {graph}" if find_spec("onnxruntime") is not None else "the package onnxruntime"
        raise ConfigurationError(
            f"engine {engine} needs {lacks}, which is not there; choose engine torch, or export it"
        )
    if wanted or (engine == "auto" and there and device == "cpu"):
        return OnnxNano(graph), NanoConfig.of(read_card(path)["network"])
    network, _ = load_nano(weights)
    if graphs or (engine == "auto" and torch.device(device).type == "cuda"):
        tf32 = engine != "cuda-graph" and has_tf32(device)
        if engine == "cuda-graph-tf32" and not tf32:
            raise ConfigurationError(f"engine {engine} needs a GPU that has TF32; choose engine auto or cuda-graph")
        return GraphedNano(network, device, tf32=tf32), network.config
    return torch_nano(network, device), network.config
