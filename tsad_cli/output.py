"""What the commands of the library share: how they fail and how wide they print."""

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["AsJson", "console", "fail"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_NARROWEST = 150


def fail(command: str, error: Exception | str) -> NoReturn:
    """End with exit code 2: what was asked for is wrong, and nothing has run."""
    typer.echo(f"tsad {command}: {error}", err=True)
    raise typer.Exit(2)


def console() -> "Console":
    """Return a console that is never so narrow that numbers are cut off."""
    from rich.console import Console

    found = Console()
    # A file or a pipe has no width: numbers must not be cut off there.
    return found if found.is_terminal else Console(width=max(found.width, _NARROWEST))
