"""Alarms and their operators: what is announced, who has seen it, and what they do about it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from connectors.alarm_event import ACTION_EVENTS, action_event, alarm_event, encode_event
from connectors.history.conditions import ActionRecord, load_conditions, load_flood
from connectors.history.database import Commit, History
from connectors.history.interventions import InterventionRecord
from connectors.service_event import flood_ended, flood_started
from connectors.webhooks.deliveries import Delivery
from connectors.webhooks.endpoint import Endpoint, deliveries_for
from streams.episode_memory import EpisodeMemory, SimilarEpisode
from streams.errors import AlarmNotFoundError
from streams.gathering import calmed, due_again, judged, released
from streams.intervention_desk import InterventionDesk
from tsad.alarms import AlarmTransition
from tsad.annunciation import AnnunciationSettings, Flood, PriorityRule, priority_rule
from tsad.lifecycle import (
    Action,
    AlarmCondition,
    AlarmPolicyLimits,
    after_action,
    after_transition,
    expired,
    suppressed,
    unsuppressed,
)

__all__ = ["Annunciator"]


class Annunciator:
    """Keeps how every alarm stands with its operators, in memory and in the history file.

    What the engine decides comes through `take` and `taken`, inside the pipeline's transaction; what people decide
    comes through `act`, in a transaction of its own; what the clock brings about, through `expire`. One lock keeps them
    apart. A transition of an alarm that is shelved, out of service, chattering, or one of many in a flood is written,
    and not told to any receiver by itself.

    Parameters
    ----------
    history
        The open history file.
    endpoints
        Receivers.
    limits
        For how long an alarm may be shelved.
    settings
        What is gathered and told again, and priorities.
    now
        The wall clock.
    desk
        Takes in what labels ask of the engines, and knows of maintenance.
    """

    def __init__(
        self,
        history: History,
        endpoints: Sequence[Endpoint],
        *,
        limits: AlarmPolicyLimits | None = None,
        settings: AnnunciationSettings | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        desk: InterventionDesk | None = None,
    ) -> None:
        self._history = history
        self._desk = desk or InterventionDesk(history, ())
        self._endpoints = tuple(endpoints)
        self._limits = limits or AlarmPolicyLimits()
        self._settings = settings or AnnunciationSettings()
        self.now = now
        self.lock = threading.RLock()
        with history.cursor() as cursor:
            self._conditions = load_conditions(cursor)
            self._flood = load_flood(cursor)
        self._newest: dict[str, int] = {}
        self.memory = EpisodeMemory(history)
        """What past episodes were like."""
        self._proposed: dict[str, AlarmCondition] = {}
        self._proposed_flood = self._flood

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
        told = _Told(self._endpoints, self.now(), self.rule)
        self.memory.begin()
        proposed: dict[str, AlarmCondition] = {}
        flood = self._flood
        quiet = 0
        for transition in transitions:
            flood = self._end_flood(flood, transition.time, proposed, told)
            before = proposed.get(transition.alarm_id) or self._conditions.get(transition.alarm_id)
            cover = self._desk.cover(transition.stream, transition.asset, transition.time)
            after = suppressed(before, after_transition(before, transition), transition, cover)
            self._newest[transition.stream] = max(self._newest.get(transition.stream, 0), transition.time)
            judgement = judged(before, after, transition, flood, self._settings)
            after = self._timed(judgement.condition, told=judgement.told)
            if judgement.flood.since is not None and flood.since is None:
                told.event(flood_started(judgement.flood, transition.time))
            flood = judgement.flood
            # The clearing that ends a one-shot shelving is told: receivers may have been told of the raising.
            like = self.memory.take(transition)
            if judgement.told:
                told.transition(transition, like)
            else:
                quiet += 1
            if judgement.began_to_chatter:
                after = replace(after, action_seq=after.action_seq + 1)
                told.done(after, self._record(after, after, "hold", _chattering_words(self._settings)))
            if after.suppressed and transition.state == "active" and not (before and before.suppressed):
                after = replace(after, action_seq=after.action_seq + 1)
                told.recorded(after, self._record(after, after, "suppress", after.suppressed_for), announced=False)
            if after.suppressed and transition.state == "normal":
                after = replace(after, suppressed_until=None, suppressed_for="")
            proposed[transition.alarm_id] = after
        self._proposed, self._proposed_flood = proposed, flood
        commit.conditions, commit.deliveries, commit.actions = list(proposed.values()), told.deliveries, told.records
        commit.flood = flood if flood != self._flood else None
        commit.episodes = self.memory.ended()
        return quiet

    def taken(self) -> None:
        """The commit was written."""
        self.memory.written()
        self._conditions |= self._proposed
        self._flood = self._proposed_flood
        self._proposed = {}

    def rule(self, condition: AlarmCondition | AlarmTransition) -> PriorityRule | None:
        """What people decided beforehand about an alarm; None where nobody has rationalised it."""
        return priority_rule(self._settings.priorities, condition.stream, condition.asset, condition.severity)

    def _timed(self, condition: AlarmCondition, *, told: bool) -> AlarmCondition:
        """The condition with the wall times that something depends on."""
        settings = self._settings
        if settings.chattering is None and settings.flood is None and settings.re_alarm is None:
            return condition
        at = self.at()
        return replace(condition, seen_at=at, told_at=at if told and settings.re_alarm else condition.told_at)

    def _end_flood(self, flood: Flood, time: int, proposed: dict[str, AlarmCondition], told: "_Told") -> Flood:
        """End a flood that is over by `time` (event time): what was held back and still stands unseen is told."""
        if self._settings.flood is None:
            return flood
        ends = flood.ends_at(self._settings.flood)
        if ends is None or time < ends:
            return flood
        held = [one for one in (self._conditions | proposed).values() if one.held == "flood"]
        standing = [one for one in held if one.waits_for_somebody]
        told.event(flood_ended(flood, ends, len(standing)))
        for one in held:
            after = proposed[one.alarm_id] = self._timed(released(one), told=one.waits_for_somebody)
            told.recorded(
                after, self._record(one, after, "release", "the flood is over"), announced=one.waits_for_somebody
            )
        return flood.ended()

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
        at = self.at()
        after = after_action(before, action, at, self._limits)
        if before.state == "shelved" and after.announces:
            after = self._timed(after, told=True)
        record = replace(
            self._record(before, after, action.kind, action.comment),
            by=action.by,
            until=action.until,
            one_shot=action.one_shot,
            label=action.label,
            at=at,
        )
        if action.episode_id is not None:
            record = replace(record, episode_id=self._episode(before, action.episode_id))
        said = self._desk.of_label(record, before.stream, before.asset)
        self._commit_action(after, record, said)
        self._desk.taken(said)
        if record.label is not None:
            self.memory.labelled(record.episode_id, record.label, record.comment)
        return after

    def _episode(self, condition: AlarmCondition, episode_id: str) -> str:
        """The same, where the alarm has such an episode."""
        with self._history.cursor() as cursor:
            found = cursor.execute(
                "SELECT 1 FROM alarm_transitions WHERE alarm_id = ? AND episode_id = ? LIMIT 1",
                [condition.alarm_id, episode_id],
            ).fetchone()
        if found is None:
            raise AlarmNotFoundError(f"the alarm of {condition.asset} has no episode {episode_id!r}")
        return episode_id

    def _commit_action(
        self, after: AlarmCondition, record: ActionRecord, said: Sequence[InterventionRecord] = ()
    ) -> None:
        told = _Told(self._endpoints, self.now(), self.rule)
        told.done(after, record)
        self._commit_told([after], told, self._flood, said)

    def _commit_told(
        self,
        conditions: list[AlarmCondition],
        told: "_Told",
        flood: Flood,
        said: Sequence[InterventionRecord] = (),
    ) -> None:
        commit = Commit(
            conditions=conditions, actions=told.records, deliveries=told.deliveries, interventions=list(said)
        )
        commit.flood = flood if flood != self._flood else None
        for record in told.records:
            commit.counts[self._conditions[record.alarm_id].stream, ACTION_EVENTS[record.kind]] += 1
        self._history.commit(commit)
        self._conditions |= {one.alarm_id: one for one in conditions}
        self._flood = flood

    def _record(self, before: AlarmCondition, after: AlarmCondition, kind: str, comment: str) -> ActionRecord:
        """A row of the trail about what was done by the clock or the engine."""
        return ActionRecord(
            after.alarm_id, after.episode_id, after.action_seq, after.transition_seq, kind, "tsad", comment, None,
            one_shot=False, label=None, at=self.at(), previous_state=before.state, state=after.state,
        )  # fmt: skip

    def reached(self, stream: str, time: int) -> None:
        """Note the newest event time (ns UTC) of a stream."""
        self._newest[stream] = max(self._newest.get(stream, 0), time)

    def _event_time(self, stream: str) -> int:
        return self._newest.get(stream, 0)

    def at(self) -> int:
        """Wall time, ns UTC."""
        return round(self.now().timestamp() * 1e6) * 1_000

    def expire(self) -> int:
        """Do what is due by the clock; returns how much was done.

        Shelvings end whose time is up, chattering alarms that have calmed down are told again, a flood without further
        alarms ends, and what stands unseen is told again.

        Raises
        ------
        HistoryError
            It cannot be written now; tried again with the next call.
        """
        with self.lock:
            at = self.at()
            due = [one for one in self._conditions.values() if expired(one, at)]
            for condition in due:
                self._write(condition, Action("expire", "tsad"))
            done = [
                (self._timed(released(one), told=True), one, "release", "it has calmed down")
                for one in calmed(self._conditions.values(), at, self._settings)
            ]
            done += [
                (self._timed(unsuppressed(one), told=True), one, "release", "maintenance is over")
                for one in self._conditions.values()
                if one.suppressed_until is not None and self._event_time(one.stream) >= one.suppressed_until
            ]
            done += [
                (
                    self._timed(
                        replace(one, reminders=one.reminders + 1, action_seq=one.action_seq + 1), told=True
                    ),
                    one, "remind", f"reminder {one.reminders + 1}",
                )
                for one in due_again(self._conditions.values(), at, self._settings)
            ]  # fmt: skip
            for after, before, kind, comment in done:
                self._commit_action(after, self._record(before, after, kind, comment))
            return len(due) + len(done) + self._end_flood_by_clock(at)

    def _end_flood_by_clock(self, at: int) -> int:
        """End a flood when nothing was raised by the clock for as long as its measure; returns whether one ended."""
        if self._settings.flood is None or self._flood.since is None:
            return 0
        newest = max((one.seen_at or 0 for one in self._conditions.values()), default=0)
        if at - newest < self._settings.flood.within * 1e9:
            return 0
        told = _Told(self._endpoints, self.now(), self.rule)
        proposed: dict[str, AlarmCondition] = {}
        ends = self._flood.ends_at(self._settings.flood)
        assert ends is not None
        flood = self._end_flood(self._flood, ends, proposed, told)
        self._commit_told(list(proposed.values()), told, flood)
        return 1


class _Told:
    """Gathers what receivers are told, and the trail of what was done."""

    def __init__(
        self, endpoints: Sequence[Endpoint], at: datetime, rule: Callable[[AlarmCondition | AlarmTransition], Any]
    ) -> None:
        self._endpoints = endpoints
        self._now = at
        self._rule = rule
        self.deliveries: list[Delivery] = []
        self.records: list[ActionRecord] = []

    def transition(self, transition: AlarmTransition, like: Sequence[SimilarEpisode] = ()) -> None:
        """Tell of a transition, and of what it is like."""
        self.event(alarm_event(transition, self._rule(transition), [asdict(one) for one in like]))

    def done(self, condition: AlarmCondition, record: ActionRecord) -> None:
        """Tell of what was done, and keep it in the trail."""
        self.recorded(condition, record, announced=True)

    def recorded(self, condition: AlarmCondition, record: ActionRecord, *, announced: bool) -> None:
        """Keep in the trail what was done, and tell of it where it is announced."""
        self.records.append(record)
        if announced:
            self.event(action_event(condition, record, self._rule(condition)))

    def event(self, event: Mapping[str, Any]) -> None:
        """Tell of an event."""
        self.deliveries += deliveries_for(
            self._endpoints,
            alarm_id=event["data"]["alarm_id"],
            transition_seq=event["data"]["transition_seq"],
            event_type=event["type"],
            body=encode_event(event),
            created_at=self._now,
        )


def _chattering_words(settings: AnnunciationSettings) -> str:
    chattering = settings.chattering
    assert chattering is not None
    return (
        f"chattering: raised {chattering.times} times within {chattering.within:g} s; told again when it has been "
        f"quiet for {chattering.calm:g} s"
    )
