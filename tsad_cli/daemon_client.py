"""How the command line reaches the running daemon."""

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsad_cli.output import fail, give_up

if TYPE_CHECKING:
    import httpx

    from streams.access.settings import HttpSettings

__all__ = ["TOKEN_VARIABLE", "ask", "ask_at", "daemon_client"]

TOKEN_VARIABLE = "TSAD_TOKEN"  # noqa: S105 - a name, no token
"""The environment variable that holds the token to come in with."""


def daemon_client(http: "HttpSettings") -> "httpx.Client":
    """A client of the daemon with these settings, with the token of the environment.

    A certificate that signs itself is trusted because the configuration names it.
    """
    import httpx

    token = os.environ.get(TOKEN_VARIABLE)
    context = ssl.create_default_context()
    if http.tls is not None:
        context.load_verify_locations(http.tls.certificate)
    return httpx.Client(
        base_url=http.base_url,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=10,
        trust_env=False,
        verify=context,
    )


def ask(command: str, config: Path, method: str, path: str, **options: Any) -> Any:
    """Ask the daemon of a configuration file; see `ask_at`.

    Raises
    ------
    typer.Exit
        2: the configuration is bad. 1: the daemon does not answer, or refuses.
    """
    from streams.configuration import load_configuration
    from streams.errors import StreamsError

    try:
        http = load_configuration(config).http
    except StreamsError as error:
        fail(command, error)
    return ask_at(command, http, method, path, **options)


def ask_at(command: str, http: "HttpSettings", method: str, path: str, **options: Any) -> Any:
    """Ask the daemon behind a door, and return what it answers.

    Parameters
    ----------
    command
        Which speaks, for its messages.
    http
        The door.
    method, path
        What to ask; `path` is below ``/api/v1``.
    options
        Of `httpx.Client.request`.

    Raises
    ------
    typer.Exit
        1: nobody answers there, somebody else does, or it refuses.
    """
    import httpx

    try:
        with daemon_client(http) as client:
            answer = client.request(method, f"/api/v1{path}", **options)
    except httpx.HTTPError as error:
        give_up(
            command, f"no daemon answers at {http.base_url} ({error}); start it with `tsad run`, or check http.port"
        )
    try:
        told = answer.json()
    except ValueError:
        give_up(command, f"{http.base_url} answers {answer.status_code} and no JSON: no tsad; check http.port")
    if answer.status_code != httpx.codes.OK:
        problem = told.get("error") or told.get("detail") or told if isinstance(told, dict) else told
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            problem = f"{problem}: set {TOKEN_VARIABLE} to a token that http.tokens lets in"
        give_up(command, _words(problem))
    return told


def _words(problem: Any) -> str:
    """Why a request was refused: our own words, or what did not fit its model."""
    if not isinstance(problem, list):
        return str(problem)
    return "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in problem)
