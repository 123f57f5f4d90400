"""Where data sets are looked for: the only place that reads the environment."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from evaluation.errors import DatasetNotFoundError

__all__ = ["data_directory", "matches", "missing", "pick"]

ENVIRONMENT_VARIABLE = "TSAD_DATA"
DEFAULT_DIRECTORY = "../shared/data"
_SHOWN = 40


def data_directory() -> Path:
    """Return the directory of the data sets: `$TSAD_DATA`, or ../shared/data beside the working directory.

    Examples
    --------
    >>> isinstance(data_directory(), Path)
    True
    """
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_DIRECTORY)


def missing(title: str, looked_for: Sequence[Path], how_to_get: str, licence: str) -> DatasetNotFoundError:
    """Return the error for a data set that is not there.

    Examples
    --------
    >>> print(missing("Demo", [Path("x")], "Download it.", "MIT"))
    Demo is not there. Looked for: x. Download it. Or point TSAD_DATA at the directory that holds it. Licence: MIT
    """
    places = ", ".join(str(path) for path in looked_for)
    return DatasetNotFoundError(
        f"{title} is not there. Looked for: {places}. {how_to_get} "
        f"Or point {ENVIRONMENT_VARIABLE} at the directory that holds it. Licence: {licence}"
    )


def matches(names: Sequence[str], pattern: str) -> bool:
    """Whether a shell pattern names any of the series.

    Examples
    --------
    >>> matches(["valve1/0", "valve2/0"], "valve1/*")
    True
    """
    return any(fnmatchcase(name, pattern) for name in names)


def pick(dataset: str, names: Sequence[str], select: Sequence[str] | None) -> list[str]:
    """Return the names that match any of the patterns, in their order; every pattern must match something.

    Parameters
    ----------
    dataset : str
        For the message.
    names : sequence of str
        All series of the data set.
    select : sequence of str or None
        Names or shell patterns; None takes all.

    Examples
    --------
    >>> pick("SKAB", ["valve1/0", "valve2/0"], ["valve2/*"])
    ['valve2/0']
    """
    if select is None:
        return list(names)
    patterns = [select] if isinstance(select, str) else list(select)
    for pattern in patterns:
        if not matches(names, pattern):
            shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            raise DatasetNotFoundError(f"{dataset} has no series {pattern!r}; it has {shown}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
