"""Scores that came later, beside the immediate ones, and where episodes begin and end by them.

Alarms are raised and cleared by the immediate score, before the windows over their rows are complete. When the settled
scores of all rows of an episode are stored, its start and end are drawn again: the first and the last row whose settled
score is more than half way from what is usual to the episode's highest. Nothing that was told of the alarm changes.
"""

import duckdb

__all__ = ["SETTLED_TABLES", "redraw_episodes"]

SETTLED_TABLES: tuple[str, ...] = (
    # What was said of the row of `time` when `delay` rows more were known; `level` is the 0.9 quantile of the scores
    # at the same delay in training.
    """CREATE TABLE IF NOT EXISTS delayed_scores (
        stream_id SMALLINT NOT NULL, series INTEGER NOT NULL, time TIMESTAMP_NS NOT NULL, delay SMALLINT NOT NULL,
        score DOUBLE, level DOUBLE)""",
    # Episodes that are over. Their first row by the settled score, of `delay`, lies at or after `oldest`.
    """CREATE TABLE IF NOT EXISTS settled_episodes (
        episode_id TEXT NOT NULL, stream_id SMALLINT NOT NULL, series INTEGER NOT NULL, delay SMALLINT NOT NULL,
        oldest TIMESTAMP_NS NOT NULL, ended TIMESTAMP_NS NOT NULL, redrawn BOOLEAN NOT NULL DEFAULT false,
        settled_started TIMESTAMP_NS, settled_ended TIMESTAMP_NS)""",
)

# An episode is due when the settled score of its last row, or of a later one, has come with this commit.
_DUE = """FROM settled_episodes e WHERE NOT e.redrawn AND EXISTS (
    SELECT 1 FROM commit_rows c WHERE c.stream_id = e.stream_id AND c.series = e.series AND c.delay = e.delay
    AND c.time >= e.ended)"""
_REDRAW = f"""UPDATE settled_episodes SET redrawn = true, settled_started = f.started, settled_ended = f.ended FROM (
    WITH due AS (SELECT e.* {_DUE}),
    said AS (
        SELECT e.episode_id, d.time, d.score, d.level, max(d.score) OVER (PARTITION BY e.episode_id) AS peak
        FROM due e LEFT JOIN delayed_scores d ON d.stream_id = e.stream_id AND d.series = e.series
            AND d.delay = e.delay AND d.time BETWEEN e.oldest AND e.ended
            AND d.time BETWEEN make_timestamp_ns($1) AND make_timestamp_ns($2))
    SELECT episode_id, min(time) FILTER (score > level + 0.5 * (peak - level)) AS started,
           max(time) FILTER (score > level + 0.5 * (peak - level)) AS ended
    FROM said GROUP BY episode_id) f
    WHERE settled_episodes.episode_id = f.episode_id"""  # noqa: S608 - own text


def redraw_episodes(connection: duckdb.DuckDBPyConnection) -> None:
    """Draw episodes anew whose settled scores are complete with this commit, inside the caller's transaction.

    Parameters
    ----------
    connection
        With the delayed scores of this commit registered as ``commit_rows``, and in their table already.
    """
    # All of the answer is fetched: an open one would stand in the way of what the transaction does next.
    [bounds] = connection.execute(f"SELECT epoch_ns(min(e.oldest)), epoch_ns(max(e.ended)) {_DUE}").fetchall()
    if bounds[0] is not None:
        connection.execute(_REDRAW, list(bounds))
