"""Choosing a rule by labelled parts: it is checked on parts that it was not chosen on, and does no harm."""

import csv
import json

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import yaml

from connectors.history.schema import SCHEMA_VERSION, TABLES
from evaluation.part_fusion import judge_parts
from tests.tsad_cli.command_line import tsad
from tsad.errors import NotEnoughDataError

STREAMS = ["press", "camera"]


def parts(n=2000, good_sides=(True, True), seed=0):
    """p-values of two sides, of which some see half of the defects each."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.1
    p = rng.random((2, n))
    for side, sees in enumerate(good_sides):
        shown = labels & (rng.random(n) < 0.7) if sees else np.zeros(n, bool)
        p[side, shown] **= 8
    p[1, rng.random(n) < 0.05] = np.nan
    return p, labels


def test_two_sides_that_see_different_defects_are_fused():
    found = judge_parts(*parts(), STREAMS)
    assert found.check.use == found.chosen
    assert found.average_precision[found.chosen] > max(found.average_precision[side] for side in STREAMS)
    assert found.defects == pytest.approx(100, abs=15)


def test_a_side_that_says_nothing_but_noise_is_left_out_of_what_is_used():
    for seed in range(3):
        found = judge_parts(*parts(good_sides=(True, False), seed=seed), STREAMS)
        used = found.average_precision[found.check.use]
        assert found.check.best_stream == "press"
        assert used >= found.average_precision["press"]


def test_the_answer_depends_on_the_order_of_time_alone_and_not_on_labels_of_the_later_half():
    p, labels = parts()
    changed = labels.copy()
    later = len(labels) * 3 // 4
    changed[later:] = labels[later:][::-1]
    assert judge_parts(p, labels, STREAMS).chosen == judge_parts(p, changed, STREAMS).chosen


def test_too_few_defects_say_nothing():
    p, labels = parts(n=300)
    with pytest.raises(NotEnoughDataError, match="each half needs 20 defects"):
        judge_parts(p, labels, STREAMS)


@pytest.fixture
def plant(tmp_path):
    """A configuration, its history with judged parts, and labels by hand."""
    p, labels = parts()
    with duckdb.connect(str(tmp_path / "h.duckdb")) as connection:
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])
        connection.execute("INSERT INTO streams VALUES (1, 'inspection.parts', ?)", [STREAMS])
        rows = pa.table(
            {
                "part": [f"p{i}" for i in range(len(labels))],
                "time": np.arange(len(labels)),
                "p": [[None if np.isnan(v) else v for v in p[:, i]] for i in range(len(labels))],
            }
        )
        connection.register("judged", rows)
        connection.execute(
            "INSERT INTO parts SELECT 1, part, 0, true, make_timestamp_ns(time), [0.0], p, 0.5, 'brown', NULL, false, "
            "[], NULL, NULL, NULL, 1, false FROM judged"
        )
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["part_id", "defect"], *([f"p{i}", int(bad)] for i, bad in enumerate(labels)), ["other", 1]])
    views = [{"station": "inspection", "camera": "camera-1", "after": "press"}]
    joining = {"genealogy_stream": "g", "process_stream": "line", "steps": ["press"], "views": views}
    settings = {
        "source": {"kind": "kafka", "bootstrap": ["127.0.0.1:1"]},
        "streams": [
            {"name": "line", "topic": "a", "step": "1s"},
            {"name": "g", "kind": "genealogy", "topic": "b"},
            {"name": "inspection", "kind": "inspections", "topic": "c", "joining": joining},
        ],
        "history": {"path": "h.duckdb"},
    }
    (tmp_path / "line.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def test_the_command_prints_what_to_put_into_the_configuration(plant):
    done = tsad("parts", "check", plant / "line.yaml", "--labels", plant / "labels.csv")
    assert done.exit_code == 0, done.stderr
    assert "it stays" in done.stdout
    found = json.loads(tsad("parts", "check", plant / "line.yaml", "--labels", plant / "labels.csv", "--json").stdout)
    assert found["chosen"] == found["check"]["use"]
    assert set(STREAMS) < set(found["average_precision"])


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("part,defect\np1,1\n", 2, "has no column 'part_id'"),
        ("part_id,defect\np1,maybe\n", 2, "line 2: defect is 'maybe'"),
        ("part_id,defect\nnobody,1\n", 1, "none of the 1 labelled parts"),
        ("part_id,defect\np1,1\np2,0\n", 1, "each half needs 20 defects"),
    ],
)
def test_labels_that_say_nothing_are_refused(plant, text, code, problem):
    (plant / "labels.csv").write_text(text)
    done = tsad("parts", "check", plant / "line.yaml", "--labels", plant / "labels.csv")
    assert (done.exit_code, problem in done.stderr) == (code, True), done.stderr
    assert tsad("parts", "check", plant / "line.yaml", "--labels", plant / "nothing.csv").exit_code == 2
