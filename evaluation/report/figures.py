"""Figures of the page as Plotly's plain JSON; colours are set by the page, which knows whether it is light or dark."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.comparison.tables import p_value_text

__all__ = ["agreement_figure", "forest_figure", "ranks_figure"]

_ROW = 30  # pixels
_MARGIN = 90


def forest_figure(pool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return mean differences with their intervals, a row a pair; None where no pair has a value.

    Parameters
    ----------
    pool
        Of `evaluation.comparison.compare.compare`.
    """
    pairs = [pair for pair in reversed(pool["pairs"]) if pair["series"]]
    if not pairs:
        return None
    with_interval = [pair for pair in pairs if pair["low"] is not None]
    better = "first is better →" if pool["higher_is_better"] else "← first is better"
    hover = [
        f"{pair['series']} series, won {pair['won']}, tied {pair['tied']}, lost {pair['lost']}, "
        f"p (Holm) {p_value_text(pair['p_value_holm'])}"
        for pair in pairs
    ]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [pair["difference"] for pair in pairs],
                "y": [_pair_name(pair) for pair in pairs],
                "marker": {"size": 9},
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [_reach(pair, "high") for pair in pairs],
                    "arrayminus": [_reach(pair, "low") for pair in pairs],
                    "visible": bool(with_interval),
                },
                # Text, not a template: names must not be read as one.
                "text": [_plain(text) for text in hover],
                "hoverinfo": "x+text",
            }
        ],
        "layout": {
            "height": _MARGIN + _ROW * len(pairs) + 20,
            "margin": {"l": 10, "r": 20, "t": 10, "b": 50},
            "xaxis": {"title": {"text": f"mean difference, first minus second<br>{better}"}, "zeroline": True},
            "yaxis": {"automargin": True, "type": "category", "showgrid": False},
        },
        "zero": True,
        "label": "Mean paired differences with bootstrap intervals",
    }


def _reach(pair: Mapping[str, Any], end: str) -> float:
    return 0.0 if pair[end] is None else abs(float(pair[end]) - float(pair["difference"]))


def _pair_name(pair: Mapping[str, Any]) -> str:
    return _plain(f"{pair['first']} − {pair['second']}")  # noqa: RUF001 - the minus sign, which no name has in it


def _plain(text: str) -> str:
    """Text in which Plotly finds none of its few HTML tags: names of series and detectors are not markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def ranks_figure(pool: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the critical-difference diagram: average ranks, and bars that join who cannot be told apart.

    Parameters
    ----------
    pool
        Of `evaluation.comparison.compare.compare`; None is returned where it has no ranks.
    """
    ranks = pool["ranks"]
    if ranks is None:
        return None
    ordered = sorted(ranks["average"].items(), key=lambda entry: float(entry[1]))
    names = [_plain(name) for name, _ in ordered]
    values = [rank for _, rank in ordered]
    bars = [sorted(ranks["average"][name] for name in group) for group in ranks["groups"]]
    rows = len(names)
    lines: list[dict[str, Any]] = [
        {
            "type": "line",
            "x0": bar[0],
            "x1": bar[-1],
            "y0": rows + place * 0.6,
            "y1": rows + place * 0.6,
            "role": "group",
        }
        for place, bar in enumerate(bars)
    ]
    lines += [
        {"type": "line", "x0": rank, "x1": rank, "y0": place, "y1": rows - 0.5 + 0.6 * len(bars), "role": "drop"}
        for place, rank in enumerate(values)
    ]
    wide = ranks["critical_difference"]
    lines.append({"type": "line", "x0": 1, "x1": min(1 + wide, rows), "y0": -1.2, "y1": -1.2, "role": "width"})
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": values,
                "y": list(range(rows)),
                "text": [f"{name}  {rank:.2f}" for name, rank in zip(names, values, strict=True)],
                "textposition": ["middle right" if rank <= (rows + 1) / 2 else "middle left" for rank in values],
                "marker": {"size": 10},
                "hoverinfo": "skip",
                "cliponaxis": False,
            }
        ],
        "layout": {
            "height": _MARGIN + _ROW * (rows + 2) + int(0.6 * _ROW * len(bars)),
            "margin": {"l": 20, "r": 20, "t": 10, "b": 50},
            "xaxis": {"title": {"text": "average rank, 1 is best"}, "range": [0.7, rows + 0.3], "dtick": 1},
            "yaxis": {"visible": False, "range": [rows + 0.6 * len(bars), -2.2]},
            "shapes": lines,
            "annotations": [
                {"x": 1, "y": -1.7, "text": f"critical difference {wide:.2f}", "showarrow": False, "xanchor": "left"}
            ],
        },
        "label": "Average ranks; bars join detectors that are not told apart",
    }


def agreement_figure(per_file: Sequence[Mapping[str, Any]], ours: str, published: str) -> dict[str, Any]:
    """Return our value against the published one, a point a file.

    Parameters
    ----------
    per_file
        Entries with ``file``, ``ours``, ``published``.
    ours, published
        Names of both.
    """
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": [entry["published"] for entry in per_file],
                "y": [entry["ours"] for entry in per_file],
                "text": [_plain(str(entry["file"])) for entry in per_file],
                "marker": {"size": 7, "opacity": 0.7},
                "hoverinfo": "x+y+text",
            }
        ],
        "layout": {
            "height": 420,
            "margin": {"l": 60, "r": 20, "t": 10, "b": 50},
            "xaxis": {"title": {"text": _plain(f"published {published}")}, "range": [-0.02, 1.02]},
            "yaxis": {"title": {"text": _plain(f"our {ours}")}, "range": [-0.02, 1.02]},
            "shapes": [{"type": "line", "x0": 0, "x1": 1, "y0": 0, "y1": 1, "role": "drop"}],
        },
        "label": "Our value of every file against the published one; on the line both agree",
    }
