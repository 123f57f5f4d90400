"""Operators' words on their way into the engines: taken in by the clock, heeded at a definite place among the records.

A word is written when it is spoken. The worker heeds it between two batches, right before a commit, and that commit
holds the engine's state behind it, so no record is ever read again across it: a crash before the commit leaves the word
waiting, a crash after it finds it heeded.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy.typing as npt
import structlog

from connectors.history.conditions import ActionRecord
from connectors.history.database import Commit, History
from connectors.history.interventions import (
    InterventionRecord,
    LearntVersion,
    load_interventions,
    read_versions,
)
from connectors.sources.base import Position
from streams.errors import StreamsError
from streams.snapshots import arrays_from_bytes, arrays_to_bytes
from tsad.alarms import ANOMALY_RULE, AlarmTransition, stable_id
from tsad.interventions import Intervention, InterventionKind, LearningEngine
from tsad.maintenance import MaintenanceCover, MaintenancePlan, MaintenanceRule, MaintenanceWindow

__all__ = ["OPEN_END", "InterventionDesk", "InterventionRefusedError"]

_log = structlog.get_logger(__name__)

OPEN_END = 2**62
"""Ends a period that goes on, until the alarm clears."""

_OF_LABEL = {"true": "bad", "known": "bad", "false": "false_alarm"}


class InterventionRefusedError(StreamsError, ValueError):
    """What an operator asks for is not possible. The message says why, and what would be."""


class InterventionDesk:
    """Takes in what operators say, and hands it to the engines.

    Parameters
    ----------
    history
        The open history file.
    streams
        Names of all streams.
    rules
        Maintenance that is known beforehand.
    keep
        Of how many interventions what was learnt before is kept.
    """

    def __init__(
        self, history: History, streams: Sequence[str], rules: Sequence[MaintenanceRule] = (), keep: int = 20
    ) -> None:
        self._history = history
        self._rules = tuple(rules)
        self._keep = keep
        self.lock = threading.RLock()
        self.plans = {stream: MaintenancePlan(stream, rules) for stream in streams}
        with history.cursor() as cursor:
            known = load_interventions(cursor)
        self._number = known[-1].number if known else 0
        self._waiting = [one for one in known if one.applied is None]
        self._heeded: list[InterventionRecord] = []
        self._versions: list[LearntVersion] = []
        self._followed: dict[str, InterventionRecord] = {}
        # By stream that is learnt anew, the newest word that was about what it had learnt before.
        self._void: dict[str, int] = {}
        for one in known:
            self._note(one)

    def _note(self, one: InterventionRecord) -> None:
        """Remember what of a word matters later."""
        if one.kind == "maintenance" and one.stream in self.plans:
            window = MaintenanceWindow(one.number, one.asset, one.start, one.end, one.reason)
            self.plans[one.stream].add(window)
        elif one.kind == "end_maintenance" and one.stream in self.plans and one.target is not None:
            self.plans[one.stream].end(one.target, one.end)
        elif one.episode_id:
            self._followed.pop(one.episode_id, None)
            if one.end == OPEN_END:
                self._followed[one.episode_id] = one

    def cover(self, stream: str, asset: str, time: int) -> MaintenanceCover | None:
        """The maintenance of an asset at an event time."""
        plan = self.plans.get(stream)
        return plan.cover(asset, time) if plan else None

    # ------------------------------------------------------------------------------------------------ people's side

    def of_label(self, record: ActionRecord, stream: str, asset: str) -> list[InterventionRecord]:
        """What a label asks of the engine, to be written with it; `taken` follows.

        Labels of alarms that are not about how an asset behaves (silence, events, parts) change nothing.
        """
        if record.alarm_id != stable_id("alm", stream, ANOMALY_RULE, asset) or record.label is None:
            return []
        with self._history.cursor() as cursor:
            found = cursor.execute(
                "SELECT epoch_ns(started), epoch_ns(ended) FROM episodes WHERE episode_id = ?", [record.episode_id]
            ).fetchone()
        if found is None:
            return []
        with self.lock:
            self._number += 1
        end = OPEN_END if found[1] is None else found[1]
        return [
            InterventionRecord(
                self._number, record.at, _OF_LABEL[record.label], stream, asset, found[0], end, record.episode_id,
                record.label, record.by, record.comment, None,
            )
        ]  # fmt: skip

    def taken(self, records: Iterable[InterventionRecord]) -> None:
        """These were written: they wait to be heeded."""
        with self.lock:
            for one in records:
                self._note(one)
                self._waiting.append(one)

    def submit(
        self,
        kind: str,
        streams: Sequence[str],
        asset: str,
        period: tuple[int, int],
        *,
        by: str,
        reason: str,
        at: int,
        target: int | None = None,
    ) -> list[InterventionRecord]:
        """Take in a word that is not about an episode; returns it as it was written, one a stream.

        Raises
        ------
        InterventionRefusedError
            A name, a reason, or a sensible period is missing, or there is no such stream, window or version.
        HistoryError
            It cannot be written now; nothing has changed.
        """
        if not by.strip() or not reason.strip():
            raise InterventionRefusedError(f"{kind}: say who, and why")
        unknown = [one for one in streams if one not in self.plans]
        if unknown or not streams:
            raise InterventionRefusedError(
                f"{kind}: there is no stream {', '.join(unknown)!r}; there are {', '.join(self.plans)}"
            )
        if period[1] < period[0]:
            raise InterventionRefusedError(f"{kind}: the period ends before it begins")
        with self.lock:
            records = []
            for stream in streams:
                self._number += 1
                records.append(
                    InterventionRecord(
                        self._number, at, kind, stream, asset, *period, "", None, by.strip(), reason.strip(), target
                    )
                )
            try:
                self._history.commit(Commit(interventions=records))
            except BaseException:
                self._number -= len(records)
                raise
            self.taken(records)
            return records

    def end_maintenance(self, number: int, *, by: str, reason: str, at: int) -> InterventionRecord:
        """Let a declared maintenance end now.

        Raises
        ------
        InterventionRefusedError
            There is no such maintenance, or it is over.
        HistoryError
            It cannot be written now.
        """
        for stream, plan in self.plans.items():
            window = plan.windows.get(number)
            if window is None:
                continue
            if window.end <= at:
                raise InterventionRefusedError(f"maintenance {number} is over already")
            period = (window.start, max(at, window.start))
            return self.submit(
                "end_maintenance", [stream], window.assets, period, by=by, reason=reason, at=at, target=number
            )[0]
        raise InterventionRefusedError(
            f"there is no maintenance {number} that was declared; `tsad maintenance list` shows them. One from the "
            f"configuration file ends there"
        )

    def roll_back(self, number: int, *, by: str, reason: str, at: int) -> list[InterventionRecord]:
        """Put back what was learnt before an intervention.

        Raises
        ------
        InterventionRefusedError
            Nothing is kept of it.
        HistoryError
            It cannot be written now.
        """
        versions = self._kept(number)
        if not versions:
            raise InterventionRefusedError(
                f"nothing is kept from before change {number}; `tsad snapshots list` shows what is"
            )
        with self.lock:
            return [
                record
                for one in versions
                for record in self.submit(
                    "restore", [one.stream], one.asset, (at, at), by=by, reason=reason, at=at, target=number
                )
            ]

    def _kept(self, number: int | None) -> list[LearntVersion]:
        """What is kept from before a change, and can be put back."""
        with self._history.cursor() as cursor:
            found = read_versions(cursor, number)
        return [one for one in found if one.number > self._void.get(one.stream, 0)]

    # ------------------------------------------------------------------------------------------------ the worker's side

    def relearnt(self, streams: Iterable[str], commit: Commit) -> None:
        """These streams are learnt anew: what they had learnt before fits no longer, and goes with this commit."""
        self._void |= dict.fromkeys(streams, self._number)
        commit.relearnt += streams

    def catch_up(self, at: int) -> None:
        """Follow alarms that cleared before a crash, but whose rest of the period was not heeded by then."""
        with self._history.cursor() as cursor:
            ended = cursor.execute(
                "SELECT episode_id, epoch_ns(ended) FROM episodes WHERE list_contains(?, episode_id) AND "
                "ended IS NOT NULL ORDER BY ended, episode_id",
                [list(self._followed)],
            ).fetchall()
        for episode_id, end in ended:
            self._follow_to(episode_id, end, at)

    def follow(self, transition: AlarmTransition, at: int) -> None:
        """An alarm that was labelled while it stood is over: the rest of its period is heeded too."""
        if transition.state == "active" or transition.episode_id not in self._followed:
            return
        self._follow_to(transition.episode_id, transition.time, at)

    def _follow_to(self, episode_id: str, end: int, at: int) -> None:
        with self.lock:
            said = self._followed.pop(episode_id)
            self._number += 1
            rest = replace(
                said, number=self._number, at=at, end=end, reason=f"{said.reason} (the alarm is over)",
                applied=None, effects=None,
            )  # fmt: skip
            self._waiting.append(rest)

    def heed(self, engines: Mapping[str, LearningEngine], positions: Mapping[Position, int]) -> bool:
        """Hand what waits to the engines, at these positions; returns whether there is something to be written.

        What was heeded stays to be written until `written` is called, so a failed commit changes nothing.
        """
        with self.lock:
            waiting, self._waiting = self._waiting, []
        at = [[*position, offset] for position, offset in sorted(positions.items())]
        for record in waiting:
            engine = engines.get(record.stream)
            effects = [] if engine is None else self._learn(engine, record)
            self._heeded.append(replace(record, applied=at, effects=effects))
        return bool(self._heeded)

    def _learn(self, engine: LearningEngine, record: InterventionRecord) -> list[dict[str, object]]:
        learnt: Mapping[str, npt.NDArray[Any]] = {}
        if record.kind == "restore":
            found = [
                one for one in [*self._kept(record.target), *self._versions]
                if (one.number, one.asset) == (record.target, record.asset)
            ]  # fmt: skip
            if not found:
                _log.warning(
                    "nothing is kept from before a change any more; it is not taken back",
                    change=record.target, stream=record.stream, asset=record.asset,
                )  # fmt: skip
                return []
            learnt = arrays_from_bytes(found[0].arrays)
        number = record.target if record.kind == "end_maintenance" else record.number
        # A window's end is not part of it; the engine's periods hold both ends.
        end = record.end - (record.kind == "maintenance")
        kind = cast("InterventionKind", record.kind)
        one = Intervention(
            kind, record.asset, record.start, end, number or 0, episode=bool(record.episode_id), learnt=learnt
        )
        for series in engine.concerned(one):
            before = engine.learnt(series)
            if before:
                asset = engine.table.assets[series]
                self._versions.append(LearntVersion(record.number, record.stream, asset, arrays_to_bytes(before)))
        return [effect.as_dict() for effect in engine.learn(one)]

    def put_into(self, commit: Commit) -> None:
        """Add what was heeded to a commit; may be called again after it failed."""
        commit.interventions, commit.versions = list(self._heeded), list(self._versions)
        commit.keep_versions = self._keep

    def written(self) -> None:
        """The commit was written."""
        self._heeded, self._versions = [], []
