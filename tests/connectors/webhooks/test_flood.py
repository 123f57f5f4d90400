"""Many transitions to receivers that fail at random for an hour: all arrive, in order, and none is invented."""

import runpy
from pathlib import Path

import pytest

run = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "deliveries.py"))["run"]

GROWN_MB = 700  # the receivers keep every body, about 1 KB of each of 200,000; the queue itself is bounded


def check(seen, transitions):
    assert seen["transitions"] == transitions
    assert seen["failed answers"] > transitions / 10
    assert seen["repeats dropped"] > 0
    assert (seen["lost"], seen["invented"], seen["out of order"]) == (0, 0, 0)


def test_each_transition_arrives_in_order():
    seen = run(500, step_seconds=240.0, per_alarm=10)
    check(seen, 500)
    assert seen["statuses"] == ["delivered"]


@pytest.mark.slow
def test_each_of_a_hundred_thousand_arrives_in_order():
    seen = run(100_000)
    check(seen, 100_000)
    assert seen["memory grown MB"] < GROWN_MB
