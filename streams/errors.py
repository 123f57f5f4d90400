"""The errors of the daemon.

StreamsError
├── ConfigurationFileError   the configuration cannot be read or is wrong; nothing was started
├── StateMismatchError       the stored state belongs to other settings
├── AlarmNotFoundError       an alarm is asked for that there is not
└── InboxFullError           records come through the HTTP door faster than they are stored
"""

__all__ = ["AlarmNotFoundError", "ConfigurationFileError", "InboxFullError", "StateMismatchError", "StreamsError"]


class StreamsError(Exception):
    """Base of every error that `streams` raises on purpose."""


class ConfigurationFileError(StreamsError, ValueError):
    """The configuration is wrong. The message has a line for each problem, with the key and what would be right."""


class StateMismatchError(StreamsError):
    """The state in the history was made with other settings, and cannot be continued."""


class AlarmNotFoundError(StreamsError):
    """There is no such alarm."""


class InboxFullError(StreamsError):
    """Records come faster than they are stored; nothing was taken."""
