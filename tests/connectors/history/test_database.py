import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from connectors.errors import HistoryError, HistoryLockedError, HistoryVersionError
from connectors.history.database import Commit, History, StoredSnapshot
from connectors.history.schema import SCHEMA_VERSION
from tsad.alarms import AlarmBook


def dead_letters(n, detail="bad"):
    return pa.table(
        {
            "topic": ["t"] * n,
            "partition": pa.array([0] * n, pa.int32()),
            "record_offset": list(range(n)),
            "reason": ["malformed_json"] * n,
            "detail": [detail] * n,
            "payload": pa.array([b"x"] * n, pa.binary()),
            "arrived": pa.array([None] * n, pa.timestamp("ns")),
        }
    )


def test_everything_of_a_commit_is_there_after_reopening(tmp_path):
    path = tmp_path / "h.duckdb"
    transition = AlarmBook("s").step("alarm.raised", "a", "anomaly", 10**18 + 1, (0, 5), severity="low")
    with History(path) as history:
        ids = history.stream_ids({"s": ["robust"]})
        commit = Commit(positions={("t", 0): 7}, transitions=[transition], series=[(ids["s"], 0, "a", ("x",))])
        commit.counts["s", "records"] = 7
        commit.snapshots = [StoredSnapshot("s", "streaming", {("t", 0): 7}, b"bytes", {"fits": 1})]
        commit.append("dead_letters", dead_letters(2))
        history.commit(commit)
        history.commit(Commit(positions={("t", 0): 9}, counts=commit.counts))

    with History(path) as history:
        cursor = history.cursor()
        assert history.positions() == {("t", 0): 9}
        assert cursor.execute("SELECT count FROM counters").fetchall() == [(14,)]
        assert cursor.execute("SELECT count(*) FROM dead_letters").fetchone() == (2,)
        assert cursor.execute("SELECT epoch_ns(time), state, severity FROM alarm_transitions").fetchall() == [
            (10**18 + 1, "active", "low")
        ]
        episodes = cursor.execute("SELECT state, ended, settled_started, settled_ended FROM episodes").fetchall()
        assert episodes == [("active", None, None, None)]
        stored = history.snapshots()["s", "streaming"]
        assert (stored.arrays, stored.extra, stored.positions) == (b"bytes", {"fits": 1}, {("t", 0): 7})
        assert history.stream_ids({"s": []}) == ids


def test_a_failed_commit_leaves_nothing_and_can_be_tried_again(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        commit = Commit(positions={("t", 0): 7})
        commit.append("dead_letters", dead_letters(2))
        broken = Commit(positions={("t", 0): 7})
        broken.append("dead_letters", dead_letters(2))
        broken.append("no_such_table", dead_letters(1))
        with pytest.raises(HistoryError, match="cannot be written"):
            history.commit(broken)
        assert history.positions() == {}
        assert history.cursor().execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)

        history.commit(commit)
        assert history.positions() == {("t", 0): 7}


def test_a_file_that_another_process_has_open_is_refused(tmp_path):
    path = tmp_path / "h.duckdb"
    script = (
        "import sys; from pathlib import Path; from connectors.history.database import History\n"
        "h = History(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(HistoryLockedError, match="open in another process"):
            History(path)
    finally:
        other.communicate(timeout=20)


def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "h.duckdb"
    History(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(HistoryVersionError, match=f"version 99, this program writes version {SCHEMA_VERSION}"):
        History(path)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(99,)]


def test_a_file_of_an_older_version_is_brought_up_to_date_and_keeps_its_rows(tmp_path):
    path = tmp_path / "h.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(Path(__file__).with_name("version_1.sql").read_text())
        connection.execute("INSERT INTO events VALUES (1, TIMESTAMP '2026-01-01', '{\"user\": \"ann\"}', 0, 7)")
    for _ in range(2):
        with History(path) as history, history.cursor() as cursor:
            assert cursor.execute("SELECT record_offset, p_value, odd FROM events").fetchall() == [(7, None, None)]
            assert cursor.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
    fresh = tmp_path / "fresh.duckdb"
    History(fresh).close()
    columns = "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY ALL"
    with duckdb.connect(str(path)) as old, duckdb.connect(str(fresh)) as new:
        assert old.execute(columns).fetchall() == new.execute(columns).fetchall()


def test_something_else_than_a_database_is_refused(tmp_path):
    path = tmp_path / "h.duckdb"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(HistoryError, match="cannot be opened"):
        History(path)


def samples(stream, start, n, step=10**9):
    return pa.table(
        {
            "stream_id": np.full(n, stream, np.int16),
            "series": np.zeros(n, np.int32),
            "time": pa.array((start + np.arange(n) * step).view("datetime64[ns]")),
            "values": pa.ListArray.from_arrays(
                np.arange(n + 1, dtype=np.int32), np.random.default_rng(start % 1000).random(n, dtype=np.float32)
            ),
            "flags": np.zeros(n, np.uint8),
            "reason": np.zeros(n, np.uint8),
            "partition": np.zeros(n, np.int32),
            "record_offset": np.arange(n),
        }
    )


def test_rows_age_by_event_time_and_stream(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        commit = Commit()
        for stream in (1, 2):
            commit.append("samples", samples(stream, 10**18, 100))
            times = pa.array((10**18 + np.arange(100) * 10**9).view("datetime64[ns]"))
            one = {"stream_id": [stream] * 100, "series": [0] * 100, "time": times, "delay": [95] * 100}
            commit.append("delayed_scores", pa.table(one))
        history.commit(commit)

        assert history.delete_older({1: 9.5, 2: 1000.0}) == 180
        for table in ("samples", "delayed_scores"):
            counts = f"SELECT stream_id, count(*) FROM {table} GROUP BY ALL ORDER BY ALL"
            assert history.cursor().execute(counts).fetchall() == [(1, 10), (2, 100)]


def test_a_file_that_is_too_large_loses_its_oldest_rows(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        for start in range(4):
            commit = Commit()
            commit.append("samples", samples(1, 10**18 + start * 10**15, 150_000))
            commit.append("dead_letters", dead_letters(100))
            history.commit(commit)
            history.cursor().execute("CHECKPOINT")
        full = history.used_bytes()

        assert history.shrink(10**12) == 0
        assert history.shrink(full * 3 // 4) > 0
        assert history.used_bytes() <= full * 3 // 4
        newest, oldest = (
            history.cursor().execute("SELECT max(epoch_ns(time)), min(epoch_ns(time)) FROM samples").fetchone()
        )
        assert newest == 10**18 + 3 * 10**15 + 149_999 * 10**9
        assert oldest > 10**18
        assert history.cursor().execute("SELECT count(*) FROM dead_letters").fetchone()[0] < 400
