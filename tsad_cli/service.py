"""Commands around the daemon: `run`, `check`."""

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from connectors.sources.base import Source
    from streams.configuration import Configuration

__all__ = ["ConfigurationFile", "check", "load_or_exit", "make_source", "run"]

ConfigurationFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file; see configs/ for examples.")]


def load_or_exit(path: Path) -> "Configuration":
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
    config: ConfigurationFile,
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

    configuration = load_or_exit(config)
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
    config: ConfigurationFile,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Validate a configuration and print it resolved, with secrets masked. Starts nothing.

    Example: tsad check configs/plant.yaml
    """
    import yaml

    from streams.configuration import masked

    shown = masked(load_or_exit(config))
    typer.echo(json.dumps(shown, indent=2) if as_json else yaml.safe_dump(shown, sort_keys=False).rstrip())
