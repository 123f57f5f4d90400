"""The comparison of detectors for the terminal: one compact table a data set."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from evaluation.comparison.paired import FEWEST_SERIES

__all__ = ["SHOWN", "all_datasets_name", "comparison_tables", "p_value_text"]

SHOWN = "vus_pr"
"""The metric of the terminal's tables; ``results.json`` and the report have all that are compared."""

_SMALLEST = 0.001


def all_datasets_name(dataset: str | None) -> str:
    """Return what a pool is called.

    Examples
    --------
    >>> all_datasets_name(None)
    'all data sets together'
    """
    return "all data sets together" if dataset is None else dataset


def p_value_text(value: float | None) -> str:
    """Return a p-value for people.

    Examples
    --------
    >>> p_value_text(0.00002), p_value_text(0.04), p_value_text(None)
    ('< 0.001', '0.040', '-')
    """
    if value is None:
        return "-"
    return f"< {_SMALLEST}" if value < _SMALLEST else f"{value:.3f}"


def comparison_tables(comparison: Mapping[str, Any]) -> Iterator[Group]:
    """Yield a table a data set with two detectors or more and series enough for an interval.

    Parameters
    ----------
    comparison
        From `evaluation.comparison.compare.compare`.
    """
    for pool in comparison["pools"]:
        detectors = [entry["detector"] for entry in pool["detectors"] if entry["detector"] != pool["yardstick"]]
        if pool["metric"] != SHOWN or len(detectors) < 2 or pool["series"] < FEWEST_SERIES:
            continue
        confidence = comparison["settings"]["confidence"]
        table = Table()
        table.add_column("first - second", no_wrap=True)
        for title in ("series", "difference", f"{confidence:.0%} interval", "won / tied / lost", "p (Holm)"):
            table.add_column(title, justify="right")
        for pair in pool["pairs"]:
            table.add_row(
                Text(f"{pair['first']} - {pair['second']}"),
                str(pair["series"]),
                "-" if pair["series"] == 0 else f"{pair['difference']:+.3f}",
                _interval(pair),
                f"{pair['won']} / {pair['tied']} / {pair['lost']}",
                p_value_text(pair["p_value_holm"]),
            )
        title = f"{all_datasets_name(pool['dataset'])}: paired differences of VUS-PR, mode {pool['mode']}"
        # Text, because a name is not markup.
        yield Group(Text(title, style="bold"), table, Text(_ranks_text(pool), style="italic"))


def _interval(pair: Mapping[str, Any]) -> str:
    if pair["low"] is None:
        return f"under {FEWEST_SERIES} series"
    return f"{pair['low']:+.3f} to {pair['high']:+.3f}"


def _ranks_text(pool: Mapping[str, Any]) -> str:
    ranks = pool["ranks"]
    if ranks is None:
        return "ranks: too few series with a value of every detector"
    ordered = sorted(ranks["average"].items(), key=lambda entry: entry[1])
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in ordered)
    alike = "; ".join(" = ".join(group) for group in ranks["groups"]) or "none"
    return (
        f"average ranks over {ranks['series']} series: {listed}. Friedman p {p_value_text(ranks['friedman_p_value'])}, "
        f"critical difference {ranks['critical_difference']:.2f}; not told apart: {alike}"
    )
