import json
import shutil

import numpy as np
import pytest

from evaluation.datasets.location import data_directory
from evaluation.datasets.nasa import FOLDER, LABEL_POLICY, load_nasa, nasa_names
from evaluation.errors import DatasetFormatError, DatasetNotFoundError

CHANNELS = {"A-1": (6, 10), "P-2": (5, 8), "Z-9": (4, 4)}
ROWS = [
    ("A-1", "SMAP", [[0, 1], [9, 9]], 10),
    ("P-2", "SMAP", [[1, 2]], 8),
    ("P-2", "SMAP", [[4, 6]], 8),
    ("C-1", "MSL", [[0, 1]], 3),
]


def arrays(name):
    train, test = CHANNELS[name]
    rng = np.random.default_rng(len(name) + train)
    flags = rng.integers(0, 2, (train + test, 2))
    whole = np.column_stack([rng.normal(size=train + test), flags])
    return whole[:train], whole[train:]


def write_labels(directory, rows=ROWS):
    lines = ["chan_id,spacecraft,anomaly_sequences,class,num_values"]
    lines += [f'{name},{craft},"{json.dumps(segments)}",[point],{count}' for name, craft, segments, count in rows]
    (directory / "labeled_anomalies.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(params=["archive", "directories"])
def source(request, tmp_path):
    write_labels(tmp_path)
    if request.param == "archive":
        stored = {}
        for name in CHANNELS:
            for part, values in zip(("train", "test"), arrays(name), strict=True):
                stored[f"{part}/{name}/value"] = values[:, 0]
                stored[f"{part}/{name}/cmd"] = values[:, 1:].astype(np.uint8)
        np.savez(tmp_path / "SMAP.npz", **stored)
    else:
        for part in ("train", "test"):
            (tmp_path / part).mkdir()
        for name in CHANNELS:
            for part, values in zip(("train", "test"), arrays(name), strict=True):
                np.save(tmp_path / part / f"{name}.npy", values)
    return tmp_path


def test_both_forms_give_the_same_series(source):
    first, second = load_nasa(source, "SMAP")
    assert (first.name, first.channels, first.train_length) == ("A-1", ("value", "cmd_1", "cmd_2"), 6)
    assert np.array_equal(first.values, np.concatenate(arrays("A-1")).astype(np.float32))
    assert np.flatnonzero(first.test_labels).tolist() == [0, 1, 9]
    assert first.rows_per_day == 1440
    assert second.name == "P-2"


def test_label_policy(source):
    names = [series.name for series in load_nasa(source, "SMAP")]
    assert "Z-9" not in names, "a channel without a label row is left out"
    (series,) = load_nasa(source, "SMAP", select=["P-*"])
    assert np.flatnonzero(series.test_labels).tolist() == [4, 5, 6], "the last row counts, the end index is inside"
    assert "P-2" in LABEL_POLICY
    assert "T-10" in LABEL_POLICY


def test_what_is_missing_is_said(source, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"SMAP has no series 'Q-1'; it has A-1, P-2"):
        load_nasa(source, "SMAP", select=["Q-1"])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"NASA MSL is not there\. Looked for: .*Licence: Caltech"):
        load_nasa(empty, "MSL")


def test_labels_that_do_not_fit_are_refused(source):
    write_labels(source, [("A-1", "SMAP", [[0, 10]], 10)])
    with pytest.raises(DatasetFormatError, match=r"segment \[0, 10\] is outside 0..9"):
        load_nasa(source, "SMAP")
    write_labels(source, [("A-1", "SMAP", [[0, 1]], 11)])
    with pytest.raises(DatasetFormatError, match="says 11 test rows, the array has 10"):
        load_nasa(source, "SMAP")
    write_labels(source, [("Q-1", "SMAP", [[0, 1]], 11)])
    with pytest.raises((DatasetFormatError, DatasetNotFoundError), match="Q-1"):
        load_nasa(source, "SMAP")
    (source / "labeled_anomalies.csv").write_text("chan_id,spacecraft\n")
    with pytest.raises(DatasetFormatError, match="columns anomaly_sequences, num_values are missing"):
        load_nasa(source, "SMAP")


def test_half_a_download_is_told(source):
    archive = source / "SMAP.npz"
    if archive.is_file():
        whole = archive.read_bytes()
        archive.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DatasetFormatError, match=r"SMAP\.npz: the file is cut short"):
            load_nasa(source, "SMAP")
        np.savez(archive, **{"train/A-1/value": np.zeros(6), "train/A-1/cmd": np.zeros((5, 2))})
        with pytest.raises(DatasetFormatError, match=r"train/A-1/value \(6,\) and cmd \(5, 2\) must have equal rows"):
            load_nasa(source, "SMAP", select=["A-1"])
        np.savez(archive, **{"train/A-1/value": np.zeros(6)})
        with pytest.raises(DatasetFormatError, match="array train/A-1/cmd is missing"):
            load_nasa(source, "SMAP", select=["A-1"])
        archive.unlink()
    else:
        file = source / "test" / "A-1.npy"
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(DatasetFormatError, match="cut short or no array"):
            load_nasa(source, "SMAP")
        for part in ("train", "test"):
            for path in (source / part).iterdir():
                path.unlink()
            (source / part).rmdir()
    with pytest.raises(DatasetFormatError, match=r"SMAP\.npz and test/ are missing beside the rest"):
        nasa_names(source, "SMAP")


def test_labels_that_are_cut_short_are_told(source):
    if (source / "SMAP.npz").is_file():
        assert nasa_names(source, "MSL") == (), "only the other archive is there"
        shutil.copyfile(source / "SMAP.npz", source / "MSL.npz")
    file = source / "labeled_anomalies.csv"
    whole = file.read_text()
    file.write_text(whole[:-1].replace("[[0, 1]]", "[[0, 1"))
    with pytest.raises(DatasetFormatError, match="the row of channel C-1 is cut short or no list of segments"):
        nasa_names(source, "MSL")
    file.write_text(whole[: whole.index("C-1")])
    with pytest.raises(DatasetFormatError, match="no row is of spacecraft MSL; the file is cut short"):
        nasa_names(source, "MSL")
    file.unlink()
    with pytest.raises(DatasetFormatError, match=r"labeled_anomalies\.csv is missing beside the rest"):
        nasa_names(source, "SMAP")


@pytest.mark.skipif(
    not (data_directory() / FOLDER / "labeled_anomalies.csv").is_file(),
    reason=f"no NASA data: set TSAD_DATA to a directory that holds {FOLDER} (see docs/datasets.md)",
)
@pytest.mark.parametrize(
    ("spacecraft", "channels", "train", "test", "anomalous", "dimensions"),
    [("SMAP", 54, 138_004, 435_826, 55_817, 25), ("MSL", 27, 58_317, 73_729, 7_766, 55)],
)
def test_the_real_data(spacecraft, channels, train, test, anomalous, dimensions):
    loaded = load_nasa(data_directory() / FOLDER, spacecraft)
    assert len(loaded) == channels
    assert sum(series.train_length for series in loaded) == train
    assert sum(series.test_labels.size for series in loaded) == test
    assert sum(int(series.labels.sum()) for series in loaded) == anomalous
    assert {len(series.channels) for series in loaded} == {dimensions}
    assert "T-10" not in {series.name for series in loaded}
