"""`tsad history`: Parquet for analysts, whether the daemon runs or not."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from tsad_cli.daemon_client import ask_at
from tsad_cli.output import AsJson, fail, give_up

__all__ = ["history"]

history = typer.Typer(no_args_is_help=True, help="What is stored, for other programs.")

_Configuration = Annotated[Path, typer.Argument(metavar="CONFIG", help="The daemon's YAML file.")]


@history.callback()
def _history() -> None:
    """A group with one command needs a callback to stay a group."""


@history.command("export")
def export(
    config: _Configuration,
    table: Annotated[list[str] | None, typer.Option(help="One of them; may be given again. Default: all.")] = None,
    since: Annotated[str | None, typer.Option(help="From this event time on, e.g. 2026-11-21T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to this event time.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write tables as Parquet, by stream and day, into the folder `history.exports`.

    The running daemon writes them itself; without one, the history file is read.

    Example: tsad history export plant.yaml --table samples --since 2026-11-21T00:00:00Z
    """
    from connectors.errors import HistoryError, HistoryLockedError
    from connectors.history.database import History
    from connectors.history.export import EXPORTED, export_parquet
    from streams.configuration import load_configuration
    from streams.errors import StreamsError

    try:
        configuration = load_configuration(config)
        begin, end = _time("--since", since), _time("--until", until)
    except (StreamsError, ValueError) as error:
        fail("history", error)
    settings = configuration.history
    tables = table or list(EXPORTED)
    if not settings.path.is_file():
        give_up("history", f"{settings.path} is not there; it is made by the first `tsad run`")
    try:
        with History(settings.path) as opened, opened.cursor() as cursor:
            done = export_parquet(cursor, settings.exports, tables, begin, end)
        shown: dict[str, Any] = {
            "folder": str(settings.exports.resolve()), "tables": {one.table: one.rows for one in done}
        }  # fmt: skip
    except HistoryLockedError:
        request = {"tables": tables, "since": since, "until": until}
        shown = ask_at("history", configuration.http, "POST", "/export", json=request, timeout=600)
    except HistoryError as error:
        give_up("history", error)
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    for name, rows in shown["tables"].items():
        typer.echo(f"{rows:>12,} rows of {name}")
    typer.echo(f"written below {shown['folder']}")


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{option} {text}: give a time such as 2026-11-21T00:00:00Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{option} {text}: give its zone too, e.g. {text}Z")
    return moment
