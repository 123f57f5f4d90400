"""Sending what the outbox holds: one lane an endpoint, a retry ladder, and a note of every attempt.

A lane is one task on a thread of its own. It works through what is due for its endpoint, one delivery after another,
so a receiver that hangs holds up nobody but itself. What an answer means is decided in `judge`, a pure function.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import numpy as np
import structlog

from connectors.errors import ConnectorSettingsError
from connectors.webhooks.addresses import AddressPolicy
from connectors.webhooks.carriers import Carrier
from connectors.webhooks.deliveries import Attempt, Delivery, OutboxEntry, Outcome
from connectors.webhooks.endpoint import Endpoint
from connectors.webhooks.judgement import Answer, judge, retry_after_seconds
from connectors.webhooks.outbox import Outbox
from connectors.webhooks.telling import told_of_disabling

__all__ = ["Answer", "WebhookSender", "judge", "retry_after_seconds"]

_JITTER = 0.1
# Taken from the outbox at once for each endpoint.
_BATCH = 200
# Longest time for which an attempt is known to nobody but the lane.
_NOTE_EVERY_SECONDS = 0.5
_DRAIN_LOOK_SECONDS = 0.05

_log = structlog.get_logger("connectors.webhooks")


def _now() -> datetime:
    return datetime.now(UTC)


class WebhookSender:
    """Sends what is due, until stopped.

    Use `run_once` to send by hand, or `start` and `stop` for a thread that does; not both at once.

    Parameters
    ----------
    outbox : Outbox
        Where deliveries come from and attempts are noted.
    endpoints : sequence of Endpoint
        Where they go. Deliveries for endpoints not named here stay pending.
    clock : callable, optional
        Returns the time, aware. The wall clock unless given.
    seed : int, optional
        Of the jitter on the ladder's waits.
    poll_seconds : float, optional
        How often the thread looks for what has become due; `notify` makes it look at once.
    stop : threading.Event, optional
        Set it (or call `stop`) to end the thread and to stop lanes between two deliveries.
    policy : AddressPolicy, optional
        Which addresses may be connected to.
    transport : httpx.BaseTransport, optional
        What carries HTTP requests. Unless given: plain HTTP/1.1 that keeps to the policy, with certificates checked,
        no proxy from the environment.

    Raises
    ------
    ConnectorSettingsError
        When two endpoints share a name.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Sequence[Endpoint],
        *,
        clock: Callable[[], datetime] = _now,
        seed: int = 0,
        poll_seconds: float = 0.5,
        stop: threading.Event | None = None,
        policy: AddressPolicy | None = None,
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
        self._carrier = Carrier(policy, transport)
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
            self._carrier.close()

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

    def _submit(self, endpoint: Endpoint, batch: Sequence[OutboxEntry]) -> Future[int]:
        """Start a lane on a thread that cannot hold up the end of the process, as those of an executor would."""
        lane: Future[int] = Future()

        def run() -> None:
            try:
                lane.set_result(self._lane(endpoint, batch))
            except BaseException as error:  # noqa: BLE001 - handed to whoever looks at the future
                lane.set_exception(error)

        threading.Thread(target=run, name=f"webhook-{endpoint.name}", daemon=True).start()
        return lane

    def _lane(self, endpoint: Endpoint, batch: Sequence[OutboxEntry]) -> int:
        """Send a batch to one endpoint, one after another; return the number of attempts."""
        sent = 0
        noting: list[Attempt] = []
        noted = time.monotonic()
        try:
            for entry in batch:
                if self._stop.is_set():
                    break
                attempt = self._attempt(endpoint, entry)
                sent += 1
                noting.append(attempt)
                # Attempts are noted together, but soon: after a crash what was not noted is sent again.
                if time.monotonic() - noted >= _NOTE_EVERY_SECONDS:
                    self._note(endpoint, noting)
                    noting, noted = [], time.monotonic()
                # An endpoint that did not answer, asks for patience or is gone is spared the rest of the batch.
                unanswered = attempt.status_code is None and attempt.outcome is not Outcome.DELIVERED
                if attempt.outcome is Outcome.DISABLED or attempt.pause_until or unanswered:
                    break
        finally:
            self._note(endpoint, noting)
        return sent

    def _note(self, endpoint: Endpoint, attempts: Sequence[Attempt]) -> None:
        if attempts:
            self._outbox.record_attempts(attempts, self._told_elsewhere(endpoint, attempts[-1]))

    def _attempt(self, endpoint: Endpoint, entry: OutboxEntry) -> Attempt:
        began = self._clock()
        answer = self._carrier.send(endpoint, entry, began)
        ended = self._clock()
        with self._lock:  # the generator is not safe to share between lanes
            jitter = float(self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER))
        attempt = self._patience(endpoint, judge(endpoint, entry, answer, began, ended, jitter))
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
                log.info("webhook delivered", duration_ms=round(attempt.duration_ms, 1), remark=attempt.error)
            case Outcome.RETRY:
                log.warning("webhook not delivered, will retry", error=attempt.error, at=str(attempt.next_attempt_at))
            case Outcome.FAILED:
                log.error("webhook given up; replay it once the receiver is well", error=attempt.error)
            case Outcome.DISABLED:
                log.error("webhook endpoint was disabled; enable it to send again", error=attempt.error)
        return attempt

    def _patience(self, endpoint: Endpoint, attempt: Attempt) -> Attempt:
        """Switch an endpoint off that has failed for too long."""
        if attempt.outcome not in {Outcome.RETRY, Outcome.FAILED}:
            return attempt
        since = {state.name: state.failing_since for state in self._outbox.endpoints()}.get(endpoint.name)
        if since is None or (attempt.attempted_at - since).total_seconds() < endpoint.disable_after_seconds:
            return attempt
        error = f"nothing was delivered since {since:%Y-%m-%d %H:%M} UTC; last: {attempt.error}"
        return replace(attempt, outcome=Outcome.DISABLED, error=error, next_attempt_at=None)

    def _told_elsewhere(self, endpoint: Endpoint, attempt: Attempt) -> tuple[Delivery, ...]:
        """What the other endpoints are told when this one is switched off."""
        if attempt.outcome is not Outcome.DISABLED:
            return ()
        return told_of_disabling(self._endpoints.values(), endpoint.name, attempt.attempted_at, attempt.error or "")
