"""What became of the odd access events: each planted one against what the daemon said of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

__all__ = ["EventResult", "read_events"]


@dataclass(frozen=True, slots=True)
class EventResult:
    """Access events that were scored.

    Attributes
    ----------
    scored, flagged
        Events, and those that were found odd.
    planted, told
        Odd events by reason: how many were planted, and how many of them found.
    """

    scored: int = 0
    flagged: int = 0
    planted: Mapping[str, int] = field(default_factory=dict)
    told: Mapping[str, int] = field(default_factory=dict)

    @property
    def false(self) -> int:
        """Usual events that were found odd."""
        return self.flagged - sum(self.told.values())

    @property
    def text(self) -> str:
        """One line for the end of the demonstration."""
        kinds = ", ".join(
            f"{reason.replace('_', ' ')} {self.told.get(reason, 0)} of {n}"
            for reason, n in sorted(self.planted.items())
        )
        return (
            f"{self.scored} access events scored: {sum(self.told.values())} of {sum(self.planted.values())} odd ones"
            f" found ({kinds}), {self.false} usual ones found odd."
        )


def read_events(path: Path, odd: Mapping[tuple[int, str], str]) -> EventResult:
    """Read what the daemon said of access events.

    Parameters
    ----------
    path
        The history file; nobody else may have it open for writing.
    odd
        The planted odd events: reason by event time, ns UTC, and user.
    """
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT epoch_ns(time), payload->>'user', odd FROM events WHERE p_value IS NOT NULL"
        ).fetchall()
    planted: Counter[str] = Counter()
    told: Counter[str] = Counter()
    for time, user, flagged in rows:
        reason = odd.get((time, user))
        if reason is not None:
            planted[reason] += 1
            told[reason] += flagged
    return EventResult(len(rows), sum(flagged for *_, flagged in rows), dict(planted), dict(told))
