"""The outbox from the command line: over HTTP while the daemon runs, in the file while it does not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from connectors.errors import ConnectorError, HistoryError
from connectors.history.database import History
from connectors.webhooks import DeliveryStatus, Outbox
from streams.access.settings import HttpSettings
from streams.configuration import Configuration
from streams.http_webhooks import ReplayRequest, delivery_as_dict, entry_as_dict, replay
from tsad_cli.daemon_client import ask_at
from tsad_cli.output import fail, give_up

__all__ = ["FileCalls", "HttpCalls"]


class FileCalls:
    """Works on a history that no daemon has open.

    Parameters
    ----------
    configuration
        Names the history, and the endpoints.

    Raises
    ------
    HistoryError
        The file is not there, or cannot be opened.
    """

    def __init__(self, configuration: Configuration) -> None:
        path: Path = configuration.history.path
        if not path.is_file():
            raise HistoryError(f"history {path} is not there; it is made by the first `tsad run`")
        self._endpoints = configuration.endpoints()
        self._history = History(path)

    def newest(self, status: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest deliveries."""
        with self._history as history:
            try:
                chosen = None if status is None else DeliveryStatus(status)
            except ValueError:
                fail("webhooks", f"--status {status}: choose one of {', '.join(DeliveryStatus)}")
            outbox = Outbox(history.cursor, history.write_lock)
            return [entry_as_dict(entry) for entry in outbox.list(status=chosen, limit=limit)]

    def one(self, webhook_id: str) -> dict[str, Any]:
        """One delivery with its attempts."""
        with self._history as history:
            try:
                return delivery_as_dict(Outbox(history.cursor, history.write_lock), webhook_id, self._endpoints)
            except ConnectorError as error:
                give_up("webhooks", error)

    def replay(self, webhook_ids: list[str] | None, endpoint: str | None, since: str | None) -> int:
        """Make deliveries due again; the daemon sends them when it runs next."""
        with self._history as history:
            outbox = Outbox(history.cursor, history.write_lock)
            try:
                request = ReplayRequest.model_validate(
                    {"webhook_ids": webhook_ids, "endpoint": endpoint, "since": since}
                )
                return replay(outbox, self._endpoints, request, datetime.now(UTC))
            except (ValueError, ConnectorError) as error:
                give_up("webhooks", error)


class HttpCalls:
    """Asks the running daemon.

    Parameters
    ----------
    http
        The settings of its door.
    """

    def __init__(self, http: HttpSettings) -> None:
        self._http = http

    def newest(self, status: str | None, limit: int) -> list[dict[str, Any]]:
        """The newest deliveries."""
        parameters = {"limit": str(limit), **({} if status is None else {"status": status})}
        found: list[dict[str, Any]] = self._ask("GET", "", params=parameters)
        return found

    def one(self, webhook_id: str) -> dict[str, Any]:
        """One delivery with its attempts."""
        found: dict[str, Any] = self._ask("GET", f"/{quote(webhook_id, safe='')}")
        return found

    def replay(self, webhook_ids: list[str] | None, endpoint: str | None, since: str | None) -> int:
        """Make deliveries due again, at once."""
        body = {"webhook_ids": webhook_ids, "endpoint": endpoint, "since": since}
        return int(self._ask("POST", "/replay", json=body)["replayed"])

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return ask_at("webhooks", self._http, method, f"/webhooks{path}", **options)
