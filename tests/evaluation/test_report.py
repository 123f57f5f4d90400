import base64
import doctest
import importlib
import json
import pkgutil
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import plotly.graph_objects
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import evaluation.report
from evaluation.backtest.measures import REPORT_NAMES
from evaluation.errors import InvalidInputError
from evaluation.metrics.registry import METRICS
from evaluation.report.downsample import Grid, spans
from evaluation.report.drill_down import _packed, curves_path, drill_down, keep_curves
from evaluation.report.figures import agreement_figure, forest_figure, ranks_figure
from evaluation.report.leaderboard import every_metric, leaderboards
from evaluation.report.metric_notes import POINT_ADJUSTED, metric_notes
from evaluation.report.page import write_report
from tests.evaluation.backtest_parts import recording
from tests.evaluation.report_parts import HOSTILE, HOSTILE_CHANNEL, run

MODULES = sorted(m.name for m in pkgutil.iter_modules(evaluation.report.__path__, "evaluation.report."))
DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
CURVE = arrays(float, st.integers(1, 90), elements=st.sampled_from([0.0, 1.0, -3.5, 7.25, np.nan, np.inf]))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of a backtest that is only read."""
    folder = tmp_path_factory.mktemp("finished")
    run(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


def cells_of(folder):
    return json.loads((folder / "results.json").read_text())["cells"]


# Downsampling


@given(CURVE, st.integers(2, 30))
def test_every_bucket_keeps_its_extremes_and_nothing_is_made_up(values, points):
    grid = Grid.of(len(values), points)
    shown, places = grid.reduce(values), grid.positions
    assert len(shown) == len(places)
    assert len(shown) <= max(points, 2)
    assert (np.diff(places) >= 0).all()
    for number, start in enumerate(range(0, len(values), grid.size)):
        bucket = values[start : start + grid.size]
        known = bucket[np.isfinite(bucket)]
        part = shown[number : number + 1] if grid.size == 1 else shown[2 * number : 2 * number + 2]
        if known.size:
            assert {part.min(), part.max()} == {known.min(), known.max()}
        else:
            assert np.isnan(part).all()


def test_extremes_come_in_the_order_of_the_rows():
    grid = Grid(6, 3)
    assert grid.reduce(np.array([5.0, 1.0, 3.0, 0.0, 2.0, 9.0])).tolist() == [5.0, 1.0, 0.0, 9.0]
    assert grid.positions.tolist() == [0, 1, 3, 4]


@given(arrays(bool, st.integers(1, 60)), st.integers(1, 9))
def test_spans_cover_every_true_row_and_no_gap_of_a_bucket(mask, size):
    found = spans(mask, Grid(len(mask), size))
    covered = np.zeros(len(mask), bool)
    for first, last in found:
        assert mask[first]
        assert mask[last]
        covered[first : last + 1] = True
    assert covered[mask].all()
    assert all(after[0] - before[1] >= size for before, after in pairwise(found))
    if size == 1:
        assert (covered == mask).all()


def test_wrong_shapes_are_told():
    with pytest.raises(InvalidInputError, match="0 rows cannot be shown"):
        Grid.of(0)
    with pytest.raises(InvalidInputError, match=r"shape \(3,\) does not fit 4 rows"):
        Grid.of(4).reduce(np.zeros(3))


@settings(max_examples=50)
@given(arrays(float, 20, elements=st.floats(-1e300, 1e300)))
def test_packed_curves_come_back_within_a_screen_s_resolution(values):
    values[3] = np.nan
    packed = _packed(values)
    levels = np.frombuffer(base64.b64decode(packed["values"]), "<u2")
    assert levels[3] == 65_535
    known = np.isfinite(values)
    assert (levels[known] < 65_535).all()
    back = packed["low"] + levels[known] / 65_534 * packed["high"] - levels[known] / 65_534 * packed["low"]
    assert back == pytest.approx(values[known], abs=(packed["high"] / 65_534 - packed["low"] / 65_534) or 1e-300)


# What is said of metrics


def test_every_metric_has_a_note_and_it_says_what_the_documentation_says():
    notes = {note.name: note for note in metric_notes()}
    assert set(notes) == {REPORT_NAMES.get(name, name) for name in METRICS}
    documented = {}
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        parts = [part.strip() for part in line.strip().strip("|").split("|")]
        if line.startswith("| `") and len(parts) == 5:
            documented |= dict.fromkeys(re.findall(r"`(\w+)`", parts[0]), parts[3:])
    relative = re.compile(r"^(as |the same|read the next|$)|see the twin")
    compared = 0
    for name in METRICS:
        note = notes[REPORT_NAMES.get(name, name)]
        for said, text in zip((note.rewards, note.fooled), documented[name], strict=True):
            assert said
            if not relative.search(text):
                assert said == text, name
                compared += 1
    assert compared > len(METRICS)


def test_point_adjusted_values_come_last_and_with_their_random_twin_first(finished):
    table = every_metric(cells_of(finished))
    assert list(table["groups"])[-1] == "point-adjusted"
    names = [row["note"].name for row in table["groups"]["point-adjusted"]]
    assert names == list(POINT_ADJUSTED)
    assert names[0] == "pa_f1_random"
    others = [row["note"].name for group, rows in table["groups"].items() if group != "point-adjusted" for row in rows]
    assert not set(others) & set(POINT_ADJUSTED)


# Leaderboards


def test_what_does_not_beat_the_best_trivial_predictor_is_marked(finished):
    cells = cells_of(finished)
    for cell in cells:
        if cell["error"] is None and not cell["trivial"]:
            cell["metrics"]["f1"] = 0.9 if cell["detector"] == "robust" else 0.01
            cell["metrics"]["detection_delay"] = 50.0
    (board,) = leaderboards(cells)
    assert [row["trivial"] for row in board["rows"]] == [True] * 3 + [False] * 2
    titles = [column["title"] for column in board["columns"]]
    marks = {row["detector"]: dict(zip(titles, row["values"], strict=True)) for row in board["rows"]}
    assert not marks["robust"]["F1"]["marked"]
    assert marks["sub-pca"]["F1"]["marked"]
    assert not marks["sub-pca"]["delay rows"]["marked"]
    # Equal is not better: all_ones finds every event too.
    assert marks["robust"]["event recall"]["marked"]
    assert not any(value["marked"] for row in board["rows"] if row["trivial"] for value in row["values"])
    assert marks["constant"]["delay rows"]["sort"] == ""


# Figures


def pool(**changes):
    pair = {
        "first": "<i>x", "second": "y", "series": 6, "difference": 0.1, "low": 0.05, "high": 0.2, "won": 5, "tied": 0,
        "lost": 1, "p_value_holm": 0.03,
    }  # fmt: skip
    ranks = {"average": {"<i>x": 1.2, "y": 1.9, "random": 2.9}, "groups": [["<i>x", "y"]], "critical_difference": 1.0}
    return {"pairs": [pair], "ranks": ranks, "higher_is_better": True} | changes


def checked(figure):
    """Plotly itself accepts the figure; roles of lines are the page's own."""
    layout = dict(figure["layout"])
    layout["shapes"] = [{k: v for k, v in shape.items() if k != "role"} for shape in layout.get("shapes", [])]
    return plotly.graph_objects.Figure(data=figure["data"], layout=layout)


