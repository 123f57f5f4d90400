"""Logistic stacking: how much each stream is worth, learnt from labelled parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from tsad.errors import NotEnoughDataError, SnapshotError

__all__ = ["Stacking"]

_LEAST_DEFECTS = 50
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Stacking:
    """``sigmoid(intercept + sum weights * -ln(p) + sum missing * is_missing)`` of p-values.

    The surprise ``-ln p`` is as good as the log odds where p is small, and does not let a stream that sees nothing
    speak against one that does. No weight is negative: a stream that is odder never makes a part look better, whatever
    the labels happen to say.

    Attributes
    ----------
    intercept, weights, missing
        float, float64[k] each; `missing` is what the absence of a stream says.
    cross_fitted
        float64[m], the score of each labelled part by a fit to the folds that it is not in.
    """

    intercept: float
    weights: npt.NDArray[np.float64]
    missing: npt.NDArray[np.float64]
    cross_fitted: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, p_values: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_], folds: int = 5) -> "Stacking":
        """Learn from labelled parts.

        Folds are stretches of time within the defects and within the good parts, so that neighbours do not vouch for
        each other.

        Parameters
        ----------
        p_values
            float64[k, m], in order of time; NaN where a stream is missing.
        labels
            bool[m], defects.
        folds
            Number of folds for `cross_fitted`.

        Raises
        ------
        NotEnoughDataError
            Fewer than 50 defects, or than 50 good parts.

        Source: D. Wolpert, "Stacked generalization", Neural Networks 5 (1992); non-negative weights: L. Breiman,
        "Stacked regressions", Machine Learning 24 (1996).
        """
        labels = np.asarray(labels, np.bool_)
        defects, good = int(labels.sum()), int((~labels).sum())
        if min(defects, good) < _LEAST_DEFECTS:
            raise NotEnoughDataError(
                f"stacking needs {_LEAST_DEFECTS} defects and as many good parts; {defects} and {good} are there. "
                "Use a rule without labels, e.g. brown"
            )
        fold = np.empty(len(labels), np.int64)
        for one in (labels, ~labels):
            fold[one] = np.arange(one.sum()) * folds // one.sum()
        scores = np.empty(len(labels))
        for number in range(folds):
            out = fold == number
            scores[out] = _linear(_solve(p_values[:, ~out], labels[~out]), p_values[:, out])
        intercept, weights, missing = _parts(_solve(p_values, labels))
        return cls(intercept, weights, missing, special.expit(scores))

    def score(self, p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """float64[m], probability of a defect at the share of defects it was learnt from; NaN without any stream."""
        coefficients = np.concatenate([[self.intercept], self.weights, self.missing])
        score = special.expit(_linear(coefficients, p_values))
        return np.where(np.isnan(p_values).all(axis=0), np.nan, score)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What `restored` needs."""
        return {
            "coefficients": np.concatenate([[self.intercept], self.weights, self.missing]),
            "cross_fitted": self.cross_fitted.copy(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, npt.NDArray[Any]]) -> "Stacking":
        """Stacking from its state.

        Raises
        ------
        SnapshotError
            It is damaged.
        """
        try:
            coefficients, cross_fitted = state["coefficients"], state["cross_fitted"]
        except KeyError as error:
            raise SnapshotError(f"the stored stacking lacks {error}") from error
        if coefficients.ndim != 1 or len(coefficients) % 2 == 0:
            raise SnapshotError(f"the stored stacking has {coefficients.shape} coefficients")
        return cls(*_parts(coefficients), cross_fitted)


def _parts(coefficients: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    k = (len(coefficients) - 1) // 2
    return float(coefficients[0]), coefficients[1 : k + 1], coefficients[k + 1 :]


def _features(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """float64[2k + 1, m]: one, surprise of p-values (0 where missing), and whether each is missing."""
    gone = np.isnan(p_values)
    z = -np.log(np.clip(np.where(gone, 1.0, p_values), 1e-300, 1.0))
    return np.concatenate([np.ones((1, p_values.shape[1])), z, gone.astype(np.float64)])


def _linear(coefficients: npt.NDArray[np.float64], p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((coefficients[:, None] * _features(p_values)).sum(axis=0))


def _solve(p_values: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    features, y = _features(p_values), labels.astype(np.float64)
    k = len(p_values)

    def loss(c: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        linear = c @ features
        value = np.logaddexp(0.0, linear).mean() - (y * linear).mean() + 0.5 * _RIDGE * (c[1:] ** 2).sum()
        gradient = features @ (special.expit(linear) - y) / len(y)
        gradient[1:] += _RIDGE * c[1:]
        return float(value), gradient

    bounds = [(None, None)] + [(0.0, None)] * k + [(None, None)] * k
    found = optimize.minimize(loss, np.zeros(2 * k + 1), jac=True, bounds=bounds, method="L-BFGS-B")
    return np.asarray(found.x)
