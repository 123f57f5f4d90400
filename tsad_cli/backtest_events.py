"""`tsad backtest` on event sets."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tsad_cli.output import console, fail

if TYPE_CHECKING:
    from evaluation.backtest.run import Backtest

__all__ = ["backtest_on_events", "names_event_set"]

Progress = Callable[[int, int], None]


def names_event_set(datasets: Sequence[str]) -> bool:
    """Whether one of these data sets holds events."""
    from evaluation.datasets.registry import EVENT_DATASETS

    return any(name.upper() in EVENT_DATASETS for name in datasets)


def backtest_on_events(
    datasets: Sequence[str],
    *,
    detectors: Sequence[str],
    options: Sequence[str],
    seeds: int,
    jobs: int,
    backend: str,
    patterns: Sequence[str],
    numeric_only: Mapping[str, bool],
    out: Path | None,
    as_json: bool,
    progress: AbstractContextManager[Progress],
) -> None:
    """Run event detectors and show what they found; exit codes as for numeric series.

    Parameters
    ----------
    datasets, detectors, options, seeds, jobs, backend, patterns, out, as_json
        Arguments of the command.
    numeric_only
        Options that mean nothing for events, and whether they were given.
    progress
        Shows how far it is.
    """
    from evaluation.backtest import events
    from evaluation.backtest.plan import parse_options
    from evaluation.errors import DatasetError, InvalidInputError
    from tsad.errors import TsadError

    given = [name for name, is_given in numeric_only.items() if is_given]
    if given:
        fail("backtest", f"{given[0]} is for numeric series, not for event sets; leave it out")
    try:
        events.event_sets_among(datasets)
        cells = events.plan_event_cells(detectors or ["ape"], seeds=seeds, options=parse_options(options))
        sets = events.load_event_sets(datasets, patterns=patterns)
        with progress as shown:
            found = events.backtest_events(
                sets, cells, out=out, jobs=jobs, backend=backend, progress=shown, command=["tsad", *sys.argv[1:]]
            )
    except (InvalidInputError, DatasetError, TsadError) as error:
        fail("backtest", error)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _show(found, out)
    for kind, words in (("failed", "failed"), ("too_little_data", "has too little data")):
        for cell in found.errors(kind):
            typer.echo(f"{cell['dataset']}/{cell['series']} {cell['detector']} {words}: {cell['error']}", err=True)
    if found.errors("failed"):
        raise typer.Exit(1)


def _show(found: "Backtest", out: Path | None) -> None:
    from evaluation.backtest.event_tables import event_tables

    screen = console()
    for table in event_tables(found.cells):
        screen.print(table)
    for policy in dict.fromkeys(_policy(cell) for cell in found.cells):
        typer.echo(policy)
    if found.skipped:
        typer.echo(f"{found.skipped} of {len(found.cells)} cells were finished in {out} already and were not run again")
    if out is not None:
        typer.echo(f"results: {out / 'results.json'}, {out / 'results.parquet'}; scores: {out / 'scores'}")
        typer.echo(f"report: {out / 'report.html'}")


def _policy(cell: Mapping[str, Any]) -> str:
    return f"{cell['dataset']}/{cell['series']}: {cell['label_policy']}"
