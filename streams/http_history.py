"""What is stored, over HTTP: series, their values and p-values in as few points as are asked for, fits, snapshots."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import duckdb
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict

from connectors.alarm_event import event_time
from connectors.history.curves import Curve, Place, find_place, score_curve, span, value_curve
from connectors.history.export import EXPORTED, export_parquet
from streams.http_requests import answered, nanoseconds, rows_of
from streams.service import Service

__all__ = ["history_router"]

_Time = Annotated[AwareDatetime | None, Query(description="RFC 3339; default: all there is")]
_Points = Annotated[int, Query(ge=2, le=20_000, description="about how many points")]
_Limit = Annotated[int, Query(ge=1, le=10_000)]
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such series or channel"}}


_Table = Literal["samples", "rollups", "delayed_scores", "events", "inspections", "alarm_transitions", "alarm_actions"]
assert set(get_args(_Table)) == EXPORTED.keys()


class ExportRequest(BaseModel):
    """What to export: tables, and the stretch of event time."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"tables": ["samples"], "since": "2026-11-21T00:00:00Z", "until": None}]},
    )

    tables: list[_Table] = list(get_args(_Table))
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


def history_router(service: Service) -> APIRouter:
    """The routes of what is stored."""
    router = APIRouter(prefix="/api/v1", tags=["history"])

    @router.get("/series")
    def series(limit: _Limit = 1000, offset: Annotated[int, Query(ge=0, lt=2**31)] = 0) -> list[dict[str, Any]]:
        """The series that are known, by stream and asset."""
        with service.history.cursor() as cursor:
            rows = cursor.execute(
                "SELECT s.name, r.asset, r.channels FROM series r JOIN streams s USING (stream_id) "
                "ORDER BY s.name, r.asset LIMIT $1 OFFSET $2",
                [limit, offset],
            ).fetchall()
        return [{"stream": stream, "asset": asset, "channels": channels} for stream, asset, channels in rows]

    @router.get("/values", responses=_UNKNOWN)
    def values(
        stream: str, asset: str, channel: str, start: _Time = None, end: _Time = None,
        points: _Points = 1000,
    ) -> dict[str, Any]:  # fmt: skip
        """The values of one channel, downsampled to the extremes of stretches; `exact` where nothing was left out.

        `times` are ns since 1970, UTC.
        """
        with service.history.cursor() as cursor:
            place, first, last = _found(cursor, stream, asset, channel, start, end)
            curve = value_curve(cursor, place, first, last, points)
        return _as_dict(curve, first, last)

    @router.get("/scores", responses=_UNKNOWN)
    def scores(
        stream: str, asset: str, start: _Time = None, end: _Time = None, points: _Points = 1000
    ) -> dict[str, Any]:
        """The p-values of one series: the lowest of every stretch, so no odd row is missed."""
        with service.history.cursor() as cursor:
            place, first, last = _found(cursor, stream, asset, None, start, end)
            curve = score_curve(cursor, place, first, last, points)
        return _as_dict(curve, first, last)

    @router.get("/models")
    def models(limit: _Limit = 1000) -> list[dict[str, Any]]:
        """What was learnt when, from how many rows, what the detectors chose, and what went wrong; the newest first."""
        with service.history.cursor() as cursor:
            return rows_of(cursor.execute('SELECT * FROM fits ORDER BY "time" DESC LIMIT $1', [limit]))

    @router.get("/snapshots")
    def snapshots() -> list[dict[str, Any]]:
        """The states that a start continues from."""
        with service.history.cursor() as cursor:
            return rows_of(
                cursor.execute(
                    "SELECT stream, kind, positions, octet_length(arrays) AS bytes FROM snapshots ORDER BY stream, kind"
                )
            )

    @router.post("/export", tags=["admin"], responses={503: {"description": "The folder cannot be written"}})
    def export(request: ExportRequest, response: Response) -> Any:
        """Write tables as Parquet below the folder `history.exports` of the daemon's machine.

        Files of days that are written again are replaced.
        """
        folder = service.configuration.history.exports

        def run() -> dict[str, Any]:
            with service.history.cursor() as cursor:
                done = export_parquet(cursor, folder, request.tables, request.since, request.until)
            return {"folder": str(folder.resolve()), "tables": {one.table: one.rows for one in done}}

        return answered(response, run, {})

    return router


def _found(
    cursor: duckdb.DuckDBPyConnection,
    stream: str,
    asset: str,
    channel: str | None,
    start: datetime | None,
    end: datetime | None,
) -> tuple[Place, int, int]:
    """Where a channel lies, and the ends of what is asked for.

    Raises
    ------
    HTTPException
        404: there is none of that name. 422: the end is before the start.
    """
    place = find_place(cursor, stream, asset, channel)
    if place is None:
        what = "" if channel is None else f", channel {channel!r}"
        raise HTTPException(404, f"stream {stream!r} has no asset {asset!r}{what}; /api/v1/series lists them")
    stored = span(cursor, place) or (0, 0)
    first = stored[0] if start is None else nanoseconds(start)
    last = stored[1] + 1 if end is None else nanoseconds(end)
    if last < first:
        raise HTTPException(422, "end is before start")
    return place, first, last


def _as_dict(curve: Curve, start: int, end: int) -> dict[str, Any]:
    return {
        "start": event_time(start),
        "end": event_time(end),
        "exact": curve.exact,
        "times": curve.times.tolist(),
        "values": curve.values.tolist(),
    }
