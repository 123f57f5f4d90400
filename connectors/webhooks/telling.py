"""What endpoints are told of each other."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from connectors.alarm_event import encode_event
from connectors.service_event import endpoint_alarm_id, endpoint_disabled, endpoint_enabled
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.endpoint import Endpoint, deliveries_for

__all__ = ["told_of_disabling", "told_of_enabling"]


def told_of_disabling(endpoints: Iterable[Endpoint], name: str, now: datetime, reason: str) -> tuple[Delivery, ...]:
    """What the others are told when an endpoint is switched off; none where it is not among them."""
    endpoints = tuple(endpoints)
    address = _address(endpoints, name)
    return () if address is None else _told(endpoints, name, endpoint_disabled(name, address, now, reason), now)


def told_of_enabling(endpoints: Iterable[Endpoint], name: str, now: datetime) -> tuple[Delivery, ...]:
    """What the others are told when an endpoint is switched on again; none where it is not among them."""
    endpoints = tuple(endpoints)
    address = _address(endpoints, name)
    return () if address is None else _told(endpoints, name, endpoint_enabled(name, address, now), now)


def _address(endpoints: Iterable[Endpoint], name: str) -> str | None:
    return next((endpoint.masked_url for endpoint in endpoints if endpoint.name == name), None)


def _told(endpoints: Iterable[Endpoint], name: str, event: Mapping[str, Any], now: datetime) -> tuple[Delivery, ...]:
    return deliveries_for(
        [other for other in endpoints if other.name != name],
        alarm_id=endpoint_alarm_id(name),
        transition_seq=event["data"]["transition_seq"],
        event_type=event["type"],
        body=encode_event(event),
        created_at=now,
    )
