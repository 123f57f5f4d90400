"""Who sends a request: by the token in its header, or by the session in its cookie."""

from collections.abc import Callable
from datetime import datetime
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from streams.access.sessions import COOKIE, Sessions
from streams.access.tokens import Principal, TokenRegister

__all__ = ["CONSOLE_PATH", "LOGIN_PATH", "LOGOUT_PATH", "Entrance", "in_console"]

CONSOLE_PATH = "/console"
LOGIN_PATH, LOGOUT_PATH = f"{CONSOLE_PATH}/login", f"{CONSOLE_PATH}/logout"


def in_console(path: str) -> bool:
    """Whether a path belongs to the console.

    Examples
    --------
    >>> [in_console(path) for path in ("/console", "/console/alarm/1", "/consoles")]
    [True, True, False]
    """
    return path == CONSOLE_PATH or path.startswith(f"{CONSOLE_PATH}/")


class Entrance:
    """Tells who is let in.

    Parameters
    ----------
    register
        The tokens; where there are none, nobody is asked who they are.
    sessions
        Log-ins from browsers.
    now
        The wall clock.
    """

    def __init__(self, register: TokenRegister, sessions: Sessions, now: Callable[[], datetime]) -> None:
        self.register = register
        self.sessions = sessions
        self.now = now

    @property
    def guarded(self) -> bool:
        """Whether callers must say who they are."""
        return bool(self.register)

    def holder(self, token: str) -> Principal | str:
        """Who holds a token, or why it is not let in."""
        return self.register.principal(token, self.now())

    def principal(self, headers: Headers, path: str) -> Principal | str:
        """Who sends these headers, or why they are not let in.

        A session's cookie opens the console alone: a browser sends it with whatever page asks, so it must not open
        the API.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if token:
            if scheme.lower() != "bearer":
                return "the Authorization header must be 'Bearer TOKEN'"
            return self.holder(token.strip())
        if in_console(path):
            stored = self.sessions.token(_cookie(headers))
            return "the session has ended" if stored is None else self.holder(stored)
        return "there is no Authorization header; send 'Bearer TOKEN'"


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""
