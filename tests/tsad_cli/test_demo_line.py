"""The demonstration's inspection line: its records, and how sides are compared."""

import json

import duckdb
import numpy as np
import pytest

from connectors.history.schema import TABLES
from tsad_cli.demo_feed import NANOSECONDS, Defect
from tsad_cli.demo_line import line_defects, line_records, line_streams, read_parts, simulated_line

BEGIN = 1_800_000_000 * NANOSECONDS
PRESS, OVEN = "plant/line-1/press", "plant/line-1/oven"
STREAMS = [PRESS, OVEN, "camera-1"]


@pytest.fixture(scope="module")
def line():
    return simulated_line(600, 300, seed=1)


def test_every_part_is_told_by_its_stations_and_cameras_within_the_time(line):
    records = list(line_records(line, BEGIN, first_part=1000))
    assert min(record.time for record in records) >= BEGIN
    assert max(record.time for record in records) <= BEGIN + 600 * NANOSECONDS
    told = {}
    for record in records:
        document = json.loads(record.value)
        if "part_id" in document:
            told.setdefault(document["part_id"], []).append(document)
    assert set(told) == {f"part-{i + 1000:06d}" for i in range(len(line.part))}
    assert {len(one) for one in told.values()} <= {3, 4, 5}
    assert set(line_defects(line, 1000)) == {
        f"part-{i + 1000:06d}" for i in range(line.settings.clean_parts, len(line.part))
    }


def test_the_daemon_calibrates_on_no_more_parts_than_are_clean(line):
    joining = line_streams(1200)[-1]["joining"]
    assert 0 < joining["train_parts"] < simulated_line(2000, 1200, seed=0).settings.clean_parts


def test_sides_are_compared_at_the_same_number_of_good_parts(tmp_path):
    # part: p-values of press, oven and camera; flagged at first and at last; truth
    parts = [
        ((0.001, 0.5, 0.9), False, True, Defect("process-only", PRESS)),
        ((0.2, 0.3, 0.0005), False, True, Defect("image-only", None)),
        ((0.01, 0.6, 0.02), True, True, Defect("both", OVEN)),
        ((0.002, 0.4, 0.7), True, True, Defect("", None)),
        ((0.3, 0.4, 0.03), False, False, Defect("", None)),
        ((0.3, None, None), False, False, Defect("subtle", PRESS)),
    ]
    path = tmp_path / "h.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO streams VALUES (1, 'inspection.parts', ?)", [STREAMS])
        for number, (p_values, first, last, _) in enumerate([*parts, parts[0]]):
            for amendment, flagged in enumerate((first, last)):
                connection.execute(
                    "INSERT INTO parts VALUES (1, ?, ?, true, make_timestamp_ns(0), [1.0, 1.0, 1.0], ?, 0.1, 'cauchy', "
                    "?, ?, [], ?, 'c0', NULL, 1, false)",
                    [f"p{number}", amendment, list(p_values), PRESS, flagged, PRESS],
                )
    # p6 is a part of the clean ones: it counts for nothing.
    found = read_parts(path, {f"p{i}": part[3] for i, part in enumerate(parts)})
    assert (found.parts, found.good, found.false, found.amended) == (6, 2, 1, 2)
    assert found.planted == {"process-only": 1, "image-only": 1, "both": 1, "subtle": 1}
    # One good part is flagged by both together. Alone, the process may flag p3 (0.002) as well, up to p4's 0.3.
    assert found.found["process"] == {"process-only": 1, "image-only": 1, "both": 1}
    assert found.found["images"] == {"image-only": 1, "both": 1}
    assert found.total("together") == 3
    assert (found.began_right, found.began_known) == (1, 2)
    assert np.isclose(found.total("images"), 2)


def test_without_a_line_nothing_is_read(tmp_path):
    assert read_parts(tmp_path / "nothing.duckdb", {}).parts == 0
