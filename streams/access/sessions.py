"""Log-ins from a browser: a random name in a cookie, and who it stands for in memory."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

__all__ = ["COOKIE", "Sessions"]

COOKIE = "tsad_session"
_MOST_SESSIONS = 1_000


class Sessions:
    """Who is logged in. Sessions end with the process, at their time, or when somebody logs out.

    Parameters
    ----------
    length
        How long a log-in lasts.
    now
        The wall clock.
    """

    def __init__(self, length: timedelta, now: Callable[[], datetime]) -> None:
        self.length = length
        self._now = now
        self._open: OrderedDict[str, tuple[str, datetime]] = OrderedDict()

    def begin(self, token: str) -> str:
        """The name of a new session of a token's holder."""
        name = secrets.token_urlsafe(32)
        self._open[name] = token, self._now() + self.length
        if len(self._open) > _MOST_SESSIONS:
            self._open.popitem(last=False)
        return name

    def token(self, name: str) -> str | None:
        """The token of a session, which is checked anew each time; None when the session has ended."""
        token, ends = self._open.get(name, (None, None))
        if ends is None or self._now() >= ends:
            self._open.pop(name, None)
            return None
        return token

    def end(self, name: str) -> None:
        """Log out."""
        self._open.pop(name, None)
