import sys
from datetime import datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
import xlsxwriter

from evaluation.datasets.location import data_directory
from evaluation.datasets.registry import DATASETS
from evaluation.datasets.swat import FOLDER, TAGS, load_swat
from evaluation.datasets.swat_attacks import check_attack_list, find_attack_list, read_attack_list
from evaluation.errors import DatasetError, DatasetFormatError, DatasetNotFoundError

# the names that carry a space in the attack file
SPACED = ("MV101", "AIT201", "MV201", "P201", "P202", "P204", "MV303")
V0_BEGINS = datetime(2015, 12, 22, 16, 0, 0)  # noqa: DTZ001  the plant's clock has no zone
V1_BEGINS = datetime(2015, 12, 22, 16, 30, 0)  # noqa: DTZ001
ATTACK_BEGINS = datetime(2015, 12, 28, 10, 0, 0)  # noqa: DTZ001


def stamp(moment):
    return f" {moment.day}/{moment.month}/{moment.year} {moment.hour % 12 or 12}:{moment:%M:%S %p}"


def recording(begins, labels, *, spaced=(), step=1):
    """Rows as the source writes them: banner, header, then text stamps, numbers and the label."""
    header = [" Timestamp", *(f" {tag}" if tag in spaced else tag for tag in TAGS), "Normal/Attack"]
    banner = ["", *(f"P{tag.lstrip('ABCDEFGHIJKLMNOPQRSTUVWXYZ')[0]}" for tag in TAGS), ""]
    rows = [
        # whole numbers for a long time, then decimals: no type may be guessed from the first rows
        [
            stamp(begins + timedelta(seconds=step * i)),
            *(float(i + j) + (0.25 if i > 2 else 0) for j in range(51)),
            label,
        ]
        for i, label in enumerate(labels)
    ]
    return [banner, header, *rows]


def write_csv(path, rows, separator=","):
    def cell(value):
        text = str(value)
        return text.replace(".", ",") if separator == ";" and isinstance(value, float) else text

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(separator.join(cell(value) for value in row) for row in rows) + "\n")


