import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tsad.events.episodes import EventEpisodes

OFF = 10


def walk(episodes, times, odd, assets, *, ways=None, levels=None, partitions=None):
    n = len(times)
    ways, levels = ways or ["x"] * n, levels or [0] * n
    changes = episodes.walk(
        np.array(times), np.array(partitions or [0] * n, np.int32), np.array(odd, bool),
        lambda i: (assets[i], ways[i], levels[i]),
    )  # fmt: skip
    return [(c.event, c.asset, c.kind) for c in changes]


def plain(times, odd, assets, ways, levels, partitions):
    """The same, one event at a time and without any shortcut."""
    marks, standing, found = {}, {}, []
    for i, time in enumerate(times):
        p = partitions[i]
        marks[p] = max(marks.get(p, time), time)
        for last, asset in sorted((e["last"], a) for a, e in standing.items() if e["p"] == p):
            if marks[p] > last + OFF:
                del standing[asset]
                found.append((i, asset, "cleared"))
        if not odd[i]:
            continue
        e = standing.get(assets[i])
        if e is None:
            standing[assets[i]] = {"p": p, "last": marks[p], "level": levels[i], "ways": [ways[i]]}
            found.append((i, assets[i], "raised"))
            continue
        news = ways[i] not in e["ways"] and len(e["ways"]) < 20
        if levels[i] > e["level"] or news:
            found.append((i, assets[i], "updated"))
        if news:
            e["ways"].append(ways[i])
        e.update(p=p, last=marks[p], level=max(levels[i], e["level"]))
    return found


@given(
    events=st.lists(
        st.tuples(st.integers(0, 15), st.booleans(), st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 3)),
        max_size=60,
    ),
    cut=st.integers(0, 60),
)
def test_equals_its_plain_twin_however_it_is_cut(events, cut):
    times = np.cumsum([gap - 3 for gap, *_ in events]).tolist()  # some are late
    odd, assets, ways, levels = ([e[k] for e in events] for k in (1, 2, 3, 4))
    partitions = [int(way == "z") for way in ways]
    expected = plain(times, odd, assets, ways, levels, partitions)

    episodes, found = EventEpisodes(OFF), []
    for part in (slice(0, cut), slice(cut, None)):
        found += [
            (event + (part.start or 0), asset, kind)
            for event, asset, kind in walk(
                episodes, times[part], odd[part], assets[part], ways=ways[part], levels=levels[part],
                partitions=partitions[part],
            )
        ]  # fmt: skip
        state = episodes.state()
        episodes = EventEpisodes(OFF)
        episodes.restore(state)
    assert sorted(found) == sorted(expected)


def test_an_episode_ends_after_its_last_odd_event_and_is_told_once():
    found = walk(EventEpisodes(OFF), [0, 8, 16, 20, 27, 50], [1, 0, 1, 0, 0, 0], ["a"] * 6)
    assert found == [(0, "a", "raised"), (2, "a", "cleared"), (2, "a", "raised"), (4, "a", "cleared")]


def test_no_more_than_twenty_ways_are_told():
    found = walk(EventEpisodes(OFF), [0] * 40, [1] * 40, ["a"] * 40, ways=[str(i) for i in range(40)])
    assert [kind for *_, kind in found] == ["raised"] + ["updated"] * 19
