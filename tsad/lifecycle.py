"""How an alarm stands with its operators: the states of ISA-18.2 and IEC 62682, and what people may do.

The engine decides whether an alarm is active, by event time alone. What is kept here comes on top: whether somebody has
seen it, and whether it may announce itself. Time is handed in.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from tsad.alarms import AlarmTransition
from tsad.errors import TsadError
from tsad.maintenance import MaintenanceCover

__all__ = [
    "Action",
    "ActionKind",
    "ActionRefusedError",
    "AlarmCondition",
    "AlarmPolicyLimits",
    "ConditionState",
    "Label",
    "after_action",
    "after_transition",
    "expired",
    "suppressed",
    "unsuppressed",
]

ConditionState = Literal[
    "normal",
    "active_unacknowledged",
    "active_acknowledged",
    "returned_unacknowledged",
    "shelved",
    "out_of_service",
    "suppressed_by_design",
]
ActionKind = Literal[
    "acknowledge", "shelve", "unshelve", "take_out_of_service", "return_to_service", "comment", "label", "expire"
]
Label = Literal["true", "false", "known"]
"""What an episode was: a real problem, a false alarm, or an event that is known and needs no answer."""

_HOUR_NS = 3_600 * 10**9


class ActionRefusedError(TsadError, ValueError):
    """An operator's action is not possible as things stand. The message says why, and what would be."""


