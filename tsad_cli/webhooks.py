"""Commands around deliveries: `webhooks list|show|replay|test`."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.output import fail, give_up, print_table
from tsad_cli.service import ConfigurationFile, load_or_exit

if TYPE_CHECKING:
    from connectors.webhooks import Endpoint
    from connectors.webhooks.judgement import Answer
    from streams.configuration import Configuration

__all__ = ["webhooks"]

webhooks = typer.Typer(
    help="Deliveries of alarm events: list them, look into one, send them again, try an endpoint.",
    no_args_is_help=True,
)

_SHOWN = ("webhook_id", "endpoint", "event_type", "created_at", "attempts", "status")


@webhooks.command("list")
def list_webhooks(
    config: ConfigurationFile,
    status: Annotated[str | None, typer.Option(help="pending, delivered, failed or disabled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the bodies.")] = False,
) -> None:
    """List deliveries, whether the daemon runs or not.

    Example: tsad webhooks list configs/plant.yaml --status failed
    """
    entries = _webhook_calls(load_or_exit(config)).newest(status, limit)
    if as_json:
        typer.echo(json.dumps(entries, indent=2))
        return
    print_table(entries, _SHOWN)


@webhooks.command("show")
def show_webhook(
    config: ConfigurationFile,
    webhook_id: Annotated[str, typer.Argument(help="As `tsad webhooks list` shows it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the event it was made from.")] = False,
) -> None:
    """Show one delivery: every attempt, and the body as sent, with secrets masked.

    Example: tsad webhooks show configs/plant.yaml msg_0f3a
    """
    shown = _webhook_calls(load_or_exit(config)).one(webhook_id)
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    typer.echo(f"{shown['webhook_id']}  {shown['event_type']} of {shown['alarm_id']}, {shown['transition_seq']}")
    typer.echo(f"to {shown['endpoint']} ({shown['address'] or 'not configured any more'}): {shown['status']}")
    for number, attempt in enumerate(shown["attempts"], 1):
        status = "no answer" if attempt["status_code"] is None else attempt["status_code"]
        remark = f"  {attempt['error']}" if attempt["error"] else ""
        typer.echo(
            f"  {number}. {attempt['attempted_at']}  {attempt['outcome']}  {status}  "
            f"{attempt['duration_ms']:.0f} ms{remark}"
        )
    sent = shown["sent"]
    if sent is None:
        return
    words = {
        True: "as sent",
        False: "by settings that have changed since the last attempt",
        None: "to send",
    }
    typer.echo(f"body, {words[sent['as_sent']]} ({sent['content_type']}):")
    for name, value in sent["headers"].items():
        typer.echo(f"{name}: {value}")
    typer.echo(sent["body"])


@webhooks.command("replay")
def replay_webhooks(
    config: ConfigurationFile,
    webhook_ids: Annotated[list[str] | None, typer.Argument(metavar="[WEBHOOK_ID]...")] = None,
    endpoint: Annotated[str | None, typer.Option(help="All of this endpoint, which is switched on again.")] = None,
    since: Annotated[str | None, typer.Option(help="All since this time, e.g. 2026-11-21T08:00:00Z.")] = None,
) -> None:
    """Send deliveries again, with their ids unchanged. Conditions given together must all hold.

    Example: tsad webhooks replay configs/plant.yaml --endpoint control-room --since 2026-11-21T08:00:00Z
    """
    count = _webhook_calls(load_or_exit(config)).replay(webhook_ids or None, endpoint, since)
    typer.echo(f"{count} deliveries are due again")


@webhooks.command("test")
def try_endpoint(
    config: ConfigurationFile,
    endpoint: Annotated[str, typer.Argument(help="Name in the configuration.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send an endpoint an event that says it is a test, now, and print what it answers.

    Every instance of an Alertmanager is tried. It leaves no trace in the outbox, and works beside a running daemon.
    PagerDuty opens an incident of severity info. Exit status 1: not everybody took it.

    Example: tsad webhooks test configs/plant.yaml control-room
    """
    configuration = load_or_exit(config)
    chosen = [
        one for webhook in configuration.webhooks for one in webhook.endpoints() if endpoint in {webhook.name, one.name}
    ]
    if not chosen:
        names = ", ".join(one.name for one in configuration.endpoints()) or "none"
        fail("webhooks", f"there is no endpoint {endpoint!r}; there are: {names}")
    results = _tried(configuration, chosen)
    if as_json:
        typer.echo(json.dumps(results, indent=2))
    else:
        for one in results:
            said = f": {one['answer']}" if one["answer"] else ""
            status = "" if one["status_code"] is None else f" {one['status_code']}"
            word = "taken" if one["delivered"] else "not taken"
            typer.echo(f"{one['endpoint']} ({one['address']}): {word}{status} in {one['duration_ms']:.0f} ms{said}")
    if not all(one["delivered"] for one in results):
        raise typer.Exit(1)


def _tried(configuration: "Configuration", endpoints: "list[Endpoint]") -> list[dict[str, Any]]:
    """What each endpoint did with a test event."""
    from datetime import UTC, datetime

    from connectors.alarm_event import encode_event
    from connectors.service_event import endpoint_test
    from connectors.webhooks import Delivery
    from connectors.webhooks.carriers import Carrier

    carrier = Carrier(configuration.delivery.policy())
    results = []
    for one in endpoints:
        now = datetime.now(UTC)
        event = endpoint_test(one.name, now)
        data = event["data"]
        delivery = Delivery(
            f"msg_test_{data['transition_seq']}", one.name, data["alarm_id"], data["transition_seq"], event["type"],
            encode_event(event), now,
        )  # fmt: skip
        answer: Answer = carrier.send(one, delivery, now, keep_answer=True)
        status = answer.status_code
        results.append(
            {
                "endpoint": one.name,
                "address": one.masked_url,
                "delivered": answer.delivered or (status is not None and 200 <= status < 300),
                "status_code": status,
                "answer": answer.error,
                "duration_ms": round(answer.duration_ms, 1),
            }
        )
    carrier.close()
    return results


def _webhook_calls(configuration: "Configuration") -> Any:
    """The running daemon's outbox over HTTP, or the history's own when no daemon has it open."""
    from connectors.errors import HistoryError, HistoryLockedError
    from tsad_cli.webhook_calls import FileCalls, HttpCalls

    try:
        return FileCalls(configuration)
    except HistoryLockedError:
        return HttpCalls(configuration.http)
    except HistoryError as error:
        give_up("webhooks", error)
