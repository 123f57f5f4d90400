"""Time-RCD with released weights, which the user brings."""

import warnings
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.detectors.timercd_base import ChannelAggregate, WindowNetworkDetector
from tsad.errors import ConfigurationError
from tsad.foundation.runtime import TimercdRunner, timercd_runner
from tsad.foundation.scoring import bridged

__all__ = ["TimercdDetector"]

_LEAST_SPREAD = 1e-8


class TimercdDetector(WindowNetworkDetector):
    """`timercd`: the published 37 million parameter network, with weights from a folder or file of this machine.

    Mode full follows the published inference: every channel is scaled by the whole recording, windows of `window` rows
    stand side by side (``stride`` 0) or overlap, the last one is filled up with its last row and masked. Mode causal
    asks about windows of `causal_window` rows that end with the row, each scaled by itself.

    Source: X. Lan et al., "Time-RCD", arXiv 2509.21190.

    Parameters
    ----------
    weights
        A .safetensors file, a folder that holds one, or a hub id that was fetched to this machine before.
    window, stride
        Rows of a window in mode full, and from window to window; a stride of 0 is `window`, as published.
    causal_window, hop
        In mode causal: rows of a window, and rows from question to question.
    channel_aggregate
        See `timercd-nano`; ``mean`` is nearest to the published mean of logits.
    most_tokens
        Patches that attend to each other at once; with more, channels are taken in groups.
    device
        Of torch.
    calibration_rows
        The newest rows of the prefix that `fit` scores.
    """

    name: ClassVar[str] = "timercd"
    summary: ClassVar[str] = "published Time-RCD network with weights that the user brings (zero-shot)"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "foundation"

    def __init__(
        self,
        *,
        weights: str = "",
        window: int = 5000,
        stride: int = 0,
        causal_window: int = 512,
        hop: int = 1,
        channel_aggregate: ChannelAggregate = "mean",
        most_tokens: int = 2048,
        device: str = "auto",
        calibration_rows: int = 2000,
    ) -> None:
        if not weights:
            raise ConfigurationError(
                "timercd needs weights, which do not come with tsad: give weights=FILE_OR_FOLDER "
                "(docs/foundation-models.md), or use timercd-nano, which has its own"
            )
        runner = timercd_runner(weights, device, most_tokens)
        patch = runner.network.config.patch
        if window < 2 * patch:
            raise ConfigurationError(f"timercd: window is {window}; give at least {2 * patch}")
        if causal_window < 2 * patch or causal_window % patch:
            raise ConfigurationError(
                f"timercd: causal_window is {causal_window}; give a multiple of {patch}, at least {2 * patch}"
            )
        super().__init__(
            runner, window=causal_window, longest_gap=patch, scales=(1,), stride=stride or window, hop=hop,
            channel_aggregate=channel_aggregate, calibration_rows=calibration_rows,
        )  # fmt: skip
        self._timercd: TimercdRunner = runner
        self._full_window = window

    def _logits(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        t, c = values.shape
        if c > self._timercd.most_channels(min(self._full_window, t)):
            warnings.warn(
                f"timercd: {c} channels of {min(self._full_window, t)} rows are taken in groups; a smaller window or a "
                f"larger most_tokens keeps them together",
                stacklevel=3,
            )
        filled, valid = bridged(values, self._longest_gap)
        count = np.maximum(valid.sum(axis=1, keepdims=True), 1)
        centred = np.where(valid, filled - filled.sum(axis=1, keepdims=True) / count, 0.0)
        spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
        scaled = (centred / np.where(spread > 0, spread, _LEAST_SPREAD)).astype(np.float32)
        total, heard = np.zeros((c, t)), np.zeros(t)
        for start in range(0, max(1, t - self._full_window + self._stride), self._stride):
            cut = slice(start, min(start + self._full_window, t))
            missing = min(self._full_window, t) - (cut.stop - cut.start)
            window = np.pad(scaled[:, cut], ((0, 0), (0, missing)), mode="edge")
            there = np.pad(valid[:, cut].any(axis=0), (0, missing)).astype(np.float32)
            logits = self._timercd.logits(window[None], there[None])
            total[:, cut] += logits[0, :, : cut.stop - cut.start]
            heard[cut] += 1
        return np.where(valid, total / heard, np.nan).T
