import io
import json
from datetime import UTC, datetime

import pytest
from rich.console import Console

from connectors.webhooks.receiver import ReceivedWebhook, ReceiverInbox
from tsad_cli.demo_feed import Feed, Planted
from tsad_cli.demo_report import HistoryContent, Report, Told, match
from tsad_cli.demo_table import show_report
from tsad_cli.demo_view import Figures, Progress, StatusReader, View, alarm_line

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def webhook(kind="alarm.raised", contributions=None, number=1):
    lead = {"channel": "flow", "observed": 12.5, "expected": 10.0}
    data = {
        "asset": "pump-1",
        "severity": "high",
        "summary": "pump-1 is back to usual",
        "contributions": [lead] if contributions is None else contributions,
    }
    body = json.dumps({"type": kind, "timestamp": "2026-03-01T08:15:30Z", "data": data}).encode()
    return ReceivedWebhook(f"msg_{number}", 0, body, NOW)


class FakeInbox(ReceiverInbox):
    def __init__(self, webhooks):
        super().__init__()
        self._webhooks = {w.webhook_id: w for w in webhooks}


def progress(elapsed=10.0):
    return Progress("faults are on", elapsed, 60.0, 1234, 7, "08:15:00")


def test_an_alarm_is_told_with_its_leading_channel_and_what_was_expected():
    line = alarm_line(webhook())
    assert line.text == "08:15:30  alarm.raised   high     pump-1  flow 12.5, expected 10"


@pytest.mark.parametrize(
    ("kind", "contributions", "about"),
    [
        ("alarm.cleared", None, "pump-1 is back to usual"),
        ("stream.silent", [], "pump-1 is back to usual"),
        ("alarm.raised", [{"channel": "flow", "observed": None, "expected": None}], "flow"),
    ],
)
def test_what_has_no_leading_channel_is_told_by_its_summary(kind, contributions, about):
    assert alarm_line(webhook(kind, contributions)).about == about


def test_without_a_terminal_there_are_plain_lines_and_each_webhook_once():
    out = io.StringIO()
    clock = iter([0.0, 0.0, 0.0, 1.0, 1.0, 6.0, 6.0, 6.0])
    view = View(Console(file=out, width=200), FakeInbox([webhook()]), "a plant", clock=lambda: next(clock))
    with view:
        view.update(progress(), Figures(records=0, lag=3))
        view.update(progress(), Figures(records=100, lag=3))
        view.update(progress(), Figures(records=600, lag=3))
    lines = out.getvalue().splitlines()
    assert sum("webhook  08:15:30" in line for line in lines) == 1
    assert sum("records/s, lag 3" in line for line in lines) == 2  # not more often than every 5 s
    assert "100 records/s" in lines[-1]


def test_a_terminal_shows_figures_and_alarms_in_place():
    out = io.StringIO()
    console = Console(file=out, width=160, height=40, force_terminal=True)
    with View(console, FakeInbox([webhook()]), "a plant") as view:
        view.update(progress(), Figures(ready=True, records=1000, transitions=1, learnt=3))
    text = out.getvalue()
    for part in ("a plant", "3 of 7", "1 of 1", "flow 12.5, expected 10"):
        assert part in text


def test_quiet_shows_nothing():
    out = io.StringIO()
    with View(Console(file=out), FakeInbox([webhook()]), "a plant", quiet=True) as view:
        view.note("hello")
        view.update(progress(), Figures())
    assert out.getvalue() == ""


def test_a_daemon_that_does_not_answer_leaves_the_figures_as_they_were():
    from tsad_cli.demo_process import free_port

    reader = StatusReader(f"http://127.0.0.1:{free_port()}")
    assert reader.read() == Figures()
    assert not reader.reachable
    reader.close()


def test_the_table_shows_what_was_missed_and_why_the_status_is_not_zero():
    second = 10**9
    planted = [
        Planted("drift", "plant/utilities/pump-1", ("flow",), 100 * second, 200 * second, 8.0, second),
        Planted("spike", "plant/utilities/pump-2", ("flow",), 100 * second, 103 * second, 8.0, second),
    ]
    events = [
        Told("alarm.raised", "plant/utilities/pump-1", "e", 105 * second, "low", "speed"),
        Told("alarm.raised", "plant/utilities/pump-3", "f", 105 * second, "low", "flow"),
    ]
    outcomes, false = match(planted, events)
    rows = dict.fromkeys(("samples", "rollups", "events", "inspections"), 0)
    history = HistoryContent(events, rows, {}, {"pumps": 5}, {"pending": 0, "failed": 0}, 2, 3, [])
    feed = Feed("a plant", (), (), (), planted, 0, second, 0, 0.1, 10.0, 3, strict=True)
    out = io.StringIO()
    report = Report(outcomes, false, 1.0, 5, history, 2, 0, 0, 0.5, 60.0).judged(feed)
    show_report(Console(file=out, width=160), report, feed)
    text = out.getvalue()
    assert "5 steps" in text
    assert "speed (another)" in text
    assert "MISSED" in text
    assert "1 of 2 planted faults" in text
    assert "1 false alarms" in text
    assert "PROBLEM: no alarm told of: spike on plant/utilities/pump-2" in text
