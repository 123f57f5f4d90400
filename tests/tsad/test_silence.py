"""Silence of assets and of controllers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tsad.engine import StreamEngine
from tsad.observations import ObservationBatch
from tsad.series import SeriesTable
from tsad.settings import StreamSettings
from tsad.silence import ControllerSettings, SilenceWatch

SECOND = 1_000_000_000


def batch(rows):
    """Observations of (series, time, partition)."""
    n = len(rows)
    return ObservationBatch(
        np.array([r[0] for r in rows], np.int32), np.array([r[1] for r in rows], np.int64),
        np.zeros((n, 1), np.float32), None, np.array([r[2] for r in rows], np.int32), np.arange(n, dtype=np.int64),
        np.zeros(n, np.int64),
    )  # fmt: skip


def watch_of(assets, allowed, **changes):
    table = SeriesTable(["x"])
    for asset in assets:
        table.add(asset)
    return SilenceWatch(allowed, table, **changes)


def told(watch, rows):
    return [(c.kind, c.subject, c.time) for c in watch.watch(batch(rows))]


def test_silence_is_judged_within_a_partition():
    same = told(watch_of("ab", 100), [(0, 0, 0), (1, 0, 0), (1, 90, 0), (1, 300, 0)])
    other = told(watch_of("ab", 100), [(0, 0, 0), (1, 0, 1), (1, 90, 1), (1, 300, 1)])

    assert same == [("stream.silent", "a", 100)]
    assert other == []


def test_what_is_usual_is_learnt_for_every_series_from_its_gaps_but_one():
    # a reports every second, with one outage; b every ten seconds; c has said too little to be judged.
    steps = {0: [*range(30), *range(130, 200)], 1: range(0, 201, 10), 2: range(5)}
    rows = sorted((t, s) for s, times in steps.items() for t in times)
    rows += [(t, 3) for t in range(201, 400)]
    watch = watch_of("abcd", None, reports=20, step=SECOND)
    found = told(watch, [(s, t * SECOND, 0) for t, s in rows])

    assert [watch.allowance(s) for s in range(4)] == [5 * SECOND, 30 * SECOND, None, 5 * SECOND]
    assert found == [
        ("stream.silent", "a", 35 * SECOND - SECOND), ("stream.resumed", "a", 130 * SECOND),
        ("stream.silent", "a", 204 * SECOND), ("stream.silent", "b", 230 * SECOND),
    ]  # fmt: skip


ASSETS = ("plc-1/a", "plc-1/b", "plc-1/c", "plc-2/d", "plc-2/e", "f")
PLC = ControllerSettings(depth=1, debounce=10)


def rows_but(gaps, seconds=200):
    """Reports of all assets every second, but for (series, from, to)."""
    return [
        (s, t * SECOND, 0)
        for t in range(seconds)
        for s in range(len(ASSETS))
        if not any(s == who and start <= t < stop for who, start, stop in gaps)
    ]


def test_a_controller_that_takes_all_its_assets_along_is_one_alarm():
    watch = watch_of(ASSETS, 5 * SECOND, controllers=PLC)
    found = told(watch, rows_but([(0, 50, 100), (1, 52, 101), (2, 51, 100)]))

    assert found == [("comms.lost", "plc-1", 56 * SECOND), ("comms.restored", "plc-1", 100 * SECOND)]


def test_one_silent_asset_waits_for_the_others_and_is_then_told_alone():
    watch = watch_of(ASSETS, 5 * SECOND, controllers=PLC)
    found = told(watch, rows_but([(0, 50, 100), (5, 50, 100)]))

    assert found == [
        ("stream.silent", "f", 54 * SECOND), ("stream.silent", "plc-1/a", 54 * SECOND),
        ("stream.resumed", "plc-1/a", 100 * SECOND), ("stream.resumed", "f", 100 * SECOND),
    ]  # fmt: skip


def test_what_stays_silent_when_the_controller_is_back_is_told_alone():
    watch = watch_of(ASSETS, 5 * SECOND, controllers=PLC)
    found = told(watch, rows_but([(0, 50, 100), (1, 50, 100), (2, 50, 150)]))

    assert [(kind, who) for kind, who, _ in found] == [
        ("comms.lost", "plc-1"), ("comms.restored", "plc-1"), ("stream.silent", "plc-1/c"),
        ("stream.resumed", "plc-1/c"),
    ]  # fmt: skip


def test_a_share_of_the_assets_may_be_enough_and_names_go_before_levels():
    controllers = ControllerSettings(assets={"gateway": ("plc-1/*", "f")}, share=0.75, debounce=5)
    watch = watch_of(ASSETS, 5 * SECOND, controllers=controllers)
    found = told(watch, rows_but([(0, 50, 100), (1, 50, 100), (2, 50, 100)]))

    assert [(kind, who) for kind, who, _ in found] == [("comms.lost", "gateway"), ("comms.restored", "gateway")]


def settings(**changes):
    return StreamSettings(
        name="s", step=1, train_rows=80, channels=("x",), detectors=["robust"], silent_after="auto",
        controllers=PLC, **changes,
    )  # fmt: skip


def engine():
    made = StreamEngine(settings())
    for asset in ASSETS:
        made.table.add(asset)
    return made


@profile(max_examples=20, deadline=None)
@given(st.data())
def test_silences_do_not_depend_on_batches_or_on_a_restart(data):
    gap = st.tuples(st.integers(0, 5), st.integers(80, 150), st.integers(151, 260))
    whole = batch(rows_but(data.draw(st.lists(gap, max_size=7)), 240))
    expected = engine().process(whole).transitions
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=4)))
    current, found = engine(), []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += current.process(whole.take(np.arange(start, stop))).transitions
        fitted, _ = current.state(fitted=True)
        streaming, extra = current.state(fitted=False)
        current = StreamEngine(settings())
        current.restore({**fitted, **streaming}, extra)

    assert sorted(map(repr, expected)) == sorted(map(repr, found))


def test_controllers_need_to_know_what_silence_is():
    with pytest.raises(ValueError, match="give silent_after"):
        StreamSettings(name="s", step=1, controllers={"depth": 1})


@pytest.mark.parametrize("wrong", ["5 parsecs", -1, True, "never", [1]])
def test_what_is_no_duration_is_refused_under_its_own_name(wrong):
    with pytest.raises(ValueError, match="duration") as refused:
        StreamSettings(name="s", step=1, silent_after=wrong)

    assert {error["loc"] for error in refused.value.errors()} == {("silent_after",)}
    assert StreamSettings(name="s", step=1, silent_after="2min").silent_after == 120
