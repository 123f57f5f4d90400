"""The leaderboards of the page: trivial predictors on top, and a mark on whatever does not beat them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.backtest.report import COLUMNS, Summary, number, summarise
from evaluation.report.metric_notes import metric_notes

__all__ = ["every_metric", "leaderboards"]

_NOTES = {note.name: note for note in metric_notes()}


def leaderboards(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a board a data set and mode, ready for the template.

    A value is marked where higher is better and no higher value than the best trivial predictor's is reached. Delay and
    false alarms have no mark: silence, or an alarm at every row, is perfect there.

    Parameters
    ----------
    cells
        Records of a backtest.
    """
    boards = []
    for dataset, mode in dict.fromkeys((str(cell["dataset"]), str(cell["mode"])) for cell in cells):
        own = [cell for cell in cells if (cell["dataset"], cell["mode"]) == (dataset, mode)]
        summaries = summarise(own)
        best = {name: _best_trivial(summaries, name) for name, _ in COLUMNS}
        memory = {
            summary.detector: max(cell["peak_memory_mb"] for cell in own if cell["detector"] == summary.detector)
            for summary in summaries
        }
        boards.append({
            "dataset": dataset,
            "mode": mode,
            "rules": list(dict.fromkeys(rule for s in summaries if not s.trivial for rule in s.threshold_rules)),
            "accepted": own[0]["configuration"]["alarm"]["false_alarms_per_day"] if mode == "causal" else None,
            "scored_rows": sorted({str(cell.get("scored_rows", "test")) for cell in own}),
            "vus_lengths": sorted({str(cell["configuration"]["measures"]["vus_length"]) for cell in own}),
            "anomalous": _share_anomalous(own),
            "columns": [
                *({"title": title, "hint": _hint(name)} for name, title in COLUMNS),
                {"title": "false alarms a day", "hint": "all false alarms by all days of test time; lower is better"},
                {"title": "seconds", "hint": "of all cells together: scoring and metrics"},
                {"title": "peak MB", "hint": "highest memory of a cell"},
            ],
            "rows": [_row(summary, best, memory[summary.detector]) for summary in summaries],
        })  # fmt: skip
    return boards


def _hint(name: str) -> str:
    return f"{_NOTES[name].definition}; {_NOTES[name].range}"


def _best_trivial(summaries: Sequence[Summary], name: str) -> float:
    """The highest mean of a trivial predictor, NaN where none has one or where lower is better."""
    if not _NOTES[name].beatable:
        return float("nan")
    known = [s.means[name] for s in summaries if s.trivial and not np.isnan(s.means.get(name, float("nan")))]
    return max(known, default=float("nan"))


def _share_anomalous(cells: Sequence[Mapping[str, Any]]) -> float:
    counts = {cell["series"]: cell["counts"] for cell in cells}
    rows = sum(count["test_rows"] for count in counts.values())
    return sum(count["anomalous_rows"] for count in counts.values()) / rows if rows else 0.0


def _row(summary: Summary, best: Mapping[str, float], memory: float) -> dict[str, Any]:
    values = []
    for name, _ in COLUMNS:
        mean, spread = summary.means.get(name, float("nan")), summary.spreads.get(name, float("nan"))
        values.append({
            "text": number(mean) + (f" ± {spread:.3f}" if np.isfinite(spread) and np.isfinite(mean) else ""),
            "sort": _sortable(mean),
            # NaN compares as false: nothing to beat, nothing to mark.
            "marked": not summary.trivial and bool(mean <= best[name]),
        })  # fmt: skip
    rest = (summary.false_alarms_per_day, summary.seconds, memory)
    texts = (number(rest[0]), f"{rest[1]:.1f}", f"{rest[2]:.0f}")
    values += [
        {"text": text, "sort": _sortable(value), "marked": False} for text, value in zip(texts, rest, strict=True)
    ]
    return {
        "detector": summary.detector,
        "trivial": summary.trivial,
        "series": f"{summary.done}/{summary.series}",
        "values": values,
    }


def _sortable(value: float) -> str:
    """What the page sorts by; empty goes last."""
    return "" if np.isnan(value) else repr(float(value))


def every_metric(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of all metrics of one data set and mode: a row a metric, a column a detector.

    Parameters
    ----------
    cells
        Those of one data set and mode.
    """
    summaries = summarise(cells)
    groups: dict[str, list[dict[str, Any]]] = {}
    for note in _NOTES.values():
        means = [summary.means.get(note.name, float("nan")) for summary in summaries]
        if any(note.name in summary.means for summary in summaries):
            row = {"note": note, "values": [number(mean) for mean in means]}
            groups.setdefault(note.group, []).append(row)
    return {"detectors": [summary.detector for summary in summaries], "groups": groups}
