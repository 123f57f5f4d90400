"""What good parts look like: a calibration by stream and model version, and how streams hang together."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError
from tsad.fusion.combination import Dependence, combine
from tsad.fusion.conformal import ConformalCalibration
from tsad.fusion.part_events import JoinedParts
from tsad.fusion.part_settings import PartSettings

__all__ = ["PartCalibration"]

_KEPT = 4  # times `train_parts` that are kept while something is learnt
_LEAST_TOGETHER = 100  # good parts with the same streams, to calibrate their combined p-value


class PartCalibration:
    """Learns from closed parts, and turns scores into p-values.

    A calibration is made once for each stream and model version, from the first `train_parts` closed parts that have
    it, and stays: learning on from parts that were not flagged would cut the tail off a little each time, and flag more
    and more. How streams hang together is measured on the same parts.

    Parameters
    ----------
    settings
        Streams, and how many parts are needed.
    """

    def __init__(self, settings: PartSettings) -> None:
        self._settings = settings
        self._k = len(settings.streams)
        self._known: dict[tuple[int, int], ConformalCalibration] = {}
        self._newest = [-1] * self._k  # the version of each stream that was calibrated last
        self._score = np.zeros((0, self._k))
        self._version = np.zeros((0, self._k), np.int32)
        self._collected = 0
        # p-values of the good parts that dependence was measured on, and combinations calibrated on them by streams.
        self._prefix = np.zeros((self._k, 0))
        self._combined: dict[tuple[bool, ...], tuple[ConformalCalibration, float] | None] = {}
        self._measured_version: list[int] = []
        self.dependence: Dependence | None = None
        self.fit_count = 0

    def sizes(self) -> dict[str, int]:
        """On how many parts the newest calibration of each stream rests."""
        names = self._settings.streams
        return {names[s]: len(self._known[s, v]) for s, v in enumerate(self._newest) if v >= 0}

    def p_values(self, score: npt.NDArray[np.float64], version: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """float64[m, k], NaN where there is no score, or no calibration of its version."""
        p = np.full(score.shape, np.nan)
        for (stream, one), calibration in self._known.items():
            own = version[:, stream] == one
            if own.any():
                p[own, stream] = calibration.p_values(score[own, stream])
        return p

    def correlation(self, streams: npt.NDArray[np.bool_]) -> float | None:
        """Largest correlation of ``ln p`` between any two of some streams on good parts; None where it is not known."""
        if self.dependence is None or streams.sum() < 2:
            return None
        own = self.dependence.covariance[np.ix_(streams, streams)] / 4.0
        return float(own[~np.eye(len(own), dtype=bool)].max())

    def combined(self, p: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Combine p-values by the rule of the settings; calibrated once more on good parts with the same streams.

        The second calibration gives the rate that is asked for whatever the dependence. Beyond the oddest good part the
        combined p-value goes on in proportion, so that order and rarity are kept.

        Parameters
        ----------
        p
            float64[m, k].

        Returns
        -------
        p_values, methods
            float64[m], str[m], as `combine` has them.
        """
        settings = self._settings
        found, methods = combine(p.T, settings.rule, self.dependence, settings.min_pairs)
        if not settings.recalibrate:
            return found, methods
        known = ~np.isnan(p)
        for pattern in np.unique(known[known.sum(axis=1) > 1], axis=0):
            calibrated = self._calibrated(tuple(pattern.tolist()))
            if calibrated is None:
                continue
            calibration, lowest = calibrated
            own = (known == pattern).all(axis=1)
            again = calibration.p_values(-np.log(found[own]))
            beyond = calibration.smallest * np.minimum(found[own] / lowest, 1.0)
            found[own] = np.where(found[own] < lowest, beyond, again)
        return found, methods

    def _calibrated(self, pattern: tuple[bool, ...]) -> tuple[ConformalCalibration, float] | None:
        if pattern not in self._combined:
            streams = np.array(pattern)
            whole = self._prefix[:, ~np.isnan(self._prefix[streams]).any(axis=0)]
            made = None
            if whole.shape[1] >= _LEAST_TOGETHER:
                own = np.where(streams[:, None], whole, np.nan)
                good, _ = combine(own, self._settings.rule, self.dependence, self._settings.min_pairs)
                made = ConformalCalibration(-np.log(good)), float(good.min())
            self._combined[pattern] = made
        return self._combined[pattern]

    # ------------------------------------------------------------------------------------------------- learning

    def _unlearnt(self, score: npt.NDArray[np.float64], version: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """bool[m, k], scores of versions without a calibration."""
        known = np.zeros(score.shape, np.bool_)
        for stream, one in self._known:
            known[:, stream] |= version[:, stream] == one
        return ~np.isnan(score) & ~known

    def _collecting(self, joined: JoinedParts, part: slice) -> npt.NDArray[np.bool_]:
        """bool[m], closed parts that are kept for learning."""
        final = joined.final[part]
        if self._pairs_missing():
            return final
        # Whole parts are kept: dependence needs the other streams too.
        return np.asarray(final & self._unlearnt(joined.score[part], joined.version[part]).any(axis=1))

    def _pairs_missing(self) -> bool:
        """Whether pairs of calibrated streams are still too few for their dependence."""
        streams = np.array([s for s, v in enumerate(self._newest) if v >= 0], np.intp)
        if len(streams) < 2 or self.dependence is None:
            return False
        return self.dependence.fewest_pairs(streams) < self._settings.min_pairs

    def ready_after(self, joined: JoinedParts, start: int) -> int:
        """End of the parts from `start` on after which the next calibration becomes ready, or of all."""
        stop = len(joined)
        rest = slice(start, stop)
        final = joined.final[rest]
        new = self._unlearnt(joined.score[rest], joined.version[rest]) & final[:, None]
        for stream, one in {
            (int(s), int(v)) for s, v in zip(np.nonzero(new)[1], joined.version[rest][new], strict=True)
        }:
            own = new[:, stream] & (joined.version[rest, stream] == one)
            have = int((self._version[:, stream] == one).sum())
            reached = np.flatnonzero(have + np.cumsum(own) >= self._settings.train_parts)
            if len(reached):
                stop = min(stop, start + int(reached[0]) + 1)
        if self._pairs_missing():
            # Dependence is looked at anew as soon as it may be enough.
            need = self._settings.min_pairs - self._collected % self._settings.min_pairs
            reached = np.flatnonzero(np.cumsum(final) >= need)
            if len(reached):
                stop = min(stop, start + int(reached[0]) + 1)
        return stop

    def learn(self, joined: JoinedParts, part: slice, counts: Counter[str]) -> None:
        """Keep closed parts, and calibrate what has enough of them."""
        chosen = self._collecting(joined, part)
        if not chosen.any():
            return
        self._collected += int(chosen.sum())
        most = _KEPT * self._settings.train_parts
        self._score = np.concatenate([self._score, joined.score[part][chosen]])[-most:]
        self._version = np.concatenate([self._version, joined.version[part][chosen]])[-most:]
        fitted = False
        new = self._unlearnt(self._score, self._version)
        for stream in range(self._k):
            for one in np.unique(self._version[new[:, stream], stream]).tolist():
                scores = self._score[self._version[:, stream] == one, stream]
                if len(scores) >= self._settings.train_parts:
                    self._known[stream, one] = ConformalCalibration(scores, tail=self._settings.tail)
                    self._newest[stream] = one
                    counts["calibrated"] += 1
                    self.fit_count += 1
                    fitted = True
        if fitted or (self._pairs_missing() and self._collected % self._settings.min_pairs == 0):
            self._measure()
        if not self._pairs_missing() and not self._unlearnt(self._score, self._version).any() and self._complete():
            self._score, self._version = self._score[:0], self._version[:0]

    def _complete(self) -> bool:
        return all(version >= 0 for version in self._newest)

    def _measure(self) -> None:
        own = np.full((self._k, len(self._score)), np.nan)
        for stream, one in enumerate(self._newest):
            if one >= 0:
                rows = self._version[:, stream] == one
                own[stream, rows] = self._known[stream, one].own_p_values(self._score[rows, stream])
        measured = Dependence.fit(own)
        if self.dependence is not None:
            # A stream whose new version was learnt on few pairs: what is known of the others stays.
            better = self.dependence.pairs > measured.pairs
            for stream, one in enumerate(self._newest):
                if one != self._measured_version[stream]:
                    better[stream, :] = better[:, stream] = False
            measured.covariance[better] = self.dependence.covariance[better]
            measured.pairs[better] = self.dependence.pairs[better]
        self.dependence, self._measured_version = measured, list(self._newest)
        self._prefix, self._combined = own, {}

    # ------------------------------------------------------------------------------------------------- state

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """What `restore` needs, as named arrays and JSON-ready values."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "score": self._score.copy(), "version": self._version.copy(), "prefix": self._prefix.copy(),
        }  # fmt: skip
        for (stream, one), calibration in self._known.items():
            arrays |= {f"known:{stream}:{one}:{name}": array for name, array in calibration.state().items()}
        if self.dependence is not None:
            arrays |= {"covariance": self.dependence.covariance.copy(), "pairs": self.dependence.pairs.copy()}
        extra: dict[str, Any] = {
            "newest": list(self._newest), "fits": self.fit_count, "known": [list(key) for key in self._known],
            "collected": self._collected, "measured": list(self._measured_version),
        }  # fmt: skip
        return arrays, extra

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from a stored state.

        Raises
        ------
        SnapshotError
            It is damaged, or of other streams.
        """
        if arrays["score"].shape[1:] != (self._k,):
            raise SnapshotError(f"the stored calibration is of {arrays['score'].shape[1]} streams, not {self._k}")
        self._score, self._version, self._prefix = arrays["score"], arrays["version"], arrays["prefix"]
        self._combined = {}
        self._known = {
            (stream, one): ConformalCalibration.restored(
                {name: arrays[f"known:{stream}:{one}:{name}"] for name in ("sorted", "tail")}
            )
            for stream, one in extra["known"]
        }
        self._newest, self.fit_count = list(extra["newest"]), int(extra["fits"])
        self._collected, self._measured_version = int(extra["collected"]), list(extra["measured"])
        if "covariance" in arrays:
            self.dependence = Dependence(arrays["covariance"], arrays["pairs"])
