"""The errors of the connectors.

ConnectorError
├── BadInspectionError        an inspection record cannot be used
├── ConnectorSettingsError    a setting of a connector is wrong; nothing was started (also a ValueError)
├── HistoryError              the history file cannot be used
│   ├── HistoryLockedError    another process has it open
│   └── HistoryVersionError   another version of this program wrote it
├── SignatureError            a received webhook is not what its sender signed, or is too old
└── UnknownWebhookError       a webhook, or an endpoint, that the outbox does not know (also a LookupError)
"""

__all__ = [
    "BadInspectionError",
    "ConnectorError",
    "ConnectorSettingsError",
    "HistoryError",
    "HistoryLockedError",
    "HistoryVersionError",
    "SignatureError",
    "UnknownWebhookError",
]


class ConnectorError(Exception):
    """Base of every error that `connectors` raises on purpose."""


class BadInspectionError(ConnectorError):
    """An inspection record cannot be used; `reason` is what it is counted under, the message says what is wrong."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ConnectorSettingsError(ConnectorError, ValueError):
    """A setting is wrong. The message names the key, the value (secrets masked) and what would be right."""


class HistoryError(ConnectorError):
    """The history file cannot be opened or written. The message names the file."""


class HistoryLockedError(HistoryError):
    """Another process has the history file open; DuckDB has one writer."""


class HistoryVersionError(HistoryError):
    """The history file has the tables of another version."""


class SignatureError(ConnectorError):
    """A webhook could not be verified. The message says which header failed and why."""


class UnknownWebhookError(ConnectorError, LookupError):
    """The outbox holds no such webhook or endpoint. The message names it."""
