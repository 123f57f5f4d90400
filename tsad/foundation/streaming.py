"""The causal form of a window network: rings of every series at several time scales, and what was last said of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.foundation.runtime import Runner
from tsad.foundation.turns import Followed, questions, waves
from tsad.foundation.windows import normalise
from tsad.kernels.window_stream import cut_rows, take_rows, tell_rows
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays

__all__ = ["LEAST_STEPS", "WindowStream"]

LEAST_STEPS = 32
"""Steps of a scale that must have been seen before it speaks: two patches."""
_FARTHEST = 12.0
_ROOM = 512  # windows of one channel that are looked at together: what a processor keeps near


class _Room(NamedTuple):
    """Room for windows of one channel, one a place, and for the questions that ask about several of them at once."""

    windows: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    scales: npt.NDArray[np.int64]


class WindowStream:
    """Keeps the last window of every series at every scale, and asks the network about its newest step.

    A scale of k rows takes a step when k rows are complete, and its last word stands until the next step. A missing
    value stands at the last one for a while, then the channel is missing. Windows of several rows and series go through
    the network together; on a CPU each one's result has the same bits as by itself (tested), so that a row's result
    does not depend on what else is in its batch. Without a deadline rows are taken in first, many of them, and then the
    network is asked about what their windows were; with one, whoever has waited longest is asked about first.

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
        self._scales = np.array(scales, np.int64)
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
                "rings": Field(np.float32, np.nan, (many, PER_CHANNEL, window)),
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
        for name in ("logits", "last", "rings"):
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
        may_ask = np.ones(len(rows), np.bool_) if asked is None else asked
        room = self._room(rows.values.shape[1])
        if deadline is None:
            every, first = np.arange(len(rows)), 0
            while first < len(every):
                after, *sizes = self._take(rows, every, first, may_ask, found.ready, room)
                self._tell(rows, every[first:after], room, sizes, found)
                first = after
            return found
        # The clock decides what comes next, so that rows wait for the answers to those before them.
        a, nobody = self.arrays, np.zeros(len(rows), np.bool_)
        together = max(1, self._runner.together // max(1, rows.values.shape[1]))
        for wave in waves(rows.series):
            self._take(rows, wave, 0, nobody, found.ready, room)
            age = a.age[rows.series[wave]]
            due = wave[found.ready[wave] & (age >= self._hop) & may_ask[wave]]
            for group in questions(due, a.age[rows.series[due]], together, deadline):
                sizes = cut_rows(
                    group, rows.series, LEAST_STEPS, a.n_channels, a.rings, a.at, a.filled, a.unasked, a.age, *room
                )
                self._tell(rows, group, room, sizes, found)
            found.late[due] = a.age[rows.series[due]] >= self._hop
            self._tell(rows, np.setdiff1d(wave, due[~found.late[due]]), room, (0, 0), found)
        return found

    def _room(self, columns: int) -> _Room:
        """Room for the questions of a few rows, and of as many as go through the network together."""
        many = len(self._scales)
        places = max(_ROOM, many * max(columns, self.arrays.width, self._runner.together))
        return _Room(
            np.empty((places, self._window), np.float32), np.empty(places, np.int64), np.empty(places, np.int64)
        )

    def _take(
        self,
        rows: RowBatch,
        which: npt.NDArray[np.intp],
        first: int,
        may_ask: npt.NDArray[np.bool_],
        ready: npt.NDArray[np.bool_],
        room: _Room,
    ) -> tuple[int, int, int]:
        """Put rows into their rings and windows into the room until it is full; see `take_rows`."""
        a = self.arrays
        after, asked, places = take_rows(
            which, first, rows.series, np.ascontiguousarray(rows.values), (rows.flags & RowFlag.BREAK) != 0, may_ask,
            self._hop, LEAST_STEPS, self._longest_gap, self._scales, a.n_channels, a.known, a.rings, a.at, a.filled,
            a.within, a.sums, a.counts, a.unasked, a.last, a.absent, a.run, a.age, ready, *room,
        )  # fmt: skip
        return after, asked, places

    def _tell(
        self, rows: RowBatch, which: npt.NDArray[np.intp], room: _Room, sizes: Sequence[int], found: Followed
    ) -> None:
        """Ask the network about the windows in the room, and write down what stands after each of the rows `which`."""
        asked, places = sizes
        a, question_rows, scales = self.arrays, room.rows[:asked], room.scales[:asked]
        answers = np.full(places, np.nan)
        if places:
            self._ask(rows.series, room.windows[:places], question_rows, scales, answers, found.expected)
        breaks = (rows.flags & RowFlag.BREAK) != 0
        tell_rows(
            which, rows.series, breaks, found.ready, a.n_channels, question_rows, scales, answers, a.logits, found.said
        )

    def _ask(
        self,
        series: npt.NDArray[np.int32],
        windows: npt.NDArray[np.float32],
        rows: npt.NDArray[np.int64],
        scales: npt.NDArray[np.int64],
        answers: npt.NDArray[np.float64],
        expected: npt.NDArray[np.float64],
    ) -> None:
        """Ask the network about the newest step of windows, float32[places, window], of the channels of questions.

        What it says goes to `answers`, float64[places], and what it expects at the finest scale to `expected`.
        """
        valid = ~np.isnan(windows)
        scaled, location, spread = normalise(windows.astype(np.float64), valid)
        there = valid[:, -1]
        # A channel that does not move says nothing, neither that all is well nor that it is not, and costs nothing.
        moves = there & (scaled != 0).any(axis=1)
        channels = self.arrays.n_channels[series[rows]]
        question = np.repeat(np.arange(len(rows)), channels)
        moving = np.bincount(question[moves], minlength=len(rows))
        far = np.zeros(len(windows))
        for alike in np.unique(moving[moving > 0]).tolist():
            places = np.flatnonzero(moves & (moving[question] == alike)).reshape(-1, alike)
            together = max(1, self._runner.together // alike)
            for first in range(0, len(places), together):
                part = places[first : first + together]
                logits, rebuilt = self._runner(scaled[part], valid[part].astype(np.float32))
                answers[part], far[part] = logits[:, :, -1], rebuilt[:, :, -1]
        finest = np.flatnonzero((scales[question] == 0) & there)
        channel = np.arange(len(windows)) - np.repeat(np.cumsum(channels) - channels, channels)
        middle = location[:, 0]
        rebuilt_values = middle + spread[:, 0] * np.sinh(np.clip(far, -_FARTHEST, _FARTHEST))
        expected[rows[question[finest]], channel[finest]] = np.where(moves, rebuilt_values, middle)[finest]
