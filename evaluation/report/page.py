"""Writes ``report.html``: one file without anything to load, from the folder of a backtest.

>>> write_report(Path("out/skab"))  # doctest: +SKIP
PosixPath('out/skab/report.html')
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from evaluation.backtest.report import POINT_ADJUSTMENT_WARNING
from evaluation.comparison.compare import compare
from evaluation.comparison.tables import all_datasets_name, p_value_text
from evaluation.errors import InvalidInputError
from evaluation.published.compare import DIFFERING
from evaluation.published.tables import protocol_text
from evaluation.report.downsample import POINTS
from evaluation.report.drill_down import CHANNELS, drill_down
from evaluation.report.figures import agreement_figure, forest_figure, ranks_figure
from evaluation.report.leaderboard import every_metric, leaderboards
from evaluation.report.metric_notes import metric_notes

__all__ = ["LARGEST_MB", "SERIES_SHOWN", "write_report"]

SERIES_SHOWN = 60
"""Series in the drill-down unless asked otherwise."""
LARGEST_MB = 30.0
"""Series are left out rather than make a larger page: browsers must open it, and people mail it."""

_MB = 1_000_000
_NAME = "report.html"


def write_report(folder: Path, *, series_shown: int = SERIES_SHOWN, largest_mb: float = LARGEST_MB) -> Path:
    """Write the page from ``results.json``, ``curves`` and ``scores`` of a folder, and return where it is.

    Parameters
    ----------
    folder
        Of a backtest with ``--out``.
    series_shown
        Series in the drill-down; more are spread evenly over all, so that none is picked for its looks.
    largest_mb
        Largest size of the page in MB: the drill-down has what the library and the tables leave.

    Raises
    ------
    InvalidInputError
        The folder holds no results, one of its files is damaged, or it cannot be written to.
    """
    if series_shown < 0:
        raise InvalidInputError(f"{series_shown} series cannot be shown; give 0 or more")
    document = _read(folder)
    cells = document["cells"]
    text = _with_series(_Page(cells, document), folder, cells, series_shown, int(largest_mb * _MB))
    path = folder / _NAME
    temporary = folder / "report.partial"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _read(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not document["cells"]:
            raise InvalidInputError(f"{path} has no cells; run the backtest on a series")
        provenance = document["provenance"]
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error.strerror or error}); give the folder of a backtest with --out"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path} holds no results of a backtest: {error}") from error
    return document | {"provenance": provenance}


class _Page:
    """Everything but the drill-down, and the template."""

    def __init__(self, cells: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> None:
        environment = Environment(
            loader=PackageLoader("evaluation.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"p_value": p_value_text, "pool_name": all_datasets_name, "signed": _signed}
        # Ours, not a user's: the page's own code and style are no text to escape.
        own = {name: Markup(environment.get_template(name).render()) for name in ("report.css", "report.js")}  # noqa: S704
        self._template = environment.get_template("report.html.j2")
        boards = leaderboards(cells)
        for board in boards:
            part = [c for c in cells if (c["dataset"], c["mode"]) == (board["dataset"], board["mode"])]
            board["every_metric"] = every_metric(part)
        comparison = document.get("comparison") or compare(cells)
        published = document.get("published")
        self._context: dict[str, Any] = {
            "css": own["report.css"],
            "js": own["report.js"],
            "plotly_js": Markup(get_plotlyjs()),  # noqa: S704 - the library itself
            "datasets": list(dict.fromkeys(cell["dataset"] for cell in cells)),
            "boards": boards,
            "comparison": comparison,
            "pools": _by_pool(comparison),
            "published": None if published is None else _published(published),
            "differing": DIFFERING,
            "cells": cells,
            "errors": [cell for cell in cells if cell["error"] is not None],
            "provenance": document["provenance"],
            "notes": [asdict(note) for note in metric_notes()],
            "pa_warning": POINT_ADJUSTMENT_WARNING,
            "channels_shown": CHANNELS,
            "points": POINTS,
        }

    def render(self, series: Mapping[str, Any]) -> str:
        """The page."""
        return self._template.render(**self._context, series=series)


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _by_pool(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry a data set and mode, with the pools of its metrics and their figures."""
    found: dict[tuple[str | None, str], list[dict[str, Any]]] = {}
    for pool in comparison["pools"]:
        entry = dict(pool) | {"forest": forest_figure(pool), "ranks_figure": ranks_figure(pool)}
        found.setdefault((pool["dataset"], pool["mode"]), []).append(entry)
    return [{"dataset": dataset, "mode": mode, "metrics": pools} for (dataset, mode), pools in found.items()]


def _published(published: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison with published results, its runs by suite and mode, with figures."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in published["runs"]:
        pairs = [
            dict(pair) | {"figure": agreement_figure(pair["per_file"], pair["detector"], pair["published"])}
            for pair in run["same_algorithm"]
        ]
        entry = dict(run) | {"same_algorithm": pairs, "protocol": protocol_text(run)}
        groups.setdefault((run["suite"], run["mode"]), []).append(entry)
    return dict(published) | {
        "groups": [{"suite": suite, "mode": mode, "runs": runs} for (suite, mode), runs in groups.items()]
    }


def _with_series(page: _Page, folder: Path, cells: Sequence[Mapping[str, Any]], wanted: int, largest: int) -> str:
    """The page with as many series as are wanted and fit, spread evenly over all."""
    by_series: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in cells:
        by_series.setdefault((cell["dataset"], cell["series"]), []).append(cell)
    keys = list(by_series)
    ready: dict[tuple[str, str], dict[str, Any] | None] = {}
    without = len(page.render(_series([], len(keys))).encode())
    count, by_size = min(wanted, len(keys)), False
    while True:
        chosen = [keys[place] for place in np.unique(np.linspace(0, len(keys) - 1, count).round().astype(int))]
        for key in chosen:
            if key not in ready:
                ready[key] = drill_down(folder, by_series[key])
        shown = [found for key in chosen if (found := ready[key]) is not None]
        text = page.render(_series(shown, len(keys), sum(ready[key] is None for key in chosen), by_size=by_size))
        size = len(text.encode())
        if size <= largest or not shown:
            return text
        # About as many as fit, because series are about equally large, and one less at least.
        count, by_size = max(0, min(count - 1, count * (largest - without) // (size - without))), True


def _series(
    shown: Sequence[Mapping[str, Any]], every: int, without_curves: int = 0, *, by_size: bool = False
) -> dict[str, Any]:
    """What the template is told of the drill-down."""
    return {
        "shown": shown,
        "all": every,
        "without_curves": without_curves,
        "by_size": by_size,
        # One without events says nothing of most metrics, so the page does not open with it.
        "first": next((place for place, one in enumerate(shown) if one["events"]), 0),
    }
