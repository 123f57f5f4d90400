import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.alarm_kpis import alarm_kpis

SECOND = 10**9


def plain(episodes, since, until):
    """The same figures, counted one by one."""
    own = [e for e in episodes if since <= e[1] < until]
    buckets, edge = [], since
    while edge < until:
        buckets.append(sum(edge <= start < edge + 600 * SECOND for _, start, _ in own))
        edge += 600 * SECOND
    flood, floods = False, 0
    for count in buckets:
        if flood and count < 5:
            flood = False
        if count > 10:
            flood = True
        floods += flood
    counts = sorted((sum(a == b for a, _, _ in own) for b in {a for a, _, _ in own}), reverse=True)
    chattering = 0
    for b in {a for a, _, _ in own}:
        times = sorted(start for a, start, _ in own if a == b)
        chattering += any(sum(t <= u <= t + 60 * SECOND for u in times) >= 3 for t in times)
    lasted = [((until if end < 0 else end) - start, end) for _, start, end in own]
    return (
        len(own), max(buckets), floods / len(buckets), sum(counts[:10]) / len(own) if own else None, chattering,
        sum(end >= 0 and last <= 10 * SECOND for last, end in lasted),
        sum(last > 86_400 * SECOND for last, _ in lasted),
    )  # fmt: skip


@given(
    episodes=st.lists(
        st.tuples(st.integers(0, 14), st.integers(-100, 4000), st.sampled_from([-1, 0, 5, 10, 11, 90_000])), max_size=70
    )
)
def test_equals_its_plain_twin(episodes):
    episodes = [(a, s * SECOND, -1 if d < 0 else (s + d) * SECOND) for a, s, d in episodes if not (d >= 0 > s + d)]
    table = np.array(episodes, np.int64).reshape(-1, 3)
    found = alarm_kpis(table[:, 0], table[:, 1], table[:, 2], 0, 3_500 * SECOND)
    expected = plain(episodes, 0, 3_500 * SECOND)

    assert (found.alarms, found.most_in_10_minutes, found.flood_share) == expected[:3]
    assert found.top_10_share == pytest.approx(expected[3]) if found.alarms else np.isnan(found.top_10_share)
    assert (found.chattering, found.fleeting, found.standing) == expected[4:]
    assert found.average_per_10_minutes == pytest.approx(found.alarms * 600 / 3_500)


def test_an_empty_stretch_is_refused():
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="is empty"):
        alarm_kpis(none, none, none, 5, 5)
