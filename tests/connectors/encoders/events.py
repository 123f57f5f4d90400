"""Events of the whole life of an alarm, with whatever texts telemetry may bring, for properties of encoders."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from connectors.alarm_event import ACTION_EVENTS, action_event, alarm_event
from connectors.history.conditions import ActionRecord
from connectors.service_event import endpoint_disabled, endpoint_enabled, endpoint_test
from tsad.alarms import SEVERITIES, AlarmTransition, Contribution, OddAttribute, Verdict
from tsad.lifecycle import AlarmCondition

# Everything that UTF-8 can carry, line breaks, quotes, mark-up and other scripts among it.
texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [
        "pump-1",
        "<!channel> & <http://x|y>",
        "a\r\nBcc: x@y",
        'q"uote%20',
        "泵/一号 🙂",
        "*bold* [l](http://x)",
        "x" * 3_000,
    ]
)
names = texts.filter(bool)
times = st.integers(1_600_000_000 * 10**9, 1_900_000_000 * 10**9)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
optional = st.none() | numbers


@st.composite
def transitions(draw):
    kind = draw(st.sampled_from(["alarm.raised", "alarm.updated", "alarm.cleared", "stream.silent", "stream.resumed"]))
    closes = kind in {"alarm.cleared", "stream.resumed"}
    started = draw(times)
    return AlarmTransition(
        kind=kind,
        alarm_id="alm_0123456789abcdef01234567",
        episode_id="epi_0123456789abcdef01234567",
        transition_seq=draw(st.integers(1, 2**40)),
        stream=draw(names),
        asset=draw(names),
        state="normal" if closes else "active",
        previous_state="active" if closes else "normal",
        severity=draw(st.sampled_from(SEVERITIES)),
        time=started + draw(st.integers(0, 10**15)),
        started=started,
        score=draw(optional),
        threshold=draw(optional),
        p_value=draw(st.none() | st.floats(0, 1)),
        one_in_days=draw(st.none() | st.floats(0, 1e9)),
        contributions=tuple(
            draw(
                st.lists(
                    st.builds(
                        Contribution, names, st.floats(0, 1), optional, optional, optional, optional,
                        st.sampled_from(["high", "low", "within", "unknown"]),
                    ),
                    max_size=4,
                )
            )
            * draw(st.sampled_from([1, 1, 300]))
        ),
        verdicts=tuple(draw(st.lists(st.builds(Verdict, names, optional, optional), max_size=3))),
        partition=0,
        offset=draw(st.integers(-1, 2**50)),
        attributes=tuple(
            draw(
                st.lists(
                    st.builds(
                        OddAttribute, names, st.floats(0, 1), texts, st.booleans(),
                        st.lists(st.tuples(texts, st.none() | st.floats(0, 1)), max_size=3).map(tuple),
                    ),
                    max_size=3,
                )
            )
        ),
    )  # fmt: skip


@st.composite
def actions(draw):
    kind = draw(st.sampled_from(sorted(ACTION_EVENTS)))
    states = [
        "normal", "active_unacknowledged", "active_acknowledged", "returned_unacknowledged", "shelved",
        "out_of_service",
    ]  # fmt: skip
    state = {"shelve": "shelved", "take_out_of_service": "out_of_service"}.get(kind) or draw(st.sampled_from(states))
    condition = AlarmCondition(
        "alm_0123456789abcdef01234567", draw(names), draw(names), draw(st.booleans()), draw(st.booleans()),
        "epi_0123456789abcdef01234567", draw(times), draw(times), draw(st.sampled_from(SEVERITIES)),
        draw(st.integers(1, 2**40)),
    )  # fmt: skip
    record = ActionRecord(
        condition.alarm_id, condition.episode_id, draw(st.integers(1, 1000)), condition.transition_seq, kind,
        draw(names), draw(texts), draw(times), False, "true", draw(times), draw(st.sampled_from(states)), state,
    )  # fmt: skip
    return condition, record


moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
endpoint_names = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
service_events = (
    st.builds(endpoint_disabled, endpoint_names, st.just("https://host/***"), moments, texts)
    | st.builds(endpoint_enabled, endpoint_names, st.just("https://host/***"), moments)
    | st.builds(endpoint_test, endpoint_names, moments)
)

events = transitions().map(alarm_event) | actions().map(lambda both: action_event(*both)) | service_events
"""Every kind of event there is."""


def transition(kind="alarm.raised", severity="high", **changes):
    """A plain transition of pump-1."""
    closes = kind in {"alarm.cleared", "stream.resumed"}
    started = 1_767_225_600 * 10**9
    values = {
        "kind": kind, "alarm_id": "alm_1", "episode_id": "epi_1", "transition_seq": 3 if closes else 1,
        "stream": "pumps", "asset": "north/pump-1", "state": "normal" if closes else "active",
        "previous_state": "active" if closes else "normal", "severity": severity,
        "time": started + (90 * 10**9 if closes else 0), "started": started, "score": 0.99, "threshold": 0.9,
        "p_value": 1e-6, "one_in_days": 30.0,
        "contributions": (Contribution("flow", 0.8, 3.0, 5.0, 4.0, 6.0, "low"),), "verdicts": (),
        "partition": 0, "offset": 7,
    }  # fmt: skip
    return AlarmTransition(**(values | changes))
