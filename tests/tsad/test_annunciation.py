"""Floods, chattering and priorities, against definitions that look at every raise."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tsad.annunciation import (
    ChatteringSettings,
    Flood,
    FloodSettings,
    PriorityRule,
    Raise,
    chatters,
    group_of,
    priority_rule,
)

SECOND = 10**9
GAPS = st.lists(st.integers(0, 200), min_size=1, max_size=80)


@given(gaps=GAPS, groups=st.lists(st.sampled_from("abc"), min_size=80, max_size=80), more_than=st.integers(1, 6),
       ends_below=st.integers(1, 6))  # fmt: skip
def test_a_flood_begins_and_ends_where_counting_says_so_and_tells_each_group_once(gaps, groups, more_than, ends_below):
    settings = FloodSettings(more_than=more_than, within=300, ends_below=min(ends_below, more_than))
    within, flood, times, told_groups, now = 300 * SECOND, Flood(), [], set(), 0
    for gap, group in zip(gaps, groups, strict=False):
        now += gap * SECOND
        if flood.since is not None:
            # It is over from the first moment on at which fewer than `ends_below` lie within the time before.
            calm = sum(now - one < within for one in times) < settings.ends_below
            ends = flood.ends_at(settings)
            assert (ends <= now) == calm
            if calm:
                assert sum(ends - 1 - one < within for one in times) >= settings.ends_below
                flood = flood.ended()
        goes_on = flood.since is not None
        number = flood.number
        times.append(now)
        flood, told = flood.after(Raise(now, f"alarm of {group}", group, group), settings)
        many = sum(now - one < within for one in times[-more_than - 1 :]) > more_than
        assert (flood.since is not None) == (goes_on or many)
        if flood.number > number:
            told_groups = {one.name for one in flood.groups[: len(flood.groups) - told]}
            assert flood.since == times[-more_than - 1]
            assert sum(one.count for one in flood.groups) == more_than + 1
        if flood.since is None:
            assert told
        else:
            assert told == (group not in told_groups)
            told_groups.add(group)
        assert len(flood.newest) <= max(more_than + 1, settings.ends_below)
        assert Flood.from_dict(json.loads(json.dumps(flood.as_dict()))) == flood


@given(times=st.lists(st.integers(0, 500), max_size=30).map(sorted), n=st.integers(2, 5))
def test_chattering_is_so_many_raises_within_the_time(times, n):
    settings = ChatteringSettings(times=n, within=60)
    raised = [time * SECOND for time in times]
    assert chatters(raised, settings) == (len(times) >= n and times[-1] - times[-n] <= 60)


def test_the_first_priority_that_fits_counts_and_none_is_none():
    rules = [
        PriorityRule(streams=("boilers",), severities=("critical",), priority="high", response="call the shift leader"),
        PriorityRule(streams=("boil*",), assets=("site/line-?/*",), priority="medium"),
    ]
    assert priority_rule(rules, "boilers", "site/line-1/b", "critical").response == "call the shift leader"
    assert priority_rule(rules, "boilers", "site/line-1/b", "low").priority == "medium"
    assert priority_rule(rules, "boilers", "site/hall/b", "low") is None
    assert priority_rule([], "boilers", "b", "critical") is None


def test_assets_without_a_path_belong_to_their_stream():
    assert [group_of("pumps", asset) for asset in ("a/b/c", "a", "/a")] == ["a/b", "pumps", "pumps"]
