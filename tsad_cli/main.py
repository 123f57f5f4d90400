"""The command line: `tsad COMMAND`. Commands import what they need when they are called."""

import sys
from typing import Annotated

import typer

from tsad_cli import (
    alarms,
    backtest,
    datasets,
    demo,
    detectors,
    evaluate,
    fit,
    fleet,
    history,
    learning,
    parts,
    pretrain,
    report,
    score,
    service,
    simulate,
    token,
    webhooks,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="tsad",
    help="Finds anomalies in plant telemetry: from Kafka to alarms, and on recordings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command("run")(service.run)
app.command("check")(service.check)
app.add_typer(alarms.alarms, name="alarms")
app.add_typer(learning.maintenance, name="maintenance")
app.add_typer(learning.snapshots, name="snapshots")
app.add_typer(webhooks.webhooks, name="webhooks")
app.command("demo")(demo.demo)
app.command("backtest")(backtest.backtest)
app.command("report")(report.report)
app.command("simulate")(simulate.simulate_pump)
app.command("detectors")(detectors.detectors)
app.add_typer(datasets.datasets, name="datasets")
app.command("evaluate")(evaluate.evaluate)
app.command("fit")(fit.fit)
app.add_typer(pretrain.pretrain, name="pretrain")
app.add_typer(fleet.fleet, name="fleet")
app.add_typer(history.history, name="history")
app.add_typer(parts.parts, name="parts")
app.command("score")(score.score)
app.command("token")(token.token)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"tsad {installed('tsad-service')}")
        raise typer.Exit


def main() -> None:
    """Entry point of the command `tsad`."""
    # A pipe that is closed early (`tsad … | head`) is no error of ours.
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
