"""The contract of event detectors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tsad.errors import NotEnoughDataError
from tsad.events.batch import EventBatch
from tsad.events.errors import EventFormatError

__all__ = ["EventDetector", "EventScores", "Explanation", "held_out"]

MIN_TRAIN = 50
"""Events that `EventDetector.fit` needs at least."""

_BLOCKS = 10
_HELD_OUT = (3, 7)


def held_out(n: int) -> npt.NDArray[np.bool_]:
    """Return which of n training events judge the model and never train it: two of ten blocks in order.

    Examples
    --------
    >>> np.flatnonzero(held_out(20)).tolist()
    [6, 7, 14, 15]
    """
    return np.isin(np.arange(n) * _BLOCKS // max(n, 1), _HELD_OUT)


@dataclass(frozen=True, slots=True)
class EventScores:
    """What a detector says of n events of m attributes.

    Attributes
    ----------
    score
        float64[n], higher is odder; never NaN, never infinite.
    unseen
        bool[n, m], values that the detector never learnt.
    """

    score: npt.NDArray[np.float64]
    unseen: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why events are odd: n events, m attributes, k expected values.

    Attributes
    ----------
    surprise
        float64[n, m], how odd each value is given the others; the highest names the odd attribute. In nats where the
        detector has probabilities, in units of its score otherwise.
    expected
        int32[n, m, k], codes of the values that were likeliest instead, the likeliest first; -1 where there are fewer.
    probability
        float64[n, m, k], how likely each of them was given the rest of the event; NaN where there is none.
    """

    surprise: npt.NDArray[np.float64]
    expected: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float64]


class EventDetector(ABC):
    """Scores categorical events one by one.

    A detector is deterministic under its seed: the same training events give the same model, and an event's score
    depends on the model and on the event alone, not on the batch it came in. Codes that are newer than the model are
    unseen values; they never raise.

    Class attributes: `name`, and `summary` in one line.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self) -> None:
        self.attributes: tuple[str, ...] = ()
        self.report: dict[str, Any] = {}

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `restore` has been called."""
        return bool(self.attributes)

    def fit(self, events: EventBatch) -> npt.NDArray[np.float64]:
        """Learn which combinations are usual.

        Parameters
        ----------
        events
            n events, most of them normal, in order of time.

        Returns
        -------
        float64[n]
            Honest scores of the events that the model was not trained on, for calibration; NaN for the others.

        Raises
        ------
        NotEnoughDataError
            Fewer than `MIN_TRAIN` events.
        EventFormatError
            Fewer than two attributes: there is no combination to judge.
        """
        if len(events.attributes) < 2:
            raise EventFormatError(f"{self.name} needs two attributes or more, there are {len(events.attributes)}")
        if len(events) < MIN_TRAIN:
            raise NotEnoughDataError(f"{self.name} needs {MIN_TRAIN} training events, there are {len(events)}")
        judging = held_out(len(events))
        self.attributes = events.attributes
        training = events.rows(~judging)
        constant = [
            name for name, column in zip(events.attributes, training.codes.T, strict=True) if np.ptp(column) == 0
        ]
        self.report = {"events": len(training), "held_out": int(judging.sum()), "constant_attributes": constant}
        self._learn(training, events.rows(judging))
        scores = np.full(len(events), np.nan)
        scores[judging] = self.score(events.rows(judging)).score
        return scores

    def checked(self, events: EventBatch) -> EventBatch:
        """Return events that fit the model.

        Raises
        ------
        EventFormatError
            They have other attributes, or nothing has been learnt yet.
        """
        if not self.fitted:
            raise EventFormatError(f"{self.name} has learnt nothing yet; call fit or restore first")
        if events.attributes != self.attributes:
            raise EventFormatError(
                f"{self.name} learnt the attributes {', '.join(self.attributes)}; "
                f"given are {', '.join(events.attributes)}",
            )
        return events

    @abstractmethod
    def _learn(self, training: EventBatch, judging: EventBatch) -> None:
        """Learn from `training`; `judging` may stop the training but must not be learnt."""

    @abstractmethod
    def score(self, events: EventBatch) -> EventScores:
        """Score events.

        Raises
        ------
        EventFormatError
            They have other attributes than the training events.
        """

    @abstractmethod
    def explain(self, events: EventBatch, count: int = 3) -> Explanation:
        """Name the odd attribute of each event, and up to `count` values that were expected instead.

        Slower than `score`: for events that raised an alarm.
        """

    @abstractmethod
    def partial_fit(self, events: EventBatch) -> None:
        """Learn from newer events, values that are new included; what is old weighs less and less.

        The scores on which a calibration stands move with it: calibrate again from time to time.
        """

    @abstractmethod
    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that was learnt, as named arrays."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state.

        Raises
        ------
        SnapshotError
            It is damaged, or of another detector.
        """
