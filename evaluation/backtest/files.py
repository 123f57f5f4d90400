"""Metrics of scores that somebody else made: two CSV files in, one JSON-ready object out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.backtest.measures import MeasureSettings, measure_predictions, measure_scores
from evaluation.backtest.storage import without_nan
from evaluation.backtest.thresholds import ThresholdRule
from evaluation.errors import DatasetFormatError, DatasetNotFoundError
from evaluation.metrics.registry import METRICS_VERSION
from evaluation.metrics.validation import NanPolicy, check_labels, check_labels_and_scores

__all__ = ["measure_files"]


def measure_files(
    labels: Path,
    scores: Path,
    settings: MeasureSettings,
    *,
    threshold: float | None = None,
    rows_per_day: float = 1440.0,
    budget: float = 1.0,
    nan_policy: NanPolicy = "raise",
) -> dict[str, Any]:
    """Return every metric of a file of scores, with the parameters used, JSON-ready.

    Parameters
    ----------
    labels, scores
        CSV files with a column ``label`` or ``score``. A column ``severity`` beside the labels (0 for normal) adds the
        severity metrics; further columns are passed over.
    settings
        Parameters of the metrics.
    threshold
        Predict where score >= threshold; None lets the labels choose, and says so.
    rows_per_day
        Rows of one day.
    budget
        Accepted false alarms a day, for the oracle event recall.
    nan_policy
        What to do with scores that are not finite.

    Raises
    ------
    DatasetError
        A file is missing or not as described.
    InvalidInputError
        Lengths differ, labels are not 0 and 1, or scores are not finite.
    """
    given = _column(scores, "score")
    y, s = check_labels_and_scores(_column(labels, "label"), given, nan_policy=nan_policy)
    severity = _column(labels, "severity", optional=True)
    if severity is not None and len(s) < len(given):
        severity = severity[np.isfinite(given)]
    y = check_labels(y)
    rule = (
        ThresholdRule("oracle-best-f1", "oracle")
        if threshold is None
        else ThresholdRule(f"fixed={threshold:g}", "fixed", threshold)
    )
    chosen = rule.threshold(y, s)
    metrics = measure_scores(y, s, rows_per_day, budget, settings, severity)
    metrics |= measure_predictions(y, s >= chosen, rows_per_day, settings)
    result: dict[str, Any] = without_nan(
        {
            **metrics,
            "threshold": chosen,
            "threshold_rule": rule.name,
            "rows": len(y),
            "anomalous_rows": int(y.sum()),
            "parameters": {
                **asdict(settings),
                "rows_per_day": rows_per_day,
                "accepted_false_alarms_per_day": budget,
                "nan_policy": nan_policy,
                "metrics_version": METRICS_VERSION,
            },
        },
    )
    return result


@overload
def _column(path: Path, name: str) -> NDArray[np.float64]: ...


@overload
def _column(path: Path, name: str, *, optional: Literal[True]) -> NDArray[np.float64] | None: ...


def _column(path: Path, name: str, *, optional: bool = False) -> NDArray[np.float64] | None:
    if not path.is_file():
        raise DatasetNotFoundError(f"{path}: no such file")
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetFormatError(f"{path}: cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if name not in table.columns and optional:
        return None
    if name not in table.columns:
        raise DatasetFormatError(f"{path}: column {name!r} is missing; found {', '.join(table.columns)}")
    column = table[name]
    if column.dtype == pl.Boolean:
        return column.cast(pl.Float64).to_numpy()
    numbers = column.cast(pl.Float64, strict=False)
    wrong = numbers.is_null()
    if wrong.any():
        at = int(np.argmax(wrong.to_numpy()))
        raise DatasetFormatError(f"{path}: {name!r} in row {at} is not a number: {column[at]!r}")
    return numbers.to_numpy().astype(np.float64)
