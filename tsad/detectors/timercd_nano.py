"""A small network that was trained on synthetic series and judges real ones without having seen them."""

from typing import ClassVar

from tsad.detectors.timercd_base import ChannelAggregate, WindowNetworkDetector
from tsad.foundation.runtime import Engine, nano_runner
from tsad.foundation.weights import SHIPPED

__all__ = ["TimercdNanoDetector"]


class TimercdNanoDetector(WindowNetworkDetector):
    """`timercd-nano`: labels every row relative to the window before it, with weights that come with the package.

    Nothing is learnt from the series: see `WindowNetworkDetector` for the causal and the full form.

    Source: the idea of X. Lan et al., "Time-RCD", arXiv 2509.21190; network, corpus and weights are this project's
    (docs/foundation-models.md).

    Parameters
    ----------
    scales
        Rows that are averaged into one step of a window; rising, the first one 1.
    stride
        Steps from window to window in mode full.
    hop
        In mode causal the network is asked at every `hop`-th row, and the answer stands until the next: 1 asks always.
    channel_aggregate
        ``evidence``: the log odds of every channel above their own 0.9 quantile (in training, or with hindsight in the
        recording), smoothly cut at nothing; the root of the sum of their squares counts. Or ``max``, ``top3``,
        ``mean``, ``root`` or ``norm`` of the probabilities of channels that move.
    weights
        ``timercd-nano``, or a .safetensors file that `tsad pretrain timercd` wrote.
    engine, device
        ``auto``, ``onnx``, ``onnx-int8`` or ``torch``, and torch's device.
    calibration_rows
        The newest rows of the prefix that `fit` scores.
    """

    name: ClassVar[str] = "timercd-nano"
    summary: ClassVar[str] = (
        "small network with shipped weights, judges series it never saw by their context (zero-shot)"
    )

    def __init__(
        self,
        *,
        scales: tuple[int, ...] = (1, 2, 4, 8, 16),
        stride: int = 128,
        hop: int = 1,
        channel_aggregate: ChannelAggregate = "evidence",
        weights: str = SHIPPED,
        engine: Engine = "auto",
        device: str = "auto",
        calibration_rows: int = 2000,
    ) -> None:
        runner, config = nano_runner(weights, engine, device)
        super().__init__(
            runner, window=config.window, longest_gap=config.patch, scales=scales, stride=stride, hop=hop,
            channel_aggregate=channel_aggregate, calibration_rows=calibration_rows,
        )  # fmt: skip
