"""`tsad datasets` and `tsad datasets check`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tsad_cli.output import AsJson, console, fail

if TYPE_CHECKING:
    from evaluation.datasets.check import DatasetCheck

__all__ = ["datasets"]

datasets = typer.Typer()


@datasets.callback(invoke_without_command=True)
def list_datasets(context: typer.Context, as_json: AsJson = False) -> None:
    """List the data sets that are known by name, and whether each is there; `check` reads and verifies them.

    Numeric sets are for `tsad backtest`; event sets are loaded by `evaluation.datasets.registry.load_events`.

    Example: tsad datasets
    """
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table
    from rich.text import Text

    from evaluation.datasets.registry import DATASETS, EVENT_DATASETS

    found = [
        {
            "name": entry.name,
            "title": entry.title,
            "kind": entry.kind,
            "series": entry.known.series,
            "looked_for": str(entry.directory()),
            "present": entry.is_present(),
            "there": entry.presence(),
            "split": entry.split,
            "label_policy": entry.label_policy,
            "how_to_get": entry.how_to_get,
            "licence": entry.licence,
        }
        for entry in (*DATASETS.values(), *EVENT_DATASETS.values())
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    columns = {
        "name": "name",
        "title": "what",
        "kind": "kind",
        "series": "series",
        "looked_for": "looked for",
        "there": "there",
        "licence": "licence",
    }
    table = Table()
    for key, heading in columns.items():
        table.add_column(heading, no_wrap=key in ("name", "kind", "there"), overflow="fold")
    for entry in found:
        table.add_row(*(Text(str(entry[key])) for key in columns))
    console().print(table)
    for entry in found:
        if entry["there"] != "yes":
            typer.echo(f"{entry['name']}, how to get it: {entry['how_to_get']}")
    typer.echo(
        "Set TSAD_DATA to the folder that holds them. Your own CSV or Parquet files are given by path. "
        "`tsad datasets check` reads what is there and compares it with its source."
    )


@datasets.command("check")
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Names of data sets; all when none is given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load every data set that is there and compare its counts with those of its source.

    Ends with exit code 1 when one that is there is broken; one that is not there is told, and is no fault.

    Example: tsad datasets check skab smap
    """
    from evaluation.datasets.check import check_datasets
    from evaluation.errors import EvaluationError

    try:
        found = check_datasets(names or ())
    except EvaluationError as error:
        fail("datasets check", error)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        _print_checks(found)
    if any(one.state == "broken" for one in found):
        raise typer.Exit(1)


def _print_checks(found: "list[DatasetCheck]") -> None:
    from rich.table import Table
    from rich.text import Text

    there = [one for one in found if one.state != "absent"]
    table = Table("name", "state", "series", "channels", "train rows", "test rows", "anomalous", "events")
    for one in there:
        cells = (
            one.name,
            one.state,
            f"{one.series:,} of {one.expected_series:,}",
            " to ".join(str(count) for count in one.channels),
            *(f"{count:,}" for count in (one.train_rows, one.test_rows, one.anomalous_rows, one.events)),
        )
        table.add_row(*(Text(cell) for cell in cells))
    if there:
        console().print(table)
    for one in there:
        for problem in one.problems:
            typer.echo(f"{one.name} is broken: {problem}")
        for reason, count in one.left_out.items():
            typer.echo(f"{one.name} leaves out {count:,} series: {reason}")
        for remark in one.remarks:
            typer.echo(f"{one.name}, to know: {remark}")
    for one in found:
        if one.state == "absent":
            typer.echo(f"{one.name} is not there; looked for in {one.looked_for}")
