"""What every metric accepts, and what it does when it is not defined.

Labels are 0/1 or booleans, scores are finite numbers of the same length. Anything else is refused with a
message that says what was found and where. A metric that has no value for the given labels returns NaN and
gives one `UndefinedMetricWarning`, unless the caller chose otherwise by `on_undefined`.
"""

import math
import warnings
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluation.errors import InvalidInputError, UndefinedMetricError, UndefinedMetricWarning

__all__ = [
    "NanPolicy",
    "OnUndefined",
    "check_at_least",
    "check_labels",
    "check_labels_and_predictions",
    "check_labels_and_scores",
    "check_scores",
    "undefined",
]

NanPolicy: TypeAlias = Literal["raise", "omit", "lowest"]
OnUndefined: TypeAlias = Literal["warn", "raise"] | float

_SHOWN = 5


def check_labels(labels: ArrayLike, *, name: str = "labels") -> NDArray[np.uint8]:
    """Return one-dimensional 0/1 labels as uint8.

    Parameters
    ----------
    labels : array_like
        Booleans or the numbers 0 and 1.
    name : str
        What the message calls them ("labels", "predictions").

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    InvalidInputError
        When the array is not one-dimensional, is empty, or holds anything but 0 and 1.

    Examples
    --------
    >>> check_labels([True, False, True])
    array([1, 0, 1], dtype=uint8)
    """
    array = np.asarray(labels)
    if array.ndim != 1:
        raise InvalidInputError(f"{name} must be one-dimensional, got shape {array.shape}; pass one series at a time")
    if array.size == 0:
        raise InvalidInputError(f"{name} are empty; a metric needs at least one step")
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise InvalidInputError(f"{name} must be booleans or the numbers 0 and 1, got dtype {array.dtype}")
    wrong = (array != 0) & (array != 1)  # NaN is different from both, so it is caught here
    if wrong.any():
        values = np.unique(array[wrong])
        shown = ", ".join(f"{value:g}" for value in values[:_SHOWN])
        more = f" and {values.size - _SHOWN} more" if values.size > _SHOWN else ""
        raise InvalidInputError(
            f"{name} must be 0 or 1, found {shown}{more} "
            f"({int(wrong.sum())} of {array.size} steps, first at index {int(np.argmax(wrong))}); "
            f"compare or map them to 0/1 first"
        )
    return array.astype(np.uint8)


def check_scores(scores: ArrayLike, *, name: str = "scores") -> NDArray[np.float64]:
    """Return one-dimensional real scores as float64; non-finite values are still in.

    Parameters
    ----------
    scores : array_like
        Real numbers, higher is odder.
    name : str
        What the message calls them.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> check_scores([1, 2])
    array([1., 2.])
    """
    array = np.asarray(scores)
    if array.ndim != 1:
        raise InvalidInputError(f"{name} must be one-dimensional, got shape {array.shape}; pass one series at a time")
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def check_labels_and_scores(
    labels: ArrayLike, scores: ArrayLike, *, nan_policy: NanPolicy = "raise"
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return labels and scores of equal length, the scores finite.

    Parameters
    ----------
    labels : array_like
        0/1 or booleans.
    scores : array_like
        Real numbers, higher is odder.
    nan_policy : {"raise", "omit", "lowest"}
        What to do with scores that are not finite. "raise" refuses them. "omit" drops those steps, labels too,
        and closes the gap. "lowest" gives NaN the smallest finite score, "never alarmed there"; infinities are
        still refused.

    Returns
    -------
    tuple of ndarray
        Labels (uint8) and scores (float64).

    Examples
    --------
    >>> check_labels_and_scores([0, 1], [float("nan"), 2.0], nan_policy="omit")
    (array([1], dtype=uint8), array([2.]))
    """
    if nan_policy not in ("raise", "omit", "lowest"):
        raise InvalidInputError(f'nan_policy must be "raise", "omit" or "lowest", got {nan_policy!r}')
    y, s = check_labels(labels), check_scores(scores)
    _check_equal_length(y.size, s.size, "scores")
    finite = np.isfinite(s)
    if finite.all():
        return y, s
    if not finite.any():
        raise InvalidInputError(f"none of the {s.size} scores is finite; nothing can be measured")
    if nan_policy == "omit":
        return y[finite], s[finite]
    refused = ~finite if nan_policy == "raise" else np.isinf(s)
    if refused.any():
        raise InvalidInputError(
            f"{int(refused.sum())} of {s.size} scores are NaN or infinite, first at index {int(np.argmax(refused))}; "
            f'remove them, or pass nan_policy="omit" (drop these steps) or "lowest" (NaN never alarms)'
        )
    return y, np.where(finite, s, s[finite].min())


def check_labels_and_predictions(
    labels: ArrayLike, predictions: ArrayLike
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return labels and predictions of equal length, both 0/1.

    Examples
    --------
    >>> check_labels_and_predictions([0, 1], [True, True])
    (array([0, 1], dtype=uint8), array([1, 1], dtype=uint8))
    """
    y, b = check_labels(labels), check_labels(predictions, name="predictions")
    _check_equal_length(y.size, b.size, "predictions")
    return y, b


def _check_equal_length(labels: int, others: int, name: str) -> None:
    if labels != others:
        raise InvalidInputError(
            f"labels and {name} must have equal length, got {labels} labels and {others} {name}; "
            f"pad or cut the one that misses the first window"
        )


def check_at_least(name: str, value: float, least: float) -> None:
    """Refuse a setting that is NaN or below its least allowed value.

    Examples
    --------
    >>> check_at_least("early", 5, 0)
    """
    if not value >= least:
        raise InvalidInputError(f"{name} must be at least {least}, got {value}")


def undefined(metric: str, reason: str, on_undefined: OnUndefined = "warn") -> float:
    """Return the value of a metric that is not defined here, as the caller asked.

    Parameters
    ----------
    metric : str
        Its name, for the message.
    reason : str
        Why it has no value.
    on_undefined : {"warn", "raise"} or float
        "warn" gives one `UndefinedMetricWarning` and returns NaN; "raise" raises `UndefinedMetricError`; a number
        is returned as it is, silently.

    Returns
    -------
    float

    Examples
    --------
    >>> undefined("average_precision", "no step is labelled anomalous", 0.0)
    0.0
    """
    message = f"{metric} is not defined: {reason}"
    if isinstance(on_undefined, str):
        if on_undefined == "raise":
            raise UndefinedMetricError(message)
        if on_undefined != "warn":
            raise InvalidInputError(f'on_undefined must be "warn", "raise" or a number, got {on_undefined!r}')
        warnings.warn(message, UndefinedMetricWarning, stacklevel=3)
        return math.nan
    return float(on_undefined)
