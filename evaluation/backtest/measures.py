"""The figures of a cell: every metric of `evaluation.metrics.registry` that its scores and predictions allow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.pate import pate
from evaluation.metrics.registry import METRICS, evaluate
from evaluation.metrics.segments import event_bounds
from evaluation.metrics.vus import autocorrelation_period
from tsad.alarms import AlarmTransition

__all__ = [
    "REPORT_NAMES",
    "AlarmEpisode",
    "MeasureSettings",
    "alarm_episodes",
    "measure_predictions",
    "measure_scores",
    "parse_vus_length",
    "ranking_scores",
]

REPORT_NAMES: Mapping[str, str] = {
    "average_precision": "auc_pr",
    "point_adjusted_f1": "pa_f1",
    "random_point_adjusted_f1": "pa_f1_random",
}
"""Metrics whose name in results is not that of the registry: the field's short ones."""

_NO_VALUE = math.nan
_PATE = {"pate": "trapezoid", "pate_step": "step"}


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """Parameters of the metrics.

    Attributes
    ----------
    pate_early, pate_delay
        Largest PATE buffers before and after an event, in rows.
    pate_splits, pate_zero
        Sizes between nothing and the largest, and whether nothing is one of them.
    vus_length
        Largest width of soft labels, in rows; ``auto`` takes the period of the first channel, as TSB-AD does.
    """

    pate_early: int = 100
    pate_delay: int = 100
    pate_splits: int = 1
    pate_zero: bool = True
    vus_length: int | Literal["auto"] = 100

    def resolved(self, values: NDArray[np.float32]) -> "MeasureSettings":
        """Return the settings for one recording: ``auto`` replaced by a number.

        Parameters
        ----------
        values
            float32[t, c] of the rows that are measured; a missing value counts as the mean of its channel.
        """
        if self.vus_length != "auto":
            return self
        first = values[:, 0].astype(np.float64)
        known = np.isfinite(first)
        filled = np.where(known, first, first[known].mean() if known.any() else 0.0)
        return replace(self, vus_length=autocorrelation_period(filled))

    @property
    def window(self) -> int:
        """The largest width of soft labels as a number.

        Raises
        ------
        InvalidInputError
            It is still ``auto``: see `resolved`.
        """
        if self.vus_length == "auto":
            raise InvalidInputError("vus_length auto needs the values of the recording; call resolved(values) first")
        return self.vus_length


def parse_vus_length(text: str) -> int | Literal["auto"]:
    """Read a number of rows, or ``auto``.

    Raises
    ------
    InvalidInputError
        It is neither.

    Examples
    --------
    >>> parse_vus_length("25"), parse_vus_length("auto")
    (25, 'auto')
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InvalidInputError(f"--vus-length {text!r} is neither a number of rows nor auto")
    return int(text)


def ranking_scores(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores in which "cannot say" ranks lowest; 0 throughout where nothing was scored.

    Examples
    --------
    >>> ranking_scores(np.array([np.nan, 3.0, 2.0]))
    array([2., 3., 2.])
    """
    known = np.isfinite(scores)
    return np.where(known, scores, scores[known].min() if known.any() else 0.0)


def measure_scores(
    labels: NDArray[np.uint8],
    scores: NDArray[np.float64],
    rows_per_day: float,
    budget: float,
    settings: MeasureSettings,
    severity: NDArray[Any] | None = None,
) -> dict[str, float]:
    """Return the metrics that rank rows, NaN where these labels leave one undefined.

    Parameters
    ----------
    labels, scores
        Of the test part; scores are finite.
    rows_per_day
        Rows of one day.
    budget
        Accepted false alarms a day, for the oracle event recall.
    settings
        Parameters.
    severity
        How bad each row is, 0 for normal, where the data set says.
    """
    allowed = {"scores", "rows_per_day"} | (set() if severity is None else {"severity"})
    names = [m.name for m in METRICS.values() if m.needs in allowed and m.name not in _PATE]
    values = evaluate(
        labels,
        scores,
        rows_per_day=rows_per_day,
        severity=severity,
        metrics=names,
        window=settings.window,
        accepted_false_alarms_per_day=budget,
        on_undefined=_NO_VALUE,
    )
    for name, interpolation in _PATE.items():
        values[name] = pate(
            labels,
            scores,
            early=settings.pate_early,
            delay=settings.pate_delay,
            splits=settings.pate_splits,
            include_zero=settings.pate_zero,
            interpolation=interpolation,  # type: ignore[arg-type]
            on_undefined=_NO_VALUE,
        )
    return _renamed(values)


def measure_predictions(
    labels: NDArray[np.uint8], predictions: NDArray[np.bool_], rows_per_day: float, settings: MeasureSettings
) -> dict[str, float]:
    """Return the metrics of predictions; point-adjusted F1 comes with its random twin.

    Parameters
    ----------
    labels, predictions
        Of the test part.
    rows_per_day, settings
        As in `measure_scores`.
    """
    names = [m.name for m in METRICS.values() if m.needs in {"threshold", "threshold and rows_per_day"}]
    values = evaluate(
        labels,
        predictions.astype(np.float64),
        threshold=0.5,
        rows_per_day=rows_per_day,
        metrics=names,
        early=settings.pate_early,
        delay=settings.pate_delay,
        on_undefined=_NO_VALUE,
    )
    return _renamed(values)


def _renamed(values: dict[str, float]) -> dict[str, float]:
    """The values in the registry's order, under the names of results."""
    return {REPORT_NAMES.get(name, name): float(values[name]) for name in METRICS if name in values}


@dataclass(frozen=True, slots=True)
class AlarmEpisode:
    """One alarm of the engine; times in ns UTC, `ended` None while it stands."""

    started: int
    ended: int | None
    severity: str
    overlaps_event: bool


def alarm_episodes(
    transitions: list[AlarmTransition], times: NDArray[np.int64], labels: NDArray[np.uint8]
) -> list[AlarmEpisode]:
    """Return the engine's alarms that stand at some time of the test part.

    Parameters
    ----------
    transitions
        Of one series, in order.
    times, labels
        Of the test part.
    """
    first, last = event_bounds(labels)
    begin, end = times[first], times[last]
    episodes: list[tuple[int, int | None, str]] = []
    started = 0
    severity = ""
    for transition in transitions:
        severity = transition.severity
        if transition.kind == "alarm.raised":
            started = transition.time
        elif transition.kind == "alarm.cleared":
            episodes.append((started, transition.time, severity))
    if transitions and transitions[-1].state == "active":
        episodes.append((started, None, severity))
    return [
        AlarmEpisode(start, stop, level, bool(np.any((start <= end) & ((stop > begin) if stop is not None else True))))
        for start, stop, level in episodes
        if stop is None or stop > times[0]
    ]
