"""Engine states as bytes: safetensors for arrays, JSON for the rest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from streams.configuration import EventStream, NumericStream
from tsad.errors import SnapshotError

__all__ = ["SNAPSHOT_FORMAT", "arrays_from_bytes", "arrays_to_bytes", "settings_fingerprint"]

SNAPSHOT_FORMAT = 7
"""Rises when the meaning of a stored array changes."""

_FREE_TO_CHANGE = {
    "topic", "message", "ranges", "history", "max_ahead", "silent_after", "kind", "time", "time_unit", "retention",
    "models", "deadline", "siblings",
}  # fmt: skip
_BUDGET = "false_alarms_per_day"


def arrays_to_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named arrays as one blob."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def arrays_from_bytes(blob: bytes) -> dict[str, npt.NDArray[Any]]:
    """Named arrays from a blob.

    Raises
    ------
    SnapshotError
        The blob is damaged.
    """
    try:
        return dict(load(blob))
    except SafetensorError as error:
        raise SnapshotError(f"a stored snapshot is damaged: {error}") from error


def settings_fingerprint(stream: NumericStream | EventStream) -> str:
    """A hash of the settings that the stored state depends on.

    The budget of false alarms and everything about history and messages may change between runs.
    """
    settings = stream.model_dump(mode="json", exclude=_FREE_TO_CHANGE)
    for part in (settings, settings.get("scoring"), settings.get("rate")):
        if part and "alarm" in part:
            part["alarm"].pop(_BUDGET)
    text = json.dumps({"format": SNAPSHOT_FORMAT, **settings}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
