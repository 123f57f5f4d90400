"""What was planted against what was told: read from the history after the daemon has ended, matched, summed up."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tsad_cli.demo_events import EventResult
from tsad_cli.demo_feed import ACCESS_STREAM, LINE_STREAMS, NANOSECONDS, Feed, Planted
from tsad_cli.demo_line import LineResult

__all__ = ["AFTER_ROWS", "FalseAlarm", "HistoryContent", "Outcome", "Report", "Told", "match", "read_history"]

AFTER_ROWS = 32
"""An alarm counts for a fault up to so many rows after it: a window that still holds the fault is still odd."""

# Streams that are not held against the planted faults of assets, but against truths of their own.
_ELSEWHERE = frozenset({ACCESS_STREAM, LINE_STREAMS[0], f"{LINE_STREAMS[2]}.parts"})
_SEVERITIES = ("low", "medium", "high", "critical")
_NOTICES = {False: ("alarm.raised", "alarm.updated"), True: ("stream.silent",)}
_OPENINGS = ("alarm.raised", "stream.silent")


@dataclass(frozen=True, slots=True)
class Told:
    """One alarm transition as the history keeps it; times are event times, nanoseconds UTC."""

    kind: str
    asset: str
    episode: str
    time: int
    severity: str
    channel: str | None
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was told of one planted fault.

    Attributes
    ----------
    planted : Planted
        The fault.
    told : Told or None
        The first transition that told of it.
    delay_rows : int or None
        Rows from the fault's first row to that transition.
    severity : str or None
        The highest that the alarm reached while it can be put down to the fault.
    channel_right : bool or None
        Whether the leading channel is one of the fault's; None where either is not known.
    remark : str
        What else there is to say.
    """

    planted: Planted
    told: Told | None
    delay_rows: int | None = None
    severity: str | None = None
    channel_right: bool | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class FalseAlarm:
    """An episode that began outside every fault of its asset."""

    kind: str
    asset: str
    time: int
    severity: str
    channel: str | None


