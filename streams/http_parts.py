"""Parts over HTTP: what was said of them, and results of inspection from systems without Kafka."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from connectors.alarm_event import event_time
from connectors.errors import BadInspectionError
from connectors.inspection import inspection_schema
from connectors.inspection.anomalib import AnomalibCamera, record_of_webhook
from connectors.inspection.record import InspectionModel
from streams.configuration import InspectionStream
from streams.errors import InboxFullError
from streams.http_requests import nanoseconds
from streams.inspection_lane import InspectionCheck
from streams.service import Service

__all__ = ["part_router"]

_COMMIT_SECONDS = 15.0
_MOST_RECORDS = 1_000
_COLUMNS = (
    "s.name, p.part_id, p.amendment, p.final, epoch_ns(p.time) AS event_at, p.scores, p.p_values, p.p_value, p.method, "
    "p.decided_by, p.flagged, p.missing, p.station, p.channel, epoch_ns(p.began), p.shared_by, p.closer_imaging, "
    "s.detectors"
)
_REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such inspection stream"},
    422: {"description": "A record is refused; nothing was taken"},
    429: {"description": "Records come faster than they are stored"},
    503: {"description": "Not stored in time; send it again, what is stored already is recognised"},
}

_ANOMALIB = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["timestamp", "PredictionResult"]},
            "example": {
                "timestamp": "2026-11-21T08:00:00.250000",
                "PredictionResult": {
                    "predictions": "NumpyImageBatch(pred_score=array([0.92], dtype=float32), pred_label=array([True]))"
                },
            },
        }
    },
}
_Text = Annotated[str, Field(min_length=1, max_length=512)]


class AnomalibCameraQuery(BaseModel):
    """What anomalib's messages do not tell."""

    model_config = ConfigDict(extra="forbid")

    station: Annotated[_Text, Field(description="where the camera stands, as in joining.views")]
    camera: Annotated[_Text, Field(description="which one, as in joining.views")]
    zone: Annotated[_Text, Field(description="of its computer, such as Europe/Rome: messages tell local times")]
    model: Annotated[_Text, Field(description="scores of different models, versions, calibrations are not compared")]
    version: _Text = "1"
    calibration_id: _Text | None = None
    threshold: Annotated[float, Field(ge=0, le=1, description="1 - sensitivity of its decision")] = 0.5
    part_id: Annotated[_Text | None, Field(description="default: the image is joined by time")] = None

    def settings(self) -> AnomalibCamera:
        """The camera."""
        model = InspectionModel(self.model, self.version, self.calibration_id)
        return AnomalibCamera(self.station, self.camera, model, self.zone, self.threshold)