@dataclass(frozen=True, slots=True)
class AlarmPolicyLimits:
    """For how long an alarm may be shelved at most, in ns."""

    longest_shelving: int = 8 * _HOUR_NS


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody does to an alarm.

    Attributes
    ----------
    kind
        ``expire`` is done by the clock alone.
    by
        Who.
    comment
        Why; needed wherever an alarm is kept quiet.
    until
        Of ``shelve``: ns UTC.
    one_shot
        Of ``shelve``: it ends when the alarm clears, if that is before `until`.
    label, episode_id
        Of ``label``: what the episode was, and which; None for the newest.
    """

    kind: ActionKind
    by: str
    comment: str = ""
    until: int | None = None
    one_shot: bool = False
    label: Label | None = None
    episode_id: str | None = None


@dataclass(frozen=True, slots=True)
class AlarmCondition:
    """One alarm over all its episodes.

    Attributes
    ----------
    alarm_id, stream, asset
        Which.
    active
        Whether its condition holds, by the engine.
    acknowledged
        Whether somebody has seen the episode; also true where there is nothing to see.
    episode_id, started, changed, severity, transition_seq
        Of the newest episode: identity, beginning and newest transition (event time, ns UTC), severity, and the count
        of the alarm's transitions.
    shelved_until, one_shot
        Until when it is shelved (ns UTC, wall time), and whether it is so only until it clears.
    out_of_service
        Taken out by somebody, until somebody puts it back.
    acknowledged_by
        Who has seen it.
    action_seq
        Count of the alarm's actions.
    held
        Why its transitions are gathered instead of told one by one: ``chattering`` or ``flood``; empty where they are
        told (`tsad.annunciation`).
    raised
        Its newest times of raising, ns UTC, as far as they are needed to tell chattering.
    seen_at, told_at, reminders
        Wall time of its newest transition and of the newest telling, ns UTC, and how often its episode was told again;
        kept where something depends on them.
    suppressed_until, suppressed_for
        Until when (event time, ns UTC) its episode is suppressed by design, because it was raised in maintenance, and
        the reason of that.
    """

    alarm_id: str
    stream: str
    asset: str
    active: bool
    acknowledged: bool
    episode_id: str
    started: int
    changed: int
    severity: str
    transition_seq: int
    shelved_until: int | None = None
    one_shot: bool = False
    out_of_service: bool = False
    acknowledged_by: str | None = None
    action_seq: int = 0
    held: str = ""
    raised: tuple[int, ...] = ()
    seen_at: int | None = None
    told_at: int | None = None
    reminders: int = 0
    suppressed_until: int | None = None
    suppressed_for: str = ""

    @property
    def state(self) -> ConditionState:
        """The state that counts: being kept quiet comes before what is beneath it."""
        if self.out_of_service:
            return "out_of_service"
        if self.suppressed_until is not None:
            return "suppressed_by_design"
        if self.shelved_until is not None:
            return "shelved"
        if self.active:
            return "active_acknowledged" if self.acknowledged else "active_unacknowledged"
        return "normal" if self.acknowledged else "returned_unacknowledged"

    @property
    def announces(self) -> bool:
        """Whether transitions are told to receivers."""
        return not (self.out_of_service or self.shelved_until is not None or self.held) and not self.suppressed

    @property
    def fires(self) -> bool:
        """Whether receivers that are told states, not steps, are told that it stands.

        One that chatters stands for as long as it does so, whichever way it is just now.
        """
        if self.held == "chattering":
            return replace(self, held="").announces
        return self.active and self.announces

    @property
    def suppressed(self) -> bool:
        """Whether it is kept quiet because of maintenance."""
        return self.suppressed_until is not None

    @property
    def waits_for_somebody(self) -> bool:
        """Whether it stands, nobody has seen it, and people have not silenced it."""
        return self.state == "active_unacknowledged"


def after_transition(condition: AlarmCondition | None, transition: AlarmTransition) -> AlarmCondition:
    """Return the condition after what the engine decided.

    A new episode needs a new acknowledgement. One that clears unseen waits for it (it latches). A one-shot shelving
    ends with the clearing.
    """
    active = transition.state == "active"
    known = condition or AlarmCondition(
        transition.alarm_id, transition.stream, transition.asset, active=False, acknowledged=True,
        episode_id=transition.episode_id, started=transition.started, changed=transition.time,
        severity=transition.severity, transition_seq=0,
    )  # fmt: skip
    fresh = active and (not known.active or known.episode_id != transition.episode_id)
    ends = not active and known.one_shot
    return replace(
        known,
        active=active,
        acknowledged=False if fresh else known.acknowledged,
        acknowledged_by=None if fresh else known.acknowledged_by,
        episode_id=transition.episode_id,
        started=transition.started,
        changed=transition.time,
        severity=transition.severity,
        transition_seq=transition.transition_seq,
        reminders=0 if fresh else known.reminders,
        shelved_until=None if ends else known.shelved_until,
        one_shot=False if ends else known.one_shot,
    )


def suppressed(
    before: AlarmCondition | None, after: AlarmCondition, transition: AlarmTransition, cover: MaintenanceCover | None
) -> AlarmCondition:
    """Return the condition after a transition, as maintenance has it.

    An episode that is raised in maintenance is suppressed by design; what stood before goes on being told. One that
    clears meanwhile waits for nobody.

    Parameters
    ----------
    before, after
        How the alarm stood, and stands by the engine and by people alone.
    transition, cover
        What happened, and the maintenance at its time.
    """
    fresh = transition.state == "active" and (before is None or not before.active)
    if fresh and cover is not None:
        return replace(after, suppressed_until=cover.until, suppressed_for=cover.reason)
    if fresh or after.suppressed_until is None:
        return replace(after, suppressed_until=None, suppressed_for="")
    if transition.state == "active":
        return after
    return replace(after, acknowledged=True)


def unsuppressed(condition: AlarmCondition) -> AlarmCondition:
    """The same, when maintenance is over."""
    return replace(condition, suppressed_until=None, suppressed_for="", action_seq=condition.action_seq + 1)


def expired(condition: AlarmCondition, now: int) -> bool:
    """Whether the shelving of an alarm is over."""
    return condition.shelved_until is not None and condition.shelved_until <= now


def after_action(
    condition: AlarmCondition, action: Action, now: int, limits: AlarmPolicyLimits | None = None
) -> AlarmCondition:
    """Return the condition after an operator's action.

    An alarm that is put back, or whose shelving ends, while it is active has to be seen again.

    Raises
    ------
    ActionRefusedError
        There is nothing to acknowledge, unshelve or put back; a reason, a name or a time is missing; shelving would
        last longer than the limit; or the action is unknown.
    """
    if action.kind not in get_args(ActionKind):
        raise ActionRefusedError(
            f"action {action.kind!r} does not exist; choose one of {', '.join(get_args(ActionKind))}"
        )
    if not action.by.strip():
        raise ActionRefusedError(f"{action.kind}: say who does it")
    what = f"alarm of {condition.asset} in {condition.stream}"
    counted = replace(condition, action_seq=condition.action_seq + 1)
    if action.kind == "acknowledge":
        if condition.acknowledged:
            by = f"; {condition.acknowledged_by} has done so" if condition.acknowledged_by else ""
            raise ActionRefusedError(f"the {what} has nothing to acknowledge{by}")
        return replace(counted, acknowledged=True, acknowledged_by=action.by)
    if action.kind == "shelve":
        return replace(
            counted, shelved_until=_until(action, now, limits or AlarmPolicyLimits()), one_shot=action.one_shot
        )
    if action.kind in {"unshelve", "expire"}:
        if condition.shelved_until is None:
            raise ActionRefusedError(f"the {what} is not shelved")
        return _announced_again(replace(counted, shelved_until=None, one_shot=False))
    if action.kind == "take_out_of_service":
        _need_reason(action)
        if condition.out_of_service:
            raise ActionRefusedError(f"the {what} is out of service already")
        return replace(counted, out_of_service=True)
    if action.kind == "return_to_service":
        if not condition.out_of_service:
            raise ActionRefusedError(f"the {what} is in service")
        return _announced_again(replace(counted, out_of_service=False))
    if action.kind == "comment":
        _need_reason(action)
        return counted
    if action.label not in get_args(Label):
        raise ActionRefusedError(f"label is {action.label!r}; choose one of {', '.join(get_args(Label))}")
    return counted


def _until(action: Action, now: int, limits: AlarmPolicyLimits) -> int:
    _need_reason(action)
    if action.until is None or action.until <= now:
        raise ActionRefusedError("shelve: say until when, a time to come")
    if action.until - now > limits.longest_shelving:
        raise ActionRefusedError(
            f"shelve: {(action.until - now) / _HOUR_NS:.3g} hours are more than the "
            f"{limits.longest_shelving / _HOUR_NS:.3g} that are allowed; shelve for less, or take it out of service"
        )
    return action.until


def _need_reason(action: Action) -> None:
    if not action.comment.strip():
        raise ActionRefusedError(f"{action.kind}: say why")


def _announced_again(condition: AlarmCondition) -> AlarmCondition:
    return replace(condition, acknowledged=False, acknowledged_by=None) if condition.active else condition
