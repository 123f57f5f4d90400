"""`themis` with hindsight: overlapping windows of one channel, their vectors, and one score a row."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from tsad.detectors.themis_adapters import unit_rows
from tsad.detectors.themis_bank import AXES, learn_bank
from tsad.foundation.encoders import EmbeddingCache, Encoder, embed_windows
from tsad.foundation.windows import block_means, window_starts

__all__ = ["WINDOW_SCORES", "ChannelWindows", "WindowScores", "by_adapter", "by_bank", "cut_windows", "tail_scores"]

WindowScores = Literal["calibrated", "rank"]
WINDOW_SCORES = ("calibrated", "rank")
_QUANTILE = 0.99
_LEAST_USUAL = 1e-6
_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class ChannelWindows:
    """The vectors of all windows of one channel.

    Attributes
    ----------
    vectors
        float32[n, P, d], NaN where there is nothing to look at: in windows of which more than half is missing or that
        are constant, and near the cut ends of a window, which look different because they are ends.
    first
        int64[n, P], step of the recording that each vector begins with; negative for padding.
    constant
        bool[n], windows in which nothing moves.
    patch, scale, steps, rows
        Steps a vector, rows a step, and how many steps and rows there are.
    """

    vectors: npt.NDArray[np.float32]
    first: npt.NDArray[np.int64]
    constant: npt.NDArray[np.bool_]
    patch: int
    scale: int
    steps: int
    rows: int

    def spread(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Mean of the scores [n, P] of all vectors over each row, float64[rows]; NaN where none speaks."""
        total, count = np.zeros(self.steps), np.zeros(self.steps)
        for offset in range(self.patch):
            at = self.first + offset
            said = ~np.isnan(scores) & (at >= 0)
            np.add.at(total, at[said], scores[said])
            np.add.at(count, at[said], 1)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.repeat(mean, self.scale)[-self.rows :]


