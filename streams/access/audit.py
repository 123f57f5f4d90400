"""What was done or refused at the HTTP door: a table that only grows, and the same in the service's log."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import duckdb
import structlog

from connectors.history.database import History

__all__ = ["AuditLog"]

_log = structlog.get_logger("tsad.audit")


class AuditLog:
    """Writes down who did what, from where, and how it was answered.

    Parameters
    ----------
    history
        The open history file.
    now
        The wall clock.
    """

    def __init__(self, history: History, now: Callable[[], datetime]) -> None:
        self._history = history
        self._now = now

    def record(self, principal: str | None, address: str, method: str, path: str, status: int, detail: str) -> None:
        """Write one entry. Where the file cannot be written the log has it all the same, and says so."""
        told = {"principal": principal, "address": address, "method": method, "path": path[:500], "status": status}
        _log.info("request", **told, detail=detail)
        try:
            self._history.record_audit(self._now().astimezone(UTC).replace(tzinfo=None), *told.values(), detail[:500])
        except duckdb.Error as error:
            _log.error("the audit log could not be written", problem=str(error), **told)

    def newest(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries first."""
        with self._history.cursor() as cursor:
            cursor.execute('SELECT * FROM audit_log ORDER BY "time" DESC, rowid DESC LIMIT ?', [limit])
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
