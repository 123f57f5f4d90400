"""Deliveries over HTTP: what is in the outbox, one of them with every attempt, and sending again; their metrics."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from pydantic import AwareDatetime, BaseModel, ConfigDict

from connectors.errors import ConnectorError, UnknownWebhookError
from connectors.webhooks import DeliveryStatus, Endpoint, Outbox, OutboxEntry
from connectors.webhooks.messages import message_for
from connectors.webhooks.telling import told_of_enabling
from streams.http_requests import plain
from streams.service import Service

__all__ = ["ReplayRequest", "delivery_as_dict", "delivery_metrics", "entry_as_dict", "replay", "webhook_router"]


class ReplayRequest(BaseModel):
    """Which deliveries to send again; conditions given together must all hold."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"endpoint": "control-room", "since": "2026-11-21T08:00:00Z"}]}
    )

    webhook_ids: list[str] | None = None
    endpoint: str | None = None
    since: AwareDatetime | None = None


def entry_as_dict(entry: OutboxEntry) -> dict[str, Any]:
    """A delivery as JSON-ready values."""
    shown = asdict(entry)
    shown["body"] = json.loads(entry.body)
    return {key: plain(value) for key, value in shown.items()}


def delivery_as_dict(outbox: Outbox, webhook_id: str, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """One delivery with every attempt, and what its endpoint is sent for it, secrets masked.

    `sent.as_sent` tells whether the newest attempt sent just this: false where settings have changed since, None where
    nothing was sent yet. `sent` is None where there is no such endpoint any more.

    Raises
    ------
    UnknownWebhookError
        The outbox holds no such delivery.
    """
    entry = outbox.entry(webhook_id)
    attempts = outbox.attempts(webhook_id)
    shown = entry_as_dict(entry)
    shown["attempts"] = [
        {
            "attempted_at": plain(one.attempted_at),
            "status_code": one.status_code,
            "outcome": str(one.outcome),
            "error": one.error,
            "duration_ms": round(one.duration_ms, 1),
        }
        for one in attempts
    ]
    endpoint = next((one for one in endpoints if one.name == entry.endpoint), None)
    shown["address"] = shown["sent"] = None
    if endpoint is not None:
        shown["address"] = endpoint.masked_url
        message = message_for(endpoint, entry)
        newest = next((one.body_sha256 for one in reversed(attempts) if one.body_sha256), None)
        shown["sent"] = {
            "content_type": message.content_type,
            "headers": dict(message.headers),
            "body": endpoint.masked(message.body.decode()),
            "as_sent": None if newest is None else newest == hashlib.sha256(message.body).hexdigest(),
        }
    return shown


def replay(outbox: Outbox, endpoints: Sequence[Endpoint], request: ReplayRequest, now: datetime) -> int:
    """Make deliveries due again; an endpoint that is named is switched on, and the others are told so.

    Raises
    ------
    ConnectorError
        Which ones is not said, or there are no such ones.
    """
    if request.endpoint is not None:
        outbox.enable(request.endpoint, told_of_enabling(endpoints, request.endpoint, now))
    return outbox.replay(now, webhook_ids=request.webhook_ids, endpoint=request.endpoint, since=request.since)


def webhook_router(service: Service) -> APIRouter:
    """The routes under ``/api/v1/webhooks``."""
    router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"])
    endpoints = service.configuration.endpoints()

    @router.get("")
    def webhooks(
        status: Annotated[str | None, Query(pattern="^(pending|delivered|failed|disabled)$")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Deliveries of alarm events, the newest first."""
        chosen = None if status is None else DeliveryStatus(status)
        return [entry_as_dict(entry) for entry in service.outbox.list(status=chosen, limit=limit)]

    @router.get("/{webhook_id}")
    def webhook(webhook_id: str, response: Response) -> dict[str, Any]:
        """One delivery with every attempt, and the body as sent."""
        try:
            return delivery_as_dict(service.outbox, webhook_id, endpoints)
        except UnknownWebhookError as error:
            response.status_code = 404
            return {"error": str(error)}

    @router.post("/replay")
    def replay_some(request: ReplayRequest, response: Response) -> dict[str, Any]:
        """Send deliveries again, with their ids unchanged."""
        try:
            count = replay(service.outbox, endpoints, request, datetime.now(UTC))
        except ConnectorError as error:
            response.status_code = 422
            return {"error": str(error)}
        service.sender.notify()
        return {"replayed": count}

    return router


def delivery_metrics(service: Service) -> Iterator[Any]:
    """Figures of deliveries for Prometheus."""
    pending = GaugeMetricFamily("tsad_webhooks_pending", "Deliveries not yet made", labels=["endpoint"])
    disabled = GaugeMetricFamily("tsad_webhooks_disabled", "Whether an endpoint is switched off", labels=["endpoint"])
    failures = GaugeMetricFamily(
        "tsad_webhooks_consecutive_failures", "Failed attempts since the last delivery", labels=["endpoint"]
    )
    waiting = service.outbox.pending()
    states = {state.name: state for state in service.outbox.endpoints()}
    for name in sorted({endpoint.name for endpoint in service.configuration.endpoints()} | waiting.keys()):
        state = states.get(name)
        pending.add_metric([name], waiting.get(name, 0))
        disabled.add_metric([name], state is not None and state.disabled_at is not None)
        failures.add_metric([name], 0 if state is None else state.consecutive_failures)
    yield from (pending, disabled, failures)
    rounds = CounterMetricFamily("tsad_alertmanager_rounds", "Rounds of sending what stands", labels=["endpoint"])
    failed = CounterMetricFamily("tsad_alertmanager_failed_rounds", "Rounds that failed", labels=["endpoint"])
    for resender in service.resenders:
        rounds.add_metric([resender.endpoint.name], resender.rounds)
        failed.add_metric([resender.endpoint.name], resender.failures)
    yield from (rounds, failed)
