from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.location import data_directory
from evaluation.datasets.skab import FOLDER, load_skab
from evaluation.errors import DatasetFormatError, DatasetNotFoundError

START = datetime(2020, 3, 9, 10, 0, 0)  # noqa: DTZ001  the source has no zone


def run(rows, first_fault):
    return pl.DataFrame(
        {
            "datetime": [START + timedelta(seconds=i) for i in range(rows)],
            "Pressure": np.linspace(0, 1, rows),
            "Current": np.linspace(5, 6, rows),
            "anomaly": (np.arange(rows) >= first_fault).astype(float),
            "changepoint": np.zeros(rows),
        }
    )


RUNS = {("valve1", "10"): run(405, 403), ("valve1", "2"): run(410, 401), ("other", "1"): run(300, 200)}


@pytest.fixture(params=["table", "files"])
def source(request, tmp_path):
    if request.param == "table":
        parts = [
            frame.with_columns(pl.lit(group).alias("group"), pl.lit(file).alias("file"))
            for (group, file), frame in RUNS.items()
        ]
        pl.concat(parts).with_columns(pl.col("group", "file").cast(pl.Categorical)).write_parquet(
            tmp_path / "skab.parquet"
        )
    else:
        for (group, file), frame in RUNS.items():
            (tmp_path / group).mkdir(exist_ok=True)
            frame.write_csv(tmp_path / group / f"{file}.csv", separator=";")
    return tmp_path


def test_both_forms_give_the_same_series(source):
    loaded = load_skab(source)
    assert [series.name for series in loaded] == ["other/1", "valve1/2", "valve1/10"]
    series = loaded[1]
    assert series.channels == ("Pressure", "Current")
    assert series.times[0] == np.datetime64("2020-03-09T10:00:00", "ns").astype(np.int64)
    assert (series.train_length, series.step, int(series.labels.sum())) == (400, 1_000_000_000, 9)
    assert loaded[0].train_length == 300, "a run shorter than 400 rows is training only"


def test_the_run_without_label_columns_is_normal(tmp_path):
    (tmp_path / "anomaly-free").mkdir()
    quiet = run(20, 20).drop("anomaly", "changepoint")
    quiet.write_csv(tmp_path / "anomaly-free" / "anomaly-free.csv", separator=";")
    (series,) = load_skab(tmp_path)
    assert (series.name, int(series.labels.sum())) == ("anomaly-free/anomaly-free", 0)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"SKAB is not there.*waico/SKAB.*GPL v3"):
        load_skab(tmp_path)
    pl.DataFrame({"group": ["valve1"], "file": ["0"], "x": [1.0]}).write_parquet(tmp_path / "skab.parquet")
    with pytest.raises(DatasetFormatError, match="SKAB/valve1/0: column 'datetime' is missing"):
        load_skab(tmp_path)


@pytest.mark.skipif(
    not (data_directory() / FOLDER).is_dir(),
    reason=f"no SKAB data: set TSAD_DATA to a directory that holds {FOLDER} (see docs/datasets.md)",
)
def test_the_real_data():
    loaded = load_skab(data_directory() / FOLDER)
    assert len(loaded) == 35
    assert sum(series.labels.size for series in loaded) == 46_806
    assert sum(int(series.labels.sum()) for series in loaded) == 13_067
    assert {len(series.channels) for series in loaded} == {8}
