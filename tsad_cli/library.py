"""Commands of the library: `backtest`, `detectors`, `datasets`, `evaluate`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from evaluation.backtest.run import Backtest

__all__ = ["backtest", "datasets", "detectors", "evaluate"]

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_NARROWEST = 150


def _fail(command: str, error: Exception | str) -> NoReturn:
    """End with exit code 2: what was asked for is wrong, and nothing has run."""
    typer.echo(f"tsad {command}: {error}", err=True)
    raise typer.Exit(2)


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    # A file or a pipe has no width: numbers must not be cut off there.
    return console if console.is_terminal else Console(width=max(console.width, _NARROWEST))


def backtest(
    dataset: Annotated[
        list[str], typer.Option(help="smap, msl, skab, a CSV or Parquet file, or a folder. May be repeated.")
    ],
    detector: Annotated[
        list[str] | None,
        typer.Option(help="Names: a,b are two rows of the table, a+b is one, combined. Default: robust."),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="DETECTOR.OPTION=VALUE", help="May be repeated.")] = None,
    mode: Annotated[str, typer.Option(help="causal: what the daemon does. full: with hindsight.")] = "causal",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for detectors that have randomness.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    backend: Annotated[str, typer.Option(help="loky, threading, ray or dask.")] = "loky",
    series: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Series by name, e.g. 'valve1/*'. May be repeated.")
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of rows to train on, for files without a split column.")
    ] = None,
    false_alarms_per_day: Annotated[float, typer.Option(help="Accepted false alarms a day and series.")] = 1.0,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="false-alarms-per-day (the engine's alarms; default in mode causal), quantile-of-train=0.99, "
            "mean+3std, fixed=0.5, oracle-best-f1 (uses the labels; default in mode full).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results. Cells that are finished there are not run again.")
    ] = None,
    point_adjusted: Annotated[
        bool, typer.Option("--point-adjusted", help="Show point-adjusted F1 too, beside what a random score gets.")
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Measure detectors on labelled recordings, with the engine of the daemon.

    Exit codes: 0 done (series with too little data count as done), 1 a cell failed, 2 wrong arguments.

    Example: tsad backtest --dataset skab --detector robust,sub-pca --jobs 2 --out out/skab
    """
    from pydantic import ValidationError

    from evaluation.backtest import plan, run
    from evaluation.errors import DatasetError, EvaluationError, InvalidInputError
    from tsad.errors import TsadError
    from tsad.settings import AlarmSettings

    try:
        wanted = plan.Plan(
            detectors=plan.parse_detectors(detector or ["robust"]),
            mode=mode,  # type: ignore[arg-type]
            seeds=seeds,
            threshold=threshold,
            alarm=AlarmSettings(false_alarms_per_day=false_alarms_per_day),
            options=plan.parse_options(option or []),
        )
        plan.plan_cells(wanted)
        recordings = plan.load_series(dataset, patterns=series or [], train_fraction=train_fraction)
        with _progress(shown=not as_json) as progress:
            found = run.backtest(
                recordings,
                wanted,
                out=out,
                jobs=jobs,
                backend=backend,  # type: ignore[arg-type]
                progress=progress,
                command=["tsad", *sys.argv[1:]],
            )
    except ValidationError as error:
        _fail("backtest", f"--false-alarms-per-day {false_alarms_per_day}: {error.errors()[0]['msg']}")
    except (InvalidInputError, DatasetError, TsadError) as error:
        _fail("backtest", error)
    except EvaluationError as error:
        typer.echo(f"tsad backtest: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found, out, point_adjusted=point_adjusted)
    failed, short = found.errors("failed"), found.errors("too_little_data")
    for cell in failed + short:
        what = "failed" if cell in failed else "has too little data"
        typer.echo(f"{cell['dataset']}/{cell['series']} {cell['detector']} {what}: {cell['error']}", err=True)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while cells run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("cells", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(found: "Backtest", out: Path | None, *, point_adjusted: bool) -> None:
    from evaluation.backtest.report import POINT_ADJUSTMENT_WARNING, tables

    console = _console()
    for table in tables(found.cells, point_adjusted=point_adjusted):
        console.print(table)
    if point_adjusted:
        console.print(f"Warning: {POINT_ADJUSTMENT_WARNING}", style="yellow")
    if found.skipped:
        typer.echo(f"{found.skipped} of {len(found.cells)} cells were finished in {out} already and were not run again")
    if out is not None:
        typer.echo(f"results: {out / 'results.json'}, {out / 'results.parquet'}; scores: {out / 'scores'}")


def detectors(as_json: _AsJson = False) -> None:
    """List the detectors with their options.

    Example: tsad detectors --json
    """
    from rich.table import Table
    from rich.text import Text

    from tsad.detectors.registry import create_detector, detector_class, detector_names, detector_options

    found = []
    for name in detector_names():
        described = detector_class(name)
        found.append(
            {
                "name": name,
                "cost": described.cost,
                "window": create_detector(name).window,
                "lookahead": described.lookahead,
                "multivariate": described.multivariate,
                "options": detector_options(name),
                "summary": described.summary,
            },
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("name", "cost", "window", "lookahead", "options with defaults", "summary")
    for entry in found:
        options: Any = entry["options"]
        shown = ", ".join(f"{key}={value}" for key, value in options.items())
        cells = (entry["name"], entry["cost"], entry["window"], entry["lookahead"], shown, entry["summary"])
        table.add_row(*(Text(str(cell)) for cell in cells))
    _console().print(table)


def datasets(as_json: _AsJson = False) -> None:
    """List the data sets that are known by name, and where each is looked for.

    Example: tsad datasets
    """
    from rich.table import Table
    from rich.text import Text

    from evaluation.datasets.location import data_directory
    from evaluation.datasets.registry import DATASETS

    folder = data_directory()
    found = [
        {
            "name": entry.name,
            "title": entry.title,
            "looked_for": str(folder / entry.folder),
            "present": entry.is_present(),
            "how_to_get": entry.how_to_get,
            "licence": entry.licence,
        }
        for entry in DATASETS.values()
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("name", "what", "looked for", "there", "how to get it", "licence")
    for entry in found:
        values = (*entry.values(),)
        shown = (*values[:3], "yes" if entry["present"] else "no", *values[4:])
        table.add_row(*(Text(str(cell)) for cell in shown))
    _console().print(table)
    typer.echo("Set TSAD_DATA to the folder that holds them. Your own CSV or Parquet files are given by path.")


def evaluate(
    labels: Annotated[Path, typer.Option(help="CSV file with a column `label`: 1 anomalous, 0 normal.")],
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
    as_json: _AsJson = False,
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
                labels, scores, settings, threshold=threshold, rows_per_day=rows_per_day, budget=false_alarms_per_day
            )
    except EvaluationError as error:
        _fail("evaluate", error)
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
    _console().print(table)
