"""The table at the end of the demonstration."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from tsad_cli.demo_feed import NANOSECONDS, Feed
from tsad_cli.demo_line import LineResult
from tsad_cli.demo_report import Outcome, Report

__all__ = ["show_report"]

_SHOWN_FALSE_ALARMS = 10
_SHOWN_CHANNELS = 2
_DAY = 86_400 * NANOSECONDS


def show_report(console: Console, report: Report, feed: Feed) -> None:
    """Print what was planted against what was told, and how the run went.

    Parameters
    ----------
    console : Console
        Where to.
    report : Report
        The result.
    feed : Feed
        What was published.
    """
    clock = "%H:%M:%S" if feed.end - feed.start < _DAY else "%m-%d %H:%M"
    table = Table(title=feed.title, title_justify="left")
    for name in ("fault", "began", "asset", "channel", "size", "told after", "severity", "named channel"):
        table.add_column(name, justify="right" if name in {"size", "told after"} else "left")
    for outcome in report.outcomes:
        table.add_row(*_row(outcome, clock), style="red" if outcome.told is None and feed.strict else None)
    console.print(table)
    if report.line.parts:
        console.print(_parts(report.line))
    for line in _summary(report, feed, clock):
        console.print(line, highlight=False, markup=False)


def _parts(line: LineResult) -> Table:
    """What images, the process, and both together found of the parts' defects."""
    table = Table(title="defects of parts, found by…", title_justify="left")
    sides = {"images": "images alone", "process": "process alone", "together": "together"}
    for name in ("how it shows", "planted", *sides.values()):
        table.add_column(name, justify="left" if name == "how it shows" else "right")
    for kind in sorted(line.planted):
        table.add_row(kind, str(line.planted[kind]), *(str(line.found[side].get(kind, 0)) for side in sides))
    planted = sum(line.planted.values())
    table.add_row("all", str(planted), *(str(line.total(side)) for side in sides), style="bold")
    table.caption = (
        f"each at {line.false} of {line.good} good parts flagged; where the process shows the cause, the station was"
        f" named rightly for {line.began_right} of {line.began_known}; images changed {line.amended} first verdicts"
    )
    return table


def _row(outcome: Outcome, clock: str) -> tuple[str, ...]:
    planted, told = outcome.planted, outcome.told
    channels = "all" if planted.silence else ", ".join(planted.channels[:_SHOWN_CHANNELS]) or "not known"
    size = "" if planted.severity is None else f"{planted.severity:g}"
    head = (planted.kind, _clock(planted.start, clock), "/".join(planted.asset.split("/")[-2:]), channels, size)
    if told is None:
        return (*head, "MISSED", "", outcome.remark)
    named = told.channel or told.kind
    mark = {True: " (right)", False: " (another)", None: ""}[outcome.channel_right]
    return (*head, f"{outcome.delay_rows} steps", outcome.severity or "", named + mark)


def _summary(report: Report, feed: Feed, clock: str) -> list[str]:
    history = report.history
    told = len(report.outcomes) - len(report.missed)
    what = "planted faults" if feed.strict else "labelled anomalies"
    lines = [
        "",
        f"{told} of {len(report.outcomes)} {what} were told while they lasted or up to 32 steps after.",
        (
            f"{len(report.false_alarms)} false alarms; the budget of {feed.false_alarms_per_day:g} a day and asset"
            f" accepts {report.accepted_false_alarms:.1f} in the {24 * feed.scored_days:.1f} asset-hours scored."
        ),
    ]
    lines += [
        f"  {alarm.kind} {_clock(alarm.time, clock)} {alarm.asset} {alarm.severity} {alarm.channel or ''}".rstrip()
        for alarm in report.false_alarms[:_SHOWN_FALSE_ALARMS]
    ]
    if len(report.false_alarms) > _SHOWN_FALSE_ALARMS:
        lines.append(f"  and {len(report.false_alarms) - _SHOWN_FALSE_ALARMS} more")
    if history.early:
        lines.append(
            f"{history.early} rows of the pumps were judged before anything was learnt of them, by timercd-nano"
            " (zero-shot)."
        )
    if report.events.scored:
        lines.append(report.events.text)
    committed = sum(history.records.values())
    lines += [
        (
            f"{report.published} records published, {committed} in the history: {history.rows['samples']} notable rows,"
            f" {history.rows['events']} access events and {history.rows['inspections']} inspection results kept,"
            f" {report.line.parts} parts judged after the clean ones;"
            f" {sum(history.dead_letters.values())} set aside."
        ),
        (
            f"{len(history.told)} alarm events: {report.webhooks_verified} webhooks received and verified,"
            f" {report.webhooks_refused} refused, {report.webhooks_repeated} repeated;"
            f" {history.webhooks['pending']} pending, {history.webhooks['failed']} failed."
        ),
        f"The daemon ended {report.stop_seconds:.1f} s after SIGTERM; {report.wall_seconds:.0f} s in all.",
    ]
    if not feed.strict:
        lines.append(
            "This is a real recording: the status is 0 as long as everything was delivered, whatever was found."
        )
    return lines + [f"PROBLEM: {problem}" for problem in report.problems]


def _clock(time: int, form: str) -> str:
    return datetime.fromtimestamp(time / NANOSECONDS, UTC).strftime(form)
