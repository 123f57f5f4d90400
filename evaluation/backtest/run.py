"""Runs a whole backtest: cells, kept results, provenance.

>>> from evaluation.backtest.plan import Plan, load_series, parse_detectors
>>> plan = Plan(parse_detectors(["robust,sub-pca"]), mode="causal")
>>> backtest(load_series(["SKAB"]), plan, out=Path("out"), jobs=2)  # doctest: +SKIP
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from evaluation.backtest.fan_out import Backend, check_backend, run_cells
from evaluation.backtest.plan import Plan, plan_cells
from evaluation.backtest.provenance import cell_key, data_hash, provenance
from evaluation.backtest.storage import ResultFolder, without_nan
from evaluation.comparison.compare import compare
from evaluation.datasets.schema import LabelledSeries
from evaluation.published.compare import compare_published
from evaluation.report.drill_down import keep_curves
from evaluation.report.page import SERIES_SHOWN, write_report

__all__ = ["Backtest", "backtest"]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a backtest found.

    Attributes
    ----------
    cells
        A JSON-ready record a cell, in the order of series and plan.
    provenance
        Where they come from.
    skipped
        How many were taken from an earlier run.
    comparison
        Paired differences and ranks of the detectors; see `evaluation.comparison.compare.compare`.
    published
        Published results beside these; None where none were given.
    """

    cells: list[dict[str, Any]]
    provenance: dict[str, Any]
    skipped: int
    comparison: dict[str, Any]
    published: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """What ``results.json`` holds."""
        document = {"cells": self.cells, "provenance": self.provenance, "comparison": self.comparison}
        return document if self.published is None else document | {"published": self.published}

    def errors(self, kind: str) -> list[dict[str, Any]]:
        """Cells with an error of a kind: ``too_little_data`` or ``failed``."""
        return [cell for cell in self.cells if cell["error_kind"] == kind]


def backtest(
    series: Sequence[LabelledSeries],
    plan: Plan,
    *,
    out: Path | None = None,
    jobs: int = 1,
    backend: Backend = "loky",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    command: Sequence[str] | None = None,
    published: pl.DataFrame | None = None,
    report_series: int = SERIES_SHOWN,
) -> Backtest:
    """Run every cell of a plan on every series.

    Parameters
    ----------
    series
        Recordings with labels.
    plan
        Detectors, mode, seeds, threshold.
    out
        Folder of results and of ``report.html``; cells that are finished there are not run again.
    jobs, backend
        Fan-out; see `evaluation.backtest.fan_out.run_cells`.
    progress
        Called with the cells done and all cells.
    command
        For the provenance; by default this process's.
    published
        From `evaluation.published.read.read_published`; set beside the cells of the same files.
    report_series
        Series whose curves the page shows.

    Raises
    ------
    InvalidInputError, ConfigurationError
        The plan makes no sense, or the folder or backend cannot be used; nothing has run then.
    """
    cells = plan_cells(plan)
    check_backend(backend)
    folder = None if out is None else ResultFolder(out)
    hashes = [data_hash(one) for one in series]
    tasks = [(cell, one) for one in series for cell in cells]
    keys = [cell_key(cell.configuration(), data) for data in hashes for cell in cells]
    records = {} if folder is None else folder.finished(keys)
    skipped = sum(key in records for key in keys)
    due = [number for number, key in enumerate(keys) if key not in records]
    # Before anything runs: the checkout may move on meanwhile, the code in memory does not.
    origin = provenance(
        {f"{one.dataset}/{one.name}": data for one, data in zip(series, hashes, strict=True)},
        command=sys.argv if command is None else command,
        seeds=sorted({cell.seed for cell in cells if cell.seed is not None}),
        jobs=jobs,
        backend=backend,
        skipped_cells=skipped,
    )
    progress(skipped, len(keys))
    for done, (number, result) in enumerate(run_cells([tasks[n] for n in due], jobs=jobs, backend=backend), start=1):
        key = keys[due[number]]
        records[key] = without_nan({"key": key, **result.record}) if folder is None else folder.keep(key, result)
        progress(skipped + done, len(keys))
    ordered = [records[key] for key in keys]
    beside = None if published is None else compare_published(ordered, published)
    # Without NaN, which JSON has no word for: what is returned is what is written.
    found = Backtest(ordered, origin, skipped, without_nan(compare(ordered)), without_nan(beside))
    if folder is not None:
        folder.write_results(found.as_dict())
        for one in series:
            keep_curves(folder.path, one, whole=plan.rows == "all")
        write_report(folder.path, series_shown=report_series)
    return found
