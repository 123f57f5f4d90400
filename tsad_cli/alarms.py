"""`tsad alarms`: how alarms stand, and what operators do about them, over the running daemon's HTTP door."""

import getpass
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tsad_cli.daemon_client import ask
from tsad_cli.output import AsJson, print_table

__all__ = ["alarms"]

alarms = typer.Typer(no_args_is_help=True, help="How alarms stand with their operators. Asks the running daemon.")

_Configuration = Annotated[Path, typer.Argument(metavar="CONFIG", help="The daemon's YAML file.")]
_Alarm = Annotated[str, typer.Argument(metavar="ALARM_ID", help="As `tsad alarms list` shows it.")]
_By = Annotated[str | None, typer.Option(help="Who does it; default: your user name.")]
_Comment = Annotated[str, typer.Option(help="A remark for the trail.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why.")]
_SHOWN = ("alarm_id", "state", "severity", "asset", "stream", "started", "acknowledged_by", "shelved_until")


def _call(config: Path, method: str, path: str, **options: Any) -> Any:
    return ask("alarms", config, method, path, **options)


def _done(config: Path, alarm_id: str, action: str, by: str | None, body: dict[str, Any], *, as_json: bool) -> None:
    shown = _call(config, "POST", f"/alarms/{alarm_id}/{action}", json={"by": by or getpass.getuser(), **body})
    typer.echo(json.dumps(shown, indent=2) if as_json else f"{shown['asset']}: {shown['state']}")


