import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.backtest.plan import load_series
from evaluation.backtest.provenance import data_hash
from evaluation.datasets.files import load_file
from evaluation.datasets.intervals import paint
from evaluation.datasets.registry import load_dataset
from evaluation.errors import DatasetFormatError, DatasetNotFoundError, InvalidInputError

SECOND = 1_000_000_000
# a gap of a minute behind row 3
STAMPS = [f"2026-01-01T00:00:0{i}" for i in range(4)] + [f"2026-01-01T00:01:0{i}" for i in range(4)]


def write(folder, name="pump", **changes):
    columns = {"timestamp": STAMPS, "flow": range(8), "speed": range(8), "split": ["train"] * 2 + ["test"] * 6}
    pl.DataFrame({**columns, **changes}, strict=False).write_csv(folder / f"{name}.csv")
    return folder / f"{name}.csv"


def table(folder, *lines, name="marks.csv"):
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


@given(
    rows=st.integers(1, 40),
    bounds=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39), st.integers(1, 255)), max_size=8),
)
def test_painting_equals_a_plain_loop(rows, bounds):
    kept = [(min(a, b), max(a, b), s) for a, b, s in bounds if max(a, b) < rows]
    labels, severity = [0] * rows, [0] * rows
    for first, last, level in kept:
        for row in range(first, last + 1):
            labels[row], severity[row] = 1, max(severity[row], level)
    first, last = (np.array([one[i] for one in kept], np.int64) for i in (0, 1))
    painted, worst = paint(rows, first, last, np.array([one[2] for one in kept], np.uint8))
    assert painted.tolist() == labels
    assert worst.tolist() == severity
    assert paint(rows, first, last)[1] is None


@given(
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    bounds=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=5),
)
def test_times_and_row_numbers_say_the_same(tmp_path_factory, steps, bounds):
    folder = tmp_path_factory.mktemp("intervals")
    times = 10**15 + SECOND * np.cumsum([0, *steps])
    path = folder / "a.csv"
    pl.DataFrame({"timestamp": times, "x": np.zeros(times.size)}).write_csv(path)
    kept = [(min(a, b), max(a, b)) for a, b in bounds if max(a, b) < times.size]
    by_row = table(folder, "start,end", *(f"{a},{b}" for a, b in kept), name="rows.csv")
    by_time = table(folder, "start,end", *(f"{times[a]},{times[b]}" for a, b in kept), name="times.csv")
    one, other = (load_file(path, labels=marks, train_fraction=0.5) for marks in (by_row, by_time))
    assert one.labels.tolist() == other.labels.tolist()
    assert one.labels.tolist() == [int(any(a <= i <= b for a, b in kept)) for i in range(times.size)]


def test_a_file_with_its_table(tmp_path):
    path = write(tmp_path)
    marks = table(
        tmp_path,
        "start,end,channel,severity",
        "2026-01-01T00:00:01Z,2026-01-01T00:00:02Z,flow,1",
        "2026-01-01 00:00:02,2026-01-01T00:00:30.5Z,,3",
        "2026-01-01T01:01:03+01:00,2026-01-01T01:01:03+01:00,speed,2",
    )
    series = load_file(path, labels=marks)
    assert series.labels.tolist() == [0, 1, 1, 1, 0, 0, 0, 1], "both ends are inside; an end may lie in a gap"
    assert series.severity.tolist() == [0, 1, 3, 3, 0, 0, 0, 2], "the worse one counts where two overlap"
    assert series.test_severity.tolist() == series.severity[2:].tolist()
    assert series.channels == ("flow", "speed")
    (same,) = load_dataset(path, intervals=marks)
    (again,) = load_series([str(path)], intervals=marks)
    assert data_hash(series) == data_hash(same) == data_hash(again)
    assert load_file(path, labels=table(tmp_path, "start,end")).labels.sum() == 0, "no interval: all is normal"
    one = load_file(path, labels=table(tmp_path, "start,end,series", "0,1,pump"))
    assert one.labels.tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    assert one.severity is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("begin,end", "0,1"), "column 'start' is missing; found begin, end"),
        (
            ("start,end,note", "0,1,x"),
            "column 'note' is not known; an interval table has start, end, channel, severity",
        ),
        (("start,end", "0,1", "5,4"), r"in row 1 the end \(4\) is before the start \(5\); swap them"),
        (
            ("start,end", "0,1", "6,8"),
            r"interval of row 1 \(row 6 to row 8\) is outside pump, which runs from row 0 to",
        ),
        (("start,end", "-1,2"), r"interval of row 0 \(row -1 to row 2\) is outside pump"),
        (
            ("start,end", "2025-12-31T00:00:00,2026-01-01T00:00:01"),
            r"outside pump, which runs from 2026-01-01T00:00:00",
        ),
        (
            ("start,end", "2026-01-01T00:00:10,2026-01-01T00:00:20"),
            "row 0 falls between two rows of pump and labels none",
        ),
        (
            ("start,end", "1/2/2026,2/2/2026"),
            "'start' in row 0 is neither an ISO 8601 time nor a whole number: '1/2/2026'",
        ),
        (("start,end", "noon,2026-01-01T00:00:01"), "'start' in row 0 is neither an ISO 8601 time"),
        (("start,end", "0,2026-01-01T00:00:01"), "'start' and 'end' are of two kinds"),
        (("start,end", "0,1", "1767225600000000000,1767225601000000000"), "row 1 holds nanoseconds .* use one kind"),
        (("start,end", "0.5,1.5"), "'start' has type Float64; use ISO 8601"),
        (("start,end", "0,"), "'end' is empty in row 0"),
        (("start,end,severity", "0,1,0"), "'severity' must be a whole number from 1 to 255, found 0 in row 0"),
        (("start,end,severity", "0,1,bad"), "'severity' must be a whole number from 1 to 255, found 'bad' in row 0"),
        (
            ("start,end,channel", "0,1,flow", "0,1,level"),
            "row 1 names channel 'level', which pump does not have; it has",
        ),
        (("start,end,series", "0,1,fan"), "row 0 names series 'fan', which is not there; there are pump"),
    ],
)
def test_a_broken_rule_is_named(tmp_path, lines, message):
    path, marks = write(tmp_path), table(tmp_path, *lines)
    with pytest.raises(DatasetFormatError, match=message) as caught:
        load_file(path, labels=marks)
    assert str(marks) in str(caught.value)


