"""Text in arrays: what is not a number in a stored state, as UTF-8 bytes, so that a state is named arrays alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError

__all__ = ["pack_json", "pack_words", "taken", "unpack_json", "unpack_words"]


def pack_json(value: Any) -> npt.NDArray[np.uint8]:
    """Return a JSON value as bytes.

    Examples
    --------
    >>> unpack_json(pack_json({"attributes": ["user", "host"]}))
    {'attributes': ['user', 'host']}
    """
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8).copy()


def unpack_json(stored: npt.NDArray[np.uint8]) -> Any:
    """Return the JSON value of `pack_json`.

    Raises
    ------
    SnapshotError
        The bytes are no JSON.
    """
    try:
        return json.loads(stored.tobytes().decode())
    except ValueError as error:
        raise SnapshotError(f"a stored description is damaged ({error}); restore an older snapshot") from error


def pack_words(words: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return words as their bytes one after the other, uint8[b], and where each ends, int64[n]."""
    encoded = [word.encode() for word in words]
    ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8).copy(), ends


def unpack_words(text: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> list[str]:
    """Return the words of `pack_words`.

    Examples
    --------
    >>> unpack_words(*pack_words(["a", "", "Müller"]))
    ['a', '', 'Müller']
    """
    joined = text.tobytes()
    starts = [0, *ends[:-1].tolist()] if len(ends) else []
    return [joined[start:stop].decode() for start, stop in zip(starts, ends.tolist(), strict=True)]


def taken(state: Mapping[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    """Return a copy of a stored array.

    Raises
    ------
    SnapshotError
        It is not there.
    """
    try:
        return np.array(state[name])
    except KeyError:
        raise SnapshotError(f"the stored state lacks {name!r}; it was made by another version or detector") from None
