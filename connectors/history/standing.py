"""The newest transition of alarms, read back from the history file as the engine made it."""

import json
from collections.abc import Collection
from typing import Any

import duckdb

from tsad.alarms import AlarmTransition, Contribution, OddAttribute, Verdict

__all__ = ["newest_transitions"]

_COLUMNS = (
    "kind", "alarm_id", "episode_id", "transition_seq", "stream", "asset", "state", "previous_state", "severity",
    "score", "threshold", "p_value", "one_in_days",
)  # fmt: skip


def newest_transitions(cursor: duckdb.DuckDBPyConnection, alarm_ids: Collection[str]) -> list[AlarmTransition]:
    """The newest transition of each of these alarms that has any."""
    if not alarm_ids:
        return []
    rows = cursor.execute(
        f"SELECT {', '.join(_COLUMNS)}, epoch_ns(time), epoch_ns(started), partition, record_offset, details "  # noqa: S608 - own names
        "FROM alarm_transitions WHERE list_contains(?, alarm_id) "
        "QUALIFY row_number() OVER (PARTITION BY alarm_id ORDER BY transition_seq DESC) = 1",
        [list(alarm_ids)],
    ).fetchall()
    names = (*_COLUMNS, "time", "started", "partition", "offset", "details")
    return [_transition(dict(zip(names, row, strict=True))) for row in rows]


def _transition(row: dict[str, Any]) -> AlarmTransition:
    said = json.loads(row.pop("details"))
    return AlarmTransition(
        **row,
        contributions=tuple(Contribution(**one) for one in said["contributions"]),
        verdicts=tuple(Verdict(**one) for one in said["verdicts"]),
        attributes=tuple(
            OddAttribute(**{**one, "expected": tuple((value, p) for value, p in one["expected"])})
            for one in said.get("attributes", ())
        ),
    )
