"""The records of the outbox: deliveries, attempts, endpoints, and the words for where they stand."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["Attempt", "Delivery", "DeliveryStatus", "EndpointState", "OutboxEntry", "Outcome"]


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up; kept, and replayable
    DISABLED = "disabled"  # its endpoint is switched off; kept, and replayable


class Outcome(StrEnum):
    """What came of one attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Delivery:
    """One event for one endpoint, about to be put into the outbox.

    Attributes
    ----------
    webhook_id : str
        1 to 128 letters, digits, `_` and `-`; the same event for the same endpoint always has the same one.
    endpoint : str
        Name of the endpoint.
    alarm_id : str
        What the order is kept for.
    transition_seq : int
        Place in that order.
    event_type : str
        Such as `alarm.raised`.
    body : bytes
        Exactly the bytes to sign and send.
    created_at : datetime
        Aware; the first attempt is due from then on.
    """

    webhook_id: str
    endpoint: str
    alarm_id: str
    transition_seq: int
    event_type: str
    body: bytes
    created_at: datetime


@dataclass(frozen=True)
class OutboxEntry(Delivery):
    """A delivery as it stands in the outbox.

    Attributes
    ----------
    next_attempt_at : datetime
        When it is due, UTC; without meaning once it is not pending.
    attempts : int
        Attempts so far, since it was put in or last replayed.
    status : DeliveryStatus
        Where it stands.
    """

    next_attempt_at: datetime
    attempts: int
    status: DeliveryStatus


@dataclass(frozen=True)
class Attempt:
    """What came of one attempt, for the ledger.

    Attributes
    ----------
    webhook_id : str
        Which delivery.
    attempted_at : datetime
        When it began; aware.
    status_code : int or None
        What the receiver answered; None when it did not.
    error : str or None
        What went wrong, secrets masked; None when nothing did.
    duration_ms : float
        From the beginning to the answer.
    outcome : Outcome
        What it means.
    next_attempt_at : datetime or None
        When to try again; given exactly for `retry`. Not kept in the ledger.
    pause_until : datetime or None
        Until when the receiver asked to be left alone altogether. Not kept in the ledger.
    body_sha256 : str or None
        Digest of the body as it was sent, which the endpoint's format made from the event; None when nothing was.
    """

    webhook_id: str
    attempted_at: datetime
    status_code: int | None
    error: str | None
    duration_ms: float
    outcome: Outcome
    next_attempt_at: datetime | None = None
    pause_until: datetime | None = None
    body_sha256: str | None = None


@dataclass(frozen=True)
class EndpointState:
    """What is remembered of an endpoint.

    Attributes
    ----------
    name : str
        Its name.
    disabled_at : datetime or None
        Since when nothing is sent to it; None while it is on.
    reason : str or None
        Why it was disabled.
    consecutive_failures : int
        Failed attempts since the last delivered one.
    paused_until : datetime or None
        Until when it asked to be left alone.
    failing_since : datetime or None
        When the first of the failed attempts was made.
    """

    name: str
    disabled_at: datetime | None
    reason: str | None
    consecutive_failures: int
    paused_until: datetime | None
    failing_since: datetime | None = None
