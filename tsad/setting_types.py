"""What settings are made of: frozen objects, and durations in words."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["Duration", "DurationOrAuto", "Frozen", "parse_duration"]

_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*(ms|s|min|h|d)\s*")


def parse_duration(value: Any) -> Any:
    """Seconds of a duration such as ``500ms``, ``1s``, ``5min``, ``2h`` or ``7d``; numbers are seconds already.

    Examples
    --------
    >>> parse_duration("5min"), parse_duration(2)
    (300.0, 2)
    """
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError(f"{value!r} is not a duration; write a number with ms, s, min, h or d, e.g. 5min")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
"""Seconds; in files also ``500ms``, ``1s``, ``5min``, ``2h``, ``7d``."""


def _parse_or_auto(value: Any) -> Any:
    if value is None or value == "auto":
        return value
    seconds = parse_duration(value)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError(f"{value!r} is neither auto nor a duration; write auto, or a number of seconds, or e.g. 5min")
    return float(seconds)


# One validator before the union, so that what is wrong is said once and under the key's own name.
DurationOrAuto = Annotated[float | Literal["auto"], BeforeValidator(_parse_or_auto)]
"""As `Duration`, or ``auto``."""


class Frozen(BaseModel):
    """A settings object: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
