import duckdb
import pytest

from connectors.history.schema import TABLES
from tsad_cli.demo_feed import NANOSECONDS, Feed, Planted
from tsad_cli.demo_report import AFTER_ROWS, HistoryContent, Report, Told, match, read_history


def fault(kind="level_shift", asset="pump-1", start=100, end=200, channels=("flow",), silence=False):
    return Planted(kind, asset, channels, start * NANOSECONDS, end * NANOSECONDS, 8.0, NANOSECONDS, silence)


def told(kind, time, asset="pump-1", severity="low", channel="flow", episode="e1"):
    return Told(kind, asset, episode, time * NANOSECONDS, severity, channel)


def test_an_alarm_while_the_fault_lasts_counts_with_its_delay_and_its_highest_severity():
    outcomes, false = match(
        [fault()], [told("alarm.raised", 105), told("alarm.updated", 130, severity="critical", channel="speed")]
    )
    assert false == []
    [outcome] = outcomes
    assert outcome.told.time == 105 * NANOSECONDS
    assert (outcome.delay_rows, outcome.severity, outcome.channel_right) == (5, "critical", True)


def test_a_wrong_channel_is_said_to_be_wrong():
    [outcome], _ = match([fault()], [told("alarm.raised", 100, channel="speed")])
    assert outcome.channel_right is False


@pytest.mark.parametrize(("after", "counts"), [(AFTER_ROWS - 1, True), (AFTER_ROWS, False)])
def test_an_alarm_counts_up_to_some_rows_after_the_fault(after, counts):
    outcomes, false = match([fault()], [told("alarm.raised", 200 + after)])
    assert (outcomes[0].told is not None) is counts
    assert len(false) == (0 if counts else 1)


def test_an_alarm_of_another_asset_neither_tells_of_the_fault_nor_is_excused_by_it():
    outcomes, false = match([fault()], [told("alarm.raised", 150, asset="pump-2")])
    assert outcomes[0].told is None
    assert [alarm.asset for alarm in false] == ["pump-2"]


def test_an_alarm_that_still_stands_from_before_does_not_count_and_is_remarked():
    outcomes, false = match([fault()], [told("alarm.raised", 60), told("alarm.cleared", 150)])
    assert outcomes[0].told is None
    assert "still stood" in outcomes[0].remark
    assert len(false) == 1


def test_a_standing_alarm_that_rises_counts():
    outcomes, _ = match([fault()], [told("alarm.raised", 60), told("alarm.updated", 110, severity="high")])
    assert outcomes[0].delay_rows == 10
    assert outcomes[0].severity == "high"


def test_an_alarm_that_was_cleared_before_does_not_stand():
    outcomes, _ = match([fault()], [told("alarm.raised", 60), told("alarm.cleared", 90)])
    assert outcomes[0].remark == ""


def test_silence_is_told_by_the_event_of_silence_alone():
    silent = fault("silence", channels=("flow", "speed"), silence=True)
    outcomes, false = match([silent], [told("alarm.raised", 120)])
    assert outcomes[0].told is None
    assert false == []  # the fault excuses it all the same
    outcomes, _ = match([silent], [told("stream.silent", 119, severity="medium", channel=None)])
    assert (outcomes[0].delay_rows, outcomes[0].channel_right) == (19, None)


def test_an_event_of_silence_does_not_tell_of_another_fault_and_is_false_there():
    outcomes, false = match([fault()], [told("stream.silent", 120, channel=None)])
    assert outcomes[0].told is None
    assert [alarm.kind for alarm in false] == ["stream.silent"]


def test_updates_and_clearings_are_no_false_alarms_of_their_own():
    _, false = match([], [told("alarm.raised", 1), told("alarm.updated", 2), told("alarm.cleared", 3)])
    assert [alarm.kind for alarm in false] == ["alarm.raised"]


def test_without_known_channels_nothing_is_said_about_the_channel():
    [outcome], _ = match([fault(channels=())], [told("alarm.raised", 105)])
    assert outcome.channel_right is None


def feed(planted=(), strict=True, series=1):
    return Feed("a plant", (), (), (), planted, 0, 1, 0, 0.1, 10.0, series, strict)


def report(outcomes=(), published=10, records=10, told_count=0, verified=0, refused=0, learnt=1, dead=None):
    rows = dict.fromkeys(("samples", "rollups", "events", "inspections"), 0)
    webhooks = dict.fromkeys(("delivered", "pending", "failed"), 0)
    events = [told("alarm.raised", i) for i in range(told_count)]
    history = HistoryContent(events, rows, dead or {}, {"pumps": records}, webhooks, 0, learnt, ["pump-1: too few"])
    return Report(list(outcomes), [], 1.0, published, history, verified, refused, 0, 0.5, 60.0)


def test_a_run_in_which_everything_worked_has_no_problem():
    outcomes, _ = match([fault()], [told("alarm.raised", 105)])
    judged = report(outcomes, told_count=1, verified=1).judged(feed())
    assert judged.problems == []
    assert judged.as_dict(feed())["exit_code"] == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"records": 9}, "10 records were published and 9"),
        ({"told_count": 2, "verified": 1}, "2 alarm transitions, but 1 webhooks"),
        ({"refused": 1}, "did not verify"),
        ({"learnt": 0}, "pump-1: too few"),
        ({"dead": {"malformed_json": 3}}, "3 malformed_json"),
    ],
)
def test_whatever_went_wrong_is_said(values, said):
    [problem] = report(**values).judged(feed()).problems
    assert said in problem


def test_a_missed_fault_fails_the_simulated_plant_but_not_a_recording():
    outcomes, _ = match([fault()], [])
    [problem] = report(outcomes).judged(feed()).problems
    assert "level_shift on pump-1" in problem
    assert report(outcomes).judged(feed(strict=False)).problems == []


def test_the_history_is_read_as_the_daemon_wrote_it(tmp_path):
    path = tmp_path / "history.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in TABLES:
            connection.execute(statement)
        details = '{"contributions": [{"channel": "flow"}], "verdicts": []}'
        connection.execute(
            "INSERT INTO alarm_transitions (alarm_id, episode_id, transition_seq, kind, stream, asset, state,"
            " previous_state, severity, time, started, details, partition, record_offset) VALUES ('a', 'e', 1,"
            " 'alarm.raised', 'pumps', 'pump-1', 'active', 'normal', 'low', make_timestamp_ns(5000000000),"
            " make_timestamp_ns(5000000000), ?, 0, 7)",
            [details],
        )
        connection.execute("INSERT INTO counters VALUES ('pumps', 'records', 12), ('pumps', 'rows', 11)")
        connection.execute(
            "INSERT INTO fits (stream, asset, time, rows, problem) VALUES"
            " ('pumps', 'pump-1', make_timestamp_ns(1), 10, 'too few'),"
            " ('pumps', 'pump-1', make_timestamp_ns(2), 20, NULL)"
        )
        connection.execute(
            "INSERT INTO dead_letters (topic, partition, record_offset, reason, detail)"
            " VALUES ('t', 0, 1, 'no_value', '')"
        )
    content = read_history(path)
    assert content.told == [told("alarm.raised", 5, episode="e")]
    assert content.records == {"pumps": 12}
    assert (content.learnt, content.not_learnt) == (1, [])
    assert content.dead_letters == {"no_value": 1}
    assert content.webhooks == {"delivered": 0, "pending": 0, "failed": 0}
