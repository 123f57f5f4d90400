"""What every registered event detector must keep; a new one is tested before its author writes a test."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from tests.tsad.events.event_parts import ATTRIBUTES, auc, cliques, mixed
from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.events.base import MIN_TRAIN, held_out
from tsad.events.batch import MISSING, UNSEEN, EventBatch
from tsad.events.errors import EventFormatError
from tsad.events.registry import create_event_detector, event_detector_class, event_detector_names
from tsad.events.vocabulary import EventVocabulary

QUICK = {"ape": {"epochs": 15, "dimensions": 8, "batch_size": 64}, "isolation-forest": {"trees": 30}}
# Kinds of odd events that a detector sees: combinations, or rare values.
SEES_COMBINATIONS = {"ape", "pairwise-conditional"}

_FITTED = {}


@pytest.fixture(params=event_detector_names())
def name(request):
    return request.param


def make(name):
    return create_event_detector(name, QUICK.get(name))


def fitted(name):
    """A detector that learnt 1,500 events; fitting once is enough."""
    if name not in _FITTED:
        detector = make(name)
        detector.fit(cliques(1500))
        _FITTED[name] = detector.state()
    detector = make(name)
    detector.restore({key: array.copy() for key, array in _FITTED[name].items()})
    return detector


def test_says_what_it_is(name):
    detector = make(name)
    assert detector.name == name
    assert detector.summary
    assert event_detector_class(name).__doc__
    assert not detector.fitted


def test_is_deterministic(name):
    events = cliques(300, seed=4)
    found = []
    for _ in range(2):
        detector = make(name)
        held = detector.fit(cliques(400))
        found.append((held, detector.score(events).score))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_seed_changes_what_is_random(name):
    if name not in {"ape", "isolation-forest"}:
        pytest.skip("nothing is random")
    scores = []
    for seed in (0, 1):
        detector = create_event_detector(name, QUICK[name] | {"seed": seed})
        detector.fit(cliques(400))
        scores.append(detector.score(cliques(50, seed=1)).score)
    assert not np.array_equal(*scores)


def test_held_out_scores_are_those_of_events_not_learnt(name):
    events = cliques(1500)
    detector = make(name)
    scores = detector.fit(events)
    where = held_out(1500)
    np.testing.assert_array_equal(~np.isnan(scores), where)
    np.testing.assert_array_equal(scores[where], detector.score(events.rows(where)).score)
    # A value that occurs in held-out events alone was never learnt.
    codes = events.codes.copy()
    codes[np.flatnonzero(where)[:5], 0] = 50
    other = make(name)
    other.fit(EventBatch(ATTRIBUTES, codes))
    assert other.score(EventBatch(ATTRIBUTES, codes[np.flatnonzero(where)[:1]])).unseen[0].tolist() == [True] + 3 * [
        False
    ]


@settings(max_examples=15)
@given(data=st.data())
@pytest.mark.parametrize("name", event_detector_names())
def test_batch_cuts_and_order_change_no_score(name, data):
    detector = fitted(name)
    events = cliques(40, seed=9)
    order = np.array(data.draw(st.permutations(range(40))))
    cuts = sorted(data.draw(st.lists(st.integers(0, 40), max_size=4)))
    whole = detector.score(events).score
    parts = np.split(order, cuts)
    pieces = np.concatenate([detector.score(events.rows(part)).score for part in parts])
    np.testing.assert_array_equal(pieces, whole[order])
    np.testing.assert_array_equal(
        np.concatenate([detector.explain(events.rows(part)).surprise for part in parts]),
        detector.explain(events).surprise[order],
    )


def test_saved_and_loaded_continues_exactly(name):
    detector = fitted(name)
    other = make(name)
    other.restore(load(save(detector.state())))
    assert other.attributes == ATTRIBUTES
    assert json.dumps(other.report) == json.dumps(detector.report)
    events, newer = cliques(100, seed=5), mixed(cliques(60, seed=6))
    np.testing.assert_array_equal(detector.score(events).score, other.score(events).score)
    for one in (detector, other):
        one.partial_fit(newer)
    np.testing.assert_array_equal(detector.score(events).score, other.score(events).score)
    for key, array in detector.state().items():
        np.testing.assert_array_equal(array, other.state()[key])


def test_a_damaged_state_is_told(name):
    state = fitted(name).state()
    del state["offsets"]
    with pytest.raises(SnapshotError, match="lacks 'offsets'"):
        make(name).restore(state)


def test_odd_events_score_higher(name):
    detector = fitted(name)
    normal = cliques(300, seed=7)
    if name in SEES_COMBINATIONS:
        odd = mixed(normal)
    else:
        codes = normal.codes.copy()
        codes[:] = UNSEEN
        odd = EventBatch(ATTRIBUTES, codes)
    assert auc(detector.score(odd).score, detector.score(normal).score) > 0.95


def test_unseen_and_newer_values_are_flagged_and_never_raise(name):
    detector = fitted(name)
    codes = cliques(4, seed=8).codes.copy()
    codes[0, 1] = 10_000
    codes[1, 2] = UNSEEN
    codes[2, 3] = MISSING
    found = detector.score(EventBatch(ATTRIBUTES, codes))
    expected = np.zeros((4, 4), bool)
    expected[[0, 1, 2], [1, 2, 3]] = True
    np.testing.assert_array_equal(found.unseen, expected)
    assert np.isfinite(found.score).all()
    # Newer than the model and unknown to the vocabulary are the same thing.
    same = codes.copy()
    same[0, 1] = UNSEEN
    assert detector.score(EventBatch(ATTRIBUTES, same)).score[0] == found.score[0]


def test_explanations_have_a_value_for_every_attribute(name):
    detector = fitted(name)
    events = mixed(cliques(20, seed=3), place=2)
    found = detector.explain(events, 2)
    assert found.surprise.shape == (20, 4)
    assert found.expected.shape == found.probability.shape == (20, 4, 2)
    assert np.isfinite(found.surprise).all()
    assert (found.expected[..., 0] >= 2).all()
    known = found.probability[~np.isnan(found.probability)]
    assert ((known >= 0) & (known <= 1 + 1e-9)).all()
    if name == "ape":
        assert (found.surprise.argmax(axis=1) == 2).mean() > 0.9
        # What is expected belongs to the group of the other three values.
        assert ((found.expected[:, 2, 0] < 8) == (events.codes[:, 0] < 8)).mean() > 0.9


def test_new_values_are_learnt_by_partial_fit(name):
    detector = fitted(name)
    codes = cliques(400, seed=11).codes.copy()
    codes[:, 0] = np.where(codes[:, 0] < 8, 20, 21)  # two new users, one a group
    newer = EventBatch(ATTRIBUTES, codes)
    assert detector.score(newer).unseen[:, 0].all()
    before = detector.score(newer).score
    detector.partial_fit(newer)
    after = detector.score(newer)
    assert not after.unseen.any()
    if name != "pairwise-conditional":  # for which unseen values were never odd
        assert after.score.mean() < before.mean()
    if name in SEES_COMBINATIONS:
        swapped = codes.copy()
        swapped[:, 0] = 41 - codes[:, 0]
        assert auc(detector.score(EventBatch(ATTRIBUTES, swapped)).score, after.score) > 0.9
        old = cliques(200, seed=12)
        assert auc(detector.score(mixed(old)).score, detector.score(old).score) > 0.9


@pytest.mark.parametrize("half_life", [None, 50.0])
def test_old_counts_fade_with_a_half_life(name, half_life):
    detector = create_event_detector(name, QUICK.get(name, {}) | {"half_life": half_life})
    detector.fit(cliques(400))
    before = detector._entities.totals()[0]
    detector.partial_fit(cliques(50, seed=1))
    assert detector._entities.totals()[0] == pytest.approx(before * (0.5 if half_life else 1.0) + 50)


def test_missing_values_are_an_entity(name):
    codes = cliques(400).codes.copy()
    codes[::4, 1] = MISSING
    detector = make(name)
    detector.fit(EventBatch(ATTRIBUTES, codes))
    assert not detector.score(EventBatch(ATTRIBUTES, codes[:8])).unseen.any()


def test_an_attribute_with_one_value_is_reported(name):
    codes = cliques(400).codes.copy()
    codes[:, 3] = 5
    detector = make(name)
    detector.fit(EventBatch(ATTRIBUTES, codes))
    assert detector.report["constant_attributes"] == ["zone"]
    assert np.isfinite(detector.score(EventBatch(ATTRIBUTES, codes)).score).all()


def test_renaming_values_changes_nothing(name):
    train, test = cliques(300), cliques(50, seed=1)
    scores = []
    for prefix in ("", "renamed-"):
        words = EventVocabulary(ATTRIBUTES)
        batches = [
            words.encode({a: [f"{prefix}{v}" for v in events.codes[:, i]] for i, a in enumerate(ATTRIBUTES)})
            for events in (train, test)
        ]
        detector = make(name)
        detector.fit(batches[0])
        scores.append(detector.score(batches[1]).score)
    np.testing.assert_array_equal(*scores)


def test_order_of_training_events_within_a_block_changes_nothing(name):
    if name == "isolation-forest":
        pytest.skip("each tree draws its sample by position")
    events = cliques(400)
    order = np.arange(400)
    order[:120] = order[:120][::-1]  # three blocks that are all learnt
    scores = []
    for batch in (events, events.rows(order)):
        detector = make(name)
        detector.fit(batch)
        scores.append(detector.score(cliques(50, seed=1)).score)
    np.testing.assert_array_equal(*scores)


def test_bad_input_is_told(name):
    detector = make(name)
    with pytest.raises(EventFormatError, match="learnt nothing"):
        detector.score(cliques(3))
    with pytest.raises(NotEnoughDataError, match=f"needs {MIN_TRAIN} training events, there are 0"):
        detector.fit(cliques(0))
    with pytest.raises(EventFormatError, match="two attributes or more, there are 1"):
        detector.fit(cliques(100, attributes=("user",)))
    with pytest.raises(
        EventFormatError, match=r"learnt the attributes user, process, host, zone; given are user, host"
    ):
        fitted(name).score(cliques(3, attributes=("user", "host")))


def test_no_events_give_no_scores(name):
    detector = fitted(name)
    found = detector.score(cliques(0))
    assert found.score.shape == (0,)
    assert found.unseen.shape == (0, 4)
    assert detector.explain(cliques(0)).surprise.shape == (0, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonsense": 1}, "has no option 'nonsense'"),
        ({"half_life": 0}, "half_life is 0"),
    ],
)
def test_options_are_checked(name, options, message):
    with pytest.raises(ConfigurationError, match=message):
        create_event_detector(name, options)


def test_unknown_detector_lists_those_that_exist():
    with pytest.raises(ConfigurationError, match=r"no event detector 'lof'.*ape"):
        create_event_detector("lof")
