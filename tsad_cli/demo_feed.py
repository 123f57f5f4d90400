"""What the demonstration publishes, and what it expects to be told of: the same for simulated and recorded plants."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ACCESS",
    "ACCESS_STREAM",
    "DEAD_LETTERS",
    "GENEALOGY",
    "INSPECTION",
    "LINE",
    "LINE_STREAMS",
    "NANOSECONDS",
    "NODES",
    "PUMPS",
    "Defect",
    "Feed",
    "Outgoing",
    "Planted",
]

NANOSECONDS = 1_000_000_000

PUMPS, NODES, ACCESS = "plant.pumps", "plant.nodes", "plant.access"
LINE, GENEALOGY, INSPECTION = "plant.line", "plant.genealogy", "inspection.results"
DEAD_LETTERS = "plant.dead-letters"
ACCESS_STREAM = "access"
LINE_STREAMS = ("line", "genealogy", "inspection")
"""Names of the streams of process, genealogy and images of the inspection line."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be published.

    Attributes
    ----------
    topic, key, value
        As they go to Kafka.
    time : int
        Event time, nanoseconds UTC.
    """

    topic: str
    key: bytes
    value: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Planted:
    """Something that was put into the data, or labelled in it, and that an alarm should tell of.

    Attributes
    ----------
    kind : str
        Kind of fault; ``labelled anomaly`` in a recording.
    asset : str
        Where.
    channels : tuple of str
        Channels that it touches; empty where that is not known.
    start, end : int
        Event times ``start <= time < end``, nanoseconds UTC.
    severity : float or None
        Size in units of the local noise; None where that has no meaning.
    step : int
        Nanoseconds between the asset's rows.
    silence : bool
        The asset stops reporting: the alarm to come is `stream.silent`.
    """

    kind: str
    asset: str
    channels: tuple[str, ...]
    start: int
    end: int
    severity: float | None
    step: int
    silence: bool = False


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong with a part (empty: nothing), and at which station that began (None: not in the process)."""

    kind: str
    station: str | None


@dataclass(frozen=True, slots=True)
class Feed:
    """Everything for one run.

    Attributes
    ----------
    title : str
        What is published, for the screen.
    streams : sequence of mapping
        The section `streams` of the daemon's configuration.
    topics : tuple of str
        Topics to create.
    records : sequence of Outgoing
        In order of event time.
    planted : sequence of Planted
        What should be told.
    start, end : int
        Event times ``start <= time < end`` of the records, nanoseconds UTC.
    training_end : int
        Event time up to which the series are learnt, nanoseconds UTC.
    scored_days : float
        Days of event time that are scored, over all assets; what a budget of false alarms a day is counted against.
    false_alarms_per_day : float
        The budget of each asset.
    series : int
        Series that will be learnt.
    strict : bool
        Whether a planted fault that is missed fails the demonstration.
    odd_events : mapping
        Why each planted odd access event is one, by event time and user.
    defects : mapping
        The truth about the parts of the inspection line that count, by part id.
    """

    title: str
    streams: Sequence[Mapping[str, Any]]
    topics: tuple[str, ...]
    records: Sequence[Outgoing]
    planted: Sequence[Planted]
    start: int
    end: int
    training_end: int
    scored_days: float
    false_alarms_per_day: float
    series: int
    strict: bool
    odd_events: Mapping[tuple[int, str], str] = dataclasses.field(default_factory=dict)
    defects: Mapping[str, Defect] = dataclasses.field(default_factory=dict)

    def joined(self, later: "Feed") -> "Feed":
        """Return the feed and the one that goes on after it, as one; records are left to each."""
        return dataclasses.replace(
            self,
            records=(),
            planted=(*self.planted, *later.planted),
            odd_events={**self.odd_events, **later.odd_events},
            defects={**self.defects, **later.defects},
            end=later.end,
            scored_days=self.scored_days + later.scored_days,
        )

    def until(self, time: int) -> "Feed":
        """Return the feed as if it had been planned to end at an event time: faults that end later are left out."""
        if time >= self.end:
            return self
        left = (time - self.training_end) / (self.end - self.training_end)
        return dataclasses.replace(
            self,
            planted=tuple(fault for fault in self.planted if fault.end <= time),
            end=time,
            scored_days=self.scored_days * max(left, 0.0),
        )
