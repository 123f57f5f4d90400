"""What of the alarms is told one by one and what is gathered, decided transition by transition."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tsad.alarms import AlarmTransition
from tsad.annunciation import AnnunciationSettings, Flood, Raise, chatters, group_of
from tsad.lifecycle import AlarmCondition

__all__ = ["Judgement", "calmed", "due_again", "judged", "released"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of one transition.

    Attributes
    ----------
    condition
        How the alarm stands then.
    told
        Whether receivers are told of it.
    began_to_chatter
        Whether the alarm was found to chatter just now.
    flood
        What is known of floods then.
    """

    condition: AlarmCondition
    told: bool
    began_to_chatter: bool
    flood: Flood


def judged(
    before: AlarmCondition | None,
    after: AlarmCondition,
    transition: AlarmTransition,
    flood: Flood,
    settings: AnnunciationSettings,
) -> Judgement:
    """Judge a transition; a flood that is over by its time was ended before.

    Parameters
    ----------
    before, after
        How the alarm stood, and stands by the engine and by people alone.
    transition, flood, settings
        What happened, what is known of floods, and what is gathered.
    """
    if transition.state == "active" and (before is None or not before.active):
        return _raised(before, after, transition, flood, settings)
    return Judgement(after, after.announces, began_to_chatter=False, flood=flood)


def _raised(
    before: AlarmCondition | None,
    after: AlarmCondition,
    transition: AlarmTransition,
    flood: Flood,
    settings: AnnunciationSettings,
) -> Judgement:
    began = False
    chattering = settings.chattering
    if chattering is not None:
        times = (*after.raised, transition.time)[-chattering.times :]
        calm = before is not None and transition.time - before.changed >= chattering.calm * 1e9
        held = "" if after.held == "chattering" and calm else after.held
        if held != "chattering" and chatters(times, chattering):
            held, began = "chattering", True
        after = replace(after, raised=times, held=held)
    # What people silenced, or what chatters, is no new burden to them.
    quiet = after.out_of_service or after.shelved_until is not None or after.suppressed or after.held == "chattering"
    if settings.flood is None or quiet:
        return Judgement(after, after.announces, began, flood)
    raised = Raise(
        transition.time, transition.alarm_id, transition.asset, group_of(transition.stream, transition.asset)
    )
    flood, told = flood.after(raised, settings.flood)
    return Judgement(replace(after, held="" if told else "flood"), told, began, flood)


def calmed(conditions: Iterable[AlarmCondition], now: int, settings: AnnunciationSettings) -> list[AlarmCondition]:
    """Chattering alarms that have been quiet for long enough by the clock (wall time, ns)."""
    if settings.chattering is None:
        return []
    calm = round(settings.chattering.calm * 1e9)
    return [one for one in conditions if one.held == "chattering" and now - (one.seen_at or 0) >= calm]


def due_again(conditions: Iterable[AlarmCondition], now: int, settings: AnnunciationSettings) -> list[AlarmCondition]:
    """Alarms that stand, were told, and nobody has acknowledged for so long that they are told again."""
    re_alarm = settings.re_alarm
    if re_alarm is None:
        return []
    after = round(re_alarm.after * 1e9)
    return [
        one
        for one in conditions
        if one.waits_for_somebody
        and not one.held
        and one.told_at is not None
        and now - one.told_at >= after
        and one.reminders < re_alarm.times
    ]


def released(condition: AlarmCondition) -> AlarmCondition:
    """The same, told one by one again."""
    return replace(condition, held="", raised=(), action_seq=condition.action_seq + 1)
