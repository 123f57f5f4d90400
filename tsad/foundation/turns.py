"""Rows of many series in turn, and who of them is asked about next: what the causal forms of networks share."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline

__all__ = ["Followed", "questions", "waves"]


class Followed(NamedTuple):
    """What became of m rows with c channel columns.

    Attributes
    ----------
    said
        float64[m, c], what the network says of each channel, NaN where it says nothing.
    expected
        float64[m, c], NaN where the network was not asked about the row itself.
    ready
        bool[m], whether enough rows have been seen since a break.
    late
        bool[m], the network should have been asked, and the time was up.
    """

    said: npt.NDArray[np.float64]
    expected: npt.NDArray[np.float64]
    ready: npt.NDArray[np.bool_]
    late: npt.NDArray[np.bool_]

    @classmethod
    def nothing(cls, shape: tuple[int, int]) -> "Followed":
        """Of rows of which nothing is said yet."""
        return cls(np.full(shape, np.nan), np.full(shape, np.nan), *np.zeros((2, shape[0]), np.bool_))


def waves(series: npt.NDArray[np.int32]) -> list[npt.NDArray[np.intp]]:
    """Positions of the first row of every series, then of the second of each, and so on.

    Examples
    --------
    >>> [wave.tolist() for wave in waves(np.array([7, 7, 3, 7], np.int32))]
    [[2, 0], [1], [3]]
    """
    if not len(series):
        return []
    order = np.argsort(series, kind="stable")
    _, first, count = np.unique(series[order], return_index=True, return_counts=True)
    nth = np.arange(len(series)) - np.repeat(first, count)
    return np.split(order[np.argsort(nth, kind="stable")], np.cumsum(np.bincount(nth))[:-1])


def questions(
    rows: npt.NDArray[np.intp], ages: npt.NDArray[np.int64], together: int, deadline: Deadline | None
) -> Iterator[npt.NDArray[np.intp]]:
    """The rows to ask about, so many at once; whoever has waited longest comes first, and nobody after the deadline.

    Parameters
    ----------
    rows, ages
        Numbers of the rows that are due, and for how many rows their series have not been asked about.
    together
        Rows that are asked about at once.
    deadline
        None: there is none.
    """
    waiting = rows[np.argsort(-ages, kind="stable")]
    for first in range(0, len(waiting), together):
        group = waiting[first : first + together]
        yield group if deadline is None else group[deadline.allows(group)]
