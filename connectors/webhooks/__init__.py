"""Alarms by webhook: signed (Standard Webhooks 1.0.0), in order per alarm, at least once, every attempt on record."""

from connectors.webhooks.deliveries import (
    Attempt,
    Delivery,
    DeliveryStatus,
    EndpointState,
    OutboxEntry,
    Outcome,
)
from connectors.webhooks.delivery import WebhookSender
from connectors.webhooks.endpoint import DEFAULT_RETRY_WAITS, WebhookEndpoint, deliveries_for, masked_url
from connectors.webhooks.outbox import OUTBOX_TABLES, Outbox, enqueue
from connectors.webhooks.receiver import ReceiverInbox, ScriptedAnswer, WebhookReceiver, receiver_app
from connectors.webhooks.signing import sign, verify

__all__ = [
    "DEFAULT_RETRY_WAITS",
    "OUTBOX_TABLES",
    "Attempt",
    "Delivery",
    "DeliveryStatus",
    "EndpointState",
    "Outbox",
    "OutboxEntry",
    "Outcome",
    "ReceiverInbox",
    "ScriptedAnswer",
    "WebhookEndpoint",
    "WebhookReceiver",
    "WebhookSender",
    "deliveries_for",
    "enqueue",
    "masked_url",
    "receiver_app",
    "sign",
    "verify",
]
