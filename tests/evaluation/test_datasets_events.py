import gzip

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.network import _FEATURES
from evaluation.datasets.registry import EVENT_DATASETS, available_events, load_dataset, load_events
from evaluation.errors import DatasetError, DatasetFormatError, DatasetNotFoundError, EventDatasetError
from tests.evaluation.dataset_parts import needs

CATEGORIES = pl.DataFrame({"user": pl.Series(["u", "v", "u"], dtype=pl.Categorical), "count": [1, 2, 3]})


def events(**changes):
    fields = {
        "dataset": "demo",
        "name": "a",
        "times": np.array([1, 1, 2]),
        "table": CATEGORIES,
        "labels": np.array([0, 1, 1], np.uint8),
        "train_length": 1,
        "entities": ("user",),
        "kinds": pl.Series([None, "theft", "theft"], dtype=pl.Categorical),
    }
    return LabelledEvents(**{**fields, **changes})


def test_events_know_their_parts():
    one = events()
    assert (one.attributes, one.entities) == (("user", "count"), ("user",))
    assert (one.train_table.height, one.test_table.height, one.test_labels.tolist()) == (1, 2, [1, 1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.array([1, 2, 1])}, "event 2 is before the one above it"),
        ({"times": np.array([1, 2])}, "3 events, 2 times, 3 labels; must be equal"),
        ({"times": np.array([1.0, 2, 3])}, "times must be a 1-D array of int64"),
        ({"labels": np.array([0, 1, 2], np.uint8)}, "label 2 of event 2; labels are 0 or 1"),
        ({"labels": [0, 1, 1]}, "labels must be a 1-D array of uint8"),
        ({"table": pl.DataFrame()}, "0 events of 0 attributes"),
        ({"table": CATEGORIES.with_columns(user=pl.lit("x"))}, "attribute 'user' has type String"),
        ({"table": CATEGORIES.with_columns(count=pl.Series([1, None, 2]))}, "attribute 'count' is empty in event 1"),
        ({"train_length": 4}, r"train_length 4 is outside 0\.\.3"),
        ({"entities": ("host",)}, "entity 'host' is no attribute"),
        ({"kinds": pl.Series(["theft", None, "theft"])}, "kinds must be told for the anomalous events"),
        ({"kinds": pl.Series(["theft"])}, "kinds must be told"),
    ],
)
def test_every_rule_is_checked(changes, message):
    with pytest.raises(DatasetFormatError, match=f"demo/a: .*{message}"):
        events(**changes)


@pytest.mark.parametrize("name", available_events())
def test_numeric_and_event_sets_are_not_mixed_up(name, tmp_path):
    with pytest.raises(EventDatasetError, match=f'{name} is an event set .*load_events\\("{name}"\\)'):
        load_dataset(name.lower())
    with pytest.raises(DatasetNotFoundError, match=rf"{name} is not there\. Looked for: .*Get .*Licence: "):
        load_events(name, data_directory=tmp_path)
    assert issubclass(EventDatasetError, DatasetError)


def test_names_that_are_no_event_set(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"SKAB is no event set; there are KDD99, .* use load_dataset\."):
        load_events("SKAB", data_directory=tmp_path)
    with pytest.raises(DatasetNotFoundError, match="nothing is no event set; there are KDD99"):
        load_events("nothing", data_directory=tmp_path)


