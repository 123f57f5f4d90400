import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.backtest import events as backtests
from evaluation.backtest.event_injection import join_redteam, replace_values
from evaluation.backtest.event_tables import event_tables
from evaluation.backtest.events import (
    EventCell,
    EventSet,
    backtest_events,
    load_event_sets,
    plan_event_cells,
    recall_at,
    run_event_cell,
)
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.registry import EVENT_DATASETS
from evaluation.errors import DatasetNotFoundError, InvalidInputError
from tests.evaluation.dataset_parts import needs
from tests.tsad_cli.command_line import tsad
from tsad.errors import ConfigurationError

QUICK = {"ape": {"epochs": 10, "dimensions": 8, "batch_size": 64}}


def event_set(rows=900, train=600, odd=30, seed=0, name="logons", dirty=0):
    """Two groups of users that share no host; odd events mix them."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, rows)
    user, host, zone = (group * 6 + rng.integers(0, 6, rows) for _ in range(3))
    labels = np.zeros(rows, np.uint8)
    where = train + rng.choice(rows - train, odd, replace=False)
    where = np.concatenate((where, rng.choice(train, dirty, replace=False)))
    labels[where] = 1
    host[where] = (host[where] + 6) % 12
    table = pl.DataFrame({
        "user": pl.Series([f"u{v}" for v in user], dtype=pl.Categorical),
        "host": pl.Series([f"h{v}" for v in host], dtype=pl.Categorical),
        "zone": zone,
    })  # fmt: skip
    events = LabelledEvents("made", name, np.arange(rows), table, labels, train)
    return EventSet.of(events, "made up")


def test_cells_have_the_shape_of_numeric_ones(tmp_path):
    cells = plan_event_cells(["ape,pairwise-conditional"], seeds=2, options=QUICK)
    assert [(cell.name, cell.seed) for cell in cells] == [
        ("constant", None), ("random", 0), ("random", 1), ("ape", 0), ("ape", 1), ("pairwise-conditional", None),
    ]  # fmt: skip
    found = backtest_events([event_set()], cells, out=tmp_path)
    document = json.loads((tmp_path / "results.json").read_text())
    assert document == json.loads(json.dumps(found.as_dict()))
    for cell in document["cells"]:
        assert {"dataset", "series", "detector", "mode", "delay", "seed", "metrics", "seconds"} <= set(cell)
        assert (cell["mode"], cell["delay"], cell["error"]) == ("causal", 0, None)
        assert {"auc_roc", "auc_pr", "recall_at_100", "recall_at_1000"} <= set(cell["metrics"])
        scores = pl.read_parquet(tmp_path / cell["scores_file"])
        assert scores.columns == ["time", "label", "score", "p_value", "alarm"]
        assert scores.height == 300
    by_name = {cell["detector"]: cell for cell in document["cells"]}
    assert by_name["constant"]["metrics"]["auc_roc"] == 0.5
    assert by_name["ape"]["metrics"]["auc_roc"] > 0.95
    assert by_name["pairwise-conditional"]["metrics"]["auc_roc"] > 0.95
    assert by_name["ape"]["counts"]["anomalous_rows"] == 30
    assert (tmp_path / "report.html").read_text().count("pairwise-conditional") > 0
    pools = {
        (pool["metric"], entry["detector"]) for pool in document["comparison"]["pools"] for entry in pool["detectors"]
    }
    assert ("auc_roc", "ape") in pools
    assert pl.read_parquet(tmp_path / "results.parquet").height == 6


def test_a_second_run_takes_finished_cells(tmp_path, monkeypatch):
    cells = plan_event_cells(["marginal"])
    first = backtest_events([event_set()], cells, out=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(backtests, "run_event_cell", lambda *_: pytest.fail("ran again"))
        second = backtest_events([event_set()], cells, out=tmp_path)
    assert (first.skipped, second.skipped) == (0, 3)
    assert second.cells == first.cells
    assert backtest_events([event_set(seed=1)], cells, out=tmp_path).skipped == 0


def test_jobs_change_no_result():
    cells = plan_event_cells(["marginal,isolation-forest"])
    alone, together = (backtest_events([event_set()], cells, jobs=jobs, backend="threading").cells for jobs in (1, 2))
    assert [cell["metrics"] for cell in alone] == [cell["metrics"] for cell in together]


def test_anomalous_training_events_are_left_out():
    clean, dirty = event_set(seed=3), event_set(seed=3, dirty=200)
    record = run_event_cell(EventCell("pairwise-conditional"), dirty).record
    assert record["counts"]["fitted_rows"] == 400
    assert run_event_cell(EventCell("pairwise-conditional"), clean).record["counts"]["fitted_rows"] == 600
    assert record["metrics"]["auc_roc"] > 0.95


def test_shuffled_labels_change_no_score():
    one = event_set()
    labels = one.events.labels.copy()
    labels[600:] = np.random.default_rng(0).permutation(labels[600:])
    other = EventSet(
        LabelledEvents("made", "logons", one.events.times, one.events.table, labels, 600), one.batch, "made up"
    )
    scores = [run_event_cell(EventCell("isolation-forest"), each).curves["score"] for each in (one, other)]
    np.testing.assert_array_equal(*scores)


def test_failures_stay_in_their_cell():
    short = event_set(rows=80, train=40, odd=3)
    record = run_event_cell(EventCell("marginal"), short).record
    assert record["error_kind"] == "too_little_data"
    assert "needs 50 training events, there are 40" in record["error"]
    record = run_event_cell(EventCell("marginal", {"smoothing": -1}), event_set()).record
    assert record["error_kind"] == "failed"


@given(
    scores=hnp.arrays(np.float64, st.integers(3, 12), elements=st.sampled_from([0.0, 1.0, 2.0])),
    data=st.data(),
)
def test_recall_at_is_the_mean_over_orders_of_ties(scores, data):
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(scores), max_size=len(scores))), np.uint8)
    count = data.draw(st.integers(1, len(scores)))
    found = recall_at(labels, scores, count)
    if not labels.any():
        assert np.isnan(found)
        return
    rng = np.random.default_rng(0)
    plain = []
    for _ in range(300):
        order = rng.permutation(len(scores))
        best = order[np.argsort(-scores[order], kind="stable")][:count]
        plain.append(labels[best].sum() / min(labels.sum(), count))
    if count == len(scores):
        assert found == 1.0
    else:
        assert found == pytest.approx(np.mean(plain), abs=0.12)


@pytest.mark.parametrize("values", [1, 2, 3])
def test_injected_events_are_new_and_differ_in_as_many_values(values):
    events = event_set(odd=0, rows=1200, train=700).events
    made = replace_values(events, values, number=40)
    assert made.labels.sum() == 40
    assert made.train_length == 700
    assert not made.labels[:700].any()
    table = made.table.with_columns(pl.col("user", "host").cast(pl.String)).rows()
    original = set(events.table.with_columns(pl.col("user", "host").cast(pl.String)).rows())
    training = [set(column) for column in zip(*table[:700], strict=True)]
    for place in np.flatnonzero(made.labels):
        before = place - 1
        while made.labels[before]:
            before -= 1
        changed = [i for i in range(3) if table[place][i] != table[before][i]]
        assert len(changed) == values
        assert table[place] not in original
        assert all(table[place][i] in training[i] for i in changed)
        assert made.times[place] == made.times[before]
    again = replace_values(events, values, number=40)
    assert again.table.equals(made.table)
    assert not replace_values(events, values, number=40, seed=1).table.equals(made.table)


def test_injection_says_what_does_not_fit():
    events = event_set(odd=0).events
    with pytest.raises(InvalidInputError, match="4 values cannot be exchanged in events of 3"):
        replace_values(events, 4)
    few = LabelledEvents("made", "few", np.arange(80), pl.DataFrame({"a": [0, 1] * 40, "b": [0, 0, 1, 1] * 20}),
                         np.zeros(80, np.uint8), 40)  # fmt: skip
    with pytest.raises(InvalidInputError, match="no new combination of event"):
        replace_values(few, 1)


def test_the_red_team_brings_its_user_and_hosts():
    def words(*values):
        return pl.Series(values, dtype=pl.Categorical)

    rows = 20
    table = pl.DataFrame({
        "src_user": words(*["a"] * rows), "dst_user": words(*["a", "b"] * (rows // 2)), "src_pc": words(*["p"] * rows),
        "dst_pc": words(*["q"] * rows), "auth_type": words(*["k"] * rows),
    })  # fmt: skip
    events = LabelledEvents("LANL-AUTH", "s", np.arange(rows), table, np.zeros(rows, np.uint8), 10)
    red = LabelledEvents(
        "LANL-REDTEAM", "r", np.arange(5),
        pl.DataFrame({"src_user": words(*"vwxyz"), "src_pc": words(*"12345"), "dst_pc": words(*"67890")}),
        np.ones(5, np.uint8), 0,
    )  # fmt: skip
    made = join_redteam(events, red, number=5)
    found = made.table.filter(made.labels == 1).with_columns(pl.all().cast(pl.String))
    assert set(found.select("src_user", "src_pc", "dst_pc").rows()) == set(zip("vwxyz", "12345", "67890", strict=True))
    assert all(row["dst_user"] in {row["src_user"], "b"} for row in found.rows(named=True))
    assert found["auth_type"].to_list() == ["k"] * 5


@needs(EVENT_DATASETS["LANL-AUTH"])
@needs(EVENT_DATASETS["LANL-REDTEAM"])
def test_lanl_becomes_four_sets_with_named_policies():
    sets = load_event_sets(["LANL-AUTH"])
    assert [one.events.name for one in sets] == [
        "auth_sample/injected-1", "auth_sample/injected-2", "auth_sample/injected-3", "auth_sample/red-team",
    ]  # fmt: skip
    assert all(one.events.labels.sum() == 100 for one in sets)
    assert "policy 1" in sets[0].label_policy
    assert len({one.data_hash() for one in sets}) == 4
    assert len(load_event_sets(["LANL-AUTH"], patterns=["*/red-team"])) == 1
    with pytest.raises(DatasetNotFoundError, match="no event set matches"):
        load_event_sets(["LANL-AUTH"], patterns=["x*"])


@pytest.mark.parametrize(
    ("detectors", "options", "error", "message"),
    [
        (["deep"], {}, ConfigurationError, "no event detector 'deep'"),
        (["ape+marginal"], {}, InvalidInputError, "not combined"),
        (["ape,ape"], {}, InvalidInputError, "stands twice"),
        (["ape,"], {}, InvalidInputError, "is empty"),
        (["ape"], {"marginal": {}}, InvalidInputError, "names detector 'marginal'"),
        (["ape"], {"ape": {"x": 1}}, ConfigurationError, "has no option 'x'"),
    ],
)
def test_plans_that_make_no_sense_are_refused(detectors, options, error, message):
    with pytest.raises(error, match=message):
        plan_event_cells(detectors, options=options)


def test_tables_show_trivial_predictors_first():
    cells = plan_event_cells(["marginal"])
    (table,) = event_tables(backtest_events([event_set()], cells).cells)
    assert next(iter(table.columns[0].cells)).plain == "constant"
    assert "30 of 300 test events anomalous" in table.title


@pytest.fixture
def small(monkeypatch):
    one = event_set()
    monkeypatch.setattr(backtests, "load_events", lambda _name, **_: one.events)


@pytest.mark.usefixtures("small")
def test_the_command_takes_event_sets(tmp_path):
    arguments = ("backtest", "--dataset", "nsl-kdd", "--detector", "marginal,pairwise-conditional")
    result = tsad(*arguments, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    for text in ("made/logons", "constant", "random", "pairwise-condi", "report.html"):
        assert text in result.stdout
    assert "KDD labels, policy 1" in result.stdout
    cells = json.loads(tsad(*arguments, "--json").stdout)["cells"]
    assert [cell["detector"] for cell in cells] == ["constant", "random", "marginal", "pairwise-conditional"]
    assert "4 of 4 cells were finished" in tsad(*arguments, "--out", tmp_path).stdout


@pytest.mark.usefixtures("small")
def test_a_failed_event_cell_has_exit_code_one(monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("tsad.events.marginal.MarginalDetector.score", broken)
    result = tsad("backtest", "--dataset", "nsl-kdd", "--detector", "marginal")
    assert result.exit_code == 1
    assert "made/logons marginal failed: RuntimeError: out of order" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "nsl-kdd", "--dataset", "skab"], "run them in two backtests"),
        (["--dataset", "nsl-kdd", "--mode", "full"], "--mode full is for numeric series"),
        (["--dataset", "nsl-kdd", "--threshold", "fixed=1"], "--threshold is for numeric series"),
        (["--dataset", "nsl-kdd", "--detector", "robust"], "there is no event detector 'robust'"),
        (["--dataset", "nsl-kdd", "--dataset", "NSL-KDD"], "asked for twice"),
        (["--dataset", "nsl-kdd", "--series", "x"], "no event set matches"),
        (["--dataset", "nsl-kdd", "--detector", "marginal", "--backend", "ray"], "run by loky or threading"),
    ],
)
@pytest.mark.usefixtures("small")
def test_wrong_arguments_are_one_sentence_and_exit_code_two(arguments, message):
    result = tsad("backtest", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("tsad backtest: ")
    assert result.stdout == ""


def test_a_set_without_training_part_is_refused(monkeypatch):
    events = event_set(odd=3).events
    bare = LabelledEvents("LANL-REDTEAM", "redteam", events.times, events.table, events.labels, 0)
    monkeypatch.setattr(backtests, "load_events", lambda _name, **_: bare)
    result = tsad("backtest", "--dataset", "lanl-redteam")
    assert result.exit_code == 2
    assert "LANL-REDTEAM has no training part" in result.stderr
