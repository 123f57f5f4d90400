"""How often one caller may ask: a token bucket a caller, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["RateLimiter"]


class RateLimiter:
    """Lets callers ask so often a minute, with bursts of as many.

    Parameters
    ----------
    per_minute
        Requests a minute and caller.
    monotonic
        Seconds that only rise.
    most_callers
        How many are remembered. A caller who was forgotten starts with a full bucket, so this bounds memory, and
        weakens the limit only for whoever has that many addresses.

    Examples
    --------
    >>> limiter = RateLimiter(2, lambda: 0.0)
    >>> [limiter.wait("a") for _ in range(3)], limiter.wait("b")
    ([0.0, 0.0, 30.0], 0.0)
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float], most_callers: int = 10_000) -> None:
        self._full = float(per_minute)
        self._per_second = per_minute / 60.0
        self._monotonic = monotonic
        self._most_callers = most_callers
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Count a request: 0 where it is let through, else the seconds until one will be."""
        left = self._left(caller)
        if left < 1.0:
            return (1.0 - left) / self._per_second
        self._buckets[caller] = left - 1.0, self._monotonic()
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._most_callers:
            self._buckets.popitem(last=False)
        return 0.0

    def exhausted(self, caller: str) -> float:
        """Seconds until a request would be let through, without counting one."""
        left = self._left(caller)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_second

    def _left(self, caller: str) -> float:
        left, at = self._buckets.get(caller, (self._full, self._monotonic()))
        return min(self._full, left + (self._monotonic() - at) * self._per_second)