def cut_windows(
    values: npt.NDArray[np.float64],
    encoder: Encoder,
    cache: EmbeddingCache,
    *,
    window: int,
    stride: int,
    margin: int,
    scale: int,
) -> ChannelWindows:
    """Embed one channel.

    Parameters
    ----------
    values
        float64[t], scaled, NaN where missing.
    encoder, cache
        What makes vectors of windows, and what it made before.
    window, stride
        Steps of a window, and from window to window. A shorter recording is one window.
    margin
        Steps that are not looked at near either end of a window, but for the ends of the recording.
    scale
        Rows that are averaged into one step.
    """
    rows = len(values)
    steps, there = block_means(np.nan_to_num(values)[None], ~np.isnan(values)[None], scale)
    line = np.where(there, steps, np.nan)[0].astype(np.float32)
    t = len(line)
    window = min(window, t)
    starts = window_starts(t, window, min(stride, window))
    windows = line[starts[:, None] + np.arange(window)]
    known = ~np.isnan(windows)
    empty = 2 * known.sum(axis=1) < window
    if empty.any():
        warnings.warn(
            f"themis: {int(empty.sum())} of {len(windows)} windows have no score, since more than half of each is "
            f"missing",
            stacklevel=4,
        )
    low = np.where(known, windows, np.inf).min(axis=1)
    constant = ~empty & (low == np.where(known, windows, -np.inf).max(axis=1))
    patches = -(-window // encoder.patch)
    vectors = np.full((len(windows), patches, encoder.width), np.nan, np.float32)
    looked = ~empty & ~constant
    vectors[looked] = embed_windows(encoder, windows[looked], cache)
    inside = window - encoder.patch * (patches - np.arange(patches))
    # A window without its edges must still hold something.
    edge = min(-(-margin // encoder.patch), (patches - 1) // 2)
    if edge:
        vectors[starts > 0, :edge] = np.nan
        vectors[starts + window < t, -edge:] = np.nan
    return ChannelWindows(vectors, starts[:, None] + inside, constant, encoder.patch, scale, t, rows)


def by_adapter(
    cut: ChannelWindows,
    adapter: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float64]],
    how: WindowScores,
    train_rows: int,
) -> npt.NDArray[np.float64]:
    """Scores of the vectors of each window by those beside them, float64[n, P].

    Raw scores of two windows do not compare. ``rank`` takes each one's rank within its window, in (0, 1];
    ``calibrated`` takes -log10 of the share of scores that are at least as large, among all of the training part, or of
    the recording where there is none. Constant windows get 0.
    """
    found = np.full(cut.vectors.shape[:2], np.nan)
    for number, vectors in enumerate(cut.vectors):
        known = ~np.isnan(vectors).any(axis=1)
        if known.any():
            found[number, known] = adapter(vectors[known])
            if how == "rank":
                said = known & ~np.isnan(found[number])
                found[number, said] = rankdata(found[number, said]) / max(int(said.sum()), 1)
    if how == "calibrated":
        known = ~np.isnan(found)
        usual = np.asarray(known & _of_training(cut, train_rows))
        found = tail_scores(found, found[usual if usual.any() else known])
    found[cut.constant] = 0.0
    return found


def by_bank(
    cut: ChannelWindows, *, memory: int, neighbours: int, window: int, train_rows: int
) -> npt.NDArray[np.float64]:
    """Scores of all vectors by a bank of those of the training part, or of the whole recording, float64[n, P].

    Two distances, to the nearest others and Mahalanobis', each in units of its 0.99 quantile over the bank's part;
    their mean counts, as a tail probability over the bank's part. A vector is not compared with those of windows that
    share rows with it, in a short recording with those of the quarter around it.
    """
    found = np.full(cut.vectors.shape[:2], np.nan)
    found[cut.constant] = 0.0
    unit = unit_rows(cut.vectors).astype(np.float32)
    known = np.asarray(~np.isnan(unit).any(axis=-1))
    usual = np.asarray(known & _of_training(cut, train_rows))
    if usual.sum() <= neighbours:
        usual = known
    if not usual.any():
        return found
    bank = learn_bank(unit[usual], np.zeros(int(usual.sum()), np.float32), memory)
    kept = np.unique(np.linspace(0, usual.sum() - 1, len(bank.vectors)).round().astype(np.int64))
    places = cut.first[usual][kept]
    apart = min(window, cut.steps // 4)
    asked, where = unit[known], cut.first[known]
    distances = np.empty((len(asked), 2))
    for first in range(0, len(asked), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        squares = np.maximum(2 - 2 * (asked[chunk] @ bank.vectors.T), 0.0)
        squares[np.abs(where[chunk, None] - places) < apart] = np.inf
        k = min(neighbours, squares.shape[1])
        nearest = np.sqrt(np.partition(squares, k - 1, axis=1)[:, :k])
        some = np.isfinite(nearest)
        distances[chunk, 0] = np.where(some, nearest, 0.0).sum(axis=1) / np.maximum(some.sum(axis=1), 1)
        centred = asked[chunk] - bank.mean
        along = (centred @ bank.axes.T) ** 2
        across = np.maximum((centred**2).sum(axis=1) - along.sum(axis=1), 0.0)
        distances[chunk, 1] = np.sqrt(along @ bank.weights[:AXES] + across * bank.weights[AXES])
    own = usual[known]
    units = np.maximum(np.quantile(distances[own], _QUANTILE, axis=0), _LEAST_USUAL)
    ratios = (distances / units).mean(axis=1)
    found[known] = tail_scores(ratios, ratios[own])
    return found


def tail_scores(found: npt.NDArray[np.float64], usual: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """-log10 of the share of `usual` that is at least as large; beyond them all it grows by log10 of the distance.

    Examples
    --------
    >>> tail_scores(np.array([0.0, 9.0, 90.0, np.nan]), np.arange(1.0, 10)).round(2).tolist()
    [0.0, 0.7, 2.0, nan]
    """
    if not len(usual):
        return np.full(found.shape, np.nan)
    ordered = np.sort(usual)
    at_least = len(ordered) - np.searchsorted(ordered, found, side="left")
    beyond = np.log10(np.maximum(found / max(float(ordered[-1]), _LEAST_USUAL), 1.0))
    return np.asarray(np.where(np.isnan(found), np.nan, beyond - np.log10((1 + at_least) / (1 + len(ordered)))))


def _of_training(cut: ChannelWindows, train_rows: int) -> npt.NDArray[np.bool_]:
    """Which vectors stand for steps of the training part only, bool[n, P]; all where there is none."""
    if not train_rows:
        return np.ones(cut.first.shape, np.bool_)
    # Blocks end with the last row, so the first step may hold fewer rows than the others.
    skipped = cut.steps * cut.scale - cut.rows
    return np.asarray((cut.first + cut.patch) * cut.scale - skipped <= train_rows)
