"""Downsampled curves against all the rows."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.history.curves import Place, find_place, score_curve, span, value_curve
from connectors.history.schema import TABLES

SECOND, MINUTE = 10**9, 60 * 10**9
START = 1_750_000_020 * SECOND
PLACE = Place(1, 0, 2)


@pytest.fixture
def cursor():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO streams VALUES (1, 'plant', ['robust'])")
        connection.execute("INSERT INTO series VALUES (1, 0, 'pump', ['flow', 'it''s \"pressure\"'])")
        yield connection


def fill(cursor, values, kept=None, rollups=True, p_values=None):
    """Rows a second apart; `kept` says which of them stand in the table of samples."""
    n = len(values)
    times = START + SECOND * np.arange(n)
    chosen = np.ones(n, bool) if kept is None else kept
    table = pa.table(
        {
            "time": pa.array(times[chosen].view("datetime64[ns]")),
            "values": [[0.0, None if np.isnan(v) else float(v)] for v in values[chosen]],
            "p": pa.array((np.full(n, np.nan) if p_values is None else p_values)[chosen], from_pandas=True),
        }
    )
    cursor.execute("DELETE FROM samples")
    cursor.execute("DELETE FROM rollups")
    cursor.register("table_of_rows", table)
    cursor.execute(
        'INSERT INTO samples SELECT 1, 0, time, "values", 0, [0.0], 0.0, p, 0.1, false, 0, 0, 0 FROM table_of_rows'
    )
    if rollups:
        minutes = times // MINUTE
        for minute in np.unique(minutes)[:-1]:
            real = values[minutes == minute]
            real = real[~np.isnan(real)]
            if len(real):
                cursor.execute(
                    "INSERT INTO rollups VALUES (1, 0, 1, make_timestamp_ns(?), ?, ?, ?, ?, NULL)",
                    [int(minute * MINUTE), len(real), real.min(), real.max(), real.mean()],
                )
    return times


@settings(max_examples=60, deadline=None)
@given(data=st.data(), points=st.integers(2, 80), rollups=st.booleans())
def test_the_extremes_of_every_stretch_are_there_and_nothing_is_made_up(data, points, rollups):
    n = data.draw(st.integers(1, 400))
    seed = data.draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(n).astype(np.float32).astype(float)
    values[rng.random(n) < 0.1] = np.nan
    with duckdb.connect() as connection:
        for statement in TABLES:
            connection.execute(statement)
        times = fill(connection, values, rollups=rollups)
        start, end = int(times[0]), int(times[-1]) + 1
        curve = value_curve(connection, PLACE, start, end, points)
    real = ~np.isnan(values)
    assert (np.diff(curve.times) >= 0).all()
    assert set(curve.values) <= set(values[real])
    width = max(1, 2 * (end - start) // points)
    if width < MINUTE or not rollups:
        naive = set()
        for bucket in np.unique((times[real] - start) // width):
            inside = values[real][(times[real] - start) // width == bucket]
            naive |= {inside.min(), inside.max()}
        assert set(curve.values) == naive
    if real.any():
        assert curve.values.max() == values[real].max()
        assert curve.values.min() == values[real].min()


def test_few_rows_are_all_there(cursor):
    values = np.arange(50.0)
    times = fill(cursor, values)
    curve = value_curve(cursor, PLACE, int(times[0]), int(times[-1]) + 1, 1000)
    assert curve.exact
    assert curve.times.tolist() == times.tolist()
    assert curve.values.tolist() == values.tolist()
    part = value_curve(cursor, PLACE, int(times[10]), int(times[20]), 1000)
    assert part.values.tolist() == values[10:20].tolist()


def test_minutes_of_which_no_row_was_kept_are_their_means_when_near_and_their_extremes_when_far(cursor):
    values = (np.sin(np.arange(1200) / 7) + np.arange(1200) / 100).astype(np.float32).astype(float)
    kept = np.zeros(1200, bool)
    kept[600:640] = True
    times = fill(cursor, values, kept=kept)
    near = value_curve(cursor, PLACE, int(times[0]), int(times[-1]) + 1, 5000)
    assert set(values[600:640]) <= set(near.values)
    minutes = times // MINUTE
    first = values[minutes == minutes[0]]
    assert near.values[0] == pytest.approx(first.mean())
    far = value_curve(cursor, PLACE, int(times[0]), int(times[-1]) + 1, 10)
    assert not far.exact
    assert far.values.min() == values.min()


def test_the_lowest_p_value_of_every_stretch_is_there(cursor):
    p_values = np.random.default_rng(0).random(500)
    times = fill(cursor, np.zeros(500), p_values=p_values)
    curve = score_curve(cursor, Place(1, 0, 0), int(times[0]), int(times[-1]) + 1, 20)
    assert curve.values.min() == p_values.min()
    assert set(curve.values) <= set(p_values)
    assert 5 <= len(curve.values) <= 20


def test_places_are_found_by_any_name_and_missing_ones_are_none(cursor):
    assert find_place(cursor, "plant", "pump", 'it\'s "pressure"') == PLACE
    assert find_place(cursor, "plant", "pump") == Place(1, 0, 0)
    assert find_place(cursor, "plant", "pump", "'; DROP TABLE series; --") is None
    assert find_place(cursor, "plant", "nobody") is None
    assert span(cursor, PLACE) is None
    times = fill(cursor, np.zeros(100), rollups=False)
    assert span(cursor, PLACE) == (times[0], times[-1])
