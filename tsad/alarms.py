"""Alarms: episodes that need a person, with what they are about, as deterministic records."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from tsad.quality.faults import MaskedChannel, SensorFault

__all__ = [
    "ANOMALY_RULE",
    "EVENT_RULE",
    "PART_RULE",
    "SEVERITIES",
    "SILENCE_RULE",
    "AlarmBook",
    "AlarmTransition",
    "Contribution",
    "OddAttribute",
    "PartEvidence",
    "Verdict",
    "stable_id",
]

ANOMALY_RULE = "anomaly"
SILENCE_RULE = "silence"
EVENT_RULE = "event"
PART_RULE = "part"
"""What an alarm is about: how an asset behaves, that it has stopped reporting, odd categorical events, or a part."""

SEVERITIES = ("low", "medium", "high", "critical")
"""By how many powers of ten the episode is rarer than the accepted rate: less than one, one, two, three and more."""

# By rule, or by what it begins with up to a slash.
_CLOSING: dict[str, "Kind"] = {
    SILENCE_RULE: "stream.resumed",
    PART_RULE: "part.closed",
    "sensor": "sensor.cleared",
    "comms": "comms.restored",
}
_OPENS = frozenset({"alarm.raised", "stream.silent", "part.flagged", "sensor.fault", "comms.lost"})
_CLOSES = frozenset(
    {"alarm.cleared", "stream.resumed", "part.released", "part.closed", "sensor.cleared", "comms.restored"}
)
State = Literal["normal", "active"]
Kind = Literal[
    "alarm.raised", "alarm.updated", "alarm.cleared", "stream.silent", "stream.resumed",
    "part.flagged", "part.amended", "part.released", "part.closed", "sensor.fault", "sensor.cleared", "comms.lost",
    "comms.restored",
]  # fmt: skip


def stable_id(prefix: str, *parts: object) -> str:
    """An identifier that is the same on every run over the same data.

    Examples
    --------
    >>> stable_id("alm", "pumps", "pump-1") == stable_id("alm", "pumps", "pump-1")
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return f"{prefix}_{blake2b(text.encode(), digest_size=12).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One channel's part in an alarm; `share` of all channels sums to 1, values are in the channel's own unit."""

    channel: str
    share: float
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    direction: Literal["high", "low", "within", "unknown"]


