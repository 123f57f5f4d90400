"""One run of the demonstration: start everything, publish, watch, end everything, read what came of it."""

import contextlib
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from connectors.webhooks.receiver import ReceiverInbox, WebhookReceiver
from tsad_cli.demo_broker import create_topics, running_broker
from tsad_cli.demo_configuration import SECRET_VARIABLE, new_secret, write_configuration
from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_events import read_events
from tsad_cli.demo_feed import NANOSECONDS, Feed
from tsad_cli.demo_line import read_parts
from tsad_cli.demo_process import ChildProcess, free_port
from tsad_cli.demo_publisher import Pace, Publisher, kafka_producer
from tsad_cli.demo_report import Report, match, read_history
from tsad_cli.demo_view import Figures, Progress, StatusReader, View

__all__ = ["Continuation", "play"]

Continuation = Callable[[Feed, int], Feed]
"""Makes the feed that goes on after a feed; the number counts from 1."""

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_REFRESH_SECONDS = 0.5
# As long as records or webhooks still come in, the daemon is waited for; this long without any is too long.
_STALLED_SECONDS = 30.0
_UNAUTHORISED = 401


def play(
    make_feed: Callable[[int], Feed],
    console: Console,
    directory: Path,
    seconds: float,
    *,
    bootstrap: str | None = None,
    quiet: bool = False,
    go_on: Continuation | None = None,
) -> tuple[Report, Feed]:
    """Run everything once.

    Parameters
    ----------
    make_feed : callable
        Makes what is published, given the event time (nanoseconds UTC) at which it shall end.
    console : Console
        For the view.
    directory : Path
        For configuration, history and logs.
    seconds : float
        How long to publish.
    bootstrap : str or None
        A broker that runs already; None starts one.
    quiet : bool
        Show nothing.
    go_on : callable or None
        Given, publishing goes on in real time until Ctrl-C.

    Raises
    ------
    DemoError
        Something could not be started, or died; everything that was started is ended first.
    """
    began = time.monotonic()
    history = directory / "history.duckdb"
    if history.exists():
        raise DemoError(f"{history} is there already; give another --directory, or delete it")
    with contextlib.ExitStack() as stack:
        address, broker = stack.enter_context(running_broker(directory, bootstrap))
        secret = new_secret()
        receiver = stack.enter_context(WebhookReceiver([secret]))
        # Records end where the clock will be when the last one is sent, so none comes from the future.
        feed = make_feed(time.time_ns() + round(seconds * NANOSECONDS))
        create_topics(address, feed.topics)
        port = free_port()
        configuration = directory / "tsad.yaml"
        write_configuration(
            configuration,
            feed,
            bootstrap=address,
            # A broker that runs already may hold records of an earlier demonstration.
            start="earliest" if bootstrap is None else "latest",
            webhook_url=receiver.url,
            http_port=port,
            history=history.name,
        )
        daemon = stack.enter_context(
            ChildProcess(
                "the daemon",
                [sys.executable, "-m", "tsad_cli.main", "run", str(configuration), "--log", "json"],
                directory / "daemon.log",
                environment={SECRET_VARIABLE: secret},
            )
        )
        view = stack.enter_context(View(console, receiver.inbox, feed.title, quiet=quiet))
        view.note(
            f"{feed.title}\nconsole http://127.0.0.1:{port}/console/\n"
            f"broker {address}, daemon http://127.0.0.1:{port}, files in {directory}\n"
            f"accepted: {feed.false_alarms_per_day:g} false alarms a day and asset, in"
            f" {24 * feed.scored_days:.1f} asset-hours that will be scored; a plant accepts far fewer"
        )
        reader = stack.enter_context(contextlib.closing(StatusReader(f"http://127.0.0.1:{port}")))
        daemon.wait_until(lambda: reader.read().ready and reader.reachable, _START_SECONDS)
        stage = _Stage(broker, daemon, reader, view, receiver.inbox, feed, seconds)
        stage.publish(address, Pace(feed.start, feed.end, seconds))
        if go_on is not None:
            feed = stage.go_on(address, go_on)
        problems = stage.catch_up()
        stop_seconds = daemon.stop(_STOP_SECONDS)
        content = read_history(history)
        events = read_events(history, feed.odd_events)
        line = read_parts(history, feed.defects)
        requests = receiver.inbox.requests
    outcomes, false_alarms = match(feed.planted, content.told)
    report = Report(
        outcomes=outcomes,
        false_alarms=false_alarms,
        accepted_false_alarms=feed.scored_days * feed.false_alarms_per_day,
        published=stage.published,
        history=content,
        webhooks_verified=len(receiver.inbox.webhooks),
        webhooks_refused=sum(request.status_code == _UNAUTHORISED for request in requests),
        webhooks_repeated=receiver.inbox.duplicates,
        stop_seconds=stop_seconds,
        wall_seconds=time.monotonic() - began,
        problems=problems,
        events=events,
        line=line,
    )
    return report.judged(feed), feed


