"""The operator loop over HTTP: labels that are wanted, bad periods, maintenance, and changes with their undoing."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, ConfigDict, Field

from connectors.alarm_event import event_time
from connectors.history.interventions import InterventionRecord, load_interventions, read_versions
from streams.http_requests import Number, SignedRequest, Why, answered, nanoseconds, signature
from streams.intervention_desk import OPEN_END, InterventionRefusedError
from streams.service import Service

__all__ = ["change_as_dict", "learning_router"]


def _example(**values: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [{"by": "ann", **values}]})


class _Request(SignedRequest):
    reason: Why


class BadPeriodRequest(_Request):
    """A period of an asset that must never count as normal."""

    model_config = _example(
        stream="pumps", asset="pump-1", start="2026-11-21T08:00:00Z", end="2026-11-21T09:30:00Z", reason="worn seal"
    )

    stream: str
    asset: str
    start: AwareDatetime
    end: AwareDatetime


class MaintenanceRequest(_Request):
    """A time in which nothing is learnt and alarms are suppressed by design."""

    model_config = _example(assets="line-1/*", until="2026-11-21T18:00:00Z", reason="filter change")

    streams: Annotated[list[str], Field(description="names; none: all", default_factory=list)]
    assets: Annotated[str, Field(description="a name, with * and ?")] = "*"
    start: Annotated[AwareDatetime | None, Field(description="default: now")] = None
    until: AwareDatetime


class ChangeRequest(_Request):
    """Something that needs who and why."""

    model_config = _example(reason="the label was wrong")


def change_as_dict(record: InterventionRecord, *, kept: bool) -> dict[str, Any]:
    """What an operator said and what it changed, as JSON-ready values; `kept`: it can be rolled back."""
    shown = asdict(record)
    for name in ("at", "start", "end"):
        shown[name] = None if shown[name] == OPEN_END else event_time(shown[name])
    return {**shown, "waits": record.applied is None, "can_be_rolled_back": kept}


def learning_router(service: Service) -> APIRouter:
    """The routes of the operator loop under ``/api/v1``."""
    router = APIRouter(prefix="/api/v1", tags=["learning"])
    desk, annunciator = service.pipeline.desk, service.pipeline.annunciator

    def said(response: Response, run: Callable[[], list[InterventionRecord]]) -> Any:
        return answered(
            response, lambda: [change_as_dict(one, kept=False) for one in run()], {InterventionRefusedError: 409}
        )

    @router.get("/labels/wanted")
    def wanted(limit: Annotated[int, Query(ge=1, le=100)] = 5) -> list[dict[str, Any]]:
        """The few episodes whose label would help most, and why."""
        found = [asdict(one) for one in annunciator.memory.wanted(limit)]
        return [{**one, "started": event_time(one["started"]), "ended": event_time(one["ended"])} for one in found]

    @router.post("/bad-periods")
    def bad_period(request: BadPeriodRequest, http: Request, response: Response) -> Any:
        """Declare that a period must never count as normal."""
        by, period = signature(http, request), (nanoseconds(request.start), nanoseconds(request.end))

        def run() -> list[InterventionRecord]:
            return desk.submit(
                "bad", [request.stream], request.asset, period, by=by, reason=request.reason, at=annunciator.at()
            )

        return said(response, run)

    @router.get("/maintenance")
    def maintenance() -> list[dict[str, Any]]:
        """Declared maintenance that is not over, and what the configuration knows beforehand."""
        at = annunciator.at()
        declared = [
            {
                "number": one.number, "stream": stream, "assets": one.assets, "start": event_time(one.start),
                "end": event_time(one.end), "reason": one.reason,
            }
            for stream, plan in desk.plans.items()
            for one in list(plan.windows.values())
            if one.end > at
        ]  # fmt: skip
        rules = service.configuration.alarms.maintenance
        return declared + [{"number": None, **one.model_dump(mode="json", exclude_none=True)} for one in rules]

    @router.post("/maintenance")
    def declare(request: MaintenanceRequest, http: Request, response: Response) -> Any:
        """Declare maintenance."""
        by, at = signature(http, request), annunciator.at()
        start = at if request.start is None else nanoseconds(request.start)
        streams = request.streams or list(desk.plans)

        def run() -> list[InterventionRecord]:
            return desk.submit(
                "maintenance", streams, request.assets, (start, nanoseconds(request.until)),
                by=by, reason=request.reason, at=at,
            )  # fmt: skip

        return said(response, run)

    @router.post("/maintenance/{number}/end")
    def end(number: Number, request: ChangeRequest, http: Request, response: Response) -> Any:
        """Let a declared maintenance end now."""
        by = signature(http, request)
        return said(response, lambda: [desk.end_maintenance(number, by=by, reason=request.reason, at=annunciator.at())])

    @router.get("/changes")
    def changes(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[dict[str, Any]]:
        """What operators said that changed what is learnt, the newest first."""
        with service.history.cursor() as cursor:
            found = load_interventions(cursor, limit=limit)
            kept = {one.number for one in read_versions(cursor)}
        return [change_as_dict(one, kept=one.number in kept) for one in reversed(found)]

    @router.get("/changes/{number}")
    def change(number: Number, response: Response) -> dict[str, Any]:
        """One of them, with what it changed."""
        with service.history.cursor() as cursor:
            found = load_interventions(cursor, number=number)
            kept = bool(read_versions(cursor, number))
        if not found:
            response.status_code = 404
            return {"error": f"there is no change {number}; /api/v1/changes lists them"}
        return change_as_dict(found[0], kept=kept)

    @router.post("/changes/{number}/rollback")
    def roll_back(number: Number, request: ChangeRequest, http: Request, response: Response) -> Any:
        """Put back what was learnt before a change."""
        by = signature(http, request)
        return said(response, lambda: desk.roll_back(number, by=by, reason=request.reason, at=annunciator.at()))

    return router
