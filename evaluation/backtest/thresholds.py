"""Rules that turn the scores of a backtest into predictions, by the name that tables print."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import InvalidInputError
from evaluation.metrics.pointwise import oracle_best_f1
from evaluation.metrics.thresholds import mean_deviation_threshold, quantile_threshold

__all__ = ["BUDGET_RULE", "ORACLE_RULE", "RULES", "Mode", "ThresholdRule", "default_rule"]

Mode = Literal["causal", "full"]

BUDGET_RULE = "false-alarms-per-day"
ORACLE_RULE = "oracle-best-f1"
RULES = (BUDGET_RULE, "quantile-of-train=0.99", "mean+3std", "fixed=0.5", ORACLE_RULE)
"""Rules as they are written; numbers are examples."""

_NUMBER = r"([0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?)"
_PATTERNS = {
    "quantile": re.compile(rf"quantile-of-train={_NUMBER}"),
    "deviation": re.compile(rf"mean\+{_NUMBER}std"),
    "fixed": re.compile(rf"fixed=(-?{_NUMBER[1:]}"),
}


def default_rule(mode: Mode) -> str:
    """Return the rule of a mode: the daemon's own alarms, or, with hindsight, the labels.

    Examples
    --------
    >>> default_rule("causal"), default_rule("full")
    ('false-alarms-per-day', 'oracle-best-f1')
    """
    return BUDGET_RULE if mode == "causal" else ORACLE_RULE


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """A rule, as `parse` reads it.

    Attributes
    ----------
    name
        As written and printed.
    kind
        ``budget``, ``quantile``, ``deviation``, ``fixed`` or ``oracle``.
    number
        Its quantile, factor or value.
    """

    name: str
    kind: str
    number: float = 0.0

    @classmethod
    def parse(cls, text: str, mode: Mode) -> "ThresholdRule":
        """Read a rule.

        Raises
        ------
        InvalidInputError
            There is no such rule, or it does not exist in this mode.

        Examples
        --------
        >>> ThresholdRule.parse("quantile-of-train=0.99", "causal")
        ThresholdRule(name='quantile-of-train=0.99', kind='quantile', number=0.99)
        """
        rule = cls._read(text)
        if mode == "full" and rule.kind not in {"oracle", "fixed"}:
            raise InvalidInputError(
                f"threshold {text!r} needs mode causal: with hindsight there are neither alarms nor training scores; "
                f"use {ORACLE_RULE} or fixed=VALUE",
            )
        return rule

    @classmethod
    def _read(cls, text: str) -> "ThresholdRule":
        if text == BUDGET_RULE:
            return cls(text, "budget")
        if text == ORACLE_RULE:
            return cls(text, "oracle")
        for kind, pattern in _PATTERNS.items():
            match = pattern.fullmatch(text)
            if match:
                number = float(match[1])
                if kind == "quantile" and not 0 <= number <= 1:
                    break
                return cls(text, kind, number)
        raise InvalidInputError(f"threshold {text!r} is not a rule; write one of {', '.join(RULES)}")

    @property
    def needs_training_scores(self) -> bool:
        """Whether `threshold` wants the scores of the training part."""
        return self.kind in {"quantile", "deviation"}

    def threshold(
        self,
        labels: NDArray[np.uint8],
        scores: NDArray[np.float64],
        training_scores: NDArray[np.float64] | None = None,
    ) -> float:
        """Return the threshold; only the oracle looks at labels. NaN where the oracle has none (no anomaly).

        Parameters
        ----------
        labels, scores
            Of the test part, finite.
        training_scores
            Honest scores of the training part, where `needs_training_scores`.
        """
        if self.kind == "fixed":
            return self.number
        if self.kind == "oracle":
            return oracle_best_f1(labels, scores, on_undefined=float("nan")).threshold
        if training_scores is None:
            raise InvalidInputError(f"threshold {self.name} needs training scores")
        if self.kind == "quantile":
            return quantile_threshold(training_scores, self.number).value
        return mean_deviation_threshold(training_scores, self.number).value
