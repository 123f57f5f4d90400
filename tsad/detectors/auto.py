"""What is run where nobody chose: window memory and principal components together, in one score."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.patchbank import PatchBankDetector
from tsad.detectors.sub_pca import SubPcaDetector
from tsad.kernels.delayed import earlier_values
from tsad.observations import RowBatch
from tsad.series_arrays import Field, SeriesArrays

__all__ = ["AutoDetector"]

_QUANTILE = 0.99
_LEAST_USUAL = 1e-9
_LEAST_JOINT_ROWS = 100
_RING_ROWS = 500
"""A ring of 500 to 2,000 rows scores alike; the shorter one has a quarter of the state."""
_PATCHBANK_WEIGHT = 2.0
_SUB_PCA_WEIGHT = 1.0


class AutoDetector(Detector):
    """`patchbank` and `sub-pca`, each in units of its own usual score, averaged two to one.

    They fail on different things: `patchbank` knows shapes and is slow on what is sudden and on one odd channel among
    many, `sub-pca` knows which channels belong together and sees the newest row by itself. A score of 1 is what either
    exceeds in one of a hundred rows of training. Where one cannot say, the other speaks alone, in the same units. At a
    delay `patchbank` is averaged, in units of its own at that delay, with what `sub-pca` said of the row at once.

    Source: the rule that further members enter as ratios to their own 0.99 quantile is this project's
    (docs/detectors.md); it keeps magnitudes, which averages of ranks lose.
    """

    name: ClassVar[str] = "auto"
    summary: ClassVar[str] = "patchbank and sub-pca together, in units of their own usual score"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = True

    def __init__(self) -> None:
        self._members: tuple[Detector, ...] = (PatchBankDetector(ring_rows=_RING_ROWS), SubPcaDetector())
        self._weights = np.array([_PATCHBANK_WEIGHT, _SUB_PCA_WEIGHT])
        self._asked: tuple[int, ...] = ()
        delays = self.delays
        self._arrays = SeriesArrays(
            {
                "usual": Field(np.float64, 1, (len(self._members),), fitted=True),
                "delayed_usual": Field(np.float64, 1, (len(delays),), fitted=True),
                # Ratios of `sub-pca` to the newest rows, which delayed scores come back to.
                "recent": Field(np.float64, np.nan, (max(delays) + 1,)),
                "seen": Field(np.int64),
            }
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return max(member.window for member in self._members)

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return max(member.min_train for member in self._members)

    @property
    def delays(self) -> tuple[int, ...]:
        """Rows after which `patchbank` says more of a row; `sub-pca` stands by what it said."""
        return self._members[0].delays

    def give_delayed(self) -> None:
        """Give the scores at `delays` too; see `Detector.give_delayed`."""
        self._asked = self.delays
        self._members[0].give_delayed()

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series)
        for member in self._members:
            member.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Have every member learn; see `Detector.fit`."""
        return self.fit_with_delays(series, train, times)[0]

    def fit_with_delays(
        self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Have every member learn; see `Detector.fit_with_delays`."""
        self._arrays.reserve(series + 1)
        a = self._arrays
        first, delayed = self._members[0].fit_with_delays(series, train, times)
        scores = np.stack([first, self._members[1].fit(series, train, times)])
        a.usual[series] = _usual(scores)
        a.delayed_usual[series] = _usual(delayed.T)
        a.recent[series], a.seen[series] = np.nan, 0
        ratios = scores / a.usual[series][:, None]
        later = [self._joint(np.stack([said, ratios[1]])) for said in (delayed / a.delayed_usual[series]).T]
        return self._joint(ratios), np.stack(later, axis=1)

    def _joint(self, ratios: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The average of the members' ratios in training, float64[t]."""
        joint = np.asarray(self._weights @ ratios / self._weights.sum())
        # Where only one of them speaks the average has another distribution: such rows calibrate only if they must.
        if np.count_nonzero(~np.isnan(joint)) >= _LEAST_JOINT_ROWS:
            return joint
        total, whole = self._average(ratios)
        return np.where(whole > 0, total / np.maximum(whole, 1.0), np.nan)

    def choices(self, series: int) -> tuple[str, ...]:
        """What the members chose; see `Detector.choices`."""
        return tuple(f"{member.name}: {text}" for member in self._members for text in member.choices(series))

    def _average(self, ratios: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Weighted sum of the ratios that are there, and the sum of their weights, float64[m] each."""
        known = ~np.isnan(ratios)
        weighted = np.where(known, ratios, 0.0) * self._weights[:, None]
        return np.asarray(weighted.sum(axis=0)), np.asarray((known * self._weights[:, None]).sum(axis=0))

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        said = [member.score(rows) for member in self._members]
        ratios = np.stack([s.score for s in said]) / self._arrays.usual[rows.series].T
        total, whole = self._average(ratios)
        weighted = np.nan_to_num(ratios) * self._weights[:, None]
        out = Scores.empty(len(rows), rows.values.shape[1], len(self._asked))
        # `sub-pca` takes what is missing for its mean; a row or window without values is no opinion of its own.
        speaks = (whole > 0) & (said[0].reason != Unscored.VALUES_MISSING)
        out.score[speaks] = total[speaks] / whole[speaks]
        out.reason[:] = np.where(speaks, Unscored.SCORED, said[0].reason)
        share = np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0)
        for part, one in zip(np.where(speaks, share, 0.0), said, strict=True):
            out.contributions[:] += (part[:, None] * one.contributions).astype(np.float32)
        leads = share[1] > share[0]
        for name in ("expected", "lower", "upper"):
            getattr(out, name)[:] = np.where(leads[:, None], getattr(said[1], name), getattr(said[0], name))
        if said[0].delayed is not None and out.delayed is not None:
            own = np.where(said[0].reason != Unscored.VALUES_MISSING, ratios[1], np.nan)
            a = self._arrays
            earlier = np.empty_like(out.delayed)
            earlier_values(rows.series, own, np.array(self._asked, np.int64), a.recent, a.seen, np.nan, earlier)
            for k in range(len(self._asked)):
                total, whole = self._average(
                    np.stack([said[0].delayed[:, k] / a.delayed_usual[rows.series, k], earlier[:, k]])
                )
                out.delayed[whole > 0, k] = total[whole > 0] / whole[whole > 0]
        return out

    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Score a recording with both; see `Detector.score_all`."""
        scores = np.stack([member.score_all(values, times, train_rows) for member in self._members])
        usual = _usual(scores[:, :train_rows] if train_rows else scores)
        return np.asarray(self._weights @ (scores / usual[:, None]) / self._weights.sum())

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        state = self._arrays.state(n_series, fitted=fitted)
        for member in self._members:
            own = member.state(n_series, fitted=fitted)
            state |= {f"{member.name}/{name}": array for name, array in own.items()}
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(state)
        for member in self._members:
            prefix = f"{member.name}/"
            member.restore({name.removeprefix(prefix): a for name, a in state.items() if name.startswith(prefix)})


def _usual(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 0.99 quantile of every member's scores, float64[members]."""
    found = np.ones(len(scores))
    for m, own in enumerate(scores):
        known = own[~np.isnan(own)]
        if known.size:
            found[m] = max(float(np.quantile(known, _QUANTILE)), _LEAST_USUAL)
    return found
