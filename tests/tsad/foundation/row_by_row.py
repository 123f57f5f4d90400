"""The slow, obvious twin of `tsad.foundation.streaming.WindowStream`: one row of each series after the other."""

import numpy as np

from tsad.foundation.streaming import LEAST_STEPS, WindowStream
from tsad.foundation.turns import Followed, questions, waves
from tsad.foundation.windows import normalise
from tsad.observations import RowFlag


class RowByRow(WindowStream):
    """Same arrays, plain NumPy, and every window goes through the network by itself."""

    def follow(self, rows, asked=None, deadline=None):
        found = Followed.nothing((len(rows), rows.values.shape[1]))
        a = self.arrays
        together = max(1, self._runner.together // max(1, rows.values.shape[1]))
        for wave in waves(rows.series):
            self._push_wave(rows, wave)
            series = rows.series[wave]
            found.ready[wave] = ready = a.run[series] >= LEAST_STEPS
            due = np.flatnonzero(ready & (a.age[series] >= self._hop) & (True if asked is None else asked[wave]))
            for group in questions(wave[due], a.age[series[due]], together, deadline):
                for row in group.tolist():
                    self._ask_about(int(rows.series[row]), found.expected[row])
            found.late[wave[due]] = a.age[series[due]] >= self._hop
            width = min(rows.values.shape[1], a.width)
            for row in wave[ready].tolist():
                found.said[row, :width] = self._mean(rows.series[row])[:width]
        return found

    def _push_wave(self, rows, wave):
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
        for k, scale in enumerate(self._scales.tolist()):
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

    def _step(self, k, series, values):
        a = self.arrays
        at = a.at[series, k]
        a.rings[series, k, :, at] = values
        a.at[series, k] = (at + 1) % self._window
        a.filled[series, k] = np.minimum(a.filled[series, k] + 1, self._window)
        a.unasked[series, k] = True

    def _ask_about(self, series, expected):
        a, n = self.arrays, int(self.arrays.n_channels[series])
        a.age[series] = 0
        for k in range(len(self._scales)):
            if not a.unasked[series, k] or a.filled[series, k] < LEAST_STEPS:
                continue
            at = int(a.at[series, k])
            ring = a.rings[series, k, :n]
            window = np.concatenate([ring[:, at:], ring[:, :at]], axis=1).astype(np.float64)
            valid = ~np.isnan(window)
            scaled, location, spread = normalise(window, valid)
            a.unasked[series, k] = False
            a.logits[series, k, :n] = np.nan
            if k == 0:
                expected[:n] = np.where(valid[:, -1], location[:, 0], np.nan)
            moves = np.flatnonzero(valid[:, -1] & (scaled != 0).any(axis=1))
            if not len(moves):
                continue
            logits, rebuilt = self._runner(scaled[moves][None], valid[moves].astype(np.float32)[None])
            a.logits[series, k, moves] = logits[0, :, -1]
            if k == 0:
                far = np.clip(rebuilt[0, :, -1].astype(np.float64), -12, 12)
                expected[moves] = location[moves, 0] + spread[moves, 0] * np.sinh(far)

    def _mean(self, series):
        logits = self.arrays.logits[series]
        known = ~np.isnan(logits)
        total = np.zeros(logits.shape[1])
        for one, there in zip(logits, known, strict=True):
            total += np.where(there, one, 0.0)
        count = known.sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
