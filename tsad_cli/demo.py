"""The command `demo`: a plant, a broker, the daemon and a receiver of its alarms, all real, in about 80 seconds."""

import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tsad_cli.demo_feed import Feed
    from tsad_cli.demo_run import Continuation

__all__ = ["demo"]

_PLAIN_WIDTH = 150


def demo(
    seconds: Annotated[float, typer.Option(min=5.0, help="How long to publish.")] = 70.0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random in the simulated plant.")] = 0,
    small: Annotated[bool, typer.Option("--small", help="Two pumps and a short schedule: a quick check.")] = False,
    replay: Annotated[
        str | None, typer.Option(metavar="DATASET", help="skab, smap or msl (from $TSAD_DATA) instead of the plant.")
    ] = None,
    series: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Series of the data set to replay. May be repeated.")
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A Kafka broker that runs; default: start one.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep configuration, history and logs here.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on in real time after the table, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Show a plant on Kafka, its alarms by webhook, and what was planted against what was told.

    Starts a small Kafka-protocol broker, publishes a simulated plant with faults, runs `tsad run` on it, receives its
    signed webhooks, and ends everything again. Exit status 0: every planted fault was told.

    Example: tsad demo --seed 1 --directory ./demo
    """
    from rich.console import Console

    from connectors.errors import ConnectorError
    from evaluation.errors import EvaluationError
    from tsad.errors import TsadError
    from tsad_cli.demo_errors import DemoError
    from tsad_cli.demo_run import play
    from tsad_cli.demo_table import show_report

    if keep and (as_json or replay):
        typer.echo("tsad demo: --keep goes neither with --json nor with --replay", err=True)
        raise typer.Exit(2)
    if series and not replay:
        typer.echo("tsad demo: --series belongs to --replay", err=True)
        raise typer.Exit(2)
    # Where there is no terminal nothing says how wide it is, and the table needs about this much.
    width = None if sys.stdout.isatty() else _PLAIN_WIDTH
    console = Console(stderr=as_json, width=width)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        make_feed, go_on = _feeds(seed, small=small, replay=replay, series=series)
        with _folder(directory) as folder:
            report, feed = play(
                make_feed,
                console,
                folder,
                seconds,
                bootstrap=bootstrap,
                quiet=as_json,
                go_on=go_on if keep else None,
            )
        if as_json:
            typer.echo(json.dumps(report.as_dict(feed), indent=2))
        else:
            show_report(console, report, feed)
    except KeyboardInterrupt:
        typer.echo("tsad demo: interrupted; everything was ended", err=True)
        raise typer.Exit(130) from None
    except (DemoError, ConnectorError, EvaluationError, TsadError) as error:
        typer.echo(f"tsad demo: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(1 if report.problems else 0)


def _interrupt(_number: int, _frame: Any) -> None:
    """Treat SIGTERM as Ctrl-C, so that everything is ended."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """The folder for files: the user's, or a temporary one."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="tsad-demo-") as temporary:
        yield Path(temporary)


def _feeds(
    seed: int, *, small: bool, replay: str | None, series: list[str] | None
) -> "tuple[Callable[[int], Feed], Continuation]":
    """What makes the feed, and what makes the one that goes on after it."""
    from tsad_cli.demo_plant import FULL, SMALL, simulated_plant

    if replay is not None:
        from tsad_cli.demo_replay import load_recording, replayed

        recording = load_recording(replay, series)
        return lambda end: replayed(recording, end), lambda feed, _: feed
    plan = SMALL if small else FULL

    def go_on(before: "Feed", number: int) -> "Feed":
        # Each hour begins where the one before ended.
        return simulated_plant(plan, seed, before.end + 3_600 * 10**9, hours_before=number - 1, hours=number)

    return lambda end: simulated_plant(plan, seed, end), go_on
