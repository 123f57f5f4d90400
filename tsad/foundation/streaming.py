"""The causal form of a window network: rings of every series at several time scales, and what was last said of them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.foundation.runtime import Runner
from tsad.foundation.turns import Followed, questions, waves
from tsad.foundation.windows import normalise
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["LEAST_STEPS", "WindowStream"]

LEAST_STEPS = 32
"""Steps of a scale that must have been seen before it speaks: two patches."""
_FARTHEST = 12.0


class _Question(NamedTuple):
    """One window of one series at one scale, of the channels that move in it."""

    series: int
    row: int
    scale: int
    moves: npt.NDArray[np.intp]
    scaled: npt.NDArray[np.float32]
    valid: npt.NDArray[np.float32]
    location: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


class WindowStream:
    """Keeps the last window of every series at every scale, and asks the network about its newest step.

    A scale of k rows takes a step when k rows are complete, and its last word stands until the next step. A missing
    value stands at the last one for a while, then the channel is missing. Windows of several series go through the
    network together; on a CPU each one's result has the same bits as by itself (tested), so that a row's result does
    not depend on what else is in its batch. Whoever has waited longest is asked about first.

    Parameters
    ----------
    runner
        The network.
    window
        Steps of its window.
    scales
        Rows a step, rising, the first one 1.
    hop
        Rows from question to question; in between the last answer stands.
    longest_gap
        Rows that a missing value stands at the last one.
    """

    def __init__(self, runner: Runner, window: int, scales: Sequence[int], hop: int, longest_gap: int) -> None:
        self._runner = runner
        self._window = window
        self._scales = tuple(scales)
        self._hop = hop
        self._longest_gap = longest_gap
        many = len(self._scales)
        self.arrays = SeriesArrays(
            {
                "n_channels": Field(np.int64, fitted=True),
                "known": Field(np.bool_, 0, (PER_CHANNEL,), fitted=True),
                "weight": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "usual": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                **{f"ring{scale}": Field(np.float32, np.nan, (PER_CHANNEL, window)) for scale in self._scales},
                "at": Field(np.int64, 0, (many,)),
                "filled": Field(np.int64, 0, (many,)),
                "within": Field(np.int64, 0, (many,)),
                "sums": Field(np.float64, 0, (many, PER_CHANNEL)),
                "counts": Field(np.int64, 0, (many, PER_CHANNEL)),
                "unasked": Field(np.bool_, 0, (many,)),
                "logits": Field(np.float64, np.nan, (many, PER_CHANNEL)),
                "last": Field(np.float32, np.nan, (PER_CHANNEL,)),
                "absent": Field(np.int64, 0, (PER_CHANNEL,)),
                "run": Field(np.int64),
                "age": Field(np.int64),  # rows since the network was last asked
            },
        )

    def begin(self, series: npt.NDArray[np.int32]) -> None:
        """Empty the windows of some series."""
        a = self.arrays
        for name in ("at", "filled", "within", "sums", "counts", "unasked", "absent", "run"):
            getattr(a, name)[series] = 0
        a.age[series] = self._hop
        for name in ("logits", "last", *(f"ring{scale}" for scale in self._scales)):
            getattr(a, name)[series] = np.nan

    def follow(
        self, rows: RowBatch, asked: npt.NDArray[np.bool_] | None = None, deadline: Deadline | None = None
    ) -> Followed:
        """Take in rows, in order.

        Parameters
        ----------
        rows
            Of series whose number of channels is known.
        asked
            bool[m], rows at which the network may be asked; all where it is None.
        deadline
            Until when it may be asked; always where it is None.
        """
        found = Followed.nothing((len(rows), rows.values.shape[1]))
        a = self.arrays
        together = max(1, self._runner.together // max(1, rows.values.shape[1]))
        for wave in waves(rows.series):
            self._push(rows, wave)
            series = rows.series[wave]
            found.ready[wave] = ready = a.run[series] >= LEAST_STEPS
            due = np.flatnonzero(ready & (a.age[series] >= self._hop) & (True if asked is None else asked[wave]))
            for group in questions(wave[due], a.age[series[due]], together, deadline):
                self._ask(rows.series[group], group, found.expected)
            found.late[wave[due]] = a.age[series[due]] >= self._hop
            width = min(rows.values.shape[1], a.width)
            found.said[wave[ready], :width] = _mean(a.logits[series[ready]][:, :, :width])
        return found

    def _push(self, rows: RowBatch, wave: npt.NDArray[np.intp]) -> None:
        """Put one row of each of several series into their rings."""
        a, series = self.arrays, rows.series[wave]
        self.begin(series[(rows.flags[wave] & RowFlag.BREAK) != 0])
        own = np.full((len(wave), a.width), np.nan, np.float32)
        own[:, : rows.values.shape[1]] = rows.values[wave]
        there = np.isfinite(own) & a.known[series]
        absent = np.where(there, 0, a.absent[series] + 1)
        held = np.where(there, own, a.last[series])
        valid = ~np.isnan(held) & (absent <= self._longest_gap)
        a.absent[series], a.last[series] = absent, held
        a.run[series] += 1
        a.age[series] += 1
        for k, scale in enumerate(self._scales):
            if scale == 1:
                self._step(k, series, np.where(valid, held, np.nan))
                continue
            sums = a.sums[series, k] + np.where(valid, held, 0.0)
            counts = a.counts[series, k] + valid
            within = a.within[series, k] + 1
            whole = within == scale
            means = np.where(2 * counts >= scale, sums / np.maximum(counts, 1), np.nan)
            self._step(k, series[whole], means[whole].astype(np.float32))
            a.sums[series, k] = np.where(whole[:, None], 0.0, sums)
            a.counts[series, k] = np.where(whole[:, None], 0, counts)
            a.within[series, k] = np.where(whole, 0, within)

    def _step(self, k: int, series: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> None:
        """Append one step to the ring of scale number `k`."""
        a = self.arrays
        at = a.at[series, k]
        getattr(a, f"ring{self._scales[k]}")[series, :, at] = values
        a.at[series, k] = (at + 1) % self._window
        a.filled[series, k] = np.minimum(a.filled[series, k] + 1, self._window)
        a.unasked[series, k] = True

    def _ask(
        self, series: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], expected: npt.NDArray[np.float64]
    ) -> None:
        """Ask the network about the newest step of every scale that has a new one; `rows` are those of `expected`."""
        questions: dict[int, list[_Question]] = {}
        for one, row in zip(series.tolist(), rows.tolist(), strict=True):
            for question in self._questions(one, row, expected):
                questions.setdefault(len(question.moves), []).append(question)
        a = self.arrays
        for alike in questions.values():
            logits, rebuilt = self._runner(
                np.stack([question.scaled for question in alike]), np.stack([question.valid for question in alike])
            )
            for place, q in enumerate(alike):
                a.logits[q.series, q.scale, q.moves] = logits[place, :, -1]
                if q.scale == 0:
                    far = np.clip(rebuilt[place, :, -1].astype(np.float64), -_FARTHEST, _FARTHEST)
                    expected[q.row, q.moves] = q.location + q.spread * np.sinh(far)

    def _questions(self, series: int, row: int, expected: npt.NDArray[np.float64]) -> Iterator[_Question]:
        a, n = self.arrays, int(self.arrays.n_channels[series])
        a.age[series] = 0
        for k, scale in enumerate(self._scales):
            if not a.unasked[series, k] or a.filled[series, k] < LEAST_STEPS:
                continue
            at = int(a.at[series, k])
            ring = getattr(a, f"ring{scale}")[series, :n]
            window = np.concatenate([ring[:, at:], ring[:, :at]], axis=1).astype(np.float64)
            valid = ~np.isnan(window)
            scaled, location, spread = normalise(window, valid)
            a.unasked[series, k] = False
            a.logits[series, k, :n] = np.nan
            if k == 0:
                expected[row, :n] = np.where(valid[:, -1], location[:, 0], np.nan)
            # A channel that does not move says nothing, neither that all is well nor that it is not, and costs nothing.
            moves = np.flatnonzero(valid[:, -1] & (scaled != 0).any(axis=1))
            if len(moves):
                there = valid[moves].astype(np.float32)
                yield _Question(series, row, k, moves, scaled[moves], there, location[moves, 0], spread[moves, 0])


def _mean(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the scales that speak, float64[n, c] of [n, scales, c]."""
    known = ~np.isnan(logits)
    count, total = known.sum(axis=1), np.zeros((len(logits), logits.shape[2]))
    for scale in range(logits.shape[1]):
        total += np.where(known[:, scale], logits[:, scale], 0.0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
