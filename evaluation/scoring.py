"""Scores of your own files, without labels: the engine learns from one part and scores the other.

In mode ``causal`` this is what a backtest does in that mode (`evaluation.backtest.causal`) and what the daemon does:
the training part goes through the warm-up of `tsad.engine.StreamEngine`, the other rows find their scores by time.
Since learning and scoring are apart here, a learnt engine can be kept and scores on later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evaluation.backtest.causal import stream_settings
from evaluation.backtest.delays import IMMEDIATE, Delay, at_delay, delayed_scores, rows_of_delay
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import InvalidInputError
from evaluation.recordings import iso
from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.registry import create_detector
from tsad.engine import StreamEngine, StreamOutput
from tsad.errors import NotEnoughDataError
from tsad.observations import ObservationBatch, RowBatch, RowFlag
from tsad.quality.settings import SensorSettings
from tsad.settings import AlarmSettings, DetectorSettings

__all__ = ["CausalScorer", "RowScores", "score_with_hindsight"]

_CHUNK_ROWS = 8192


@dataclass(frozen=True, slots=True, eq=False)
class RowScores:
    """What is said of n rows.

    Attributes
    ----------
    score
        float64[n], higher is odder; NaN where nothing can be said.
    p_values
        float64[n]; NaN too with hindsight, which is not calibrated.
    contributions
        float32[n, c], share of each channel; None where it was not asked for.
    """

    score: NDArray[np.float64]
    p_values: NDArray[np.float64]
    contributions: NDArray[np.float32] | None = None

    def padded(self, before: int) -> "RowScores":
        """The same behind `before` rows of which nothing is said."""
        gap = np.full(before, np.nan)
        shares = self.contributions
        if shares is not None:
            shares = np.concatenate([np.zeros((before, shares.shape[1]), np.float32), shares])
        return RowScores(np.concatenate([gap, self.score]), np.concatenate([gap, self.p_values]), shares)

    def after(self, rows: int) -> "RowScores":
        """The same without its first `rows` rows."""
        shares = None if self.contributions is None else self.contributions[rows:]
        return RowScores(self.score[rows:], self.p_values[rows:], shares)


def score_with_hindsight(series: LabelledSeries, detector: DetectorSettings) -> RowScores:
    """Scores of all rows of a series by `Detector.score_all`.

    Parameters
    ----------
    series
        Its training part may be empty: the detector then learns from everything.
    detector
        The only one: scores with hindsight are not calibrated, so they cannot be combined.

    Raises
    ------
    NotEnoughDataError
        The detector needs more rows.
    """
    found = create_detector(detector.name, detector.options).score_all(series.values, series.times, series.train_length)
    return RowScores(found, np.full(len(found), np.nan))


class CausalScorer:
    """An engine that has learnt one recording and scores the rows that follow it.

    Parameters
    ----------
    engine
        With one series, which is learnt or has taken in its training part.
    origin
        Time of the recording's first row, where the engine's grid begins, ns UTC.
    trained
        Time of the training part's last row.
    rows
        How many rows were taken in; those of the training part.
    """

    def __init__(self, engine: StreamEngine, *, origin: int, trained: int, rows: int) -> None:
        self.engine = engine
        self.origin, self.trained, self.rows = origin, trained, rows
        self._newest = trained

    @classmethod
    def learn(
        cls,
        series: LabelledSeries,
        detectors: Sequence[DetectorSettings],
        alarm: AlarmSettings | None = None,
        sensors: SensorSettings | None = None,
    ) -> "CausalScorer":
        """Take in the training part of `series`; `alarm` are its budget and delays, by default the daemon's.

        `sensors` says which faults of sensors are looked for; by default none.

        Where its last row is incomplete the engine still waits for the missing values, and learns with the next row.

        Raises
        ------
        NotEnoughDataError
            A detector or the calibration needs more rows than the training part has.
        """
        engine = StreamEngine(stream_settings(series, detectors, alarm).model_copy(update={"sensors": sensors}))
        engine.table.add(series.name)
        last = int(series.times[series.train_length - 1])
        scorer = cls(engine, origin=int(series.times[0]), trained=last, rows=0)
        scorer._take(series.times[: series.train_length], series.train_values)
        return scorer

    def _take(self, times: NDArray[np.int64], values: NDArray[np.float32]) -> StreamOutput:
        n = len(times)
        batch = ObservationBatch(
            series=np.zeros(n, np.int32), times=times, values=values, channels=None,
            partitions=np.zeros(n, np.int32), offsets=np.arange(self.rows, self.rows + n, dtype=np.int64),
            arrivals=np.zeros(n, np.int64),
        )  # fmt: skip
        output = self.engine.process(batch)
        for report in output.fits:
            if report.problem is not None:
                raise NotEnoughDataError(f"{report.asset}: {report.problem}")
            if report.time > self.trained:
                raise InvalidInputError(
                    f"{report.asset}: so few training rows count (rows without any value, or several within one step, "
                    f"do not) that rows to be scored would be learnt from; clean the training part"
                )
        self.rows, self._newest = self.rows + n, int(times[-1])
        return output

    def score(
        self,
        times: NDArray[np.int64],
        values: NDArray[np.float32],
        *,
        contributions: bool = False,
        delay: Delay = IMMEDIATE,
    ) -> RowScores:
        """Score the rows that follow.

        Parameters
        ----------
        times, values
            int64[n] and float32[n, c], behind everything taken in so far.
        contributions
            Whether the share of every channel is wanted too: of several detectors their mean.
        delay
            How many rows more are known when a row is scored; see `evaluation.backtest.delays`. p-values and shares
            stay those of the immediate score.

        Raises
        ------
        NotEnoughDataError
            The training part turned out too short for a detector.
        InvalidInputError
            The rows do not follow, rows to be scored would be learnt from, or there are no scores at the delay.
        """
        known = rows_of_delay(delay, "+".join(self.engine.detectors), self.engine.delays)
        if len(times) and times[0] <= self._newest:
            raise InvalidInputError(
                f"the first row to be scored is of {iso(times[0])}, and the engine has seen rows up to "
                f"{iso(self._newest)}; give rows that follow"
            )
        detectors = dict(self.engine.detectors)
        heard = {name: _Heard(detector) for name, detector in detectors.items()}
        if contributions:
            self.engine.detectors.update(cast("Mapping[str, Detector]", heard))
        try:
            chunks = range(0, len(times), _CHUNK_ROWS)
            outputs = [self._take(times[a : a + _CHUNK_ROWS], values[a : a + _CHUNK_ROWS]) for a in chunks]
        finally:
            self.engine.detectors.update(detectors)
        if not self.engine.is_fitted(0):
            raise NotEnoughDataError(
                f"{self.engine.table.assets[0]}: after {self.rows} rows the engine still waits for "
                f"{self.engine.settings.train_rows} training rows with values; give more"
            )
        at = self._rows_of(times, outputs)
        shares = None
        if contributions:
            parts = np.mean([np.concatenate(one.parts) for one in heard.values()], axis=0)
            spread = np.zeros((sum(len(o.rows) for o in outputs), parts.shape[1]), np.float32)
            spread[np.concatenate([o.reason for o in outputs]) != Unscored.WARMING_UP] = parts
            shares = np.where((at >= 0)[:, None], spread[np.maximum(at, 0)], np.float32(0))
        verdict, p_values = (
            np.where(at >= 0, np.concatenate(found)[np.maximum(at, 0)], np.nan)
            for found in (
                [at_delay(np.concatenate([o.verdict for o in outputs]), delayed_scores(outputs), known)],
                [o.calibrated.p_values for o in outputs],
            )
        )
        return RowScores(verdict, p_values, shares)

    def _rows_of(self, times: NDArray[np.int64], outputs: list[StreamOutput]) -> NDArray[np.int64]:
        """For every row the number of the engine's row it fell into, int64[n]; -1 where that is not final."""
        step = self.engine.settings.step_ns
        real = np.flatnonzero((np.concatenate([o.rows.flags for o in outputs]) & RowFlag.IMPUTED) == 0)
        ends = np.concatenate([o.rows.times for o in outputs])[real]
        cells, wanted = ((t - self.origin + step // 2) // step for t in (ends, times))
        found = np.full(len(times), -1, np.int64)
        if len(real):
            place = np.minimum(np.searchsorted(cells, wanted), len(real) - 1)
            there = cells[place] == wanted
            found[there] = real[place[there]]
        return found


class _Heard:
    """A detector that remembers the shares it gives."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.parts: list[NDArray[np.float32]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def score(self, rows: RowBatch) -> Scores:
        said = self._detector.score(rows)
        self.parts.append(said.contributions)
        return said
