"""How an alarm is explained: how severe it is, and which channels it is about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import SEVERITIES, Contribution
from tsad.detectors.base import Scores

__all__ = ["leading_channels", "number", "severity_of"]

_TOP_CHANNELS = 5


def number(value: Any) -> float | None:
    """Return a float, or None for NaN, as JSON wants it.

    Examples
    --------
    >>> number(np.float32(0.5)), number(np.nan)
    (0.5, None)
    """
    return None if np.isnan(value) else float(value)


def severity_of(rate: float, budget: float) -> str:
    """Return how severe an episode is: a level for every power of ten that it is rarer than what is accepted.

    Parameters
    ----------
    rate, budget
        Episodes a row: as odd as this one, and accepted.

    Examples
    --------
    >>> severity_of(1e-4, 1e-3), severity_of(0.9e-3, 1e-3)
    ('medium', 'low')
    """
    level = int(np.floor(np.log10(budget / rate) + 1e-12))
    return SEVERITIES[min(3, max(0, level))]


def leading_channels(
    names: Sequence[str], values: npt.NDArray[np.float32], scores: Scores, row: int
) -> tuple[Contribution, ...]:
    """Return the channels that contribute most to a row's score, the largest share first.

    Parameters
    ----------
    names, values
        Channels, and their values in the row.
    scores, row
        What the detector said, and of which of its rows.
    """
    shares = scores.contributions[row, : len(names)]
    found = []
    for c in np.argsort(-shares, kind="stable")[:_TOP_CHANNELS]:
        if not shares[c] > 0:
            break
        observed, expected = number(values[c]), number(scores.expected[row, c])
        lower, upper = number(scores.lower[row, c]), number(scores.upper[row, c])
        if observed is None or lower is None or upper is None:
            direction = "unknown"
        else:
            direction = "high" if observed > upper else "low" if observed < lower else "within"
        found.append(
            Contribution(names[c], float(shares[c]), observed, expected, lower, upper, direction)  # type: ignore[arg-type]
        )
    return tuple(found)
