"""How alarms stand with their operators, and the trail of what was done to them, in the history file."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from tsad.annunciation import Flood
from tsad.lifecycle import AlarmCondition

__all__ = [
    "CONDITION_TABLES",
    "ActionRecord",
    "load_conditions",
    "load_flood",
    "write_actions",
    "write_conditions",
    "write_flood",
]

CONDITION_TABLES: tuple[str, ...] = (
    # What `tsad.lifecycle.AlarmCondition` holds, one row an alarm; replaced in the transaction that changes it.
    "CREATE TABLE IF NOT EXISTS alarm_conditions (alarm_id TEXT PRIMARY KEY, condition JSON NOT NULL)",
    "CREATE TABLE IF NOT EXISTS flood_state (one TINYINT PRIMARY KEY, flood JSON NOT NULL)",
    # The trail: who did what to which alarm, when (wall time), and why. Rows are only ever added.
    """CREATE TABLE IF NOT EXISTS alarm_actions (
        alarm_id TEXT NOT NULL, episode_id TEXT NOT NULL, action_seq INTEGER NOT NULL, transition_seq INTEGER NOT NULL,
        kind TEXT NOT NULL, operator TEXT NOT NULL, comment TEXT NOT NULL, until TIMESTAMP_NS,
        one_shot BOOLEAN NOT NULL, label TEXT, "time" TIMESTAMP_NS NOT NULL, previous_state TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (alarm_id, action_seq))""",
)

_NAMES = tuple(field.name for field in fields(AlarmCondition))


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One row of the trail; times in ns UTC."""

    alarm_id: str
    episode_id: str
    action_seq: int
    transition_seq: int
    kind: str
    by: str
    comment: str
    until: int | None
    one_shot: bool
    label: str | None
    at: int
    previous_state: str
    state: str


def load_conditions(cursor: duckdb.DuckDBPyConnection) -> dict[str, AlarmCondition]:
    """Conditions by alarm.

    Of alarms from before there were conditions the newest transition tells: those that stand have not been seen.
    """
    rows = cursor.execute("SELECT alarm_id, condition FROM alarm_conditions").fetchall()
    found = {alarm_id: _condition(json.loads(condition)) for alarm_id, condition in rows}
    older = cursor.execute(
        "SELECT alarm_id, stream, asset, state = 'active', episode_id, epoch_ns(started), epoch_ns(time), severity, "
        "transition_seq FROM alarm_transitions WHERE alarm_id NOT IN (SELECT alarm_id FROM alarm_conditions) "
        "QUALIFY row_number() OVER (PARTITION BY alarm_id ORDER BY transition_seq DESC) = 1"
    ).fetchall()
    for alarm_id, stream, asset, active, *rest in older:
        found[alarm_id] = AlarmCondition(alarm_id, stream, asset, active, not active, *rest)
    return found


def _condition(stored: dict[str, Any]) -> AlarmCondition:
    return AlarmCondition(**{**stored, "raised": tuple(stored.get("raised", ()))})


def load_flood(cursor: duckdb.DuckDBPyConnection) -> Flood:
    """What is known of floods."""
    row = cursor.execute("SELECT flood FROM flood_state").fetchone()
    return Flood() if row is None else Flood.from_dict(json.loads(row[0]))


def write_flood(connection: duckdb.DuckDBPyConnection, flood: Flood) -> None:
    """Replace what is known of floods, inside the caller's transaction."""
    connection.execute("INSERT OR REPLACE INTO flood_state VALUES (1, ?)", [json.dumps(flood.as_dict())])


def write_conditions(connection: duckdb.DuckDBPyConnection, conditions: Iterable[AlarmCondition]) -> None:
    """Replace conditions, inside the caller's transaction."""
    rows: list[list[Any]] = [
        [one.alarm_id, json.dumps({name: getattr(one, name) for name in _NAMES})] for one in conditions
    ]
    if rows:
        connection.executemany("INSERT OR REPLACE INTO alarm_conditions VALUES (?, ?)", rows)


def write_actions(connection: duckdb.DuckDBPyConnection, actions: Iterable[ActionRecord]) -> None:
    """Add to the trail, inside the caller's transaction."""
    for one in actions:
        connection.execute(
            "INSERT INTO alarm_actions VALUES "
            "(?, ?, ?, ?, ?, ?, ?, make_timestamp_ns(?), ?, ?, make_timestamp_ns(?), ?, ?)",
            [getattr(one, name.name) for name in fields(ActionRecord)],
        )
