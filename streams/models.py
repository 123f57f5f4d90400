"""Models that `tsad fit` wrote: a learnt series in a folder, for `tsad score` and for the daemon."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydantic import ValidationError

from streams.errors import StateMismatchError
from streams.snapshots import SNAPSHOT_FORMAT, arrays_from_bytes, arrays_to_bytes
from tsad.engine import StreamEngine
from tsad.errors import SnapshotError
from tsad.settings import StreamSettings

__all__ = ["ARRAYS", "DESCRIPTION", "StoredModel", "adopt_models", "read_model", "write_model"]

DESCRIPTION, ARRAYS = "model.json", "model.safetensors"


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a folder holds.

    Attributes
    ----------
    settings
        Of the stream of one series that was learnt.
    arrays, extra
        The engine's state.
    origin, trained
        Event times of the first and the last row that was learnt, ns UTC.
    rows
        Rows that were taken in.
    timed
        Whether the training file had times of its own.
    """

    settings: StreamSettings
    arrays: Mapping[str, npt.NDArray[Any]]
    extra: Mapping[str, Any]
    origin: int
    trained: int
    rows: int
    timed: bool


def write_model(folder: Path, engine: StreamEngine, *, origin: int, trained: int, rows: int, timed: bool) -> None:
    """Write a learnt engine of one series; see `StoredModel`.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    fitted, _ = engine.state(fitted=True)
    streaming, extra = engine.state(fitted=False)
    description = {
        "format": SNAPSHOT_FORMAT,
        "settings": engine.settings.model_dump(mode="json"),
        "origin": origin,
        "trained": trained,
        "rows": rows,
        "timed": timed,
        "choices": list(engine.choices(0)),
        "engine": extra,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS).write_bytes(arrays_to_bytes({**fitted, **streaming}))
    # Last: a folder with a description is whole.
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def read_model(folder: Path) -> StoredModel:
    """Read a folder.

    Raises
    ------
    SnapshotError
        There is no model, it is damaged, or another version made it.
    """
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
        settings = _settings(stored["settings"])
    except ValidationError as error:
        raise SnapshotError(f"{folder}: {error.errors()[0]['msg']}; make the model again with `tsad fit`") from error
    names = ("origin", "trained", "rows", "timed")
    return StoredModel(settings, arrays, stored["engine"], **{name: stored[name] for name in names})


def _settings(stored: Mapping[str, Any]) -> StreamSettings:
    """Settings as they were written to JSON, where options that are tuples became lists."""
    detectors = [
        {**one, "options": {k: tuple(v) if isinstance(v, list) else v for k, v in one["options"].items()}}
        for one in stored["detectors"]
    ]
    return StreamSettings.model_validate({**stored, "detectors": detectors})


def adopt_models(engine: StreamEngine, folders: Mapping[str, Path]) -> list[str]:
    """Let an engine take over models for assets that it does not know yet; returns those.

    Parameters
    ----------
    engine
        Of the daemon's stream.
    folders
        By asset.

    Raises
    ------
    SnapshotError
        A folder holds no model of this version.
    StateMismatchError
        A model was learnt with another step, detector, delay or other channels, or from rows without times.
    """
    due = {asset: folder for asset, folder in folders.items() if engine.table.find(asset) < 0}
    learnt = []
    for asset, folder in due.items():
        model = read_model(folder)
        _check(engine.settings, model, folder)
        channels = model.extra["table"]["shared_channels"] or model.extra["table"]["channels"][0]
        learnt.append((asset, tuple(channels), dict(model.arrays)))
    if learnt:
        engine.adopt(learnt)
    return list(due)


def _check(wanted: StreamSettings, model: StoredModel, folder: Path) -> None:
    if not model.timed:
        raise StateMismatchError(
            f"stream {wanted.name!r}: the model in {folder} was learnt from rows without times, so live rows have "
            f"no place in its periods; give the training file a column of times"
        )
    found = model.settings
    alarm = {"false_alarms_per_day": wanted.alarm.false_alarms_per_day}
    pairs = {
        "step": (wanted.step, found.step),
        "detectors": (wanted.detectors, found.detectors),
        "alarm": (wanted.alarm, found.alarm.model_copy(update=alarm)),
        "channels": (wanted.channels, found.channels if wanted.channels is not None else None),
        "sensors": (wanted.sensors, found.sensors if wanted.sensors is not None else None),
    }
    for key, (here, there) in pairs.items():
        if here != there:
            raise StateMismatchError(
                f"stream {wanted.name!r}: the model in {folder} was learnt with {key} {there}, the stream has {here}; "
                f"learn it again with the stream's settings, or change these"
            )
    if not model.extra["fits"]:
        raise StateMismatchError(f"the model in {folder} still waits for training rows; learn it from more")
