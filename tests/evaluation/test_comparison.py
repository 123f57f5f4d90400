import doctest
import importlib
import io
import itertools
import math
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console
from scipy import stats

import evaluation.comparison
from evaluation.comparison.compare import COMPARED, compare
from evaluation.comparison.paired import holm, paired_difference
from evaluation.comparison.ranks import average_ranks, critical_difference, groups
from evaluation.comparison.tables import comparison_tables
from evaluation.comparison.units import seed_spread, units
from evaluation.errors import InvalidInputError

MODULES = sorted(m.name for m in pkgutil.iter_modules(evaluation.comparison.__path__, "evaluation.comparison."))
UNIT = st.floats(0, 1).map(lambda value: round(value, 3))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0


def plain(table):
    """What a table looks like where every word fits."""
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def cell(dataset, series, detector, value, seed=None, mode="causal"):
    trivial = detector in {"constant", "random", "all_ones"}
    metrics = value if isinstance(value, dict) else {"vus_pr": value}
    return {
        "dataset": dataset, "series": series, "detector": detector, "seed": seed, "mode": mode, "trivial": trivial,
        "metrics": metrics,
    }  # fmt: skip


def cells_of(values, dataset="A", **further):
    """One cell a detector and series from a mapping of columns."""
    return [
        cell(dataset, f"s{row}", detector, value, **further)
        for detector, column in values.items()
        for row, value in enumerate(column)
    ]


# Pairs


def test_a_pair_by_hand():
    first = np.array([0.9, 0.8, np.nan, 0.5, 0.7, 0.6, 0.4])
    second = np.array([0.5, 0.8, 0.1, 0.6, 0.3, np.nan, 0.1])
    found = paired_difference(first, second)
    assert (found.series, found.won, found.tied, found.lost) == (5, 3, 1, 1)
    assert found.difference == pytest.approx((0.4 + 0 - 0.1 + 0.4 + 0.3) / 5)
    assert found.first_mean - found.second_mean == pytest.approx(found.difference)
    lower = paired_difference(first, second, higher_is_better=False)
    assert (lower.won, lower.lost, lower.difference) == (1, 3, found.difference)


def test_the_interval_is_that_of_all_resamples_of_five_series():
    differences = np.array([0.3, -0.1, 0.2, 0.05, 0.4])
    every = np.array([np.mean(drawn) for drawn in itertools.product(differences, repeat=5)])
    found = paired_difference(differences, np.zeros(5), resamples=200_000)
    assert found.low == pytest.approx(np.quantile(every, 0.025), abs=0.01)
    assert found.high == pytest.approx(np.quantile(every, 0.975), abs=0.01)


def test_the_p_value_is_that_of_all_signs():
    differences = np.array([0.3, -0.1, 0.2, 0.05, 0.4, 0.22])
    ranks = stats.rankdata(np.abs(differences))
    statistic = abs(np.sum(np.sign(differences) * ranks))
    every = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=6)]
    expected = np.mean([value >= statistic - 1e-12 for value in every])
    assert paired_difference(differences, np.zeros(6)).p_value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("series", "ties", "zeros"),
    [
        (5, 0, 0),
        (8, 0, 0),
        (8, 1, 0),
        (9, 1, 2),
        (7, 1, 3),
        (30, 0, 0),
        (50, 0, 0),
        (51, 0, 0),
        (51, 1, 0),
        (200, 1, 0),
    ],
)
def test_p_values_are_those_of_scipy(series, ties, zeros):
    differences = np.random.default_rng(series).normal(0.3, 1.0, series)
    if ties:
        differences = np.round(differences, 1) + 0.01
    differences[:zeros] = 0.0
    expected = stats.wilcoxon(differences, zero_method="zsplit", method="auto").pvalue
    assert paired_difference(differences, np.zeros(series), resamples=100).p_value == pytest.approx(expected, rel=1e-9)


def test_exact_and_normal_p_values_meet_where_one_takes_over():
    differences = np.round(np.random.default_rng(2).normal(0.2, 1.0, 51), 1)
    differences[50] = 0.0  # so that the last series says nothing for either side
    fewer, more = (paired_difference(differences[:count], np.zeros(count)).p_value for count in (50, 51))
    assert fewer == pytest.approx(more, abs=0.005)


@pytest.mark.parametrize("series", [0, 1, 4])
def test_few_series_get_no_interval_and_no_p_value(series):
    found = paired_difference(np.ones(series), np.zeros(series))
    assert (found.series, found.low, found.high, found.p_value) == (series, None, None, None)


def test_equal_detectors_are_tied_for_certain():
    found = paired_difference(np.full(8, 0.3), np.full(8, 0.1 + 0.2))
    assert (found.tied, found.difference, found.low, found.high, found.p_value) == (8, 0.0, 0.0, 0.0, 1.0)


