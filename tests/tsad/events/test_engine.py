"""The event engine: scores, alarms by asset, learning on, and a state that continues exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tsad.events.base import held_out
from tsad.events.batch import EventBatch
from tsad.events.engine import EventEngine
from tsad.events.records import EventRecords
from tsad.events.registry import create_event_detector
from tsad.events.settings import EventScoringSettings
from tsad.events.vocabulary import EventVocabulary

ATTRIBUTES = ("user", "host", "action")
SECOND = 10**9
START = 1_750_000_000 * SECOND


def scoring(**changes):
    chosen = {"attributes": ATTRIBUTES, "asset": "user", "detectors": ["pairwise-conditional", "rarity"],
              "train_events": 1000, "learn_events": None, **changes}  # fmt: skip
    return EventScoringSettings.model_validate(chosen)


def habits(n, seed=0, start=0, partitions=1):
    """Users who each work on two hosts of their own, an event every ten seconds."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, 6, n)
    columns = {
        "user": [f"user-{i}" for i in who],
        "host": [f"host-{2 * i + j}" for i, j in zip(who, rng.integers(0, 2, n), strict=True)],
        "action": [("read", "write", "stop")[i] for i in rng.integers(0, 3, n)],
    }
    times = START + (start + np.arange(n)) * 10 * SECOND
    return EventRecords(times, columns, (who % partitions).astype(np.int32), start + np.arange(n))


def with_odd(records, places, **values):
    columns = {name: list(column) for name, column in records.columns.items()}
    for place in places:
        for name, value in values.items():
            columns[name][place] = value
    return EventRecords(records.times, columns, records.partitions, records.offsets)


def cut(records, bounds):
    parts = []
    for start, stop in zip([0, *bounds], [*bounds, len(records)], strict=True):
        columns = {name: column[start:stop] for name, column in records.columns.items()}
        where = slice(start, stop)
        parts.append(EventRecords(records.times[where], columns, records.partitions[where], records.offsets[where]))
    return parts


def joined(outputs):
    return {
        "p": np.concatenate([o.p_values for o in outputs]),
        "odd": np.concatenate([o.odd for o in outputs]),
        "verdict": np.concatenate([o.verdict for o in outputs]),
        "transitions": [t for o in outputs for t in o.transitions],
        "fits": [f for o in outputs for f in o.fits],
    }


def test_a_broken_habit_raises_the_alarm_of_its_user_and_names_the_odd_host():
    engine = EventEngine("access", scoring())
    engine.process(habits(1000))
    records = with_odd(habits(400, seed=1, start=1000), [200], user="user-1", host="host-9")
    found = engine.process(records)

    raised = next(t for t in found.transitions if t.offset == 1200)
    assert (raised.kind, raised.asset, raised.stream) == ("alarm.raised", "user-1", "access")
    told = {a.attribute: a for a in raised.attributes}
    assert raised.attributes[0].attribute in {"host", "user"}
    assert told["host"].observed == "host-9"
    assert {"host-2", "host-3"} <= {value for value, _ in told["host"].expected}
    assert not told["host"].unseen
    assert found.odd[200]
    assert raised.p_value == found.p_values[200] < 0.001
    cleared = [t for t in found.transitions if t.kind == "alarm.cleared" and t.asset == "user-1"]
    # 15 minutes of event time later, by the event that shows it.
    assert [t.time - raised.time for t in cleared] == [910 * SECOND]


def test_a_value_never_seen_is_flagged_and_told():
    engine = EventEngine("access", scoring(alarm={"false_alarms_per_day": 50}))
    engine.process(habits(1000))
    found = engine.process(with_odd(habits(100, seed=1, start=1000), [50], action="erase"))

    raised = next(t for t in found.transitions if t.offset == 1050)
    assert (raised.attributes[0].attribute, raised.attributes[0].observed) == ("action", "erase")
    assert raised.attributes[0].unseen
    assert np.flatnonzero(found.unseen).tolist() == [50]
    assert sum(a.share for a in raised.attributes) == pytest.approx(1)


def test_scores_are_those_of_the_detector_alone():
    engine = EventEngine("access", scoring(detectors=["rarity"]))
    train, test = habits(1000), habits(300, seed=1, start=1000)
    engine.process(train)
    found = engine.process(test)

    words, detector = EventVocabulary(ATTRIBUTES), create_event_detector("rarity")
    detector.fit(words.encode(dict(train.columns)))
    assert np.array_equal(found.scores["rarity"], detector.score(words.encode(dict(test.columns))).score)


CASES = [
    scoring(),
    scoring(asset=None, detectors=["marginal"]),
    scoring(max_words=7, detectors=["rarity"]),
    scoring(learn_events=400, detectors=["rarity", "marginal"], alarm={"false_alarms_per_day": 200, "off_delay": 60}),
]


