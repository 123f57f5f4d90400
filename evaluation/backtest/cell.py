"""One cell of a backtest: a series, a detector (or several combined), a mode and a seed."""

import math
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.delays import IMMEDIATE
from evaluation.backtest.measures import (
    MeasureSettings,
    alarm_episodes,
    measure_predictions,
    measure_scores,
    ranking_scores,
)
from evaluation.backtest.memory import PeakMemory
from evaluation.backtest.thresholds import Mode, ThresholdRule
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import MetricWarning
from evaluation.metrics.baselines import TRIVIAL_PREDICTORS, trivial_scores
from evaluation.metrics.segments import event_bounds
from tsad.detectors.registry import create_detector
from tsad.errors import NotEnoughDataError
from tsad.settings import AlarmSettings, DetectorSettings

__all__ = ["Cell", "CellResult", "Rows", "one_thread", "run_cell"]

Rows = Literal["test", "all"]

TOO_LITTLE_DATA = "too_little_data"
FAILED = "failed"

_DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Cell:
    """What is to be run on one series.

    Attributes
    ----------
    name
        What tables print: the detector, several joined by ``+``, or a trivial predictor.
    detectors
        With their options; empty for a trivial predictor.
    mode
        ``causal`` or ``full``.
    seed
        None where nothing is random.
    threshold
        The rule for predictions.
    alarm
        Budget and delays of the engine.
    measures
        Parameters of the metrics.
    rows
        Which rows are scored and measured: those of the ``test`` part, or, with hindsight only, ``all``.
    delay
        In mode causal, how many rows more are known when a row is scored; alarms are of the immediate score always.
    """

    name: str
    detectors: tuple[DetectorSettings, ...]
    mode: Mode
    seed: int | None
    threshold: ThresholdRule
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    rows: Rows = "test"
    delay: int = IMMEDIATE

    @property
    def is_trivial(self) -> bool:
        """Whether this is one of the predictors that see nothing."""
        return not self.detectors and self.name in TRIVIAL_PREDICTORS

    def configuration(self) -> dict[str, Any]:
        """Everything the result depends on besides code and data, JSON-ready."""
        return {
            "name": self.name,
            "detectors": [d.model_dump(mode="json") for d in self.detectors],
            "mode": self.mode,
            "seed": self.seed,
            "threshold": self.threshold.name,
            "alarm": self.alarm.model_dump(mode="json"),
            "measures": asdict(self.measures),
            "rows": self.rows,
            "delay": self.delay,
        }

    def part(self, series: LabelledSeries) -> LabelledSeries:
        """The recording with everything that is scored in its test part."""
        return series if self.rows == "test" else replace(series, train_length=0)


@dataclass(frozen=True, slots=True, eq=False)
class CellResult:
    """What a cell gave.

    Attributes
    ----------
    record
        JSON-ready: identity, ``metrics``, counts, alarms, ``seconds``; or ``error`` and ``error_kind``.
    curves
        Columns ``time``, ``label``, ``score``, ``p_value``, ``alarm`` of the test part; empty after an error.
    """

    record: dict[str, Any]
    curves: dict[str, NDArray[Any]]


@dataclass(slots=True)
class _Scored:
    """Scores of the test part before they are measured."""

    scores: NDArray[np.float64]
    p_values: NDArray[np.float64]
    rule: ThresholdRule
    training_scores: NDArray[np.float64] | None = None
    on: NDArray[np.bool_] | None = None
    details: dict[str, Any] = field(default_factory=dict)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep numerical libraries to one thread: sums then round as they do in the daemon."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)


def run_cell(cell: Cell, series: LabelledSeries) -> CellResult:
    """Score a series and measure the scores.

    Too little data, or a detector that fails, becomes the record's ``error``: one bad cell must not lose the others.

    Parameters
    ----------
    cell
        What to run.
    series
        On what.
    """
    if threading.current_thread() is not threading.main_thread():
        # Warning filters and thread limits belong to the process: whoever started these threads has set them.
        return _run(cell, series)
    with one_thread(), warnings.catch_warnings():
        # Ties and undefined metrics are told by the record: `distinct_scores`, and values without a number.
        warnings.simplefilter("ignore", MetricWarning)
        return _run(cell, series)


