"""What is told of sensors and controllers, in the words of the canonical event."""

import pytest

from connectors.alarm_event import alarm_event
from connectors.encoders.registry import FORMATS
from tsad.alarms import AlarmBook
from tsad.quality.faults import Fault, MaskedChannel, SensorFault, fault_rule

TOLD = [fault for fault in Fault if fault > Fault.SUSPECTED]


@pytest.mark.parametrize("fault", TOLD)
def test_every_fault_is_told_in_words_and_ends(fault):
    book = AlarmBook("pumps")
    channel = None if fault.name.startswith("CLOCK") else "flow"
    what = SensorFault(channel, fault.name.lower(), 10**18, "°C to °F" if fault == Fault.UNIT_CHANGE else None)
    rule = fault_rule(what.kind, channel)
    steps = [
        book.step(kind, "pump-1", rule, 10**18 + at, (0, at), severity="medium", details={"fault": what})
        for at, kind in enumerate(("sensor.fault", "sensor.cleared"))
    ]
    raised, cleared = (alarm_event(step)["data"] for step in steps)

    assert raised["fault"]["kind"] == fault.name.lower()
    assert raised["fault"]["channel"] == channel
    assert raised["fault"]["reason"] in raised["summary"]
    assert "{" not in raised["summary"]
    assert (raised["state"], cleared["state"]) == ("active", "normal")
    assert cleared["summary"].endswith("is over)")
    assert raised["episode_id"] == cleared["episode_id"]
    for form in FORMATS.values():
        assert form.has_words_for("sensor.fault")
        assert form.has_words_for("comms.lost")


def test_each_channel_and_fault_has_an_alarm_of_its_own():
    book = AlarmBook("pumps")
    rules = {fault_rule(kind, channel) for kind in ("stuck", "spike") for channel in ("a", "b", None)}
    assert len({book.alarm_id("pump-1", rule) for rule in rules}) == 6


def test_what_stands_is_closed_in_its_own_words_when_a_stream_is_learnt_anew():
    book = AlarmBook("pumps")
    for kind, asset, rule in (
        ("sensor.fault", "a", "sensor/stuck/flow"), ("comms.lost", "plc-1", "comms/0"),
        ("alarm.raised", "a", "anomaly"),
    ):  # fmt: skip
        book.step(kind, asset, rule, 10, (0, 1), severity="medium")

    assert [t.kind for t in book.close_all(20)] == ["sensor.cleared", "comms.restored", "alarm.cleared"]


def test_a_controller_is_told_by_its_name():
    book = AlarmBook("pumps")
    lost = book.step("comms.lost", "plant/area", "comms/0", 10, (0, 1), severity="medium")
    back = book.step("comms.restored", "plant/area", "comms/0", 20, (0, 2), severity="medium")

    assert alarm_event(lost)["data"]["summary"].startswith("the controller plant/area has stopped reporting")
    assert alarm_event(back)["data"]["summary"] == "the controller plant/area reports again"


def test_an_event_without_masks_has_no_quality():
    book = AlarmBook("pumps")
    plain = book.step("alarm.raised", "a", "anomaly", 10, (0, 1), severity="low")
    masked = book.step(
        "alarm.updated",
        "a",
        "anomaly",
        11,
        (0, 2),
        severity="low",
        details={"masked": (MaskedChannel("flow", "stuck"),)},
    )

    assert "quality" not in alarm_event(plain)["data"]
    assert alarm_event(masked)["data"]["quality"] == {"masked": [{"channel": "flow", "fault": "stuck"}]}
