"""Long curves read in few points: the lowest and the highest value of every stretch of time, found by the database.

A drawn line of n pixels cannot show more than the extremes of n stretches, so nothing that a person could see is lost
(Jugel et al., "M4: a visualization-oriented time series data aggregation", PVLDB 7(10), 2014, section 4; the first and
last value of each stretch, which only matter to lines of single pixels, are left out).
"""

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt

__all__ = ["Curve", "Place", "find_place", "score_curve", "span", "value_curve"]

_MINUTE_NS = 60_000_000_000
_LATE = 8  # tsad.observations.RowFlag.LATE
_ROLLED = "stream_id = $1 AND series = $2 AND minute >= make_timestamp_ns($3) AND minute < make_timestamp_ns($4)"
_RANGE = "stream_id = $1 AND series = $2 AND time >= make_timestamp_ns($3) AND time < make_timestamp_ns($4)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel lies in the history.

    Attributes
    ----------
    stream_id, series
        Its series.
    column
        Its place among the channels, from 1 as SQL counts; 0 for the series as a whole.
    """

    stream_id: int
    series: int
    column: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in time order.

    Attributes
    ----------
    times
        int64[n], ns since 1970, UTC.
    values
        float64[n].
    exact
        Whether every stored row is a point; otherwise they are extremes of stretches.
    """

    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    exact: bool


def find_place(cursor: duckdb.DuckDBPyConnection, stream: str, asset: str, channel: str | None = None) -> Place | None:
    """Where a channel, or a series as a whole, lies; None where there is none of that name."""
    row = cursor.execute(
        "SELECT stream_id, series, list_position(channels, $3) FROM series JOIN streams USING (stream_id) "
        "WHERE name = $1 AND asset = $2",
        [stream, asset, channel],
    ).fetchone()
    if row is None or (channel is not None and not row[2]):
        return None
    return Place(row[0], row[1], row[2] or 0)


def span(cursor: duckdb.DuckDBPyConnection, place: Place) -> tuple[int, int] | None:
    """The first and the last time of a series, ns; None where nothing is stored."""
    kept, rolled = (
        cursor.execute(
            f"SELECT epoch_ns(min({time})), epoch_ns(max({time})) FROM {table} "  # noqa: S608 - own names
            "WHERE stream_id = $1 AND series = $2",
            [place.stream_id, place.series],
        ).fetchone()
        for table, time in (("samples", "time"), ("rollups", "minute"))
    )
    if rolled is None or rolled[0] is None:
        return None if kept is None or kept[0] is None else (int(kept[0]), int(kept[1]))
    first, last = int(rolled[0]), int(rolled[1]) + _MINUTE_NS - 1
    if kept is None or kept[0] is None:
        return first, last
    # A minute begins before its first row, which may be the first of all.
    first = int(kept[0]) if kept[0] < first + _MINUTE_NS else first
    return first, int(kept[1]) if kept[1] > last - _MINUTE_NS else last


def value_curve(cursor: duckdb.DuckDBPyConnection, place: Place, start: int, end: int, points: int) -> Curve:
    """The values of a channel from `start` up to `end` (ns) in about `points` points.

    Where a stretch is longer than a minute the one-minute rollups serve, which hold the extremes of every row, also of
    those that were not kept; else the kept rows, and the means of minutes of which no row was kept.
    """
    width = _width(start, end, points)
    kept = 'SELECT epoch_ns(time) AS ns, "values"[$7] AS low, "values"[$7] AS high FROM samples WHERE '
    usable = f"{_RANGE} AND flags & {_LATE} = 0"
    rolled_until = _rolled_until(cursor, place, place.column - 1)
    if rolled_until is None:
        return _extremes(cursor, kept + usable, place, start, end, width, [place.column])
    parameters = [place.column, place.column - 1]
    if width >= _MINUTE_NS:
        query = (
            f"SELECT epoch_ns(minute) AS ns, low, high FROM rollups WHERE {_ROLLED} AND channel = $8 "  # noqa: S608
            f"UNION ALL {kept} {usable} AND time >= make_timestamp_ns($9)"
        )
        return _extremes(cursor, query, place, start, end, width, [*parameters, rolled_until])
    query = (
        f"WITH kept AS ({kept} {usable}) SELECT ns, low, high FROM kept "  # noqa: S608 - own text
        f"UNION ALL SELECT epoch_ns(minute), mean, mean FROM rollups WHERE {_ROLLED} AND channel = $8 "
        f"AND epoch_ns(minute) // {_MINUTE_NS} NOT IN (SELECT ns // {_MINUTE_NS} FROM kept)"
    )
    return _extremes(cursor, query, place, start, end, width, parameters)


def score_curve(cursor: duckdb.DuckDBPyConnection, place: Place, start: int, end: int, points: int) -> Curve:
    """The p-values of a series from `start` up to `end` (ns) in about `points` points: the lowest of every stretch."""
    width = _width(start, end, points)
    kept = f"SELECT epoch_ns(time) AS ns, p_value AS low, NULL AS high FROM samples WHERE {_RANGE}"  # noqa: S608
    rolled = (
        "SELECT epoch_ns(minute) AS ns, lowest_p_value AS low, NULL AS high FROM rollups "  # noqa: S608 - own text
        f"WHERE {_ROLLED} AND channel = 0"
    )
    rolled_until = _rolled_until(cursor, place, 0)
    if rolled_until is None:
        return _extremes(cursor, kept, place, start, end, width, [])
    if width >= _MINUTE_NS:
        query = f"{rolled} UNION ALL {kept} AND time >= make_timestamp_ns($7)"
        return _extremes(cursor, query, place, start, end, width, [rolled_until])
    return _extremes(cursor, f"{rolled} UNION ALL {kept}", place, start, end, width, [])


def _rolled_until(cursor: duckdb.DuckDBPyConnection, place: Place, channel: int) -> int | None:
    """Up to when there are rollups, ns; the minute that is still open has none. None where there are none at all."""
    newest = cursor.execute(
        "SELECT epoch_ns(max(minute)) FROM rollups WHERE stream_id = $1 AND series = $2 AND channel = $3",
        [place.stream_id, place.series, channel],
    ).fetchone()
    return None if newest is None or newest[0] is None else max(int(newest[0]) + _MINUTE_NS, 0)


def _width(start: int, end: int, points: int) -> int:
    """Nanoseconds of a stretch: two points are drawn of each."""
    return max(1, 2 * (end - start) // max(points, 2))


def _extremes(
    cursor: duckdb.DuckDBPyConnection, rows: str, place: Place, start: int, end: int, width: int, more: list[int]
) -> Curve:
    found = cursor.execute(
        "SELECT arg_min(ns, low), min(low), arg_max(ns, high), max(high), count(*) "  # noqa: S608 - own text
        f"FROM ({rows}) WHERE low IS NOT NULL GROUP BY (ns - $5) // $6",
        [place.stream_id, place.series, start, end, start, width, *more],
    ).fetchnumpy()
    low_at, low, high_at, high, count = (np.ma.getdata(column) for column in found.values())
    both = np.ones(len(low), np.bool_) & ~np.ma.getmaskarray(found[list(found)[3]])
    # A stretch with one value is one point.
    both &= low != high
    times = np.concatenate((low_at, high_at[both])).astype(np.int64)
    values = np.concatenate((low, high[both])).astype(np.float64)
    order = np.argsort(times, kind="stable")
    return Curve(times[order], values[order], bool((count <= 1 + both).all()))
