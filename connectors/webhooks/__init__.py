"""Deliveries of alarms: by webhook, e-mail and topic; in order per alarm, at least once, every attempt on record."""

from connectors.webhooks.addresses import AddressPolicy
from connectors.webhooks.deliveries import (
    Attempt,
    Delivery,
    DeliveryStatus,
    EndpointState,
    OutboxEntry,
    Outcome,
)
from connectors.webhooks.delivery import WebhookSender
from connectors.webhooks.endpoint import DEFAULT_RETRY_WAITS, Endpoint, WebhookEndpoint, deliveries_for, masked_url
from connectors.webhooks.mail import MailEndpoint
from connectors.webhooks.outbox import OUTBOX_TABLES, Outbox, enqueue
from connectors.webhooks.receiver import ReceiverInbox, ScriptedAnswer, WebhookReceiver, receiver_app
from connectors.webhooks.routing import Route
from connectors.webhooks.signing import sign, verify
from connectors.webhooks.topic import TopicEndpoint

__all__ = [
    "DEFAULT_RETRY_WAITS",
    "OUTBOX_TABLES",
    "AddressPolicy",
    "Attempt",
    "Delivery",
    "DeliveryStatus",
    "Endpoint",
    "EndpointState",
    "MailEndpoint",
    "Outbox",
    "OutboxEntry",
    "Outcome",
    "ReceiverInbox",
    "Route",
    "ScriptedAnswer",
    "TopicEndpoint",
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
