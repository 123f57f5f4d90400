"""What the engine hands over: rows with their scores, alarms, and what was learnt."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tsad.alarms import AlarmTransition
from tsad.calibration.episodes import CalibratedScores
from tsad.calibration.tail import CalibrationFit
from tsad.delayed import DelayedScores
from tsad.observations import ObservationBatch, RowBatch

__all__ = ["FitReport", "StreamOutput"]


@dataclass(frozen=True, slots=True)
class FitReport:
    """What became of learning a series: `calibration`, or the `problem` that makes it wait for more rows.

    `choices` are what the detectors chose by themselves, and why, in words.
    """

    asset: str
    time: int
    rows: int
    calibration: CalibrationFit | None
    problem: str | None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamOutput:
    """What one batch of observations of a stream led to.

    Attributes
    ----------
    rows
        Rows that became final, m of them, in order per series.
    scores
        Raw scores by detector, float64[m].
    reason
        uint8[m] of `Unscored`: why there is no verdict.
    verdict
        float64[m], the score that alarms are decided on: of the only detector, or combined; after on-delay.
    calibrated
        p-values, rates, thresholds and alarm state of the verdict.
    transitions
        Alarm transitions in order per series.
    fits
        Series that were learnt, or could not be.
    set_aside
        Observations that were not accepted, and `set_aside_status`, their `ObservationStatus`.
    counts
        How often each thing happened: by status of observations, and by quality reason of values.
    leading
        int32[m], the channel that each score is most about, -1 for none; only where the engine was asked to tell.
    late
        By detector, numbers of the rows that its network was not asked about before the deadline.
    delayed
        What is said later of rows, of this batch or of earlier ones; None where the detector says nothing more.
    judged
        The rows as detectors saw them: `rows` with broken sensors masked and counters as rates.
    """

    rows: RowBatch
    scores: dict[str, npt.NDArray[np.float64]]
    reason: npt.NDArray[np.uint8]
    verdict: npt.NDArray[np.float64]
    calibrated: CalibratedScores
    transitions: list[AlarmTransition]
    fits: list[FitReport]
    set_aside: ObservationBatch
    set_aside_status: npt.NDArray[np.uint8]
    counts: Counter[str] = field(default_factory=Counter)
    leading: npt.NDArray[np.int32] | None = None
    late: dict[str, npt.NDArray[np.intp]] = field(default_factory=dict)
    delayed: DelayedScores | None = None
    judged: RowBatch | None = None
