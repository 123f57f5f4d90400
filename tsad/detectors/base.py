"""The contract of numeric detectors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.observations import RowBatch

__all__ = ["Detector", "Scores", "Unscored"]


class Unscored(IntEnum):
    """Why a row has no score."""

    SCORED = 0
    WARMING_UP = 1  # the series has not been fitted yet
    WINDOW_INCOMPLETE = 2  # too few rows since the start or since a gap
    VALUES_MISSING = 3  # too many channels of the window are missing
    IDLE = 4  # the asset is idle, and the detector judges it at work only
    LATE = 5  # a network was not asked in time


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of m rows with c channel columns.

    Attributes
    ----------
    score
        float64[m], higher is odder, never infinite; NaN where the detector cannot say.
    reason
        uint8[m] of `Unscored`.
    contributions
        float32[m, c], share of each channel in the score; sums to 1, or is 0 throughout where there is no score.
    expected, lower, upper
        float32[m, c], what the detector expected of the newest row, and the band it takes as usual; NaN where it
        makes no statement.
    nearest
        int64[m], where the detector compares with the past: the event time of the nearest normal window's newest row;
        0 where it does not.
    delayed
        float64[m, k], where the detector was asked for `Detector.delays`, of which there are k: ``delayed[i, j]`` is
        the score of the row ``delays[j]`` rows before row i in its series, NaN where it cannot say; None where it was
        not asked.
    """

    score: npt.NDArray[np.float64]
    reason: npt.NDArray[np.uint8]
    contributions: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32]
    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]
    nearest: npt.NDArray[np.int64] | None = None
    delayed: npt.NDArray[np.float64] | None = None

    @classmethod
    def empty(cls, m: int, c: int, delays: int = 0) -> "Scores":
        """Scores of `m` rows of `c` channels that say nothing yet, and at so many delays."""
        expected, lower, upper = (np.full((m, c), np.nan, np.float32) for _ in range(3))
        shares = np.zeros((m, c), np.float32)
        delayed = np.full((m, delays), np.nan) if delays else None
        nearest = np.zeros(m, np.int64)
        return cls(np.full(m, np.nan), np.zeros(m, np.uint8), shares, expected, lower, upper, nearest, delayed)


class Detector(ABC):
    """Scores the rows of many series at once, causally, and keeps a little state for each.

    A detector is deterministic: the same rows in the same order per series give the same scores, however they are cut
    into batches and whatever other series are in between. That is why kernels sum in a fixed order and no call to a
    library whose rounding depends on the batch size stands in `score`.

    Class attributes say what it is: `name`, `cost` (``light``, ``model`` or ``foundation``), `lookahead` (rows of the
    future that a score uses; 0 is causal), `multivariate` (channels are judged jointly), `summary` in one line.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    cost: ClassVar[Literal["light", "model", "foundation"]]
    lookahead: ClassVar[int] = 0
    multivariate: ClassVar[bool]

    @property
    @abstractmethod
    def window(self) -> int:
        """Steps of context that one score uses, the scored row included."""

    @property
    @abstractmethod
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""

    @property
    def delays(self) -> tuple[int, ...]:
        """Rows after which the detector can say more of a row, rising; the last is when all is said. Most say no more.

        Scores at a delay have units of their own: each is measured by scores at the same delay in training.
        """
        return ()

    def give_delayed(self) -> None:  # noqa: B027 - most say all at once
        """Give the scores at `delays` too, from now on; called before the first fit, or never."""

    @abstractmethod
    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""

    @abstractmethod
    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Learn what is normal for `series`, and be ready to score the row that follows.

        Parameters
        ----------
        series
            Number of the series.
        train
            float32[t, c], a quiet prefix in time order, NaN where missing.
        times
            int64[t], event times, ns UTC.

        Returns
        -------
        float64[t]
            Honest scores of the prefix (held out, never in-sample) for calibration; NaN where it cannot say.

        Raises
        ------
        NotEnoughDataError
            Fewer than `min_train` usable rows.
        """

    def fit_with_delays(
        self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Learn as `fit` does.

        Returns
        -------
        float64[t], float64[t, k]
            What `fit` returns, and honest scores of the same rows at the k `delays`; NaN where it cannot say.
        """
        return self.fit(series, train, times), np.empty((len(train), 0))

    @abstractmethod
    def score(self, rows: RowBatch) -> Scores:
        """Score rows of fitted series, in order."""

    def score_by(self, rows: RowBatch, deadline: Deadline) -> Scores:  # noqa: ARG002
        """Score rows like `score`, but say `Unscored.LATE` of those that a network cannot be asked about in time.

        Only detectors of cost ``foundation`` heed the deadline; the others are quick.
        """
        return self.score(rows)

    @abstractmethod
    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Score a whole recording at once, with hindsight (mode ``full``).

        The detector fits itself on the recording without labels and may use what came later.

        Parameters
        ----------
        values, times
            float32[t, c] and int64[t].
        train_rows
            The first rows that are known to be a training part, which a detector may make use of; 0 where none is.

        Returns
        -------
        float64[t]
            NaN where it cannot say.
        """

    def exclude(self, series: int, start: int, end: int) -> int:  # noqa: ARG002
        """Take a bad period out of what counts as normal.

        Parameters
        ----------
        series
            Its number.
        start, end
            Event times, ns UTC, both included.

        Returns
        -------
        int
            Windows that were taken out; 0 from a detector that keeps none, so that nothing can be taken out of it.
        """
        return 0

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:  # noqa: ARG002
        """What `exclude` can change of a series, as arrays of length 1."""
        return {}

    def restore_learnt(self, series: int, learnt: Mapping[str, npt.NDArray[Any]]) -> None:  # noqa: B027
        """Put back what `learnt` gave."""

    def choices(self, series: int) -> tuple[str, ...]:  # noqa: ARG002
        """What the last `fit` of `series` chose by itself, and why: a sentence each, for people."""
        return ()

    @abstractmethod
    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What the first `n_series` series learnt by fitting, or else their streaming state."""

    @abstractmethod
    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
