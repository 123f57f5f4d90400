"""What operators are told one by one, and what is gathered: floods, chattering alarms, reminders, priorities.

The measures are those of ISA-18.2 and IEC 62682: an alarm that comes and goes again and again is chattering, many at
once are a flood, and in a flood the first of each group is what matters (first-out). Times are event time in ns, so the
same transitions in the same order give the same decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field

from tsad.settings import Duration, Frozen

__all__ = [
    "AnnunciationSettings",
    "ChatteringSettings",
    "Flood",
    "FloodGroup",
    "FloodSettings",
    "Priority",
    "PriorityRule",
    "Raise",
    "ReAlarmSettings",
    "chatters",
    "group_of",
    "priority_rule",
]

Priority = Literal["advisory", "low", "medium", "high"]


class ChatteringSettings(Frozen):
    """When an alarm chatters, and when it has calmed down."""

    times: int = Field(default=3, ge=2, description="raised so often…")
    within: Duration = Field(default=60.0, gt=0, description="…within this")
    calm: Duration = Field(default=600.0, gt=0, description="without a transition it is told again")


class FloodSettings(Frozen):
    """When many alarms are a flood, and when it is over."""

    more_than: int = Field(default=10, ge=1, description="alarms raised…")
    within: Duration = Field(default=600.0, gt=0, description="…within this begin a flood")
    ends_below: int = Field(default=5, ge=1, description="raised within the same time end it")


class ReAlarmSettings(Frozen):
    """Telling again what stands and nobody has seen."""

    after: Duration = Field(default=1800.0, gt=0, description="unacknowledged for so long since it was told last")
    times: int = Field(default=3, ge=1, description="of one episode")


class PriorityRule(Frozen):
    """The priority that people gave an alarm when they rationalised it, and what to do about it."""

    streams: tuple[str, ...] = Field(default=("*",), description="names, with * and ?")
    assets: tuple[str, ...] = Field(default=("*",), description="names, with * and ?")
    severities: tuple[Literal["low", "medium", "high", "critical"], ...] = ("low", "medium", "high", "critical")
    priority: Priority
    cause: str = Field(default="", description="what usually is behind it")
    consequence: str = Field(default="", description="what happens when nobody answers")
    response: str = Field(default="", description="what the operator does")
    time_to_respond: Duration | None = None


class AnnunciationSettings(Frozen):
    """What is gathered and told again; nothing by default: every transition is told, once."""

    chattering: ChatteringSettings | None = None
    flood: FloodSettings | None = None
    re_alarm: ReAlarmSettings | None = None
    priorities: tuple[PriorityRule, ...] = Field(default=(), description="the first that fits counts; none: advisory")


def priority_rule(rules: Sequence[PriorityRule], stream: str, asset: str, severity: str) -> PriorityRule | None:
    """The first rule that fits; None where nobody has rationalised the alarm, which then advises.

    Examples
    --------
    >>> rules = [PriorityRule(assets=("line-1/*",), priority="high"), PriorityRule(priority="low")]
    >>> [priority_rule(rules, "pumps", asset, "low").priority for asset in ("line-1/pump", "line-2/pump")]
    ['high', 'low']
    """
    for rule in rules:
        fits = any(fnmatchcase(stream, one) for one in rule.streams) and any(fnmatchcase(asset, a) for a in rule.assets)
        if fits and severity in rule.severities:
            return rule
    return None


def chatters(raised: Sequence[int], settings: ChatteringSettings) -> bool:
    """Whether an alarm with these newest times of raising (ns, in order) chatters.

    Examples
    --------
    >>> second = 10**9
    >>> chatters([0, 30 * second, 59 * second], ChatteringSettings()), chatters([0, 30 * second], ChatteringSettings())
    (True, False)
    """
    newest = raised[-settings.times :]
    return len(newest) == settings.times and newest[-1] - newest[0] <= settings.within * 1e9


def group_of(stream: str, asset: str) -> str:
    """What an asset belongs to: the path above it, or its stream where it has none.

    Examples
    --------
    >>> group_of("pumps", "site/line-1/pump-3"), group_of("pumps", "pump-3")
    ('site/line-1', 'pumps')
    """
    return asset.rpartition("/")[0] or stream


@dataclass(frozen=True, slots=True)
class Raise:
    """An alarm was raised; `time` in ns."""

    time: int
    alarm_id: str
    asset: str
    group: str


@dataclass(frozen=True, slots=True)
class FloodGroup:
    """Alarms of one group in a flood: the first of them, and how many there were."""

    name: str
    first_out: Raise
    count: int


@dataclass(frozen=True, slots=True)
class Flood:
    """What is known of floods: the newest raises, and the one that goes on, if one does.

    Attributes
    ----------
    number
        How many floods there were, this one included.
    newest
        The raises that tell whether one begins or ends, in order.
    since
        Begin of the present one, ns; None when there is none.
    groups
        Its groups, in the order in which they came.
    """

    number: int = 0
    newest: tuple[Raise, ...] = ()
    since: int | None = None
    groups: tuple[FloodGroup, ...] = ()

    @property
    def first_out(self) -> Raise | None:
        """What was raised first in the present flood."""
        return self.groups[0].first_out if self.groups else None

    def ends_at(self, settings: FloodSettings) -> int | None:
        """When the present flood is over if nothing more is raised, ns; None when there is none."""
        if self.since is None:
            return None
        within = round(settings.within * 1e9)
        return (self.newest[-settings.ends_below].time if len(self.newest) >= settings.ends_below else 0) + within

    def ended(self) -> "Flood":
        """The same without the present flood."""
        return replace(self, since=None, groups=())

    def after(self, raised: Raise, settings: FloodSettings) -> tuple["Flood", bool]:
        """Take in a raise; returns what is known then, and whether it is told on its own.

        The caller ends a flood that is over first. Of a flood's raises the first of each group is told.
        """
        newest = (*self.newest, raised)[-max(settings.more_than + 1, settings.ends_below) :]
        if self.since is not None:
            counted = _counted(self.groups, raised)
            return replace(self, newest=newest, groups=counted), len(counted) > len(self.groups)
        many = newest[-settings.more_than - 1 :]
        begins = len(many) > settings.more_than and many[-1].time - many[0].time < settings.within * 1e9
        if not begins:
            return replace(self, newest=newest), True
        groups: tuple[FloodGroup, ...] = ()
        for one in many:
            groups = _counted(groups, one)
        fresh = raised.group not in {one.group for one in many[:-1]}
        return Flood(self.number + 1, newest, many[0].time, groups), fresh

    def as_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Flood":
        """The inverse of `as_dict`."""
        return cls(
            stored["number"],
            tuple(Raise(**one) for one in stored["newest"]),
            stored["since"],
            tuple(FloodGroup(one["name"], Raise(**one["first_out"]), one["count"]) for one in stored["groups"]),
        )


def _counted(groups: tuple[FloodGroup, ...], raised: Raise) -> tuple[FloodGroup, ...]:
    if all(group.name != raised.group for group in groups):
        return (*groups, FloodGroup(raised.group, raised, 1))
    return tuple(replace(group, count=group.count + (group.name == raised.group)) for group in groups)
