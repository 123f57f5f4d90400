"""The tables of the history file, and the version that tells whether this program can read it."""

from connectors.history.conditions import CONDITION_TABLES
from connectors.history.interventions import INTERVENTION_TABLES
from connectors.history.late_answers import LATE_ANSWER_TABLE
from connectors.history.settled import SETTLED_TABLES
from connectors.webhooks.outbox import OUTBOX_TABLES

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "TABLES"]

SCHEMA_VERSION = 7

TABLES: tuple[str, ...] = (
    "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)",
    # Where to go on reading. Written in the transaction that holds what the records led to.
    """CREATE TABLE IF NOT EXISTS positions (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset BIGINT NOT NULL,
        PRIMARY KEY (topic, partition))""",
    "CREATE TABLE IF NOT EXISTS streams (stream_id SMALLINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, detectors TEXT[])",
    """CREATE TABLE IF NOT EXISTS series (
        stream_id SMALLINT NOT NULL, series INTEGER NOT NULL, asset TEXT NOT NULL, channels TEXT[] NOT NULL,
        PRIMARY KEY (stream_id, series))""",
    # One row of the time grid with what was said of it. `values` stand in the order of series.channels, `scores` in
    # the order of streams.detectors; `flags` and `reason` are tsad.observations.RowFlag and tsad.detectors.Unscored.
    """CREATE TABLE IF NOT EXISTS samples (
        stream_id SMALLINT NOT NULL, series INTEGER NOT NULL, time TIMESTAMP_NS NOT NULL, "values" FLOAT[] NOT NULL,
        flags UTINYINT NOT NULL, scores DOUBLE[], verdict DOUBLE, p_value DOUBLE, threshold DOUBLE, alarm BOOLEAN,
        reason UTINYINT, partition INTEGER NOT NULL, record_offset BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS rollups (
        stream_id SMALLINT NOT NULL, series INTEGER NOT NULL, channel SMALLINT NOT NULL, minute TIMESTAMP_NS NOT NULL,
        count INTEGER NOT NULL, low FLOAT, high FLOAT, mean DOUBLE, lowest_p_value DOUBLE)""",
    """CREATE TABLE IF NOT EXISTS alarm_transitions (
        alarm_id TEXT NOT NULL, episode_id TEXT NOT NULL, transition_seq INTEGER NOT NULL, kind TEXT NOT NULL,
        stream TEXT NOT NULL, asset TEXT NOT NULL, state TEXT NOT NULL, previous_state TEXT NOT NULL,
        severity TEXT NOT NULL, time TIMESTAMP_NS NOT NULL, started TIMESTAMP_NS NOT NULL, score DOUBLE,
        threshold DOUBLE, p_value DOUBLE, one_in_days DOUBLE, details JSON NOT NULL, partition INTEGER NOT NULL,
        record_offset BIGINT NOT NULL, PRIMARY KEY (episode_id, transition_seq))""",
    *SETTLED_TABLES,
    """CREATE OR REPLACE VIEW episodes AS
        SELECT alarm_id, episode_id, stream, asset, any_value(started) AS started,
               arg_max(state, transition_seq) AS state, arg_max(severity, transition_seq) AS severity,
               CASE WHEN arg_max(state, transition_seq) = 'normal' THEN max(time) END AS ended,
               min(p_value) AS lowest_p_value, max(one_in_days) AS one_in_days, count(*) AS transitions,
               arg_min(kind, transition_seq) AS kind, any_value(settled_started) AS settled_started,
               any_value(settled_ended) AS settled_ended
        FROM alarm_transitions LEFT JOIN settled_episodes USING (episode_id)
        GROUP BY alarm_id, episode_id, stream, asset""",
    # `scores` stand in the order of streams.detectors; they and all that follows are null while nothing is learnt.
    """CREATE TABLE IF NOT EXISTS events (
        stream_id SMALLINT NOT NULL, time TIMESTAMP_NS NOT NULL, payload JSON NOT NULL, partition INTEGER NOT NULL,
        record_offset BIGINT NOT NULL, scores DOUBLE[], verdict DOUBLE, p_value DOUBLE, threshold DOUBLE, odd BOOLEAN,
        unseen BOOLEAN)""",
    """CREATE TABLE IF NOT EXISTS inspections (
        stream_id SMALLINT NOT NULL, inspection_id TEXT NOT NULL, part_id TEXT, station TEXT, camera TEXT,
        time TIMESTAMP_NS NOT NULL, score DOUBLE, payload JSON NOT NULL, partition INTEGER NOT NULL,
        record_offset BIGINT NOT NULL)""",
    # Which part was at which station from when to when; `shared_by` parts share the interval, as those of a batch do.
    """CREATE TABLE IF NOT EXISTS genealogy (
        stream_id SMALLINT NOT NULL, part_id TEXT NOT NULL, station TEXT NOT NULL, started TIMESTAMP_NS NOT NULL,
        time TIMESTAMP_NS NOT NULL, shared_by INTEGER NOT NULL, partition INTEGER NOT NULL,
        record_offset BIGINT NOT NULL)""",
    # One row an amendment. `scores` and `p_values` stand in the order of streams.detectors, which are the part's
    # streams; `station`, `channel` and `began` tell where in the process it was oddest.
    """CREATE TABLE IF NOT EXISTS parts (
        stream_id SMALLINT NOT NULL, part_id TEXT NOT NULL, amendment INTEGER NOT NULL, final BOOLEAN NOT NULL,
        time TIMESTAMP_NS NOT NULL, scores DOUBLE[], p_values DOUBLE[], p_value DOUBLE, method TEXT NOT NULL,
        decided_by TEXT, flagged BOOLEAN NOT NULL, missing TEXT[], station TEXT, channel TEXT, began TIMESTAMP_NS,
        shared_by INTEGER NOT NULL, closer_imaging BOOLEAN NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS dead_letters (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, record_offset BIGINT NOT NULL, reason TEXT NOT NULL,
        detail TEXT NOT NULL, payload BLOB, arrived TIMESTAMP_NS, published BOOLEAN NOT NULL DEFAULT false)""",
    """CREATE TABLE IF NOT EXISTS counters (
        stream TEXT NOT NULL, name TEXT NOT NULL, count BIGINT NOT NULL, PRIMARY KEY (stream, name))""",
    """CREATE TABLE IF NOT EXISTS fits (
        stream TEXT NOT NULL, asset TEXT NOT NULL, time TIMESTAMP_NS NOT NULL, rows INTEGER NOT NULL,
        max_false_alarms_per_day DOUBLE, flags TEXT[], problem TEXT, choices TEXT[])""",
    """CREATE TABLE IF NOT EXISTS snapshots (
        stream TEXT NOT NULL, kind TEXT NOT NULL, positions JSON NOT NULL, arrays BLOB NOT NULL, extra JSON NOT NULL,
        PRIMARY KEY (stream, kind))""",
    """CREATE TABLE IF NOT EXISTS audit_log (
        "time" TIMESTAMP NOT NULL, principal TEXT, address TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
        status SMALLINT NOT NULL, detail TEXT NOT NULL)""",
    LATE_ANSWER_TABLE,
    *OUTBOX_TABLES,
    *CONDITION_TABLES,
    *INTERVENTION_TABLES,
)

MIGRATIONS: dict[int, tuple[str, ...]] = {
    # Events are scored, and detectors say what they chose.
    1: (
        "ALTER TABLE fits ADD COLUMN choices TEXT[]",
        *(
        f"ALTER TABLE events ADD COLUMN {column}"
        for column in ("scores DOUBLE[]", "verdict DOUBLE", "p_value DOUBLE", "threshold DOUBLE", "odd BOOLEAN",
                       "unseen BOOLEAN")
        ),
    ),
    # Endpoints that fail for long are switched off; the ledger knows what was sent in a receiver's own format.
    2: (
        "ALTER TABLE endpoints ADD COLUMN failing_since TIMESTAMP",
        "ALTER TABLE delivery_attempts ADD COLUMN body_sha256 TEXT",
    ),
    # Parts and their genealogy: tables that are new.
    3: (),
    # Operators' words, what was learnt before them, and what episodes were like: tables that are new.
    4: (),
    # What networks were late for: a table that is new.
    5: (),
    # Scores that come later and episodes drawn by them: tables that are new, and the view of episodes.
    6: (),
}  # fmt: skip
"""What leads from each version to the next, besides tables that are new."""
