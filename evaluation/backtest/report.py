"""Tables of a backtest for people."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

__all__ = ["COLUMNS", "POINT_ADJUSTMENT_WARNING", "Summary", "number", "summarise", "tables"]

POINT_ADJUSTMENT_WARNING = (
    "pa-f1 is point-adjusted: one hit fills its whole event, and a random score gets the value beside it. "
    "It ranks nothing."
)

COLUMNS: tuple[tuple[str, str], ...] = (
    ("vus_pr", "VUS-PR"),
    ("pate_step", "PATE step"),
    ("pate", "PATE"),
    ("auc_pr", "AUC-PR"),
    ("auc_roc", "AUC-ROC"),
    ("affiliation_f1_above_floor", "affil. F1 over floor"),
    ("f1", "F1"),
    ("event_recall", "event recall"),
    ("detection_delay", "delay rows"),
)
_POINT_ADJUSTED = (("pa_f1", "pa-f1"), ("pa_f1_random", "pa-f1 of random"))


@dataclass(frozen=True, slots=True)
class Summary:
    """One detector on one data set, over its series.

    Attributes
    ----------
    detector, trivial, threshold_rules
        Who, and how predictions were made.
    done, series
        Series with metrics, and all.
    seeds
        How many seeds were run.
    means, spreads
        Metric means over series (then seeds), and their deviation over seeds, NaN for a single one.
    false_alarms_per_day
        All false alarms by all days: a mean over short series would be mostly noise.
    seconds
        Of all cells together.
    """

    detector: str
    trivial: bool
    threshold_rules: tuple[str, ...]
    done: int
    series: int
    seeds: int
    means: dict[str, float]
    spreads: dict[str, float]
    false_alarms_per_day: float
    seconds: float


def summarise(cells: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Return one entry a detector of the cells of one data set, trivial predictors first."""
    order = list(dict.fromkeys((not cell["trivial"], cell["detector"]) for cell in cells))
    found = []
    for own, detector in sorted(order, key=lambda entry: entry[0]):
        rows = [cell for cell in cells if cell["detector"] == detector]
        good = [cell for cell in rows if cell["error"] is None]
        seeds = sorted({cell["seed"] for cell in rows}, key=str)
        per_seed = [[cell for cell in good if cell["seed"] == seed] for seed in seeds]
        names = dict.fromkeys(name for cell in good for name in cell["metrics"])
        by_seed = {name: [_mean(c["metrics"].get(name) for c in part) for part in per_seed] for name in names}
        days = sum(cell["test_days"] for cell in good)
        found.append(
            Summary(
                detector=detector,
                trivial=not own,
                threshold_rules=tuple(dict.fromkeys(cell["threshold_rule"] for cell in rows)),
                done=len({cell["series"] for cell in good}),
                series=len({cell["series"] for cell in rows}),
                seeds=len(seeds),
                means={name: _mean(values) for name, values in by_seed.items()},
                spreads={
                    name: float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
                    for name, values in by_seed.items()
                },
                false_alarms_per_day=sum(cell["false_alarms"] for cell in good) / days if days else float("nan"),
                seconds=sum(cell["seconds"] for cell in rows),
            ),
        )
    return found


def _mean(values: Any) -> float:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def tables(cells: Sequence[Mapping[str, Any]], *, point_adjusted: bool = False) -> Iterator[Table]:
    """Yield a table a data set and mode.

    Parameters
    ----------
    cells
        Records of a backtest.
    point_adjusted
        Whether to show point-adjusted F1, with its random twin; print `POINT_ADJUSTMENT_WARNING` then.
    """
    columns = COLUMNS + (_POINT_ADJUSTED if point_adjusted else ())
    for dataset, mode in dict.fromkeys((cell["dataset"], cell["mode"]) for cell in cells):
        own = [cell for cell in cells if (cell["dataset"], cell["mode"]) == (dataset, mode)]
        summaries = summarise(own)
        rules = dict.fromkeys(rule for s in summaries if not s.trivial for rule in s.threshold_rules)
        budget = own[0]["configuration"]["alarm"]["false_alarms_per_day"]
        accepted = f", accepted {budget:g} false alarms a day" if mode == "causal" else ""
        table = Table(
            title=f"{dataset}: mode {mode}, threshold {', '.join(rules)}{accepted}; mean over series",
            title_style="bold",
            title_justify="left",
        )
        table.add_column("detector", no_wrap=True)
        table.add_column("series", justify="right")
        for _, title in columns:
            table.add_column(title, justify="right")
        table.add_column("false alarms a day", justify="right")
        table.add_column("seconds", justify="right")
        for position, summary in enumerate(summaries):
            last_trivial = summary.trivial and position + 1 < len(summaries) and not summaries[position + 1].trivial
            table.add_row(
                # Text, because a name is not markup.
                Text(summary.detector, style="dim" if summary.trivial else ""),
                f"{summary.done}/{summary.series}",
                *(_shown(summary, name) for name, _ in columns),
                number(summary.false_alarms_per_day),
                f"{summary.seconds:.1f}",
                end_section=last_trivial,
            )
        yield table


def _shown(summary: Summary, name: str) -> str:
    mean = summary.means.get(name, float("nan"))
    spread = summary.spreads.get(name, float("nan"))
    return number(mean) if np.isnan(spread) or np.isnan(mean) else f"{number(mean)} ± {spread:.3f}"


def number(value: float) -> str:
    """Return a figure as tables print it.

    Examples
    --------
    >>> number(0.12345), number(123.45), number(float("nan"))
    ('0.123', '123.5', '-')
    """
    if np.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
