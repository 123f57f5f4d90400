"""Rules that turn scores into predictions, each with the name that tables print.

No rule here sees a label of the test part. The ones that do are called `oracle_...` and live beside their metric.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.validation import check_scores

__all__ = ["Threshold", "fixed_threshold", "mean_deviation_threshold", "predict", "quantile_threshold"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold and the rule that chose it.

    Attributes
    ----------
    value : float
        Predict an anomaly where score >= value.
    rule : str
        What a table prints, for example "fixed 0.5" or "training quantile 0.99".
    """

    value: float
    rule: str


def fixed_threshold(value: float) -> Threshold:
    """Return a threshold that was set beforehand.

    Examples
    --------
    >>> fixed_threshold(0.5)
    Threshold(value=0.5, rule='fixed 0.5')
    """
    if not np.isfinite(value):
        raise InvalidInputError(f"the threshold must be finite, got {value}")
    return Threshold(float(value), f"fixed {value:g}")


def quantile_threshold(training_scores: ArrayLike, quantile: float) -> Threshold:
    """Return a quantile of the scores on the training part.

    Examples
    --------
    >>> quantile_threshold([0.0, 1.0, 2.0], 0.5)
    Threshold(value=1.0, rule='training quantile 0.5')
    """
    if not 0 <= quantile <= 1:
        raise InvalidInputError(f"the quantile must be in [0, 1], got {quantile}")
    return Threshold(float(np.quantile(_finite(training_scores), quantile)), f"training quantile {quantile:g}")


def mean_deviation_threshold(training_scores: ArrayLike, factor: float = 3.0) -> Threshold:
    """Return mean + factor * standard deviation of the scores on the training part.

    Examples
    --------
    >>> mean_deviation_threshold([0.0, 2.0])
    Threshold(value=4.0, rule='training mean + 3 std')
    """
    scores = _finite(training_scores)
    return Threshold(float(scores.mean() + factor * scores.std()), f"training mean + {factor:g} std")


def predict(scores: ArrayLike, threshold: float | Threshold) -> NDArray[np.uint8]:
    """Return 1 where score >= threshold; a NaN score ("cannot say") predicts nothing.

    Examples
    --------
    >>> predict([0.1, 0.5, float("nan")], 0.5)
    array([0, 1, 0], dtype=uint8)
    """
    value = threshold.value if isinstance(threshold, Threshold) else threshold
    return (check_scores(scores) >= value).astype(np.uint8)


def _finite(training_scores: ArrayLike) -> NDArray[np.float64]:
    scores = check_scores(training_scores, name="training scores")
    finite = scores[np.isfinite(scores)]
    if finite.size == 0:
        raise InvalidInputError(
            f"none of the {scores.size} training scores is finite; score a longer training part first"
        )
    return finite
