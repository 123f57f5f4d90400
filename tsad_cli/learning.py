"""`tsad maintenance` and `tsad snapshots`: what operators say that changes what is learnt, over HTTP."""

import getpass
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from tsad_cli.daemon_client import ask
from tsad_cli.output import AsJson, print_table

__all__ = ["maintenance", "snapshots"]

maintenance = typer.Typer(
    no_args_is_help=True,
    help="Times in which nothing is learnt and alarms are suppressed by design. Asks the running daemon.",
)
snapshots = typer.Typer(
    no_args_is_help=True,
    help="What operators changed of what is learnt: list it, see what it did, take it back. Asks the running daemon.",
)

_Configuration = Annotated[Path, typer.Argument(metavar="CONFIG", help="The daemon's YAML file.")]
_By = Annotated[str | None, typer.Option(help="Who does it; default: your user name.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why.")]
_Number = Annotated[int, typer.Argument(metavar="NUMBER", help="As the list shows it.")]


def _said(by: str | None, reason: str) -> dict[str, Any]:
    return {"by": by or getpass.getuser(), "reason": reason}


@maintenance.command("add")
def add(
    config: _Configuration,
    reason: _Reason,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="From now on, for so long.")] = None,
    start: Annotated[str | None, typer.Option(help="RFC 3339, with a zone; default: now.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339, with a zone.")] = None,
    stream: Annotated[list[str] | None, typer.Option(help="Of these streams; default: all. Repeatable.")] = None,
    assets: Annotated[str, typer.Option(help="A name, with * and ?.")] = "*",
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Declare maintenance.

    Example: tsad maintenance add plant.yaml --assets "line-1/*" --minutes 120 --reason "filter change"
    """
    if (until is None) == (minutes is None):
        raise typer.BadParameter("give either --until or --minutes")
    if minutes is not None:
        until = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()
    body = {**_said(by, reason), "assets": assets, "streams": stream or [], "until": until}
    if start is not None:
        body["start"] = start
    found = ask("maintenance", config, "POST", "/maintenance", json=body)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        typer.echo(f"maintenance {one['number']}: {one['asset']} of {one['stream']} until {one['end']}")


@maintenance.command("list")
def list_maintenance(config: _Configuration, as_json: AsJson = False) -> None:
    """List maintenance that is not over, and what the configuration knows beforehand (without a number).

    Example: tsad maintenance list plant.yaml
    """
    found = ask("maintenance", config, "GET", "/maintenance")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    print_table(found, ("number", "stream", "assets", "start", "end", "reason"))


@maintenance.command("end")
def end(config: _Configuration, number: _Number, reason: _Reason, by: _By = None, as_json: AsJson = False) -> None:
    """Let a declared maintenance end now.

    Example: tsad maintenance end plant.yaml 4 --reason "done early"
    """
    found = ask("maintenance", config, "POST", f"/maintenance/{number}/end", json=_said(by, reason))
    typer.echo(json.dumps(found, indent=2) if as_json else f"maintenance {number} ends at {found[0]['end']}")


@snapshots.command("list")
def list_changes(
    config: _Configuration,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what operators changed of what is learnt; each has a snapshot from before it, while that is kept.

    Example: tsad snapshots list plant.yaml
    """
    found = ask("snapshots", config, "GET", "/changes", params={"limit": limit})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for one in found:
        one["snapshot"] = "waits" if one["waits"] else "kept" if one["can_be_rolled_back"] else "none"
    print_table(found, ("number", "kind", "asset", "stream", "by", "reason", "snapshot"))


@snapshots.command("diff")
def diff(config: _Configuration, number: _Number, as_json: AsJson = False) -> None:
    """Print what a change did: the calibration before and after it, and what left the bank.

    Example: tsad snapshots diff plant.yaml 3
    """
    found = ask("snapshots", config, "GET", f"/changes/{number}")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if found["waits"]:
        typer.echo(f"change {number} waits to be heeded with the next commit")
        return
    rows = []
    for effect in found["effects"]:
        asset, before, after = effect["asset"], effect["before"] or {}, effect["after"] or {}
        rows += [
            {"asset": asset, "what": name, "before": f"{before[name]:.6g}", "after": f"{after[name]:.6g}"}
            for name in before
        ]
        rows += [{"asset": asset, "what": f"{name} changed", "after": effect[name]} for name in ("windows", "clusters")]
        rows.append({"asset": asset, "what": "training rows dropped", "after": effect["rows"]})
    print_table(rows, ("asset", "what", "before", "after"))


@snapshots.command("rollback")
def rollback(config: _Configuration, number: _Number, reason: _Reason, by: _By = None, as_json: AsJson = False) -> None:
    """Put back what was learnt before a change. What was learnt since from quiet time goes with it.

    Example: tsad snapshots rollback plant.yaml 3 --reason "the label was wrong"
    """
    found = ask("snapshots", config, "POST", f"/changes/{number}/rollback", json=_said(by, reason))
    told = f"change {found[0]['number']} puts back what was learnt before change {number}"
    typer.echo(json.dumps(found, indent=2) if as_json else told)
