import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.cell import run_cell
from evaluation.backtest.delays import at_delay
from evaluation.backtest.plan import Plan, plan_cells
from evaluation.backtest.report import tables
from evaluation.errors import InvalidInputError
from evaluation.scoring import CausalScorer
from tests.evaluation.backtest_parts import recording
from tsad.detectors.patchbank import PatchBankDetector
from tsad.settings import DetectorSettings

PATCHBANK = DetectorSettings(name="patchbank")


@pytest.fixture(scope="module")
def series():
    return recording(rows=500, train=250)


@pytest.fixture(scope="module")
def run(series):
    return run_causal(series, stream_settings(series, [PATCHBANK]))


def test_scores_come_back_to_their_rows(series, run):
    assert sorted(run.later) == [16, 95]
    np.testing.assert_array_equal(run.test_scores_at(0), run.test_scores)
    expected = PatchBankDetector().score_all(series.values, series.times, 250)[250:]
    settled = run.test_scores_at(95)
    np.testing.assert_allclose(settled[:-95], expected[:-95], rtol=1e-5)
    # The recording ends before more is known of its last rows.
    np.testing.assert_array_equal(settled[-95:], run.test_scores_at(16)[-95:])
    np.testing.assert_array_equal(run.test_scores_at(16)[-16:], run.test_scores[-16:])
    assert not np.array_equal(run.test_scores_at(16)[:-16], run.test_scores[:-16])
    assert not np.array_equal(settled[-95:-16], run.test_scores[-95:-16])


@given(st.lists(st.lists(st.sampled_from([1.0, 2.0, np.nan]), min_size=3, max_size=3), max_size=6), st.integers(0, 2))
def test_without_a_score_at_the_delay_the_largest_smaller_one_counts(rows, which):
    columns = np.array(rows, np.float64).reshape(-1, 3).T
    found = at_delay(columns[0], {4: columns[1], 9: columns[2]}, (0, 4, 9)[which])
    for row, score in zip(rows, found, strict=True):
        said = [one for one in row[: which + 1] if not np.isnan(one)]
        np.testing.assert_equal(score, said[-1] if said else np.nan)


def test_what_was_said_of_earlier_rows_is_not_taken_for_theirs(series, run):
    scorer = CausalScorer.learn(series, [PATCHBANK])
    first = scorer.score(series.test_times[:100], series.test_values[:100], delay="settled")
    second = scorer.score(series.test_times[100:], series.test_values[100:], delay="settled")
    np.testing.assert_array_equal(second.score, run.test_scores_at(95)[100:])
    np.testing.assert_array_equal(first.score[:5], run.test_scores_at(95)[:5])


def test_a_delay_is_part_of_the_entry_and_alarms_stay_as_they_are(series):
    plan = Plan([("patchbank",)], delays=(0, 16, "settled"))
    cells = plan_cells(plan)[3:]
    assert [(cell.name, cell.delay) for cell in cells] == [
        ("patchbank", 0), ("patchbank delay 16", 16), ("patchbank delay 95", 95)
    ]  # fmt: skip
    found = [run_cell(cell, series) for cell in cells]
    assert [one.record["delay"] for one in found] == [0, 16, 95]
    assert len({one.record["metrics"]["vus_pr"] for one in found}) == 3
    for one in found[1:]:
        assert one.record["alarms"] == found[0].record["alarms"]
        np.testing.assert_array_equal(one.curves["alarm"], found[0].curves["alarm"])
        np.testing.assert_array_equal(one.curves["p_value"], found[0].curves["p_value"])
        assert not np.array_equal(one.curves["score"], found[0].curves["score"])
    [table] = tables([one.record for one in found])
    assert list(table.columns[0].cells)[-1].plain == "patchbank delay 95"


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan([("robust",)], delays=(16,)), "robust says all of a row at once, so it has no delay 16"),
        (Plan([("patchbank",)], delays=(20,)), "patchbank has no delay 20; choose from 0, 16, 95"),
        (Plan([("patchbank", "robust")], delays=("settled",)), r"patchbank\+robust says all of a row at once"),
        (Plan([("patchbank",)], mode="full", delays=(16,)), "delay 16 needs mode causal"),
        (Plan([("patchbank",)], delays=(16,), threshold="mean+3std"), "have another scale than those at delay 16"),
        (Plan([("patchbank",)], delays=(16, 16)), "once each"),
    ],
)
def test_a_delay_that_there_is_not_is_refused(plan, message):
    with pytest.raises(InvalidInputError, match=message):
        plan_cells(plan)