@settings(max_examples=60)
@given(arrays(float, (2, 9), elements=UNIT))
def test_swapping_the_detectors_changes_the_sign_alone(values):
    one, other = paired_difference(*values, resamples=300), paired_difference(*values[::-1], resamples=300)
    assert one.difference == -other.difference
    assert (one.low, one.high) == (-other.high, -other.low)
    assert (one.won, one.tied, one.lost) == (other.lost, other.tied, other.won)
    assert one.p_value == pytest.approx(other.p_value)
    assert 0 <= one.p_value <= 1
    assert one.low <= one.difference + 1e-12
    assert one.difference <= one.high + 1e-12


@settings(max_examples=60)
@given(arrays(float, (2, 9), elements=UNIT), st.floats(-1, 1))
def test_a_constant_added_to_one_detector_moves_difference_and_interval_by_it(values, constant):
    one = paired_difference(values[0], values[1], resamples=300)
    moved = paired_difference(values[0] + constant, values[1], resamples=300)
    for name in ("difference", "low", "high"):
        assert getattr(moved, name) == pytest.approx(getattr(one, name) + constant, abs=1e-8)
    both = paired_difference(values[0] + constant, values[1] + constant, resamples=300)
    assert (both.won, both.tied, both.lost) == (one.won, one.tied, one.lost)
    assert both.difference == pytest.approx(one.difference, abs=1e-8)


def test_a_twentieth_of_intervals_miss_the_truth():
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(300):
        sample = rng.normal(0.2, 1.0, 60)
        found = paired_difference(sample, np.zeros(60), resamples=500)
        missed += not found.low <= 0.2 <= found.high
    assert 6 <= missed <= 30


def test_wrong_input_is_told():
    with pytest.raises(InvalidInputError, match=r"got shapes \(2,\) and \(3,\)"):
        paired_difference(np.ones(2), np.ones(3))
    with pytest.raises(InvalidInputError, match="resamples is 5"):
        paired_difference(np.ones(9), np.ones(9), resamples=5)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    known = [(a, b) for a, b in zip(p_values, corrected, strict=True) if a is not None]
    assert all(a <= b <= 1 for a, b in known)
    assert [b for _, b in sorted(known)] == sorted(b for _, b in known)
    smallest = min((a for a, _ in known), default=None)
    if smallest is not None:
        assert min(b for _, b in known) == min(1.0, smallest * len(known))


# Ranks


def naive_ranks(row):
    """Rank 1 for the highest; a tie has the mean of its ranks."""
    return [sum(other > one for other in row) + (sum(other == one for other in row) + 1) / 2 for one in row]


@settings(max_examples=60)
@given(arrays(float, (7, 4), elements=st.sampled_from([0.1, 0.2, 0.25, 0.4, 0.9])))
def test_ranks_and_friedman_equal_a_plain_twin_and_scipy(values):
    found = average_ranks(values)
    ranked = np.array([naive_ranks(row) for row in values.tolist()])
    assert found.average == pytest.approx(ranked.mean(axis=0))
    assert sum(found.average) == pytest.approx(10)
    if len(np.unique(ranked)) > 1:
        expected = stats.friedmanchisquare(*values.T)
        assert found.friedman_statistic == pytest.approx(expected.statistic)
        assert found.friedman_p_value == pytest.approx(expected.pvalue)
    else:
        assert (found.friedman_statistic, found.friedman_p_value) == (0.0, 1.0)
    lower = average_ranks(-values, higher_is_better=False)
    assert lower == found
    order = np.random.default_rng(0).permutation(7)
    assert average_ranks(values[order]).average == pytest.approx(found.average)


def test_critical_differences_are_those_of_the_paper():
    # Table 5a of Demsar 2006: the two-tailed Nemenyi test at level 0.05, for 2 to 10 classifiers.
    table = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    for detectors, quantile in table.items():
        expected = quantile * math.sqrt(detectors * (detectors + 1) / (6 * 14))
        assert critical_difference(detectors, 14) == pytest.approx(expected, abs=2e-3)
    with pytest.raises(InvalidInputError, match="1 detectors on 5 series"):
        critical_difference(1, 5)


def test_iman_davenport_by_hand():
    values = np.array([[3, 2, 1], [3, 1, 2], [3, 2, 1], [2, 3, 1], [3, 2, 1], [1, 2, 3]], float)
    # Sums of ranks: 9, 12, 15; chi-squared 12 / (6 * 3 * 4) * (81 + 144 + 225) - 3 * 6 * 4 = 3.
    found = average_ranks(values)
    assert found.friedman_statistic == pytest.approx(3.0)
    assert found.iman_davenport_p_value == pytest.approx(float(stats.f.sf(5 * 3 / (6 * 2 - 3), 2, 10)))
    alike = average_ranks(np.tile([3.0, 2.0, 1.0], (6, 1)))
    assert alike.iman_davenport_p_value == 0.0


@given(st.lists(st.floats(1, 8), min_size=2, max_size=8), st.floats(0.1, 4))
def test_groups_hold_whoever_lies_together_and_are_as_large_as_can_be(average, wide):
    found = groups(average, wide)
    sets = [set(group) for group in found]
    for one, other in itertools.combinations(range(len(average)), 2):
        assert (abs(average[one] - average[other]) < wide) == any({one, other} <= group for group in sets)
    assert not any(one < other for one, other in itertools.permutations(sets, 2))


