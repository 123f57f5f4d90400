"""`tsad datasets`."""

import json

import typer

from tsad_cli.output import AsJson, console

__all__ = ["datasets"]


def datasets(as_json: AsJson = False) -> None:
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
    console().print(table)
    typer.echo("Set TSAD_DATA to the folder that holds them. Your own CSV or Parquet files are given by path.")
