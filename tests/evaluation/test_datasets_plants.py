"""TEP, BATADAL and NodeSentry."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.batadal import ATTACKS, load_batadal
from evaluation.datasets.nodesentry import load_nodesentry
from evaluation.datasets.registry import DATASETS
from evaluation.datasets.tep import load_tep
from evaluation.errors import DatasetFormatError, DatasetNotFoundError
from tests.evaluation.dataset_parts import needs, totals

VARIABLES = [f"XMEAS_{i}" for i in range(1, 42)] + [f"XMV_{i}" for i in range(1, 12)]


def tep_run(fault, rows):
    return np.random.default_rng(fault).normal(size=(rows, 52)).astype(np.float32).astype(float)


def write_tep(folder, form, faults=(0, 4), normal_rows=500):
    runs = {("train", 0): tep_run(99, normal_rows), **{("test", fault): tep_run(fault, 960) for fault in faults}}
    if form == "table":
        tables = [
            pl.DataFrame(values, schema=VARIABLES).with_columns(
                split=pl.lit(split).cast(pl.Categorical), fault=pl.lit(fault, pl.Int8)
            )
            for (split, fault), values in runs.items()
        ]
        pl.concat(tables).write_parquet(folder / "tep.parquet")
    else:
        for (split, fault), values in runs.items():
            name = f"d{fault:02d}_te.dat" if split == "test" else f"d{fault:02d}.dat"
            # the normal training run is published lying down
            np.savetxt(folder / name, values.T if split == "train" else values, fmt="%.9e")
    return folder


@pytest.mark.parametrize("form", ["table", "files"])
def test_tep_puts_the_normal_run_before_each_fault(form, tmp_path):
    normal, fault = load_tep(write_tep(tmp_path, form))
    assert (normal.name, fault.name, fault.channels) == ("fault-00", "fault-04", tuple(VARIABLES))
    assert int(normal.labels.sum()) == 0
    assert np.flatnonzero(fault.test_labels)[[0, -1]].tolist() == [160, 959]
    assert (fault.train_length, fault.step) == (500, 180_000_000_000)
    np.testing.assert_allclose(fault.train_values, tep_run(99, 500), rtol=1e-6)
    np.testing.assert_allclose(fault.test_values, tep_run(4, 960), rtol=1e-6)
    assert [one.name for one in load_tep(tmp_path, select=["fault-04"])] == ["fault-04"]


def test_tep_that_is_not_whole(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"TEP is not there.*profBraatz.*Illinois"):
        load_tep(tmp_path)
    write_tep(tmp_path, "files")
    np.savetxt(tmp_path / "d04_te.dat", tep_run(4, 700))
    with pytest.raises(DatasetFormatError, match="TEP/fault-04: the test run has 700 rows, 960 are known"):
        load_tep(tmp_path)
    np.savetxt(tmp_path / "d04_te.dat", tep_run(4, 960)[:, :40])
    with pytest.raises(DatasetFormatError, match="40 columns, 52 are known"):
        load_tep(tmp_path)
    (tmp_path / "d04_te.dat").write_text("1 2 x")
    with pytest.raises(DatasetFormatError, match="cut short or not of this format"):
        load_tep(tmp_path)
    (tmp_path / "d00.dat").unlink()
    with pytest.raises(DatasetFormatError, match=r"d00\.dat: missing beside the other runs"):
        load_tep(tmp_path)
    write_tep(tmp_path, "table")
    table = pl.read_parquet(tmp_path / "tep.parquet")
    table.filter(pl.col("split").cast(pl.String) == "test").write_parquet(tmp_path / "tep.parquet")
    with pytest.raises(DatasetFormatError, match="no rows of split 'train' and fault 0"):
        load_tep(tmp_path)


@needs(DATASETS["TEP"])
def test_the_real_tep():
    loaded = load_tep(DATASETS["TEP"].directory())
    assert {(one.train_length, one.test_labels.size) for one in loaded} == {(500, 960)}
    assert int(sum(one.labels.sum() for one in loaded)) == 800 * (len(loaded) - 1)


def hours(first, count, form):
    stamps = [datetime.fromisoformat(first) + timedelta(hours=i) for i in range(count)]
    return [stamp.strftime("%d/%m/%y %H") for stamp in stamps] if form == "contest" else stamps


def write_batadal(folder, form, flags=None):
    parts = {
        "train": ("2014-01-06", 48, [0] * 48),
        "train-attacks": ("2016-09-13", 120, None),
        "test": ("2017-01-16", 120, None),
    }
    names = {
        "contest": ("BATADAL_dataset03.csv", "BATADAL_dataset04.csv", "BATADAL_test_dataset.csv"),
        "tables": ("train_normal.parquet", "train_attacks.parquet", "test.parquet"),
    }[form]
    for (part, (first, count, marks)), name in zip(parts.items(), names, strict=True):
        if marks is None:
            marks = [int("2016-09-13T23" <= f"{h:%Y-%m-%dT%H}" <= "2016-09-16T00") for h in hours(first, count, "")]  # noqa: PLW2901
            if part == "test":
                marks = [int("2017-01-16T09" <= f"{h:%Y-%m-%dT%H}" <= "2017-01-19T06") for h in hours(first, count, "")]  # noqa: PLW2901
            elif form == "contest":
                marks = flags or [1 if mark and i % 2 else -999 for i, mark in enumerate(marks)]  # noqa: PLW2901
        table = pl.DataFrame(
            {
                "DATETIME": hours(first, count, form),
                "L_T1": np.arange(count) / 8,
                "S_PU1": [1] * count,
                "ATT_FLAG": marks,
            }
        )
        if form == "tables":
            table.write_parquet(folder / name)
        elif part == "test":
            table.drop("ATT_FLAG").write_csv(folder / name)
        else:
            spaced = {column: f" {column}" for column in table.columns if column != "DATETIME"}
            table.rename(spaced if part == "train-attacks" else {}).write_csv(folder / name)
    return folder


@pytest.mark.parametrize("form", ["tables", "contest"])
def test_batadal_forms_give_the_same_labels(form, tmp_path):
    first, second = load_batadal(write_batadal(tmp_path, form))
    assert (first.name, second.name, first.channels) == ("train-attacks", "test", ("L_T1", "S_PU1"))
    assert (first.train_length, first.step) == (48, 3_600_000_000_000)
    assert np.flatnonzero(first.test_labels)[[0, -1]].tolist() == [23, 72], "hidden marks of the contest are filled in"
    assert np.flatnonzero(second.test_labels)[[0, -1]].tolist() == [9, 78]
    assert first.test_times[0] == np.datetime64("2016-09-13", "ns").astype(np.int64), "the day comes first"
    assert [one.name for one in load_batadal(tmp_path, select=["test"])] == ["test"]


def test_batadal_that_is_not_whole(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"BATADAL is not there.*batadal\.net"):
        load_batadal(tmp_path)
    write_batadal(tmp_path, "contest", flags=[1] + [-999] * 119)
    with pytest.raises(DatasetFormatError, match=r"'ATT_FLAG' is 1 in row 0 .*none of the organisers' attacks lies"):
        load_batadal(tmp_path)
    (tmp_path / "BATADAL_dataset03.csv").unlink()
    with pytest.raises(DatasetFormatError, match=r"neither train_normal\.parquet nor BATADAL_dataset03\.csv"):
        load_batadal(tmp_path)
    write_batadal(tmp_path, "tables")
    pl.read_parquet(tmp_path / "test.parquet").drop("S_PU1").write_parquet(tmp_path / "test.parquet")
    with pytest.raises(DatasetFormatError, match=r"test\.parquet: column 'S_PU1' is missing"):
        load_batadal(tmp_path)


@needs(DATASETS["BATADAL"])
def test_the_real_batadal():
    loaded = load_batadal(DATASETS["BATADAL"].directory())
    assert totals(loaded) == (2, 2 * 8_761, 6_266, 899)
    for one in loaded:
        known = np.zeros(one.labels.size, np.uint8)
        for first, last in ATTACKS[one.name]:
            inside = (one.times >= np.datetime64(first, "ns").astype(int)) & (
                one.times <= np.datetime64(last, "ns").astype(int)
            )
            known[inside] = 1
        assert np.array_equal(known, one.labels), "the list of attacks is that of the flags"


def write_nodesentry(folder, **changes):
    def job(node, split, day, labels):
        begins = datetime(2024, 7, day)  # noqa: DTZ001  the source has no zone
        metrics = {f"Metric{i}": np.full(len(labels), float(day), np.float32) for i in range(1, 139)}
        stamps = [begins + timedelta(seconds=15 * i) for i in range(len(labels))]
        return {
            "split": [split] * len(labels),
            "node": [node] * len(labels),
            "timestamp": stamps,
            **metrics,
            "Label": labels,
        }

    jobs = [
        job("Node-1", "test", 15, [0.0, 1.0]),
        job("Node-1", "train", 11, [None] * 3),
        job("Node-1", "train", 9, [None] * 2),
        job("Node-4", "train", 9, [None] * 4),
    ]
    table = pl.concat([pl.DataFrame(one, schema_overrides={"Label": pl.Float64}) for one in jobs])
    table.with_columns(**changes).write_parquet(folder / "nodesentry.parquet")
    return folder


def test_nodesentry_orders_jobs_by_time(tmp_path):
    first, fourth = load_nodesentry(write_nodesentry(tmp_path))
    assert (first.name, first.train_length, first.labels.tolist()) == ("Node-1", 5, [0, 0, 0, 0, 0, 0, 1])
    assert first.values[:, 0].tolist() == [9, 9, 11, 11, 11, 15, 15]
    assert (fourth.train_length, fourth.test_labels.size) == (4, 0), "a node without a test job"


def test_nodesentry_that_is_broken(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"NodeSentry is not there.*hushao98"):
        load_nodesentry(tmp_path)
    write_nodesentry(tmp_path, Label=pl.lit(None, pl.Float64))
    with pytest.raises(DatasetFormatError, match="'Label' must be 0 or 1"):
        load_nodesentry(tmp_path)
    write_nodesentry(tmp_path, split=pl.lit("valid"))
    with pytest.raises(DatasetFormatError, match="'split' must be train or test, found 'valid'"):
        load_nodesentry(tmp_path)
    write_nodesentry(tmp_path, timestamp=pl.lit(1))
    with pytest.raises(DatasetFormatError, match="'timestamp' has type"):
        load_nodesentry(tmp_path)


@needs(DATASETS["NODESENTRY"])
def test_the_real_nodesentry():
    loaded = load_nodesentry(DATASETS["NODESENTRY"].directory())
    assert totals(loaded) == (7, 13_805, 1_635, 4)
    assert {len(one.channels) for one in loaded} == {138}
