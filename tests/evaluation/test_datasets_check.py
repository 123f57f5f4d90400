import shutil

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.check import check_dataset, check_datasets
from evaluation.datasets.registry import DATASETS, EVENT_DATASETS
from evaluation.errors import InvalidInputError
from tests.evaluation.dataset_parts import needs


def write_service(folder, number, train=5_760, test=7_200, anomalous=100):
    folder.mkdir(exist_ok=True)
    labels = np.zeros(train + test, np.uint8)
    labels[-anomalous:] = 1
    table = {"split": ["train"] * train + ["test"] * test, "label": labels}
    metrics = {f"m{i:02d}": np.arange(train + test) for i in range(19)}
    pl.DataFrame({**table, **metrics}).write_parquet(folder / f"service{number}.parquet")


def check(name, folder):
    (one,) = check_datasets([name], data_directory=folder)
    return one


def test_what_is_not_there_is_no_fault(tmp_path):
    found = check_datasets(data_directory=tmp_path)
    assert {one.state for one in found} == {"absent"}
    assert {one.name.upper() for one in found} == {*DATASETS, *EVENT_DATASETS}
    assert all(str(tmp_path) in one.looked_for and not one.problems for one in found)
    with pytest.raises(InvalidInputError, match="no data set 'nothing'; there are SMAP"):
        check_datasets(["skab", "nothing"], data_directory=tmp_path)


def test_a_part_is_counted(tmp_path):
    for number in (3, 11):
        write_service(tmp_path / "ctn-services", number)
    one = check("ctn", tmp_path)
    assert (one.state, one.series, one.expected_series, one.channels) == ("part", 2, 30, (19,))
    assert (one.train_rows, one.test_rows, one.anomalous_rows, one.events) == (11_520, 14_400, 200, 2)
    assert DATASETS["CTN"].presence(tmp_path) == "part"


def test_counts_that_are_not_those_of_the_source(tmp_path):
    write_service(tmp_path / "ctn-services", 3, test=7_100)
    one = check("ctn", tmp_path)
    assert one.state == "broken"
    assert one.problems == (
        "service3 has 5,760 training and 7,100 test rows, every series of the source 5,760 and 7,200; fetch it again",
    )
    for number in range(30):
        write_service(tmp_path / "ctn-services", number)
    assert check("ctn", tmp_path).problems == (
        "3,000 anomalous rows, the source has 11,348; it is of another release, or cut short",
    )
    assert DATASETS["CTN"].presence(tmp_path) == "yes"


def test_every_broken_series_is_told_and_the_others_counted(tmp_path):
    folder = tmp_path / "ctn-services"
    for number in (1, 2, 3):
        write_service(folder, number)
    for number in (1, 3):
        file = folder / f"service{number}.parquet"
        file.write_bytes(file.read_bytes()[:1_000])
    one = check("ctn", tmp_path)
    assert (one.state, one.series) == ("broken", 1)
    assert len(one.problems) == 2
    assert all("the file is cut short" in problem for problem in one.problems)


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(entry)) for name, entry in DATASETS.items()])
def test_a_label_file_or_table_that_is_missing_or_cut_short(name, tmp_path):
    """Take each file of a real set away, or half of it: nothing but a clear sentence may come out."""
    entry = DATASETS[name]
    folder = entry.directory()
    tables = [path.name for path in folder.rglob("*.parquet") if "published" not in str(path)]
    needed = {
        "SMAP": ["SMAP.npz", "labeled_anomalies.csv"],
        "MSL": ["MSL.npz", "labeled_anomalies.csv"],
        "NAB": ["nab.parquet", "combined_windows.json"],
        "BATADAL": ["train_normal.parquet"],
        "TSB-AD-U": ["001_NAB_id_1_Facility_tr_1007_1st_2014.parquet"],
    }.get(name) or [min(tables, default="absent")]
    for file in needed:
        source = next(folder.rglob(file), None)
        if source is None or source.stat().st_size > 20_000_000:
            pytest.skip(f"{folder} holds another form")
        for damage in ("missing", "half"):
            copy = tmp_path / damage / file
            # the source may be read-only; only contents are copied
            for path in folder.rglob("*"):
                if path.is_file():
                    (copy / entry.folder / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, copy / entry.folder / path.relative_to(folder))
            victim = next((copy / entry.folder).rglob(file))
            if damage == "missing":
                victim.unlink()
            else:
                victim.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
            one = check_dataset(entry, copy)
            told = one.state == "broken" or (file == "labeled_anomalies.csv" and sum(one.left_out.values()) > 1)
            assert told if damage == "half" else one.state in {"broken", "part", "absent"}
            assert all(len(problem) > 30 for problem in one.problems)
            if file in ("labeled_anomalies.csv", "combined_windows.json", "train_normal.parquet"):
                assert told


@pytest.mark.parametrize("name", [pytest.param(n, marks=needs(e)) for n, e in {**DATASETS, **EVENT_DATASETS}.items()])
def test_the_real_data_are_sound(name):
    (one,) = check_datasets([name])
    assert one.state in {"whole", "part"}, one.problems
