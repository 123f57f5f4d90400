"""What past episodes were like and were called: which of them a new one is like, and whose label would help most."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from connectors.history.database import History
from connectors.history.interventions import EpisodeRecord, load_episodes
from tsad.alarms import AlarmTransition
from tsad.episode_signature import EpisodeSignature, Moment, moment_of, signature_of, similarity

__all__ = ["EpisodeMemory", "SimilarEpisode", "WantedLabel"]

ALIKE = 0.8
"""From this similarity on two episodes are taken for the same thing."""
_PER_ALARM = 50
_NEWEST = 500


@dataclass(frozen=True, slots=True)
class SimilarEpisode:
    """A past episode that another one is like; times in ns UTC, `label` None where nobody gave one."""

    episode_id: str
    asset: str
    started: int
    ended: int
    similarity: float
    label: str | None
    comment: str


@dataclass(frozen=True, slots=True)
class WantedLabel:
    """An episode whose label would help most, and why."""

    episode_id: str
    alarm_id: str
    stream: str
    asset: str
    started: int
    ended: int
    stands_for: int
    why: str


class EpisodeMemory:
    """Keeps signatures of the newest 50 episodes of every alarm.

    Parameters
    ----------
    history
        The open history file.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._past: dict[str, list[EpisodeRecord]] = {}
        with history.cursor() as cursor:
            for one in load_episodes(cursor, _PER_ALARM):
                self._past.setdefault(one.alarm_id, []).append(one)
            rows = cursor.execute(
                "SELECT episode_id, arg_max(label, action_seq), arg_max(comment, action_seq) FROM alarm_actions "
                "WHERE kind = 'label' GROUP BY episode_id"
            ).fetchall()
        self._labels = {episode: (label, comment) for episode, label, comment in rows}
        self._moments: dict[str, list[Moment]] = {}
        self._new: list[EpisodeRecord] = []

    # ------------------------------------------------------------------------------------------------ one commit

    def begin(self) -> None:
        """A commit is put together, perhaps not for the first time."""
        self._moments, self._new = {}, []

    def take(self, transition: AlarmTransition) -> list[SimilarEpisode]:
        """Enter a transition; when it raises an alarm, returns up to three past episodes of the same alarm like it.

        Only the same alarm is compared: its episodes come in one order, whatever the batches.
        """
        moments = self._moments.get(transition.episode_id)
        if moments is None:
            begun = transition.previous_state == "active"
            moments = self._stored(transition) if begun else []
            self._moments[transition.episode_id] = moments
        moments.append(moment_of(transition))
        signature = signature_of(moments)
        if transition.state == "active":
            if transition.previous_state == "active":
                return []
            past = [*self._past.get(transition.alarm_id, ()), *self._new]
            return self._like(signature, [one for one in past if one.alarm_id == transition.alarm_id])[:3]
        self._new.append(
            EpisodeRecord(
                transition.episode_id, transition.alarm_id, transition.stream, transition.asset, transition.started,
                transition.time, signature.as_dict(),
            )
        )  # fmt: skip
        return []

    def ended(self) -> list[EpisodeRecord]:
        """What was found to be over, for the commit."""
        return list(self._new)

    def written(self) -> None:
        """The commit was written."""
        for one in self._new:
            kept = self._past.setdefault(one.alarm_id, [])
            kept.append(one)
            del kept[:-_PER_ALARM]
        self.begin()

    def labelled(self, episode_id: str, label: str, comment: str) -> None:
        """An episode was labelled."""
        self._labels[episode_id] = label, comment

    def _stored(self, transition: AlarmTransition) -> list[Moment]:
        """What was written of an episode before this commit."""
        with self._history.cursor() as cursor:
            return _moments(cursor, transition.episode_id)

    # ------------------------------------------------------------------------------------------------ asked

    def _like(self, signature: EpisodeSignature, past: Sequence[EpisodeRecord]) -> list[SimilarEpisode]:
        found = []
        for one in past:
            label, comment = self._labels.get(one.episode_id, (None, ""))
            alike = similarity(signature, _signature(one.signature))
            if alike >= ALIKE:
                found.append(SimilarEpisode(one.episode_id, one.asset, one.started, one.ended, alike, label, comment))
        return sorted(found, key=lambda one: (-one.similarity, -one.started, one.episode_id))

    def similar(self, alarm_id: str, stream: str, limit: int = 5) -> list[SimilarEpisode]:
        """Past episodes of a whole stream that are like the newest of an alarm, labelled ones first."""
        with self._history.cursor() as cursor:
            row = cursor.execute(
                "SELECT episode_id FROM alarm_transitions WHERE alarm_id = ? ORDER BY transition_seq DESC LIMIT 1",
                [alarm_id],
            ).fetchone()
            if row is None:
                return []
            moments = _moments(cursor, row[0])
        past = [one for own in list(self._past.values()) for one in own if one.stream == stream]
        found = self._like(signature_of(moments), [one for one in past if one.episode_id != row[0]])
        return sorted(found, key=lambda one: (one.label is None, -one.similarity, -one.started))[:limit]

    def wanted(self, limit: int = 5) -> list[WantedLabel]:
        """Episodes whose label would help most.

        Rule: episodes without a label that are alike (0.8) are one thing, and so is one that is like a labelled episode
        of its stream known already. Of every thing that is not known, the largest first, the newest episode is asked
        for; of equal ones the less severe, whose truth is the less certain.
        """
        every = [one for own in list(self._past.values()) for one in own]
        every = sorted(every, key=lambda one: (-one.started, one.episode_id))[:_NEWEST]
        signatures = {one.episode_id: _signature(one.signature) for one in every}
        known = [one for one in every if one.episode_id in self._labels]

        def alike(one: EpisodeRecord, other: EpisodeRecord) -> bool:
            same = one.stream == other.stream
            return same and similarity(signatures[one.episode_id], signatures[other.episode_id]) >= ALIKE

        left = [
            one for one in every if one.episode_id not in self._labels and not any(alike(one, other) for other in known)
        ]
        found = []
        while left:
            groups = [[other for other in left if alike(one, other)] for one in left[:_PER_ALARM]]
            best = max(
                range(len(groups)),
                key=lambda i: (len(groups[i]), -signatures[left[i].episode_id].severity, left[i].started),
            )
            one, group = left[best], groups[best]
            why = (
                f"stands for {len(group)} episodes that are alike and have no label"
                if len(group) > 1
                else "is like no episode that has a label"
            )
            found.append(
                WantedLabel(
                    one.episode_id, one.alarm_id, one.stream, one.asset, one.started, one.ended, len(group), why
                )
            )
            gone = {other.episode_id for other in group} | {one.episode_id}
            left = [other for other in left if other.episode_id not in gone]
            if len(found) == limit:
                break
        return found


def _signature(stored: Mapping[str, object]) -> EpisodeSignature:
    return EpisodeSignature(**stored)  # type: ignore[arg-type]


def _moments(cursor: duckdb.DuckDBPyConnection, episode_id: str) -> list[Moment]:
    """The transitions of an episode that are written."""
    rows = cursor.execute(
        "SELECT epoch_ns(time), epoch_ns(started), state, severity, details FROM alarm_transitions "
        "WHERE episode_id = ? ORDER BY transition_seq",
        [episode_id],
    ).fetchall()
    found = []
    for time, started, state, severity, details in rows:
        told = json.loads(details)
        shares = [(f"{c['channel']} {c['direction']}", c["share"]) for c in told.get("contributions", ())]
        shares += [(a["attribute"], a["share"]) for a in told.get("attributes", ())]
        found.append(Moment(time, started, state == "active", severity, tuple(shares)))
    return found