def test_two_sources_of_labels_are_refused(tmp_path):
    marks = table(tmp_path, "start,end", "0,1")
    with pytest.raises(DatasetFormatError, match=r"has a column 'label', and .* holds labels too; remove one"):
        load_file(write(tmp_path, label=[0] * 8), labels=marks)
    with pytest.raises(DatasetFormatError, match="has a column 'severity'"):
        load_file(write(tmp_path, severity=[0] * 8), labels=marks)
    with pytest.raises(InvalidInputError, match="SKAB has its own labels"):
        load_dataset("SKAB", intervals=marks)
    with pytest.raises(InvalidInputError, match="leave --intervals out"):
        load_series(["skab"], intervals=marks)
    with pytest.raises(DatasetNotFoundError, match="no such interval table"):
        load_file(write(tmp_path), labels=tmp_path / "absent.csv")


def test_a_directory_with_its_table(tmp_path):
    folder = tmp_path / "plant"
    folder.mkdir()
    for name in ("fan", "pump"):
        write(folder, name)
    with pytest.raises(DatasetFormatError, match=r"'label' is missing.*or give an interval table"):
        load_dataset(folder)
    table(folder, "start,end,series", "2,3,pump", name="labels.csv")
    fan, pump = load_dataset(folder)
    assert (fan.name, int(fan.labels.sum()), pump.labels.tolist()) == ("fan", 0, [0, 0, 1, 1, 0, 0, 0, 0])
    (only,) = load_dataset(folder, select=["fan"])
    assert only.name == "fan", "the table may name series that are not selected"
    elsewhere = table(tmp_path, "start,end,series", "4,4,fan")
    assert [int(one.labels.sum()) for one in load_dataset(folder, intervals=elsewhere)] == [1, 0], (
        "the given one counts"
    )
    inside = table(folder, "start,end,series", "4,4,fan", name="marks.csv")
    assert [one.name for one in load_dataset(folder, intervals=inside)] == ["fan", "pump"], "the table is no series"
    inside.unlink()
    table(folder, "start,end", "2,3", name="labels.csv")
    with pytest.raises(DatasetFormatError, match=r"column 'series' is missing; add it, .* one of fan, pump"):
        load_dataset(folder)
    table(folder, "start,end,series", "2,3,valve", name="labels.csv")
    with pytest.raises(DatasetFormatError, match="row 0 names series 'valve', which is not there; there are fan, pump"):
        load_dataset(folder)
    table(folder, "start,end,series", name="intervals.csv")
    with pytest.raises(DatasetFormatError, match=r"labels\.csv and intervals\.csv both hold labels"):
        load_dataset(folder)


def test_a_severity_column(tmp_path):
    labels = [0, 0, 1, 1, 0, 0, 0, 1]
    series = load_file(write(tmp_path, label=labels, severity=[0, 0, 200, 0, 0, 0, 0, 1]))
    assert series.severity.tolist() == [0, 0, 200, 0, 0, 0, 0, 1]
    assert "severity" not in series.channels
    plain = load_file(write(tmp_path, label=labels))
    assert plain.severity is None
    assert plain.test_severity is None
    assert data_hash(plain) != data_hash(series)
    for severity, message in (
        ([0, 1, 1, 1, 0, 0, 0, 1], "severity 1 in row 1, which is labelled normal"),
        ([0, 0, 256, 0, 0, 0, 0, 0], "'severity' must be a whole number from 0 to 255, found 256 in row 2"),
        ([0.0, 0.0, 1.5, 0, 0, 0, 0, 0], r"found 1\.5 in row 2"),
        (["0", "0", "high", "0", "0", "0", "0", "0"], "found 'high' in row 2"),
    ):
        with pytest.raises(DatasetFormatError, match=message):
            load_file(write(tmp_path, label=labels, severity=severity))


def test_the_hash_of_a_series_without_severity_stays(tmp_path):
    series = load_file(write(tmp_path, "kept", label=[0] * 8))
    assert data_hash(series) == "a9582877c18a8b9c"
