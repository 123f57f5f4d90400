"""`tsad score`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.fit import DETECTOR_OPTION, named_detectors
from tsad_cli.output import AsJson, fail

if TYPE_CHECKING:
    from evaluation.backtest.delays import Delay
    from evaluation.recordings import Recording
    from evaluation.scoring import RowScores
    from tsad.settings import DetectorSettings

__all__ = ["score"]


def score(
    rows: Annotated[Path, typer.Option("--input", metavar="FILE", help="CSV or Parquet file of rows to score.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV file of scores, one row for each of the input.")],
    detector: Annotated[
        str | None, typer.Option(help="A name that `tsad detectors` lists; a+b combines two. Default: auto.")
    ] = None,
    train: Annotated[Path | None, typer.Option(metavar="FILE", help="File of normal rows from before.")] = None,
    train_fraction: Annotated[
        float | None, typer.Option(help="Without --train: share of the input's rows, from the first, to learn from.")
    ] = None,
    model: Annotated[Path | None, typer.Option(metavar="DIR", help="Instead of both: what `tsad fit` wrote.")] = None,
    mode: Annotated[str, typer.Option(help="causal: what the daemon does. full: with hindsight.")] = "causal",
    delay: Annotated[
        str,
        typer.Option(
            metavar="ROWS|settled",
            help="Score a row when so many rows more are known (mode causal), where the detector can: 0, 16 or settled "
            "for patchbank and auto. The p-value stays that of 0.",
        ),
    ] = "0",
    option: Annotated[list[str] | None, DETECTOR_OPTION] = None,
    contributions: Annotated[
        bool, typer.Option("--contributions", help="Also write the share of every channel (mode causal).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a file with any detector, with the engine of the daemon; no labels are needed or looked at.

    Columns of the output: timestamp (if the input has it), score (higher is odder), p_value (mode causal), valid, and
    contribution:CHANNEL. Rows that are learnt from have no score and are not valid.

    Exit codes: 0 done, 1 the scores cannot be written, 2 wrong arguments or files.

    Example: tsad score --detector sub-pca --train train.csv --input test.csv --out scores.csv
    """
    from evaluation.backtest.delays import parse_delay
    from evaluation.errors import DatasetError, InvalidInputError
    from evaluation.recordings import read_recording
    from tsad.errors import TsadError

    _check(mode, detector, train, train_fraction, model, option, delay, contributions=contributions)
    try:
        later = parse_delay(delay)
        recording = read_recording(rows)
        if model is not None:
            found = _with_model(model, recording, later, contributions=contributions)
        else:
            detectors = named_detectors(detector or "auto", option or [])
            found = _with_training(
                detectors, mode, recording, train, train_fraction, later, contributions=contributions
            )
    except (InvalidInputError, DatasetError, TsadError) as error:
        fail("score", error)
    try:
        _write(out, recording, found)
    except OSError as error:
        typer.echo(f"tsad score: {out} cannot be written: {error}", err=True)
        raise typer.Exit(1) from error
    _tell(out, found, as_json=as_json)


def _check(
    mode: str,
    detector: str | None,
    train: Path | None,
    train_fraction: float | None,
    model: Path | None,
    option: list[str] | None,
    delay: str,
    *,
    contributions: bool,
) -> None:
    """Refuse arguments that do not go together."""
    if mode not in ("causal", "full"):
        fail("score", f"--mode is {mode!r}; choose causal or full")
    if train is not None and train_fraction is not None:
        fail("score", "--train and --train-fraction exclude each other; give one")
    if model is not None:
        others = {
            "--detector": detector, "--train": train, "--train-fraction": train_fraction, "--option": option,
            "--mode full": mode == "full" or None,
        }  # fmt: skip
        given = next((name for name, value in others.items() if value is not None), None)
        if given:
            fail("score", f"--model and {given} exclude each other; the model says what it was learnt with")
    elif mode == "causal" and train is None and train_fraction is None:
        fail("score", "mode causal learns first: give --train FILE, --train-fraction SHARE or --model DIR")
    for name, asked in (("--contributions", contributions), (f"--delay {delay}", delay != "0")):
        if asked and mode == "full":
            fail("score", f"{name} needs mode causal")


