"""The curves of one series for the page: channels, labelled events, scores, alarms, and what each metric says.

Channel values are not among the results of a backtest, so it leaves a small file a series, ``curves/*.json``, with as
many points as the page shows.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.comparison.units import units
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import InvalidInputError
from evaluation.report.downsample import Grid, spans

__all__ = ["CHANNELS", "curves_path", "drill_down", "keep_curves"]

CHANNELS = 8
"""Channels that are shown: the first ones. Labels must not choose them, or every recording looks easy."""

_NO_VALUE = 65_535
_MS = 1_000_000
_LARGEST_OFFSET = 2**32 - 1
_DIGITS = 5


def curves_path(folder: Path, dataset: str, series: str) -> Path:
    """Return where the curves of a series are kept: readable, and unique by a hash of both names."""
    key = hashlib.sha256(json.dumps([dataset, series]).encode()).hexdigest()[:12]
    stem = "__".join(re.sub(r"[^A-Za-z0-9_.\-+]", "-", name)[:40] for name in (dataset, series))
    return folder / "curves" / f"{stem}__{key}.json"


def keep_curves(folder: Path, series: LabelledSeries, *, whole: bool) -> None:
    """Keep the channels and events of a series, in as many points as a page shows.

    Parameters
    ----------
    folder
        Of the backtest.
    series
        The recording.
    whole
        Whether all rows were scored, or those of the test part.
    """
    first = 0 if whole else series.train_length
    times, values, labels = series.times[first:], series.values[first:], series.labels[first:]
    if not len(times):
        return  # the cells of this series say that it has no test rows
    grid = Grid.of(len(times))
    points = times[grid.positions] // _MS
    unit = max(1, ceil(int(points[-1] - points[0]) / _LARGEST_OFFSET))
    document = {
        "dataset": series.dataset,
        "series": series.name,
        "rows": grid.rows,
        "bucket": grid.size,
        "start": int(points[0]),
        "unit": unit,
        "times": _base64(((points - points[0]) // unit).astype("<u4")),
        "channels": [
            {"name": name, **_packed(grid.reduce(values[:, place]))}
            for place, name in enumerate(series.channels[:CHANNELS])
        ],
        "channels_in_all": len(series.channels),
        "events": _in_time(labels, times, grid, series.step),
    }
    path = curves_path(folder, series.dataset, series.name)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
    temporary.replace(path)


def drill_down(folder: Path, cells: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return everything that the page shows of one series, JSON-ready; None where its curves were not kept.

    Parameters
    ----------
    folder
        Of the backtest.
    cells
        Those of one series.

    Raises
    ------
    InvalidInputError
        A file of curves or scores is damaged, or does not belong to these cells.
    """
    path = curves_path(folder, cells[0]["dataset"], cells[0]["series"])
    if not path.exists():
        return None
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        grid = Grid(kept["rows"], kept["bucket"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInputError(f"{path} is damaged ({error}); run the backtest again, which replaces it") from error
    shown = [cell for cell in cells if not cell["trivial"] and cell["error"] is None]
    # One curve a detector: the first seed's. Its figures are means over seeds.
    by_detector = {cell["detector"]: cell for cell in sorted(shown, key=lambda cell: -(cell["seed"] or 0))}
    order = list(dict.fromkeys(cell["detector"] for cell in shown))
    names = dict.fromkeys(name for cell in cells for name in cell["metrics"])
    detectors = list(dict.fromkeys(cell["detector"] for cell in cells))
    tables = {name: units(cells, name) for name in names}
    return kept | {
        "scores": [_scores(folder, by_detector[name], grid) for name in order],
        "detectors": detectors,
        "errors": {cell["detector"]: cell["error"] for cell in cells if cell["error"] is not None},
        "metrics": {name: [_rounded(table.column(one)[0]) for one in detectors] for name, table in tables.items()},
    }


def _scores(folder: Path, cell: Mapping[str, Any], grid: Grid) -> dict[str, Any]:
    path = folder / cell["scores_file"]
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        message = f"{path} cannot be read ({error}); delete {folder / 'cells'} and run the backtest again"
        raise InvalidInputError(message) from error
    if table.height != grid.rows:
        raise InvalidInputError(f"{path} has {table.height} rows, the curves {grid.rows}; run the backtest again")
    times = table["time"].cast(pl.Int64).to_numpy()
    step = int(np.median(np.diff(times))) if len(times) > 1 else 0
    return {
        "detector": cell["detector"],
        "seed": cell["seed"],
        "threshold": cell.get("threshold"),
        "rule": cell["threshold_rule"],
        "alarms": _in_time(table["alarm"].to_numpy(), times, grid, step),
        **_packed(grid.reduce(table["score"].to_numpy())),
    }


def _in_time(mask: NDArray[Any], times: NDArray[np.int64], grid: Grid, step: int) -> list[tuple[int, int]]:
    """Runs of rows in ms, each to the end of its last row."""
    return [(int(times[first]) // _MS, int(times[last] + step) // _MS) for first, last in spans(mask, grid)]


def _packed(values: NDArray[np.float64]) -> dict[str, Any]:
    """A curve in 65,535 levels between its extremes, finer than any screen; the level above them is "no value"."""
    known = np.isfinite(values)
    low = float(values[known].min()) if known.any() else 0.0
    high = float(values[known].max()) if known.any() else 0.0
    # Halved first: the difference of two large numbers of different sign must not overflow.
    scaled = (np.where(known, values, low) / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    levels = np.where(known, np.rint(scaled * (_NO_VALUE - 1)), _NO_VALUE).astype("<u2")
    return {"low": low, "high": high, "values": _base64(levels)}


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _rounded(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
