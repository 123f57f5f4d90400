"""A small real receiver: verifies, drops repeats, keeps what came. For the demonstration, tests, and as an example.

What a receiver must do is in `docs/webhooks.md`; this one does it, and on request it misbehaves: tests script its
answers to see what the sender makes of them.
"""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI, Request, Response

from connectors.errors import ConnectorSettingsError, SignatureError
from connectors.webhooks.signing import decode_secret, verify

__all__ = ["ReceivedRequest", "ReceivedWebhook", "ReceiverInbox", "ScriptedAnswer", "WebhookReceiver", "receiver_app"]

# A hanging answer ends by itself after this long, so that a forgotten one cannot hold a thread for ever.
_LONGEST_HANG_SECONDS = 60.0


@dataclass(frozen=True)
class ReceivedWebhook:
    """A verified webhook, kept once however often it came.

    Attributes
    ----------
    webhook_id : str
        Its id.
    timestamp : int
        The sender's time of the attempt, Unix seconds.
    body : bytes
        The raw body.
    received_at : datetime
        When it came, by the receiver's clock.
    """

    webhook_id: str
    timestamp: int
    body: bytes
    received_at: datetime


@dataclass(frozen=True)
class ReceivedRequest:
    """Any request that came, verified or not.

    Attributes
    ----------
    headers : dict of str to str
        Names in lower case.
    body : bytes
        The raw body.
    status_code : int
        What was answered (for a hanging answer: would have been).
    """

    headers: dict[str, str]
    body: bytes
    status_code: int


@dataclass(frozen=True)
class ScriptedAnswer:
    """One misbehaviour.

    Attributes
    ----------
    status_code : int
        What to answer.
    headers : tuple of (str, str)
        Headers of the answer, such as `Retry-After`.
    body : str
        Text of the answer.
    hang : bool
        Do not answer until the receiver is told to `release` or is stopped.
    """

    status_code: int = 500
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    hang: bool = False