def part_router(service: Service) -> APIRouter:
    """The routes of parts and inspections."""
    router = APIRouter(prefix="/api/v1", tags=["parts"])
    streams = {s.name: s for s in service.configuration.streams if isinstance(s, InspectionStream)}

    @router.get("/parts")
    def parts(
        part_id: Annotated[str | None, Query(max_length=512, description="all amendments of one part")] = None,
        flagged: bool | None = None,
        final: bool | None = None,
        closer_imaging: Annotated[bool | None, Query(description="the process asks for a closer look")] = None,
        since: Annotated[AwareDatetime | None, Query(description="event time, RFC 3339")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> list[dict[str, Any]]:
        """What is known of parts, the newest first: one entry a part, or all amendments of the one that is named."""
        newest = "" if part_id is not None else (
            "QUALIFY row_number() OVER (PARTITION BY p.stream_id, p.part_id ORDER BY p.amendment DESC) = 1 "
        )  # fmt: skip
        after = None if since is None else nanoseconds(since)
        with service.history.cursor() as cursor:
            rows = cursor.execute(
                f"SELECT * EXCLUDE (stream_id) FROM (SELECT {_COLUMNS}, p.stream_id FROM parts p "  # noqa: S608
                f"JOIN streams s USING (stream_id) WHERE ($1 IS NULL OR p.part_id = $1) {newest}) "
                "WHERE ($2 IS NULL OR flagged = $2) AND ($3 IS NULL OR final = $3) "
                "AND ($4 IS NULL OR closer_imaging = $4) AND ($5 IS NULL OR event_at >= $5) "
                "ORDER BY event_at DESC, part_id, amendment LIMIT $6",
                [part_id, flagged, final, closer_imaging, after, limit],
            ).fetchall()
        return [_as_dict(row) for row in rows]

    @router.get("/inspections/schema")
    def schema() -> dict[str, Any]:
        """The JSON schema of an inspection record."""
        return inspection_schema()

    def settings_of(stream: str) -> InspectionStream:
        if stream not in streams:
            raise HTTPException(404, f"there is no inspection stream {stream!r}")
        return streams[stream]

    async def stored(settings: InspectionStream, values: list[bytes], response: Response) -> dict[str, Any]:
        """Hand records over, all or none, and wait for their commit."""
        check, arrival = InspectionCheck(settings), service.pipeline.annunciator.at()
        for place, value in enumerate(values):
            try:
                check.record(value, arrival)
            except BadInspectionError as error:
                raise HTTPException(422, f"record {place}: {error.reason}: {error}") from error
        try:
            offset = service.inbox.put(settings.topic, values)
        except InboxFullError as error:
            raise HTTPException(429, str(error), headers={"retry-after": "1"}) from error
        if not await run_in_threadpool(service.inbox.wait, settings.topic, offset, _COMMIT_SECONDS):
            response.status_code = 503
            return {"stored": 0, "problem": "not stored in time; send it again"}
        return {"stored": len(values)}

    @router.post("/inspections/{stream}", status_code=201, responses=_REFUSED)
    async def inspections(stream: str, request: Request, response: Response) -> dict[str, Any]:
        """Store inspection records: one, or a list of up to 1,000; answered when they are committed.

        A record that was sent before is recognised by its `inspection_id`, so it is safe to send it again.
        """
        settings = settings_of(stream)
        return await stored(settings, _records(await request.body()), response)

    @router.post(
        "/inspections/{stream}/anomalib", status_code=201, responses=_REFUSED, openapi_extra={"requestBody": _ANOMALIB}
    )
    async def anomalib(
        stream: str, camera: Annotated[AnomalibCameraQuery, Query()], request: Request, response: Response
    ) -> dict[str, Any]:
        """Store what the webhook of anomalib's inspection application tells; answered when it is committed.

        A message that was sent before is recognised, so it is safe to send it again.
        """
        settings = settings_of(stream)
        document = _json(await request.body())
        if not isinstance(document, dict):
            raise HTTPException(422, "the body is no message of anomalib: send its JSON object as it is")
        try:
            record = record_of_webhook(document, camera.settings(), camera.part_id)
        except BadInspectionError as error:
            raise HTTPException(422, f"{error.reason}: {error}") from error
        answer = await stored(settings, [json.dumps(record).encode()], response)
        return {**answer, "inspection_id": record["inspection_id"]}

    return router


def _records(body: bytes) -> list[bytes]:
    """Records of a request, each as its own JSON text."""
    document = _json(body)
    documents = document if isinstance(document, list) else [document]
    if not 1 <= len(documents) <= _MOST_RECORDS:
        raise HTTPException(422, f"{len(documents)} records; send 1 to {_MOST_RECORDS} at once")
    return [json.dumps(one).encode() for one in documents]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, "the body is not JSON") from error


def _as_dict(row: tuple[Any, ...]) -> dict[str, Any]:
    (stream, part, amendment, final, time, scores, p_values, p_value, method, decided_by, flagged, missing, station,
     channel, began, shared_by, closer, names) = row  # fmt: skip
    return {
        "stream": stream,
        "part_id": part,
        "amendment": amendment,
        "final": final,
        "flagged": flagged,
        "time": event_time(time),
        "p_value": p_value,
        "method": method,
        "decided_by": decided_by,
        "streams": [
            {"name": name, "score": score, "p_value": p} for name, score, p in zip(names, scores, p_values, strict=True)
        ],
        "missing": missing,
        "began": None if station is None else {"station": station, "channel": channel, "time": event_time(began)},
        "shared_by": shared_by,
        "closer_imaging": closer,
    }
