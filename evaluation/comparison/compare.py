"""The comparison of a backtest: every pair of detectors, ranks, and who cannot be told apart; JSON-ready.

Beside the detectors stands the strongest trivial predictor: of the three the one with the best mean on that metric and
those series. Picking it by the very figures makes the comparison harder for the detectors, never easier.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from evaluation.backtest.measures import REPORT_NAMES
from evaluation.comparison.paired import CONFIDENCE, FEWEST_SERIES, RESAMPLES, PairedDifference, holm, paired_difference
from evaluation.comparison.ranks import SIGNIFICANCE, average_ranks
from evaluation.comparison.units import Units, seed_spread, units
from evaluation.metrics.registry import METRICS

__all__ = ["COMPARED", "compare", "higher_is_better"]

COMPARED = (
    "vus_pr", "pate_step", "auc_pr", "auc_roc", "affiliation_f1_above_floor", "f1", "event_recall",
    "false_alarms_per_day",
)  # fmt: skip
"""Metrics that are compared: not PATE, which pays for ties, nor the delay of found events alone, nor diagnostics."""

_DIRECTION = {REPORT_NAMES.get(name, name): metric.higher_is_better for name, metric in METRICS.items()}


def higher_is_better(metric: str) -> bool:
    """Whether a higher value of a metric, by its name in results, is better.

    Raises
    ------
    KeyError
        There is no such metric.

    Examples
    --------
    >>> higher_is_better("auc_pr"), higher_is_better("false_alarms_per_day")
    (True, False)
    """
    return _DIRECTION[metric]


def compare(cells: Sequence[Mapping[str, Any]], *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Compare the detectors of a backtest, for each data set and for all data sets together.

    Parameters
    ----------
    cells
        Records of a backtest.
    resamples, seed
        Of the bootstrap over series.

    Returns
    -------
    dict
        ``settings``, and ``pools``: an entry a mode, data set (None: all together, each series one unit) and metric of
        `COMPARED`, with ``detectors`` (means and spread over seeds), ``pairs`` and ``ranks`` (None where there are
        fewer than three detectors or `FEWEST_SERIES` complete series). Without a detector that is not trivial there
        are no pools.
    """
    pools: list[dict[str, Any]] = []
    for mode in dict.fromkeys(str(cell["mode"]) for cell in cells):
        own = [cell for cell in cells if cell["mode"] == mode]
        if all(cell["trivial"] for cell in own):
            continue
        for metric in COMPARED:
            table = units(own, metric)
            datasets = list(dict.fromkeys(str(cell["dataset"]) for cell in own))
            for dataset in [*datasets, None] if len(datasets) > 1 else datasets:
                part = table if dataset is None else table.of_dataset(dataset)
                cells_of = own if dataset is None else [cell for cell in own if cell["dataset"] == dataset]
                pool = {"dataset": dataset, "mode": mode, "metric": metric}
                pools.append(pool | _pool(cells_of, part, metric, resamples, seed))
    return {
        "settings": {
            "resamples": resamples,
            "seed": seed,
            "confidence": CONFIDENCE,
            "significance": SIGNIFICANCE,
            "fewest_series": FEWEST_SERIES,
        },
        "pools": pools,
    }


def _pool(cells: Sequence[Mapping[str, Any]], table: Units, metric: str, resamples: int, seed: int) -> dict[str, Any]:
    better_high = higher_is_better(metric)
    trivial = {str(cell["detector"]) for cell in cells if cell["trivial"]}
    yardstick = _strongest(table, [name for name in table.detectors if name in trivial], better_high)
    own = [name for name in table.detectors if name not in trivial]
    chosen = own if yardstick is None else [*own, yardstick]
    pairs = [(first, second) for first, second in combinations(chosen, 2)]
    found = [
        paired_difference(
            table.column(first), table.column(second), higher_is_better=better_high, resamples=resamples, seed=seed
        )
        for first, second in pairs
    ]
    corrected = holm([one.p_value for one in found])
    entries = [
        {"first": first, "second": second}
        | asdict(one)
        | {"p_value_holm": p_value, "mean_of_data_set_differences": _mean_over_datasets(table, first, second, one)}
        for (first, second), one, p_value in zip(pairs, found, corrected, strict=True)
    ]
    return {
        "higher_is_better": better_high,
        "yardstick": yardstick,
        "series": len(table.series),
        "detectors": [_detector(cells, table, name, metric) for name in chosen],
        "pairs": entries,
        "ranks": _ranks(table, chosen, better_high),
    }


def _strongest(table: Units, names: Sequence[str], better_high: bool) -> str | None:
    """The trivial predictor with the best mean; the first of equals, None where none has a value."""
    means = {name: column[np.isfinite(column)] for name in names for column in [table.column(name)]}
    known = {name: float(column.mean()) for name, column in means.items() if column.size}
    if not known:
        return None
    return (max if better_high else min)(known, key=lambda name: known[name])


def _detector(cells: Sequence[Mapping[str, Any]], table: Units, name: str, metric: str) -> dict[str, Any]:
    column = table.column(name)
    known = column[np.isfinite(column)]
    return {
        "detector": name,
        "series": int(known.size),
        "mean": float(known.mean()) if known.size else None,
        "over_seeds": asdict(seed_spread(cells, name, metric)),
    }


def _mean_over_datasets(table: Units, first: str, second: str, found: PairedDifference) -> float | None:
    """The mean of the data sets' mean differences, where there are several: no data set weighs more by being long."""
    differences = table.column(first) - table.column(second)
    per_dataset: dict[str, list[float]] = {}
    for (dataset, _), value in zip(table.series, differences, strict=True):
        if np.isfinite(value):
            per_dataset.setdefault(dataset, []).append(float(value))
    if found.series == 0 or len({dataset for dataset, _ in table.series}) < 2:
        return None
    return float(np.mean([np.mean(values) for values in per_dataset.values()]))


def _ranks(table: Units, chosen: Sequence[str], better_high: bool) -> dict[str, Any] | None:
    found = average_ranks(np.column_stack([table.column(name) for name in chosen]), higher_is_better=better_high)
    if found is None:
        return None
    return asdict(found) | {
        "average": dict(zip(chosen, found.average, strict=True)),
        "groups": [[chosen[place] for place in group] for group in found.groups],
    }
