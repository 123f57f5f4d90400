"""What requests and answers of the HTTP door share: who asks, times, refusals, rows of the history."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import duckdb
from fastapi import HTTPException, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from connectors.errors import HistoryError
from streams.access.guard import principal_of

__all__ = ["Number", "SignedRequest", "Why", "answered", "nanoseconds", "plain", "rows_of", "signature"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_NS = 2**63 - 1

Number = Annotated[int, Path(ge=1, lt=2**63)]
"""What a row is known by, in the path."""

Why = Annotated[str, Field(min_length=1, max_length=2_000, description="why")]


class SignedRequest(BaseModel):
    """A request that somebody answers for."""

    model_config = ConfigDict(extra="forbid")

    by: Annotated[str, Field(max_length=200, description="who does it; default: the token's holder")] = ""


def signature(http: Request, request: SignedRequest) -> str:
    """Who does it: the token's holder, with the name that was given.

    Raises
    ------
    HTTPException
        422: the door is open, and no name is given.
    """
    principal = principal_of(http.scope)
    if principal is None and not request.by:
        raise HTTPException(422, "by: say who does it")
    return request.by if principal is None else principal.signature(request.by)


def answered(response: Response, run: Callable[[], Any], refusals: Mapping[type[Exception], int]) -> Any:
    """What `run` returns; where it is refused, why, under that refusal's status (503: the history is not writable)."""
    statuses: dict[type[Exception], int] = {**refusals, HistoryError: 503}
    try:
        return run()
    except tuple(statuses) as error:
        response.status_code = next(status for kind, status in statuses.items() if isinstance(error, kind))
        return {"error": str(error)}


def nanoseconds(time: datetime) -> int:
    """Nanoseconds since 1970, as far as a 64-bit count reaches."""
    return min(max((time - _EPOCH) // timedelta(microseconds=1) * 1_000, 0), _LAST_NS)


def plain(value: Any) -> Any:
    """A value of the history as JSON has it: times in RFC 3339, in UTC where they have no zone of their own."""
    if not isinstance(value, datetime):
        return value
    return value.isoformat() + ("Z" if value.tzinfo is None else "")


def rows_of(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of a cursor's result, by name and JSON-ready."""
    names = [column[0] for column in cursor.description or ()]
    return [{name: plain(value) for name, value in zip(names, row, strict=True)} for row in cursor.fetchall()]