def test_the_forest_has_a_row_a_pair_with_its_interval():
    figure = checked(forest_figure(pool()))
    (trace,) = figure.data
    assert trace.x == (0.1,)
    assert trace.y == ("&lt;i&gt;x − y",)  # noqa: RUF001
    assert (trace.error_x.array[0], trace.error_x.arrayminus[0]) == pytest.approx((0.1, 0.05))
    assert "first is better →" in figure.layout.xaxis.title.text
    lower = forest_figure(pool(higher_is_better=False))
    assert "← first is better" in lower["layout"]["xaxis"]["title"]["text"]
    few = dict(pool()["pairs"][0], low=None, high=None)
    assert not checked(forest_figure(pool(pairs=[few]))).data[0].error_x.visible
    assert forest_figure(pool(pairs=[dict(few, series=0)])) is None


def test_the_diagram_of_ranks_joins_whoever_is_not_told_apart():
    described = ranks_figure(pool())
    figure = checked(described)
    assert figure.data[0].x == (1.2, 1.9, 2.9)
    bars = [shape for shape in described["layout"]["shapes"] if shape["role"] == "group"]
    assert [(bar["x0"], bar["x1"]) for bar in bars] == [(1.2, 1.9)]
    assert ranks_figure(pool(ranks=None)) is None


