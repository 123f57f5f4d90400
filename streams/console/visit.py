"""Who looks at a page of the console."""

from fastapi import Request
from starlette.datastructures import Headers

from streams.access.entrance import CONSOLE_PATH, Entrance
from streams.access.tokens import Principal, Role

__all__ = ["Visit"]


class Visit:
    """What a page knows about its visitor, for as long as it is open.

    Parameters
    ----------
    entrance
        Tells who is let in.
    request
        What the page was asked for with. Its session is looked up anew each time: it may end while the page is open.
    """

    def __init__(self, entrance: Entrance, request: Request) -> None:
        self._entrance = entrance
        self._headers = Headers(raw=list(request.scope["headers"]))

    @property
    def guarded(self) -> bool:
        """Whether visitors log in."""
        return self._entrance.guarded

    @property
    def principal(self) -> Principal | None:
        """Who it is now; None without authentication, and when the session has ended."""
        if not self.guarded:
            return None
        found = self._entrance.principal(self._headers, CONSOLE_PATH)
        return None if isinstance(found, str) else found

    @property
    def ended(self) -> bool:
        """Whether the visitor must log in again."""
        return self.guarded and self.principal is None

    def refusal(self) -> str | None:
        """Why the visitor may not act on alarms; None where they may."""
        if not self.guarded:
            return None
        who = self.principal
        if who is None:
            return "your session has ended; log in again"
        return None if who.role >= Role.OPERATOR else f"operators may do this; {who.name} is a viewer"
