"""Alarms over HTTP: how they stand, what was done to them, and doing it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, ConfigDict, Field

from connectors.alarm_event import event_time
from connectors.history.database import History
from streams.errors import AlarmNotFoundError
from streams.http_requests import SignedRequest, Why, answered, nanoseconds, rows_of, signature
from streams.service import Service
from tsad.alarm_kpis import alarm_kpis
from tsad.lifecycle import Action, ActionRefusedError, AlarmCondition, ConditionState, Label

__all__ = ["alarm_router", "condition_as_dict", "newest_kpis"]

_REFUSALS = {AlarmNotFoundError: 404, ActionRefusedError: 409}


class _Request(SignedRequest):
    comment: Annotated[str, Field(max_length=2_000)] = ""


class AcknowledgeRequest(_Request):
    """Somebody has seen the alarm."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"by": "ann", "comment": "valve checked"}]})


class ShelveRequest(_Request):
    """Keep an alarm quiet until a time, or for some minutes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"by": "ann", "comment": "cleaning", "minutes": 60}]})

    comment: Why
    until: AwareDatetime | None = None
    minutes: Annotated[float | None, Field(gt=0, le=1e6)] = None
    one_shot: Annotated[bool, Field(description="it ends when the alarm clears, if that is earlier")] = False


class ReasonRequest(_Request):
    """An action that needs a reason."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"by": "ann", "comment": "overhaul until Friday"}]})

    comment: Why


