"""Silence: a series that stops reporting while others of the same partition go on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.kernels.silence import watch
from tsad.observations import ObservationBatch
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["SilenceChange", "SilenceWatch"]


@dataclass(frozen=True, slots=True)
class SilenceChange:
    """A series fell silent, or spoke again; `observation` is the index of the one that showed it."""

    series: int
    observation: int
    resumed: bool
    time: int


class SilenceWatch:
    """Compares every series with the event time that its partition has reached.

    It needs no wall clock, so a replay finds the same silences. A whole partition that falls silent is not seen
    here; that is a matter of the source, and the daemon reports it.

    Parameters
    ----------
    allowed
        How far a series may lie behind, in ns.
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        lowest = int(np.iinfo(np.int64).min)
        self._series = SeriesArrays(
            {"home": Field(np.int32, -1), "last": Field(np.int64, lowest), "silent": Field(np.bool_)},
        )
        self._partitions = SeriesArrays({"watermark": Field(np.int64, lowest)})

    def watch(self, batch: ObservationBatch, n_series: int) -> list[SilenceChange]:
        """Take in observations in order; returns what changed, in order."""
        changes: list[SilenceChange] = []
        if not len(batch):
            return changes
        self._series.reserve(n_series)
        self._partitions.reserve(int(batch.partitions.max()) + 1)
        a = self._series
        start = 0
        while start < len(batch):
            capacity = 2 * len(a.home) + 64
            out = (
                np.empty(capacity, np.int64),
                np.empty(capacity, np.int64),
                np.empty(capacity, np.bool_),
                np.empty(capacity, np.int64),
            )
            start, m = watch(
                start, batch.series, batch.times, batch.partitions, self._allowed, max(self._allowed // 4, 1),
                self._partitions.watermark, a.home, a.last, a.silent, *out,
            )  # fmt: skip
            changes += [
                SilenceChange(int(s), int(i), bool(r), int(t))
                for s, i, r, t in zip(*(column[:m] for column in out), strict=True)
            ]
        return changes

    def state(self, n_series: int) -> dict[str, npt.NDArray[Any]]:
        """The streaming state."""
        partitions = self._partitions.state(self._partitions.capacity, fitted=False)
        return {**self._series.state(n_series, fitted=False), **partitions}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        self._series.restore({name: state[name] for name in ("home", "last", "silent")})
        self._partitions.restore({"watermark": state["watermark"]})