def connections(labels, extra=False):
    count = len(labels)
    columns = {name: [0] * count for name in _FEATURES}
    columns |= {"protocol_type": ["tcp", "udp"] * (count // 2), "service": ["http"] * count, "flag": ["SF"] * count}
    columns |= {
        "src_bytes": [0, 1, 2, 3][:count],
        "serror_rate": [0.0, 0.3, 0.99, 1.0][:count],
        "logged_in": [1] * count,
    }
    return pl.DataFrame({**columns, "label": labels, **({"difficulty": [21] * count} if extra else {})})


def write_connections(folder, form, name="KDD99"):
    train, test = (
        connections(labels, name != "KDD99")
        for labels in (["normal", "smurf"], ["normal", "mailbomb", "smurf", "normal"])
    )
    folder.mkdir(exist_ok=True)
    names = {
        ("KDD99", "tables"): ("train_10pct.parquet", "test_corrected.parquet"),
        ("KDD99", "original"): ("kddcup.data_10_percent.gz", "corrected"),
        ("NSL-KDD", "tables"): ("KDDTrain+_20Percent.parquet", "KDDTest+.parquet"),
        ("NSL-KDD", "original"): ("KDDTrain+_20Percent.txt", "KDDTest+.txt"),
    }[name, form]
    for table, file in zip((train, test), names, strict=True):
        if form == "tables":
            table.write_parquet(folder / file)
            continue
        text = table.with_columns(label=pl.col("label") + ("." if name == "KDD99" else "")).write_csv(
            include_header=False
        )
        (folder / file).write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())


@pytest.mark.parametrize("form", ["tables", "original"])
@pytest.mark.parametrize(("name", "folder"), [("KDD99", "kdd99"), ("NSL-KDD", "nsl-kdd")])
def test_connections(tmp_path, form, name, folder):
    write_connections(tmp_path / folder, form, name)
    one = load_events(name, data_directory=tmp_path)
    assert (one.train_length, one.labels.tolist()) == (2, [0, 1, 0, 1, 1, 0])
    assert one.kinds.to_list() == [None, "smurf", None, "mailbomb", "smurf", None]
    assert one.attributes == _FEATURES
    assert one.table["protocol_type"].to_list()[:2] == ["tcp", "udp"]
    assert one.test_table["src_bytes"].to_list() == [0, 1, 1, 2], "powers of two"
    assert one.test_table["serror_rate"].to_list() == [0, 3, 9, 10], "tenths"
    assert one.test_table["logged_in"].to_list() == [1, 1, 1, 1]
    assert np.diff(one.times).tolist() == [1_000_000_000] * 5


def test_connections_that_are_not_whole(tmp_path):
    folder = tmp_path / "kdd99"
    write_connections(folder, "tables")
    (folder / "test_corrected.parquet").unlink()
    with pytest.raises(DatasetFormatError, match=r"none of test_corrected\.parquet, .* the download is not whole"):
        load_events("KDD99", data_directory=tmp_path)
    (folder / "corrected").write_text("0,tcp,http\n")
    with pytest.raises(DatasetFormatError, match="3 columns, 42 are known"):
        load_events("KDD99", data_directory=tmp_path)
    connections(["normal"] * 2).drop("hot").write_parquet(folder / "test_corrected.parquet")
    with pytest.raises(DatasetFormatError, match="column 'hot' is missing"):
        load_events("KDD99", data_directory=tmp_path)
    connections(["normal"] * 2).with_columns(hot=pl.lit(-1)).write_parquet(folder / "test_corrected.parquet")
    with pytest.raises(DatasetFormatError, match="'hot' must hold numbers from 0 up"):
        load_events("KDD99", data_directory=tmp_path)
    connections([None, "normal"]).write_parquet(folder / "test_corrected.parquet")
    with pytest.raises(DatasetFormatError, match="'label' is empty in 1 rows"):
        load_events("KDD99", data_directory=tmp_path)


WORDS = ("src_user", "dst_user", "src_pc", "dst_pc", "auth_type", "logon_type", "orientation", "outcome")


def test_lanl(tmp_path):
    folder = tmp_path / "lanl-auth-sample"
    folder.mkdir()
    auth = pl.DataFrame(
        {"second": [1, 86_400, 2 * 86_400], **{word: ["a", "b\x1f", "a"] for word in WORDS}, "red": [0] * 3}
    )
    auth.write_parquet(folder / "auth_sample.parquet")
    one = load_events("lanl-auth", data_directory=tmp_path)
    assert (one.train_length, one.entities) == (2, ("src_user", "dst_user", "src_pc", "dst_pc"))
    assert one.table["outcome"].to_list() == ["a", "b", "a"], "the control character is gone"
    days = pl.DataFrame({"day": [0, 0, 1], "user": [7, 8, 7], "red": [0, 0, 7], "Logon": [3, 4, 5]})
    days.write_parquet(folder / "user_day_counts.parquet")
    one = load_events("LANL-USER-DAYS", data_directory=tmp_path)
    assert (one.attributes, one.train_length, one.labels.tolist()) == (("user", "Logon"), 2, [0, 0, 1])
    (folder / "redteam.txt").write_text("150885,U620@DOM1,C17693,C1003\n")
    bare = load_events("LANL-REDTEAM", data_directory=tmp_path)
    (folder / "redteam.csv").write_text("second,user,src_pc,dst_pc\n150885,U620@DOM1,C17693,C1003\n")
    one = load_events("LANL-REDTEAM", data_directory=tmp_path)
    assert one.table.equals(bare.table)
    assert (one.attributes, one.labels.tolist(), one.train_length) == (("src_user", "src_pc", "dst_pc"), [1], 0)
    (folder / "redteam.csv").write_text("second,user,src_pc,dst_pc\nlater,a,b,c\n")
    with pytest.raises(DatasetFormatError, match="'second' must hold whole numbers"):
        load_events("LANL-REDTEAM", data_directory=tmp_path)
    auth.reverse().write_parquet(folder / "auth_sample.parquet")
    with pytest.raises(DatasetFormatError, match="event 1 is before the one above it"):
        load_events("LANL-AUTH", data_directory=tmp_path)
    auth.with_columns(red=pl.lit(5)).write_parquet(folder / "auth_sample.parquet")
    with pytest.raises(DatasetFormatError, match="'red' must be 0 or 1, found 5"):
        load_events("LANL-AUTH", data_directory=tmp_path)


def test_hdfs(tmp_path):
    folder = tmp_path / "log-events"
    folder.mkdir()
    sessions = pl.DataFrame(
        {
            "block": ["blk_1", "blk_2", "blk_3"],
            "split": ["test", "train", "train"],
            "label": [1, 0, 1],
            "event_ids": ["4 5", "0 1 1", "2"],
        }
    )
    sessions.write_parquet(folder / "hdfs_100k_sessions.parquet")
    one = load_events("HDFS", data_directory=tmp_path)
    assert one.table["block"].to_list() == ["blk_2"] * 3 + ["blk_3"] + ["blk_1"] * 2, "training sessions first"
    assert (one.table["template"].to_list(), one.train_length) == ([0, 1, 1, 2, 4, 5], 4)
    assert one.labels.tolist() == [0, 0, 0, 1, 1, 1]
    sessions.with_columns(event_ids=pl.lit("4 x")).write_parquet(folder / "hdfs_100k_sessions.parquet")
    with pytest.raises(DatasetFormatError, match="attribute 'template' is empty in event 1"):
        load_events("HDFS", data_directory=tmp_path)


@pytest.mark.parametrize("form", ["loghub_BGL_2k.parquet", "BGL_2k.log_structured.csv"])
def test_bgl(tmp_path, form):
    folder = tmp_path / "log-events"
    folder.mkdir()
    lines = pl.DataFrame(
        {"Label": ["-", "KERNDTLB"], "Timestamp": ["1117838570", "1117838571"], "Level": ["INFO", "FATAL"]}
        | {name: ["a", "b"] for name in ("Node", "Type", "Component", "EventId")}
    )
    write = pl.DataFrame.write_parquet if form.endswith("parquet") else pl.DataFrame.write_csv
    write(lines, folder / form)
    one = load_events("bgl", data_directory=tmp_path)
    assert (one.labels.tolist(), one.kinds.to_list(), one.entities) == ([0, 1], [None, "KERNDTLB"], ("Node",))
    assert one.times[0] == np.datetime64("2005-06-03T22:42:50", "ns").astype(np.int64)
    write(lines.with_columns(Timestamp=pl.lit("noon")), folder / form)
    with pytest.raises(DatasetFormatError, match="'Timestamp' in row 0 is no number of seconds: 'noon'"):
        load_events("bgl", data_directory=tmp_path)


def test_adfa(tmp_path):
    folder = tmp_path / "adfa-ld"
    folder.mkdir()
    parts = ["Attack_Data_Master", "Training_Data_Master", "Validation_Data_Master"]
    traces = pl.DataFrame(
        {
            "part": parts,
            "file": ["c", "a", "b"],
            "attack_type": ["Adduser", "", ""],
            "label": [1, 0, 0],
            "syscalls": ["3 3 168", "6 11", "5"],
        }
    )
    traces.write_parquet(folder / "adfa_ld.parquet")
    one = load_events("ADFA-LD", data_directory=tmp_path)
    assert (one.table["syscall"].to_list(), one.train_length) == ([6, 11, 5, 3, 3, 168], 2)
    assert one.kinds.to_list() == [None, None, None, "Adduser", "Adduser", "Adduser"]
    traces[:2].write_parquet(folder / "adfa_ld.parquet")
    with pytest.raises(DatasetFormatError, match="each at least once; fetch it again"):
        load_events("ADFA-LD", data_directory=tmp_path)


REAL = {
    "KDD99": (494_021, 311_029, 396_743 + 250_436),
    "NSL-KDD": (25_192, 22_544, 11_743 + 12_833),
    "LANL-AUTH": (10_000, 5_000, 0),
    "LANL-REDTEAM": (0, 749, 749),
    "LANL-USER-DAYS": (7_899, 2_100, 3),
    "HDFS": (83_973, 20_842, 3_271),
    "BGL": (1_000, 1_000, 143),
    "ADFA-LD": (308_077, 2_439_473, 317_388),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(EVENT_DATASETS[name])) for name in REAL])
def test_the_real_data(name):
    one = load_events(name)
    assert (one.train_length, one.test_labels.size, int(one.labels.sum())) == REAL[name]
    anomalous = one.table.filter(pl.Series(one.labels == 1))
    if name == "KDD99":
        trained, tested = one.kinds[: one.train_length], one.kinds[one.train_length :]
        assert (trained.drop_nulls().n_unique(), tested.drop_nulls().n_unique()) == (22, 37)
        assert int(one.labels[: one.train_length].sum()) == 396_743
    if name == "LANL-AUTH":
        assert [one.table[entity].n_unique() for entity in one.entities] == [964, 1_034, 961, 382]
        assert [one.table[word].n_unique() for word in WORDS[4:]] == [5, 8, 6, 2]
    if name == "HDFS":
        assert (one.table["block"].n_unique(), anomalous["block"].n_unique()) == (7_940, 313)
        assert one.table["template"].n_unique() == 19
    if name == "ADFA-LD":
        assert (one.table["trace"].n_unique(), anomalous["trace"].n_unique()) == (5_951, 746)
