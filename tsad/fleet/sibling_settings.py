"""Which assets of a stream are compared with each other, and how that is alarmed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from math import ceil
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from tsad.setting_types import Frozen
from tsad.settings import AlarmSettings

__all__ = ["DETECTOR", "ENOUGH", "SiblingSettings", "SiblingStream", "common_name"]

DETECTOR = "siblings"
"""Who says it, in scores and alarms."""
ENOUGH = 0.8
"""Share of the training steps that an asset must have rows of, to be learnt with its group."""

_WILD = re.compile(r"[*?]")


class SiblingSettings(Frozen):
    """Groups of like assets, each of which is judged against the others of its group."""

    groups: Mapping[str, tuple[str, ...]] = Field(
        min_length=1, description="by name the assets of each group, with * and ?; at least four are compared"
    )
    train_rows: int = Field(default=600, ge=80, description="steps from which is learnt how assets follow their group")
    wait_rows: int = Field(
        default=5, ge=0, description="an asset this many steps behind the others is waited for no longer"
    )
    alarm: AlarmSettings = AlarmSettings()

    @field_validator("groups", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: (given,) if isinstance(given, str) else given for name, given in value.items()}

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for name, patterns in self.groups.items():
            if not patterns or not all(patterns):
                raise ValueError(f"groups.{name} names no assets")
        given = [(name, pattern) for name, patterns in self.groups.items() for pattern in patterns]
        plain: dict[str, str] = {}
        for name, pattern in given:
            if not _WILD.search(pattern) and plain.setdefault(pattern, name) != name:
                raise ValueError(f"groups {plain[pattern]!r} and {name!r} both hold the asset {pattern!r}")
        for place, (name, pattern) in enumerate(given):
            for other, second in given[:place]:
                if other == name or not (_WILD.search(pattern) or _WILD.search(second)):
                    continue
                both = common_name(pattern, second)
                if both is not None:
                    raise ValueError(
                        f"groups {other!r} ({second!r}) and {name!r} ({pattern!r}) would both hold an asset "
                        f"called {both!r}; an asset has one group"
                    )
        return self

    def matchers(self) -> list[re.Pattern[str]]:
        """By group, what the names of its assets match."""
        return [re.compile("|".join(map(_expression, patterns))) for patterns in self.groups.values()]


def _expression(pattern: str) -> str:
    # A bracket is part of a name, not a set of characters.
    return translate(pattern.replace("[", "[[]"))


def common_name(first: Sequence[str], second: Sequence[str]) -> str | None:
    """A name that matches both patterns, of characters, ``*`` and ``?``; None where there is none.

    Examples
    --------
    >>> common_name("rack-1/*", "*/node-?"), common_name("rack-1/*", "rack-2/*")
    ('rack-1/node-x', None)
    """

    @cache
    def met(i: int, j: int) -> str | None:
        if i == len(first) and j == len(second):
            return ""
        a, b = (first[i] if i < len(first) else ""), (second[j] if j < len(second) else "")
        if a == "*" or b == "*":
            # A star ends here, or takes in what the other pattern asks for next.
            here, there = ((i + 1, j), (i, j + 1)) if a == "*" else ((i, j + 1), (i + 1, j))
            found = met(*here)
            taken = b if a == "*" else a
            if found is not None or not taken:
                return found
            rest = met(*there)
            return None if rest is None else {"*": "", "?": "x"}.get(taken, taken) + rest
        if not a or not b or (a != b and "?" not in (a, b)):
            return None
        rest = met(i + 1, j + 1)
        letter = b if a == "?" else a
        return None if rest is None else ("x" if letter == "?" else letter) + rest

    return met(0, 0)


@dataclass(frozen=True, slots=True)
class SiblingStream:
    """The derived stream of what siblings say of the assets of one stream.

    Attributes
    ----------
    name
        Its own.
    step
        Of the time grid, seconds.
    siblings
        Who is compared, and how.
    channels
        Those that all assets have; None: every asset brings its own.
    max_ahead
        Seconds by which an asset's clock may be fast.
    """

    name: str
    step: float
    siblings: SiblingSettings
    channels: tuple[str, ...] | None = None
    max_ahead: float = 300.0

    @property
    def alarm(self) -> AlarmSettings:
        """When alarms are raised and cleared."""
        return self.siblings.alarm

    @property
    def rows_per_day(self) -> float:
        """Steps in a day."""
        return 86400.0 / self.step

    @property
    def ahead_rows(self) -> int:
        """Steps by which fewer than four assets may be in front of the others."""
        return ceil(self.max_ahead / self.step) + self.siblings.wait_rows

    def check(self) -> None:
        """Refuse settings that cannot work together.

        Raises
        ------
        ValueError
            An off-delay leaves too few rows to calibrate on.
        """
        gap = self.alarm.policy(self.step).off_delay_rows
        needed = ceil((2 * gap + 1) / ENOUGH)
        if self.siblings.train_rows < needed:
            raise ValueError(
                f"siblings.train_rows is {self.siblings.train_rows}; an off_delay of {gap} steps needs {needed} or more"
            )