class ReceiverInbox:
    """What a receiver knows: what came, and how to answer. Safe to use from several threads.

    Parameters
    ----------
    capacity : int
        Most webhooks and requests kept, the newest; ids are remembered for as long as their webhook is kept.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._condition = threading.Condition()
        self._capacity = capacity
        self._webhooks: dict[str, ReceivedWebhook] = {}
        self._requests: deque[ReceivedRequest] = deque(maxlen=capacity)
        self._script: deque[ScriptedAnswer] = deque()
        self._duplicates = 0
        self.released = threading.Event()

    @property
    def webhooks(self) -> tuple[ReceivedWebhook, ...]:
        """Verified webhooks in order of arrival, each once."""
        with self._condition:
            return tuple(self._webhooks.values())

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Every request in order of arrival."""
        with self._condition:
            return tuple(self._requests)

    @property
    def duplicates(self) -> int:
        """How many verified webhooks had come before."""
        with self._condition:
            return self._duplicates

    def answer_with(self, *answers: ScriptedAnswer) -> None:
        """Answer the next requests so, one each, instead of well; further calls append."""
        with self._condition:
            self._script.extend(answers)

    def release(self) -> None:
        """Let every hanging answer go, now and from now on."""
        self.released.set()

    def wait_for(self, count: int, timeout_seconds: float = 10.0) -> tuple[ReceivedWebhook, ...]:
        """Wait until `count` different webhooks came and return them.

        Raises
        ------
        TimeoutError
            When fewer came in time; the message says how many.
        """
        self._wait(
            lambda: len(self._webhooks) >= count,
            lambda: f"{len(self._webhooks)} of {count} webhooks came",
            timeout_seconds,
        )
        return self.webhooks

    def wait_for_requests(self, count: int, timeout_seconds: float = 10.0) -> tuple[ReceivedRequest, ...]:
        """Wait until `count` requests came, good or not, and return them; `TimeoutError` when fewer came in time."""
        self._wait(
            lambda: len(self._requests) >= count,
            lambda: f"{len(self._requests)} of {count} requests came",
            timeout_seconds,
        )
        return self.requests

    def _wait(self, done: Callable[[], bool], describe: Callable[[], str], timeout_seconds: float) -> None:
        with self._condition:
            if not self._condition.wait_for(done, timeout_seconds):
                raise TimeoutError(f"{describe()} within {timeout_seconds} s")

    def take(self, headers: dict[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> ScriptedAnswer:
        """Note one request and return what to answer.

        Parameters
        ----------
        headers : dict of str to str
            Names in lower case.
        body : bytes
            The raw body.
        secrets : sequence of str
            Any of them may have signed.
        now : datetime
            Aware time of arrival.
        """
        with self._condition:
            answer = self._script.popleft() if self._script else self._accept(headers, body, secrets, now)
            self._requests.append(ReceivedRequest(headers, body, answer.status_code))
            self._condition.notify_all()
            return answer

    def _accept(self, headers: dict[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> ScriptedAnswer:
        try:
            webhook_id = verify(secrets, headers, body, now)
        except SignatureError as error:
            return ScriptedAnswer(status_code=401, body=str(error))
        if webhook_id in self._webhooks:
            # A repeat is a success: answering otherwise would make the sender repeat it again.
            self._duplicates += 1
            return ScriptedAnswer(status_code=200, body="seen before")
        timestamp = int(headers["webhook-timestamp"])
        self._webhooks[webhook_id] = ReceivedWebhook(webhook_id, timestamp, body, now)
        if len(self._webhooks) > self._capacity:
            del self._webhooks[next(iter(self._webhooks))]
        return ScriptedAnswer(status_code=204)


def _now() -> datetime:
    return datetime.now(UTC)


def receiver_app(secrets: Sequence[str], inbox: ReceiverInbox, clock: Callable[[], datetime] = _now) -> FastAPI:
    """Make the application: `POST` to any path is a webhook.

    Parameters
    ----------
    secrets : sequence of str
        `whsec_…`; any of them may have signed.
    inbox : ReceiverInbox
        Where webhooks are kept.
    clock : callable, optional
        Returns the time, aware.

    Raises
    ------
    ConnectorSettingsError
        When there is no secret, or one is malformed.
    """
    if not secrets:
        raise ConnectorSettingsError("webhook receiver: secrets is empty; give at least one whsec_…")
    for secret in secrets:
        decode_secret(secret)
    app = FastAPI(title="tsad webhook receiver", openapi_url=None)

    @app.post("/{path:path}")  # noqa: FAST003 - any path will do; it is not looked at
    async def receive(request: Request) -> Response:
        body = await request.body()
        answer = inbox.take(dict(request.headers), body, secrets, clock())
        if answer.hang:
            await asyncio.to_thread(inbox.released.wait, _LONGEST_HANG_SECONDS)
        return Response(answer.body or None, status_code=answer.status_code, headers=dict(answer.headers))

    return app


class WebhookReceiver:
    """The application on a thread of its own, on a free port of the loopback address. A context manager.

    Parameters
    ----------
    secrets : sequence of str
        `whsec_…`; any of them may have signed.
    clock : callable, optional
        Returns the time, aware.
    port : int, optional
        Port to listen on; 0 takes a free one.
    inbox : ReceiverInbox, optional
        Where webhooks are kept; a new one unless given.

    Attributes
    ----------
    inbox : ReceiverInbox
        What came, and how to answer.
    url : str
        Where to send to.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        clock: Callable[[], datetime] = _now,
        port: int = 0,
        inbox: ReceiverInbox | None = None,
    ) -> None:
        self.inbox = inbox or ReceiverInbox()
        app = receiver_app(secrets, self.inbox, clock)
        # Listening from here on: requests wait in the backlog until the thread is up, so nobody has to poll for it.
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/webhooks"
        self._server = uvicorn.Server(
            uvicorn.Config(app, lifespan="off", ws="none", log_level="warning", access_log=False, log_config=None)
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="webhook-receiver", daemon=True
        )

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Release hanging answers, end the thread and close the port."""
        self.inbox.release()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
