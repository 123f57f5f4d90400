"""Deadlines of networks: who is late, who goes on alone, and that a restart repeats what the clock decided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tests.tsad.test_engine import SECOND, engine, observations, per_series, recording
from tsad.deadline import Deadline, LateAnswers, Timekeeper
from tsad.detectors.base import Unscored
from tsad.detectors.registry import create_detector
from tsad.engine import StreamEngine
from tsad.observations import RowBatch, RowFlag

NANO = {"name": "timercd-nano", "options": {"scales": (1,), "calibration_rows": 100}}
THEMIS = {"name": "themis", "options": {"window": 64, "hop": 4, "calibration_rows": 120}}


class Clock:
    """Every look at it takes a while, drawn beforehand."""

    def __init__(self, steps):
        self._now = 0.0
        self._steps = steps
        self._looks = 0

    def __call__(self):
        self._now += self._steps[self._looks % len(self._steps)]
        self._looks += 1
        return self._now


def rows_of(n_series, row, values):
    numbers = np.arange(n_series, dtype=np.int32)
    times = np.full(n_series, row * SECOND, np.int64)
    zeros = np.zeros(n_series, np.int32)
    return RowBatch(numbers, times, values, np.zeros(n_series, np.uint8), zeros, np.full(n_series, row, np.int64))


def test_the_clock_decides_what_was_not_decided_before():
    over = [False]
    deadline = Deadline(lambda: over[0], np.array([0, 1, 2, 0], np.uint8))
    everything = np.arange(4)

    assert deadline.allows(everything).tolist() == [True, True, False, True]
    over[0] = True
    assert deadline.allows(everything).tolist() == [False, True, False, False]
    assert Deadline(lambda: over[0]).allows(everything).tolist() == [False] * 4


def test_rows_of_records_that_were_committed_get_the_answers_of_then():
    keeper = Timekeeper(5.0, clock=lambda: 0.0)
    keeper.recall(LateAnswers({0: 3}, {"timercd-nano": {(1, 2 * SECOND)}}))
    again = keeper.deadline(rows_of(3, 2, np.zeros((3, 1), np.float32)), ["timercd-nano", "themis"])
    later = keeper.deadline(rows_of(3, 3, np.zeros((3, 1), np.float32)), ["timercd-nano"])

    assert again["timercd-nano"].allows(np.arange(3)).tolist() == [True, False, True]
    assert again["themis"].allows(np.arange(3)).all()
    assert later["timercd-nano"].allows(np.arange(3)).all()


@pytest.mark.parametrize("made", [NANO, {**THEMIS, "options": {**THEMIS["options"], "hop": 1}}])
def test_whoever_has_waited_longest_is_asked_first_and_late_rows_say_so(made):
    n_series, train = 40, 160
    detector = create_detector(made["name"], made["options"])
    detector.reserve(n_series, 1)
    values = np.random.default_rng(0).standard_normal((train + 3, n_series, 1)).astype(np.float32)
    for series in range(n_series):
        detector.fit(series, values[:train, series], np.arange(train) * SECOND)

    def late(row, questions):
        left = [questions]

        def is_over():
            left[0] -= 1
            return left[0] < 0

        found = detector.score_by(rows_of(n_series, row, values[row]), Deadline(is_over))
        assert np.array_equal(np.isnan(found.score), found.reason == Unscored.LATE)
        assert (found.contributions[found.reason == Unscored.LATE] == 0).all()
        return set(np.flatnonzero(found.reason == Unscored.LATE).tolist())

    first = late(train, 1)
    assert 0 < len(first) < n_series
    assert not first & late(train + 1, 2)
    assert late(train + 2, 100) == set()


def test_a_late_network_leaves_the_lighter_detector_alone_and_the_rows_say_so():
    values = observations(recording(320))
    changes = {"detectors": ["robust", NANO], "early": None}
    patient = engine(**changes, deadline=10).process(values)
    unhurried = engine(**changes).process(values)
    np.testing.assert_array_equal(patient.verdict, unhurried.verdict)
    assert not patient.late

    hurried = engine(**changes, clock=Clock([2.0]), deadline=1).process(values)
    scored = hurried.reason == Unscored.SCORED

    assert scored.sum() == 3 * 120
    assert ((hurried.rows.flags[scored] & RowFlag.WITHOUT_NETWORK) != 0).all()
    assert np.isnan(hurried.scores["timercd-nano"]).all()
    assert (hurried.scores["robust"][scored] == unhurried.scores["robust"][scored]).all()
    assert (hurried.calibrated.p_values[scored] > 0).all()
    assert hurried.counts["network_late"] == len(hurried.late["timercd-nano"]) == 3 * 120


def test_a_network_that_is_alone_and_late_gives_no_verdict_and_the_reason():
    output = engine(1, detectors=[NANO], early=None, clock=Clock([2.0]), deadline=1).process(
        observations(recording(220, 1))
    )

    assert (output.reason[200:] == Unscored.LATE).all()
    assert np.isnan(output.verdict).all()


def test_the_first_tier_may_hold_a_network():
    values = recording(260, 1)
    output = engine(1, detectors=["sub-pca"], early={"detectors": ["robust", NANO]}, deadline=10).process(
        observations(values)
    )

    early = (output.rows.flags & RowFlag.EARLY) != 0
    assert np.flatnonzero(early).tolist() == list(range(128, 200))
    assert not np.isnan(output.verdict[128:]).any()
    assert any("timercd-nano" in text for text in output.fits[0].choices)


def test_a_deadline_that_nobody_could_miss_is_refused():
    with pytest.raises(ValueError, match="none of the detectors is a network"):
        engine(detectors=["robust"], deadline=1)
    engine(detectors=["robust"], early={"detectors": [NANO]}, deadline=1)


@profile(max_examples=10, deadline=None)
@given(data=st.data())
def test_read_again_with_what_was_decided_everything_is_the_same(data):
    """However late networks were: who takes over the decisions, not the clock, comes to the same state."""
    whole = observations(recording(330, 2))
    changes = {"detectors": ["robust", NANO], "early": {"detectors": ["robust", THEMIS]}, "deadline": 1}
    steps = data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.6, 1.2]), min_size=3, max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=2, max_size=8)))
    lived, stored, found, known = engine(2, **changes, clock=Clock(steps)), 0, [], {}
    saved = lived.state(fitted=True)[0], lived.state(fitted=False)
    restart = data.draw(st.integers(0, len(cuts) - 1))
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
        found.append(lived.process(whole.take(np.arange(start, stop))))
        if number == restart:
            saved, stored, known, found = (lived.state(fitted=True)[0], lived.state(fitted=False)), stop, {}, []
        for name, rows in found[-1].late.items() if found else ():
            known.setdefault(name, set()).update(
                zip(found[-1].rows.series[rows].tolist(), found[-1].rows.times[rows].tolist(), strict=True)
            )

    again = StreamEngine(lived.settings, Clock([5.0]))
    fitted, (streaming, extra) = saved
    again.restore({**fitted, **streaming}, extra)
    again.recall(LateAnswers({0: len(whole)}, known))
    repeated = [again.process(whole.take(np.arange(stored, len(whole))))]

    if found:
        for of in (lambda o: o.verdict, lambda o: o.calibrated.thresholds, lambda o: o.reason, lambda o: o.rows.flags):
            for left, right in zip(per_series(found, of, 2), per_series(repeated, of, 2), strict=True):
                np.testing.assert_array_equal(left, right)
    assert sorted(repr(t) for o in found for t in o.transitions) == sorted(map(repr, repeated[0].transitions))
    for left, right in zip(lived.state(fitted=False)[0].items(), again.state(fitted=False)[0].items(), strict=True):
        assert left[0] == right[0]
        np.testing.assert_array_equal(left[1], right[1])
