"""What episodes were like, and how much they are alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.alarms import SEVERITIES
from tsad.episode_signature import EpisodeSignature, Moment, signature_of, similarity

SECOND = 10**9
SIGNATURES = st.builds(
    EpisodeSignature,
    st.dictionaries(st.sampled_from(["flow high", "flow low", "current high"]), st.floats(0.01, 1), max_size=3),
    st.none() | st.floats(0, 1e6),
    st.integers(0, 3),
    st.floats(0, 1),
)


def moment(at, severity="low", *, active=True, shares=(("flow high", 1.0),)):
    return Moment(at * SECOND, 100 * SECOND, active, severity, tuple(shares))


def test_a_signature_has_shares_duration_severity_and_growth():
    found = signature_of(
        [
            moment(100, shares=[("flow high", 0.8), ("current low", 0.2)]),
            moment(130, "high", shares=[("flow high", 0.6), ("current low", 0.4)]),
            moment(160, "high", active=False, shares=[("pressure high", 1.0)]),
        ]
    )

    assert found.shares == pytest.approx({"flow high": 0.7, "current low": 0.3})
    assert (found.duration, found.severity, found.growth) == (60.0, SEVERITIES.index("high"), 0.5)


def test_one_that_goes_on_has_no_duration_yet():
    assert signature_of([moment(100)]).duration is None


@given(SIGNATURES, SIGNATURES)
def test_similarity_is_between_0_and_1_both_ways_and_whole_with_itself(one, other):
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    assert similarity(one, one) == 1


def test_direction_and_channel_count_most():
    base = EpisodeSignature({"flow high": 1.0}, 60.0, 1, 0.0)

    assert similarity(base, EpisodeSignature({"flow high": 1.0}, 600.0, 3, 0.9)) > 0.7
    assert similarity(base, EpisodeSignature({"flow low": 1.0}, 60.0, 1, 0.0)) < 0.4
