"""`tsad backtest`."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.backtest_events import backtest_on_events, names_event_set
from tsad_cli.output import AsJson, console, fail
from tsad_cli.report import ReportSeries

if TYPE_CHECKING:
    from rich.console import Group

    from evaluation.backtest.run import Backtest

__all__ = ["backtest"]


def backtest(
    dataset: Annotated[
        list[str],
        typer.Option(help="A name that `tsad datasets` lists, a CSV or Parquet file, or a folder. May be repeated."),
    ],
    detector: Annotated[
        list[str] | None,
        typer.Option(help="Names: a,b are two rows of the table, a+b is one, combined. Default: auto."),
    ] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="DETECTOR.OPTION=VALUE", help="May be repeated.")] = None,
    mode: Annotated[str, typer.Option(help="causal: what the daemon does. full: with hindsight.")] = "causal",
    delay: Annotated[
        str,
        typer.Option(
            metavar="ROWS|settled",
            help="Score a row when so many rows more are known (mode causal), where the detector can: 0, 16 or settled "
            "for patchbank and auto. Several by commas are several rows of the table. Alarms stay those of 0.",
        ),
    ] = "0",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds for detectors that have randomness.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    backend: Annotated[str, typer.Option(help="loky, threading, ray or dask.")] = "loky",
    series: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Series by name, e.g. 'valve1/*'. May be repeated.")
    ] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Share of rows to train on, for files without a split column.")
    ] = None,
    intervals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For files without a label column: CSV of anomalous intervals (docs/datasets.md)."
        ),
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
    rows: Annotated[
        str, typer.Option(help="test: the test part. all: the whole recording, as TSB-AD measures (mode full).")
    ] = "test",
    vus_length: Annotated[
        str, typer.Option(metavar="ROWS|auto", help="Largest width of soft labels; auto: the period, as TSB-AD.")
    ] = "100",
    out: Annotated[
        Path | None, typer.Option(help="Folder of results. Cells that are finished there are not run again.")
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Tables of published per-file results of TSB-AD, set beside the same files of this run."
        ),
    ] = None,
    point_adjusted: Annotated[
        bool, typer.Option("--point-adjusted", help="Show point-adjusted F1 too, beside what a random score gets.")
    ] = False,
    report_series: ReportSeries = None,
    as_json: AsJson = False,
) -> None:
    """Measure detectors on labelled recordings, with the engine of the daemon.

    Exit codes: 0 done (series with too little data count as done), 1 a cell failed, 2 wrong arguments.

    Example: tsad backtest --dataset skab --detector patchbank,sub-pca --jobs 2 --out out/skab
    """
    from pydantic import ValidationError

    from evaluation.backtest import plan, run
    from evaluation.backtest.delays import parse_delay
    from evaluation.backtest.measures import MeasureSettings, parse_vus_length
    from evaluation.errors import DatasetError, EvaluationError, InvalidInputError, PublishedResultsError
    from evaluation.published.read import read_published
    from evaluation.report.page import SERIES_SHOWN
    from tsad.errors import TsadError
    from tsad.settings import AlarmSettings

    if names_event_set(dataset):
        backtest_on_events(
            dataset, detectors=detector or [], options=option or [], seeds=seeds, jobs=jobs, backend=backend,
            patterns=series or [], out=out, as_json=as_json, progress=_progress(shown=not as_json),
            numeric_only={
                "--mode full": mode != "causal", "--delay": delay != "0", "--threshold": threshold is not None,
                "--rows": rows != "test",
                "--train-fraction": train_fraction is not None, "--intervals": intervals is not None,
                "--published": published is not None, "--point-adjusted": point_adjusted,
            },
        )  # fmt: skip
        return
    try:
        wanted = plan.Plan(
            detectors=plan.parse_detectors(detector or ["auto"]),
            mode=mode,  # type: ignore[arg-type]
            seeds=seeds,
            threshold=threshold,
            alarm=AlarmSettings(false_alarms_per_day=false_alarms_per_day),
            options=plan.parse_options(option or []),
            rows=rows,  # type: ignore[arg-type]
            delays=[parse_delay(one.strip()) for one in delay.split(",")],
            measures=MeasureSettings(vus_length=parse_vus_length(vus_length)),
        )
        plan.plan_cells(wanted)
        theirs = None if published is None else read_published(published)
        recordings = plan.load_series(
            dataset, patterns=series or [], train_fraction=train_fraction, intervals=intervals
        )
        with _progress(shown=not as_json) as progress:
            found = run.backtest(
                recordings,
                wanted,
                out=out,
                jobs=jobs,
                backend=backend,  # type: ignore[arg-type]
                progress=progress,
                command=["tsad", *sys.argv[1:]],
                published=theirs,
                report_series=SERIES_SHOWN if report_series is None else report_series,
            )
    except ValidationError as error:
        fail("backtest", f"--false-alarms-per-day {false_alarms_per_day}: {error.errors()[0]['msg']}")
    except (InvalidInputError, DatasetError, PublishedResultsError, TsadError) as error:
        fail("backtest", error)
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

    errors = Console(stderr=True)
    columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not (shown and errors.is_terminal)) as bar:
        task = bar.add_task("cells", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(found: "Backtest", out: Path | None, *, point_adjusted: bool) -> None:
    from evaluation.backtest.report import POINT_ADJUSTMENT_WARNING, tables
    from evaluation.comparison.tables import comparison_tables
    from evaluation.published.tables import published_tables

    screen = console()
    for table in tables(found.cells, point_adjusted=point_adjusted):
        screen.print(table)
    if point_adjusted:
        screen.print(f"Warning: {POINT_ADJUSTMENT_WARNING}", style="yellow")
    for compared in comparison_tables(found.comparison):
        screen.print(compared)
    if found.published is not None:
        _show_published(found.published, published_tables(found.published))
    if found.skipped:
        typer.echo(f"{found.skipped} of {len(found.cells)} cells were finished in {out} already and were not run again")
    if out is not None:
        typer.echo(f"results: {out / 'results.json'}, {out / 'results.parquet'}; scores: {out / 'scores'}")
        typer.echo(f"report: {out / 'report.html'}")


def _show_published(published: dict[str, Any], tables: Iterable["Group"]) -> None:
    screen = console()
    for table in tables:
        screen.print(table)
    for caveat in published["caveats"]:
        typer.echo(caveat)
    typer.echo(f"{published['matched']} series have published results, {published['unmatched']} have none")
