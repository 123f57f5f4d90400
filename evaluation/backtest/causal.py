"""Mode `causal`: the daemon's own engine, driven over a recording row by row.

There is no scoring here. The recording goes through `tsad.engine.StreamEngine` as messages of one asset would, the
training part through its warm-up, and the rows of the test part find their scores by time.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evaluation.backtest.delays import at_delay, delayed_scores
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import InvalidInputError
from tsad.alarms import AlarmTransition
from tsad.engine import FitReport, StreamEngine, StreamOutput
from tsad.errors import NotEnoughDataError
from tsad.observations import ObservationBatch, RowFlag
from tsad.settings import AlarmSettings, DetectorSettings, StreamSettings

__all__ = ["CausalRun", "RowOrigin", "run_causal", "stream_settings"]

LEAST_TRAIN_ROWS = 80
"""What `tsad.settings.StreamSettings.train_rows` demands at least."""

_CHUNK_ROWS = 8192


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """Where the test rows of a recording got their scores from, by count.

    Attributes
    ----------
    own
        Rows that became rows of the engine's grid: the score is their own.
    shared
        Rows that fell into the grid cell of an earlier one: they have the score of that cell.
    unfinished
        Rows still incomplete when the recording ended: they have no score, and the alarm state before them.
    imputed
        Rows that the engine filled in for missing ones: scored and alarmed on, but without a row in the recording.
    """

    own: int
    shared: int
    unfinished: int
    imputed: int


@dataclass(frozen=True, slots=True, eq=False)
class CausalRun:
    """What the engine made of a recording.

    Attributes
    ----------
    settings
        The stream as the daemon's configuration would state it.
    times, flags, reason, verdict, p_values, thresholds, on
        One entry a row of the engine, warm-up and imputed rows included, as in `tsad.engine.StreamOutput`.
    values
        float32[m, c] of the same rows.
    scores
        Raw scores of every detector, float64[m].
    later
        What is said of the same rows when some of the rows after them are known, float64[m] by delay.
    transitions
        Alarm transitions in order.
    fit
        How the series was learnt.
    drift_signals
        How often the calibration monitor said that quiet scores have become larger.
    test_rows
        int64[n]: for every row of the test part the number of its engine row; -1 where there is none.
    last_rows
        int64[n]: for every row of the test part the newest engine row that is not later; -1 where there is none.
    origin
        Counts of how test rows and engine rows belong together.
    """

    settings: StreamSettings
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    flags: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    scores: dict[str, NDArray[np.float64]]
    later: dict[int, NDArray[np.float64]]
    verdict: NDArray[np.float64]
    p_values: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    on: NDArray[np.bool_]
    transitions: list[AlarmTransition]
    fit: FitReport
    drift_signals: int
    test_rows: NDArray[np.int64]
    last_rows: NDArray[np.int64]
    origin: RowOrigin

    @property
    def prefix_scores(self) -> NDArray[np.float64]:
        """Honest scores of the training rows that the engine calibrated on, float64[n]."""
        assert self.fit.calibration is not None
        return self.fit.calibration.scores

    @property
    def test_scores(self) -> NDArray[np.float64]:
        """Verdict of every row of the test part, NaN where the engine cannot say."""
        return _at(self.verdict, self.test_rows)

    def test_scores_at(self, delay: int) -> NDArray[np.float64]:
        """The same when `delay` rows more are known; see `evaluation.backtest.delays`."""
        return _at(at_delay(self.verdict, self.later, delay), self.test_rows)

    @property
    def test_p_values(self) -> NDArray[np.float64]:
        """p-value of every row of the test part, NaN where there is none."""
        return _at(self.p_values, self.test_rows)

    @property
    def test_on(self) -> NDArray[np.bool_]:
        """Whether the alarm stands at every row of the test part."""
        return np.asarray((self.last_rows >= 0) & self.on[np.maximum(self.last_rows, 0)], dtype=np.bool_)


def _at(values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)


def stream_settings(
    series: LabelledSeries, detectors: Sequence[DetectorSettings], alarm: AlarmSettings | None = None
) -> StreamSettings:
    """Return the stream that a daemon would need for this recording.

    Parameters
    ----------
    series
        The recording.
    detectors
        One, or several that the engine combines.
    alarm
        Budget and delays; by default those of the daemon.

    Raises
    ------
    NotEnoughDataError
        The training part is shorter than the engine's warm-up may be.
    """
    alarm = alarm or AlarmSettings()
    step = series.step / 1e9
    needed = max(LEAST_TRAIN_ROWS, 2 * alarm.policy(step).off_delay_rows + 2)
    if series.train_length < needed:
        raise NotEnoughDataError(
            f"{series.dataset}/{series.name} has {series.train_length} training rows, the engine's warm-up needs "
            f"{needed}; give a longer training part",
        )
    return StreamSettings(
        # A stream's name has no room for blanks and slashes.
        name=re.sub(r"[^A-Za-z0-9_.\-]", "_", series.dataset)[:100] or "recording",
        step=step,
        channels=series.channels,
        train_rows=series.train_length,
        detectors=tuple(detectors),
        alarm=alarm,
    )


def run_causal(series: LabelledSeries, settings: StreamSettings) -> CausalRun:
    """Drive the engine over a recording, exactly as the daemon would.

    Labels are not looked at.

    Parameters
    ----------
    series
        The recording.
    settings
        From `stream_settings`, or from a daemon's configuration.

    Raises
    ------
    NotEnoughDataError
        A detector or the calibration needs more rows than the training part has, or there are no test rows.
    InvalidInputError
        So many training rows do not count as warm-up rows that test rows would be learnt from.
    """
    where = f"{series.dataset}/{series.name}"
    if not len(series.test_times):
        raise NotEnoughDataError(f"{where} has no test rows; give a shorter training part")
    engine = StreamEngine(settings)
    engine.table.add(series.name)
    outputs: list[StreamOutput] = []
    fit: FitReport | None = None
    for batch in _batches(series):
        output = engine.process(batch)
        outputs.append(output)
        for report in output.fits:
            # The daemon would wait for more rows and learn from those of the test part.
            if report.problem is not None:
                raise NotEnoughDataError(f"{where}: {report.problem}")
            fit = report
        begun = int(batch.times[-1]) >= int(series.test_times[0])
        if begun and (fit is None or fit.time >= series.test_times[0]):
            raise InvalidInputError(
                f"{where}: only {_warm_up_rows(outputs, series)} of {series.train_length} training rows count for the "
                f"warm-up (rows without any value, or several within one step, do not); rows of the test part would "
                f"be learnt from. Clean the training part, or give a later split",
            )
    assert fit is not None
    return _assemble(series, settings, outputs, fit)


def _batches(series: LabelledSeries) -> Iterator[ObservationBatch]:
    """The recording as observations of series 0: the training part, then pieces of the test part."""
    rows = len(series.times)
    cuts = [0, *range(series.train_length, rows, _CHUNK_ROWS), rows]
    for start, stop in pairwise(cuts):
        n = stop - start
        yield ObservationBatch(
            series=np.zeros(n, np.int32),
            times=series.times[start:stop],
            values=series.values[start:stop],
            channels=None,
            partitions=np.zeros(n, np.int32),
            offsets=np.arange(start, stop, dtype=np.int64),
            arrivals=np.zeros(n, np.int64),
        )


def _warm_up_rows(outputs: list[StreamOutput], series: LabelledSeries) -> int:
    """Rows before the test part that the warm-up took."""
    return sum(
        int(np.count_nonzero(~np.isnan(o.rows.values).all(axis=1) & (o.rows.times < series.test_times[0])))
        for o in outputs
    )


def _assemble(
    series: LabelledSeries, settings: StreamSettings, outputs: list[StreamOutput], fit: FitReport
) -> CausalRun:
    times = np.concatenate([o.rows.times for o in outputs])
    flags = np.concatenate([o.rows.flags for o in outputs])
    imputed = (flags & RowFlag.IMPUTED) != 0
    # The engine's grid begins at the first observation; a row belongs to the nearest cell of it.
    cells, test_cells = (
        (t - series.times[0] + settings.step_ns // 2) // settings.step_ns for t in (times, series.test_times)
    )
    real = np.flatnonzero(~imputed)
    place = np.searchsorted(cells[real], test_cells)
    found = place < len(real)
    found[found] = cells[real][place[found]] == test_cells[found]
    test_rows = np.full(len(test_cells), -1, np.int64)
    test_rows[found] = real[place[found]]
    own = found.copy()
    own[found] = times[test_rows[found]] == series.test_times[found]
    return CausalRun(
        settings=settings,
        times=times,
        values=np.concatenate([o.rows.values for o in outputs]),
        flags=flags,
        reason=np.concatenate([o.reason for o in outputs]),
        scores={name: np.concatenate([o.scores[name] for o in outputs]) for name in outputs[0].scores},
        later=delayed_scores(outputs),
        verdict=np.concatenate([o.verdict for o in outputs]),
        p_values=np.concatenate([o.calibrated.p_values for o in outputs]),
        thresholds=np.concatenate([o.calibrated.thresholds for o in outputs]),
        on=np.concatenate([o.calibrated.on for o in outputs]),
        transitions=[transition for o in outputs for transition in o.transitions],
        fit=fit,
        drift_signals=sum(o.counts["calibration_drift"] for o in outputs),
        test_rows=test_rows,
        last_rows=np.searchsorted(cells, test_cells, side="right") - 1,
        origin=RowOrigin(
            own=int(own.sum()),
            shared=int(found.sum() - own.sum()),
            unfinished=int((~found).sum()),
            imputed=int((imputed & (times >= series.test_times[0])).sum()),
        ),
    )
