"""The trivial predictors that every table must show beside its detectors.

A metric is worth what it tells apart: a detector that does not beat these three has shown nothing. See
S. Kim et al., "Towards a rigorous evaluation of time-series anomaly detection", AAAI 2022, section 3.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.metrics.validation import check_at_least, check_labels

__all__ = [
    "TRIVIAL_PREDICTORS",
    "all_ones_predictions",
    "constant_scores",
    "random_predictions",
    "random_scores",
    "trivial_scores",
]

TRIVIAL_PREDICTORS = ("constant", "random", "all_ones")


def constant_scores(steps: int, value: float = 0.0) -> NDArray[np.float64]:
    """Return the same score at every step: what a detector that has died gives.

    Parameters
    ----------
    steps : int
        Length of the series.
    value : float
        The score.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> constant_scores(3)
    array([0., 0., 0.])
    """
    check_at_least("steps", steps, 1)
    return np.full(steps, value, dtype=np.float64)


def random_scores(steps: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return independent uniform scores in [0, 1).

    Parameters
    ----------
    steps : int
        Length of the series.
    generator : numpy.random.Generator
        Where the randomness comes from; seed it to repeat a table.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> random_scores(2, np.random.default_rng(7)).round(3)
    array([0.625, 0.897])
    """
    check_at_least("steps", steps, 1)
    return generator.random(steps)


def random_predictions(steps: int, share: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return predictions that are 1 at each step with probability `share`, independently.

    Examples
    --------
    >>> random_predictions(4, 0.0, np.random.default_rng(7))
    array([0, 0, 0, 0], dtype=uint8)
    """
    return (random_scores(steps, generator) < share).astype(np.uint8)


def all_ones_predictions(steps: int) -> NDArray[np.uint8]:
    """Return an alarm at every step.

    Examples
    --------
    >>> all_ones_predictions(3)
    array([1, 1, 1], dtype=uint8)
    """
    check_at_least("steps", steps, 1)
    return np.ones(steps, dtype=np.uint8)


def trivial_scores(labels: ArrayLike, generator: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return the scores of the three trivial predictors for a labelled series.

    Parameters
    ----------
    labels : array_like
        Only their length is used: no trivial predictor sees them.
    generator : numpy.random.Generator
        For the random one.

    Returns
    -------
    dict of str to ndarray
        Keys "constant" (0 everywhere), "random" (uniform), "all_ones" (1 everywhere). As scores the first and the
        last rank alike; at the fixed threshold 0.5 one never alarms and the other always does.

    Examples
    --------
    >>> sorted(trivial_scores([0, 1], np.random.default_rng(7)))
    ['all_ones', 'constant', 'random']
    """
    steps = check_labels(labels).size
    return {
        "constant": constant_scores(steps),
        "random": random_scores(steps, generator),
        "all_ones": all_ones_predictions(steps).astype(np.float64),
    }
