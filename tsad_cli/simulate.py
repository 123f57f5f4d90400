"""The command `simulate`: a labelled recording of the simulated pump, for trying things out."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["simulate_pump"]

_START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


def simulate_pump(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, .csv or .parquet.")],
    duration: Annotated[str, typer.Option(help="Length, e.g. 2h.")] = "2h",
    training: Annotated[str, typer.Option(help="Quiet start without faults, e.g. 30min.")] = "30min",
    seed: Annotated[int, typer.Option(help="Another seed gives another recording.")] = 0,
) -> None:
    """Write a recording of the simulated pump skid with one fault of every kind, labelled.

    Columns: timestamp, eight channels, label (1 while a fault lasts), split (train or test).

    Example: tsad simulate pump.csv --duration 2h
    """
    import polars as pl

    from tsad.errors import TsadError
    from tsad.settings import parse_duration
    from tsad.simulation import PlantSettings, default_faults, simulate

    if out.suffix not in {".csv", ".parquet"}:
        raise typer.BadParameter(f"{out} must end in .csv or .parquet", param_hint="OUT")
    try:
        seconds, quiet = parse_duration(duration), parse_duration(training)
        settings = PlantSettings(seed=seed, training_seconds=quiet, node_assets=())
        faults = default_faults(settings, _START, seconds)
        recording = simulate(settings, _START, seconds, faults)
    except (TsadError, ValueError) as error:
        typer.echo(f"tsad simulate: {error}", err=True)
        raise typer.Exit(2) from error
    asset = settings.pump_assets[0]
    sensors = recording.sensors[asset]
    there = sensors.present
    columns = {"timestamp": pl.Series(sensors.times[there]).cast(pl.Datetime("ns"))}
    columns |= {name: pl.Series(sensors.values[there, c]) for c, name in enumerate(sensors.channels)}
    columns["label"] = pl.Series(recording.labels(asset)[there].astype("uint8"))
    train = sensors.times[there] < recording.training_end
    columns["split"] = pl.Series(["train" if t else "test" for t in train])
    table = pl.DataFrame(columns)
    table.write_csv(out) if out.suffix == ".csv" else table.write_parquet(out)
    typer.echo(f"{out}: {len(table)} rows, {len(faults)} faults")
