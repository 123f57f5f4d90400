import numpy as np
import pytest

from tsad.errors import ConfigurationError
from tsad.simulation import AccessSettings, PlantSettings, simulate


@pytest.fixture(scope="module")
def access(start):
    settings = PlantSettings(seed=5, node_assets=(), training_seconds=40_000.0)
    return simulate(settings, start, 86_400.0).access


def test_odd_events_come_after_training_at_the_rate_asked_for(access, start):
    after = access.times >= start + 40_000 * 10**9

    assert not access.odd[~after].any()
    assert access.odd[after].mean() == pytest.approx(0.01, abs=0.004)


def test_an_odd_event_breaks_one_habit_that_training_showed(access):
    usual = ~access.odd

    for field, reason in (("host", "foreign_host"), ("process", "foreign_process"), ("source_zone", "foreign_zone")):
        column = getattr(access, field)
        habits = set(zip(access.user[usual].tolist(), column[usual].tolist(), strict=True))
        broken = access.reason == reason
        assert broken.any()
        assert not habits & set(zip(access.user[broken].tolist(), column[broken].tolist(), strict=True))
        whole = usual | (access.reason == "unseen_user")
        kept = ~broken & ~whole
        assert set(zip(access.user[kept].tolist(), column[kept].tolist(), strict=True)) <= habits
    unseen = access.reason == "unseen_user"
    assert unseen.any()
    assert not set(access.user[unseen].tolist()) & set(access.user[~unseen].tolist())
    np.testing.assert_array_equal(access.odd, access.reason != "")


def test_events_are_in_order_and_follow_the_working_day(access):
    hour = (access.times // (3_600 * 10**9)) % 24

    assert (np.diff(access.times) >= 0).all()
    assert (access.times % 10**6 == 0).all()
    assert (hour == 13).sum() > 2.5 * (hour == 1).sum()


@pytest.mark.parametrize("change", [{"events_per_hour": 0.0}, {"users": 0}, {"odd_share": 1.5}])
def test_wrong_settings_name_their_key(change):
    with pytest.raises(ConfigurationError, match=f"access.{next(iter(change))}"):
        AccessSettings(**change)
