"""Logging in and out with a browser: one small page without scripts."""

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from streams.access.entrance import CONSOLE_PATH, LOGIN_PATH, LOGOUT_PATH, Entrance
from streams.access.sessions import COOKIE

__all__ = ["login_router"]

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>tsad: log in</title>
<meta name="viewport" content="width=device-width"><style>
body {{ background: #121212; color: #eee; font: 1.1rem sans-serif; display: grid; place-items: center; height: 90vh }}
input, button {{ font: inherit; padding: .5rem; background: #222; color: #eee; border: 1px solid #888 }}
[role=alert] {{ color: #ff8a80 }}
</style></head><body><main><h1>tsad</h1>
<form method="post" action="{path}"><label>Token
<input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Log in</button></form><p role="alert">{problem}</p></main></body></html>"""


def login_router(entrance: Entrance, *, encrypted: bool) -> APIRouter:
    """The routes of logging in and out.

    Parameters
    ----------
    entrance
        Tells who is let in, and keeps log-ins.
    encrypted
        Whether the cookie goes over TLS alone.
    """
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN_PATH)
    def page() -> HTMLResponse:
        return HTMLResponse(_PAGE.format(path=LOGIN_PATH, problem=""))

    @router.post(LOGIN_PATH, response_model=None)
    async def log_in(request: Request) -> HTMLResponse | RedirectResponse:
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        token = fields.get("token", [""])[0].strip()
        found = entrance.holder(token)
        if isinstance(found, str):
            return HTMLResponse(_PAGE.format(path=LOGIN_PATH, problem=escape(found)), status_code=401)
        answer = RedirectResponse(f"{CONSOLE_PATH}/", status_code=303)
        answer.set_cookie(
            COOKIE,
            entrance.sessions.begin(token),
            max_age=int(entrance.sessions.length.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=encrypted,
        )
        return answer

    @router.get(LOGOUT_PATH)
    def log_out(request: Request) -> RedirectResponse:
        entrance.sessions.end(request.cookies.get(COOKIE, ""))
        answer = RedirectResponse(LOGIN_PATH, status_code=303)
        answer.delete_cookie(COOKIE)
        return answer

    return router
