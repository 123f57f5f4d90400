import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsad.events.event_parts import cliques, mixed
from tsad.events.base import held_out
from tsad.events.batch import EventBatch
from tsad.events.registry import create_event_detector


@given(seed=st.integers(0, 500))
def test_equals_its_plain_twin(seed):
    rng = np.random.default_rng(seed)
    train = EventBatch(("a", "b"), (2 + rng.geometric(0.3, (90, 2))).astype(np.int32))
    test = EventBatch(("a", "b"), (2 + rng.geometric(0.2, (20, 2))).astype(np.int32))
    detector = create_event_detector("rarity")
    detector.fit(train)
    expected = []
    for row in test.codes:
        surprises = []
        for place, value in enumerate(row):
            values, counts = np.unique(train.codes[~held_out(90), place], return_counts=True)
            own = counts[values == value].sum()
            chance = (counts[counts == 1].sum() + 0.5 + counts[counts <= own].sum()) / (counts.sum() + 0.5)
            surprises.append(-np.log(min(chance, 1.0)))
        expected.append(max(surprises))
    np.testing.assert_allclose(detector.score(test).score, expected)


def test_a_new_value_is_odd_where_values_repeat_and_not_where_all_differ():
    n = 400
    numbers = np.arange(n, dtype=np.int32)
    train = EventBatch(("kind", "serial"), np.column_stack((2 + numbers % 4, 2 + numbers)).astype(np.int32))
    detector = create_event_detector("rarity")
    detector.fit(train)
    new_kind, new_serial = EventBatch(("kind", "serial"), np.array([[9, 5], [2, 9999]], np.int32)).codes
    scores = detector.score(EventBatch(("kind", "serial"), np.stack((new_kind, new_serial)))).score

    assert scores[0] == pytest.approx(np.log(320.5 / 0.5))
    assert scores[1] < 0.01


def test_learning_on_makes_a_value_usual():
    detector = create_event_detector("rarity", {"half_life": 200.0})
    detector.fit(cliques(400))
    odd = mixed(cliques(1, seed=9))
    odd.codes[0, 0] = 77
    before = detector.score(odd).score[0]
    newer = cliques(400, seed=5)
    newer.codes[::3, 0] = 77
    detector.partial_fit(newer)

    assert detector.score(odd).score[0] < before
