"""`tsad fit`, and the folder that it writes: a learnt engine, from which `tsad score --model` goes on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.output import AsJson, fail

if TYPE_CHECKING:
    from evaluation.scoring import CausalScorer
    from tsad.settings import DetectorSettings

__all__ = ["DETECTOR_OPTION", "fit", "load_model", "named_detectors", "save_model"]

DESCRIPTION, ARRAYS = "model.json", "model.safetensors"
DETECTOR_OPTION = typer.Option(metavar="DETECTOR.OPTION=VALUE", help="May be repeated.")


def fit(
    train: Annotated[Path, typer.Option(metavar="FILE", help="CSV or Parquet file of normal rows.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the model; it must not hold one yet.")],
    detector: Annotated[str, typer.Option(help="A name that `tsad detectors` lists; a+b combines two.")] = "auto",
    option: Annotated[list[str] | None, DETECTOR_OPTION] = None,
    as_json: AsJson = False,
) -> None:
    """Learn what is normal, and keep it: `tsad score --model DIR` scores the rows that follow.

    Exit codes: 0 done, 1 the model cannot be written, 2 wrong arguments or files.

    Example: tsad fit --detector sub-pca --train train.csv --out model/
    """
    from evaluation.errors import DatasetError, InvalidInputError
    from evaluation.recordings import read_recording, training_series
    from evaluation.scoring import CausalScorer
    from tsad.errors import TsadError

    if (out / DESCRIPTION).exists():
        fail("fit", f"{out} holds a model already; give another folder, or remove it")
    try:
        recording = read_recording(train)
        scorer = CausalScorer.learn(training_series(recording, len(recording)), named_detectors(detector, option or []))
    except (InvalidInputError, DatasetError, TsadError) as error:
        fail("fit", error)
    try:
        save_model(out, scorer, timed=recording.times is not None)
    except OSError as error:
        typer.echo(f"tsad fit: {out} cannot be written: {error}", err=True)
        raise typer.Exit(1) from error
    said = {
        "model": str(out), "detector": detector, "rows": len(recording), "channels": list(recording.channels),
        "learnt": scorer.engine.is_fitted(0), "bytes": (out / ARRAYS).stat().st_size,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    later = "" if said["learnt"] else "; its last row is incomplete, so learning ends with the first row scored"
    typer.echo(f"learnt {detector} from {len(recording)} rows of {train} into {out} ({said['bytes']:,} bytes){later}")


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


def save_model(folder: Path, scorer: "CausalScorer", *, timed: bool) -> None:
    """Write a learnt engine: its state as the daemon's snapshots hold it, and what it takes to go on.

    Parameters
    ----------
    folder
        Made where it is missing.
    scorer
        Has taken in its training part and nothing else.
    timed
        Whether the training file has times of its own.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    from streams.snapshots import SNAPSHOT_FORMAT, arrays_to_bytes

    engine = scorer.engine
    fitted, _ = engine.state(fitted=True)
    streaming, extra = engine.state(fitted=False)
    description = {
        "format": SNAPSHOT_FORMAT,
        "settings": engine.settings.model_dump(mode="json"),
        "origin": scorer.origin,
        "trained": scorer.trained,
        "rows": scorer.rows,
        "timed": timed,
        "engine": extra,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS).write_bytes(arrays_to_bytes({**fitted, **streaming}))
    # Last: a folder with a description is whole.
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> "tuple[CausalScorer, bool]":
    """The engine of a folder that `save_model` wrote, and whether its training file had times.

    Raises
    ------
    SnapshotError
        There is no model, it is damaged, or another version made it.
    """
    from pydantic import ValidationError

    from evaluation.scoring import CausalScorer
    from streams.snapshots import SNAPSHOT_FORMAT, arrays_from_bytes
    from tsad.engine import StreamEngine
    from tsad.errors import SnapshotError

    try:
        stored = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        arrays = arrays_from_bytes((folder / ARRAYS).read_bytes())
    except OSError as error:
        raise SnapshotError(f"{folder} holds no model that can be read: {error}; `tsad fit` makes one") from error
    except ValueError as error:
        raise SnapshotError(
            f"{folder / DESCRIPTION} is damaged: {error}; make the model again with `tsad fit`"
        ) from error
    if stored["format"] != SNAPSHOT_FORMAT:
        raise SnapshotError(
            f"{folder} is of format {stored['format']}, this version reads {SNAPSHOT_FORMAT}; make it again with "
            f"`tsad fit`"
        )
    try:
        engine = StreamEngine(_settings(stored["settings"]))
    except ValidationError as error:
        raise SnapshotError(f"{folder}: {error.errors()[0]['msg']}; make the model again with `tsad fit`") from error
    engine.restore(arrays, stored["engine"])
    scorer = CausalScorer(engine, origin=stored["origin"], trained=stored["trained"], rows=stored["rows"])
    return scorer, stored["timed"]


def _settings(stored: dict[str, Any]) -> Any:
    """Settings as they were written to JSON, where options that are tuples became lists."""
    from tsad.settings import StreamSettings

    detectors = [
        {**one, "options": {k: tuple(v) if isinstance(v, list) else v for k, v in one["options"].items()}}
        for one in stored["detectors"]
    ]
    return StreamSettings.model_validate({**stored, "detectors": detectors})
