"""Maintenance windows and weekly calendars."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tsad.maintenance import MaintenancePlan, MaintenanceRule, MaintenanceWindow

SECOND = 10**9


def ns(*parts, zone="UTC"):
    return int(datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()) * SECOND


def weekly(**changes):
    times = {"days": ["sat", "sun"], "begins": "22:00", "ends": "02:00", "time_zone": "Europe/Berlin", **changes}
    return MaintenanceRule(reason="cleaning", weekly=times)


@given(st.integers(ns(2024, 1, 1), ns(2026, 1, 1)))
def test_a_weekly_time_is_that_of_the_zones_own_clock(time):
    local = datetime.fromtimestamp(time // SECOND, ZoneInfo("Europe/Berlin"))
    night = (local.weekday() in (5, 6) and local.hour >= 22) or (local.weekday() in (6, 0) and local.hour < 2)

    assert (weekly().ends_after(np.array([time]))[0] > 0) == night


def test_a_window_over_midnight_ends_when_the_clock_says():
    saturday_late = ns(2025, 1, 4, 23, zone="Europe/Berlin")

    assert weekly().ends_after(np.array([saturday_late])).tolist() == [ns(2025, 1, 5, 2, zone="Europe/Berlin")]


def test_a_single_window_does_not_hold_its_end():
    rule = MaintenanceRule(
        reason="overhaul", start=datetime(2025, 1, 1, tzinfo=UTC), end=datetime(2025, 1, 2, tzinfo=UTC)
    )
    start, end = ns(2025, 1, 1), ns(2025, 1, 2)

    found = rule.ends_after(np.array([start - 1, start, end - 1, end]))
    assert found.tolist() == [0, end, end, 0]


def test_only_the_assets_of_the_streams_that_are_named_are_marked():
    rule = MaintenanceRule(
        streams=("pumps",), assets=("line-1/*",), reason="overhaul",
        start=datetime(2025, 1, 1, tzinfo=UTC), end=datetime(2025, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    times, series = np.full(3, ns(2025, 1, 1, 5)), np.array([0, 1, 0], np.int32)
    assets = ["line-1/pump", "line-2/pump"]

    assert MaintenancePlan("pumps", [rule]).mark(assets, series, times).tolist() == [True, False, True]
    assert not MaintenancePlan("fans", [rule])


def test_a_declared_window_can_be_ended_and_survives_storing():
    plan = MaintenancePlan("pumps")
    plan.add(MaintenanceWindow(4, "pump-*", 100, 200, "filter change"))
    plan.end(4, 150)
    again = MaintenancePlan("pumps")
    again.restore(plan.state())

    assert again.cover("pump-1", 149).until == 150
    assert again.cover("pump-1", 150) is None
    assert again.cover("fan-1", 149) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"reason": "x"},
        {"reason": "x", "start": "2025-01-01T00:00:00Z"},
        {"reason": "x", "start": "2025-01-02T00:00:00Z", "end": "2025-01-01T00:00:00Z"},
        {"reason": "x", "start": "2025-01-01T00:00:00", "end": "2025-01-02T00:00:00"},
        {"reason": "", "weekly": {"begins": "1:00", "ends": "2:00"}},
        {"reason": "x", "weekly": {"begins": "01:00", "ends": "02:00", "time_zone": "Mars/Base"}},
        {
            "reason": "x",
            "start": "2025-01-01T00:00:00Z",
            "end": "2025-01-02T00:00:00Z",
            "weekly": {"begins": "01:00", "ends": "02:00"},
        },
    ],
)
def test_what_is_not_one_time_is_refused(wrong):
    with pytest.raises(ValidationError):
        MaintenanceRule.model_validate(wrong)
