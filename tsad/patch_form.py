"""Which windows `tsad.detectors.patchbank` looks at, and the arrays that a series has for them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tsad.series_arrays import PER_CHANNEL, PER_LEARNT_ROW, Field

__all__ = ["EARLY_DELAY", "LITE_MEMBERS", "MEMBERS", "MOST_CENTRES", "Member", "PatchForm"]

EARLY_DELAY = 16
MOST_CENTRES = 20
_SHORTEST = 8


class Member(NamedTuple):
    """One opinion: how many rows its windows have, and what they are compared with.

    `centred` windows are compared without their means, windows of `clusters` with typical ones instead of with the
    bank. `univariate` tells whether series of one channel have it too.
    """

    width: int
    centred: bool
    univariate: bool
    clusters: bool = False


MEMBERS = (
    Member(8, centred=False, univariate=False),
    Member(32, centred=False, univariate=True),
    Member(96, centred=False, univariate=True),
    Member(96, centred=True, univariate=True),
    Member(40, centred=False, univariate=False, clusters=True),
)
LITE_MEMBERS = (Member(96, centred=True, univariate=True),)


@dataclass(frozen=True, slots=True)
class PatchForm:
    """Members, and how far back they look.

    Attributes
    ----------
    members
        Those that a series may have.
    ring
        Rows of the recent past whose windows count as normal.
    early
        Rows after which more is said of a row for the first time.
    """

    members: tuple[Member, ...]
    ring: int
    early: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Rows of windows: of those that are compared with the bank, rising, then of those that are clustered."""
        return *self._of(clusters=False), *self._of(clusters=True)

    def _of(self, *, clusters: bool) -> list[int]:
        return sorted({member.width for member in self.members if member.clusters == clusters})

    @property
    def matched(self) -> int:
        """How many of `widths` are compared with the bank."""
        return len(self._of(clusters=False))

    @property
    def longest(self) -> int:
        """Rows of the longest window."""
        return max(self.widths)

    @property
    def depth(self) -> int:
        """Rows of the past that are kept."""
        return self.ring + self.longest + 1

    @property
    def delays(self) -> tuple[int, int]:
        """Rows after which more is said of a row: early in its windows, and when all of them are there."""
        return self.early, self.longest - 1

    @property
    def member_width(self) -> npt.NDArray[np.int64]:
        """Place of each member's width in `widths`."""
        widths = self._of(clusters=False)
        return np.array([len(widths) if m.clusters else widths.index(m.width) for m in self.members], np.int64)

    @property
    def centred(self) -> npt.NDArray[np.bool_]:
        """Of each member."""
        return np.array([m.centred for m in self.members], np.bool_)

    @property
    def clusters(self) -> npt.NDArray[np.bool_]:
        """Of each member."""
        return np.array([m.clusters for m in self.members], np.bool_)

    def widths_for(self, rows: int) -> npt.NDArray[np.int64]:
        """`widths` after a training part of so many rows, narrower where they would leave too few windows."""
        found = [w if rows > 3 * w else max(_SHORTEST, rows // 4) for w in self.widths]
        longest = max(found[: self.matched])
        return np.array([min(w, longest) for w in found], np.int64)

    def explaining(self, on: npt.NDArray[np.bool_]) -> int:
        """The member whose match is shown: the narrowest that keeps levels, else the narrowest of `on`."""
        matched = np.flatnonzero(on & ~self.clusters)
        with_level = matched[~self.centred[matched]]
        return int((with_level if with_level.size else matched)[0])

    def fields(self) -> dict[str, Field]:
        """The arrays of a series."""
        n, every, matched, twice = len(self.members), len(self.widths), self.matched, 2 * self.depth
        clustered = max(self._of(clusters=True), default=0)
        return {
            "n_channels": Field(np.int64, fitted=True),
            "n_bank": Field(np.int64, fitted=True),
            "location": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
            "factor": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
            "widths": Field(np.int64, 1, (every,), fitted=True),
            "centred_width": Field(np.int64, 1, fitted=True),
            "width_used": Field(np.bool_, 0, (every,), fitted=True),
            "member_on": Field(np.bool_, 0, (n,), fitted=True),
            "usual": Field(np.float64, 1, (n,), fitted=True),
            "delayed_usual": Field(np.float64, 1, (len(self.delays), n), fitted=True),
            "channel_usual": Field(np.float64, 1, (n, 3, PER_CHANNEL), fitted=True),
            "period": Field(np.int64, fitted=True),
            "epoch": Field(np.int64, fitted=True),
            "step": Field(np.int64, 1, fitted=True),
            "explaining": Field(np.int64, fitted=True),
            "band": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
            "bank": Field(np.float32, 0, (PER_CHANNEL, PER_LEARNT_ROW), fitted=True),
            "bank_means": Field(np.float32, 0, (PER_CHANNEL, PER_LEARNT_ROW), fitted=True),
            "bank_good": Field(np.bool_, 0, (matched, PER_LEARNT_ROW), fitted=True),
            "bank_phase": Field(np.int32, 0, (PER_LEARNT_ROW,), fitted=True),
            "bank_times": Field(np.int64, 0, (PER_LEARNT_ROW,), fitted=True),
            "n_centres": Field(np.int64, fitted=True),
            "centres": Field(np.float32, 0, (PER_CHANNEL, clustered, MOST_CENTRES), fitted=True),
            # What operators' words leave of the good windows, so it is streaming state.
            "bank_kept": Field(np.bool_, 0, (matched, PER_LEARNT_ROW)),
            "history_kept": Field(np.bool_, 0, (matched, twice)),
            "history_times": Field(np.int64, 0, (twice,)),
            "history_held": Field(np.bool_, 0, (twice,)),
            "clean": Field(np.int64),
            "bank_sums": Field(np.float64, 0, (matched, PER_LEARNT_ROW)),
            "ring_sums": Field(np.float64, 0, (matched, self.ring + 1)),
            "history": Field(np.float32, 0, (PER_CHANNEL, twice)),
            "history_means": Field(np.float32, 0, (PER_CHANNEL, twice)),
            "history_phase": Field(np.int32, 0, (twice,)),
            "history_good": Field(np.bool_, 0, (every, twice)),
            "absent": Field(np.bool_, 0, (PER_CHANNEL, twice)),
            "windows": Field(np.float64, np.nan, (n, max(self.delays) + 1)),
            "gaps": Field(np.int64, 0, (every,)),
            "newest": Field(np.int64),
            "last": Field(np.int64),
            "run": Field(np.int64),
        }
