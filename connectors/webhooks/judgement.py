"""What a receiver's answer means for a delivery: pure functions."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from connectors.webhooks.deliveries import Attempt, OutboxEntry, Outcome
from connectors.webhooks.endpoint import Endpoint

__all__ = ["Answer", "judge", "retry_after_seconds"]

_TOO_MANY = 429
_SLOW_DOWN = frozenset({_TOO_MANY, 502, 503, 504})
_GONE = 410
# A receiver may ask for patience, but not for longer than the ladder lasts.
_LONGEST_RETRY_AFTER = 86_400.0
# Patience with one that says "too many" and not until when.
_UNSAID_PATIENCE = 10.0


@dataclass(frozen=True)
class Answer:
    """What a receiver did with one attempt.

    Attributes
    ----------
    status_code : int or None
        Its HTTP or SMTP status; None when it did not answer.
    error : str or None
        Why it did not answer, or the beginning of what it said with a refusal; secrets masked.
    retry_after : str or None
        The `Retry-After` header.
    duration_ms : float
        From the beginning to the answer.
    delivered : bool
        It has it, whatever the status (a broker has none).
    permanent : bool
        Sending the same again is of no use.
    body_sha256 : str or None
        Digest of the body that was sent.
    """

    status_code: int | None
    error: str | None
    retry_after: str | None
    duration_ms: float
    delivered: bool = False
    permanent: bool = False
    body_sha256: str | None = None


def retry_after_seconds(value: str, now: datetime) -> float | None:
    """Read a `Retry-After` header, seconds or a date; None when it is neither.

    Parameters
    ----------
    value : str
        The header.
    now : datetime
        Aware time of the answer.

    Returns
    -------
    float or None
        Seconds to wait, from 0 to one day.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        seconds = (aware - now).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def judge(
    endpoint: Endpoint, entry: OutboxEntry, answer: Answer, began: datetime, ended: datetime, jitter: float
) -> Attempt:
    """Decide what an answer means for its delivery.

    Parameters
    ----------
    endpoint : Endpoint
        Where it was sent.
    entry : OutboxEntry
        The delivery as it stood before this attempt.
    answer : Answer
        What the receiver did.
    began, ended : datetime
        Aware times of the attempt. Waits count from its end: a hanging receiver is not called again at once.
    jitter : float
        Factor on the ladder's wait, about 1.

    Returns
    -------
    Attempt
        2xx is delivered, 410 disables the endpoint, a permanent refusal is failed, everything else is retried along
        the ladder until that is used up.
    """
    status = answer.status_code
    wait_seconds: float | None = None
    pause: float | None = None
    if answer.delivered or (status is not None and 200 <= status < 300):
        # A mail that some of its recipients were refused is delivered, with a remark.
        outcome, error = Outcome.DELIVERED, answer.error
    else:
        error = answer.error if status is None else f"HTTP {status}" + (f": {answer.error}" if answer.error else "")
        if endpoint.protocol != "http" and status is not None:
            error = answer.error
        if status in _SLOW_DOWN and answer.retry_after is not None:
            pause = retry_after_seconds(answer.retry_after, ended)
        if status == _TOO_MANY and pause is None:
            pause = _UNSAID_PATIENCE
        if status == _GONE:
            outcome = Outcome.DISABLED
        elif answer.permanent:
            outcome = Outcome.FAILED
        elif entry.attempts < len(endpoint.retry_waits):
            outcome = Outcome.RETRY
            wait_seconds = max(endpoint.retry_waits[entry.attempts] * jitter, pause or 0.0)
        else:
            outcome = Outcome.FAILED
    return Attempt(
        webhook_id=entry.webhook_id,
        attempted_at=began,
        status_code=status,
        error=error,
        duration_ms=answer.duration_ms,
        outcome=outcome,
        next_attempt_at=None if wait_seconds is None else ended + timedelta(seconds=wait_seconds),
        pause_until=None if pause is None else ended + timedelta(seconds=pause),
        body_sha256=answer.body_sha256,
    )
