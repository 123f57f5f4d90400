"""The door's guard: every request and every WebSocket passes here before any route sees it.

In order: the name it was called by (against DNS rebinding), how often, who it is, what the role may do, how large the
body is. What changes something, and what is refused, goes to the audit log.
"""

import json
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.access.audit import AuditLog
from streams.access.entrance import LOGIN_PATH, Entrance, in_console
from streams.access.limits import RateLimiter
from streams.access.tokens import Principal, Role

__all__ = ["Guard", "principal_of"]

_OPEN = frozenset({"/healthz", "/readyz", LOGIN_PATH})
_ADMIN = ("/api/v1/audit", "/api/v1/configuration", "/api/v1/export", "/api/v1/webhooks/replay")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CLOSE_UNAUTHORISED = 4401
# The console's library compiles its templates in the browser, and writes scripts into its pages.
_CONSOLE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


class _TooLargeError(Exception):
    """More bytes came than are taken."""


def principal_of(scope: Scope) -> Principal | None:
    """Who a request comes from; None without authentication."""
    found: Principal | None = scope.get("state", {}).get("principal")
    return found


class Guard:
    """An ASGI application before another one.

    Parameters
    ----------
    app
        What is guarded.
    entrance
        Tells who is let in.
    audit
        Where to write what was done and refused.
    monotonic
        Seconds that only rise.
    hosts
        Names and addresses the door may be called by, besides loopback's; None for any.
    requests_per_minute, refusals_per_minute
        How often one caller may ask, and how many refusals of one address are answered in words and written down.
    largest_body
        Bytes.
    encrypted
        Whether TLS is on: browsers are then told to keep to it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        entrance: Entrance,
        audit: AuditLog,
        monotonic: Callable[[], float],
        hosts: Iterable[str] | None,
        requests_per_minute: int,
        refusals_per_minute: int = 10,
        largest_body: int,
        encrypted: bool,
    ) -> None:
        self._app = app
        self._entrance = entrance
        self._audit = audit
        self._requests = RateLimiter(requests_per_minute, monotonic)
        self._refusals = RateLimiter(refusals_per_minute, monotonic)
        self._hosts = None if hosts is None else frozenset({*hosts, *_LOOPBACK})
        self._largest_body = largest_body
        self._encrypted = encrypted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request or a connection pass, or refuse it."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    # ------------------------------------------------------------------------------------------------ HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        address = (scope.get("client") or ("unknown",))[0]
        send = self._with_headers(send, path)
        if not self._known_host(headers):
            await self._refuse(scope, send, 421, "this service is not called by that name; set http.hosts", address)
            return
        who: Principal | str | None = None
        if self._entrance.guarded and path not in _OPEN:
            who = self._entrance.principal(headers, path)
        if isinstance(who, str):
            if in_console(path) and "text/html" in headers.get("accept", "") and method == "GET":
                await _answer(send, 303, "", {"location": LOGIN_PATH})
                return
            await self._refuse(scope, send, 401, who, address, {"www-authenticate": "Bearer"})
            return
        if path == LOGIN_PATH and method not in _READING and (wait := self._refusals.exhausted(address)):
            await _answer(send, 429, "too many refused requests", {"retry-after": str(int(wait) + 1)})
            return
        wait = self._requests.wait(address if who is None else f"token {who.name}")
        if wait:
            await self._refuse(scope, send, 429, "too many requests", address, {"retry-after": str(int(wait) + 1)}, who)
            return
        needed = _role_needed(method, path)
        if who is not None and who.role < needed:
            detail = f"{needed.name.lower()}s may do this, {who.name!r} is a {who.role.name.lower()}"
            await self._refuse(scope, send, 403, detail, address, principal=who)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._largest_body:
            await self._refuse(scope, send, 413, self._too_large(), address, principal=who)
            return
        scope.setdefault("state", {})["principal"] = who
        await self._pass_on(scope, receive, send, address, who)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, address: str, who: Principal | None) -> None:
        taken, status, too_large = 0, 0, False

        async def counted() -> Message:
            nonlocal taken, too_large
            message = await receive()
            taken += len(message.get("body", b""))
            too_large = taken > self._largest_body
            if too_large:
                raise _TooLargeError
            return message

        async def noted(message: Message) -> None:
            nonlocal status
            # What the application makes of a body that was cut off is not for the caller.
            if status or not too_large:
                status = message.get("status", status)
                await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLargeError:
            too_large = True
        if too_large:
            if not status:
                await self._refuse(scope, send, 413, self._too_large(), address, principal=who)
            return
        method, path = scope["method"], scope["path"]
        if status == 401:
            self._refusals.wait(address)
        # The console's actions are written down where they are done: its transport is no action.
        if method not in _READING and (path == LOGIN_PATH or not in_console(path)):
            name = None if who is None else who.name
            await run_in_threadpool(self._audit.record, name, address, method, path, status, "")

    def _too_large(self) -> str:
        return f"the body is larger than {self._largest_body} bytes; send less, or raise http.largest_body"

    async def _refuse(
        self,
        scope: Scope,
        send: Send,
        status: int,
        detail: str,
        address: str,
        headers: dict[str, str] | None = None,
        principal: Principal | None = None,
    ) -> None:
        wait = self._refusals.wait(address)
        if wait:
            # Refused so often that it is not written down any more: the audit log is no way to fill the disk.
            await _answer(send, 429, "too many refused requests", {"retry-after": str(int(wait) + 1)})
            return
        name = None if principal is None else principal.name
        await run_in_threadpool(self._audit.record, name, address, scope["method"], scope["path"], status, detail)
        await _answer(send, status, detail, headers or {})

    def _known_host(self, headers: Headers) -> bool:
        if self._hosts is None:
            return True
        return _host_name(headers.get("host", "")) in self._hosts

    def _with_headers(self, send: Send, path: str) -> Send:
        async def sender(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-content-type-options"] = "nosniff"
                headers["x-frame-options"] = "DENY"
                headers["referrer-policy"] = "same-origin"
                headers["cross-origin-opener-policy"] = "same-origin"
                scripted = in_console(path) and path != LOGIN_PATH
                headers["content-security-policy"] = _CONSOLE_POLICY if scripted else _POLICY
                if not scripted:
                    headers["cache-control"] = "no-store"
                if self._encrypted:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        return sender

    # ------------------------------------------------------------------------------------------------ WebSocket

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        same = origin is None or urlsplit(origin).netloc == headers.get("host")
        who = self._entrance.principal(headers, scope["path"]) if self._entrance.guarded else None
        if isinstance(who, str) or not same or not self._known_host(headers):
            await receive()
            await send({"type": "websocket.close", "code": _CLOSE_UNAUTHORISED})
            return
        scope.setdefault("state", {})["principal"] = who
        await self._app(scope, receive, send)


def _role_needed(method: str, path: str) -> Role:
    if any(path == admin or path.startswith(f"{admin}/") for admin in _ADMIN):
        return Role.ADMIN
    # The console talks by POST and WebSocket whatever it does; its actions ask for the role themselves.
    reads = method in _READING or in_console(path)
    return Role.VIEWER if reads else Role.OPERATOR


def _host_name(host: str) -> str:
    """A Host header without its port.

    Examples
    --------
    >>> _host_name("plant.example:8350"), _host_name("[::1]:8350"), _host_name("[::1")
    ('plant.example', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


async def _answer(send: Send, status: int, detail: str, headers: dict[str, str]) -> None:
    body = json.dumps({"error": detail}).encode() if detail else b""
    sent = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