def test_agreement_has_a_point_a_file():
    figure = checked(agreement_figure([{"file": "<A>", "ours": 0.2, "published": 0.4}], "x", "X"))
    assert (figure.data[0].x, figure.data[0].y, figure.data[0].text) == ((0.4,), (0.2,), ("&lt;A&gt;",))


# The page


class Page(HTMLParser):
    """What a browser would load, and the JSON that the page carries."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.tags, self.json, self._id = [], [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.loads += [found[name] for name in ("src", "href", "data", "action", "srcset", "poster") if name in found]
        self._id = found.get("id") if tag == "script" and found.get("type") == "application/json" else None

    def handle_data(self, data):
        if self._id:
            self.json[self._id] = json.loads(data)
            self._id = None


@pytest.fixture(scope="module")
def text(finished):
    return (finished / "report.html").read_text(encoding="utf-8")


def test_the_page_loads_nothing(text):
    page = Page(text)
    assert page.loads
    assert all(re.match(r"#[a-z-]+$|data:,$", target) for target in page.loads)
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert styles
    assert not any(re.search(r"@import|url\(", style) for style in styles)
    assert "default-src 'none'" in text
    # The one place where addresses stand is the library, which the policy above keeps from using them.
    assert text.count("plotly.js v") == 1
    assert not re.search(r"https?://", re.sub(r"<script>/\*\*\n\* plotly.*?</script>", "", text, flags=re.DOTALL))


def test_names_of_users_are_never_markup(text):
    page = Page(text)
    assert HOSTILE not in text
    assert "<b>A</b>" not in text
    assert HOSTILE_CHANNEL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert page.json["series-0"]["series"] == HOSTILE
    assert page.json["series-0"]["channels"][0]["name"] == HOSTILE_CHANNEL
    # Figures, metrics, facts, series, the library and the page's code: none that a name has opened.
    assert page.tags.count("script") == len(page.json) + 2


def test_the_page_says_what_it_rests_on(text, finished):
    page = Page(text)
    for words in (
        "mode causal", "threshold false-alarms-per-day", "accepted 50 false alarms a day", "the test part",
        "point-adjusted: pa-f1 is point-adjusted: one hit fills its whole event", "code_hash", "data_hashes",
        "too_little_data", "10000 resamples", "prefers-color-scheme", "@media print",
    ):  # fmt: skip
        assert words in text, words
    origin = json.loads((finished / "results.json").read_text())["provenance"]
    assert {origin["code_hash"], origin["time"], *origin["versions"].values()} <= set(
        re.findall(r"<code>(.*?)</code>", text)
    )
    first = page.json["series-0"]
    assert first["detectors"] == ["constant", "random", "all_ones", "robust", "sub-pca"]
    assert [one["detector"] for one in first["scores"]] == ["robust", "sub-pca"]
    assert len(first["events"]) == 1
    assert any(one["alarms"] for one in first["scores"])
    assert {"vus_pr", "pa_f1", "pa_f1_random"} <= set(first["metrics"])
    short = next(
        entry for name, entry in page.json.items() if name.startswith("series-") and entry["series"] == "short"
    )
    assert set(short["errors"]) == {"robust", "sub-pca"}
    assert short["scores"] == []


def test_the_page_can_be_written_again_from_the_folder(folder):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert write_report(folder).read_bytes() == before


def test_results_without_comparison_are_compared_then(folder):
    before = (folder / "report.html").read_bytes()
    document = json.loads((folder / "results.json").read_text())
    del document["comparison"]
    (folder / "results.json").write_text(json.dumps(document))
    assert write_report(folder).read_bytes() == before


def shown_series(path):
    text = path.read_text(encoding="utf-8")
    return [entry["series"] for name, entry in Page(text).json.items() if name.startswith("series-")], text


def test_as_many_series_as_asked_for_spread_over_all(folder):
    names, text = shown_series(write_report(folder, series_shown=2))
    assert names == [HOSTILE, "short"]
    assert "2 of 6 series are shown, spread evenly over all of them; 4 are left out" in text
    assert "--report-series N" in text
    none, text = shown_series(write_report(folder, series_shown=0))
    assert none == []
    assert "0 of 6 series are shown" in text
    with pytest.raises(InvalidInputError, match="-1 series cannot be shown"):
        write_report(folder, series_shown=-1)


def test_the_page_keeps_to_its_size(folder):
    bare = write_report(folder, series_shown=0).stat().st_size
    whole = write_report(folder).stat().st_size
    budget = (bare + (whole - bare) * 0.5) / 1e6
    path = write_report(folder, largest_mb=budget)
    names, text = shown_series(path)
    assert 1 <= len(names) < 6
    assert path.stat().st_size <= budget * 1e6
    assert "because the page may not grow larger" in text
    assert shown_series(write_report(folder, largest_mb=1.0))[0] == []


def test_series_without_curves_are_counted(folder):
    cells = cells_of(folder)
    curves_path(folder, cells[0]["dataset"], cells[0]["series"]).unlink()
    names, text = shown_series(write_report(folder))
    assert len(names) == 5
    assert "1 of them have no curves in this folder" in text


def test_missing_and_damaged_files_are_told(folder, tmp_path):
    with pytest.raises(InvalidInputError, match="give the folder of a backtest with --out"):
        write_report(tmp_path / "none")
    cells = cells_of(folder)
    own = [cell for cell in cells if cell["series"] == HOSTILE]
    scores = folder / next(cell["scores_file"] for cell in own if cell["detector"] == "robust")
    kept = scores.read_bytes()
    scores.unlink()
    with pytest.raises(InvalidInputError, match=r"robust.*cannot be read .*run the backtest again"):
        write_report(folder)
    scores.write_bytes(kept)
    curves = curves_path(folder, own[0]["dataset"], HOSTILE)
    keep_curves(folder, recording(name=HOSTILE, dataset=own[0]["dataset"], rows=300), whole=False)
    with pytest.raises(InvalidInputError, match="has 200 rows, the curves 100; run the backtest again"):
        drill_down(folder, own)
    curves.write_text("{")
    with pytest.raises(InvalidInputError, match="is damaged"):
        write_report(folder)
    for content, message in (("{", "holds no results"), ("[]", "holds no results"), ('{"cells": []}', "has no cells")):
        (folder / "results.json").write_text(content)
        with pytest.raises(InvalidInputError, match=message):
            write_report(folder)


def test_a_file_in_the_way_is_told(folder):
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    with pytest.raises(InvalidInputError, match=r"report\.html cannot be written"):
        write_report(folder)


def test_curves_of_whole_recordings_hold_the_training_part_too(tmp_path):
    series = recording(rows=5_000, train=2_000)
    keep_curves(tmp_path, series, whole=True)
    path = curves_path(tmp_path, series.dataset, series.name)
    kept = json.loads(path.read_text())
    assert (kept["rows"], kept["bucket"]) == (5_000, 5)
    assert len(np.frombuffer(base64.b64decode(kept["times"]), "<u4")) == 2_000
    start = int(series.times[2_050]) // 1_000_000
    assert kept["events"] == [[start, start + 30_000]]
    keep_curves(tmp_path, series, whole=False)
    assert json.loads(path.read_text())["rows"] == 3_000


def test_names_that_differ_only_in_signs_have_files_of_their_own(tmp_path):
    assert curves_path(tmp_path, "a", "b/c") != curves_path(tmp_path, "a", "b?c")
    assert curves_path(tmp_path, "a", "../../b").parent == tmp_path / "curves"
