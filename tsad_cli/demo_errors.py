"""What can go wrong in the demonstration, as one small tree."""

__all__ = ["DemoError", "ProcessFailedError"]


class DemoError(Exception):
    """The demonstration cannot go on; the message says what to do."""


class ProcessFailedError(DemoError):
    """A process that the demonstration started ended by itself or did not answer; the message ends with its log."""
