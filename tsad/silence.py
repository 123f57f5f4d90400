"""Silence: series that stop reporting while others of the same partition go on, and controllers that take all along."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field as Setting

from tsad.kernels.silence import watch
from tsad.observations import ObservationBatch
from tsad.series import SeriesTable
from tsad.series_arrays import PER_CHANNEL, Field, SeriesArrays
from tsad.setting_types import Duration, Frozen

__all__ = ["ControllerSettings", "SilenceChange", "SilenceWatch"]

_KINDS: tuple[Literal["stream.silent", "stream.resumed", "comms.lost", "comms.restored"], ...] = (
    "stream.silent",
    "stream.resumed",
    "comms.lost",
    "comms.restored",
)
_LEAST_STEPS = 5  # an allowance that is learnt is no shorter


class ControllerSettings(Frozen):
    """Which assets report through the same controller, so that its failure is one alarm and not one an asset."""

    depth: int | None = Setting(default=None, ge=1, description="so many levels of an asset's path name its controller")
    assets: dict[str, tuple[str, ...]] = Setting(
        default_factory=dict, description="assets by controller, with * and ?; goes before depth"
    )
    share: float = Setting(default=1.0, gt=0, le=1, description="share of its assets that must be silent")
    debounce: Duration = Setting(default=10.0, description="how long a silent asset waits for the others")

    def controller_of(self, asset: str) -> str | None:
        """Name of the controller of an asset; None where it has none.

        Examples
        --------
        >>> ControllerSettings(depth=2).controller_of("plant/area/pump-1")
        'plant/area'
        """
        for name, patterns in self.assets.items():
            if any(fnmatchcase(asset, pattern) for pattern in patterns):
                return name
        levels = asset.split("/")
        if self.depth is None or len(levels) <= self.depth:
            return None
        return "/".join(levels[: self.depth])


@dataclass(frozen=True, slots=True)
class SilenceChange:
    """An asset or a controller fell silent, or spoke again; `observation` is the index of the one that showed it."""

    subject: str
    observation: int
    kind: Literal["stream.silent", "stream.resumed", "comms.lost", "comms.restored"]
    time: int


class SilenceWatch:
    """Compares every series with the event time that its partition has reached.

    It needs no wall clock, so a replay finds the same silences. A whole partition that falls silent is not seen
    here; that is a matter of the source, and the daemon reports it.

    An asset of a controller is told alone only after `ControllerSettings.debounce`, when its controller still reports
    through others. Controllers are judged within each partition.

    Parameters
    ----------
    allowed
        How far a series may lie behind, in ns; None: learnt, three times the longest gap between its first reports
        but one.
    table
        The stream's series.
    reports, step
        How many reports a series is learnt from, and the step of its grid in ns.
    controllers
        Which assets belong together.
    """

    def __init__(
        self,
        allowed: int | None,
        table: SeriesTable,
        *,
        reports: int = 600,
        step: int = 1_000_000_000,
        controllers: ControllerSettings | None = None,
    ) -> None:
        self._allowed = allowed
        self._table = table
        self._reports = reports
        self._step = step
        self._controllers = controllers
        lowest = int(np.iinfo(np.int64).min)
        self._series = SeriesArrays(
            {
                "home": Field(np.int32, -1),
                "last": Field(np.int64, lowest),
                "silent": Field(np.bool_),
                "told": Field(np.bool_),
                "allowed": Field(np.int64),
                "reports": Field(np.int64),
                "longest": Field(np.int64),
                "second": Field(np.int64),
                "grace": Field(np.int64, lowest),
            },
        )
        self._partitions = SeriesArrays({"watermark": Field(np.int64, lowest)})
        self._lost = SeriesArrays({"lost": Field(np.bool_, 0, (PER_CHANNEL,))})  # by controller and partition
        self._names: list[str] = []
        self._groups = np.zeros(0, np.int32)

    def watch(self, batch: ObservationBatch) -> list[SilenceChange]:
        """Take in observations in order; returns what changed, in order."""
        changes: list[SilenceChange] = []
        if not len(batch):
            return changes
        self._group()
        n_series, n_partitions = len(self._table), int(batch.partitions.max()) + 1
        self._series.reserve(n_series)
        self._partitions.reserve(n_partitions)
        self._lost.reserve(len(self._names), self._partitions.capacity)
        a = self._series
        if self._allowed is not None:
            a.allowed[:] = self._allowed
        tick = self._step if self._allowed is None else max(self._allowed // 4, 1)
        share, debounce = (
            (self._controllers.share, round(self._controllers.debounce * 1e9)) if self._controllers else (1.0, 0)
        )
        members, quiet = np.zeros((2, len(self._names)), np.int64)
        start = 0
        while start < len(batch):
            capacity = 2 * (n_series + len(self._names)) + 64
            out = tuple(np.empty(capacity, np.int64) for _ in range(4))
            start, m = watch(
                start, batch.series, batch.times, batch.partitions, self._reports, _LEAST_STEPS * self._step, tick,
                self._groups, share, debounce, self._partitions.watermark, a.home, a.last, a.silent, a.told, a.allowed,
                a.reports, a.longest, a.second, a.grace, self._lost.lost, members, quiet, *out,
            )  # fmt: skip
            for subject, observation, kind, time in zip(*(column[:m].tolist() for column in out), strict=True):
                names: Sequence[str] = self._names if kind >= _KINDS.index("comms.lost") else self._table.assets
                changes.append(SilenceChange(names[subject], observation, _KINDS[kind], time))
        return changes

    def _group(self) -> None:
        """Give new series the number of their controller, in the order of series, so that a restart gives the same."""
        assets = self._table.assets
        if len(self._groups) == len(assets):
            return
        found = self._groups.tolist()
        for asset in assets[len(found) :]:
            name = self._controllers.controller_of(asset) if self._controllers else None
            if name is not None and name not in self._names:
                self._names.append(name)
            found.append(-1 if name is None else self._names.index(name))
        self._groups = np.array(found, np.int32)

    def allowance(self, series: int) -> int | None:
        """How far `series` may lie behind, in ns; None while it is being learnt."""
        known = int(self._series.allowed[series]) if series < self._series.capacity else 0
        return known or None

    def state(self, n_series: int) -> dict[str, npt.NDArray[Any]]:
        """The streaming state."""
        partitions = self._partitions.state(self._partitions.capacity, fitted=False)
        lost = self._lost.state(self._lost.capacity, fitted=False)
        return {**self._series.state(n_series, fitted=False), **partitions, **lost}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state."""
        shared = {"watermark": self._partitions, "lost": self._lost}
        for name, arrays in shared.items():
            arrays.restore({name: state[name]})
        self._series.restore({name: array for name, array in state.items() if name not in shared})