class _Stage:
    """The running processes and what is shown of them."""

    def __init__(
        self,
        broker: ChildProcess | None,
        daemon: ChildProcess,
        reader: StatusReader,
        view: View,
        inbox: ReceiverInbox,
        feed: Feed,
        seconds: float,
    ) -> None:
        self._processes = [daemon] if broker is None else [broker, daemon]
        self._reader = reader
        self._view = view
        self._inbox = inbox
        self._feed = feed
        self._seconds = seconds
        self._began = time.monotonic()
        self._earlier = 0
        self._publisher: Publisher | None = None

    @property
    def published(self) -> int:
        """Records sent so far."""
        return self._earlier + (0 if self._publisher is None else self._publisher.total)

    def publish(self, bootstrap: str, pace: Pace) -> None:
        """Publish the feed and show what comes of it."""
        self._send(bootstrap, pace, self._phase)

    def go_on(self, bootstrap: str, continuation: Continuation) -> Feed:
        """Publish in real time until Ctrl-C; returns everything that was planned, as one feed."""
        whole = self._feed
        number = 0
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                number += 1
                self._feed = continuation(self._feed, number)
                whole = whole.joined(self._feed)
                seconds = (self._feed.end - self._feed.start) / NANOSECONDS
                self._seconds = time.monotonic() - self._began + seconds
                pace = Pace(self._feed.start, self._feed.end, seconds)
                self._send(bootstrap, pace, lambda _: "in real time until Ctrl-C")
        return whole.until(time.time_ns())

    def catch_up(self) -> list[str]:
        """Wait until the daemon has taken in and delivered everything; returns what is missing, in words."""
        self._seconds = time.monotonic() - self._began
        last: tuple[int, int] | None = None
        changed = time.monotonic()
        while True:
            figures = self._watch(lambda _: "catching up")
            verified = len(self._inbox.webhooks)
            if figures.records >= self.published and verified >= figures.transitions and figures.lag == 0:
                return []
            if (figures.records, verified) != last:
                last, changed = (figures.records, verified), time.monotonic()
            elif time.monotonic() - changed > _STALLED_SECONDS:
                missing = (
                    f"after {_STALLED_SECONDS:g} s without progress {figures.records} of {self.published} records were"
                    f" processed and {verified} of {figures.transitions} webhooks had come"
                )
                return [missing]
            time.sleep(_REFRESH_SECONDS)

    def _send(self, bootstrap: str, pace: Pace, phase: Callable[[int], str]) -> None:
        publisher = Publisher(kafka_producer(bootstrap), self._feed.records, pace)
        self._publisher = publisher
        publisher.start()
        try:
            while not publisher.finished:
                self._watch(phase)
                time.sleep(_REFRESH_SECONDS)
        finally:
            publisher.stop()
            self._earlier += publisher.total
            self._publisher = None

    def _watch(self, phase: Callable[[int], str]) -> Figures:
        """Look after the processes and show the present state."""
        for process in self._processes:
            process.check()
        figures = self._reader.read()
        elapsed = time.monotonic() - self._began
        reached = self._feed.end if self._publisher is None else self._publisher.reached
        moment = datetime.fromtimestamp(reached / NANOSECONDS, UTC)
        self._view.update(
            Progress(
                phase=phase(reached),
                elapsed=elapsed,
                remaining=max(0.0, self._seconds - elapsed),
                published=self.published,
                series=self._feed.series,
                plant_time=f"{moment:%H:%M:%S}",
            ),
            figures,
        )
        return figures

    def _phase(self, reached: int) -> str:
        return "learning what is usual" if reached < self._feed.training_end else "faults are on"
