"""What operators say that changes what is learnt: bad periods, false alarms, taking either back, maintenance.

The engine applies an intervention between two batches, by event time alone, so the same interventions at the same
places among the same observations give the same scores and alarms, live and in a backtest.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

import numpy.typing as npt

from tsad.kernels.episodes import BAD, FALSE_ALARM
from tsad.maintenance import MaintenancePlan, MaintenanceWindow
from tsad.series import SeriesTable

__all__ = [
    "CalibrationFigures", "Effect", "Intervention", "InterventionKind", "LearningEngine", "concerned_series",
    "plan_maintenance",
]  # fmt: skip

InterventionKind = Literal["bad", "false_alarm", "withdraw", "maintenance", "end_maintenance", "restore"]


@dataclass(frozen=True, slots=True)
class Intervention:
    """One thing that somebody said.

    Attributes
    ----------
    kind
        ``bad``: the period was no usual one; its windows leave what detectors take for normal, its clusters leave the
        calibration. ``false_alarm``: the alarmed clusters of the period count as quiet ones, in full. ``withdraw``:
        its clusters count as if nobody had said anything. ``maintenance``: as ``bad`` for what is past, and nothing is
        learnt from what is still to come of it. ``end_maintenance``: it ends earlier. ``restore``: what `learnt` holds
        is put back.
    asset
        Which; of maintenance a name with ``*`` and ``?``.
    start, end
        Event times, ns UTC, both included.
    number
        What the intervention is known by.
    episode
        The period is that of an alarm: it begins where the cluster of odd scores began, before the alarm was raised.
    learnt
        Of ``restore``: what `StreamEngine.learnt` gave.
    """

    kind: InterventionKind
    asset: str
    start: int
    end: int
    number: int = 0
    episode: bool = False
    learnt: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def said(self) -> int:
        """What it says of the clusters of its period, as the calibration keeps it; 0 where nothing is said any more."""
        return {"false_alarm": FALSE_ALARM, "withdraw": 0}.get(self.kind, BAD)

    @property
    def unlearns(self) -> bool:
        """Whether rows of its period that wait to be learnt from are dropped."""
        return self.kind in {"bad", "maintenance"}


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """The tail of a series: K, S and N, the governor, and the threshold that follows."""

    clusters: float
    excess: float
    exposure: float
    governor: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What an intervention changed for one asset.

    Attributes
    ----------
    asset
        Which.
    windows
        Windows that no longer count as normal.
    clusters
        Clusters that weigh otherwise in the calibration, those of members of a combination not counted.
    rows
        Training rows of a series that was not learnt yet, which were dropped.
    before, after
        The calibration; None while nothing is learnt.
    """

    asset: str
    windows: int
    clusters: int
    rows: int
    before: CalibrationFigures | None
    after: CalibrationFigures | None

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return asdict(self)


class LearningEngine(Protocol):
    """An engine that heeds what operators say; see `tsad.engine.StreamEngine`."""

    table: SeriesTable
    maintenance: MaintenancePlan
    is_stopping: Callable[[], bool]

    @property
    def newest(self) -> int:
        """The newest event time of a row, ns UTC; 0 before the first."""

    def concerned(self, intervention: Intervention) -> list[int]:
        """Series that an intervention is about."""

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """What `learn` can change of a series, for an intervention of kind ``restore``; empty while it is new."""

    def learn(self, intervention: Intervention) -> list[Effect]:
        """Let what an operator said change what is learnt; returns what it changed, by asset."""


def concerned_series(table: SeriesTable, intervention: Intervention) -> list[int]:
    """Series that an intervention is about."""
    if intervention.kind == "end_maintenance":
        return []
    if intervention.kind == "maintenance":
        return [series for series, asset in enumerate(table.assets) if fnmatchcase(asset, intervention.asset)]
    series = table.find(intervention.asset)
    return [] if series < 0 else [series]


def plan_maintenance(plan: MaintenancePlan, intervention: Intervention) -> None:
    """Take what an intervention says of maintenance into `plan`; the others say nothing of it."""
    one = intervention
    if one.kind == "maintenance":
        plan.add(MaintenanceWindow(one.number, one.asset, one.start, one.end + 1, ""))
    elif one.kind == "end_maintenance":
        plan.end(one.number, one.end)