@dataclass(frozen=True, slots=True)
class HistoryContent:
    """What the history holds at the end."""

    told: list[Told]
    rows: dict[str, int]
    dead_letters: dict[str, int]
    records: dict[str, int]
    webhooks: dict[str, int]
    attempts: int
    learnt: int
    not_learnt: list[str]
    early: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run, ready for a table or for JSON."""

    outcomes: list[Outcome]
    false_alarms: list[FalseAlarm]
    accepted_false_alarms: float
    published: int
    history: HistoryContent
    webhooks_verified: int
    webhooks_refused: int
    webhooks_repeated: int
    stop_seconds: float
    wall_seconds: float
    problems: list[str] = field(default_factory=list)
    events: EventResult = field(default_factory=EventResult)
    line: LineResult = field(default_factory=LineResult)

    def judged(self, feed: Feed) -> "Report":
        """Return the same with every other problem that this run had, in words; the run was good when there is none."""
        history = self.history
        found = list(self.problems)
        if feed.strict and self.missed:
            missed = ", ".join(f"{outcome.planted.kind} on {outcome.planted.asset}" for outcome in self.missed)
            found.append(f"no alarm told of: {missed}")
        committed = sum(history.records.values())
        if committed != self.published:
            found.append(f"{self.published} records were published and {committed} are in the history")
        if history.learnt < feed.series:
            reasons = "; ".join(history.not_learnt) or "too few rows"
            found.append(f"{history.learnt} of {feed.series} series were learnt ({reasons})")
        planted_events, found_events = sum(self.events.planted.values()), sum(self.events.told.values())
        if feed.strict and 5 * found_events < planted_events:
            found.append(f"only {found_events} of {planted_events} odd access events were found")
        alone = max(self.line.total("images"), self.line.total("process"))
        if feed.strict and self.line.total("together") < 0.8 * alone:
            found.append(f"process and images together found {self.line.total('together')} defects, one alone {alone}")
        if history.dead_letters:
            reasons = ", ".join(f"{count} {reason}" for reason, count in history.dead_letters.items())
            found.append(f"records were set aside: {reasons}")
        if self.webhooks_refused:
            found.append(f"{self.webhooks_refused} webhooks had a signature that did not verify")
        if self.webhooks_verified != len(history.told):
            found.append(f"{len(history.told)} alarm transitions, but {self.webhooks_verified} webhooks verified")
        return dataclasses.replace(self, problems=found)

    @property
    def missed(self) -> list[Outcome]:
        """Faults that nothing told of."""
        return [outcome for outcome in self.outcomes if outcome.told is None]

    def as_dict(self, feed: Feed) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "what": feed.title,
            "exit_code": 1 if self.problems else 0,
            "problems": self.problems,
            "planted": [
                {
                    **{key: value for key, value in asdict(outcome.planted).items() if key != "step"},
                    "step_seconds": outcome.planted.step / NANOSECONDS,
                    "alarmed": outcome.told is not None,
                    "alarm": None if outcome.told is None else asdict(outcome.told),
                    "delay_rows": outcome.delay_rows,
                    "alarm_severity": outcome.severity,
                    "channel_right": outcome.channel_right,
                    "remark": outcome.remark,
                }
                for outcome in self.outcomes
            ],
            "missed": len(self.missed),
            "false_alarms": [asdict(alarm) for alarm in self.false_alarms],
            "accepted_false_alarms": round(self.accepted_false_alarms, 2),
            "records": {"published": self.published, "committed": sum(self.history.records.values())},
            "access_events": asdict(self.events) | {"false": self.events.false},
            "parts": asdict(self.line),
            "kept": self.history.rows,
            "dead_letters": self.history.dead_letters,
            "series_learnt": self.history.learnt,
            "rows_scored_before_learning": self.history.early,
            "series_not_learnt": self.history.not_learnt,
            "webhooks": {
                **self.history.webhooks,
                "attempts": self.history.attempts,
                "verified": self.webhooks_verified,
                "refused": self.webhooks_refused,
                "repeated": self.webhooks_repeated,
            },
            "stop_seconds": round(self.stop_seconds, 2),
            "wall_seconds": round(self.wall_seconds, 1),
        }


def match(planted: Sequence[Planted], told: Sequence[Told]) -> tuple[list[Outcome], list[FalseAlarm]]:
    """Put alarms down to faults.

    An alarm counts for a fault of its asset when it was raised, or rose in severity, while the fault lasted or up to
    `AFTER_ROWS` rows after. One that merely still stood from before does not count.

    Parameters
    ----------
    planted : sequence of Planted
        The faults.
    told : sequence of Told
        All transitions; those of access events and of the inspection line are left to `tsad_cli.demo_events` and
        `tsad_cli.demo_line`.

    Returns
    -------
    outcomes : list of Outcome
        One for each fault, in the same order.
    false_alarms : list of FalseAlarm
        Episodes that began outside every fault of their asset.
    """
    by_time = sorted((one for one in told if not one.elsewhere), key=lambda transition: transition.time)
    outcomes = [_outcome(fault, [one for one in by_time if one.asset == fault.asset]) for fault in planted]
    false_alarms = [
        FalseAlarm(one.kind, one.asset, one.time, one.severity, one.channel)
        for one in by_time
        if one.kind in _OPENINGS and not any(_covers(fault, one) for fault in planted if fault.asset == one.asset)
    ]
    return outcomes, false_alarms


def _covers(fault: Planted, one: Told) -> bool:
    """Whether a transition can be put down to a fault of its asset."""
    if one.kind == "stream.silent" and not fault.silence:
        return False
    return fault.start <= one.time < fault.end + AFTER_ROWS * fault.step


def _outcome(fault: Planted, told: Sequence[Told]) -> Outcome:
    within = [one for one in told if one.kind in _NOTICES[fault.silence] and _covers(fault, one)]
    if not within:
        standing = _standing(told, fault.start)
        remark = "" if standing is None or fault.silence else "an alarm raised before it still stood"
        return Outcome(fault, None, remark=remark)
    first = within[0]
    right = None if fault.silence or not fault.channels or first.channel is None else first.channel in fault.channels
    return Outcome(
        fault,
        first,
        delay_rows=(first.time - fault.start) // fault.step,
        severity=max((one.severity for one in within), key=_SEVERITIES.index),
        channel_right=right,
        remark="a standing alarm rose" if first.kind == "alarm.updated" else "",
    )


def _standing(told: Sequence[Told], time: int) -> Told | None:
    """The alarm of one asset that stands at a time."""
    standing: Told | None = None
    for one in told:
        if one.time >= time:
            break
        if one.kind == "alarm.raised":
            standing = one
        elif one.kind == "alarm.cleared":
            standing = None
    return standing


def read_history(path: Path) -> HistoryContent:
    """Read what a daemon left behind.

    Parameters
    ----------
    path : Path
        The history file; nobody else may have it open for writing.
    """
    with duckdb.connect(str(path), read_only=True) as connection:
        transitions = connection.execute(
            "SELECT kind, asset, episode_id, epoch_ns(time), severity, details, stream FROM alarm_transitions"
            " ORDER BY time"
        ).fetchall()
        names = ("samples", "rollups", "events", "inspections", "parts")
        rows = {name: _count(connection, f"SELECT count(*) FROM {name}") for name in names}  # noqa: S608 - own names
        dead = connection.execute("SELECT reason, count(*) FROM dead_letters GROUP BY reason").fetchall()
        records = connection.execute("SELECT stream, count FROM counters WHERE name = 'records'").fetchall()
        webhooks = connection.execute("SELECT status, count(*) FROM outbox GROUP BY status").fetchall()
        attempts = _count(connection, "SELECT count(*) FROM delivery_attempts")
        fits = connection.execute(
            "SELECT asset, problem FROM fits WHERE NOT list_contains(coalesce(flags, []), 'early') ORDER BY time"
        ).fetchall()
        early = _count(connection, "SELECT coalesce(sum(count), 0) FROM counters WHERE name = 'scored_early'")
    problems = dict(fits)  # the last word on each asset
    return HistoryContent(
        told=[
            Told(kind, asset, episode, time, severity, _leading_channel(details), stream in _ELSEWHERE)
            for kind, asset, episode, time, severity, details, stream in transitions
        ],
        rows=rows,
        dead_letters=dict(dead),
        records=dict(records),
        webhooks={**dict.fromkeys(("delivered", "pending", "failed"), 0), **dict(webhooks)},
        attempts=attempts,
        learnt=sum(problem is None for problem in problems.values()),
        early=early,
        not_learnt=[f"{asset}: {problem}" for asset, problem in problems.items() if problem is not None],
    )


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _leading_channel(details: str) -> str | None:
    told = json.loads(details)
    if told["contributions"]:
        return str(told["contributions"][0]["channel"])
    attributes = told.get("attributes")
    return str(attributes[0]["attribute"]) if attributes else None
