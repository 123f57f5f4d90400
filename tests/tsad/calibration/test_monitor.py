import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.calibration.monitor import KEPT_BLOCKS, PATIENCE_BLOCKS, CalibrationMonitor
from tsad.kernels.monitor import martingale_step


def quiet(rows, seed=0, factor=1.0):
    """Autocorrelated positive scores."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal(rows)
    level = np.empty(rows)
    level[0] = steps[0]
    for t in range(1, rows):
        level[t] = 0.9 * level[t - 1] + np.sqrt(1 - 0.81) * steps[t]
    return factor * np.exp(0.5 * level)


def feed(monitor, scores, on=None, series=0):
    rows = len(scores)
    standing = np.zeros(rows, np.bool_) if on is None else on
    return monitor.update(np.full(rows, series, np.int32), scores, standing)


def test_golden_values():
    """Calibration specification, section 11."""
    logs = np.zeros(5)
    found = [martingale_step(logs, p) for p in (0.5, 0.02, 0.3, 0.01, 0.05, 0.001)]
    assert found == pytest.approx([0.641492, 3.029984, 2.216807, 11.013908, 23.634103, 670.231914], abs=1e-6)


def test_growing_scores_are_told_and_steady_ones_are_not():
    signals = {}
    for factor in (1.0, 2.0):
        signals[factor] = 0
        for seed in range(10):
            monitor = CalibrationMonitor()
            monitor.fit(0, quiet(4000, seed))
            feed(monitor, quiet(20_000, 100 + seed, factor))
            signals[factor] += int(monitor.signals[0] > 0)
    assert signals[1.0] <= 2
    assert signals[2.0] >= 8


def test_the_flag_falls_after_a_while_and_by_learning_anew():
    monitor = CalibrationMonitor(block_rows=10)
    monitor.fit(0, np.random.default_rng(0).random(1000))
    feed(monitor, 5 + np.random.default_rng(1).random(400))
    assert monitor.drifting[0]
    feed(monitor, np.random.default_rng(2).random(10 * (PATIENCE_BLOCKS + 2)))
    assert not monitor.drifting[0]
    feed(monitor, 50 + np.random.default_rng(3).random(400))
    assert monitor.drifting[0]
    monitor.fit(0, 50 + np.random.default_rng(4).random(1000))
    assert not monitor.drifting[0]
    assert monitor.signals[0] == 0


def test_alarms_and_missing_scores_are_left_out():
    scores = np.random.default_rng(0).random(2000)
    monitor = CalibrationMonitor(block_rows=10)
    monitor.fit(0, scores[:1000])
    loud = np.full(500, 99.0)
    assert feed(monitor, loud, on=np.ones(500, np.bool_)) == 0
    assert feed(monitor, np.full(500, np.nan)) == 0
    assert monitor._arrays.blocks[0] == 0
    assert feed(monitor, loud) > 0


def test_ranks_are_taken_among_the_newest_blocks():
    monitor = CalibrationMonitor(block_rows=2)
    monitor.fit(0, np.random.default_rng(0).random(10))
    feed(monitor, np.random.default_rng(1).random(4 * KEPT_BLOCKS))
    assert monitor._arrays.n_maxima[0] == KEPT_BLOCKS
    assert monitor._arrays.next_place[0] == 5


@given(cuts=st.lists(st.integers(0, 600), max_size=5), moment=st.integers(0, 600))
def test_results_do_not_depend_on_batches_or_on_a_restart(cuts, moment):
    scores = np.round(quiet(600, 3), 1)
    series = (np.arange(600) % 3).astype(np.int32)
    whole, parts = CalibrationMonitor(block_rows=7), CalibrationMonitor(block_rows=7)
    for s in range(3):
        for monitor in (whole, parts):
            monitor.fit(s, quiet(100, s))
    on = scores > 3
    whole.update(series, scores, on)
    for start, stop in zip([0, *sorted([*cuts, moment])], [*sorted([*cuts, moment]), 600], strict=True):
        parts.update(series[start:stop], scores[start:stop], on[start:stop])
        if stop == moment:
            restored = CalibrationMonitor(block_rows=7)
            restored.restore({**parts.state(3, fitted=True), **parts.state(3, fitted=False)})
            parts = restored
    for name, array in whole.state(3, fitted=False).items():
        np.testing.assert_array_equal(parts.state(3, fitted=False)[name], array)


def test_a_block_needs_a_row():
    with pytest.raises(ValueError, match="block_rows is 0"):
        CalibrationMonitor(0)
