"""Exports of the history, read back by another reader of Parquet."""

from datetime import UTC, datetime

import pyarrow.dataset as ds
import pytest

from connectors.errors import HistoryError
from connectors.history.database import History
from connectors.history.export import EXPORTED, export_parquet
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.service import Service
from tests.streams.plant import START, document, event_messages, event_stream, messages, stream
from tsad.lifecycle import Action


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "h.duckdb"
    with History(path) as history:
        streams = [stream(detectors=["robust"], name="pumps.A"), event_stream(rate=None)]
        service = Service(
            Configuration.model_validate(document(path, streams=streams)),
            MemorySource({"plant": messages(), "plant.access": event_messages()}),
            history,
        )
        service.start()
        assert service.wait(60)
        alarm = service.pipeline.annunciator.conditions()[0].alarm_id
        service.pipeline.annunciator.act(alarm, Action("comment", "ann", "seen"))
        yield history


def read(folder):
    return ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist()


def test_everything_is_there_by_stream_and_day(history, tmp_path):
    done = {one.table: one for one in export_parquet(history.cursor(), tmp_path / "out")}
    for table in EXPORTED:
        (rows,) = history.cursor().execute(f"SELECT count(*) FROM {table}").fetchone()
        assert done[table].rows == rows
        if rows:
            assert len(read(tmp_path / "out" / table)) == rows
    samples = read(tmp_path / "out" / "samples")
    assert {(row["stream"], row["asset"], str(row["day"])[:10]) for row in samples} == {
        ("pumps.A", f"pump-{i}", "2025-06-15") for i in range(2)
    }
    assert samples[0]["channels"] == ["flow", "pressure"]
    assert done["alarm_actions"].rows == 1


def test_a_stretch_of_time_is_taken_and_written_again_without_doubles(history, tmp_path):
    since, until = (datetime.fromtimestamp(START / 1000 + s, UTC) for s in (100, 150))
    for _ in range(2):
        [done] = export_parquet(history.cursor(), tmp_path, ["samples"], since, until)
        rows = read(tmp_path / "samples")
        assert done.rows == len(rows) == 2 * 50
    assert min(row["time"] for row in rows) == since.replace(tzinfo=None)


def test_what_cannot_be_written_is_said(history, tmp_path):
    with pytest.raises(HistoryError, match="'secrets' cannot be exported; choose from samples"):
        export_parquet(history.cursor(), tmp_path, ["secrets"])
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="cannot be written"):
        export_parquet(history.cursor(), tmp_path / "file", ["samples"])
