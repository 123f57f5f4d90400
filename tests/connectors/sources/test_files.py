import json

import polars as pl
import pytest

from connectors.errors import ConnectorSettingsError
from connectors.sources.files import FileSource, table_messages
from connectors.sources.memory import MemorySource


def drain(source, positions=None):
    source.open(positions or {})
    batches = []
    while not source.finished:
        batches += source.poll(0)
    source.close()
    return batches


def test_lines_become_records_with_their_numbers(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"a": 1}\r\n{"a": 2}\n{"a": 3}')
    batches = drain(FileSource(path, "t", batch_records=2))

    assert [v for b in batches for v in b.values] == [b'{"a": 1}', b'{"a": 2}', b'{"a": 3}']
    assert [o for b in batches for o in b.offsets.tolist()] == [0, 1, 2]


def test_continues_at_a_position(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"1\n2\n3\n")
    batches = drain(FileSource(path, "t"), {("t", 0): 2})

    assert [v for b in batches for v in b.values] == [b"3"]
    assert batches[0].offsets.tolist() == [2]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_rows_become_wide_messages(tmp_path, suffix):
    table = pl.DataFrame(
        {"timestamp": ["2026-01-01T00:00:00", "2026-01-01T00:00:01"], "flow": [1.5, None], "label": [0, 1]}
    )
    path = tmp_path / f"pump{suffix}"
    (table.write_csv if suffix == ".csv" else table.with_columns(pl.col("timestamp").str.to_datetime()).write_parquet)(
        path
    )

    first, second = (json.loads(m) for m in table_messages(path, "pump-1"))

    assert first == {"time": 1767225600000000000, "asset": "pump-1", "values": {"flow": 1.5}}
    assert second["values"] == {"flow": None}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"flow": [1.0]}, "no column 'timestamp'"),
        ({"timestamp": ["x"], "flow": [1.0]}, "give dates"),
        ({"timestamp": [1], "flow": ["x"]}, "must be numeric"),
    ],
)
def test_tables_that_cannot_be_read_say_why(tmp_path, columns, problem):
    path = tmp_path / "p.csv"
    pl.DataFrame(columns).write_csv(path)

    with pytest.raises(ConnectorSettingsError, match=problem):
        list(table_messages(path, "a"))


@pytest.mark.parametrize(("name", "problem"), [("none.csv", "is not there"), ("x.txt", "must end in")])
def test_wrong_files_are_refused_at_once(tmp_path, name, problem):
    (tmp_path / "x.txt").touch()
    with pytest.raises(ConnectorSettingsError, match=problem):
        FileSource(tmp_path / name, "t")


def test_memory_source_pauses_and_continues():
    source = MemorySource({"t": [b"1", (5, b"2"), b"3"]}, batch_records=2)
    source.open({})
    source.set_paused(True)
    assert source.poll(0) == []
    source.set_paused(False)

    assert [b.values for b in (*source.poll(0), *source.poll(0))] == [[b"1", b"2"], [b"3"]]
    assert source.finished
