"""The decorator of compiled loops: machine code is kept on disk, and made anew when any of the sources changes.

Numba keeps the machine code of a function until the file that it stands in changes. It does not notice a change in
another file from which it calls a function, so that an upgrade could go on running old loops. Here the folder that
machine code is kept in is named by the contents of all sources beside the function and of all of `tsad.kernels`.
"""

import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, overload

import numba
from numba import njit

__all__ = ["compiled"]

_NUMBA: Any = numba.config
_KERNELS = Path(__file__).parent / "kernels"


@lru_cache
def _digest(folder: Path) -> str:
    """What the sources of a folder and of the kernels hold, in 16 letters."""
    found = sha256()
    for path in sorted({*folder.glob("*.py"), *_KERNELS.glob("*.py")}):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


@lru_cache
def _kept_in(folder: Path, base: str) -> str:
    """Where machine code of functions in `folder` is kept: below `base` if given, beside them, or in the user's cache.

    Nowhere, "", where none of these can be written to. Code of sources as they were before is removed.
    """
    name = f"compiled-{_digest(folder)}"
    # Where a user has no home, as in some containers, the name stays as it is and nothing can be kept there.
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "tsad"  # noqa: PTH111
    for place in (Path(base),) if base else (folder / "__pycache__", user):
        if place == user and not user.is_absolute():
            continue
        try:
            (place / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place / name, os.W_OK):
            # The user's cache serves several folders, and `base` is not ours.
            old = place.glob("compiled-*") if place == folder / "__pycache__" else ()
            for one in old:
                if one.name != name:
                    shutil.rmtree(one, ignore_errors=True)
            return str(place / name)
    return ""


@overload
def compiled(function: Callable[..., Any], /) -> Any: ...
@overload
def compiled(function: None = None, /, **options: Any) -> Callable[[Callable[..., Any]], Any]: ...
def compiled(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Compile a loop when it is first called, without the interpreter's lock, and keep the machine code.

    Parameters
    ----------
    function
        Of numbers and arrays alone, as numba takes them.
    options
        Further ones of `numba.njit`.

    Examples
    --------
    >>> @compiled
    ... def twice(x):
    ...     return 2 * x
    >>> twice(21)
    42
    """
    if function is None:
        return lambda one: _compiled(one, options)
    return _compiled(function, options)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Any:
    source, before = Path(function.__code__.co_filename), _NUMBA.CACHE_DIR
    # What is typed at a prompt is not kept, and nothing is where nobody may write.
    place = _kept_in(source.parent, before) if source.is_file() else ""
    if not place:
        return njit(nogil=True, **options)(function)
    _NUMBA.CACHE_DIR = place
    try:
        return njit(cache=True, nogil=True, **options)(function)
    finally:
        _NUMBA.CACHE_DIR = before
