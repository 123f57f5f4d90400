import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.nab import load_nab
from evaluation.datasets.registry import DATASETS
from evaluation.errors import DatasetFormatError, DatasetNotFoundError
from tests.evaluation.dataset_parts import needs, totals

START = datetime(2014, 4, 1)  # noqa: DTZ001  the source has no zone
FIVE = timedelta(minutes=5)
SERIES = {"realTraffic/speed": 40, "artificialNoAnomaly/flat": 20}
WINDOWS = {
    "realTraffic/speed.csv": [["2014-04-01 00:50:00.000000", "2014-04-01 01:00:00.000000"]],
    "artificialNoAnomaly/flat.csv": [],
    "realTweets/not_held.csv": [],
}


def rows(count):
    return pl.DataFrame(
        {"timestamp": [START + i * FIVE for i in range(count)], "value": [float(i) for i in range(count)]}
    )


def write(folder, form, tables=None, windows=WINDOWS):
    tables = tables or {name: rows(count) for name, count in SERIES.items()}
    (folder / "labels").mkdir(exist_ok=True)
    if form == "table":
        named = [table.with_columns(series=pl.lit(name).cast(pl.Categorical)) for name, table in tables.items()]
        pl.concat(named).write_parquet(folder / "nab.parquet")
        (folder / "combined_windows.json").write_text(json.dumps(windows))
    else:
        for name, table in tables.items():
            path = folder / "data" / f"{name}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
        (folder / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return folder


@pytest.fixture(params=["table", "files"])
def form(request):
    return request.param


def test_both_forms_give_the_same_series(form, tmp_path):
    flat, speed = load_nab(write(tmp_path, form))
    assert (flat.name, flat.channels, int(flat.labels.sum())) == ("artificialNoAnomaly/flat", ("value",), 0)
    assert np.flatnonzero(speed.labels).tolist() == [10, 11, 12], "both ends of a window are inside"
    assert (speed.train_length, speed.step) == (6, 300_000_000_000), "15 % of 40 rows"
    assert speed.values[:, 0].tolist() == list(range(40))
    assert [one.name for one in load_nab(tmp_path, select=["real*"])] == ["realTraffic/speed"]


def test_probation_has_an_upper_end(form, tmp_path):
    tables = {name: rows(6_000) for name in SERIES}
    assert {one.train_length for one in load_nab(write(tmp_path, form, tables))} == {750}


def test_stamps_that_repeat_or_go_back(form, tmp_path):
    odd = rows(40)
    stamps = odd["timestamp"].to_list()
    stamps[20], stamps[11] = stamps[19], stamps[10]
    tables = {"realTraffic/speed": odd.with_columns(timestamp=pl.Series(stamps)), "artificialNoAnomaly/flat": rows(20)}
    (speed,) = load_nab(write(tmp_path, form, tables), select=["real*"])
    assert np.diff(speed.times).tolist() == [300_000_000_000] * 39
    assert np.flatnonzero(speed.labels).tolist() == [10, 11, 12], "labels follow the stamps, not the new times"
    assert speed.values[:, 0].tolist() == list(range(40)), "rows keep their order"


def test_what_is_missing_is_said(form, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"NAB is not there.*numenta/NAB.*MIT"):
        load_nab(tmp_path)
    write(tmp_path, form)
    for file in tmp_path.rglob("combined_windows.json"):
        file.unlink()
    with pytest.raises(DatasetFormatError, match=r"not combined_windows\.json; without it nothing is labelled"):
        load_nab(tmp_path)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ({}, r"no entry (artificialNoAnomaly/flat|realTraffic/speed)\.csv"),
        ({**WINDOWS, "realTraffic/speed.csv": [["2014-04-01 00:51:00", "2014-04-01 01:00:00"]]}, "no row has the time"),
        (
            {**WINDOWS, "realTraffic/speed.csv": [["2014-04-01 00:50:00", "2014-04-09 01:00:00"]]},
            "cut short or of anot",
        ),
        ({**WINDOWS, "realTraffic/speed.csv": [["yesterday", "today"]]}, "'window' in row 0 is not a time"),
        ({**WINDOWS, "realTraffic/speed.csv": [["2014-04-01 00:50:00"]]}, r"must map file names to lists of \[start"),
        ([], r"must map file names"),
    ],
)
def test_windows_that_do_not_fit(form, tmp_path, windows, message):
    with pytest.raises(DatasetFormatError, match=message):
        load_nab(write(tmp_path, form, windows=windows))


def test_files_that_cannot_be_read(tmp_path):
    write(tmp_path, "files")
    (tmp_path / "labels" / "combined_windows.json").write_text('{"a": ')
    with pytest.raises(DatasetFormatError, match="no JSON"):
        load_nab(tmp_path)
    write(tmp_path, "files")
    (tmp_path / "data" / "realTraffic" / "speed.csv").write_text("time,value\n1,2\n")
    with pytest.raises(DatasetFormatError, match="column 'timestamp' is missing; found time, value"):
        load_nab(tmp_path)
    (tmp_path / "data" / "realTraffic" / "speed.csv").write_text("timestamp,value\n2014-04-01 00:00:00,high\n")
    with pytest.raises(DatasetFormatError, match=r"no row has the time stamp|'value' is not numeric"):
        load_nab(tmp_path)


@needs(DATASETS["NAB"])
def test_the_real_data():
    folder = DATASETS["NAB"].directory()
    loaded = load_nab(folder)
    count, train, test, anomalous = totals(loaded)
    assert (count, train + test, anomalous) in {(42, 197_317, 16_884), (58, 365_558, 33_495)}
    if (folder / "nab.parquet").is_file():
        table = pl.read_parquet(folder / "nab.parquet")
        marks = {
            str(name): part["window"].to_numpy() for (name,), part in table.partition_by("series", as_dict=True).items()
        }
        assert all(np.array_equal(one.labels, marks[one.name]) for one in loaded), "the windows are those of the table"
