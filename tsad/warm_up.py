"""The first rows of new series, kept until there are enough to learn from."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["WarmUp"]


class WarmUp:
    """Collects the training rows of every series that has not been fitted yet.

    Parameters
    ----------
    train_rows
        How many rows with at least one value make a training part.
    """

    def __init__(self, train_rows: int) -> None:
        self.train_rows = train_rows
        self._values: dict[int, npt.NDArray[np.float32]] = {}
        self._times: dict[int, npt.NDArray[np.int64]] = {}
        self._counts: dict[int, int] = {}

    def count(self, series: int) -> int:
        """Rows collected so far."""
        return self._counts.get(series, 0)

    def is_full(self, series: int) -> bool:
        """Whether the series can be fitted."""
        return self.count(series) >= self.train_rows

    def take(
        self,
        series: int,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],
        n_channels: int,
        *,
        until: int | None = None,
    ) -> int:
        """Add rows until the training part is full, or holds `until` rows; returns how many rows were used up.

        Rows without any value are passed over. A channel that appears later is NaN in the rows before it.
        """
        goal = self.train_rows if until is None else until
        held = self._values.get(series)
        if held is None or held.shape[1] < n_channels:
            wider = np.full((self.train_rows, n_channels), np.nan, dtype=np.float32)
            if held is not None:
                wider[:, : held.shape[1]] = held
            self._values[series] = held = wider
            self._times.setdefault(series, np.zeros(self.train_rows, dtype=np.int64))
        count = self.count(series)
        filled = np.flatnonzero(~np.isnan(values[:, :n_channels]).all(axis=1))[: goal - count]
        held[count : count + len(filled)] = values[filled, :n_channels]
        self._times[series][count : count + len(filled)] = times[filled]
        self._counts[series] = count + len(filled)
        return int(filled[-1]) + 1 if self.count(series) >= goal else len(values)

    def rows(self, series: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The rows collected so far: float32[t, c] and int64[t]."""
        count = self.count(series)
        return self._values[series][:count], self._times[series][:count]

    def forget_oldest(self, series: int) -> None:
        """Drop the oldest quarter, so that a series that could not be fitted is tried again on newer rows."""
        values, times = self.rows(series)
        gone = max(1, len(values) // 4)
        kept = len(values) - gone
        self._values[series][:kept] = values[gone:].copy()
        self._values[series][kept:] = np.nan
        self._times[series][:kept] = times[gone:].copy()
        self._counts[series] = kept

    def forget(self, series: int, start: int, end: int) -> int:
        """Drop the rows of a period (ns UTC, both ends included); returns how many."""
        if series not in self._values:
            return 0
        values, times = self.rows(series)
        keep = (times < start) | (times > end)
        kept = int(np.count_nonzero(keep))
        gone = len(values) - kept
        if gone:
            self._values[series][:kept] = values[keep].copy()
            self._values[series][kept:] = np.nan
            self._times[series][:kept] = times[keep].copy()
            self._counts[series] = kept
        return gone

    def drop(self, series: int) -> None:
        """Forget the rows of a series that has been fitted."""
        for store in (self._values, self._times, self._counts):
            store.pop(series, None)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What has been collected, as named arrays."""
        state: dict[str, npt.NDArray[Any]] = {}
        for series in self._values:
            values, times = self.rows(series)
            state[f"{series}/values"], state[f"{series}/times"] = values.copy(), times.copy()
        return state

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._values, self._times, self._counts = {}, {}, {}
        for key, values in state.items():
            number, _, kind = key.partition("/")
            if kind == "values":
                series = int(number)
                held = np.full((self.train_rows, values.shape[1]), np.nan, dtype=np.float32)
                held[: len(values)] = values
                times = np.zeros(self.train_rows, dtype=np.int64)
                times[: len(values)] = state[f"{number}/times"]
                self._values[series], self._times[series], self._counts[series] = held, times, len(values)