@dataclass(frozen=True, slots=True)
class OddAttribute:
    """One attribute's part in an odd event; `expected` are likelier values, each with its probability where known."""

    attribute: str
    share: float
    observed: str
    unseen: bool
    expected: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one detector said of the row."""

    detector: str
    score: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class PartEvidence:
    """What is known of a part, and how it was judged.

    Attributes
    ----------
    part_id
        Which.
    final
        Nothing more is waited for.
    flagged
        The verdict, which may be amended until it is final.
    method, dependence
        Rule of combination, and the largest correlation between the streams that it reckons with (None: not known).
    decided_by
        The stream with the smallest p-value.
    missing, uncalibrated
        Streams that said nothing, and those whose model version has no calibration yet.
    station, channel, began
        Where in the process the part was oddest, and when (event time, ns UTC); None where the process was not odd.
    shared_by
        How many parts share the evidence of the process, as those of one batch do.
    closer_imaging
        The process alone asks for a closer look.
    """

    part_id: str
    final: bool
    flagged: bool
    method: str
    dependence: float | None
    decided_by: str | None
    missing: tuple[str, ...]
    uncalibrated: tuple[str, ...]
    station: str | None
    channel: str | None
    began: int | None
    shared_by: int
    closer_imaging: bool


@dataclass(frozen=True, slots=True)
class AlarmTransition:
    """One step in the life of an alarm.

    Times are event times, ns UTC. `transition_seq` counts the transitions of the alarm over all its episodes, so that
    a receiver can tell which of two is newer. `one_in_days` is how rare an episode this odd is when all is well.
    `fault` is what is wrong with a sensor, `masked` which channels had no part in the scores of the row.
    `nearest_normal` is the event time of the normal window that is most like what was seen, by a detector that compares
    with the past.
    """

    kind: Kind
    alarm_id: str
    episode_id: str
    transition_seq: int
    stream: str
    asset: str
    state: State
    previous_state: State
    severity: str
    time: int
    started: int
    score: float | None
    threshold: float | None
    p_value: float | None
    one_in_days: float | None
    contributions: tuple[Contribution, ...]
    verdicts: tuple[Verdict, ...]
    partition: int
    offset: int
    attributes: tuple[OddAttribute, ...] = ()
    part: PartEvidence | None = None
    fault: SensorFault | None = None
    masked: tuple[MaskedChannel, ...] = ()
    nearest_normal: int | None = None


class AlarmBook:
    """Numbers the episodes of a stream's assets and their transitions.

    Identities depend on stream, asset and event time alone, so a replay gives the same ones and receivers can drop
    what they have seen.
    """

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._open: dict[str, dict[str, Any]] = {}
        self._counts: dict[str, int] = {}

    def alarm_id(self, asset: str, rule: str) -> str:
        """Identity of the alarm of `asset` by `rule` over all its episodes."""
        return stable_id("alm", self._stream, rule, asset)

    def is_active(self, asset: str, rule: str) -> bool:
        """Whether an episode is open."""
        return self.alarm_id(asset, rule) in self._open

    def step(
        self,
        kind: Kind,
        asset: str,
        rule: str,
        time: int,
        position: tuple[int, int],
        *,
        severity: str,
        details: Mapping[str, Any] | None = None,
    ) -> AlarmTransition:
        """Enter a transition and return its record.

        Parameters
        ----------
        kind, asset, rule, time
            What happened to which alarm, and when (event time, ns UTC).
        position
            Partition and offset of the record that caused it.
        severity
            One of `SEVERITIES`; an episode keeps the highest it has reached.
        details
            `score`, `threshold`, `p_value`, `one_in_days`, `contributions`, `verdicts`, `attributes`, `part`,
            `fault`, `masked`, `nearest_normal`.
        """
        alarm_id = self.alarm_id(asset, rule)
        opens = kind in _OPENS
        if opens:
            episode: dict[str, Any] = {
                "id": stable_id("epi", alarm_id, time),
                "asset": asset,
                "rule": rule,
                "started": time,
                "severity": severity,
            }
            self._open[alarm_id] = episode
        else:
            episode = self._open[alarm_id]
            if SEVERITIES.index(severity) > SEVERITIES.index(episode["severity"]):
                episode["severity"] = severity
        self._counts[alarm_id] = self._counts.get(alarm_id, 0) + 1
        closes = kind in _CLOSES
        if closes:
            del self._open[alarm_id]
        return AlarmTransition(
            kind=kind,
            alarm_id=alarm_id,
            episode_id=episode["id"],
            transition_seq=self._counts[alarm_id],
            stream=self._stream,
            asset=asset,
            state="normal" if closes else "active",
            previous_state="normal" if opens else "active",
            severity=episode["severity"],
            time=time,
            started=episode["started"],
            partition=position[0],
            offset=position[1],
            **{
                "score": None,
                "threshold": None,
                "p_value": None,
                "one_in_days": None,
                "contributions": (),
                "verdicts": (),
                **(details or {}),
            },
        )

    def close_all(self, time: int) -> list[AlarmTransition]:
        """End every open episode, e.g. because what raised it is learnt anew."""
        return [
            self.step(
                _CLOSING.get(episode["rule"].partition("/")[0], "alarm.cleared"),
                episode["asset"],
                episode["rule"],
                max(time, episode["started"]),
                (-1, -1),
                severity=episode["severity"],
            )
            for episode in list(self._open.values())
        ]

    def forget(self, asset: str, rule: str) -> None:
        """Drop what is known of an alarm that will not come again, such as a part's."""
        alarm_id = self.alarm_id(asset, rule)
        self._open.pop(alarm_id, None)
        self._counts.pop(alarm_id, None)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        return {"open": {key: dict(value) for key, value in self._open.items()}, "counts": dict(self._counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored state."""
        self._open = {key: dict(value) for key, value in state["open"].items()}
        self._counts = dict(state["counts"])
