"""The errors of the engine and its detectors.

TsadError
├── ConfigurationError    a setting is wrong; nothing was started
├── NotEnoughDataError    too few rows to fit on (also a ValueError)
├── SnapshotError         a stored state cannot be continued from
└── StoppedError          a long work was broken off because somebody stops the whole
"""

__all__ = ["ConfigurationError", "NotEnoughDataError", "SnapshotError", "StoppedError", "TsadError"]


class TsadError(Exception):
    """Base of every error that `tsad` raises on purpose."""


class ConfigurationError(TsadError, ValueError):
    """A setting is wrong. The message names the key, the value and what would be right."""


class NotEnoughDataError(TsadError, ValueError):
    """Too few usable rows to fit on. The message names the rows needed and the rows there."""


class StoppedError(TsadError):
    """What was asked for was broken off, because somebody stops the whole."""


class SnapshotError(TsadError):
    """A stored state is of another format, layout or detector, or is damaged."""
