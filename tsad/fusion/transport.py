"""How long parts travel from a step to a camera, and whether the two clocks still agree."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["TransportDelay"]

_BASELINE = 100
_RECENT = 32
_LOOK_EVERY = 8
_SPREADS = 6.0
_NORMAL_SPREAD = 1.4826


class TransportDelay:
    """Measures the delay of one view on parts whose id is known.

    The first 100 delays are the baseline, unless the delay was given. When the median of the newest 32 leaves it by
    more than the tolerance and six deviations, a clock has moved (or the line runs at another speed): joining by time
    goes on with the newest median, and the offset is told. Looked at with every eighth delay.

    Parameters
    ----------
    given, tolerance
        Nanoseconds; `given` may be None.

    Examples
    --------
    >>> delay = TransportDelay(None, tolerance=10)
    >>> [delay.add(1000) for _ in range(104)].count(True), delay.delay, delay.offset
    (0, 1000, None)
    >>> [delay.add(6000) for _ in range(40)].count(True), delay.delay, delay.offset
    (1, 6000, 5000)
    """

    def __init__(self, given: int | None, tolerance: int) -> None:
        self._given = given
        self._tolerance = tolerance
        self._first: list[int] = []
        self._recent: list[int] = []
        self._count = 0
        self._measured: int | None = None
        self.offset: int | None = None

    def add(self, delay: int) -> bool:
        """Take in a delay, ns; returns whether the clocks have just parted."""
        self._count += 1
        if len(self._first) < _BASELINE:
            self._first.append(delay)
        self._recent.append(delay)
        if len(self._recent) > _RECENT:
            del self._recent[0]
        if self._count % _LOOK_EVERY:
            return False
        self._measured = round(float(np.median(self._recent)))
        if len(self._recent) < _RECENT or (self._given is None and len(self._first) < _BASELINE):
            return False
        middle = float(np.median(self._first))
        baseline = middle if self._given is None else float(self._given)
        spread = _NORMAL_SPREAD * float(np.median(np.abs(np.array(self._first) - middle)))
        moved = self._measured - baseline
        before = self.offset
        self.offset = round(moved) if abs(moved) > max(self._tolerance, _SPREADS * spread) else None
        return before is None and self.offset is not None

    @property
    def delay(self) -> int | None:
        """The delay to join by, ns; None while it is not known."""
        return self._measured if self._given is None or self.offset is not None else self._given

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        return {
            "first": list(self._first), "recent": list(self._recent), "count": self._count,
            "measured": self._measured, "offset": self.offset,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self._first, self._recent = list(state["first"]), list(state["recent"])
        self._count, self._measured, self.offset = state["count"], state["measured"], state["offset"]
