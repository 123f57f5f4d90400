"""The causal form of `themis`: what a series' windows usually look like to the encoder, and how its newest one does."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.detectors.themis_adapters import unit_rows
from tsad.detectors.themis_bank import AXES, VectorBank, held_out, learn_bank
from tsad.detectors.windowed import time_breaks
from tsad.errors import NotEnoughDataError, SnapshotError
from tsad.foundation.encoders import Encoder
from tsad.foundation.turns import Followed, questions, waves
from tsad.foundation.windows import block_means
from tsad.observations import RowBatch, RowFlag
from tsad.scaling import fit_scaling
from tsad.series_arrays import PER_CHANNEL, PER_LEARNT_ROW, Field, SeriesArrays

__all__ = ["LEAST_VECTORS", "BankStream"]

LEAST_VECTORS = 2
"""Vectors of the shortest window: one to judge, and one of context."""
_LEAST_STEPS = 16
_LEAST_WINDOWS = 8
_FARTHEST = 1e6
_QUANTILE = 0.99
_LEAST_USUAL = 1e-6
_LEAST_BAND = 1e-3
_BATCH = 32
_TOGETHER = 32  # channels that the encoder is asked about at once


class _Question(NamedTuple):
    """The newest windows of one series, of its `known` channels; see `BankStream._prepared`."""

    series: int
    row: int
    known: npt.NDArray[np.intp]
    windows: npt.NDArray[np.float32]
    usable: npt.NDArray[np.bool_]
    still: npt.NDArray[np.bool_]
    mean: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]


class BankStream:
    """Keeps the newest rows of every series, and asks the encoder about the window that ends with a row.

    The windows of several series go through the encoder together where they are of one length; on a CPU each one's
    vector has the same bits as by itself (tested), so that a row's result does not depend on what else is in its
    batch. Whoever has waited longest is asked about first.

    Parameters
    ----------
    encoder
        What makes vectors of windows.
    window, scale, hop, center, neighbours, memory, calibration_rows
        See `ThemisDetector`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        window: int,
        scale: int,
        hop: int,
        center: bool,
        neighbours: int,
        memory: int,
        calibration_rows: int,
    ) -> None:
        self._encoder = encoder
        self._window, self._scale, self._hop, self._center = window, scale, hop, center
        self._neighbours, self._memory, self._calibration_rows = neighbours, memory, calibration_rows
        self._depth = window * scale
        self._quantum = max(encoder.patch, _LEAST_STEPS)
        # Half of 64 bits tell encoders apart; the state holds arrays only.
        self._number = int(hashlib.sha256(encoder.identity.encode()).hexdigest()[:15], 16)
        self.arrays = SeriesArrays(
            {
                "n_channels": Field(np.int64, fitted=True),
                "encoder": Field(np.int64, fitted=True),
                "length": Field(np.int64, fitted=True),
                "known": Field(np.bool_, 0, (PER_CHANNEL,), fitted=True),
                "location": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "spread": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "usual": Field(np.float64, 1, (PER_CHANNEL, 2), fitted=True),
                "n_bank": Field(np.int64, 0, (PER_CHANNEL,), fitted=True),
                "bank": Field(np.float32, 0, (PER_CHANNEL, PER_LEARNT_ROW, encoder.width), fitted=True),
                "newest": Field(np.float32, 0, (PER_CHANNEL, PER_LEARNT_ROW), fitted=True),
                "mean": Field(np.float64, 0, (PER_CHANNEL, encoder.width), fitted=True),
                "axes": Field(np.float32, 0, (PER_CHANNEL, AXES, encoder.width), fitted=True),
                "weights": Field(np.float64, 0, (PER_CHANNEL, AXES + 1), fitted=True),
                "ring": Field(np.float32, np.nan, (PER_CHANNEL, self._depth)),
                "at": Field(np.int64),
                "run": Field(np.int64),
                "age": Field(np.int64),  # rows since the encoder was last asked
                "answer": Field(np.float64, np.nan, (PER_CHANNEL,)),
            },
        )

    @property
    def min_train(self) -> int:
        """Rows that `learn` needs at least: the shortest window, twice."""
        return 2 * self._shortest * self._scale

    @property
    def _shortest(self) -> int:
        """Steps of the shortest window."""
        return min(max(LEAST_VECTORS * self._encoder.patch, 2 * _LEAST_STEPS), self._window)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from stored arrays.

        Raises
        ------
        SnapshotError
            They are of another version or window, or of another encoder.
        """
        stored = state.get("encoder", np.zeros(0, np.int64))
        if (stored[stored != 0] != self._number).any():
            raise SnapshotError(
                f"the stored state of themis is of another encoder than {self._encoder.identity}; learn the series anew"
            )
        self.arrays.restore(state)

    def learn(
        self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Fill the bank and the ring of a series; ratios of its newest rows by banks without them, float64[t, c]."""
        t, n = train.shape
        length = self._window if t // 2 // self._scale >= self._window else self._fitting(t // 2 // self._scale)
        span = length * self._scale
        rows = np.arange(t)
        run = rows - np.maximum.accumulate(np.where(time_breaks(times), rows, 0)) + 1
        asked = (run >= span) & (run % self._hop == 0) & (rows >= t - self._calibration_rows)
        ends = np.flatnonzero(asked)
        if len(ends) < _LEAST_WINDOWS:
            raise NotEnoughDataError(
                f"themis needs {span + _LEAST_WINDOWS * self._hop} rows without a break, the longest run has "
                f"{int(run.max())}"
            )
        self.arrays.reserve(series + 1, n, min(self._memory, len(ends)))
        a = self.arrays
        scaling = fit_scaling(train, robust=True)
        a.n_channels[series], a.encoder[series], a.length[series] = n, self._number, length
        a.location[series, :n] = scaling.location if self._center else 0.0
        a.spread[series, :n] = scaling.scale
        a.known[series], a.n_bank[series], a.band[series] = False, 0, 1.0
        ratios = np.full((t, n), np.nan)
        for c in range(n):
            there = train[~np.isnan(train[:, c]), c]
            if there.size and there.min() < there.max():
                self._learn_channel(series, c, train[:, c], ends, span, ratios[:, c])
        last = np.maximum.accumulate(np.where(asked, rows, -1))
        standing = np.where((last >= rows - self._hop + 1)[:, None], ratios[last], np.nan)
        standing[np.isnan(train)] = np.nan
        kept = train[t - min(t, self._depth, int(run[-1])) :]
        a.ring[series] = np.nan
        a.ring[series, :n, : len(kept)] = kept.T
        a.at[series], a.run[series] = len(kept) % self._depth, run[-1]
        a.answer[series] = np.nan
        a.answer[series, :n] = ratios[last[-1]] if last[-1] >= t - self._hop else np.nan
        a.age[series] = min(t - 1 - int(last[-1]), self._hop)
        return standing

    def _fitting(self, steps: int) -> int:
        return max(steps // self._quantum * self._quantum, self._shortest)

    def _learn_channel(
        self,
        series: int,
        c: int,
        train: npt.NDArray[np.float32],
        ends: npt.NDArray[np.int64],
        span: int,
        ratios: npt.NDArray[np.float64],
    ) -> None:
        """Learn the bank of one channel; writes held-out ratios at `ends`."""
        a = self.arrays
        place = a.location[series, c], a.spread[series, c]
        vectors = np.full((len(ends), self._encoder.width), np.nan, np.float32)
        newest, middle, size = (np.zeros(len(ends)) for _ in range(3))
        still = np.zeros(len(ends), np.bool_)
        for first in range(0, len(ends), _BATCH):
            part = slice(first, first + _BATCH)
            raw = train[ends[part, None] - span + 1 + np.arange(span)]
            windows, usable, still[part], middle[part], size[part] = self._prepared(raw, *place)
            found = self._encoder(windows)[:, -1]
            found[~usable | still[part]] = np.nan
            vectors[part] = found
            newest[part] = np.nan_to_num((raw[:, -1] - place[0]) / place[1])
        unit = unit_rows(vectors).astype(np.float32)
        good = np.flatnonzero(~np.isnan(unit).any(axis=1))
        if len(good) < _LEAST_WINDOWS:
            return
        standard = ((newest - middle) / size).astype(np.float32)
        apart = min(span, int(ends[good[-1]] - ends[good[0]]) // 8)
        distances, expected = held_out(
            unit[good], standard[good], ends[good], memory=self._memory, neighbours=self._neighbours, apart=apart
        )
        usual = np.maximum(_quantiles(distances), _LEAST_USUAL)
        bank = learn_bank(unit[good], standard[good], self._memory)
        m = len(bank.vectors)
        a.known[series, c], a.n_bank[series, c], a.usual[series, c] = True, m, usual
        a.bank[series, c, :m], a.newest[series, c, :m] = bank.vectors, bank.newest
        a.mean[series, c], a.axes[series, c], a.weights[series, c] = bank.mean, bank.axes, bank.weights
        ratios[ends[still]] = 0.0
        ratios[ends[good]] = (distances / usual).mean(axis=1)
        gaps = np.abs(newest[good] - middle[good] - size[good] * expected) * place[1]
        reach = float(np.nanmax(train) - np.nanmin(train))
        known = gaps[~np.isnan(gaps)]
        a.band[series, c] = max(float(np.quantile(known, _QUANTILE)) if known.size else 0.0, _LEAST_BAND * reach)

    def _prepared(
        self,
        raw: npt.NDArray[np.float32],
        location: npt.NDArray[np.float64] | float,
        spread: npt.NDArray[np.float64] | float,
    ) -> tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.bool_],
        npt.NDArray[np.bool_],
        npt.NDArray[np.float64],
        npt.NDArray[np.float64],
    ]:
        """Windows [b, length] of rows [b, span]: whether half is there, whether all stand still, mean and deviation."""
        there = np.isfinite(raw)
        scaled = np.where(there, np.clip((raw.astype(np.float64) - location) / spread, -_FARTHEST, _FARTHEST), 0.0)
        low, high = np.where(there, scaled, np.inf).min(axis=1), np.where(there, scaled, -np.inf).max(axis=1)
        steps, known = block_means(scaled, there, self._scale)
        count = known.sum(axis=1)
        usable = 2 * count >= steps.shape[1]
        mean = np.where(known, steps, 0.0).sum(axis=1) / np.maximum(count, 1)
        centred = np.where(known, steps - mean[:, None], 0.0)
        deviation = np.sqrt((centred * centred).sum(axis=1) / np.maximum(count, 1))
        size = np.where(deviation > 0, deviation, 1.0)
        return np.where(known, steps, np.nan).astype(np.float32), usable, usable & (low == high), mean, size

    def follow(self, rows: RowBatch, deadline: Deadline | None = None) -> Followed:
        """Take in rows, in order, and ask the encoder until the deadline; ratios of channels to what is usual."""
        found = Followed.nothing((len(rows), rows.values.shape[1]))
        a = self.arrays
        together = max(1, _TOGETHER // max(1, rows.values.shape[1]))
        for wave in waves(rows.series):
            self._push(rows, wave)
            series = rows.series[wave]
            found.ready[wave] = ready = a.run[series] >= a.length[series] * self._scale
            due = np.flatnonzero(ready & (a.age[series] >= self._hop))
            for group in questions(wave[due], a.age[series[due]], together, deadline):
                self._ask(rows.series[group], group, found.expected)
            found.late[wave[due]] = a.age[series[due]] >= self._hop
            width = min(rows.values.shape[1], a.width)
            found.said[wave[ready], :width] = a.answer[series[ready], :width]
        return found

    def _push(self, rows: RowBatch, wave: npt.NDArray[np.intp]) -> None:
        """Put one row of each of several series into their rings."""
        a, series = self.arrays, rows.series[wave]
        broken = series[(rows.flags[wave] & RowFlag.BREAK) != 0]
        a.ring[broken] = a.answer[broken] = np.nan
        a.at[broken] = a.run[broken] = 0
        a.age[broken] = self._hop
        own = np.full((len(wave), a.width), np.nan, np.float32)
        own[:, : rows.values.shape[1]] = rows.values[wave]
        a.ring[series, :, a.at[series]] = own
        a.at[series] = (a.at[series] + 1) % self._depth
        a.run[series] += 1
        a.age[series] += 1

    def _ask(
        self, series: npt.NDArray[np.int32], rows: npt.NDArray[np.intp], expected: npt.NDArray[np.float64]
    ) -> None:
        """Judge the newest windows of several series; `rows` are those of `expected`."""
        a = self.arrays
        alike: dict[int, list[_Question]] = {}
        for one, row in zip(series.tolist(), rows.tolist(), strict=True):
            a.answer[one], a.age[one] = np.nan, 0
            known = np.flatnonzero(a.known[one])
            if not len(known):
                continue
            span = int(a.length[one]) * self._scale
            places = (a.at[one] - span + np.arange(span)) % self._depth
            location, spread = a.location[one, known, None], a.spread[one, known, None]
            prepared = self._prepared(a.ring[one][known[:, None], places], location, spread)
            alike.setdefault(span, []).append(_Question(one, row, known, *prepared))
        for same in alike.values():
            vectors = self._encoder(np.concatenate([question.windows for question in same]))[:, -1]
            unit = unit_rows(vectors).astype(np.float32)
            first = 0
            for question in same:
                self._judge(question, unit[first : first + len(question.known)], expected)
                first += len(question.known)

    def _judge(self, question: _Question, unit: npt.NDArray[np.float32], expected: npt.NDArray[np.float64]) -> None:
        """Compare the vectors of one row's channels with their banks."""
        a, series = self.arrays, question.series
        for i, c in enumerate(question.known):
            if not question.usable[i]:
                continue
            if question.still[i]:
                a.answer[series, c], standard = 0.0, 0.0
            else:
                distances, found = self._bank(series, int(c)).judge(unit[i : i + 1], self._neighbours)
                a.answer[series, c] = (distances[0] / a.usual[series, c]).mean()
                standard = found[0]
            middle = question.mean[i] + question.size[i] * standard
            expected[question.row, c] = a.location[series, c] + a.spread[series, c] * middle

    def _bank(self, series: int, c: int) -> VectorBank:
        a = self.arrays
        m = int(a.n_bank[series, c])
        return VectorBank(
            a.bank[series, c, :m], a.newest[series, c, :m], a.mean[series, c], a.axes[series, c], a.weights[series, c]
        )


def _quantiles(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 0.99 quantile of either distance where it is known, float64[2]."""
    known = distances[~np.isnan(distances).any(axis=1)]
    return np.asarray(np.quantile(known, _QUANTILE, axis=0) if len(known) else np.ones(2))
