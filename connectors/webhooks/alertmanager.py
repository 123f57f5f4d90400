"""Keeping an Alertmanager informed: what stands is sent again and again, what has ended for a while.

Alertmanager forgets an alert that nobody renews (`resolve_timeout`), and one that it missed while it was away it never
learns of but by being told again. So besides the transitions, which the outbox delivers, the state is sent: every
alarm that stands, with an end a few rounds ahead, and for a quarter of an hour those that have ended. It is read from
the tables each time, so it survives a restart of either side. As Prometheus does it (`rules/manager.go`, resend delay
and resolved retention).
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from connectors.encoders import Message
from connectors.encoders.alertmanager import alert
from connectors.encoders.base import as_json
from connectors.webhooks.carriers import Carrier
from connectors.webhooks.endpoint import WebhookEndpoint
from connectors.webhooks.outbox import Outbox

__all__ = ["AlertmanagerResender", "Standing"]

_log = structlog.get_logger("connectors.webhooks")

# A renewed alert ends by itself after so many rounds without another.
_ROUNDS_AHEAD = 4
_RESOLVED_FOR = timedelta(minutes=15)
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Standing:
    """One alarm as it stands.

    Attributes
    ----------
    event
        The canonical event of its newest transition.
    firing
        Whether it holds and may announce itself.
    """

    event: Mapping[str, Any]
    firing: bool


class AlertmanagerResender:
    """Sends one instance what stands.

    Parameters
    ----------
    endpoint
        The instance; its routes choose.
    outbox
        Tells whether the endpoint is switched off, or asked for patience.
    standing
        Returns the alarms that stand, and those that ended lately.
    every
        Seconds between two rounds.
    carrier
        What sends.
    clock
        Returns the time, aware.
    """

    def __init__(
        self,
        endpoint: WebhookEndpoint,
        outbox: Outbox,
        standing: Callable[[], Iterable[Standing]],
        *,
        every: float,
        carrier: Carrier,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.endpoint = endpoint
        self._outbox = outbox
        self._standing = standing
        self._every = every
        self._carrier = carrier
        self._clock = clock
        # By label set, as they were sent last.
        self._fired: dict[bytes, dict[str, Any]] = {}
        self._ended: dict[bytes, tuple[dict[str, Any], datetime]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        """Why the last round failed; None while all is well."""
        self.rounds = self.failures = 0
        """Rounds with anything to send, and those of them that failed."""

    def start(self) -> None:
        """Begin rounds on a thread."""
        self._thread = threading.Thread(target=self._run, name=f"alertmanager-{self.endpoint.name}", daemon=True)
        self._thread.start()

    def stop(self, grace_seconds: float = 2.0) -> None:
        """End the thread; a round under way is given this long."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(grace_seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.run_once(self._clock())
            except Exception as error:  # noqa: BLE001 - rounds must outlive a fault of the store; it is told and kept
                self._fail(repr(error))
            self._stop.wait(self._every)

    def run_once(self, now: datetime) -> int:
        """Send what stands at `now`; returns how many alerts."""
        state = {one.name: one for one in self._outbox.endpoints()}.get(self.endpoint.name)
        if state is not None and (state.disabled_at is not None or (state.paused_until or now) > now):
            return 0
        alerts = self.alerts(now)
        for start in range(0, len(alerts), _AT_ONCE):
            message = Message(as_json(alerts[start : start + _AT_ONCE]))
            answer = self._carrier.carry(self.endpoint, message, "msg_resend", now)
            if answer.status_code is None or not 200 <= answer.status_code < 300:
                status = "" if answer.status_code is None else f"HTTP {answer.status_code} "
                self.rounds += 1
                self._fail(f"{status}{answer.error or ''}".strip())
                return 0
        if alerts:
            self.rounds += 1
        if self.problem is not None:
            _log.info("alertmanager is told what stands again", endpoint=self.endpoint.name)
        self.problem = None
        return len(alerts)

    def alerts(self, now: datetime) -> list[dict[str, Any]]:
        """What is to be sent at `now`: alerts that fire, and those that ended lately."""
        until = _text(now + timedelta(seconds=_ROUNDS_AHEAD * self._every))
        firing: dict[bytes, dict[str, Any]] = {}
        ended: dict[bytes, tuple[dict[str, Any], datetime]] = {}
        for one in self._standing():
            if not self.endpoint.wants(one.event["type"], one.event["data"]):
                continue
            shown = alert(one.event)
            key = as_json(shown["labels"])
            if one.firing:
                firing[key] = {**shown, "endsAt": until}
            else:
                ended[key] = ({**shown, "endsAt": shown.get("endsAt") or _text(now)}, now)
        for key, shown in self._fired.items():
            # Ended, kept quiet, or worse than before and so another alert now.
            ended[key] = ended.get(key) or ({**shown, "endsAt": _text(now)}, now)
        # The first look counts: a later one would move the end, and the alert would never be forgotten.
        ended |= self._ended
        self._fired = firing
        self._ended = {
            key: (shown, since)
            for key, (shown, since) in ended.items()
            if key not in firing and now - since < _RESOLVED_FOR
        }
        return [*firing.values(), *(shown for shown, _ in self._ended.values())]

    def _fail(self, problem: str) -> None:
        self.failures += 1
        if self.problem is None:
            _log.warning(
                "alertmanager is not told what stands; tried again", endpoint=self.endpoint.name, error=problem
            )
        self.problem = problem


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
