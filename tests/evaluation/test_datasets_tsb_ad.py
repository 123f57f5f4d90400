import json
import math

import numpy as np
import polars as pl
import pytest

from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.datasets.tsb_ad import TsbName, load_tsb_ad, tsb_ad_left_out, tsb_ad_names
from evaluation.errors import DatasetFormatError, DatasetNotFoundError
from tests.evaluation.dataset_parts import needs, totals

GENESIS = "001_Genesis_id_1_Sensor_tr_4_1st_6"
LONE = "001_YAHOO_id_1_WebService_tr_3_1st_2"


def file(columns, labels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame({f"c{i}": np.arange(len(labels)) + i for i in range(columns)} | {"Label": labels})
    table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)


def write_files(folder, suffix=".csv"):
    file(2, [0] * 6 + [1, 0, 1], folder / "tsb-ad" / "TSB-AD-M" / f"{GENESIS}{suffix}")
    file(1, [0, 0, 1, 1, 0], folder / "tsb-ad" / "TSB-AD-U" / f"{LONE}{suffix}")
    return folder / "tsb-ad"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_of_the_suites(tmp_path, suffix):
    folder = write_files(tmp_path, suffix)
    (genesis,), (lone,) = load_tsb_ad(folder, "M"), load_tsb_ad(folder, "U")
    assert (genesis.dataset, genesis.name, genesis.channels) == ("TSB-AD-M", GENESIS, ("c0", "c1"))
    assert (genesis.train_length, genesis.labels.tolist()) == (4, [0] * 6 + [1, 0, 1])
    assert (lone.train_length, lone.labels.tolist()) == (3, [0, 0, 1, 1, 0]), "labels of training rows stay"
    assert np.diff(lone.times).tolist() == [60_000_000_000] * 4


def test_a_shared_folder_is_told_apart_by_columns_or_lists(tmp_path):
    folder = tmp_path / "tsb-ad"
    file(2, [0] * 6 + [1], folder / "series" / f"{GENESIS}.parquet")
    file(1, [0, 0, 1], folder / "series" / f"{LONE}.parquet")
    assert (tsb_ad_names(folder, "M"), tsb_ad_names(folder, "U")) == ((GENESIS,), (LONE,))
    (folder / "file_list").mkdir()
    (folder / "file_list" / "TSB-AD-M.csv").write_text(f"file_name\n{GENESIS}.csv\n{LONE}.csv\n")
    assert (tsb_ad_names(folder, "M"), tsb_ad_names(folder, "U")) == ((GENESIS, LONE), ()), "the list has the last word"


def test_one_name_for_both_suites(tmp_path):
    write_files(tmp_path)
    assert [one.name for one in load_dataset("tsb-ad", data_directory=tmp_path)] == [GENESIS, LONE]
    assert [one.name for one in load_dataset("tsb-ad", data_directory=tmp_path, select=["*YAHOO*"])] == [LONE]
    with pytest.raises(DatasetNotFoundError, match="tsb-ad has no series 'x'"):
        load_dataset("tsb-ad", data_directory=tmp_path, select=["x", "*YAHOO*"])


def test_a_file_that_does_not_fit_its_name(tmp_path):
    folder = write_files(tmp_path)
    path = folder / "TSB-AD-U" / f"{LONE}.csv"
    for labels, message in (
        ([0, 1, 1, 0, 0], "the first anomaly in row 1; the name says .* first anomaly 2: the file is cut short"),
        ([0, 0], "2 rows, the first anomaly in row None"),
        ([0, 0, 2, 0], "'Label' must be 0 or 1, found 2 in row 2"),
    ):
        file(1, labels, path)
        with pytest.raises(DatasetFormatError, match=message):
            load_tsb_ad(folder, "U")
    path.write_text("c0,label\n1,0\n")
    with pytest.raises(DatasetFormatError, match="column 'Label' is missing"):
        load_tsb_ad(folder, "U")
    path.unlink()
    file(1, [0, 0, 1], folder / "TSB-AD-U" / "mine.csv")
    with pytest.raises(DatasetFormatError, match="'mine' is no TSB-AD file name"):
        load_tsb_ad(folder, "U")


def test_names():
    name = TsbName.parse("003_Exathlon_part_2_id_1_Facility_tr_500_1st_7")
    assert (name.index, name.source, name.number, name.train_length) == (3, "Exathlon_part_2", 1, 500)


def write_originals(folder):
    """SMAP's A-1 (a test array of 10 rows), SMD's machine-1-2 and NAB's realTraffic/speed."""
    nasa = folder / "nasa-smap-msl"
    nasa.mkdir()
    arrays = {f"{part}/A-1/value": np.arange(10.0) + (part == "test") for part in ("train", "test")}
    np.savez(nasa / "SMAP.npz", **arrays, **{key.replace("value", "cmd"): np.ones((10, 2), np.uint8) for key in arrays})
    rows = 'A-1,SMAP,"[[4, 5]]",[point],10\n'
    (nasa / "labeled_anomalies.csv").write_text(f"chan_id,spacecraft,anomaly_sequences,class,num_values\n{rows}")
    smd = folder / "smd"
    smd.mkdir()
    split, labels = ["train"] * 6 + ["test"] * 6, [0] * 8 + [1] * 2 + [0] * 2
    pl.DataFrame({"split": split, "label": labels, "m00": np.arange(12.0)}).write_parquet(smd / "machine-1-2.parquet")
    nab = folder / "nab"
    nab.mkdir()
    stamps = pl.datetime_range(pl.datetime(2014, 4, 1), pl.datetime(2014, 4, 1, 1), "5m", eager=True)
    table = {"series": ["realTraffic/speed"] * 13, "timestamp": stamps, "value": np.arange(13.0)}
    pl.DataFrame(table).write_parquet(nab / "nab.parquet")
    windows = {"realTraffic/speed.csv": [["2014-04-01 00:25:00", "2014-04-01 00:40:00"]]}
    (nab / "combined_windows.json").write_text(json.dumps(windows))