def test_too_few_detectors_or_complete_series_have_no_ranks():
    assert average_ranks(np.ones((9, 2))) is None
    values = np.random.default_rng(0).random((6, 3))
    values[0, 0] = values[1, 1] = np.nan
    assert average_ranks(values) is None
    assert average_ranks(np.vstack([values, values])).series == 8
    with pytest.raises(InvalidInputError, match="1 dimensions"):
        average_ranks(np.ones(4))


# Whole comparisons


def test_seeds_are_averaged_per_series_first_and_their_spread_told_apart():
    cells = cells_of({"x": [0.1, 0.5]}, seed=0) + cells_of({"x": [0.3, 0.9]}, seed=1)
    assert units(cells, "vus_pr").column("x") == pytest.approx([0.2, 0.7])
    spread = seed_spread(cells, "x", "vus_pr")
    assert (spread.seeds, spread.series) == (2, 2)
    assert spread.deviation == pytest.approx(np.std([0.3, 0.6], ddof=1))
    assert seed_spread(cells[:2], "x", "vus_pr").deviation is None
    assert seed_spread(cells[:3], "x", "vus_pr").series == 1
    assert seed_spread([cells[0], cells[3]], "x", "vus_pr").deviation is None


def test_pools_are_data_sets_and_all_of_them_with_every_series_one_unit():
    rng = np.random.default_rng(1)
    big = {"random": rng.random(20), "x": rng.random(20), "y": rng.random(20)}
    small = {"random": rng.random(5), "x": rng.random(5) + 1, "y": rng.random(5)}
    small["y"][0] = np.nan
    cells = cells_of(big, "Big") + cells_of(small, "Small")
    pools = [pool for pool in compare(cells, resamples=200)["pools"] if pool["metric"] == "vus_pr"]
    assert [pool["dataset"] for pool in pools] == ["Big", "Small", None]
    large, little, every = (next(p for p in pool["pairs"] if p["second"] == "y") for pool in pools)
    assert (large["series"], little["series"], every["series"]) == (20, 4, 24)
    assert little["low"] is None
    assert every["difference"] == pytest.approx((large["difference"] * 20 + little["difference"] * 4) / 24)
    assert every["mean_of_data_set_differences"] == pytest.approx((large["difference"] + little["difference"]) / 2)
    assert large["mean_of_data_set_differences"] is None
    assert pools[1]["ranks"] is None
    assert pools[2]["ranks"]["series"] == 24


def test_the_yardstick_is_the_strongest_trivial_predictor_of_each_metric():
    def both(pr, recall):
        return {"vus_pr": pr, "event_recall": recall, "false_alarms_per_day": 10 * recall}

    columns = {"constant": (0.1, 0.0), "random": (0.2, 0.5), "all_ones": (0.1, 1.0), "x": (0.5, 0.5)}
    cells = [cell("A", f"s{n}", detector, both(*values)) for n in range(6) for detector, values in columns.items()]
    pools = {pool["metric"]: pool for pool in compare(cells, resamples=200)["pools"]}
    assert set(pools) == set(COMPARED)
    names = {metric: pools[metric]["yardstick"] for metric in ("vus_pr", "event_recall", "false_alarms_per_day")}
    assert names == {"vus_pr": "random", "event_recall": "all_ones", "false_alarms_per_day": "constant"}
    assert pools["false_alarms_per_day"]["pairs"][0]["lost"] == 6
    assert pools["f1"]["yardstick"] is None
    assert pools["f1"]["pairs"] == []
    assert compare([one for one in cells if one["trivial"]])["pools"] == []


@settings(max_examples=20)
@given(arrays(float, (6, 3), elements=UNIT), st.randoms(use_true_random=False))
def test_the_order_of_cells_changes_nothing(values, random):
    cells = cells_of(dict(zip(("random", "x", "y"), values.T.tolist(), strict=True)))
    shuffled = list(cells)
    random.shuffle(shuffled)
    # Order of detectors comes from the cells; everything else must not.
    shuffled.sort(key=lambda one: one["detector"])
    cells.sort(key=lambda one: one["detector"])
    assert compare(shuffled, resamples=200) == compare(cells, resamples=200)


def test_terminal_tables_need_two_detectors_and_five_series():
    rng = np.random.default_rng(3)
    columns = {name: rng.random(6) for name in ("random", "[b]x", "y")}
    (table,) = comparison_tables(compare(cells_of(columns), resamples=200))
    shown = plain(table)
    assert "[b]x - y" in shown
    assert "not told apart" in shown
    few = {name: column[:4] for name, column in columns.items()}
    assert not list(comparison_tables(compare(cells_of(few), resamples=200)))
    assert not list(comparison_tables(compare(cells_of({"random": columns["y"], "x": columns["y"]}), resamples=200)))
    columns["y"][:2] = np.nan
    (table,) = comparison_tables(compare(cells_of(columns), resamples=200))
    assert "under 5 series" in plain(table)
    assert "ranks: too few series" in plain(table)
