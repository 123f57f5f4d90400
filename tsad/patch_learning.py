"""What `tsad.detectors.patchbank` learns from a training part: its windows, and what their scores are measured by."""

import numpy as np
import numpy.typing as npt

from tsad.kernels.patchbank_rows import BRIDGED_STEPS
from tsad.patch_scaling import PatchScaling
from tsad.scaling import held_at_last

__all__ = [
    "channel_usual",
    "covering",
    "described_choices",
    "found_breaks",
    "good_windows",
    "scaled_bank",
    "settled_scores",
    "usual_score",
    "window_means",
]

_QUANTILE = 0.99
_LEAST_CHANNEL_SHARE = 0.25
_LEAST_USUAL = 1e-6
_LEAST_USUAL_SHARE = 1e-3


def described_choices(
    rows: int, widths: npt.NDArray[np.int64], scaling: PatchScaling, period: int, longest: int, clustered: int
) -> tuple[str, ...]:
    """What a training part led to, in words; windows of `clustered` rows, if not 0, are compared with typical ones."""
    text = ", ".join(str(width) for width in np.unique(widths))
    why = "" if rows > 3 * longest else f", some shortened because the training part has only {rows} rows"
    said = [f"windows of {text} rows{why}"]
    if len(scaling.state) > 1:
        said.append(
            "channels share a unit, so that one which hardly moves counts little"
            if scaling.shared
            else "channels have units of their own: each is measured by its own deviation"
        )
    states = int(scaling.state.sum())
    if states and states < len(scaling.state):
        said.append(f"{states} of {len(scaling.state)} channels hold only 0 and 1 and count a twentieth")
    if clustered:
        said.append(
            f"several channels move: the shape of windows of {clustered} rows is compared with typical ones too"
        )
    if period:
        said.append(
            f"channels share a period of {period} rows: windows are compared at the same phase, channel by channel"
        )
    return tuple(said)


def found_breaks(times: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether more time is missing before a row than windows go on over."""
    found = np.zeros(len(times), np.bool_)
    if len(times) > 1:
        steps = np.diff(times)
        found[1:] = steps > BRIDGED_STEPS * np.median(steps)
    return found


def scaled_bank(
    values: npt.NDArray[np.float32],
    location: npt.NDArray[np.float64],
    factor: npt.NDArray[np.float64],
    breaks: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Rows as the bank keeps them, float32[t, c]: a missing value stands at the last one since the last break."""
    scaled = np.clip((values.astype(np.float64) - location) * factor, -1e4, 1e4)
    return held_at_last(scaled, breaks)


def window_means(bank: npt.NDArray[np.float32], width: int) -> npt.NDArray[np.float32]:
    """Mean of the window that ends at each row, float32[t, c]; summed from the newest row, as the stream does."""
    total = np.zeros(bank.shape)
    for a in range(width):
        total[a:] += bank[: len(bank) - a]
    return np.asarray(total / width, dtype=np.float32)


def good_windows(values: npt.NDArray[np.float32], breaks: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Whether the window that ends at each row is whole, and at least half of its values are there."""
    rows = np.arange(len(values))
    run = rows - np.maximum.accumulate(np.where(breaks, rows, 0)) + 1
    missing = np.concatenate([[0], np.cumsum(np.isnan(values).sum(axis=1))])
    inside = missing[1:] - missing[np.maximum(rows + 1 - width, 0)]
    return np.asarray((run >= width) & (2 * inside <= width * values.shape[1]), dtype=np.bool_)


def covering(rows: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Whether the window of `width` rows that ends at each row covers one of `rows`."""
    total = np.concatenate([[0], np.cumsum(rows)])
    ends = np.arange(len(rows)) + 1
    return np.asarray(total[ends] > total[np.maximum(ends - width, 0)], dtype=np.bool_)


def usual_score(scores: npt.NDArray[np.float64], size: float) -> float:
    """The 0.99 quantile of scores in training, with a floor for a training part that repeats itself exactly."""
    known = scores[~np.isnan(scores)]
    quantile = float(np.quantile(known, _QUANTILE)) if known.size else 0.0
    return max(quantile, _LEAST_USUAL, _LEAST_USUAL_SHARE * size)


def channel_usual(parts: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each channel's part is divided by, float64[c]: its own usual, state channels counting by their weight."""
    known = parts[~np.isnan(parts).any(axis=1)]
    usual = np.quantile(known, _QUANTILE, axis=0) if len(known) else np.zeros(parts.shape[1])
    positive = usual[usual > 0]
    floor = _LEAST_CHANNEL_SHARE * float(np.median(positive)) if positive.size else 1.0
    return np.asarray(np.maximum(usual, floor) / weight)


def settled_scores(windows: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """Mean over the windows (by their last row) that cover each row, float64[t]; NaN where none does."""
    known = ~np.isnan(windows)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, windows, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first = np.arange(len(windows))
    last = np.minimum(first + width, len(windows))
    count = counts[last] - counts[first]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(count > 0, (sums[last] - sums[first]) / count, np.nan))
