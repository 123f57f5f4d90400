"""`tsad evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tsad_cli.output import AsJson, console, fail

__all__ = ["evaluate"]


def evaluate(
    labels: Annotated[
        Path, typer.Option(help="CSV file with a column `label`: 1 anomalous, 0 normal; optional: `severity`.")
    ],
    scores: Annotated[Path, typer.Option(help="CSV file with a column `score`: higher is odder.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Predict where score >= this. Without it the labels choose: oracle-best-f1."),
    ] = None,
    rows_per_day: Annotated[float, typer.Option(help="Rows of one day, for false alarms a day.")] = 1440.0,
    pate_early: Annotated[int, typer.Option(min=0, help="Largest PATE buffer before an event, rows.")] = 100,
    pate_delay: Annotated[int, typer.Option(min=0, help="Largest PATE buffer after an event, rows.")] = 100,
    pate_splits: Annotated[int, typer.Option(min=1, help="Steps of the buffer grid.")] = 1,
    pate_zero: Annotated[bool, typer.Option(help="Whether buffers of 0 rows are in the grid.")] = True,
    vus_length: Annotated[int, typer.Option(min=0, help="Largest width of soft labels, rows.")] = 100,
    false_alarms_per_day: Annotated[float, typer.Option(help="Accepted, for the oracle event recall.")] = 1.0,
    nan_policy: Annotated[
        str, typer.Option(help="Scores that are no number: raise, omit (drop these rows) or lowest (never alarm).")
    ] = "raise",
    as_json: AsJson = False,
) -> None:
    """Compute every metric of scores that you have already.

    Example: tsad evaluate --labels labels.csv --scores scores.csv --threshold 0.7 --json
    """
    import warnings

    from evaluation.backtest.files import measure_files
    from evaluation.backtest.measures import MeasureSettings
    from evaluation.errors import EvaluationError, MetricWarning

    settings = MeasureSettings(pate_early, pate_delay, pate_splits, pate_zero, vus_length)
    try:
        with warnings.catch_warnings():
            # Told on standard error below, as a sentence and not as a line of code.
            warnings.simplefilter("ignore", MetricWarning)
            found = measure_files(
                labels,
                scores,
                settings,
                threshold=threshold,
                rows_per_day=rows_per_day,
                budget=false_alarms_per_day,
                nan_policy=nan_policy,  # type: ignore[arg-type]
            )
    except EvaluationError as error:
        fail("evaluate", error)
    undefined = [name for name, value in found.items() if value is None and name != "threshold"]
    if undefined:
        typer.echo(f"tsad evaluate: without a value for these labels: {', '.join(undefined)}", err=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    from rich.table import Table

    table = Table("metric", "value")
    for name, value in found.items():
        if not isinstance(value, dict):
            table.add_row(name, f"{value:.6f}" if isinstance(value, float) else str(value))
    console().print(table)
