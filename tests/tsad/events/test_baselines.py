import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from tests.tsad.events.event_parts import ATTRIBUTES, cliques, mixed
from tsad.events.base import held_out
from tsad.events.batch import EventBatch
from tsad.events.entities import EntityCounts
from tsad.events.registry import create_event_detector
from tsad.events.replay import ReplayBuffer


def learnt(events):
    return events.codes[~held_out(len(events))]


def test_marginal_equals_its_plain_twin():
    train, test = cliques(200), mixed(cliques(30, seed=1))
    detector = create_event_detector("marginal", {"smoothing": 0.5})
    detector.fit(train)
    expected = np.zeros(30)
    for place, column in enumerate(learnt(train).T):
        counts = Counter(column.tolist())
        total = sum(counts.values()) + 0.5 * (len(counts) + 1)
        expected -= [np.log((counts[int(v)] + 0.5) / total) for v in test.codes[:, place]]
    np.testing.assert_allclose(detector.score(test).score, expected)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000))
def test_pairwise_equals_its_plain_twin_also_after_growing(seed):
    rng = np.random.default_rng(seed)

    def events(n, high):
        return EventBatch(ATTRIBUTES, rng.integers(0, high, (n, 4), dtype=np.int32))

    train, newer, test = events(80, 5), events(30, 9), events(20, 12)
    detector = create_event_detector("pairwise-conditional", {"half_life": 30.0})
    detector.fit(train)
    detector.partial_fit(newer)
    single, pair = [Counter() for _ in range(4)], {ij: Counter() for ij in itertools.combinations(range(4), 2)}
    for weight, codes in ((0.5, learnt(train)), (1.0, newer.codes)):
        for row in codes.tolist():
            for i, value in enumerate(row):
                single[i][value] += weight
            for (i, j), met in pair.items():
                met[row[i], row[j]] += weight
    total = 0.5 * len(learnt(train)) + 30
    expected = []
    for row in test.codes.tolist():
        ratios = [
            (single[i][row[i]] + 1) * (single[j][row[j]] + 1) / ((pair[i, j][row[i], row[j]] + 1) * (total + 1))
            for i, j in pair
        ]
        expected.append(np.log(max(ratios)))
    np.testing.assert_allclose(detector.score(test).score, expected, rtol=1e-12)


def test_pairwise_expects_what_the_partner_usually_meets():
    rng = np.random.default_rng(0)
    user = rng.integers(2, 6, 600)
    codes = np.column_stack((user, user + 10, rng.integers(2, 9, 600))).astype(np.int32)  # every user has one host
    detector = create_event_detector("pairwise-conditional")
    detector.fit(EventBatch(("user", "host", "zone"), codes))
    odd = np.array([[3, 14, 2]], np.int32)
    found = detector.explain(EventBatch(("user", "host", "zone"), odd))
    assert found.expected[0, 1, 0] == 13
    assert found.probability[0, 1, 0] == 1.0
    assert found.surprise[0].argmax() in {0, 1}


def test_isolation_forest_equals_scikit_learn():
    rng = np.random.default_rng(2)
    codes = (2 + rng.geometric(0.3, (400, 4))).astype(np.int32)
    train = EventBatch(ATTRIBUTES, codes)
    detector = create_event_detector("isolation-forest", {"trees": 20, "seed": 3})
    detector.fit(train)
    learnt_part = EventBatch(ATTRIBUTES, learnt(train))
    forest = IsolationForest(n_estimators=20, max_samples=256, random_state=3)
    forest.fit(detector._features(learnt_part))
    expected = -forest.score_samples(detector._features(train))
    np.testing.assert_allclose(detector.score(train).score, expected, rtol=1e-9)


@given(seed=st.integers(0, 1000), weight=st.sampled_from([1.0, 0.5]))
def test_counts_equal_counters(seed, weight):
    rng = np.random.default_rng(seed)
    first, second = (EventBatch(("a", "b"), rng.integers(0, high, (20, 2), dtype=np.int32)) for high in (4, 9))
    counts = EntityCounts.of(first).plus(second, weight)
    for place in range(2):
        for code, count in enumerate(counts.of_attribute(place)):
            plain = weight * (first.codes[:, place] == code).sum() + (second.codes[:, place] == code).sum()
            assert count == plain


def test_replay_keeps_a_uniform_sample():
    taken = np.zeros(300)
    for seed in range(400):
        buffer = ReplayBuffer(30)
        generator = np.random.default_rng(seed)
        for start in (0, 100, 200):
            buffer.add(EventBatch(("a",), np.arange(start, start + 100, dtype=np.int32)[:, None]), generator)
        assert len(buffer.codes) == 30
        taken[buffer.codes.ravel()] += 1
    # Each event is kept with chance 1/10: of 400 runs 40, with a deviation of 6.
    assert abs(taken.mean() - 40) < 1e-9
    assert np.abs(taken - 40).max() < 6 * 5
    thirds = taken.reshape(3, 100).mean(axis=1)
    assert np.ptp(thirds) < 3.0


def test_replay_samples_each_event_once():
    buffer = ReplayBuffer(50)
    buffer.add(EventBatch(("a",), np.arange(50, dtype=np.int32)[:, None]), np.random.default_rng(0))
    sample = buffer.sample(20, np.random.default_rng(1)).ravel()
    assert len(set(sample.tolist())) == 20
    assert len(buffer.sample(80, np.random.default_rng(1))) == 50


@pytest.mark.parametrize("name", ["marginal", "pairwise-conditional"])
def test_smoothing_must_be_positive(name):
    with pytest.raises(ValueError, match="smoothing is 0"):
        create_event_detector(name, {"smoothing": 0})
