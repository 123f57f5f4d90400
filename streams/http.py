"""The daemon's HTTP door: health, metrics, and what there is to see, on loopback."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from streams.access.audit import AuditLog
from streams.access.entrance import Entrance
from streams.access.guard import Guard
from streams.access.login import login_router
from streams.access.sessions import Sessions
from streams.access.settings import TlsSettings
from streams.access.tokens import TokenRegister
from streams.configuration import masked
from streams.errors import StreamsError
from streams.http_alarms import alarm_router
from streams.http_history import history_router
from streams.http_learning import learning_router
from streams.http_metrics import ServiceCollector
from streams.http_parts import part_router
from streams.http_requests import plain, rows_of
from streams.http_webhooks import webhook_router
from streams.service import Service

__all__ = ["HttpServer", "create_application"]


def create_application(service: Service, *, monotonic: Callable[[], float] = time.monotonic) -> FastAPI:
    """The application for a service, behind its guard.

    Parameters
    ----------
    service
        What it shows and acts on.
    monotonic
        Seconds that only rise, for the limits on how often callers may ask.
    """
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service, monotonic))
    ProcessCollector(registry=registry)
    app = FastAPI(title="tsad", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    _guard(app, service, monotonic)

    @app.get("/healthz")
    def healthz(response: Response) -> dict[str, Any]:
        """Whether the process does its work; if not, restart it."""
        response.status_code = 200 if service.alive else 503
        return {"alive": service.alive}

    @app.get("/readyz")
    def readyz(response: Response) -> dict[str, Any]:
        """Whether telemetry is being scored; if not, why."""
        problems = service.problems()
        response.status_code = 503 if problems else 200
        health = service.source.health
        return {"ready": not problems, "problems": problems, "source": health.detail, "lag": health.lag}

    @app.get("/metrics")
    def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/api/v1/episodes")
    def episodes(
        state: Annotated[str | None, Query(pattern="^(active|normal)$")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """Alarm episodes, the newest first; `settled_started` and `settled_ended` as drawn by the settled scores."""
        with service.history.cursor() as cursor:
            cursor.execute(
                "SELECT * FROM episodes WHERE $1 IS NULL OR state = $1 ORDER BY started DESC LIMIT $2", [state, limit]
            )
            return rows_of(cursor)

    @app.get("/api/v1/status")
    def status() -> dict[str, Any]:
        """Counts since the start, by stream."""
        streams: dict[str, dict[str, int]] = {}
        for (stream, name), count in sorted(service.pipeline.statistics.counts.copy().items()):
            streams.setdefault(stream, {})[name] = count
        statistics = service.pipeline.statistics
        return {
            "streams": streams,
            "fitted": statistics.fitted,
            "drifting": statistics.drifting,
            "problems": service.problems(),
        }

    app.include_router(alarm_router(service))
    app.include_router(webhook_router(service))
    app.include_router(history_router(service))
    app.include_router(part_router(service))
    app.include_router(learning_router(service))
    return app


def _guard(app: FastAPI, service: Service, monotonic: Callable[[], float]) -> None:
    """Put the guard before an application, and the log-in page behind it."""
    settings = service.configuration.http
    now = service.pipeline.annunciator.now
    sessions = Sessions(timedelta(seconds=settings.session), now)
    entrance = app.state.entrance = Entrance(TokenRegister(settings.tokens), sessions, now)
    audit = app.state.audit = AuditLog(service.history, now)
    app.add_middleware(
        Guard,
        entrance=entrance,
        audit=audit,
        monotonic=monotonic,
        hosts=settings.known_hosts,
        requests_per_minute=settings.requests_per_minute,
        largest_body=settings.largest_body,
        encrypted=settings.tls is not None,
    )
    if entrance.guarded:
        app.include_router(login_router(entrance, encrypted=settings.tls is not None))

    @app.get("/api/v1/audit", tags=["admin"])
    def newest_entries(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[dict[str, Any]]:
        """What was done and refused at this door, the newest first."""
        return [{key: plain(value) for key, value in entry.items()} for entry in audit.newest(limit)]

    @app.get("/api/v1/configuration", tags=["admin"])
    def configuration() -> dict[str, Any]:
        """The configuration as it was resolved, with secrets as stars."""
        return masked(service.configuration)

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        described = describe()
        if entrance.guarded:
            described.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            described["security"] = [{"token": []}]
        return described

    # As FastAPI's documentation has it.
    app.openapi = openapi  # type: ignore[method-assign]


class HttpServer:
    """Serves an application from a thread.

    Parameters
    ----------
    app, host, port
        What to serve and where; port 0 takes a free one.
    tls
        Certificate and key; without them requests come in the clear.

    Raises
    ------
    StreamsError
        The address is taken, or the certificate and its key cannot be used.
    """

    def __init__(self, app: FastAPI, host: str, port: int, tls: TlsSettings | None = None) -> None:
        config = uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            server_header=False,
            ssl_certfile=None if tls is None else str(tls.certificate),
            ssl_keyfile=None if tls is None else tls.key,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise StreamsError(f"http.tls: the certificate and its key cannot be used: {error}") from error
        self._server = uvicorn.Server(config)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise StreamsError(
                f"http: {host}:{port} cannot be served: {error.strerror}; choose another http.port"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def _serve(self) -> None:
        # uvicorn leaves the process when the application does not start; `start` tells of it instead.
        with suppress(SystemExit):
            self._server.run([self._socket])

    def start(self) -> None:
        """Start serving; returns once requests are answered.

        Raises
        ------
        StreamsError
            The application could not start.
        """
        self._thread.start()
        while not self._server.started:
            self._thread.join(timeout=0.01)
            if not self._thread.is_alive() and not self._server.started:
                self._socket.close()
                raise StreamsError(f"http: port {self.port} is not served: the application did not start; see the log")

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()
