"""Scores at a delay: what is said of a row when some of the rows after it are known.

A row at the end of a recording, or before a gap, may lack the score at the delay that was asked for: it then has the
score at the largest smaller delay at which something was said of it, and the immediate one at last.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import InvalidInputError
from tsad.engine import StreamOutput

__all__ = ["IMMEDIATE", "Delay", "at_delay", "delayed_scores", "parse_delay", "rows_of_delay"]

Delay = int | Literal["settled"]
IMMEDIATE = 0


def parse_delay(text: str) -> Delay:
    """Read a number of rows, or ``settled``: when all windows over a row are known.

    Raises
    ------
    InvalidInputError
        It is neither.

    Examples
    --------
    >>> parse_delay("16"), parse_delay("settled")
    (16, 'settled')
    """
    if text == "settled":
        return "settled"
    if not text.isdecimal():
        raise InvalidInputError(f"--delay {text!r} is no number of rows; write for example 0, 16 or settled")
    return int(text)


def rows_of_delay(delay: Delay, name: str, delays: Sequence[int]) -> int:
    """Return how many rows a score at a delay waits for.

    Parameters
    ----------
    delay
        What was asked for.
    name, delays
        A detector, or several joined by ``+``, and the delays that it has besides 0.

    Raises
    ------
    InvalidInputError
        It has no such delay.

    Examples
    --------
    >>> rows_of_delay("settled", "patchbank", (16, 95))
    95
    """
    if delay == IMMEDIATE:
        return IMMEDIATE
    if not delays:
        raise InvalidInputError(f"{name} says all of a row at once, so it has no delay {delay}; leave --delay out")
    if delay == "settled":
        return delays[-1]
    if delay not in delays:
        known = ", ".join(str(one) for one in (IMMEDIATE, *delays))
        raise InvalidInputError(f"{name} has no delay {delay}; choose from {known}, of which the last is settled")
    return delay


def delayed_scores(outputs: Sequence[StreamOutput]) -> dict[int, NDArray[np.float64]]:
    """What was said later of the rows of an engine with one series, float64[m] by delay; NaN where nothing was."""
    times = np.concatenate([output.rows.times for output in outputs])
    said = [output.delayed for output in outputs if output.delayed is not None]
    if not said:
        return {}
    about, delays, scores = (
        np.concatenate([getattr(one, name) for one in said]) for name in ("times", "delays", "scores")
    )
    # Rows that came before these outputs are not theirs.
    rows = np.searchsorted(times, about)
    own = about >= times[0] if len(times) else np.zeros(0, np.bool_)
    found = {}
    for delay in np.unique(delays).tolist():
        there = own & (delays == delay)
        found[delay] = np.full(len(times), np.nan)
        found[delay][rows[there]] = scores[there]
    return found


def at_delay(
    immediate: NDArray[np.float64], later: Mapping[int, NDArray[np.float64]], delay: int
) -> NDArray[np.float64]:
    """Scores at a delay; where there is none, at the largest smaller one where there is.

    Parameters
    ----------
    immediate, later
        float64[m], and float64[m] by delay.
    delay
        In rows, 0 or one of those in `later`.

    Examples
    --------
    >>> at_delay(np.array([1.0, 2.0, 3.0]), {16: np.array([4.0, 5.0, np.nan]), 95: np.array([6.0, np.nan, np.nan])}, 95)
    array([6., 5., 3.])
    """
    scores = immediate
    for one in sorted(later):
        if one <= delay:
            scores = np.where(np.isnan(later[one]), scores, later[one])
    return scores
