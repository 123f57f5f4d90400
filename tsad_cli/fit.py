"""`tsad fit`: a learnt engine in a folder, from which `tsad score --model` and the daemon go on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tsad_cli.output import AsJson, fail

if TYPE_CHECKING:
    from tsad.quality.settings import SensorSettings
    from tsad.settings import AlarmSettings, DetectorSettings

__all__ = ["DETECTOR_OPTION", "fit", "named_detectors"]

DETECTOR_OPTION = typer.Option(metavar="DETECTOR.OPTION=VALUE", help="May be repeated.")


def fit(
    train: Annotated[Path, typer.Option(metavar="FILE", help="CSV or Parquet file of normal rows.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the model; it must not hold one yet.")],
    detector: Annotated[str, typer.Option(help="A name that `tsad detectors` lists; a+b combines two.")] = "auto",
    option: Annotated[list[str] | None, DETECTOR_OPTION] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take detectors, alarm and sensor settings from a stream of the daemon."),
    ] = None,
    stream: Annotated[str | None, typer.Option(metavar="NAME", help="Which stream of --config.")] = None,
    as_json: AsJson = False,
) -> None:
    """Learn what is normal, and keep it for `tsad score --model DIR` and for the daemon (`streams[].models`).

    Exit codes: 0 done, 1 the model cannot be written, 2 wrong arguments or files.

    Example: tsad fit --detector sub-pca --train train.csv --out model/

    Example: tsad fit --config plant.yaml --stream pumps --train pump-1.csv --out models/pump-1
    """
    from evaluation.errors import DatasetError, InvalidInputError
    from evaluation.recordings import read_recording, training_series
    from evaluation.scoring import CausalScorer
    from streams.models import ARRAYS, DESCRIPTION, write_model
    from tsad.errors import TsadError

    if (out / DESCRIPTION).exists():
        fail("fit", f"{out} holds a model already; give another folder, or remove it")
    try:
        recording = read_recording(train)
        if config is None:
            detectors, alarm, sensors = named_detectors(detector, option or []), None, None
        else:
            detectors, alarm, sensors = _of_stream(config, stream)
            detector = "+".join(one.name for one in detectors)
        scorer = CausalScorer.learn(training_series(recording, len(recording)), detectors, alarm, sensors)
    except (InvalidInputError, DatasetError, TsadError) as error:
        fail("fit", error)
    try:
        write_model(
            out, scorer.engine, origin=scorer.origin, trained=scorer.trained, rows=scorer.rows,
            timed=recording.times is not None,
        )  # fmt: skip
    except OSError as error:
        typer.echo(f"tsad fit: {out} cannot be written: {error}", err=True)
        raise typer.Exit(1) from error
    said = {
        "model": str(out), "detector": detector, "rows": len(recording), "channels": list(recording.channels),
        "learnt": scorer.engine.is_fitted(0), "bytes": (out / ARRAYS).stat().st_size,
        "choices": list(scorer.engine.choices(0)),
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    later = "" if said["learnt"] else "; its last row is incomplete, so learning ends with the first row scored"
    typer.echo(f"learnt {detector} from {len(recording)} rows of {train} into {out} ({said['bytes']:,} bytes){later}")
    for choice in scorer.engine.choices(0):
        typer.echo(f"  {choice}")


def _of_stream(config: Path, name: str | None) -> "tuple[list[DetectorSettings], AlarmSettings, SensorSettings | None]":
    """Detectors, and settings of alarms and sensors, of a stream in the daemon's configuration.

    Raises
    ------
    InvalidInputError
        The configuration cannot be read, or has no such numeric stream.
    """
    from evaluation.errors import InvalidInputError
    from streams.configuration import load_configuration
    from streams.errors import StreamsError

    try:
        streams = {one.name: one for one in load_configuration(config).numeric_streams}
    except StreamsError as error:
        raise InvalidInputError(str(error)) from error
    if name not in streams:
        raise InvalidInputError(f"--stream is {name}; the numeric streams of {config} are {', '.join(streams)}")
    return list(streams[name].detectors), streams[name].alarm, streams[name].sensors


def named_detectors(name: str, options: list[str]) -> "list[DetectorSettings]":
    """Detectors of one entry such as ``robust`` or ``robust+sub-pca``, with their options.

    Raises
    ------
    ConfigurationError
        A detector or option does not exist, or a value is wrong.
    InvalidInputError
        The text has another form.
    """
    from evaluation.backtest.plan import parse_detectors, parse_options
    from evaluation.errors import InvalidInputError
    from tsad.detectors.registry import create_detector
    from tsad.settings import DetectorSettings

    entries = parse_detectors([name])
    if len(entries) > 1:
        raise InvalidInputError(f"--detector {name!r} names {len(entries)}; give one, or combine them as a+b")
    chosen = parse_options(options)
    unused = sorted(set(chosen) - set(entries[0]))
    if unused:
        raise InvalidInputError(f"--option names detector {unused[0]!r}, which is not among {', '.join(entries[0])}")
    for one in entries[0]:
        create_detector(one, chosen.get(one))
    return [DetectorSettings(name=one, options=chosen.get(one, {})) for one in entries[0]]
