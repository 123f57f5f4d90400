"""The running daemon: one thread reads, one works and commits, one delivers, one serves HTTP."""

import queue
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import structlog

from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.sources.base import RecordBatch, Source
from connectors.webhooks.delivery import WebhookSender
from connectors.webhooks.outbox import Outbox
from streams.configuration import Configuration, KafkaSourceSettings
from streams.dead_letters import DeadLetterPublisher
from streams.inbox import INBOX_PARTITION, Inbox
from streams.pipeline import Pipeline
from streams.standing import endpoint_problems, resenders
from tsad.errors import StoppedError

__all__ = ["Service"]

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.2
_QUEUED_POLLS = 8
_EXPIRE_EVERY = 600.0
_UNSHELVE_EVERY = 1.0
_DRAIN_SECONDS = 10.0
_FIRST_RETRY, _LONGEST_RETRY = 0.5, 30.0


class Service:
    """Runs a configuration until it is told to stop, or its source has ended.

    Parameters
    ----------
    configuration
        What to do.
    source
        Where records come from; read by one thread of the service.
    history
        The open history file; closed by whoever opened it.
    now, monotonic
        The clocks.
    relearn
        Streams whose stored state is dropped.
    """

    def __init__(
        self,
        configuration: Configuration,
        source: Source,
        history: History,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        relearn: Collection[str] = (),
    ) -> None:
        self.configuration = configuration
        self.history = history
        self.source = source
        self._monotonic = monotonic
        endpoints = configuration.endpoints()
        self._stop = threading.Event()
        self.pipeline = Pipeline(
            configuration, history, endpoints=endpoints, now=now, relearn=relearn, is_stopping=self._stop.is_set
        )
        self.outbox = Outbox(history.cursor, history.write_lock)
        self.sender = WebhookSender(self.outbox, endpoints, clock=now, policy=configuration.delivery.policy())
        self.resenders = resenders(configuration, self.pipeline.annunciator, history, self.outbox, now)
        self.dead_letters: DeadLetterPublisher | None = None
        if configuration.dead_letters.topic is not None and isinstance(configuration.source, KafkaSourceSettings):
            self.dead_letters = DeadLetterPublisher(
                history,
                configuration.source.bootstrap,
                configuration.dead_letters.topic,
                # confluent's settings have other names; the publisher always is kafka-python.
                configuration.source.options if configuration.source.client == "kafka-python" else {},
            )
        self._queue: queue.Queue[list[RecordBatch]] = queue.Queue(maxsize=_QUEUED_POLLS)
        self.inbox = Inbox(self._queue, self.pipeline.positions, now)
        self._read_out = threading.Event()
        self._failure: BaseException | None = None
        self._commit_problem: str | None = None
        self._threads = [
            threading.Thread(target=self._guarded(self._read), name="reader"),
            threading.Thread(target=self._guarded(self._work), name="worker"),
        ]

    # ------------------------------------------------------------------------------------------------ from outside

    def start(self) -> None:
        """Start the threads."""
        positions = self.pipeline.positions.items()
        self.source.open({where: offset for where, offset in positions if where[1] != INBOX_PARTITION})
        for thread in self._threads:
            thread.start()
        self.sender.start()
        for resender in self.resenders:
            resender.start()
        if self.dead_letters is not None:
            self.dead_letters.start()

    def stop(self) -> None:
        """Ask all threads to end; what was taken in is committed first."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the worker to end; returns whether it has.

        Raises
        ------
        BaseException
            What ended a thread against its will.
        """
        self._threads[1].join(timeout)
        if self._threads[1].is_alive():
            return False
        if not self._stop.is_set():
            # The source has ended by itself: nobody is waiting, so the last alarms are told before the end.
            self.sender.drain(_DRAIN_SECONDS, self._stop.is_set)
        self._stop.set()
        self._threads[0].join()
        self.sender.stop()
        for resender in self.resenders:
            resender.stop()
        if self.dead_letters is not None:
            self.dead_letters.stop()
        self.source.close()
        if self._failure is not None:
            raise self._failure
        return True

    @property
    def stopping(self) -> bool:
        """Whether the service was asked to stop, or has ended."""
        return self._stop.is_set()

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return self._failure is None and all(thread.is_alive() for thread in self._threads)

    def problems(self) -> list[str]:
        """What keeps the service from being ready, in words; empty when all is well."""
        found = []
        health = self.source.health
        if not health.connected:
            found.append(f"source: {health.detail}")
        if self._commit_problem is not None:
            found.append(f"history: {self._commit_problem}")
        if not self.alive:
            found.append(f"threads: {self._failure or 'not running'}")
        if self.sender.last_error is not None:
            found.append(f"webhooks: {self.sender.last_error}")
        found += endpoint_problems(self.configuration, self.outbox)
        found += [f"webhooks: {one.endpoint.name}: {one.problem}" for one in self.resenders if one.problem is not None]
        if self.dead_letters is not None and self.dead_letters.problem is not None:
            found.append(f"dead letters: {self.dead_letters.problem}")
        return found

    # ------------------------------------------------------------------------------------------------ threads

    def _guarded(self, run: Callable[[], None]) -> Callable[[], None]:
        """A thread that dies takes the service with it, and says why."""

        def guarded() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 - handed on by `wait`
                _log.exception("a thread of the service failed", thread=threading.current_thread().name)
                self._failure = self._failure or error
                self._stop.set()

        return guarded

    def _read(self) -> None:
        while not self._stop.is_set():
            batches = self.source.poll(_POLL_SECONDS)
            if batches:
                self._hand_over(batches)
            elif self.source.finished:
                break
        self._read_out.set()

    def _hand_over(self, batches: list[RecordBatch]) -> None:
        """Queue records; while the worker is behind, hold the source without letting go of it."""
        while not self._stop.is_set():
            try:
                self._queue.put(batches, timeout=_POLL_SECONDS)
                break
            except queue.Full:
                self.source.set_paused(True)
                more = self.source.poll(0)
                batches = batches + more
        self.source.set_paused(False)

    def _work(self) -> None:
        settings = self.configuration.commit
        last_commit = last_snapshot = last_expiry = last_unshelving = self._monotonic()
        while True:
            ended = self._stop.is_set() or (self._read_out.is_set() and self._queue.empty())
            if ended:
                break
            try:
                batches = self._queue.get(timeout=min(settings.every, 0.2))
            except queue.Empty:
                batches = []
            self.pipeline.note_gaps(self.source.take_gaps())
            if batches:
                try:
                    self.pipeline.handle(batches)
                except StoppedError as stopped:
                    _log.info("stopped; what is not committed is read again at the next start", why=str(stopped))
                    return
            now = self._monotonic()
            if now - last_commit >= settings.every or self.pipeline.pending_records >= settings.rows:
                snapshot = now - last_snapshot >= settings.snapshot_every
                if not self._commit(snapshot=snapshot):
                    break
                last_commit = now
                last_snapshot = now if snapshot else last_snapshot
            if now - last_unshelving >= _UNSHELVE_EVERY:
                last_unshelving = now
                self._unshelve()
            if now - last_expiry >= _EXPIRE_EVERY:
                last_expiry = now
                self._expire()
        self._commit(snapshot=True)

    def _unshelve(self) -> None:
        try:
            ended = self.pipeline.annunciator.expire()
        except HistoryError as error:
            _log.error("shelvings were not ended; tried again", problem=str(error))
            return
        if ended:
            self.sender.notify()

    def _expire(self) -> None:
        try:
            deleted = self.pipeline.expire()
            keep = timedelta(seconds=self.configuration.delivery.keep)
            deleted += self.outbox.prune(self.pipeline.annunciator.now() - keep)
        except HistoryError as error:
            # The next commit meets the same trouble, and tries until it is over.
            _log.error("old rows were not deleted; tried again later", problem=str(error))
            return
        if deleted:
            _log.info("old rows deleted", rows=deleted)

    def _commit(self, *, snapshot: bool) -> bool:
        """Commit, and try again until it works; returns False when the service is stopped meanwhile."""
        wait = _FIRST_RETRY
        while True:
            try:
                if self.pipeline.commit(snapshot=snapshot):
                    self.sender.notify()
                    self.inbox.committed(self.pipeline.positions)
            except HistoryError as error:
                self._commit_problem = str(error)
                _log.error("commit failed; nothing is lost, it is tried again", problem=str(error), seconds=wait)
            else:
                self._commit_problem = None
                return True
            if self._stop.wait(wait) and wait > _FIRST_RETRY:
                # What was not committed is read again at the next start.
                return False
            wait = min(wait * 2, _LONGEST_RETRY)
            self._reopen()

    def _reopen(self) -> None:
        try:
            self.history.reopen()
        except HistoryError as error:
            _log.error("the history cannot be opened again yet", problem=str(error))
