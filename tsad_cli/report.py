"""`tsad report`."""

from pathlib import Path
from typing import Annotated

import typer

from tsad_cli.output import fail

__all__ = ["ReportSeries", "report"]

ReportSeries = Annotated[
    int | None,
    typer.Option(
        "--report-series",
        metavar="N",
        min=0,
        help="Series whose curves report.html shows, spread evenly over all. Default: 60; the page stays under 30 MB.",
    ),
]


def report(
    folder: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder of a backtest with --out.")],
    report_series: ReportSeries = None,
) -> None:
    """Write report.html of a finished backtest again; nothing is run.

    Exit codes: 0 written, 2 the folder holds no results or one of its files is damaged.

    Example: tsad report out/skab --report-series 200
    """
    from evaluation.errors import EvaluationError
    from evaluation.report.page import SERIES_SHOWN, write_report

    try:
        path = write_report(folder, series_shown=SERIES_SHOWN if report_series is None else report_series)
    except EvaluationError as error:
        fail("report", error)
    typer.echo(f"report: {path}")
