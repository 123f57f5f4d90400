"""Windows against a bank of normal ones that keeps their amplitude: the default detector where there is history."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.detectors.base import Detector, Scores
from tsad.errors import NotEnoughDataError
from tsad.kernels.patchbank_rows import phase_of, score_bank_rows, score_rows
from tsad.observations import RowBatch, RowFlag
from tsad.patch_clusters import typical_windows
from tsad.patch_form import EARLY_DELAY, LITE_MEMBERS, MEMBERS, MOST_CENTRES, PatchForm
from tsad.patch_learning import (
    channel_usual,
    covering,
    described_choices,
    found_breaks,
    good_windows,
    scaled_bank,
    settled_scores,
    usual_score,
    window_means,
)
from tsad.patch_scaling import Units, fit_patch_scaling
from tsad.periods import shared_period
from tsad.series_arrays import SeriesArrays

__all__ = ["PatchBankDetector"]

SamePhase = Literal["auto", "never"]

Clusters = Literal["auto", "always", "never"]

_HELD_TWICE = (
    "history", "history_means", "history_good", "history_phase", "history_kept", "history_held", "history_times",
    "absent",
)  # fmt: skip
_BAND_QUANTILE = 0.99
_LEAST_ROWS = 32
_IMMEDIATE, _EARLY, _EVEN = range(3)
"""How residuals are weighted: for the newest row, for that at the early delay, and all alike."""


class _Learnt(NamedTuple):
    """What a training part says of its last rows, the bank's; NaN where nothing can be said.

    `windows`, float64[rows, members], are scores of the windows that end at each row; `ratios`, float64[rows, delays,
    members], scores of each row in units of what is usual: the immediate one, then those of `PatchBankDetector.delays`.
    """

    windows: npt.NDArray[np.float64]
    ratios: npt.NDArray[np.float64]


class PatchBankDetector(Detector):
    """Distance of the newest window to the second distinct nearest of all normal ones.

    The bank holds the windows of the training part; a ring holds those of the recent past, so that what has become
    usual is known after a while. Windows keep their amplitude: they are scaled by channel, never by window. Four
    members look at 8, 32 and 96 rows, and at 96 rows without their level; each is divided by the 0.99 quantile of its
    own scores in training, where every window is judged without its overlapping neighbours, and the ratios are added
    up. Taking the second distinct neighbour, one odd stretch in the training part does not hide the next one. A fifth
    member, where several measured channels move, looks at shape alone: windows of 40 rows, scaled by themselves, and
    their distance to the nearest of a few typical ones. It is slow to see an onset, so it counts in the scores that
    come later and not in the immediate one.

    The score of a row is that of the newest window, weighted towards its newest rows: among the windows that will
    cover the row, this is what they are expected to say. Sixteen rows later more of them are known, and the weights
    move along. The settled score, and the score with hindsight, is the mean over all windows that cover the row.

    Sources: discords by window distances, E. Keogh, J. Lin and A. Fu, "HOT SAX", ICDM 2005; the growing bank, the
    distinct neighbour, the ratio calibration and the early score are this project's (docs/patchbank.md).

    Parameters
    ----------
    bank_rows
        Newest rows of the training part that are kept, at most.
    ring_rows
        Rows of the recent past whose windows count as normal.
    repeats
        How often an odd stretch may stand in the training part without being taken for normal.
    clean_training
        The training part is known to hold nothing odd: nearest neighbour, and the largest ratio instead of their sum.
        Slightly sharper, without protection; `repeats` is 0 then.
    units
        ``shared`` where all channels are of one unit, ``mixed`` where not, ``auto`` to judge by magnitudes.
    same_phase
        Compare windows of the same time of day (or of whatever period the training part has) only, and channel by
        channel in units of their own usual deviation: for indicators of mixed units that swing with the day. ``auto``
        does so where several channels of mixed units share a period in training; ``never`` never does.
    clusters
        The fifth member: ``auto`` where more than one channel that is not a command moves in training and windows are
        not compared by phase; ``always`` with several channels, and in the immediate score too; ``never``.
    lite
        96 rows without their level alone, against the training part alone: half the time, a fraction of the state, and
        nothing ever becomes usual.
    hold
        Windows that end in an alarm (a mean ratio of 3) count as normal only so many rows later; 0: at once.
    most_held
        No more than so many windows of the ring wait; None: all that end in an alarm.
    """

    name: ClassVar[str] = "patchbank"
    summary: ClassVar[str] = "windows against a growing bank of normal windows, amplitudes kept"
    cost: ClassVar[Literal["light", "model", "foundation"]] = "light"
    multivariate: ClassVar[bool] = True

    def __init__(
        self,
        *,
        bank_rows: int = 8192,
        ring_rows: int = 2000,
        repeats: int = 1,
        clean_training: bool = False,
        units: Units = "auto",
        same_phase: SamePhase = "auto",
        clusters: Clusters = "auto",
        lite: bool = False,
        hold: int = 0,
        most_held: int | None = None,
    ) -> None:
        if bank_rows < _LEAST_ROWS or ring_rows < 0 or repeats < 0:
            raise ValueError(
                f"bank_rows is {bank_rows}, ring_rows {ring_rows}, repeats {repeats}; need bank_rows >= {_LEAST_ROWS}, "
                f"ring_rows >= 0 and repeats >= 0"
            )
        if units not in ("auto", "shared", "mixed"):
            raise ValueError(f"units is {units!r}; choose auto, shared or mixed")
        if same_phase not in ("auto", "never"):
            raise ValueError(f"same_phase is {same_phase!r}; choose auto or never")
        if clusters not in ("auto", "always", "never"):
            raise ValueError(f"clusters is {clusters!r}; choose auto, always or never")
        if lite and clusters == "always":
            raise ValueError("lite has one member, and clusters are not it; choose clusters auto or never, or not lite")
        ring = 0 if lite else ring_rows
        if hold < 0 or hold > ring or (most_held is not None and most_held < 1):
            raise ValueError(
                f"hold is {hold}, most_held {most_held}; windows are held back from the ring, so hold "
                f"must be from 0 to its {ring} rows, and most_held at least 1"
            )
        self._options: dict[str, Any] = {
            "bank_rows": bank_rows, "ring_rows": ring_rows, "repeats": repeats, "clean_training": clean_training,
            "units": units, "same_phase": same_phase, "clusters": clusters, "lite": lite, "hold": hold,
            "most_held": most_held,
        }  # fmt: skip
        self._bank_rows = bank_rows
        self._order = 1 if clean_training else repeats + 1
        self._summed = not clean_training
        self._units = units
        self._same_phase = same_phase
        self._clusters = clusters
        self._hold, self._most_held = hold, ring if most_held is None else most_held
        wanted = tuple(m for m in MEMBERS if clusters != "never" or not m.clusters)
        self._form = PatchForm(LITE_MEMBERS if lite else wanted, ring, EARLY_DELAY)
        self._asked: tuple[int, ...] = ()
        self._choices: dict[int, tuple[str, ...]] = {}
        self._member_width, self._member_centred = self._form.member_width, self._form.centred
        self._member_clusters = self._form.clusters
        self._arrays = SeriesArrays(self._form.fields())

    @property
    def window(self) -> int:
        """Steps of context that one score uses (fewer after a short training part)."""
        return self._form.longest

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return _LEAST_ROWS

    @property
    def delays(self) -> tuple[int, ...]:
        """Rows after which more is said of a row: early in its windows, and when all of them are there."""
        return self._form.delays

    def give_delayed(self) -> None:
        """Give the scores at `delays` too; see `Detector.give_delayed`."""
        self._asked = self.delays

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Fill the bank, and judge every row of it against the rest; see `Detector.fit`."""
        return self.fit_with_delays(series, train, times)[0]

    def fit_with_delays(
        self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Learn as `fit` does; see `Detector.fit_with_delays`."""
        ratios = self._learn(series, train, times).ratios
        scores = np.full((len(train), ratios.shape[1]), np.nan)
        on = self._arrays.member_on[series]
        at_once = on & (~self._member_clusters | (self._clusters == "always"))
        for k, counted in enumerate([at_once, *[on] * len(self.delays)]):
            own = ratios[:, k, counted]
            scores[len(train) - len(ratios) :, k] = own.sum(axis=1) if self._summed else own.max(axis=1)
        return scores[:, 0], scores[:, 1:]

    def _learn(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> _Learnt:
        """Fill the bank; returns what is said of its rows."""
        usable = int(np.count_nonzero(~np.isnan(train).all(axis=1)))
        if usable < _LEAST_ROWS:
            raise NotEnoughDataError(f"patchbank needs {_LEAST_ROWS} rows with values, there are {usable}")
        kept, times = np.ascontiguousarray(train[-self._bank_rows :]), times[-self._bank_rows :]
        rows, channels = kept.shape
        breaks = found_breaks(times)
        scaling = fit_patch_scaling(kept, self._units)
        period = 0 if scaling.shared or channels == 1 or self._same_phase == "never" else shared_period(kept)
        if period:
            scaling = scaling.by_noise(kept)
        form, clusters = self._form, self._member_clusters
        matched, widths = form.matched, form.widths_for(rows)
        longest = int(widths[matched - 1])
        on = np.array([m.univariate or channels > 1 for m in form.members], np.bool_)
        clustered = self._clusters == "always" or (not period and _moving(kept, scaling.state) > 1)
        on &= ~clusters | clustered
        explaining = form.explaining(on)
        self._arrays.reserve(series + 1, channels, rows)
        a = self._arrays
        for name in (
            "bank_sums", "ring_sums", "history", "history_means", "history_good", "history_kept", "history_held",
            "history_times", "absent", "gaps", "n_centres", "centres",
        ):  # fmt: skip
            getattr(a, name)[series] = 0
        a.windows[series] = np.nan
        a.n_channels[series], a.n_bank[series] = channels, rows
        a.location[series, :channels], a.factor[series, :channels] = scaling.location, scaling.factor
        a.widths[series], a.centred_width[series] = widths, longest
        a.explaining[series] = explaining
        a.width_used[series] = used = np.isin(np.arange(len(widths)), self._member_width[on & ~clusters])
        step = int(np.median(np.diff(times)))
        a.period[series], a.epoch[series], a.step[series] = period, times[0], step
        a.bank_phase[series, :rows] = [phase_of(time, times[0], step, period) for time in times] if period else 0
        bank = scaled_bank(kept, scaling.location, scaling.factor, breaks)
        a.bank[series, :channels, :rows] = bank.T
        a.bank_means[series, :channels, :rows] = window_means(bank, longest).T
        good = [good_windows(kept[:, scaling.factor != 0], breaks, int(width)) for width in widths]
        a.bank_good[series, :, :rows] = good[:matched]
        if (on & clusters).any():
            centres = typical_windows(bank, good[-1], int(widths[-1]), MOST_CENTRES)
            a.n_centres[series] = centres.shape[2]
            a.centres[series, :channels, : centres.shape[1], : centres.shape[2]] = centres
            on &= ~clusters | (centres.shape[2] > 0)
        a.member_on[series] = on
        self._choices[series] = described_choices(
            rows, widths[used], scaling, period, form.longest, int(widths[-1]) if (on & clusters).any() else 0
        )
        a.bank_kept[series], a.bank_times[series, :rows], a.clean[series] = a.bank_good[series], times, rows
        members = len(form.members)
        nearest, early = (np.full(shape, np.nan) for shape in ((rows, members), (rows, members, 3)))
        residuals = np.full((rows, channels), np.nan)
        parts = np.full((rows if period else 0, members, 3, channels), np.nan)
        run = score_bank_rows(
            kept, breaks, scaling.location, scaling.factor, widths, used, self._member_width, self._member_centred,
            clusters, on, a.centres[series], int(a.n_centres[series]), longest, self._order, form.ring, form.depth,
            self._delays_of_early_scores(), period, a.bank[series, :channels, :rows], a.bank_good[series, :, :rows],
            a.bank_means[series, :channels, :rows], a.bank_phase[series, :rows], a.history[series],
            a.history_phase[series], a.absent[series], a.history_good[series], a.history_means[series], a.gaps[series],
            a.bank_sums[series, :, :rows], a.ring_sums[series], nearest, early, parts, residuals, explaining,
        )  # fmt: skip
        if period:
            for m in np.flatnonzero(on & ~clusters):
                for k in (_IMMEDIATE, _EARLY, _EVEN):
                    a.channel_usual[series, m, k, :channels] = channel_usual(parts[:, m, k], scaling.weight)
                early[:, m] = (parts[:, m] / a.channel_usual[series, m, :, :channels]).sum(axis=2)
                nearest[:, m] = early[:, m, _EVEN]
        a.newest[series], a.last[series], a.run[series] = rows - 1, times[-1], run
        size = float(np.sqrt(np.mean(bank.astype(np.float64) ** 2) * channels))
        ratios = np.full((rows, 1 + len(self.delays), members), np.nan)
        for m in np.flatnonzero(on):
            a.usual[series, m] = usual_score(early[:, m, _IMMEDIATE], size)
            ratios[:, 0, m] = early[:, m, _IMMEDIATE] / a.usual[series, m]
            width = int(widths[self._member_width[m]])
            for k, delay in enumerate(self.delays):
                said = settled_scores(nearest[:, m], min(width, delay + 1))
                if delay < width - 1 and not clusters[m]:
                    said = np.concatenate([early[delay:, m, _EARLY], np.full(delay, np.nan)])
                a.delayed_usual[series, k, m] = usual_score(said, size)
                ratios[:, 1 + k, m] = said / a.delayed_usual[series, k, m]
        for c in range(channels):
            known = residuals[:, c][~np.isnan(residuals[:, c])]
            a.band[series, c] = np.quantile(known, _BAND_QUANTILE) if known.size else 0.0
        return _Learnt(nearest, ratios)

    def exclude(self, series: int, start: int, end: int) -> int:
        """Take the windows over a bad period out of bank and ring; see `Detector.exclude`."""
        a = self._arrays
        rows, newest, changed = int(a.n_bank[series]), int(a.newest[series]), 0
        bank = a.bank_times[series, :rows]
        depth = self._form.depth
        numbers = np.arange(max(rows, newest - depth + 1), newest + 1)
        ring = a.history_times[series, numbers % depth]
        inside, inside_ring = ((t >= start) & (t <= end) for t in (bank, ring))
        for k, width in enumerate(a.widths[series, : self._form.matched].tolist()):
            touched = np.flatnonzero(covering(inside, width) & a.bank_kept[series, k, :rows])
            a.bank_kept[series, k, touched] = False
            at = numbers[covering(inside_ring, width)] % depth
            changed += len(touched) + int(np.count_nonzero(a.history_kept[series, k, at]))
            for place in (at, at + depth):
                a.history_kept[series, k, place] = False
        bad = numbers[inside_ring]
        if bad.size:
            a.clean[series] = min(int(a.clean[series]), newest - int(bad[-1]))
        return changed

    def learnt(self, series: int) -> dict[str, npt.NDArray[Any]]:
        """Which windows count as normal; see `Detector.learnt`."""
        names = ("bank_kept", "history_kept", "newest", "clean")
        return {name: array for name, array in self._arrays.one(series).items() if name in names}

    def restore_learnt(self, series: int, learnt: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put back which windows counted as normal; those of rows that came since stay as they are."""
        a = self._arrays
        kept = learnt["bank_kept"][0]
        a.bank_kept[series, :, : kept.shape[1]] = kept
        then, newest = int(learnt["newest"][0]), int(a.newest[series])
        depth = self._form.depth
        numbers = np.arange(max(then, newest) - depth + 1, then + 1)
        at = numbers[numbers >= 0] % depth
        for place in (at, at + depth):
            a.history_kept[series][:, place] = learnt["history_kept"][0][:, at]
        if newest - a.clean[series] <= then:
            a.clean[series] = learnt["clean"][0] + newest - then

    def choices(self, series: int) -> tuple[str, ...]:
        """Widths, units, state channels and period that were taken; see `Detector.choices`."""
        return self._choices.get(series, ())

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        scores, _ = self._score(rows, with_nearest=False)
        return scores

    def _score(self, rows: RowBatch, *, with_nearest: bool) -> tuple[Scores, npt.NDArray[np.float64]]:
        """Scores of rows, and of the windows that end at them."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1], len(self._asked))
        form = self._form
        nearest = np.full((len(rows) if with_nearest else 0, len(form.members)), np.nan)
        early = self._delays_of_early_scores()
        score_rows(
            rows.series, rows.times, rows.values, (rows.flags & RowFlag.BREAK) != 0, a.n_channels, a.n_bank, a.newest,
            a.last, a.run, a.location, a.factor, a.widths, a.width_used, self._member_width, self._member_centred,
            self._member_clusters, a.member_on, a.centres, a.n_centres, a.centred_width, a.usual, a.channel_usual,
            a.delayed_usual, self._clusters == "always", self._order, self._summed, form.ring, self._hold,
            self._most_held, form.depth, early if with_nearest or self._asked else early[:1],
            np.array(self._asked, np.int64), a.period, a.epoch, a.step, a.explaining, a.bank, a.bank_means,
            a.bank_phase, a.history, a.history_phase, a.absent, a.history_good, a.history_means, a.gaps, a.bank_sums,
            a.ring_sums, a.band, (rows.flags & RowFlag.MAINTENANCE) != 0, a.bank_times, a.bank_kept, a.history_times,
            a.history_kept, a.history_held, a.clean, a.windows, out.score, out.reason, out.contributions, out.expected,
            out.lower, out.upper, nearest, out.nearest,
            np.empty((len(rows), 0)) if out.delayed is None else out.delayed,
        )  # fmt: skip
        return out, nearest

    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Settled scores: the mean over all windows that cover a row; see `Detector.score_all`."""
        learnt = train_rows or min(len(values), self._bank_rows)
        one = PatchBankDetector(**self._options)
        one.reserve(1, values.shape[1])
        prefix = one._learn(0, values[:learnt], times[:learnt]).windows
        rest = values[learnt:]
        zeros = np.zeros(len(rest), np.int64)
        flags = found_breaks(times)[learnt:].astype(np.uint8) * np.uint8(RowFlag.BREAK)
        rows = RowBatch(zeros.astype(np.int32), times[learnt:], rest, flags, zeros.astype(np.int32), zeros)
        _, nearest = one._score(rows, with_nearest=True)
        a = one._arrays
        ratios = []
        for m in np.flatnonzero(a.member_on[0]):
            windows = np.concatenate([np.full(learnt - len(prefix), np.nan), prefix[:, m], nearest[:, m]])
            settled = settled_scores(windows, int(a.widths[0, self._member_width[m]]))
            ratios.append(settled / a.delayed_usual[0, -1, m])
        return np.asarray(np.sum(ratios, axis=0) if self._summed else np.max(ratios, axis=0))

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state; what is held twice is stored once."""
        state = self._arrays.state(n_series, fitted=fitted)
        return {
            name: np.ascontiguousarray(array[..., : self._form.depth]) if name in _HELD_TWICE else array
            for name, array in state.items()
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._arrays.restore(
            {
                name: np.concatenate([array, array], axis=-1) if name in _HELD_TWICE else array
                for name, array in state.items()
            }
        )

    def _delays_of_early_scores(self) -> npt.NDArray[np.int64]:
        """The delays by which one pass over the residuals of a window weights them; -1 weights all alike."""
        return np.array([0, self._form.early, -1])


def _moving(values: npt.NDArray[np.float32], state: npt.NDArray[np.bool_]) -> int:
    """Channels that are measured and not commanded, and do not stand still."""
    known = (
        np.where(np.isnan(values), np.inf, values).min(axis=0),
        np.where(np.isnan(values), -np.inf, values).max(axis=0),
    )
    return int(np.count_nonzero((known[1] > known[0]) & ~state))
