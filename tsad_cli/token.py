"""`tsad token`: make a token that the daemon's HTTP door lets in."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tsad_cli.output import AsJson

__all__ = ["token"]

_ROLES = ("viewer", "operator", "admin")


def token(
    name: Annotated[str, typer.Argument(help="Who holds it; stands in the audit log.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    days: Annotated[int | None, typer.Option(min=1, help="For how long it is let in; default: for ever.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is shown this once; the configuration holds its hash only.

    Example: tsad token control-room --role operator --days 365
    """
    import yaml

    from streams.access.tokens import new_token, token_hash

    if role not in _ROLES:
        typer.echo(f"tsad token: --role {role}: choose one of {', '.join(_ROLES)}", err=True)
        raise typer.Exit(2)
    made = new_token()
    entry = {"name": name, "role": role, "hash": token_hash(made)}
    if days is not None:
        entry["expires"] = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    if as_json:
        typer.echo(json.dumps({"token": made, "entry": entry}, indent=2))
        return
    typer.echo(f"{made}\n\nKeep it; it is not shown again. Put this under http.tokens:\n")
    typer.echo(yaml.safe_dump([entry], sort_keys=False).rstrip())
