"""What a network says of a whole recording: overlapping windows at several time scales, with hindsight."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tsad.foundation.runtime import Runner
from tsad.foundation.windows import block_means, normalise, window_starts

__all__ = ["bridged", "label_recording"]

_LEAST_BLOCKS = 32


def bridged(values: npt.NDArray[np.float32], longest: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Values by channel with short gaps filled by straight lines, and what is then valid, [c, t] each.

    Parameters
    ----------
    values
        float32[t, c], NaN where missing.
    longest
        Rows of a gap that is filled; longer ones stay invalid.

    Examples
    --------
    >>> filled, valid = bridged(np.float32([[0], [np.nan], [2], [np.nan], [np.nan]]), 1)
    >>> filled.tolist(), valid.tolist()
    ([[0.0, 1.0, 2.0, 0.0, 0.0]], [[True, True, True, False, False]])
    """
    t, c = values.shape
    filled, valid = np.zeros((c, t)), np.zeros((c, t), np.bool_)
    rows = np.arange(t)
    for channel in range(c):
        there = ~np.isnan(values[:, channel])
        if not there.any():
            continue
        known = np.flatnonzero(there)
        filled[channel] = np.interp(rows, known, values[known, channel].astype(np.float64))
        before = np.maximum.accumulate(np.where(there, rows, -1))
        after = np.minimum.accumulate(np.where(there, rows, t)[::-1])[::-1]
        # A gap at either end has one side only, and nothing to go towards.
        valid[channel] = there | ((before >= 0) & (after < t) & (after - before - 1 <= longest))
    return np.where(valid, filled, 0.0), valid


def label_recording(
    runner: Runner,
    values: npt.NDArray[np.float32],
    *,
    window: int,
    scales: Sequence[int],
    stride: int,
    longest_gap: int = 16,
    batch: int = 32,
) -> npt.NDArray[np.float64]:
    """Mean logit of every row and channel over all windows and scales that cover it, float64[t, c].

    Parameters
    ----------
    runner
        The network.
    values
        float32[t, c], NaN where missing.
    window
        Steps of the network's window.
    scales
        Rows that are averaged into one step; a series of fewer than 32 such steps is not looked at on that scale.
    stride
        Steps from window to window.
    longest_gap
        Rows of a gap that is bridged.
    batch
        Windows times channels that go through the network at once.

    Returns
    -------
    Log odds; NaN where a channel has no value.
    """
    t, c = values.shape
    filled, valid = bridged(values, longest_gap)
    total, spoken = np.zeros((c, t)), np.zeros((c, t))
    for scale in scales:
        if scale > 1 and t < _LEAST_BLOCKS * scale:
            continue
        steps, there = block_means(filled, valid, scale)
        logits, count = _label_steps(runner, steps, there, window, stride, max(1, batch // c))
        known = np.repeat((count > 0) & there, scale, axis=1)[:, -t:]
        mean = np.repeat(logits / np.maximum(count, 1), scale, axis=1)[:, -t:]
        total += np.where(known, mean, 0.0)
        spoken += known
    mean = total / np.maximum(spoken, 1)
    return np.where((spoken > 0) & valid, mean, np.nan).T


def _label_steps(
    runner: Runner, steps: npt.NDArray[np.float64], there: npt.NDArray[np.bool_], window: int, stride: int, batch: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sum of the logits of every step of one scale, and how many windows spoke, [c, steps] each."""
    t = steps.shape[1]
    missing = max(0, window - t)
    padded, present = np.pad(steps, ((0, 0), (missing, 0))), np.pad(there, ((0, 0), (missing, 0)))
    total, count = np.zeros(padded.shape), np.zeros(padded.shape, np.int64)
    starts = window_starts(padded.shape[1], window, stride)
    for first in range(0, len(starts), batch):
        chosen = starts[first : first + batch]
        cut = chosen[:, None] + np.arange(window)
        windows, inside = padded[:, cut].transpose(1, 0, 2), present[:, cut].transpose(1, 0, 2)
        scaled, _, _ = normalise(windows, inside)
        logits = runner(scaled, inside.astype(np.float32))[0].astype(np.float64)
        for one, start in zip(logits, chosen, strict=True):
            total[:, start : start + window] += one
            count[:, start : start + window] += 1
    return total[:, missing:], count[:, missing:]
