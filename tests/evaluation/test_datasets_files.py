import numpy as np
import polars as pl
import pytest

from evaluation.datasets.files import load_directory, load_file
from evaluation.errors import DatasetError, DatasetFormatError, DatasetNotFoundError, InvalidInputError

GOOD = {
    "timestamp": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z", "2026-01-01T00:01:00Z"],
    "flow": [1.0, None, 3.0, 4.0],
    "valve open": [0, 1, 1, 0],
    "label": [0, 0, 1, 0],
    "split": ["train", "train", "test", "test"],
}


def without(*names):
    return {name: column for name, column in GOOD.items() if name not in names}


@pytest.fixture(params=["csv", "parquet"])
def write(request, tmp_path):
    def writer(columns, name="pump"):
        path = tmp_path / f"{name}.{request.param}"
        frame = pl.DataFrame(columns, strict=False)
        frame.write_csv(path) if request.param == "csv" else frame.write_parquet(path)
        return path

    return writer


def test_a_whole_file(write):
    series = load_file(write(GOOD))
    assert (series.dataset, series.name, series.channels) == ("pump", "pump", ("flow", "valve open"))
    assert series.times[0] == np.datetime64("2026-01-01T00:00:00", "ns").astype(np.int64)
    assert (series.train_length, series.step) == (2, 10_000_000_000)
    assert np.isnan(series.values[1, 0])
    assert series.values[:, 1].tolist() == [0, 1, 1, 0]
    assert series.labels.tolist() == [0, 0, 1, 0]


def test_without_times_rows_are_minutes(write):
    series = load_file(write(without("timestamp")))
    assert np.diff(series.times).tolist() == [60_000_000_000] * 3


def test_other_forms_of_time(write):
    whole = load_file(write(GOOD)).times
    nanoseconds = load_file(write({**GOOD, "timestamp": whole}))
    assert np.array_equal(nanoseconds.times, whole)
    elsewhere = [text.replace("T00", "T01").replace("Z", "+01:00") for text in GOOD["timestamp"]]
    assert np.array_equal(load_file(write({**GOOD, "timestamp": elsewhere})).times, whole)
    naive = [text.removesuffix("Z") for text in GOOD["timestamp"]]
    assert np.array_equal(load_file(write({**GOOD, "timestamp": naive})).times, whole)
    zoned = pl.Series(whole).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    assert np.array_equal(load_file(write({**GOOD, "timestamp": zoned})).times, whole)
    days = pl.Series([1, 2, 3, 4]).cast(pl.Date)
    assert load_file(write({**GOOD, "timestamp": days})).rows_per_day == 1


def test_the_share_of_training_rows(write):
    path = write(without("split"))
    assert load_file(path, train_fraction=0.5).train_length == 2
    assert load_file(path, train_fraction=0.01).train_length == 1
    with pytest.raises(DatasetFormatError, match=r"no 'split' column; add one .* \(train_fraction\)"):
        load_file(path)
    with pytest.raises(InvalidInputError, match=r"between 0 and 1, got 1\.5"):
        load_file(path, train_fraction=1.5)
    with pytest.raises(InvalidInputError, match="leave train_fraction out"):
        load_file(write(GOOD, "with_split"), train_fraction=0.5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (without("label"), "column 'label' is missing; found timestamp, flow, valve open, split"),
        (without("flow", "valve open"), "4 rows and 0 channels"),
        ({**GOOD, "label": [0, 2, 1, 0]}, "'label' must be 0 or 1, found 2 in row 1"),
        ({**GOOD, "label": ["a", "b", "b", "a"]}, "'label' must be 0 or 1, found 'a' in row 0"),
        ({**GOOD, "label": [0, None, 1, 0]}, "'label' is empty in row 1"),
        ({**GOOD, "flow": ["1", "off", "3", "4"]}, "channel 'flow' is not numeric: 'off' in row 1"),
        ({**GOOD, "flow": [1.0, float("inf"), 2.0, 3.0]}, "channel 'flow' is infinite .* in row 1"),
        ({**GOOD, "timestamp": [1, 3, 2, 4]}, r"'timestamp' of row 2 \(2\) is before the one above"),
        ({**GOOD, "timestamp": [1, 2, 2, 4]}, r"'timestamp' of row 2 \(2\) repeats the one above"),
        ({**GOOD, "timestamp": [1.5, 2, 3, 4]}, "'timestamp' has type Float64"),
        ({**GOOD, "timestamp": ["2026-01-01T00:00:00Z", "noon", "x", "y"]}, "'timestamp' in row 1 is not an ISO 8601"),
        ({**GOOD, "timestamp": [1, None, 3, 4]}, "'timestamp' is empty in row 1"),
        ({**GOOD, "split": ["train", "test", "train", "test"]}, "row 1 is 'test' but 'train' rows follow"),
        ({**GOOD, "split": ["train", "valid", "test", "test"]}, "found 'valid' in row 1"),
    ],
)
def test_a_broken_rule_is_named(write, columns, message):
    with pytest.raises(DatasetFormatError, match=message) as caught:
        load_file(write(columns))
    assert "pump" in str(caught.value)


def test_a_directory(write, tmp_path):
    write(GOOD, "pump")
    write(GOOD, "line")
    (tmp_path / "notes.txt").write_text("not a series")
    assert [series.name for series in load_directory(tmp_path)] == ["line", "pump"]
    (only,) = load_directory(tmp_path, select=["p*"])
    assert (only.dataset, only.name) == (tmp_path.name, "pump")
    with pytest.raises(DatasetNotFoundError, match="has no series 'x'; it has line, pump"):
        load_directory(tmp_path, select=["x"])


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no such file"):
        load_file(tmp_path / "absent.csv")
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match=r"broken\.parquet: cannot be read"):
        load_file(tmp_path / "broken.parquet")
    (tmp_path / "table.xlsx").write_text("")
    with pytest.raises(DatasetFormatError, match=r"cannot read \.xlsx"):
        load_file(tmp_path / "table.xlsx")
    with pytest.raises(DatasetNotFoundError, match="no file ends in"):
        load_directory(_empty(tmp_path))
    pl.DataFrame(GOOD).write_csv(tmp_path / "broken.csv")
    with pytest.raises(DatasetFormatError, match=r"broken\.csv and broken\.parquet give one series name"):
        load_directory(tmp_path)


def _empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"
