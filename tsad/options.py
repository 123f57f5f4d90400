"""Detectors made from their options by name, for every registry of detectors."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from tsad.errors import ConfigurationError

__all__ = ["made_with", "options_of"]

Made = TypeVar("Made")


def options_of(kind: type) -> dict[str, Any]:
    """Return the options of a class with their defaults: the parameters of its constructor."""
    return {key: parameter.default for key, parameter in inspect.signature(kind).parameters.items()}


def made_with(what: str, kind: type[Made], options: Mapping[str, Any] | None) -> Made:
    """Make one with options.

    Parameters
    ----------
    what
        How messages call it, for example ``detector 'robust'``.
    kind, options
        Its class, and options by name.

    Raises
    ------
    ConfigurationError
        It has no such option, or an option's value is wrong.
    """
    chosen, known = dict(options or {}), options_of(kind)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise ConfigurationError(f"{what} has no option {unknown[0]!r}; it has {', '.join(known)}")
    try:
        return kind(**chosen)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what}: {error}") from error