def _with_model(folder: Path, recording: "Recording", delay: "Delay", *, contributions: bool) -> "RowScores":
    """Scores of a recording that follows the model's training part."""
    import numpy as np

    from evaluation.datasets.schema import MINUTE
    from evaluation.errors import InvalidInputError
    from evaluation.recordings import matched_channels
    from evaluation.scoring import CausalScorer
    from streams.models import read_model
    from tsad.engine import StreamEngine

    model = read_model(folder)
    timed, settings = model.timed, model.settings
    engine = StreamEngine(settings)
    engine.restore(dict(model.arrays), dict(model.extra))
    scorer = CausalScorer(engine, origin=model.origin, trained=model.trained, rows=model.rows)
    if timed != (recording.times is not None):
        has, lacks = (folder, recording.path) if timed else (recording.path, folder)
        raise InvalidInputError(f"{lacks}: column 'timestamp' of {has} is missing; give it in both or neither")
    times = recording.times
    if times is None:
        times = scorer.trained + np.arange(1, len(recording) + 1, dtype=np.int64) * MINUTE
    values = recording.values[:, matched_channels(settings.channels or (), folder, recording)]
    return _in_input_order(
        scorer.score(times, values, contributions=contributions, delay=delay),
        settings.channels or (),
        recording.channels,
    )


def _with_training(
    detectors: "list[DetectorSettings]",
    mode: str,
    recording: "Recording",
    train: Path | None,
    train_fraction: float | None,
    delay: "Delay",
    *,
    contributions: bool,
) -> "RowScores":
    """Scores of a recording whose training part is another file or its own first rows."""
    from evaluation.errors import InvalidInputError
    from evaluation.recordings import joined, read_recording, split_rows, training_series
    from evaluation.scoring import CausalScorer, score_with_hindsight

    if mode == "full" and len(detectors) > 1:
        names = "+".join(one.name for one in detectors)
        raise InvalidInputError(f"--detector {names!r}: mode full has no calibration to combine by; give one")
    if train is not None:
        series = joined(read_recording(train), recording)
        learnt, before = series.train_length, 0
    else:
        learnt = before = split_rows(recording, train_fraction) if train_fraction is not None else 0
        series = training_series(recording, learnt)
    if mode == "full":
        found = score_with_hindsight(series, detectors[0])
        return found.after(learnt).padded(before)
    scorer = CausalScorer.learn(series, detectors)
    said = scorer.score(series.test_times, series.test_values, contributions=contributions, delay=delay)
    return _in_input_order(said, series.channels, recording.channels).padded(before)


def _in_input_order(found: "RowScores", channels: Any, wanted: Any) -> "RowScores":
    """Shares in the order of the input's columns."""
    from dataclasses import replace

    if found.contributions is None:
        return found
    order = [list(channels).index(channel) for channel in wanted]
    return replace(found, contributions=found.contributions[:, order])


def _write(path: Path, recording: "Recording", found: "RowScores") -> None:
    import numpy as np
    import polars as pl

    columns: dict[str, Any] = {}
    if recording.timestamps is not None:
        columns["timestamp"] = recording.timestamps
    columns["score"] = pl.Series(found.score).fill_nan(None)
    columns["p_value"] = pl.Series(found.p_values).fill_nan(None)
    columns["valid"] = np.isfinite(found.score)
    if found.contributions is not None:
        for c, channel in enumerate(recording.channels):
            columns[f"contribution:{channel}"] = found.contributions[:, c]
    pl.DataFrame(columns).write_csv(path)


def _tell(out: Path, found: "RowScores", *, as_json: bool) -> None:
    import numpy as np

    known = np.isfinite(found.score)
    oddest = int(np.nanargmax(found.score)) if known.any() else None
    said = {
        "out": str(out), "rows": len(found.score), "valid": int(known.sum()), "oddest_row": oddest,
        "oddest_score": None if oddest is None else float(found.score[oddest]),
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    most = "" if oddest is None else f"; the oddest is row {oddest} (from 0) with {said['oddest_score']:.4g}"
    typer.echo(f"scored {said['valid']} of {said['rows']} rows into {out}{most}")
