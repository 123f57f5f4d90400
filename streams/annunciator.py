"""Alarms and their operators: what is announced, who has seen it, and what they do about it."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from connectors.alarm_event import ACTION_EVENTS, action_event, alarm_event, encode_event
from connectors.history.conditions import ActionRecord, load_conditions
from connectors.history.database import Commit, History
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.endpoint import Endpoint, deliveries_for
from streams.errors import AlarmNotFoundError
from tsad.alarms import AlarmTransition
from tsad.lifecycle import Action, AlarmCondition, AlarmPolicyLimits, after_action, after_transition, expired

__all__ = ["Annunciator"]


class Annunciator:
    """Keeps how every alarm stands with its operators, in memory and in the history file.

    What the engine decides comes through `take` and `taken`, inside the pipeline's transaction; what people decide
    comes through `act`, in a transaction of its own. One lock keeps the two apart. A transition of an alarm that is
    shelved or out of service is written, and not told to any receiver.

    Parameters
    ----------
    history
        The open history file.
    endpoints
        Receivers.
    limits
        For how long an alarm may be shelved.
    now
        The wall clock.
    """

    def __init__(
        self,
        history: History,
        endpoints: Sequence[Endpoint],
        *,
        limits: AlarmPolicyLimits | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._history = history
        self._endpoints = tuple(endpoints)
        self._limits = limits or AlarmPolicyLimits()
        self.now = now
        self.lock = threading.RLock()
        with history.cursor() as cursor:
            self._conditions = load_conditions(cursor)
        self._proposed: dict[str, AlarmCondition] = {}

    def conditions(self) -> list[AlarmCondition]:
        """How all alarms stand, those with the newest transition first."""
        with self.lock:
            return sorted(self._conditions.values(), key=lambda one: (-one.changed, one.alarm_id))

    def condition(self, alarm_id: str) -> AlarmCondition:
        """How one alarm stands.

        Raises
        ------
        AlarmNotFoundError
            There is no such alarm.
        """
        with self.lock:
            try:
                return self._conditions[alarm_id]
            except KeyError:
                raise AlarmNotFoundError(f"there is no alarm {alarm_id!r}; /api/v1/alarms lists them") from None

    # ------------------------------------------------------------------------------------------------ the engine's side

    def take(self, transitions: Sequence[AlarmTransition], commit: Commit) -> int:
        """Put conditions and deliveries into a commit; returns how many transitions are not announced.

        The caller holds `lock` until the commit is written and `taken` was called. May be called again for the same
        commit, after it failed.
        """
        proposed: dict[str, AlarmCondition] = {}
        deliveries: list[Delivery] = []
        quiet = 0
        for transition in transitions:
            before = proposed.get(transition.alarm_id) or self._conditions.get(transition.alarm_id)
            after = proposed[transition.alarm_id] = after_transition(before, transition)
            # The clearing that ends a one-shot shelving is told: receivers may have been told of the raising.
            if not after.announces:
                quiet += 1
                continue
            deliveries += deliveries_for(
                self._endpoints,
                alarm_id=transition.alarm_id,
                transition_seq=transition.transition_seq,
                event_type=transition.kind,
                body=encode_event(alarm_event(transition)),
                created_at=self.now(),
            )
        self._proposed = proposed
        commit.conditions, commit.deliveries = list(proposed.values()), deliveries
        return quiet

    def taken(self) -> None:
        """The commit was written."""
        self._conditions |= self._proposed
        self._proposed = {}

    # ------------------------------------------------------------------------------------------------ people's side

    def act(self, alarm_id: str, action: Action) -> AlarmCondition:
        """Do what an operator wants done; returns how the alarm stands then.

        Raises
        ------
        AlarmNotFoundError
            There is no such alarm.
        ActionRefusedError
            It is not possible as things stand.
        HistoryError
            It cannot be written now; nothing has changed.
        """
        with self.lock:
            return self._write(self.condition(alarm_id), action)

    def _write(self, before: AlarmCondition, action: Action) -> AlarmCondition:
        moment = self.now()
        at = round(moment.timestamp() * 1e6) * 1_000
        after = after_action(before, action, at, self._limits)
        record = ActionRecord(
            before.alarm_id, before.episode_id, after.action_seq, before.transition_seq, action.kind, action.by,
            action.comment, action.until, action.one_shot, action.label, at, before.state, after.state,
        )  # fmt: skip
        deliveries = deliveries_for(
            self._endpoints,
            alarm_id=before.alarm_id,
            transition_seq=before.transition_seq,
            event_type=ACTION_EVENTS[action.kind],
            body=encode_event(action_event(after, record)),
            created_at=moment,
        )
        commit = Commit(conditions=[after], actions=[record], deliveries=list(deliveries))
        commit.counts[before.stream, ACTION_EVENTS[action.kind]] += 1
        self._history.commit(commit)
        self._conditions[before.alarm_id] = after
        return after

    def expire(self) -> int:
        """End the shelvings whose time is up; returns how many.

        Raises
        ------
        HistoryError
            It cannot be written now; tried again with the next call.
        """
        with self.lock:
            at = round(self.now().timestamp() * 1e6) * 1_000
            due = [one for one in self._conditions.values() if expired(one, at)]
            for condition in due:
                self._write(condition, Action("expire", "tsad"))
            return len(due)
