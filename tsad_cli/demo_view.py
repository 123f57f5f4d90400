"""What the demonstration shows while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from connectors.webhooks.receiver import ReceivedWebhook, ReceiverInbox

__all__ = ["AlarmLine", "Figures", "StatusReader", "View", "alarm_line"]

_LINES = 12
_PLAIN_EVERY_SECONDS = 5.0
_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red", "critical": "bold red"}


@dataclass(frozen=True, slots=True)
class AlarmLine:
    """One received alarm event, as one line."""

    kind: str
    time: str
    asset: str
    severity: str
    about: str

    @property
    def text(self) -> str:
        """For a log."""
        return f"{self.time}  {self.kind:14s} {self.severity:8s} {self.asset}  {self.about}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the daemon says of itself, and what has come by webhook."""

    ready: bool = False
    problems: tuple[str, ...] = ()
    lag: int | None = None
    records: int = 0
    rows: int = 0
    learnt: int = 0
    transitions: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the demonstration is."""

    phase: str
    elapsed: float
    remaining: float
    published: int
    series: int
    plant_time: str
    notes: tuple[str, ...] = field(default=())


def alarm_line(webhook: ReceivedWebhook) -> AlarmLine:
    """Make a line of a received alarm event."""
    event: dict[str, Any] = msgspec.json.decode(webhook.body)
    data = event["data"]
    about = ""
    if event["type"] in {"alarm.raised", "alarm.updated"} and data["contributions"]:
        lead = data["contributions"][0]
        about = lead["channel"]
        if lead["observed"] is not None and lead["expected"] is not None:
            about += f" {lead['observed']:.4g}, expected {lead['expected']:.4g}"
    elif event["type"] in {"alarm.raised", "alarm.updated"} and data["attributes"]:
        about = data["attributes"][0]["reason"]
    return AlarmLine(
        event["type"], event["timestamp"][11:19], data["asset"], data["severity"], about or data["summary"]
    )


class StatusReader:
    """Asks the daemon how it does; what cannot be asked just now stays as it was.

    Parameters
    ----------
    url : str
        The daemon's HTTP door.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=2.0, trust_env=False)
        self.figures = Figures()
        self.reachable = False

    def read(self) -> Figures:
        """Read `/readyz` and `/api/v1/status`."""
        try:
            ready = self._client.get("/readyz").json()
            status = self._client.get("/api/v1/status").json()
        except httpx.TransportError:
            # Starting, or too busy to answer at once: whoever owns the process sees whether it is alive.
            self.reachable = False
            return self.figures
        self.reachable = True
        counts = status["streams"].values()
        self.figures = Figures(
            ready=ready["ready"],
            problems=tuple(ready["problems"]),
            lag=ready["lag"],
            records=sum(stream.get("records", 0) for stream in counts),
            rows=sum(stream.get("rows", 0) for stream in counts),
            learnt=sum(status["fitted"].values()),
            transitions=sum(count for stream in counts for name, count in stream.items() if "." in name),
            set_aside=sum(
                count for stream in counts for name, count in stream.items() if name.startswith("dead_letter_")
            ),
        )
        return self.figures

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class View:
    """Shows figures and alarms. A context manager.

    Parameters
    ----------
    console : Console
        Where to.
    inbox : ReceiverInbox
        What came by webhook.
    title : str
        Headline.
    quiet : bool
        Show nothing, for JSON.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        console: Console,
        inbox: ReceiverInbox,
        title: str,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._inbox = inbox
        self._title = title
        self._quiet = quiet
        self._clock = clock
        self._live: Live | None = None
        self._shown = 0
        self._next_plain = 0.0
        self._seen: list[tuple[float, int]] = []
        if console.is_terminal and not quiet:
            self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, text: str) -> None:
        """Say something that stays."""
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False)

    def update(self, progress: Progress, figures: Figures) -> None:
        """Show the present state."""
        if self._quiet:
            return
        rate = self._rate(figures.records)
        webhooks = self._inbox.webhooks
        if self._live is not None:
            self._live.update(self._screen(progress, figures, rate, webhooks))
            return
        for webhook in webhooks[self._shown :]:
            self.note("  webhook  " + alarm_line(webhook).text)
        self._shown = len(webhooks)
        if self._clock() >= self._next_plain:
            self._next_plain = self._clock() + _PLAIN_EVERY_SECONDS
            self.note(self._line(progress, figures, rate, len(webhooks)))

    def _rate(self, records: int) -> float:
        """Records a second over the last seconds."""
        now = self._clock()
        self._seen.append((now, records))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _PLAIN_EVERY_SECONDS:
            del self._seen[0]
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0

    @staticmethod
    def _line(progress: Progress, figures: Figures, rate: float, webhooks: int) -> str:
        lag = "?" if figures.lag is None else figures.lag
        return (
            f"{progress.phase}: {progress.elapsed:.0f} s, {progress.remaining:.0f} s to go | plant time"
            f" {progress.plant_time} | {rate:.0f} records/s, lag {lag} | {figures.rows} rows,"
            f" {figures.learnt} of {progress.series} series learnt | {webhooks} webhooks verified"
        )

    def _screen(
        self, progress: Progress, figures: Figures, rate: float, webhooks: tuple[ReceivedWebhook, ...]
    ) -> RenderableType:
        head = Table.grid(padding=(0, 3))
        state = Text("ready", "green") if figures.ready else Text("; ".join(figures.problems) or "starting", "yellow")
        head.add_row(Text("daemon"), state, Text("plant time"), Text(progress.plant_time))
        head.add_row("published", f"{progress.published:,}", "processed", f"{figures.records:,} ({rate:,.0f}/s)")
        lag = "?" if figures.lag is None else f"{figures.lag:,}"
        head.add_row("lag", lag, "rows on the grid", f"{figures.rows:,}")
        head.add_row("series learnt", f"{figures.learnt} of {progress.series}", "set aside", f"{figures.set_aside:,}")
        refused = sum(request.status_code == 401 for request in self._inbox.requests)
        head.add_row(
            "webhooks verified", f"{len(webhooks)} of {figures.transitions}", "signature refused", f"{refused}"
        )
        total = progress.elapsed + progress.remaining
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(total, 1e-9), completed=progress.elapsed, width=40),
            f"{progress.phase}: {progress.elapsed:.0f} s, {progress.remaining:.0f} s to go",
        )
        alarms = Table(expand=True, box=None, padding=(0, 1))
        for name in ("plant time", "event", "severity", "asset", "leading channel"):
            alarms.add_column(name, no_wrap=name != "leading channel")
        for line in map(alarm_line, webhooks[-_LINES:]):
            style = (
                _COLOURS[line.severity] if line.kind in {"alarm.raised", "alarm.updated", "stream.silent"} else "dim"
            )
            alarms.add_row(line.time, line.kind, line.severity, line.asset, line.about, style=style)
        if not webhooks:
            alarms.add_row("", "none yet", "", "", "")
        return Panel(Group(head, bar, Text(), alarms), title=self._title)