MAP = """suite,tsb_file,dataset,source,skip_rows,length,unique,match_on
M,001_SMAP_id_1_Sensor_tr_3_1st_4.csv,SMAP,A-1,0,10,True,all
M,002_SMAP_id_2_Sensor_tr_3_1st_5.csv,SMAP,A-2,0,10,True,all
M,003_SMD_id_1_Facility_tr_2_1st_2.csv,SMD,machine-1-2,0,6,True,all
M,004_SMD_id_2_Facility_tr_2_1st_2.csv,SMD,,,,False,no match
M,005_SMD_id_3_Facility_tr_2_1st_2.csv,SMD,machine-1-2,0,6,False,first only
M,005_SMD_id_3_Facility_tr_2_1st_2.csv,SMD,machine-1-4,0,6,False,first only
U,001_SMAP_id_1_Sensor_tr_3_1st_2.csv,SMAP,A-1,2,8,True,all
U,002_NAB_id_1_Traffic_tr_3_1st_5.csv,NAB,realTraffic/speed,1,12,True,all
"""


def test_series_are_rebuilt_from_their_originals(tmp_path):
    write_originals(tmp_path)
    folder = tmp_path / "tsb-ad"
    folder.mkdir()
    (folder / "source_map.csv").write_text(MAP)
    smap, smd = load_tsb_ad(folder, "M")
    assert (smap.name, smap.train_length, smap.channels) == ("001_SMAP_id_1_Sensor_tr_3_1st_4", 3, ("0", "1", "2"))
    assert smap.values[:, 0].tolist() == list(range(1, 11)), "the test array"
    assert smap.labels.tolist() == [0] * 4 + [1, 1] + [0] * 4
    assert (smd.values[:, 0].tolist(), smd.labels.tolist()) == ([6, 7, 8, 9, 10, 11], [0, 0, 1, 1, 0, 0])
    single, nab = load_tsb_ad(folder, "U")
    assert (single.channels, single.labels.tolist()) == (("0",), [0, 0, 1, 1, 0, 0, 0, 0]), "skipped rows, first column"
    assert nab.values[:, 0].tolist() == list(range(1, 13)), "the first row is dropped"
    assert np.flatnonzero(nab.labels).tolist() == [5, 6, 7], "labels keep their row numbers, windows lose the last row"
    assert tsb_ad_left_out(folder, "M") == {
        "no original is known that the file was cut from": 1,
        "several originals fit the file, or several files one original": 1,
        "the original is not there": 1,
    }


def test_what_does_not_fit_is_left_out(tmp_path):
    write_originals(tmp_path)
    folder = tmp_path / "tsb-ad"
    folder.mkdir()
    changed = MAP.replace("id_1_Sensor_tr_3_1st_4", "id_1_Sensor_tr_3_1st_3").replace(
        "machine-1-2,0,6", "machine-1-2,0,7"
    )
    (folder / "source_map.csv").write_text(changed)
    assert load_tsb_ad(folder, "M") == []
    assert tsb_ad_left_out(folder, "M")["rebuilt, but length or first anomaly is not that of the file"] == 2
    with pytest.raises(DatasetNotFoundError, match="has no series '001_SMAP"):
        load_tsb_ad(folder, "M", select=["001_SMAP_id_1_Sensor_tr_3_1st_3"])


def test_a_file_is_taken_before_its_original(tmp_path):
    write_originals(tmp_path)
    folder = tmp_path / "tsb-ad"
    file(1, [0, 0, 0, 0, 1], folder / "TSB-AD-M" / "001_SMAP_id_1_Sensor_tr_3_1st_4.csv")
    (folder / "source_map.csv").write_text(MAP)
    assert load_tsb_ad(folder, "M", select=["001_*"])[0].labels.size == 5


def test_nothing_there(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"TSB-AD-M is not there.*TheDatumOrg/TSB-AD"):
        load_tsb_ad(tmp_path, "M")
    assert tsb_ad_left_out(tmp_path, "U") == {}


@needs(DATASETS["TSB-AD-M"])
@pytest.mark.parametrize(
    ("suite", "prefix", "held"),
    [("M", "multi", (47, 88_475, 306_160, 15_825)), ("U", "uni", (40, 60_388, 182_185, 12_164))],
)
def test_the_real_data_have_the_published_counts(suite, prefix, held):
    folder = DATASETS["TSB-AD-M"].directory()
    loaded = load_tsb_ad(folder, suite)
    whole = 200 if suite == "M" else 870
    assert len(loaded) + sum(tsb_ad_left_out(folder, suite).values()) == whole
    if len(loaded) == held[0]:
        assert totals(loaded) == held
    path = folder / "published_results" / f"{prefix}_mergedTable_VUS-PR.parquet"
    if path.is_file():
        published = {row["file"].removesuffix(".csv"): row for row in pl.read_parquet(path).iter_rows(named=True)}
        compared = [one for one in loaded if one.name in published]
        assert len(compared) > 30
        for one in compared:
            row = published[one.name]
            assert (one.labels.size, int(one.labels.sum())) == (row["ts_len"], row["anomaly_len"])
            assert math.isclose(one.labels.mean(), row["anomaly_ratio"], rel_tol=1e-3)
