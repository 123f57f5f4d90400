"""Figures about the running daemon, for `/metrics`, `/readyz` and the terminal."""

from collections import Counter

from connectors.history.database import Commit

__all__ = ["Statistics"]


class Statistics:
    """Counts of what was committed since the start.

    Attributes
    ----------
    counts
        By ``(stream, name)``: records, rows, alarm transitions, dead letters, everything that the history counts.
    fitted
        Learnt series by stream.
    drifting
        Series whose quiet scores have become larger than when they were learnt, by stream.
    quiet_transitions
        Transitions that were not told to receivers, because their alarm is shelved or out of service.
    commits, records
        Transactions, and the records in them.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.fitted: dict[str, int] = {}
        self.drifting: dict[str, int] = {}
        self.quiet_transitions = 0
        self.commits = 0
        self.records = 0

    def committed(self, commit: Commit) -> None:
        """Take in a successful transaction."""
        self.counts.update(commit.counts)
        self.commits += 1
        self.records += commit.records