def _run(cell: Cell, recording: LabelledSeries) -> CellResult:
    series = cell.part(recording)
    labels = series.test_labels
    record: dict[str, Any] = {
        "dataset": series.dataset,
        "series": series.name,
        "detector": cell.name,
        "mode": cell.mode,
        # Rows that a score waits for: all of them with hindsight.
        "delay": cell.delay if cell.mode == "causal" else len(labels),
        "seed": cell.seed,
        "trivial": cell.is_trivial,
        "configuration": cell.configuration(),
        "threshold_rule": cell.threshold.name,
        "scored_rows": cell.rows,
        "counts": {
            "train_rows": recording.train_length,
            "test_rows": len(labels),
            "anomalous_rows": int(labels.sum()),
            "events": len(event_bounds(labels)[0]) if len(labels) else 0,
            "channels": len(series.channels),
        },
        "metrics": {},
        "error": None,
        "error_kind": None,
    }
    memory = PeakMemory.start()
    start = time.perf_counter()
    curves: dict[str, NDArray[Any]] = {}
    try:
        scored = _score(cell, series, recording.train_length if cell.rows == "all" else 0)
        record["seconds_scoring"] = time.perf_counter() - start
        curves = _measure(cell, series, scored, record)
    except NotEnoughDataError as error:
        record["error"], record["error_kind"] = str(error), TOO_LITTLE_DATA
    except Exception as error:  # noqa: BLE001 - kept in the record, shown in the table, and the exit code tells
        record["error"], record["error_kind"] = f"{type(error).__name__}: {error}", FAILED
    record["seconds"] = time.perf_counter() - start
    record |= memory.record()
    return CellResult(record, curves)


def _score(cell: Cell, series: LabelledSeries, train_rows: int) -> _Scored:
    if not len(series.test_labels):
        raise NotEnoughDataError(f"{series.dataset}/{series.name} has no test rows; give a shorter training part")
    if cell.is_trivial:
        return _score_trivial(cell, series)
    if cell.mode == "full":
        return _score_full(cell, series, train_rows)
    run = run_causal(series, stream_settings(series, cell.detectors, cell.alarm))
    scored = _Scored(run.test_scores_at(cell.delay), run.test_p_values, cell.threshold, on=run.test_on)
    if cell.threshold.needs_training_scores:
        scored.training_scores = run.prefix_scores
    episodes = alarm_episodes(run.transitions, series.test_times, series.test_labels)
    calibration = run.fit.calibration
    assert calibration is not None
    scored.details = {
        "alarms": [asdict(episode) for episode in episodes],
        "calibration": {
            "max_false_alarms_per_day": calibration.max_budget,
            "flags": list(calibration.flags),
            "drift_signals": run.drift_signals,
        },
        "fitted_rows": run.fit.rows,
        "rows": asdict(run.origin),
    }
    return scored


def _score_full(cell: Cell, series: LabelledSeries, train_rows: int) -> _Scored:
    chosen = cell.detectors[0]
    detector = create_detector(chosen.name, chosen.options)
    scores = detector.score_all(series.test_values, series.test_times, train_rows)
    return _Scored(scores, np.full(len(scores), np.nan), cell.threshold)


def _score_trivial(cell: Cell, series: LabelledSeries) -> _Scored:
    generator = np.random.default_rng(0 if cell.seed is None else cell.seed)
    scores = trivial_scores(series.test_labels, generator)[cell.name]
    # They have no training scores and no alarms; at 0.5 one never alarms, one always, one every other row.
    rule = cell.threshold if cell.threshold.kind == "oracle" else ThresholdRule("fixed=0.5", "fixed", 0.5)
    return _Scored(scores, np.full(len(scores), np.nan), rule)


def _measure(cell: Cell, series: LabelledSeries, scored: _Scored, record: dict[str, Any]) -> dict[str, NDArray[Any]]:
    labels = series.test_labels
    ranked = ranking_scores(scored.scores)
    unscored = np.isnan(scored.scores)
    threshold = math.nan
    if scored.rule.kind == "budget":
        assert scored.on is not None
        predictions = scored.on
    else:
        threshold = scored.rule.threshold(labels, ranked, scored.training_scores)
        # "Cannot say" ranks lowest but never alarms.
        predictions = np.asarray((ranked >= threshold) & ~unscored, dtype=np.bool_)
    budget = cell.alarm.false_alarms_per_day
    measures = cell.measures.resolved(series.test_values)
    metrics = measure_scores(labels, ranked, series.rows_per_day, budget, measures, series.test_severity)
    metrics |= measure_predictions(labels, predictions, series.rows_per_day, measures)
    days = len(labels) * series.step / _DAY_NS
    false_alarms = round(metrics["false_alarms_per_day"] * days)
    if scored.rule.kind == "budget":
        # Counted from the alarms themselves: two of them may touch, and one may live on imputed rows alone.
        false_alarms = sum(not alarm["overlaps_event"] for alarm in scored.details["alarms"])
        metrics["false_alarms_per_day"] = false_alarms / days
    record["metrics"] = metrics
    record["threshold_rule"] = scored.rule.name
    record["threshold"] = threshold
    record["vus_length"] = measures.window
    record["false_alarms"] = false_alarms
    record["accepted_false_alarms_per_day"] = budget
    record["test_days"] = days
    record["counts"] |= {
        "unscored_rows": int(unscored.sum()),
        "alarmed_rows": int(predictions.sum()),
        "distinct_scores": int(np.unique(ranked).size),
    }
    record |= scored.details
    return {
        "time": series.test_times,
        "label": labels,
        "score": scored.scores,
        "p_value": scored.p_values,
        "alarm": predictions if scored.on is None else scored.on,
    }
