import json

from connectors.alarm_event import alarm_event, encode_event
from tsad.alarms import AlarmBook, Contribution, PartEvidence, Verdict


def transition(kind="alarm.raised", **details):
    book = AlarmBook("pumps")
    raised = book.step("alarm.raised", "plant/pump-1", "anomaly", 10**18, (2, 77), severity="high", details=details)
    return (
        raised
        if kind == "alarm.raised"
        else book.step(kind, "plant/pump-1", "anomaly", 10**18 + 5, (2, 78), severity="low")
    )


def test_holds_what_an_operator_needs():
    lead = Contribution("flow", 0.8, 9.0, 5.0, 4.0, 6.0, "high")
    event = alarm_event(
        transition(
            score=7.0, threshold=3.0, p_value=1e-5, one_in_days=40.0, contributions=(lead,),
            verdicts=(Verdict("robust", 7.0, 1e-5),),
        )
    )  # fmt: skip

    data = event["data"]
    assert event["type"] == "alarm.raised"
    assert event["timestamp"] == "2001-09-09T01:46:40Z"
    assert data["contributions"][0]["reason"] == "flow is 9, expected 5 (usual band 4 to 6): too high"
    assert data["summary"].startswith("plant/pump-1 behaves unusually, as odd as once in 40 days: flow is 9")
    assert (data["state"], data["previous_state"]) == ("active", "normal")
    assert data["source"] == {"partition": 2, "offset": 77}
    assert data["models"] == [{"name": "robust", "score": 7.0, "p_value": 1e-5}]


def test_the_end_of_an_episode_says_when():
    event = alarm_event(transition("alarm.cleared"))

    assert event["data"]["event_time_end"] == "2001-09-09T01:46:40.000000005Z"
    assert event["data"]["severity"] == "high"


def test_the_same_transition_gives_the_same_bytes():
    assert encode_event(alarm_event(transition())) == encode_event(alarm_event(transition()))
    json.loads(encode_event(alarm_event(transition())))


def test_a_part_tells_what_it_rests_on_and_where_it_began():
    book = AlarmBook("line")
    part = PartEvidence(
        part_id="p-1", final=False, flagged=True, method="brown", dependence=0.2, decided_by="press",
        missing=("end/top",), uncalibrated=(), station="press", channel="force", began=10**18, shared_by=4,
        closer_imaging=True,
    )  # fmt: skip
    flagged, closed = (
        alarm_event(book.step(kind, "p-1", "part", 10**18, (-1, -1), severity="low", details=details))["data"]
        for kind, details in (("part.flagged", {"part": part}), ("part.closed", None))
    )

    assert flagged["part_id"] == "p-1"
    assert flagged["fusion"]["began"] == {"station": "press", "channel": "force", "time": "2001-09-09T01:46:40Z"}
    assert flagged["fusion"]["missing"] == ["end/top"]
    assert flagged["summary"] == (
        "part p-1 is flagged, so far, by press; in the process it was oddest at press, force at 2001-09-09T01:46:40Z"
    )
    assert closed["summary"] == "part p-1 stays flagged, and stands no longer as an alarm"
    assert closed["state"] == "normal"
    assert (closed["alarm_id"], closed["transition_seq"]) == (flagged["alarm_id"], 2)
    assert "part_id" not in alarm_event(transition())["data"]