def write_xlsx(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        formats = {
            datetime: book.add_format({"num_format": "dd/mm/yyyy hh:mm:ss"}),
            time: book.add_format({"num_format": "hh:mm:ss"}),
        }
        for number, row in enumerate(rows):
            for place, value in enumerate(row):
                sheet.write(number, place, value, *([formats[type(value)]] if type(value) in formats else []))


NORMAL = recording(V1_BEGINS, ["Normal"] * 6)
ATTACK = recording(ATTACK_BEGINS, ["Normal", "Attack", "A ttack", "Normal ", "Attack", "Normal"], spaced=SPACED)


def write_set(folder, form, normal=NORMAL, attack=ATTACK, version="v1"):
    physical = folder / "SWaT.A1 & A2_Dec 2015" / "Physical"
    suffix = "xlsx" if form == "xlsx" else "csv"
    for name, rows in ((f"SWaT_Dataset_Normal_{version}", normal), ("SWaT_Dataset_Attack_v0", attack)):
        path = physical / f"{name}.{suffix}"
        if form == "xlsx":
            write_xlsx(path, rows)
        else:
            write_csv(path, rows[1:] if form == "no banner" else rows, ";" if form == "semicolons" else ",")
    return folder


@pytest.fixture(params=["csv", "no banner", "semicolons", "xlsx"])
def form(request):
    return request.param


def test_every_form_gives_the_same_series(form, tmp_path):
    (series,) = load_swat(write_set(tmp_path, form))
    assert (series.dataset, series.name, series.channels) == ("SWaT", "2015-12", TAGS)
    assert (series.train_length, series.step) == (6, 1_000_000_000)
    assert series.test_labels.tolist() == [0, 1, 1, 0, 1, 0], "A ttack counts, and so does Normal with a space"
    assert series.times[0] == np.datetime64("2015-12-22T16:30:00", "ns").astype(np.int64)
    assert series.test_times[0] == np.datetime64("2015-12-28T10:00:00", "ns").astype(np.int64)
    assert series.train_values[:, 1].tolist() == [1, 2, 3, 4.25, 5.25, 6.25]
    assert not np.isnan(series.values).any()


def test_days_come_first(tmp_path, form):
    begins = datetime(2016, 1, 2, 13, 0, 0)  # noqa: DTZ001
    (series,) = load_swat(write_set(tmp_path, form, attack=recording(begins, ["Normal", "Attack"], spaced=SPACED)))
    assert series.test_times[0] == np.datetime64("2016-01-02T13:00:00", "ns").astype(np.int64)


def test_start_up_policy(tmp_path):
    begins = V1_BEGINS - timedelta(seconds=2)
    write_set(tmp_path, "csv", normal=recording(begins, ["Normal"] * 6), version="v0")
    assert load_swat(tmp_path)[0].train_length == 4, "v0 less what is before v1"
    later = datetime(2015, 12, 22, 21, 59, 59)  # noqa: DTZ001
    write_set(tmp_path, "csv", normal=recording(later, ["Normal"] * 6), version="v1")
    assert load_swat(tmp_path)[0].train_length == 6, "v1 is taken before v0"
    assert load_swat(tmp_path, drop_start_up=True)[0].train_length == 5
    write_set(tmp_path, "csv", normal=recording(V0_BEGINS, ["Normal"] * 6), version="v1")
    with pytest.raises(DatasetFormatError, match="ends before the start-up"):
        load_swat(tmp_path)


def test_gaps_stay(tmp_path):
    write_set(tmp_path, "csv", attack=recording(ATTACK_BEGINS, ["Normal", "Attack"], spaced=SPACED, step=7))
    assert np.diff(load_swat(tmp_path)[0].test_times).tolist() == [7_000_000_000]


def broken(rows, place=None, value=None, header=None):
    rows = [list(row) for row in rows]
    if header is not None:
        rows[1][header[0]] = header[1]
    if place is not None:
        rows[place[0]][place[1]] = value
    return rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": broken(ATTACK, header=(1, "FIT999"))}, "missing: FIT101; not known: FIT999"),
        ({"attack": broken(ATTACK, header=(2, "FIT101"))}, "column 'FIT101' is there twice"),
        ({"attack": broken(ATTACK, header=(52, "label"))}, "none of the first 10 rows holds 'Normal/Attack'"),
        ({"attack": broken(ATTACK, (3, 52), "Atack")}, "must be Normal or Attack, found 'Atack' in row 1"),
        ({"attack": broken(ATTACK, (4, 0), " 13/28/2015 10:00:00 AM")}, r"row 2 is not a time of the form %d/%m/%Y"),
        ({"attack": broken(ATTACK, (4, 0), " 2015-12-28 10:00:02")}, r"row 2 is not a time of the form"),
        ({"attack": broken(ATTACK, (4, 0), ATTACK[3][0])}, r"SWaT/2015-12: the time of row 8 repeats the one above"),
        ({"attack": broken(ATTACK, (4, 3), "off")}, "cut short|is no number: 'off'"),
        ({"attack": recording(ATTACK_BEGINS, ["Attack"] * 4)}, "cut by label.*no continuous recording.*iTrust"),
        ({"attack": recording(ATTACK_BEGINS, ["Normal"] * 4)}, "no row is labelled as attack"),
        ({"normal": recording(V1_BEGINS, ["Normal", "Attack"])}, "1 rows are labelled as attack, the first in row 1"),
        ({"attack": ATTACK[:2]}, "SWaT_Dataset_Attack_v0"),
        (
            {"attack": [[*row[:2], "", *row[3:]] if i > 1 else row for i, row in enumerate(ATTACK)]},
            "LIT101 hold no val",
        ),
    ],
)
@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_broken_rule_is_named(tmp_path, form, changes, message):
    write_set(tmp_path, form, **changes)
    with pytest.raises(DatasetFormatError, match=message):
        load_swat(tmp_path)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"SWaT is not there\. Looked for: .*iTrust.*Licence"):
        load_swat(tmp_path)
    write_set(tmp_path, "csv")
    next(tmp_path.rglob("*Normal*")).unlink()
    with pytest.raises(DatasetFormatError, match=r"SWaT_Dataset_Normal_v1 \(\.xlsx or \.csv\) is missing beside"):
        load_swat(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="has no series 'x'"):
        load_swat(tmp_path, select=["x"])


def test_the_copy_that_is_cut_by_label_is_refused(tmp_path):
    for name in ("normal", "attack", "merged"):
        write_csv(tmp_path / f"{name}.csv", ATTACK[1:])
    with pytest.raises(DatasetFormatError, match=r"cut by label.*seven tags are empty"):
        load_swat(tmp_path)


def test_workbooks_that_cannot_be_read(tmp_path, monkeypatch):
    write_set(tmp_path, "xlsx")
    book = next(tmp_path.rglob("*Normal*"))
    book.write_bytes(book.read_bytes()[:2_000])
    with pytest.raises(DatasetFormatError, match="no workbook, or cut short"):
        load_swat(tmp_path)
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(DatasetError, match=r"needs the extra xlsx: pip install 'tsad-service\[xlsx\]'"):
        load_swat(tmp_path)


LIST_HEADER = (
    "Attack #", "Start Time", "End Time", "Attack Point", "Start State", "Attack", "Actual Change",
    "Expected Impact or attacker intent", "Unexpected Outcome",
)  # fmt: skip


def at(second, day=28):
    return datetime(2015, 12, day, 10, 0, second)  # noqa: DTZ001


def line(number, start, end, point, change="Yes"):
    return [number, start, end, point, "closed", "opens", change, "overflow", ""]


