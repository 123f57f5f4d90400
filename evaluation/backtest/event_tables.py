"""Tables of event backtests for people."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from rich.table import Table
from rich.text import Text

from evaluation.backtest.report import number, summarise

__all__ = ["EVENT_COLUMNS", "event_tables"]

EVENT_COLUMNS: tuple[tuple[str, str], ...] = (
    ("auc_roc", "AUC-ROC"),
    ("auc_pr", "AP"),
    ("recall_at_100", "recall at 100"),
    ("recall_at_1000", "recall at 1000"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("false_positive_rate", "alarmed normal events"),
)


def event_tables(cells: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Yield a table an event set, trivial predictors first.

    Parameters
    ----------
    cells
        Records of `evaluation.backtest.events.backtest_events`.
    """
    for dataset, series in dict.fromkeys((cell["dataset"], cell["series"]) for cell in cells):
        own = [cell for cell in cells if (cell["dataset"], cell["series"]) == (dataset, series)]
        counts = own[0]["counts"]
        table = Table(
            title=f"{dataset}/{series}: {counts['anomalous_rows']} of {counts['test_rows']} test events anomalous; "
            f"alarms at {own[0]['threshold_rule']}",
            title_style="bold",
            title_justify="left",
        )
        table.add_column("detector", no_wrap=True)
        for _, title in EVENT_COLUMNS:
            table.add_column(title, justify="right")
        table.add_column("events/s", justify="right")
        table.add_column("seconds", justify="right")
        for summary in summarise(own):
            values = []
            for name, _ in EVENT_COLUMNS:
                mean, spread = summary.means.get(name, float("nan")), summary.spreads.get(name, float("nan"))
                known = isfinite(mean) and isfinite(spread)
                values.append(number(mean) + (f" ± {spread:.3f}" if known else ""))
            rates = [c["events_per_second"] for c in own if c["detector"] == summary.detector and not c["trivial"]
                     and "events_per_second" in c]  # fmt: skip
            table.add_row(
                Text(summary.detector, style="dim" if summary.trivial else ""),
                *values,
                f"{max(rates):,.0f}" if rates else "-",
                f"{summary.seconds:.1f}",
            )
        yield table
