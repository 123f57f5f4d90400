import numpy as np
import polars as pl
import pytest

from evaluation.datasets.registry import DATASETS
from evaluation.datasets.server_metrics import ASD, CTN, SMD, load_server_set, server_set_names
from evaluation.errors import DatasetFormatError, DatasetNotFoundError
from tests.evaluation.dataset_parts import needs, totals

MINUTE = 60 * 1_000_000_000
NAMES = ("machine-1-2", "machine-1-10", "machine-3-1")


def arrays(name, rows=6):
    values = np.random.default_rng(len(name)).normal(size=(2 * rows, 3)).round(6)
    return values, np.array([0] * rows + [0, 1, 1, 0, 0, 1][:rows])


def write_table(path, name, rows=6, **changes):
    values, labels = arrays(name, rows)
    columns = {"split": ["train"] * rows + ["test"] * rows, "label": labels}
    columns |= {f"m{i:02d}": values[:, i] for i in range(3)}
    pl.DataFrame({**columns, **changes}).write_parquet(path / f"{name}.parquet")


def write_text(path, name, suffix=".txt"):
    values, labels = arrays(name)
    for part, numbers in (("train", values[:6]), ("test", values[6:]), ("test_label", labels[6:, None])):
        (path / part).mkdir(exist_ok=True)
        np.savetxt(
            path / part / f"{name}{suffix}", numbers, delimiter=",", fmt="%.6f" if part != "test_label" else "%d"
        )


@pytest.fixture(params=["tables", "text"])
def source(request, tmp_path):
    for name in NAMES:
        (write_table if request.param == "tables" else write_text)(tmp_path, name)
    return tmp_path


def test_both_forms_give_the_same_series(source):
    loaded = load_server_set(source, SMD)
    assert [one.name for one in loaded] == list(NAMES), "by number, not by letter"
    values, labels = arrays("machine-1-2")
    assert loaded[0].channels == ("m00", "m01", "m02")
    assert np.array_equal(loaded[0].values, values.astype(np.float32))
    assert loaded[0].labels.tolist() == labels.tolist()
    assert (loaded[0].train_length, loaded[0].step) == (6, MINUTE)
    assert [one.name for one in load_server_set(source, SMD, select=["machine-1-*"])] == list(NAMES[:2])


def test_each_set_has_its_own_step_and_form(tmp_path):
    write_table(tmp_path, "omi-1", 4)
    assert load_server_set(tmp_path, ASD)[0].step == 5 * MINUTE
    write_text(tmp_path, "service3", ".csv")
    (service,) = load_server_set(tmp_path, CTN)
    assert (service.name, service.step) == ("service3", 5 * MINUTE)
    assert np.diff(service.times).tolist() == [5 * MINUTE] * 11
    assert server_set_names(tmp_path, SMD) == ()


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"SMD is not there\. Looked for: .*test_label.*OmniAnomaly.*MIT"):
        load_server_set(tmp_path, SMD)
    write_text(tmp_path, "machine-1-1")
    (tmp_path / "test_label" / "machine-1-1.txt").unlink()
    with pytest.raises(DatasetFormatError, match=r"test_label/machine-1-1\.txt missing beside the others"):
        load_server_set(tmp_path, SMD)


def test_half_a_download_is_told(tmp_path):
    write_text(tmp_path, "machine-1-1")
    file = tmp_path / "test" / "machine-1-1.txt"
    whole = file.read_text()
    file.write_text("\n".join(whole.splitlines()[:4]) + "\n")
    with pytest.raises(DatasetFormatError, match="4 test rows, 6 labels; a file is cut short"):
        load_server_set(tmp_path, SMD)
    file.write_text(whole[: len(whole) // 2 + 5] + "x")
    with pytest.raises(DatasetFormatError, match="cut short"):
        load_server_set(tmp_path, SMD)
    file.write_text("")
    with pytest.raises(DatasetFormatError, match="cut short"):
        load_server_set(tmp_path, SMD)


def test_broken_tables_are_refused(tmp_path):
    path = tmp_path / "machine-1-2.parquet"
    for changes, message in (
        ({"label": [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]}, "'label' must be 0 or 1, found 2 in row 7"),
        ({"m01": ["a"] * 12}, "column 'm01' is not numeric"),
        ({"split": ["train", "test"] * 6}, "'split' must be train in the first rows"),
        (
            {"split": ["train"] * 9 + ["test"] * 3},
            "9 training and 3 test rows; the source cuts each series into halves",
        ),
        ({"extra": [1.0] * 12}, "metrics must be m00, m01"),
    ):
        write_table(tmp_path, "machine-1-2", **changes)
        with pytest.raises(DatasetFormatError, match=message):
            load_server_set(tmp_path, SMD)
    write_table(tmp_path, "machine-1-2")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetFormatError, match=r"machine-1-2\.parquet: the file is cut short"):
        load_server_set(tmp_path, SMD)
    pl.DataFrame({"m00": [1.0]}).write_parquet(path)
    with pytest.raises(DatasetFormatError, match="columns split, label are missing"):
        load_server_set(tmp_path, SMD)


@needs(DATASETS["SMD"])
def test_the_real_smd():
    loaded = load_server_set(DATASETS["SMD"].directory(), SMD)
    assert {len(one.channels) for one in loaded} == {38}
    assert totals(loaded) == (9, 213_255, 213_261, 13_393) or len(loaded) == 28


@needs(DATASETS["ASD"])
def test_the_real_asd():
    loaded = load_server_set(DATASETS["ASD"].directory(), ASD)
    assert {(one.test_labels.size, len(one.channels)) for one in loaded} == {(4_320, 19)}
    assert totals(loaded) in {(6, 51_840, 25_920, 1_065), (12, 102_331, 51_840, 2_392)}


@needs(DATASETS["CTN"])
def test_the_real_ctn():
    loaded = load_server_set(DATASETS["CTN"].directory(), CTN)
    assert {(one.train_length, one.test_labels.size, len(one.channels)) for one in loaded} == {(5_760, 7_200, 19)}
    assert totals(loaded)[::3] in {(5, 856), (10, 2_152), (30, 11_348)}