LINES = [
    line(1, at(1), time(10, 0, 2), "MV-101"),
    line(2, at(4), time(10, 0, 5), "p-102; lit101, MV504", "No"),
    line(3, datetime(2015, 12, 28, 23, 59, 0), time(0, 4, 0), "AIT 202"),  # noqa: DTZ001
    line(4, at(7), "", "No Physical Impact Attack", ""),
    ["", "", "", "Attacks 1 to 3 were done from the control room", "", "", "", "", ""],
]


def as_text(value):
    if isinstance(value, datetime):
        return f"{value.day}/{value.month}/{value.year} {value:%H:%M:%S}"
    return f'"{value}"' if isinstance(value, str) and "," in value else str(value)


@pytest.fixture(params=["csv", "xlsx"])
def attack_list(request, tmp_path):
    path = tmp_path / f"List_of_attacks_Final.{request.param}"
    if request.param == "xlsx":
        write_xlsx(path, [LIST_HEADER, *LINES])
    else:
        path.write_text("\n".join(",".join(as_text(cell) for cell in row) for row in [LIST_HEADER, *LINES]) + "\n")
    assert find_attack_list(tmp_path) == path
    return path


def test_the_list_of_attacks(attack_list):
    first, second, third, fourth = read_attack_list(attack_list, TAGS)
    assert (first.number, first.tags, first.physical_impact, first.actual_change) == (1, ("MV101",), True, True)
    assert first.start == np.datetime64("2015-12-28T10:00:01", "ns").astype(np.int64)
    assert first.end - first.start == 1_000_000_000
    assert (second.tags, second.unknown_tags, second.actual_change) == (("P102", "LIT101"), ("MV504",), False)
    assert third.end - third.start == 5 * 60 * 1_000_000_000, "an end before the start is on the next day"
    assert (fourth.end, fourth.tags, fourth.physical_impact, fourth.actual_change) == (None, (), False, None)


def test_the_list_is_compared_with_the_labels(attack_list):
    (series,) = load_swat(write_set(attack_list.parent, "csv"))
    remarks = check_attack_list(read_attack_list(attack_list, TAGS), series)
    assert remarks == [
        "attack 2 names MV504, which the recording lacks",
        "attack 2: 1 of its 2 rows are labelled",
        "attack 3: 0 of its 0 rows are labelled",
    ]
    remarks = check_attack_list(read_attack_list(attack_list, TAGS)[1:2], series)
    assert remarks[-1] == "2 labelled rows from 2015-12-28T10:00:01 on belong to no attack of the list"


def test_a_list_that_cannot_be_read(tmp_path):
    path = tmp_path / "List_of_attacks_Final.csv"
    path.write_text("Attack #,Start Time\n1,x\n")
    with pytest.raises(DatasetFormatError, match="columns End Time, Attack Point, Actual Change are missing"):
        read_attack_list(path, TAGS)
    head = ",".join(LIST_HEADER)
    for cells, message in (
        ("1,noon,10:00:00,P101,,,,,", "attack 1: start 'noon' is no date and time"),
        ("1,12/28/2015 10:00:00,10:00:00,P101,,,,,", "start .* is no date; the day comes first"),
        ("1,28/12/2015 10:00:00,later,P101,,,,,", "end 'later' is no time of day"),
        ("1,28/12/2015 10:00:00,,P101,,,,,", "end '' is no time of day"),
        (",,,notes,,,,,", "no line has a number"),
    ):
        path.write_text(f"{head}\n{cells}\n")
        with pytest.raises(DatasetFormatError, match=message):
            read_attack_list(path, TAGS)


@pytest.mark.skipif(
    not DATASETS["SWAT"].is_present(),
    reason=f"no SWaT data: set TSAD_DATA to a directory that holds {FOLDER} (see docs/datasets.md)",
)
def test_the_real_data():
    (series,) = load_swat(data_directory() / FOLDER)
    assert (series.train_length, series.test_labels.size) == (495_000, 449_919)
    assert int(series.labels.sum()) == 54_621


def test_real_dates_in_a_workbook(tmp_path):
    moments = [[at(i), *row[1:]] for i, row in enumerate(ATTACK[2:])]
    (series,) = load_swat(write_set(tmp_path, "xlsx", attack=[*ATTACK[:2], *moments]))
    assert series.test_times[1] == np.datetime64("2015-12-28T10:00:01", "ns").astype(np.int64)


def test_numbers_written_as_text_in_a_workbook(tmp_path):
    rows = [
        row if i < 2 else [row[0], *(str(v).replace(".", ",") for v in row[1:-1]), row[-1]]
        for i, row in enumerate(NORMAL)
    ]
    (series,) = load_swat(write_set(tmp_path, "xlsx", normal=rows))
    assert series.train_values[:, 0].tolist() == pytest.approx([0, 1, 2, 3.25, 4.25, 5.25])
    assert pl.Series(series.train_values[:, 0]).is_sorted()
