"""The tiers of a stream: its own detectors, and the light one that watches a series until they have learnt it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.calibration.episodes import CalibratedScores
from tsad.deadline import LateAnswers, Timekeeper
from tsad.delayed import DelayedScores
from tsad.detectors.base import Unscored
from tsad.kernels.episodes import NOTHING
from tsad.observations import RowBatch, RowFlag
from tsad.scoring_tier import ScoringTier, TierScores
from tsad.settings import StreamSettings

__all__ = ["RowScores", "TierRows", "Tiers", "joined"]

_EARLY = "early/"


@dataclass(frozen=True, slots=True)
class RowScores:
    """What is said of m rows, whoever said it; see `tsad.stream_output.StreamOutput`.

    Attributes
    ----------
    scores
        By detector of the stream's own: those of the first time stand in the verdict alone.
    reason, verdict, calibrated
        See `TierScores`; `Unscored.WARMING_UP` where nobody spoke.
    leading
        See `TierScores.leading`, None where nobody asked.
    late
        Row numbers by detector; see `TierScores.late`.
    delayed
        What the stream's own detector says later of rows; None where it does not.
    """

    scores: dict[str, npt.NDArray[np.float64]]
    reason: npt.NDArray[np.uint8]
    verdict: npt.NDArray[np.float64]
    calibrated: CalibratedScores
    leading: npt.NDArray[np.int32] | None
    late: dict[str, npt.NDArray[np.intp]]
    delayed: DelayedScores | None = None


class TierRows(NamedTuple):
    """Rows that one tier scored: where they stand among all, they themselves, and what it says of them."""

    places: npt.NDArray[np.intp]
    rows: RowBatch
    found: TierScores


class Tiers:
    """Who scores which series: the stream's own detectors, and before them, where it is asked for, a light one.

    Parameters
    ----------
    settings
        Of the stream.
    clock
        Seconds that only rise, for deadlines.
    """

    def __init__(self, settings: StreamSettings, clock: Callable[[], float]) -> None:
        self._budget = settings.alarm.false_alarms_per_day
        self._timekeeper = None if settings.deadline is None else Timekeeper(settings.deadline, clock)
        self.own = ScoringTier(settings.detectors, settings, self._timekeeper, settled=settings.settled)
        """The stream's own detectors."""
        self.early_rows = settings.early_rows
        """Rows from which the first tier watches a series; None where there is none."""
        early = settings.early.detectors if settings.early and self.early_rows else ()
        self.early = ScoringTier(early, settings, self._timekeeper) if early else None
        """Who watches a series until the stream's own detectors have learnt it."""

    def recall(self, known: LateAnswers) -> None:
        """Repeat what the clock decided before a restart."""
        if self._timekeeper is not None:
            self._timekeeper.recall(known)

    def reserve(self, n_series: int, width: int) -> None:
        """Have room for `n_series` series of up to `width` channels."""
        for tier in self._all:
            tier.reserve(n_series, width)

    @property
    def _all(self) -> tuple[ScoringTier, ...]:
        return (self.own,) if self.early is None else (self.own, self.early)

    def is_watched(self, series: int) -> bool:
        """Whether the first tier has learnt `series`, and still scores it."""
        return self.early is not None and series < len(self.early.fitted) and bool(self.early.fitted[series])

    def is_fitted(self, series: int) -> bool:
        """Whether the stream's own detectors score `series`."""
        return series < len(self.own.fitted) and bool(self.own.fitted[series])

    def of(self, series: int) -> ScoringTier | None:
        """The tier that scores `series`; None while it is new."""
        if self.is_fitted(series):
            return self.own
        return self.early if self.is_watched(series) else None

    def retire(self, rows: RowBatch) -> list[int]:
        """End the first tier's watch over the series of `rows` that the stream's own detectors score; returns them."""
        if self.early is None:
            return []
        done: list[int] = np.unique(rows.series[self.early.fitted[rows.series] & self.own.fitted[rows.series]]).tolist()
        for series in done:
            self.early.retire(series)
        return done

    def score_early(self, rows: RowBatch, where: npt.NDArray[np.intp]) -> TierRows | None:
        """Let the first tier score these of the rows, in order, and flag them; None where there are none."""
        if self.early is None or not len(where):
            return None
        rows.flags[where] |= np.uint8(RowFlag.EARLY)
        return self._scored(self.early, rows, where)

    def score_own(self, rows: RowBatch, where: npt.NDArray[np.intp]) -> TierRows:
        """Let the stream's own detectors score these of the rows, in order."""
        return self._scored(self.own, rows, where)

    @staticmethod
    def _scored(tier: ScoringTier, rows: RowBatch, where: npt.NDArray[np.intp]) -> TierRows:
        part = rows if len(where) == len(rows) else rows.take(where)
        found = tier.score(part)
        for late in found.late.values():
            rows.flags[where[late]] |= np.uint8(RowFlag.WITHOUT_NETWORK)
        return TierRows(where, part, found)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first series learnt by fitting, or else their streaming state."""
        arrays = self.own.state(n_series, fitted=fitted)
        if self.early is not None:
            early = self.early.state(n_series, fitted=fitted)
            arrays |= {_EARLY + name: array for name, array in early.items()}
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], n_series: int, width: int) -> None:
        """Continue from the union of both states; arrays of others are passed over.

        Raises
        ------
        SnapshotError
            The state was made with other settings or by another version.
        """
        own = {name: array for name, array in arrays.items() if not name.startswith(_EARLY)}
        self.own.restore(own, n_series, width, self._budget)
        if self.early is not None:
            early = {name.removeprefix(_EARLY): array for name, array in arrays.items() if name.startswith(_EARLY)}
            self.early.restore(early, n_series, width, self._budget)


def joined(m: int, own: TierRows, early: TierRows | None, *, leading: bool) -> RowScores:
    """What the tiers say of their rows, as one of all m rows; `leading`: also the leading channel of every row."""
    found = own.found
    scores = {name: said.score for name, said in found.said.items()}
    parts = [own] if early is None else [early, own]
    late: dict[str, npt.NDArray[np.intp]] = {}
    for part in parts:
        for name, rows in part.found.late.items():
            late[name] = np.concatenate([late.get(name, np.zeros(0, np.intp)), part.places[rows]])
    if len(own.places) == m:
        leader = found.leading() if leading else None
        return RowScores(scores, found.reason, found.verdict, found.calibrated, leader, late, found.delayed)

    def spread(values: list[npt.NDArray[Any]], fill: Any) -> npt.NDArray[Any]:
        out = np.full(m, fill, dtype=values[0].dtype)
        for part, value in zip(parts, values, strict=True):
            out[part.places] = value
        return out

    def placed(score: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        out = np.full(m, np.nan)
        out[own.places] = score
        return out

    calibrated = [part.found.calibrated for part in parts]
    return RowScores(
        {name: placed(score) for name, score in scores.items()},
        spread([part.found.reason for part in parts], Unscored.WARMING_UP),
        spread([part.found.verdict for part in parts], np.nan),
        CalibratedScores(
            spread([c.p_values for c in calibrated], np.nan),
            spread([c.rates for c in calibrated], np.nan),
            spread([c.thresholds for c in calibrated], np.nan),
            spread([c.on for c in calibrated], False),
            spread([c.events for c in calibrated], NOTHING),
        ),
        spread([part.found.leading() for part in parts], -1) if leading else None,
        late,
        None if found.delayed is None else replace(found.delayed, rows=own.places[found.delayed.rows]),
    )
