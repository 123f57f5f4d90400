"""Parts: what is joined, when it is told, and how it is judged."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tsad.errors import ConfigurationError, SnapshotError
from tsad.fusion.part_calibration import PartCalibration
from tsad.fusion.part_engine import PartEngine
from tsad.fusion.part_events import JoinedParts, PartEventKind, PartEvents
from tsad.fusion.part_joiner import PartJoiner
from tsad.fusion.part_settings import PartSettings
from tsad.simulation.inspection_line import (
    DefectKind,
    InspectionLineSettings,
    line_events,
    line_settings,
    simulate_line,
)

S = 10**9
PRESS, OVEN, CAMERA = 0, 1, 2
KINDS = {"interval": PartEventKind.INTERVAL, "image": PartEventKind.IMAGE, "row": PartEventKind.ROW}


def settings(**changes):
    views = [{"station": "end", "camera": "top", "after": "oven"}]
    return PartSettings.model_validate(
        {"steps": ["press", "oven"], "views": views, "wait": 100, "train_parts": 20, "min_pairs": 20, **changes}
    )


def told(*events):
    """Events of ``(kind, arrival s, stream, part, first s, last s, score, detail)``."""
    rows = [
        (KINDS[kind], round(at * S), stream, part, round(first * S), round(last * S), score, detail)
        for kind, at, stream, part, first, last, score, detail in events
    ]
    kind, arrival, stream, part, first, last, score, detail = zip(*rows, strict=True)
    return PartEvents(
        np.array(kind, np.uint8), np.array(arrival, np.int64), np.array(stream, np.int32), part,
        np.array(first, np.int64), np.array(last, np.int64), np.array(score, float), np.array(detail, np.int32),
    )  # fmt: skip


def interval(at, stream, part, first, last, shared=1):
    return ("interval", at, stream, part, first, last, 0.0, shared)


def image(at, part, captured, score=1.0, version=0):
    return ("image", at, CAMERA, part, captured, captured, score, version)


def row(at, stream, score=0.0, channel=0):
    return ("row", at, stream, None, at, at, score, channel)


def rows(first, last, step=1, **scores):
    """Rows of both steps, with scores at chosen seconds (``p5=3`` for the press at 5 s)."""
    return [
        row(t, stream, scores.get(f"{letter}{t}", 0.0), channel=t % 3)
        for t in range(first, last, step)
        for stream, letter in ((PRESS, "p"), (OVEN, "o"))
    ]


def said(joined):
    return list(zip(joined.part, joined.amendment.tolist(), joined.final.tolist(), strict=True))


# ---------------------------------------------------------------------------------------------- joining


def test_the_worst_row_of_the_interval_speaks_and_the_image_amends():
    joiner = PartJoiner(settings())
    first = joiner.take(
        told(
            *rows(0, 12, p3=9, p7=4, p8=8),
            interval(12, PRESS, "a", 5, 8),
            interval(12, OVEN, "a", 9, 11),
            row(13, OVEN),
        )
    )
    assert said(first) == [("a", 1, False)]
    assert first.score[0].tolist()[:2] == [8.0, 0.0]
    assert (first.when[0, 0], first.detail[0, 0]) == (8 * S, 8 % 3)
    assert np.isnan(first.score[0, CAMERA])
    second = joiner.take(told(image(20, "a", 19, 0.7)))
    assert said(second) == [("a", 2, True)]
    assert second.score[0].tolist() == [8.0, 0.0, 0.7]
    assert second.time.tolist() == [19 * S]
    assert len(joiner) == 0


def test_an_interval_waits_for_its_rows():
    joiner = PartJoiner(settings(views=[], steps=["press"]))
    assert len(joiner.take(told(interval(1, PRESS, "a", 0, 5), row(4, PRESS, 2.0)))) == 0
    found = joiner.take(told(row(5, PRESS, 3.0), row(6, PRESS, 9.0)))
    assert (said(found), found.score.tolist()) == ([("a", 1, True)], [[3.0]])


def test_after_the_wait_a_part_is_closed_as_image_missing():
    joiner = PartJoiner(settings())
    joiner.take(told(*rows(0, 5), interval(5, PRESS, "a", 0, 1), interval(5, OVEN, "a", 2, 3)))
    found = joiner.take(told(row(104.9, PRESS), row(105, PRESS)))
    assert said(found) == [("a", 2, True)]
    assert found.counts["image_missing"] == 1
    late = joiner.take(told(image(106, "a", 19)))
    assert (len(late), late.counts["late_image"]) == (0, 1)


def test_a_process_that_has_died_is_told_as_missing():
    joiner = PartJoiner(settings())
    joiner.take(told(interval(5, PRESS, "a", 0, 1), interval(5, OVEN, "a", 2, 3)))
    found = joiner.take(told(image(6, "a", 6), image(106, "b", 106)))
    assert said(found)[:2] == [("a", 1, False), ("a", 2, True)]
    assert np.isnan(found.score[1, :2]).all()
    assert found.counts["process_missing"] == 1


def test_an_interval_in_a_gap_of_the_process_has_no_score():
    joiner = PartJoiner(settings(views=[], steps=["press"]))
    found = joiner.take(told(row(0, PRESS), row(50, PRESS), interval(51, PRESS, "a", 10, 20)))
    assert said(found) == [("a", 1, True)]
    assert np.isnan(found.score[0, 0])
    assert found.counts["interval_without_rows"] == 1


def test_an_unknown_part_is_opened_by_its_image_and_counted():
    joiner = PartJoiner(settings())
    found = joiner.take(told(image(1, "x", 0)))
    assert said(found) == [("x", 1, False)]
    assert found.counts["unknown_part"] == 1


def test_a_second_image_of_the_same_view_replaces_the_first():
    joiner = PartJoiner(settings())
    found = joiner.take(told(image(1, "x", 0, 5.0), image(2, "x", 1, 6.0)))
    assert found.score[:, CAMERA].tolist() == [5.0, 6.0]
    assert found.counts["image_again"] == 1


def test_a_batch_shares_its_interval_with_all_its_parts():
    joiner = PartJoiner(settings(views=[], steps=["furnace"]))
    found = joiner.take(
        told(*(row(t, 0, float(t == 2)) for t in range(5)), *(interval(5, 0, p, 1, 3, shared=3) for p in "abc"))
    )
    assert found.part == ["a", "b", "c"]
    assert found.score[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert found.shared[:, 0].tolist() == [3, 3, 3]


def test_beyond_the_limit_the_oldest_part_is_closed_and_counted():
    joiner = PartJoiner(settings(max_open=3))
    found = joiner.take(told(*(image(t, f"p{t}", t) for t in range(5))))
    assert len(joiner) == 3
    assert [one for one in said(found) if one[2]] == [("p0", 2, True), ("p1", 2, True)]
    assert found.counts["closed_early"] == 2


def paired(n, delay=20.0, start=0.0):
    """Parts that leave the oven every ten seconds and are looked at `delay` later, with their ids."""
    for i in range(n):
        left = start + 10.0 * i
        yield interval(left, OVEN, f"p{start}-{i}", left - 5, left)
        yield image(left + delay + 0.01, f"p{start}-{i}", left + delay)


def in_order(events):
    return told(*sorted(events, key=lambda event: event[1]))


def test_an_image_without_an_id_is_joined_by_the_measured_delay():
    joiner = PartJoiner(settings(wait=10_000))
    joiner.take(in_order(paired(16)))
    assert joiner.delays[0].delay == 20 * S
    events = [interval(1000, OVEN, "a", 995, 1000), image(1021, None, 1020.4), image(1022, None, 1500.0)]
    found = joiner.take(told(*events))
    assert found.part == ["a"]
    assert found.counts["joined_by_time"] == 1
    late = joiner.take(told(image(1030, None, 1060.0), interval(1041, OVEN, "b", 1030, 1040)))
    assert late.part == ["b"]
    gone = joiner.take(told(row(12_000, PRESS)))
    assert gone.counts["unmatched_image"] == 1


def test_two_parts_at_one_time_are_ambiguous_and_none_is_guessed():
    view = {"station": "end", "camera": "top", "after": "oven", "transport_delay": 10, "tolerance": 2}
    joiner = PartJoiner(settings(views=[view]))
    events = [interval(5, OVEN, "a", 0, 5), interval(6, OVEN, "b", 0, 6), image(16, None, 15.5)]
    found = joiner.take(told(*events))
    assert (len(found), found.counts["ambiguous_image"]) == (0, 1)


def test_a_clock_that_moves_is_told_once_and_followed():
    joiner = PartJoiner(settings(wait=10_000))
    before = joiner.take(in_order(paired(120)))
    assert before.counts["clock_offset"] == 0
    assert joiner.delays[0].offset is None
    after = joiner.take(in_order(paired(60, delay=3620.0, start=5000.0)))
    assert after.counts["clock_offset"] == 1
    assert joiner.delays[0].offset == 3600 * S
    assert joiner.delays[0].delay == 3620 * S


def test_repeated_and_late_intervals_change_nothing():
    joiner = PartJoiner(settings(views=[], steps=["press"], wait=10))
    found = joiner.take(
        told(interval(1, 0, "a", 0, 5), interval(2, 0, "a", 0, 9), row(12, 0), interval(13, 0, "a", 0, 5))
    )
    assert found.counts["repeated_interval"] == 1
    assert found.counts["late_interval"] == 1


# ---------------------------------------------------------------------------------------------- laws


@pytest.fixture(scope="module")
def line():
    made = InspectionLineSettings(
        parts=420, clean_parts=120, defect_share=0.1, missing_images=0.05, late_images=0.05, channels=2
    )
    return simulate_line(made)


OPTIONS = [
    {},
    {"rule": "cauchy", "false_discoveries": 0.2},
    {"max_open": 6, "decide_by": "inspection/camera-1", "recalibrate": False},
    {"min_pairs": 200},
]


def judged(engine, events, cuts):
    out = []
    for start, stop in zip([0, *cuts], [*cuts, len(events)], strict=True):
        found = engine.process(events.take(np.arange(start, stop)))
        joined = found.joined
        out += [
            repr((*row, p.tolist(), score.tolist(), when.tolist()))
            for *row, p, score, when in zip(
                joined.part, joined.amendment.tolist(), joined.final.tolist(), joined.time.tolist(),
                found.fused.tolist(), found.flagged.tolist(), found.method.tolist(), found.began.tolist(),
                found.p_values, joined.score, joined.when, strict=True,
            )
        ]  # fmt: skip
        out += [repr(one) for one in found.transitions]
    return sorted(out)


@pytest.fixture(scope="module")
def whole(line):
    events = line_events(line)
    return events, [judged(engine_of(line, changes), events, []) for changes in OPTIONS]


def engine_of(line, changes):
    given = {"train_parts": 60, "wait": 120, "min_pairs": 40, "stands": "10min", **changes}
    return PartEngine("line", line_settings(line.settings, **given))


@pytest.mark.parametrize("which", range(len(OPTIONS)))
@profile(max_examples=15, deadline=None)
@given(data=st.data())
def test_neither_cuts_nor_restarts_change_anything(line, whole, which, data):
    events, expected = whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    engine, found = engine_of(line, OPTIONS[which]), []
    for start, stop in zip([0, *cuts], [*cuts, len(events)], strict=True):
        found += judged(engine, events.take(np.arange(start, stop)), [])
        arrays, extra = engine.state()
        engine = engine_of(line, OPTIONS[which])
        engine.restore(arrays, json.loads(json.dumps(extra)))
    assert sorted(found) == expected[which]


def test_nothing_is_known_before_it_has_arrived(line):
    """What is said up to a moment does not change when everything that arrives later is taken away."""
    events = line_events(line)
    wholly = judged(engine_of(line, {}), events, [])
    for share in (0.3, 0.6, 0.9):
        stop = int(share * len(events))
        early = judged(engine_of(line, {}), events.take(np.arange(stop)), [])
        assert set(early) <= set(wholly)


def test_a_part_keeps_its_alarm_over_its_amendments(line):
    found = engine_of(line, {"false_parts": 0.05}).process(line_events(line))
    by_alarm = {}
    for one in found.transitions:
        by_alarm.setdefault(one.alarm_id, []).append(one)
    assert any(len(own) > 2 for own in by_alarm.values())
    for own in by_alarm.values():
        assert [one.transition_seq for one in own] == list(range(1, len(own) + 1))
        assert own[0].kind == "part.flagged"
        assert own[-1].kind in {"part.closed", "part.released"} or own[-1].part.final
        assert {one.asset for one in own} == {one.part.part_id for one in own if one.part is not None}
    closed = [one for one in found.transitions if one.kind == "part.closed"]
    assert closed
    last = {one.asset: one for one in found.transitions if one.kind != "part.closed"}
    assert all(one.time == last[one.asset].time + 600 * S and last[one.asset].part.final for one in closed)


# ---------------------------------------------------------------------------------------------- judging


def test_defects_are_found_with_the_place_and_moment_they_began():
    line = simulate_line(InspectionLineSettings(parts=3000, clean_parts=1500, dependence=0.0))
    found = PartEngine(
        "line", line_settings(line.settings), dict.fromkeys(line.settings.stations, ("a", "b", "c"))
    ).process(line_events(line))
    number = {part: i for i, part in enumerate(line.part)}
    final = np.flatnonzero(found.joined.final)
    part = np.array([number[found.joined.part[i]] for i in final])
    judged_parts = part >= 1500
    final, part = final[judged_parts], part[judged_parts]
    both = line.kind[part] == list(DefectKind).index(DefectKind.BOTH)

    assert found.flagged[final][both].mean() > 0.8
    assert 0.003 < found.flagged[final][~line.defect[part]].mean() < 0.025
    shown = both & found.flagged[final] & (found.began[final] >= 0)
    station = found.began[final][shown]
    assert (station == line.cause_station[part][shown]).mean() > 0.9
    when = found.joined.when[final[shown], station]
    assert (when == line.cause_time[part][shown]).mean() > 0.9
    told_parts = {
        t.part.part_id: t.part for t in found.transitions if t.part is not None and t.part.final and t.part.station
    }
    right = [
        told_parts[line.part[i]].channel == "abc"[line.cause_channel[i]]
        for i in part[shown]
        if line.part[i] in told_parts
    ]
    assert np.mean(right) > 0.9


def test_a_new_model_version_says_nothing_until_it_is_calibrated():
    engine = PartEngine("line", settings(steps=[], views=[{"station": "end", "camera": "top"}]))
    rng = np.random.default_rng(0)
    old, new = engine.model("end/top", "1"), engine.model("end/top", "2")
    assert engine.model("end/top", "1") == old != new

    def looked_at(first, n, version):
        events = [("image", t, 0, f"p{t}", t, t, rng.random(), version) for t in range(first, first + n)]
        return engine.process(told(*events))

    learning = looked_at(0, 20, old)
    assert np.isnan(learning.fused).all()
    assert learning.counts["uncalibrated"] == 20
    assert not np.isnan(looked_at(20, 10, old).fused).any()
    changed = looked_at(30, 20, new)
    assert np.isnan(changed.fused).all()
    assert changed.counts["uncalibrated"] == 20
    assert not np.isnan(looked_at(50, 5, new).fused).any()
    assert not np.isnan(looked_at(55, 5, old).fused).any()


def test_a_stream_that_is_better_alone_decides_alone_unless_it_is_missing(line):
    engine = engine_of(line, {"decide_by": "inspection/camera-1"})
    found = engine.process(line_events(line))
    known = ~np.isnan(found.p_values[:, 3])
    assert (found.fused[known] == found.p_values[known, 3]).all()
    assert set(found.method[known]) == {"inspection/camera-1"}
    others = ~known & ~np.isnan(found.p_values).all(axis=1)
    assert others.any()
    assert not np.isnan(found.fused[others]).any()


def test_cauchy_speaks_until_there_are_enough_pairs(line):
    found = engine_of(line, {"min_pairs": 200}).process(line_events(line))
    methods = found.method[found.method != ""].tolist()
    assert {"cauchy", "brown"} <= set(methods)
    assert methods[-1] == "brown"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"steps": [], "views": []}, "nothing tells of a part"),
        ({"steps": ["a", "a"]}, "twice"),
        ({"views": [{"station": "e", "camera": "t", "after": "mill"}]}, "'mill', which is not among steps"),
        ({"decide_by": "mill"}, "must be fused or one of press, oven, end/top"),
        ({"false_parts": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        settings(**changes)


def test_a_state_of_other_streams_is_refused(line):
    engine = engine_of(line, {})
    engine.process(line_events(line))
    arrays, extra = engine.state()
    other = PartEngine("line", settings())
    with pytest.raises(SnapshotError, match="streams"):
        other.restore(arrays, extra)
    with pytest.raises(SnapshotError, match="cannot be read"):
        engine_of(line, {}).restore(arrays, {})


def test_the_line_is_checked_and_degrades():
    for wrong in ({"parts": 0}, {"dependence": 2.0}, {"degraded": "both"}, {"stations": ()}, {"kind_shares": (1.0,)}):
        with pytest.raises(ConfigurationError):
            InspectionLineSettings(**wrong)
    small = {"parts": 2000, "clean_parts": 200, "defect_share": 0.2}
    good, bad = (simulate_line(InspectionLineSettings(**small, degraded=side)) for side in ("", "image"))
    gap = [float(np.median(x.image_score[x.defect]) - np.median(x.image_score[~x.defect])) for x in (good, bad)]
    assert gap[0] > 0.5
    assert abs(gap[1]) < 0.1


def learnt(rule, scores, **changes):
    """A calibration that has learnt from good parts with two streams, float64[n, 2]."""
    n = len(scores)
    calibration = PartCalibration(settings(views=[], train_parts=n, min_pairs=20, rule=rule, **changes))
    joined = JoinedParts(
        [str(i) for i in range(n)], np.ones(n, np.int32), np.ones(n, np.bool_), np.zeros(n, np.int64), scores,
        np.zeros((n, 2), np.int32), np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int32), np.ones((n, 2), np.int32),
    )  # fmt: skip
    calibration.learn(joined, slice(0, n), Counter())
    return calibration


@pytest.mark.parametrize("rule", ["fisher", "stouffer", "brown", "harmonic", "e-values"])
def test_the_second_calibration_keeps_the_rate_under_dependence(rule):
    """Fisher says too many of dependent streams, the harmonic mean far too few."""
    rng = np.random.default_rng(0)
    scores = 0.9 * rng.standard_normal((44_000, 1)) + 0.44 * rng.standard_normal((44_000, 2))
    rates = []
    for again in (False, True):
        calibration = learnt(rule, scores[:4000], recalibrate=again)
        p = calibration.p_values(scores[4000:], np.zeros((40_000, 2), np.int32))
        rates.append((calibration.combined(p)[0] <= 0.01).mean())
    assert 0.007 < rates[1] < 0.0135
    if rule != "brown":
        assert abs(rates[1] - 0.01) < abs(rates[0] - 0.01)


def test_beyond_the_oddest_good_part_the_order_is_kept():
    calibration = learnt("fisher", np.random.default_rng(0).random((200, 2)))
    p = np.geomspace(1e-12, 1.0, 400)
    found, _ = calibration.combined(np.stack([p, p], axis=1))
    assert (np.diff(found) >= 0).all()
    assert (np.diff(found[p < 1e-4]) > 0).all()
    assert 0 < found[0] < 1e-6
