"""What an alarm episode was like, as a few numbers, and how much two episodes are alike.

A signature is made of the episode's transitions alone, so a replay makes the same. Channels enter with their share and
their direction; the shape is how fast the episode grew to its worst.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tsad.alarms import SEVERITIES, AlarmTransition

__all__ = ["EpisodeSignature", "Moment", "moment_of", "signature_of", "similarity"]

_CHANNELS, _DURATION, _SEVERITY, _SHAPE = 0.7, 0.1, 0.1, 0.1
"""Weights of the parts; set by judgement, not fitted to labels."""


@dataclass(frozen=True, slots=True)
class EpisodeSignature:
    """What an episode was like.

    Attributes
    ----------
    shares
        Mean share of ``channel`` and direction over its transitions; an odd event's attributes stand for channels.
    duration
        Seconds; None while it goes on.
    severity
        0 to 3, the highest it reached.
    growth
        Share of its duration after which it was at its worst; 0 where it was from the start, or goes on.
    """

    shares: Mapping[str, float]
    duration: float | None
    severity: int
    growth: float

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Moment:
    """What one transition tells of its episode; times in ns UTC, `shares` by channel and direction, or attribute."""

    time: int
    started: int
    active: bool
    severity: str
    shares: tuple[tuple[str, float], ...]


def moment_of(transition: AlarmTransition) -> Moment:
    """What a transition tells of its episode."""
    shares = [(f"{c.channel} {c.direction}", c.share) for c in transition.contributions]
    shares += [(a.attribute, a.share) for a in transition.attributes]
    return Moment(transition.time, transition.started, transition.state == "active", transition.severity, tuple(shares))


def signature_of(moments: Sequence[Moment]) -> EpisodeSignature:
    """What the transitions of one episode, in order, say that it was like."""
    shares: dict[str, float] = {}
    for moment in moments:
        if moment.active:  # what is left at the end is not what it was about
            for key, share in moment.shares:
                shares[key] = shares.get(key, 0.0) + share
    total = sum(shares.values())
    first, last = moments[0], moments[-1]
    length = (last.time - first.started) / 1e9
    levels = [SEVERITIES.index(one.severity) for one in moments]
    worst = moments[levels.index(max(levels))]
    over = not last.active
    growth = (worst.time - first.started) / 1e9 / length if over and length > 0 else 0.0
    return EpisodeSignature(
        {key: round(value / total, 6) for key, value in sorted(shares.items())} if total > 0 else {},
        length if over else None,
        max(levels),
        round(growth, 6),
    )


def similarity(one: EpisodeSignature, other: EpisodeSignature) -> float:
    """How much two episodes are alike, 0 to 1: the cosine of their shares, then duration, severity and shape.

    What one of them does not have yet, because it goes on, is left out, and the rest weighs the more.

    Examples
    --------
    >>> a = EpisodeSignature({"flow high": 0.9, "current low": 0.1}, 60.0, 2, 0.5)
    >>> similarity(a, a), similarity(a, EpisodeSignature({"flow low": 1.0}, 60.0, 2, 0.5)) < 0.31
    (1.0, True)
    """
    parts = [(_CHANNELS, _cosine(one.shares, other.shares)), (_SEVERITY, 1.0 - abs(one.severity - other.severity) / 3)]
    if one.duration is not None and other.duration is not None:
        apart = abs(math.log10(max(one.duration, 1e-3)) - math.log10(max(other.duration, 1e-3)))
        parts += [(_DURATION, max(0.0, 1.0 - apart)), (_SHAPE, 1.0 - abs(one.growth - other.growth))]
    return round(sum(weight * part for weight, part in parts) / sum(weight for weight, _ in parts), 6)


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    if not one and not other:
        return 1.0
    dot = sum(value * other.get(key, 0.0) for key, value in one.items())
    size = math.sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values()))
    return dot / size if size > 0 else 0.0
