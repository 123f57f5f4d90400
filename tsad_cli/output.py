"""What the commands share: how they fail, how wide they print, and tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["AsJson", "console", "fail", "give_up", "print_table"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_NARROWEST = 150


def fail(command: str, error: Exception | str) -> NoReturn:
    """End with exit code 2: what was asked for is wrong, and nothing has run."""
    typer.echo(f"tsad {command}: {error}", err=True)
    raise typer.Exit(2)


def give_up(command: str, message: Exception | str) -> NoReturn:
    """End with exit code 1: what was asked for is right, and could not be done."""
    typer.echo(f"tsad {command}: {message}", err=True)
    raise typer.Exit(1)


def console() -> "Console":
    """Return a console that is never so narrow that numbers are cut off."""
    from rich.console import Console

    found = Console()
    # A file or a pipe has no width: numbers must not be cut off there.
    return found if found.is_terminal else Console(width=max(found.width, _NARROWEST))


def print_table(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Print these values of rows under their names; what is None or missing is left empty."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*(name.replace("_", " ") for name in names))
    for one in rows:
        table.add_row(*("" if one.get(name) is None else str(one[name]) for name in names))
    Console().print(table)
