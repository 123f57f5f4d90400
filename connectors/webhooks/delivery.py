"""Sending what the outbox holds: one lane an endpoint, a retry ladder, and a note of every attempt.

A lane is one task on a thread of its own. It works through what is due for its endpoint, one delivery after another,
so a receiver that hangs holds up nobody but itself. What an answer means is decided in `judge`, a pure function.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import numpy as np
import structlog

from connectors.errors import ConnectorSettingsError
from connectors.webhooks.deliveries import Attempt, OutboxEntry, Outcome
from connectors.webhooks.endpoint import WebhookEndpoint
from connectors.webhooks.outbox import Outbox
from connectors.webhooks.signing import signed_headers

__all__ = ["Answer", "WebhookSender", "judge", "retry_after_seconds"]

_SLOW_DOWN = frozenset({429, 502, 503, 504})
_GONE = 410
# A receiver may ask for patience, but not for longer than the ladder lasts.
_LONGEST_RETRY_AFTER = 86_400.0
_JITTER = 0.1
# Taken from the outbox at once for each endpoint.
_BATCH = 50
# As much of a refusal's body as is kept to explain it.
_EXCERPT_BYTES = 200
_DRAIN_LOOK_SECONDS = 0.05
_USER_AGENT = "tsad-webhooks/1"

_log = structlog.get_logger("connectors.webhooks")


@dataclass(frozen=True)
class Answer:
    """What a receiver did with one attempt.

    Attributes
    ----------
    status_code : int or None
        Its HTTP status; None when it did not answer.
    error : str or None
        Why it did not answer, or the beginning of what it said with a refusal.
    retry_after : str or None
        The `Retry-After` header.
    duration_ms : float
        From the beginning to the answer.
    """

    status_code: int | None
    error: str | None
    retry_after: str | None
    duration_ms: float


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
    endpoint: WebhookEndpoint, entry: OutboxEntry, answer: Answer, began: datetime, ended: datetime, jitter: float
) -> Attempt:
    """Decide what an answer means for its delivery.

    Parameters
    ----------
    endpoint : WebhookEndpoint
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
        2xx is delivered, 410 disables the endpoint, everything else is retried along the ladder until that is used
        up.
    """
    status = answer.status_code
    wait_seconds: float | None = None
    pause: float | None = None
    if status is not None and 200 <= status < 300:
        outcome, error = Outcome.DELIVERED, None
    else:
        error = answer.error if status is None else f"HTTP {status}" + (f": {answer.error}" if answer.error else "")
        if status in _SLOW_DOWN and answer.retry_after is not None:
            pause = retry_after_seconds(answer.retry_after, ended)
        if status == _GONE:
            outcome = Outcome.DISABLED
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
    )


def _now() -> datetime:
    return datetime.now(UTC)


class WebhookSender:
    """Sends what is due, until stopped.

    Use `run_once` to send by hand, or `start` and `stop` for a thread that does; not both at once.

    Parameters
    ----------
    outbox : Outbox
        Where deliveries come from and attempts are noted.
    endpoints : sequence of WebhookEndpoint
        Where they go. Deliveries for endpoints not named here stay pending.
    clock : callable, optional
        Returns the time, aware. The wall clock unless given.
    seed : int, optional
        Of the jitter on the ladder's waits.
    poll_seconds : float, optional
        How often the thread looks for what has become due; `notify` makes it look at once.
    stop : threading.Event, optional
        Set it (or call `stop`) to end the thread and to stop lanes between two deliveries.
    transport : httpx.BaseTransport, optional
        What carries the requests. An allow-list of addresses belongs here. Unless given: plain HTTP/1.1 with
        certificates checked, no proxy from the environment.

    Raises
    ------
    ConnectorSettingsError
        When two endpoints share a name.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Sequence[WebhookEndpoint],
        *,
        clock: Callable[[], datetime] = _now,
        seed: int = 0,
        poll_seconds: float = 0.5,
        stop: threading.Event | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        if len(self._endpoints) != len(endpoints):
            raise ConnectorSettingsError("webhook endpoints: two share a name; the ledger could not tell them apart")
        self._outbox = outbox
        self._clock = clock
        self._random = np.random.default_rng(seed)
        self._poll_seconds = poll_seconds
        self._stop = stop or threading.Event()
        self._wake = threading.Event()
        # A transport, not a client: a client would log whole URLs, keep cookies, and can follow redirects.
        self._transport = transport or httpx.HTTPTransport(trust_env=False)
        self._lanes: dict[str, Future[int]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.last_error: Exception | None = None
        """What last went wrong in the sender itself (not with a receiver); None while all is well."""

    def run_once(self, now: datetime) -> int:
        """Send everything due at `now`, wait for it, and return the number of attempts.

        Deliveries that become due by this run (the next transition of an alarm) are left to the next one.

        Parameters
        ----------
        now : datetime
            Aware time that decides what is due; attempts carry the clock's time.
        """
        lanes = self._start_lanes(now)
        wait(lanes)
        return sum(lane.result() for lane in lanes)

    def start(self) -> None:
        """Begin sending on a thread of its own; `ConnectorSettingsError` if it was started already."""
        if self._thread is not None:
            raise ConnectorSettingsError("webhook sender: it was started already; make a new one after stop")
        strangers = {name: count for name, count in self._outbox.pending().items() if name not in self._endpoints}
        if strangers:
            _log.warning("webhooks pending for endpoints that are not configured", pending=strangers)
        self._thread = threading.Thread(target=self._run, name="webhook-sender", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Look for due deliveries now: something was enqueued, or the clock was moved."""
        self._wake.set()

    def drain(self, timeout_seconds: float, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until nothing is due any more (retries that wait for their time are not); returns whether that came.

        Parameters
        ----------
        timeout_seconds : float
            Longest wait.
        give_up : callable, optional
            Asked between looks; true ends the waiting.
        """
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end and not give_up():
            idle = all(lane.done() for lane in self._lanes.values())
            if idle and not self._outbox.due(self._clock(), 1, list(self._endpoints)):
                return True
            self._wake.set()
            wait(self._lanes.values(), timeout=_DRAIN_LOOK_SECONDS)
            self._stop.wait(_DRAIN_LOOK_SECONDS)
        return False

    def stop(self, grace_seconds: float = 2.0) -> None:
        """End the thread and close connections; the outbox keeps what was not delivered.

        Parameters
        ----------
        grace_seconds : float, optional
            How long attempts under way may take to finish. One that takes longer (a receiver that hangs) is left to
            the end of the process, unnoted: it is made again by the next sender, with the same webhook id.
        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        hanging = wait(self._lanes.values(), timeout=grace_seconds).not_done
        if hanging:
            _log.warning("receivers did not answer in time; what they were sent is sent again", lanes=len(hanging))
        else:
            self._transport.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                for lane in self._start_lanes(self._clock()):
                    lane.add_done_callback(self._lane_done)
            except Exception as error:  # noqa: BLE001 - delivery must outlive a fault of the store; it is told and kept
                self._report(error)
            self._wake.wait(self._poll_seconds)

    def _lane_done(self, lane: Future[int]) -> None:
        error = lane.exception()
        if error is None:
            self.last_error = None
            # The next transition of an alarm may have become due. After an error the next look waits for its time.
            self._wake.set()
        elif isinstance(error, Exception):
            self._report(error)

    def _report(self, error: Exception) -> None:
        self.last_error = error
        _log.error("webhook sender failed, will try again", error=repr(error), exc_info=error)

    def _start_lanes(self, now: datetime) -> list[Future[int]]:
        """Hand what is due to the lanes that are free; return the lanes started."""
        with self._lock:
            # Lanes are looked at before the outbox: one that is done has noted all its attempts.
            free = [name for name in self._endpoints if name not in self._lanes or self._lanes[name].done()]
            batches: dict[str, list[OutboxEntry]] = {}
            for entry in self._outbox.due(now, _BATCH, free) if free else ():
                batches.setdefault(entry.endpoint, []).append(entry)
            started = {name: self._submit(self._endpoints[name], batch) for name, batch in batches.items()}
            self._lanes |= started
        return list(started.values())

    def _submit(self, endpoint: WebhookEndpoint, batch: Sequence[OutboxEntry]) -> Future[int]:
        """Start a lane on a thread that cannot hold up the end of the process, as those of an executor would."""
        lane: Future[int] = Future()

        def run() -> None:
            try:
                lane.set_result(self._lane(endpoint, batch))
            except BaseException as error:  # noqa: BLE001 - handed to whoever looks at the future
                lane.set_exception(error)

        threading.Thread(target=run, name=f"webhook-{endpoint.name}", daemon=True).start()
        return lane

    def _lane(self, endpoint: WebhookEndpoint, batch: Sequence[OutboxEntry]) -> int:
        """Send a batch to one endpoint, one after another; return the number of attempts."""
        sent = 0
        for entry in batch:
            if self._stop.is_set():
                break
            attempt = self._attempt(endpoint, entry)
            sent += 1
            # An endpoint that did not answer, asks for patience or is gone is spared the rest of the batch.
            if attempt.outcome is Outcome.DISABLED or attempt.pause_until or attempt.status_code is None:
                break
        return sent

    def _attempt(self, endpoint: WebhookEndpoint, entry: OutboxEntry) -> Attempt:
        began = self._clock()
        answer = self._post(endpoint, entry, began)
        ended = self._clock()
        with self._lock:  # the generator is not safe to share between lanes
            jitter = float(self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER))
        attempt = judge(endpoint, entry, answer, began, ended, jitter)
        self._outbox.record_attempt(attempt)
        log = _log.bind(
            endpoint=endpoint.name,
            url=endpoint.masked_url,
            webhook_id=entry.webhook_id,
            event_type=entry.event_type,
            attempt=entry.attempts + 1,
            status_code=attempt.status_code,
        )
        match attempt.outcome:
            case Outcome.DELIVERED:
                log.info("webhook delivered", duration_ms=round(attempt.duration_ms, 1))
            case Outcome.RETRY:
                log.warning("webhook not delivered, will retry", error=attempt.error, at=str(attempt.next_attempt_at))
            case Outcome.FAILED:
                log.error("webhook given up; replay it once the receiver is well", error=attempt.error)
            case Outcome.DISABLED:
                log.error("webhook endpoint is gone and was disabled; enable it to send again", error=attempt.error)
        return attempt

    def _post(self, endpoint: WebhookEndpoint, entry: OutboxEntry, now: datetime) -> Answer:
        """Make one request; whatever the network does comes back as an answer."""
        headers = signed_headers(endpoint.secrets, entry.webhook_id, now, entry.body)
        headers |= {"content-type": "application/json", "user-agent": _USER_AGENT}
        timeout = httpx.Timeout(endpoint.timeout_seconds).as_dict()
        request = httpx.Request(
            "POST", endpoint.url, headers=headers, content=entry.body, extensions={"timeout": timeout}
        )
        began = time.perf_counter()
        try:
            with closing(self._transport.handle_request(request)) as response:
                status = response.status_code
                excerpt = None if 200 <= status < 300 else _excerpt(response)
                retry_after = response.headers.get("retry-after")
        except httpx.TransportError as error:
            message = f"{type(error).__name__}: {error}".removesuffix(": ")
            return Answer(None, message, None, 1_000.0 * (time.perf_counter() - began))
        return Answer(status, excerpt, retry_after, 1_000.0 * (time.perf_counter() - began))


def _excerpt(response: httpx.Response) -> str | None:
    """Return the beginning of a refusal's body on one line; the rest is never read."""
    seen = b""
    for chunk in response.iter_raw():
        seen += chunk
        if len(seen) >= _EXCERPT_BYTES:
            break
    text = " ".join(seen[:_EXCERPT_BYTES].decode("utf-8", errors="replace").split())
    return text or None