@settings(max_examples=15)
@given(data=st.data(), which=st.integers(0, len(CASES) - 1))
def test_cutting_into_batches_and_dying_between_them_change_nothing(data, which):
    records = with_odd(habits(2600, seed=3, partitions=2), [1500, 1510, 1900, 2400], host="host-0", user="user-5")
    whole = joined([EventEngine("access", CASES[which]).process(records)])
    bounds = sorted(data.draw(st.lists(st.integers(0, 2600), max_size=6)))
    engine = EventEngine("access", CASES[which])
    outputs = []
    for part in cut(records, bounds):
        if data.draw(st.booleans()):
            arrays, extra = engine.state(fitted=False)
            models, _ = engine.state(fitted=True)
            engine = EventEngine("access", CASES[which])
            engine.restore({**arrays, **models}, extra)
        outputs.append(engine.process(part))
    found = joined(outputs)

    for name in ("p", "odd", "verdict"):
        np.testing.assert_array_equal(found[name], whole[name])
    assert sorted(map(repr, found["transitions"])) == sorted(map(repr, whole["transitions"]))
    assert [f.rows for f in found["fits"]] == [f.rows for f in whole["fits"]]


def test_newcomers_are_learnt_and_single_odd_values_are_not():
    engine = EventEngine("access", scoring(learn_events=1000, alarm={"false_alarms_per_day": 0.001}))
    engine.process(habits(1000))
    often = with_odd(habits(1000, seed=1, start=1000), range(0, 1000, 20), user="user-new", host="host-new")
    engine.process(with_odd(often, [500, 501], action="erase"))
    assert engine.fit_count == 2
    found = engine.process(with_odd(habits(3, seed=2, start=2000), [1], user="user-new", host="host-new"))
    again = engine.process(with_odd(habits(3, seed=2, start=2003), [1], action="erase"))

    assert not found.unseen.any()
    assert again.unseen.tolist() == [False, True, False]


def test_what_is_alarmed_is_not_learnt():
    engine = EventEngine("access", scoring(learn_events=1000, alarm={"false_alarms_per_day": 500}))
    engine.process(habits(1000))
    flood = with_odd(habits(1500, seed=1, start=1000), range(0, 1500, 20), action="erase")
    odd = np.flatnonzero(engine.process(flood).odd)

    assert set(range(0, 800, 20)) <= set(odd.tolist())
    assert engine.process(with_odd(habits(3, seed=2, start=3000), [1], action="erase")).unseen[1]


def test_realised_false_alarms_keep_to_the_budget():
    # Twenty seeds of three days: the expected number is 60 at one a day; twice as many would be a broken promise.
    odd = 0
    for seed in range(20):
        engine = EventEngine("access", scoring(alarm={"false_alarms_per_day": 1.0}))
        engine.process(habits(1000, seed=seed))
        odd += sum(
            t.kind == "alarm.raised" for t in engine.process(habits(25_920, seed=100 + seed, start=1000)).transitions
        )
    assert odd <= 120


def test_a_constant_stream_can_be_learnt():
    engine = EventEngine("access", scoring(train_events=400, detectors=["rarity"]))
    same = habits(400)
    constant = EventRecords(same.times, {name: ["x"] * 400 for name in ATTRIBUTES}, same.partitions, same.offsets)
    found = engine.process(constant)
    # A constant stream can be learnt: everything new in it is odd.
    assert found.fits[0].problem is None
    later = engine.process(
        with_odd(
            EventRecords(constant.times + 10**13, constant.columns, constant.partitions, constant.offsets),
            [7],
            host="y",
        )
    )
    assert np.flatnonzero(later.odd).tolist() == [7]


def test_words_beyond_the_limit_count_as_unseen():
    engine = EventEngine("access", scoring(max_words=3, train_events=400, detectors=["rarity"]))
    engine.process(habits(400))
    sizes = engine._words.sizes()
    engine.process(with_odd(habits(10, start=400), range(10), host="another"))
    assert engine._words.sizes() == sizes == (3, 3, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"asset": "zone"}, "not among the attributes"),
        ({"attributes": ["user"]}, "at least 2"),
        ({"attributes": ["user", "user"]}, "only once"),
        ({"detectors": ["rarity", "rarity"]}, "only once"),
        ({"detectors": ["apes"]}, "no event detector 'apes'"),
        ({"detectors": [{"name": "ape", "options": {"epochs": 0}}]}, "epochs is 0"),
        ({"train_events": 10}, "greater than or equal to 400"),
        ({"alarm": {"false_alarms_per_day": 0}}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        scoring(**changes)


def test_calibration_is_that_of_the_event_backtest():
    from tsad.calibration.episodes import AlarmPolicy, EpisodeCalibrator
    from tsad.events.calibration import fit_event_calibration

    scores = np.random.default_rng(0).standard_exponential(3000)
    newer = np.random.default_rng(1).standard_exponential(500) * 2
    live = EpisodeCalibrator(AlarmPolicy(off_delay_rows=32), 1000.0)
    live.fit(0, scores)
    np.testing.assert_allclose(
        live.prefix_p_values(0, newer), fit_event_calibration(scores).p_values(newer), rtol=0.02, atol=2e-3
    )


def test_held_out_events_alone_calibrate():
    words, detector = EventVocabulary(ATTRIBUTES), create_event_detector("rarity")
    honest = detector.fit(words.encode(dict(habits(400).columns)))
    assert np.array_equal(~np.isnan(honest), held_out(400))
    assert isinstance(words.encode(dict(habits(1).columns)), EventBatch)
