"""The life cycle of alarms, held against a model of its state machine."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tsad.alarms import AlarmBook
from tsad.lifecycle import Action, ActionRefusedError, AlarmPolicyLimits, after_action, after_transition, expired

HOUR = 3_600 * 10**9
LIMITS = AlarmPolicyLimits(longest_shelving=8 * HOUR)


def book():
    return AlarmBook("pumps")


def step(alarms, kind, time=10):
    return alarms.step(kind, "pump-1", "anomaly", time, (0, time), severity="low")


def raised():
    alarms = book()
    return alarms, after_transition(None, step(alarms, "alarm.raised"))


def act(condition, kind, now=0, **values):
    return after_action(condition, Action(kind, values.pop("by", "ann"), **values), now, LIMITS)


class Life(RuleBasedStateMachine):
    """Drives the real functions and a plain set of facts side by side."""

    def __init__(self):
        super().__init__()
        self.alarms, self.condition, self.now, self.time = book(), None, 0, 0
        self.facts = {"active": False, "seen": True, "shelf": None, "one_shot": False, "out": False}

    def refused(self, *arguments, **values):
        with pytest.raises(ActionRefusedError):
            act(self.condition, *arguments, now=self.now, **values)

    @precondition(lambda self: not self.facts["active"])
    @rule()
    def rises(self):
        self.time += 1
        self.condition = after_transition(self.condition, step(self.alarms, "alarm.raised", self.time))
        self.facts |= {"active": True, "seen": False}

    @precondition(lambda self: self.facts["active"])
    @rule()
    def changes(self):
        self.condition = after_transition(self.condition, step(self.alarms, "alarm.updated", self.time))

    @precondition(lambda self: self.facts["active"])
    @rule()
    def clears(self):
        self.condition = after_transition(self.condition, step(self.alarms, "alarm.cleared", self.time))
        self.facts["active"] = False
        if self.facts["one_shot"]:
            self.facts |= {"shelf": None, "one_shot": False}

    @precondition(lambda self: self.condition)
    @rule()
    def acknowledged(self):
        if self.facts["seen"]:
            self.refused("acknowledge")
        else:
            self.condition = act(self.condition, "acknowledge", now=self.now)
            self.facts["seen"] = True

    @precondition(lambda self: self.condition)
    @rule(hours=st.integers(-1, 12), one_shot=st.booleans(), why=st.sampled_from(["", " ", "cleaning"]))
    def shelved(self, hours, one_shot, why):
        values = {"until": self.now + hours * HOUR, "one_shot": one_shot, "comment": why}
        if hours <= 0 or hours > 8 or not why.strip():
            self.refused("shelve", **values)
        else:
            self.condition = act(self.condition, "shelve", now=self.now, **values)
            self.facts |= {"shelf": values["until"], "one_shot": one_shot}

    def heard_again(self):
        if self.facts["active"]:
            self.facts["seen"] = False

    @precondition(lambda self: self.condition)
    @rule()
    def unshelved(self):
        if self.facts["shelf"] is None:
            self.refused("unshelve")
        else:
            self.condition = act(self.condition, "unshelve", now=self.now)
            self.facts |= {"shelf": None, "one_shot": False}
            self.heard_again()

    @rule(hours=st.integers(0, 5))
    def time_passes(self, hours):
        self.now += hours * HOUR
        over = self.facts["shelf"] is not None and self.facts["shelf"] <= self.now
        if self.condition:
            assert expired(self.condition, self.now) == over
        if over:
            self.condition = act(self.condition, "expire", now=self.now, by="tsad")
            self.facts |= {"shelf": None, "one_shot": False}
            self.heard_again()

    @precondition(lambda self: self.condition)
    @rule(out=st.booleans())
    def service(self, out):
        kind = "take_out_of_service" if out else "return_to_service"
        if self.facts["out"] == out:
            self.refused(kind, comment="overhaul")
        else:
            self.condition = act(self.condition, kind, now=self.now, comment="overhaul")
            self.facts["out"] = out
            if not out:
                self.heard_again()

    @precondition(lambda self: self.condition)
    @rule(label=st.sampled_from(["true", "false", "known"]))
    def labelled(self, label):
        self.condition = act(self.condition, "label", now=self.now, label=label)

    @invariant()
    def states_agree(self):
        if self.condition is None:
            return
        facts = self.facts
        if facts["out"]:
            expected = "out_of_service"
        elif facts["shelf"] is not None:
            expected = "shelved"
        else:
            expected = {
                (True, False): "active_unacknowledged", (True, True): "active_acknowledged",
                (False, False): "returned_unacknowledged", (False, True): "normal",
            }[facts["active"], facts["seen"]]  # fmt: skip
        assert self.condition.state == expected
        assert self.condition.announces == (not facts["out"] and facts["shelf"] is None)


TestLife = Life.TestCase


def test_an_alarm_that_clears_unseen_waits_for_somebody():
    alarms, condition = raised()
    condition = after_transition(condition, step(alarms, "alarm.cleared", 20))
    assert condition.state == "returned_unacknowledged"
    assert act(condition, "acknowledge").state == "normal"


def test_the_second_of_two_operators_is_told_who_was_first():
    _, condition = raised()
    condition = act(condition, "acknowledge", by="ann")
    with pytest.raises(
        ActionRefusedError, match="alarm of pump-1 in pumps has nothing to acknowledge; ann has done so"
    ):
        act(condition, "acknowledge", by="bob")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("shelve", {"until": 9 * HOUR, "comment": "x"}, "9 hours are more than the 8"),
        ("shelve", {"until": HOUR}, "say why"),
        ("shelve", {"comment": "x"}, "say until when"),
        ("acknowledge", {"by": " "}, "say who"),
        ("label", {"label": "odd"}, "choose one of true, false, known"),
        ("comment", {}, "say why"),
        ("delete", {}, "does not exist"),
    ],
)
def test_what_is_refused_says_what_would_be_right(kind, values, message):
    with pytest.raises(ActionRefusedError, match=message):
        act(raised()[1], kind, **values)