@alarms.command("list")
def list_alarms(
    config: _Configuration,
    state: Annotated[str | None, typer.Option(help="Such as active_unacknowledged, shelved, normal.")] = None,
    asset: Annotated[str | None, typer.Option(help="Of one asset.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List alarms and how they stand.

    Example: tsad alarms list plant.yaml --state active_unacknowledged
    """
    given = {"state": state, "asset": asset, "limit": limit}
    found = _call(config, "GET", "/alarms", params={name: value for name, value in given.items() if value is not None})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    print_table(found, _SHOWN)


_AIMS = {
    "alarms": "",
    "average_per_10_minutes": "about 1, at most 2",
    "most_in_10_minutes": "at most 10",
    "flood_share": "below 0.01",
    "top_10_share": "0.01 to 0.05",
    "chattering": "0",
    "fleeting": "0",
    "standing": "below 5",
}


@alarms.command("kpis")
def kpis(
    config: _Configuration,
    days: Annotated[float, typer.Option(min=0.001, max=366, help="The newest days of event time.")] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Print how operators were troubled, beside what a person can handle.

    Example: tsad alarms kpis plant.yaml --days 7
    """
    found = _call(config, "GET", "/alarms/kpis", params={"days": days})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(f"{found['since']} to {found['until']}")
    rows = [
        {"figure": name.replace("_", " "), "found": None if found[name] is None else f"{found[name]:.4g}", "aim": aim}
        for name, aim in _AIMS.items()
    ]
    print_table(rows, ("figure", "found", "aim"))


@alarms.command("show")
def show(config: _Configuration, alarm_id: _Alarm) -> None:
    """Print an alarm with its transitions and the trail of what was done to it, as JSON.

    Example: tsad alarms show plant.yaml alm_3d498009635b5f77eea96baf
    """
    typer.echo(json.dumps(_call(config, "GET", f"/alarms/{alarm_id}"), indent=2))


@alarms.command("acknowledge")
def acknowledge(
    config: _Configuration, alarm_id: _Alarm, by: _By = None, comment: _Comment = "", as_json: AsJson = False
) -> None:
    """Say that the newest episode was seen.

    Example: tsad alarms acknowledge plant.yaml alm_3d498009635b5f77eea96baf --comment "valve checked"
    """
    _done(config, alarm_id, "acknowledge", by, {"comment": comment}, as_json=as_json)


@alarms.command("shelve")
def shelve(
    config: _Configuration,
    alarm_id: _Alarm,
    reason: _Reason,
    minutes: Annotated[float, typer.Option(help="For how long.")],
    one_shot: Annotated[bool, typer.Option(help="Only until it clears.")] = False,
    by: _By = None,
    as_json: AsJson = False,
) -> None:
    """Keep an alarm quiet for a while. It is still judged and written, and not told to receivers.

    Example: tsad alarms shelve plant.yaml alm_3d498009635b5f77eea96baf --minutes 60 --reason cleaning
    """
    body = {"comment": reason, "minutes": minutes, "one_shot": one_shot}
    _done(config, alarm_id, "shelve", by, body, as_json=as_json)


@alarms.command("unshelve")
def unshelve(
    config: _Configuration, alarm_id: _Alarm, by: _By = None, comment: _Comment = "", as_json: AsJson = False
) -> None:
    """Let a shelved alarm announce itself again.

    Example: tsad alarms unshelve plant.yaml alm_3d498009635b5f77eea96baf
    """
    _done(config, alarm_id, "unshelve", by, {"comment": comment}, as_json=as_json)


@alarms.command("take-out-of-service")
def take_out_of_service(
    config: _Configuration, alarm_id: _Alarm, reason: _Reason, by: _By = None, as_json: AsJson = False
) -> None:
    """Keep an alarm quiet until it is put back.

    Example: tsad alarms take-out-of-service plant.yaml alm_3d498009635b5f77eea96baf --reason overhaul
    """
    _done(config, alarm_id, "take-out-of-service", by, {"comment": reason}, as_json=as_json)


@alarms.command("return-to-service")
def return_to_service(
    config: _Configuration, alarm_id: _Alarm, by: _By = None, comment: _Comment = "", as_json: AsJson = False
) -> None:
    """Put an alarm back into service.

    Example: tsad alarms return-to-service plant.yaml alm_3d498009635b5f77eea96baf
    """
    _done(config, alarm_id, "return-to-service", by, {"comment": comment}, as_json=as_json)


@alarms.command("label")
def label(
    config: _Configuration,
    alarm_id: _Alarm,
    what: Annotated[str, typer.Argument(metavar="true|false|known")],
    episode: Annotated[str | None, typer.Option(help="Which; default: the newest.")] = None,
    by: _By = None,
    comment: _Comment = "",
    as_json: AsJson = False,
) -> None:
    """Say what an episode was: a real problem, a false alarm, or a known event. It changes what is learnt.

    Example: tsad alarms label plant.yaml alm_3d498009635b5f77eea96baf false --comment "planned restart"
    """
    _done(config, alarm_id, "label", by, {"label": what, "comment": comment, "episode_id": episode}, as_json=as_json)


@alarms.command("wanted")
def wanted(
    config: _Configuration,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 5,
    as_json: AsJson = False,
) -> None:
    """List the few episodes whose label would help most, and why.

    Example: tsad alarms wanted plant.yaml --limit 3
    """
    found = _call(config, "GET", "/labels/wanted", params={"limit": limit})
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    print_table(found, ("alarm_id", "episode_id", "asset", "stream", "started", "ended", "why"))


@alarms.command("bad-period")
def bad_period(
    config: _Configuration,
    stream: Annotated[str, typer.Argument(help="Of which stream.")],
    asset: Annotated[str, typer.Argument(help="Which asset.")],
    start: Annotated[str, typer.Option(help="RFC 3339, with a zone.")],
    end: Annotated[str, typer.Option(help="RFC 3339, with a zone.")],
    reason: _Reason,
    by: _By = None,
) -> None:
    """Declare that a period must never count as normal, whether there was an alarm or not.

    Example: tsad alarms bad-period plant.yaml pumps pump-1 --start 2025-01-01T08:00:00Z
    --end 2025-01-01T09:30:00Z --reason "worn seal"
    """
    body = {"stream": stream, "asset": asset, "start": start, "end": end, "reason": reason}
    found = _call(config, "POST", "/bad-periods", json={"by": by or getpass.getuser(), **body})
    typer.echo(f"change {found[0]['number']}: {asset} of {stream} from {found[0]['start']} to {found[0]['end']}")
