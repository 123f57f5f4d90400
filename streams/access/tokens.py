"""Bearer tokens with roles. The configuration holds their hashes; the tokens themselves are shown once, when made.

A token is 32 random bytes, so a plain SHA-256 of it can neither be guessed nor looked up: slow password hashes
protect secrets that people choose.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tsad.settings import Frozen

__all__ = ["PREFIX", "Principal", "Role", "RoleName", "TokenRegister", "TokenSettings", "new_token", "token_hash"]

PREFIX = "tsad_"
_BYTES = 32

RoleName = Literal["viewer", "operator", "admin"]


class Role(IntEnum):
    """What one may do; each role may do what the ones before it may.

    A viewer reads; an operator acts on alarms; an admin replays webhooks, and sees the audit log and the configuration.
    """

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


class TokenSettings(Frozen):
    """A token that is let in."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="who holds it; stands in the audit log")]
    role: RoleName
    hash: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$", description="as `tsad token` prints it")]
    expires: AwareDatetime | None = Field(default=None, description="when it stops being let in; default: never")


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in."""

    name: str
    role: Role

    def signature(self, by: str) -> str:
        """Who did something: the token's holder, and the person who gave a name of their own.

        Examples
        --------
        >>> room = Principal("control-room", Role.OPERATOR)
        >>> room.signature(""), room.signature("ann"), room.signature("control-room")
        ('control-room', 'ann (control-room)', 'control-room')
        """
        return self.name if by in {"", self.name} else f"{by} ({self.name})"


def new_token() -> str:
    """A token nobody has had before."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def token_hash(token: str) -> str:
    """What the configuration holds of a token.

    Examples
    --------
    >>> token_hash("tsad_example")[:17]
    'sha256:d38f3af0db'
    """
    return "sha256:" + hashlib.sha256(token.encode()).hexdigest()


class TokenRegister:
    """Tells tokens that are let in from all others.

    Parameters
    ----------
    tokens
        Those of the configuration.
    """

    def __init__(self, tokens: Iterable[TokenSettings]) -> None:
        self._by_hash = {token.hash: token for token in tokens}

    def __bool__(self) -> bool:
        return bool(self._by_hash)

    def principal(self, token: str, now: datetime) -> Principal | str:
        """Who holds a token, or why it is not let in."""
        # Looked up by its hash: how long that takes tells nothing about any token.
        found = self._by_hash.get(token_hash(token))
        if found is None:
            return "the token is not known"
        if found.expires is not None and now >= found.expires.astimezone(UTC):
            return f"the token of {found.name!r} expired at {found.expires.isoformat()}"
        return Principal(found.name, Role[found.role.upper()])
