"""Alarm transitions in the history file, and back as the engine made them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from tsad.alarms import AlarmTransition

__all__ = ["newest_transitions", "write_transitions"]

_TEXTS = (
    "alarm_id", "episode_id", "transition_seq", "kind", "stream", "asset", "state", "previous_state", "severity",
)  # fmt: skip
_TIMES = ("time", "started")
_NUMBERS = ("score", "threshold", "p_value", "one_in_days")
_PLACE = {"partition": "partition", "offset": "record_offset"}
_OWN_COLUMNS = {*_TEXTS, *_TIMES, *_NUMBERS, *_PLACE}
_SELECT = ", ".join(
    [*_TEXTS, *(f"epoch_ns({name}) AS {name}" for name in _TIMES), *_NUMBERS]
    + [f'{column} AS "{name}"' for name, column in _PLACE.items()]
    + ["details"]
)  # fmt: skip


def write_transitions(connection: duckdb.DuckDBPyConnection, transitions: Sequence[AlarmTransition]) -> None:
    """Append transitions; what has no column of its own goes into `details`, whatever it is."""
    if not transitions:
        return
    rows = [asdict(transition) for transition in transitions]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _TEXTS}
    columns |= {name: pa.array([row[name] for row in rows], pa.timestamp("ns")) for name in _TIMES}
    columns |= {name: pa.array([row[name] for row in rows], pa.float64()) for name in _NUMBERS}
    columns["details"] = [
        json.dumps({name: value for name, value in row.items() if name not in _OWN_COLUMNS}) for row in rows
    ]
    columns |= {column: [row[name] for row in rows] for name, column in _PLACE.items()}
    connection.register("commit_rows", pa.table(columns))
    connection.execute("INSERT INTO alarm_transitions BY NAME SELECT * FROM commit_rows")
    connection.unregister("commit_rows")


def newest_transitions(
    cursor: duckdb.DuckDBPyConnection, alarm_ids: Collection[str], *, active: bool = False
) -> list[AlarmTransition]:
    """The newest transition of each of these alarms that has any.

    Parameters
    ----------
    cursor, alarm_ids
        Of the history file, and which.
    active
        The newest that left the alarm active: one that ends it says nothing of what it was.
    """
    if not alarm_ids:
        return []
    cursor.execute(
        f"SELECT {_SELECT} FROM alarm_transitions "  # noqa: S608 - own names
        "WHERE list_contains(?, alarm_id) AND list_contains(?, state) "
        "QUALIFY row_number() OVER (PARTITION BY alarm_id ORDER BY transition_seq DESC) = 1",
        [list(alarm_ids), ["active"] if active else ["active", "normal"]],
    )
    names = [column[0] for column in cursor.description or ()]
    return [_transition(dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _transition(row: dict[str, Any]) -> AlarmTransition:
    details = json.loads(row.pop("details"))
    # Details that an older version did not write take their defaults.
    return msgspec.convert({**row, **details}, AlarmTransition)
