"""Which events an endpoint wants: by type, asset, severity and priority."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.errors import ConnectorSettingsError
from tsad.alarms import SEVERITIES

__all__ = ["Route"]


@dataclass(frozen=True)
class Route:
    """Conditions that must all hold; patterns have `*` and `?`, upper and lower case differ.

    Events about the service itself (`service.*`) have no asset in the plant: for them only the type counts.

    Attributes
    ----------
    event_types : tuple of str
        Patterns of event types.
    assets : tuple of str
        Patterns of asset paths; `north/*` also takes what lies deeper.
    minimum_severity : str
        The least severity. An episode's severity only ever rises, so whoever was told of one is told of its end.
    priorities : tuple of str
        Patterns of priorities.

    Raises
    ------
    ConnectorSettingsError
        A list is empty, or there is no such severity.
    """

    event_types: tuple[str, ...] = ("*",)
    assets: tuple[str, ...] = ("*",)
    minimum_severity: str = SEVERITIES[0]
    priorities: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        for name in ("event_types", "assets", "priorities"):
            if not getattr(self, name):
                raise ConnectorSettingsError(f"routes: {name} is empty; ['*'] asks for all")
        if self.minimum_severity not in SEVERITIES:
            raise ConnectorSettingsError(
                f"routes: minimum_severity {self.minimum_severity!r}: choose one of {', '.join(SEVERITIES)}"
            )

    def takes(self, event_type: str, data: Mapping[str, Any]) -> bool:
        """Return whether an event with this `data` goes this way."""
        if not _any(event_type, self.event_types):
            return False
        if event_type.startswith("service."):
            return True
        severity = data.get("severity", SEVERITIES[0])
        rank = SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)
        return (
            _any(str(data.get("asset", "")), self.assets)
            and rank >= SEVERITIES.index(self.minimum_severity)
            and _any(str(data.get("priority", "")), self.priorities)
        )


def _any(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)
