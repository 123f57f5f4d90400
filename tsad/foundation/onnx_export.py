"""Export of the nano network to ONNX, in single precision and with 8-bit weights; needs the package `onnx`."""

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from tsad.foundation.nano import NanoNetwork

__all__ = ["export_nano"]

_AXES = {0: "windows", 1: "channels"}


class _Judge(nn.Module):
    """What is exported: logits and the rebuilt window."""

    def __init__(self, network: NanoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """See `NanoNetwork.forward`."""
        logits, rebuilt = self.network(values, valid)
        return logits, rebuilt


def export_nano(network: NanoNetwork, path: Path, *, int8: bool = False) -> None:
    """Write a graph: inputs `values` and `valid`, outputs `logits` and `rebuilt`, [windows, channels, t] each.

    Parameters
    ----------
    network
        In evaluation mode.
    path
        The file.
    int8
        Store and multiply weights in 8 bits, with activations quantised as they come.
    """
    example = torch.zeros(2, 3, network.config.window)
    names = ("values", "valid", "logits", "rebuilt")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The exporter's own notes on its successor and on constants of the trace.
        warnings.simplefilter("ignore")
        single = Path(folder) / "single.onnx" if int8 else path
        torch.onnx.export(
            _Judge(network), (example, torch.ones_like(example)), str(single), dynamo=False, opset_version=17,
            input_names=list(names[:2]), output_names=list(names[2:]), dynamic_axes=dict.fromkeys(names, _AXES),
        )  # fmt: skip
        if int8:
            # Only an export needs it, and it needs `onnx`.
            from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415

            quantize_dynamic(single, path, weight_type=QuantType.QInt8, per_channel=True)
