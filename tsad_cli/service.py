"""Commands around the daemon: `run`, `check`, `webhooks`."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectors.sources.base import Source
    from streams.configuration import Configuration

__all__ = ["check", "make_source", "run", "webhooks"]

webhooks = typer.Typer(help="Deliveries of alarm events: list them, send them again.", no_args_is_help=True)

_ConfigurationFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file; see configs/ for examples.")]


def _load(path: Path) -> "Configuration":
    """The configuration, or exit code 2 with its problems."""
    from streams.configuration import load_configuration
    from streams.errors import ConfigurationFileError

    try:
        return load_configuration(path)
    except ConfigurationFileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def make_source(configuration: "Configuration") -> "Source":
    """The source that a configuration names."""
    from connectors.sources.files import FileSource
    from connectors.sources.kafka import KafkaSource
    from streams.configuration import FileSourceSettings

    settings = configuration.source
    if isinstance(settings, FileSourceSettings):
        return FileSource(settings.path, settings.topic, asset=settings.asset)
    topics = sorted({stream.topic for stream in configuration.streams})
    if settings.client == "confluent":
        from connectors.sources.confluent import ConfluentSource

        return ConfluentSource(settings.bootstrap, topics, start=settings.start, options=settings.options)
    return KafkaSource(settings.bootstrap, topics, start=settings.start, options=settings.options)


def run(
    config: _ConfigurationFile,
    relearn: Annotated[
        list[str] | None, typer.Option(metavar="STREAM", help="Drop what this stream has learnt. May be repeated.")
    ] = None,
    log: Annotated[str, typer.Option(help="Log lines: json, console, or auto (console on a terminal).")] = "auto",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Score telemetry and raise alarms until stopped (SIGTERM or Ctrl-C).

    Example: tsad run configs/replay-file.yaml
    """
    # Told to stop while libraries are still being imported: end as cleanly as later.
    stopped_early: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopped_early.append(number))
    from connectors.errors import ConnectorError
    from connectors.history.database import History
    from streams.errors import StreamsError
    from streams.http import HttpServer, create_application
    from streams.logs import configure_logs
    from streams.service import Service
    from tsad.errors import TsadError

    configuration = _load(config)
    configure_logs("console" if log == "console" or (log == "auto" and sys.stderr.isatty()) else "json", log_level)
    server: HttpServer | None = None
    try:
        source = make_source(configuration)
        with History(configuration.history.path) as history:
            service = Service(configuration, source, history, relearn=relearn or ())
            if configuration.http.enabled:
                app = create_application(service)
                if configuration.http.console:
                    from streams.console.pages import attach_console

                    attach_console(app, service)
                server = HttpServer(app, configuration.http.host, configuration.http.port, tls=configuration.http.tls)
                server.start()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: service.stop())
            if stopped_early:
                service.stop()
            service.start()
            _announce(configuration, server)
            while not service.wait(0.2):
                pass
            if server is not None:
                server.stop()
            if service.pipeline.pending_records:
                typer.echo("stopped with records that could not be committed; they are read again next time", err=True)
                raise typer.Exit(1)
    except (ConnectorError, StreamsError, TsadError) as error:
        typer.echo(f"tsad run: {error}", err=True)
        raise typer.Exit(1) from error


def _announce(configuration: "Configuration", server: Any) -> None:
    import structlog

    structlog.get_logger("tsad").info(
        "running",
        streams=[stream.name for stream in configuration.streams],
        history=str(configuration.history.path),
        http=None if server is None else configuration.http.model_copy(update={"port": server.port}).base_url,
    )


def check(
    config: _ConfigurationFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Validate a configuration and print it resolved, with secrets masked. Starts nothing.

    Example: tsad check configs/plant.yaml
    """
    import yaml

    from streams.configuration import masked

    shown = masked(_load(config))
    typer.echo(json.dumps(shown, indent=2) if as_json else yaml.safe_dump(shown, sort_keys=False).rstrip())


@webhooks.command("list")
def list_webhooks(
    config: _ConfigurationFile,
    status: Annotated[str | None, typer.Option(help="pending, delivered, failed or disabled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the bodies.")] = False,
) -> None:
    """List deliveries, whether the daemon runs or not.

    Example: tsad webhooks list configs/plant.yaml --status failed
    """
    from rich.console import Console
    from rich.table import Table

    entries = _webhook_calls(_load(config)).newest(status, limit)
    if as_json:
        typer.echo(json.dumps(entries, indent=2))
        return
    table = Table("webhook id", "endpoint", "event", "created", "attempts", "status")
    for entry in entries:
        table.add_row(*(str(entry[key]) for key in _SHOWN))
    Console().print(table)


@webhooks.command("replay")
def replay_webhooks(
    config: _ConfigurationFile,
    webhook_ids: Annotated[list[str] | None, typer.Argument(metavar="[WEBHOOK_ID]...")] = None,
    endpoint: Annotated[str | None, typer.Option(help="All of this endpoint, which is switched on again.")] = None,
    since: Annotated[str | None, typer.Option(help="All since this time, e.g. 2026-11-21T08:00:00Z.")] = None,
) -> None:
    """Send deliveries again, with their ids unchanged. Conditions given together must all hold.

    Example: tsad webhooks replay configs/plant.yaml --endpoint control-room --since 2026-11-21T08:00:00Z
    """
    count = _webhook_calls(_load(config)).replay(webhook_ids or None, endpoint, since)
    typer.echo(f"{count} deliveries are due again")


_SHOWN = ("webhook_id", "endpoint", "event_type", "created_at", "attempts", "status")


def _webhook_calls(configuration: "Configuration") -> Any:
    """The running daemon's outbox over HTTP, or the history's own when no daemon has it open."""
    from connectors.errors import HistoryError, HistoryLockedError
    from tsad_cli.webhook_calls import FileCalls, HttpCalls

    try:
        return FileCalls(configuration.history.path)
    except HistoryLockedError:
        return HttpCalls(configuration.http)
    except HistoryError as error:
        typer.echo(f"tsad webhooks: {error}", err=True)
        raise typer.Exit(1) from error
