"""Alarm transitions to receivers that fail at random: is each delivered, in order, and what does it take?

    python -m benchmarks deliveries [--transitions N] [--receivers N] [--seed N]

Real HTTP on loopback, a real history file, an injected clock: for its first hour two receivers answer at random with
500, 429, 503 and patience, redirect, or take what they are sent and then say they did not. Afterwards they are well.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import structlog

from connectors.alarm_event import alarm_event, encode_event
from connectors.history.database import Commit, History
from connectors.webhooks import Outbox, ReceiverInbox, ScriptedAnswer, WebhookEndpoint, WebhookReceiver, WebhookSender
from connectors.webhooks.endpoint import deliveries_for
from tsad.alarms import AlarmTransition

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
SECRET = "whsec_" + "A" * 43 + "="
HOUR = timedelta(hours=1)


class Clock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """The time."""
        return self.now


class FlakyInbox(ReceiverInbox):
    """Fails at random for the first hour; keeps the order of what it took."""

    def __init__(self, clock: Clock, seed: int, capacity: int) -> None:
        super().__init__(capacity)
        self._clock, self._random = clock, np.random.default_rng(seed)
        self.taken: list[tuple[str, int]] = []
        self.failed = 0

    def take(self, headers: dict[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> ScriptedAnswer:
        """Take a request, or fail in one of the ways there are."""
        draw = self._random.random() if self._clock() < START + HOUR else 1.0
        if draw < 0.10:
            self.failed += 1
            # Patience is asked for seldom: it spares the whole endpoint, and so fails nothing else meanwhile.
            if draw < 0.001:
                return ScriptedAnswer(429, headers=(("Retry-After", "7"),))
            if draw < 0.002:
                return ScriptedAnswer(503, headers=(("Retry-After", "20"),))
            if draw < 0.05:
                return ScriptedAnswer(302, headers=(("Location", "http://127.0.0.1:9/"),))
            return ScriptedAnswer(500)
        before = len(self._webhooks)
        answer = self._accept(headers, body, secrets, now)
        if len(self._webhooks) > before:
            # The memory that is measured is not to be the receiver's.
            newest = next(reversed(self._webhooks))
            self._webhooks[newest] = replace(self._webhooks[newest], body=b"")
            data = json.loads(body)["data"]
            self.taken.append((data["alarm_id"], data["transition_seq"]))
        if draw < 0.15:
            self.failed += 1
            return ScriptedAnswer(500, body="taken, but the answer was lost")
        return answer


def transition(alarm: int, seq: int) -> AlarmTransition:
    """The seq-th transition of an alarm: raised and cleared by turns."""
    closes = seq % 2 == 0
    return AlarmTransition(
        kind="alarm.cleared" if closes else "alarm.raised", alarm_id=f"alm_{alarm:06d}",
        episode_id=f"epi_{alarm}_{(seq + 1) // 2}", transition_seq=seq, stream="pumps", asset=f"hall/pump-{alarm}",
        state="normal" if closes else "active", previous_state="active" if closes else "normal", severity="high",
        time=(1_772_352_000 + seq) * 10**9, started=(1_772_352_000 + seq) * 10**9, score=0.9, threshold=0.5,
        p_value=1e-6, one_in_days=10.0, contributions=(), verdicts=(), partition=0, offset=seq,
    )  # fmt: skip


def run(
    transitions: int, receivers: int = 2, seed: int = 0, step_seconds: float = 10.0, per_alarm: int = 100
) -> dict[str, object]:
    """Deliver, and return what was seen; the injected clock moves by `step_seconds` at a time."""
    clock, alarms = Clock(), transitions // per_alarm
    inboxes = [FlakyInbox(clock, seed + i, transitions + 1) for i in range(receivers)]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, History(Path(folder) / "h.duckdb") as history:
        servers = [WebhookReceiver([SECRET], clock=clock, inbox=inbox).start() for inbox in inboxes]
        endpoints = [WebhookEndpoint(f"room-{i}", server.url, (SECRET,)) for i, server in enumerate(servers)]
        outbox = Outbox(history.cursor, history.write_lock)
        sender = WebhookSender(outbox, endpoints, clock=clock)
        sent, attempts, seq, deepest = [], 0, 0, 0
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        writing = 0.0
        while True:
            # All transitions come within the hour, evenly.
            due = min(int(per_alarm * ((clock.now - START) / HOUR) * 1.1) + 1, per_alarm)
            while seq < due:
                seq += 1
                made = [transition(alarm, seq) for alarm in range(alarms)]
                deliveries = [
                    one
                    for t in made
                    for one in deliveries_for(
                        endpoints, alarm_id=t.alarm_id, transition_seq=t.transition_seq, event_type=t.kind,
                        body=encode_event(alarm_event(t)), created_at=clock.now,
                    )
                ]  # fmt: skip
                at = time.perf_counter()
                history.commit(Commit(transitions=made, deliveries=deliveries))
                writing += time.perf_counter() - at
                sent += [(t.alarm_id, t.transition_seq) for t in made]
            while made_now := sender.run_once(clock.now):
                attempts += made_now
            pending = sum(outbox.pending().values())
            deepest = max(deepest, pending)
            if not pending and seq == per_alarm:
                break
            clock.now += timedelta(seconds=step_seconds)
        sender.stop()
        for server in servers:
            server.stop()
        statuses = {str(entry.status) for entry in outbox.list(limit=1_000_000)} if transitions <= 10_000 else set()
    wrong = {"lost": 0, "invented": 0, "out of order": 0, "repeats dropped": 0}
    for inbox in inboxes:
        newest: dict[str, int] = {}
        for alarm, number in inbox.taken:
            wrong["out of order"] += number != newest.get(alarm, 0) + 1
            newest[alarm] = number
        wrong["lost"] += len(set(sent) - set(inbox.taken))
        wrong["invented"] += len(set(inbox.taken) - set(sent)) + len(inbox.taken) - len(set(inbox.taken))
        wrong["repeats dropped"] += inbox.duplicates
    seconds = time.perf_counter() - began
    return {
        "transitions": len(sent), "receivers": receivers, "attempts": attempts,
        "failed answers": sum(inbox.failed for inbox in inboxes), **wrong,
        "deepest queue": deepest, "injected minutes": round((clock.now - START) / timedelta(minutes=1), 1),
        "seconds": round(seconds, 1), "attempts a second": round(attempts / seconds),
        "seconds of writing transitions": round(writing, 1),
        "memory grown MB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024),
        "statuses": sorted(statuses),
    }  # fmt: skip


def main() -> None:
    """Deliver, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=10_000)
    parser.add_argument("--receivers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments, _ = parser.parse_known_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    print(json.dumps(run(arguments.transitions, arguments.receivers, arguments.seed), indent=2))


if __name__ == "__main__":
    main()
