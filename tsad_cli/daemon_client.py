"""How the command line reaches the running daemon."""

import os
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from streams.access.settings import HttpSettings

__all__ = ["TOKEN_VARIABLE", "daemon_client"]

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
