"""States of several series as one, so that a series learnt elsewhere can join an engine."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError

__all__ = ["joined_states"]


def joined_states(
    states: Sequence[Mapping[str, npt.NDArray[Any]]], counts: Sequence[int]
) -> dict[str, npt.NDArray[Any]]:
    """Put the states of series behind one another, as if one engine had learnt them all.

    Parameters
    ----------
    states
        By ``part|name``. Arrays have one row a series; what is kept a series apart is named ``part|number/name``.
    counts
        Series in each.

    Returns
    -------
    dict
        The state of all. Arrays are as wide as the widest; the rest is 0, where no series looks.

    Raises
    ------
    SnapshotError
        The states are not of the same detectors, or of other types.

    Examples
    --------
    >>> one = {"d|scale": np.ones((1, 2)), "d|0/weight": np.zeros(3)}
    >>> two = {"d|scale": np.full((1, 3), 2.0), "d|0/weight": np.ones(4)}
    >>> both = joined_states([one, two], [1, 1])
    >>> both["d|scale"].tolist(), sorted(both)
    ([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], ['d|0/weight', 'd|1/weight', 'd|scale'])
    """
    found: dict[str, npt.NDArray[Any]] = {}
    rows: dict[str, list[npt.NDArray[Any]]] = {}
    first = 0
    for state, count in zip(states, counts, strict=True):
        for key, array in state.items():
            part, _, name = key.partition("|")
            number, _, rest = name.partition("/")
            if rest and number.isdigit():
                found[f"{part}|{int(number) + first}/{rest}"] = array
            else:
                rows.setdefault(key, []).append(array)
        first += count
    for key, arrays in rows.items():
        if len(arrays) != len(states) or len({(a.dtype, a.ndim) for a in arrays}) > 1:
            raise SnapshotError(f"{key!r} is not of one form in the states to be joined; they are of other detectors")
        shape = np.max([a.shape[1:] for a in arrays], axis=0).astype(int) if arrays[0].ndim > 1 else ()
        whole = np.zeros((sum(counts), *shape), arrays[0].dtype)
        first = 0
        for array, count in zip(arrays, counts, strict=True):
            whole[(slice(first, first + len(array)), *(slice(0, n) for n in array.shape[1:]))] = array
            first += count
        found[key] = whole
    return found
