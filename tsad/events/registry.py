"""The one place where event detectors are found by name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tsad.errors import ConfigurationError
from tsad.events.base import EventDetector
from tsad.options import made_with, options_of

__all__ = ["create_event_detector", "event_detector_class", "event_detector_names", "event_detector_options"]

# Modules are imported when their detector is asked for, for the sake of torch and scikit-learn.
_CLASSES = {
    "ape": ("tsad.events.ape", "ApeDetector"),
    "rarity": ("tsad.events.rarity", "RarityDetector"),
    "marginal": ("tsad.events.marginal", "MarginalDetector"),
    "pairwise-conditional": ("tsad.events.pairwise", "PairwiseConditionalDetector"),
    "isolation-forest": ("tsad.events.isolation_forest", "EventIsolationForestDetector"),
}


def event_detector_names() -> tuple[str, ...]:
    """Names of all event detectors."""
    return tuple(_CLASSES)


def event_detector_class(name: str) -> type[EventDetector]:
    """The event detector called `name`.

    Raises
    ------
    ConfigurationError
        There is none; the message lists those that exist.
    """
    try:
        module, attribute = _CLASSES[name]
    except KeyError:
        raise ConfigurationError(f"there is no event detector {name!r}; there are {', '.join(_CLASSES)}") from None
    found: type[EventDetector] = getattr(import_module(module), attribute)
    return found


def event_detector_options(name: str) -> dict[str, Any]:
    """Options of an event detector with their defaults."""
    return options_of(event_detector_class(name))


def create_event_detector(name: str, options: Mapping[str, Any] | None = None) -> EventDetector:
    """Make an event detector.

    Raises
    ------
    ConfigurationError
        No detector has this name, or it has no such option, or an option's value is wrong.

    Examples
    --------
    >>> create_event_detector("marginal", {"half_life": 10_000}).name
    'marginal'
    """
    return made_with(f"event detector {name!r}", event_detector_class(name), options)