class LabelRequest(_Request):
    """What an episode was: a real problem, a false alarm, or a known event."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"by": "ann", "label": "known", "comment": "planned restart"}]}
    )

    label: Label
    episode_id: Annotated[str | None, Field(max_length=64, description="default: the newest episode")] = None


def condition_as_dict(condition: AlarmCondition) -> dict[str, Any]:
    """How an alarm stands, as JSON-ready values."""
    shown = asdict(condition)
    for name in ("started", "changed", "shelved_until", "suppressed_until"):
        shown[name] = None if shown[name] is None else event_time(shown[name])
    return {"alarm_id": shown.pop("alarm_id"), "state": condition.state, **shown}


def newest_kpis(history: History, days: float) -> tuple[int, int, dict[str, Any]]:
    """Begin and end (ns UTC) of the newest days of event time, and the figures of the alarms in them."""
    with history.cursor() as cursor:
        rows = cursor.execute(
            "SELECT dense_rank() OVER (ORDER BY alarm_id), epoch_ns(started), coalesce(epoch_ns(ended), -1), "
            "max(epoch_ns(coalesce(ended, started))) OVER () FROM episodes"
        ).fetchall()
    newest = max((row[3] for row in rows), default=0) + 1
    since = newest - round(days * 86_400e9)
    table = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    return since, newest, asdict(alarm_kpis(table[:, 0], table[:, 1], table[:, 2], since, newest))


def alarm_router(service: Service) -> APIRouter:
    """The routes under ``/api/v1/alarms``."""
    router = APIRouter(prefix="/api/v1/alarms", tags=["alarms"])
    annunciator = service.pipeline.annunciator

    def act(response: Response, alarm_id: str, action: Action) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            shown = condition_as_dict(annunciator.act(alarm_id, action))
            service.sender.notify()
            return shown

        told: dict[str, Any] = answered(response, run, _REFUSALS)
        return told

    @router.get("")
    def alarms(
        state: Annotated[ConditionState | None, Query()] = None,
        stream: str | None = None,
        asset: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Alarms and how they stand, the newest change first."""
        found = [
            one
            for one in annunciator.conditions()
            if (state is None or one.state == state)
            and (stream is None or one.stream == stream)
            and (asset is None or one.asset == asset)
        ]
        return [condition_as_dict(one) for one in found[:limit]]

    @router.get("/kpis")
    def kpis(days: Annotated[float, Query(ge=1 / 1440, le=366)] = 1.0) -> dict[str, Any]:
        """Rate, floods, most frequent, chattering, fleeting and standing alarms of the last days of event time."""
        since, until, found = newest_kpis(service.history, days)
        shown = {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in found.items()}
        return {"since": event_time(max(since, 0)), "until": event_time(until), **shown}

    @router.get("/{alarm_id}")
    def alarm(alarm_id: str, response: Response) -> dict[str, Any]:
        """One alarm with its newest transitions and episodes, and the trail of what was done to it."""
        try:
            shown = condition_as_dict(annunciator.condition(alarm_id))
        except AlarmNotFoundError as error:
            response.status_code = 404
            return {"error": str(error)}
        condition = annunciator.condition(alarm_id)
        shown["similar_episodes"] = [
            {**asdict(one), "started": event_time(one.started), "ended": event_time(one.ended)}
            for one in annunciator.memory.similar(alarm_id, condition.stream)
        ]
        with service.history.cursor() as cursor:
            shown["transitions"] = rows_of(
                cursor.execute(
                    "SELECT kind, episode_id, transition_seq, severity, time, score, threshold, p_value, one_in_days, "
                    "details FROM alarm_transitions WHERE alarm_id = ? ORDER BY transition_seq DESC LIMIT 200",
                    [alarm_id],
                )
            )
            shown["episodes"] = rows_of(
                cursor.execute(
                    "SELECT episode_id, started, ended, settled_started, settled_ended FROM episodes "
                    "WHERE alarm_id = ? ORDER BY started DESC LIMIT 200",
                    [alarm_id],
                )
            )
            shown["actions"] = rows_of(
                cursor.execute("SELECT * FROM alarm_actions WHERE alarm_id = ? ORDER BY action_seq DESC", [alarm_id])
            )
        return shown

    @router.post("/{alarm_id}/acknowledge")
    def acknowledge(alarm_id: str, request: AcknowledgeRequest, http: Request, response: Response) -> dict[str, Any]:
        """Say that the newest episode was seen."""
        action = Action("acknowledge", signature(http, request), request.comment)
        return act(response, alarm_id, action)

    @router.post("/{alarm_id}/shelve")
    def shelve(alarm_id: str, request: ShelveRequest, http: Request, response: Response) -> dict[str, Any]:
        """Keep the alarm quiet for a while."""
        until = request.until
        if until is None and request.minutes is not None:
            until = annunciator.now() + timedelta(minutes=request.minutes)
        ns = None if until is None else nanoseconds(until)
        action = Action("shelve", signature(http, request), request.comment, ns, request.one_shot)
        return act(response, alarm_id, action)

    @router.post("/{alarm_id}/label")
    def label(alarm_id: str, request: LabelRequest, http: Request, response: Response) -> dict[str, Any]:
        """Say what an episode was; it changes what is learnt."""
        action = Action(
            "label", signature(http, request), request.comment, label=request.label, episode_id=request.episode_id
        )
        return act(response, alarm_id, action)

    def simple(path: str, kind: Literal["unshelve", "return_to_service"], text: str) -> None:
        def run(alarm_id: str, request: AcknowledgeRequest, http: Request, response: Response) -> dict[str, Any]:
            action = Action(kind, signature(http, request), request.comment)
            return act(response, alarm_id, action)

        router.post(f"/{{alarm_id}}/{path}", name=kind, description=text)(run)

    def reasoned(path: str, kind: Literal["comment", "take_out_of_service"], text: str) -> None:
        def run(alarm_id: str, request: ReasonRequest, http: Request, response: Response) -> dict[str, Any]:
            action = Action(kind, signature(http, request), request.comment)
            return act(response, alarm_id, action)

        router.post(f"/{{alarm_id}}/{path}", name=kind, description=text)(run)

    simple("unshelve", "unshelve", "Let a shelved alarm announce itself again.")
    simple("return-to-service", "return_to_service", "Put an alarm back into service.")
    reasoned("take-out-of-service", "take_out_of_service", "Keep an alarm quiet until it is put back.")
    reasoned("comment", "comment", "Leave a remark in the trail.")
    return router
