"""What the console shows, read from the running service and its history: plain values, no widgets."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import duckdb

from connectors.alarm_event import alarm_event
from connectors.history.transitions import newest_transitions
from streams.http_alarms import condition_as_dict
from streams.service import Service

__all__ = ["Curve", "alarm_rows", "asset_states", "clock", "curve_of", "health", "newest_words", "timeline"]

_AROUND_NS = 10 * 60 * 10**9
_MOST_POINTS = 2_000
_ABOUT = {
    "alarm.raised": "behaviour", "stream.silent": "silence", "part.flagged": "part", "sensor.fault": "sensor",
    "comms.lost": "communication",
}  # fmt: skip
_WHAT: WeakKeyDictionary[Service, dict[str, str]] = WeakKeyDictionary()
# The worst state of an asset's alarms is the asset's.
_WORST = (
    "active_unacknowledged", "active_acknowledged", "returned_unacknowledged", "out_of_service",
    "suppressed_by_design", "shelved", "normal",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Curve:
    """The leading channel around an episode.

    Attributes
    ----------
    channel
        Its name.
    points, p_values
        ``[time in ms UTC, value]``; p-values of the rows that have one.
    lower, upper, expected
        The usual band when the alarm was last told; None where none is known.
    started, ended
        The episode, ms UTC; `ended` is None while it stands.
    """

    channel: str
    points: list[list[float]]
    p_values: list[list[float]]
    lower: float | None
    upper: float | None
    expected: float | None
    started: int
    ended: int | None


def health(service: Service) -> dict[str, Any]:
    """How the service does, in a few figures."""
    statistics = service.pipeline.statistics
    source = service.source.health
    states = [one.state for one in service.pipeline.annunciator.conditions()]
    return {
        "ready": not service.problems(),
        "problems": service.problems(),
        "records": statistics.records,
        "lag": source.lag,
        "learnt": sum(statistics.fitted.values()),
        "drifting": sum(statistics.drifting.values()),
        "dead_letters": sum(n for (_, name), n in statistics.counts.copy().items() if name.startswith("dead_letter_")),
        "webhooks_pending": sum(service.outbox.pending().values()),
        "unacknowledged": sum(state.endswith("unacknowledged") for state in states),
    }


def alarm_rows(service: Service, zone: str) -> list[dict[str, Any]]:
    """Alarms as rows of a table, unacknowledged ones first, the newest change first among equals."""
    conditions = service.pipeline.annunciator.conditions()
    what = _what(service, [one.alarm_id for one in conditions])
    rows = [
        {
            **condition_as_dict(one),
            "what": what.get(one.alarm_id, ""),
            "started": clock(one.started, zone),
            "changed": clock(one.changed, zone),
        }
        for one in conditions
    ]
    return sorted(rows, key=lambda row: not row["state"].endswith("unacknowledged"))


def _what(service: Service, alarms: list[str]) -> dict[str, str]:
    """What alarms are about, in a word or two; an alarm is about the same for all its life, so it is read once."""
    known = _WHAT.setdefault(service, {})
    unknown = [alarm for alarm in alarms if alarm not in known]
    if unknown:
        with service.history.cursor() as cursor:
            rows = cursor.execute(
                "SELECT alarm_id, arg_min(kind, transition_seq), arg_min(details->'$.attributes[0]', transition_seq) "
                "FROM alarm_transitions WHERE list_contains(?, alarm_id) GROUP BY alarm_id",
                [unknown],
            ).fetchall()
        known |= {
            alarm: "odd event" if attribute else _ABOUT.get(kind, kind.replace(".", " "))
            for alarm, kind, attribute in rows
        }
    return known


def clock(ns: int, zone: str) -> str:
    """A time for people: in the plant's zone, to the second, with the zone's name at that time.

    Examples
    --------
    >>> clock(1_750_000_000_000_000_000, "Europe/Rome"), clock(1_736_000_000_000_000_000, "Europe/Rome")
    ('2025-06-15 17:06:40 CEST', '2025-01-04 15:13:20 CET')
    """
    moment = datetime.fromtimestamp(ns // 10**9, tz=UTC).astimezone(ZoneInfo(zone))
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")


def asset_states(service: Service) -> list[tuple[str, str, str]]:
    """Stream, asset and worst state of every asset that is known, troubled ones first."""
    found: dict[tuple[str, str], str] = {}
    with service.history.cursor() as cursor:
        rows = cursor.execute("SELECT s.name, r.asset FROM series r JOIN streams s USING (stream_id)").fetchall()
    for stream, asset in rows:
        found[stream, asset] = "normal"
    for one in service.pipeline.annunciator.conditions():
        key = one.stream, one.asset
        found[key] = min(found.get(key, "normal"), one.state, key=_WORST.index)
    return sorted(((*key, state) for key, state in found.items()), key=lambda one: (_WORST.index(one[2]), one[:2]))


def newest_words(service: Service, alarm_id: str) -> dict[str, Any] | None:
    """The event of the newest transition that says why the alarm was raised; None where there is none."""
    with service.history.cursor() as cursor:
        found = newest_transitions(cursor, [alarm_id], active=True)
    if not found:
        return None
    (transition,) = found
    memory = service.pipeline.annunciator.memory
    # Of the whole stream, as things are labelled now; what was sent knew the same alarm's alone.
    like = [asdict(one) for one in memory.similar(alarm_id, transition.stream)]
    return dict(alarm_event(transition, service.pipeline.annunciator.rule(transition), like)["data"])


def curve_of(service: Service, words: dict[str, Any], started: int, ended: int | None) -> Curve | None:
    """The channel that carries most of an alarm, ten minutes around its episode; None for alarms without channels.

    Parameters
    ----------
    service, words
        The service, and what `newest_words` gave.
    started, ended
        The episode, ns UTC; None while it stands.
    """
    fault = words.get("fault") or {}
    if words["contributions"]:
        lead = words["contributions"][0]
    elif fault.get("channel"):
        lead = {"channel": fault["channel"], "lower": None, "upper": None, "expected": None}
    else:
        return None
    last = 2**62 if ended is None else ended + _AROUND_NS
    with service.history.cursor() as cursor:
        found = _points(cursor, words["stream"], words["asset"], lead["channel"], started - _AROUND_NS, last)
    step = max(1, len(found) // _MOST_POINTS)
    return Curve(
        lead["channel"],
        [[time, value] for time, value, _ in found[::step] if value is not None],
        [[time, p] for time, _, p in found[::step] if p is not None],
        lead["lower"], lead["upper"], lead["expected"], started // 10**6, None if ended is None else ended // 10**6,
    )  # fmt: skip


def _points(
    cursor: duckdb.DuckDBPyConnection, stream: str, asset: str, channel: str, first: int, last: int
) -> list[tuple[int, float | None, float | None]]:
    """Time in ms, value and p-value: the rows that were kept, and one-minute means where there are none."""
    place = cursor.execute(
        "SELECT stream_id, series, list_position(channels, ?) FROM series JOIN streams USING (stream_id) "
        "WHERE name = ? AND asset = ?",
        [channel, stream, asset],
    ).fetchone()
    if place is None or not place[2]:
        return []
    stream_id, series, column = place
    rows = cursor.execute(
        'SELECT epoch_ms(time), "values"[?], p_value FROM samples WHERE stream_id = ? AND series = ? '
        "AND epoch_ns(time) BETWEEN ? AND ? AND flags & 8 = 0",
        [column, stream_id, series, first, last],
    ).fetchall()
    minutes = cursor.execute(
        "SELECT epoch_ms(minute), mean, NULL FROM rollups WHERE stream_id = ? AND series = ? AND channel = ? "
        "AND epoch_ns(minute) BETWEEN ? AND ?",
        [stream_id, series, column - 1, first, last],
    ).fetchall()
    covered = {time // 60_000 for time, *_ in rows}
    return sorted(rows + [one for one in minutes if one[0] // 60_000 not in covered])


def timeline(service: Service, alarm_id: str, zone: str) -> list[dict[str, str]]:
    """Transitions, operators' actions and deliveries of an alarm, and its episodes as settled, the newest first."""
    with service.history.cursor() as cursor:
        transitions = cursor.execute(
            "SELECT epoch_ns(time), kind, severity FROM alarm_transitions WHERE alarm_id = ? "
            "ORDER BY transition_seq DESC LIMIT 100",
            [alarm_id],
        ).fetchall()
        actions = cursor.execute(
            'SELECT epoch_ns("time"), kind, operator, comment, label FROM alarm_actions WHERE alarm_id = ? '
            "ORDER BY action_seq DESC LIMIT 100",
            [alarm_id],
        ).fetchall()
        deliveries = cursor.execute(
            "SELECT epoch_ns(created_at), event_type, endpoint, status, attempts FROM outbox WHERE alarm_id = ? "
            "ORDER BY transition_seq DESC LIMIT 100",
            [alarm_id],
        ).fetchall()
        redrawn = cursor.execute(
            "SELECT epoch_ns(ended), epoch_ns(settled_started), epoch_ns(settled_ended) FROM episodes "
            "WHERE alarm_id = ? AND settled_started IS NOT NULL ORDER BY ended DESC LIMIT 100",
            [alarm_id],
        ).fetchall()
    found = [(time, "alarm", f"{kind}, {severity}") for time, kind, severity in transitions]
    for time, first, last in redrawn:
        found.append((time, "in hindsight", f"odd from {clock(first, zone)} to {clock(last, zone)}"))
    for time, kind, operator, comment, label in actions:
        text = f"{kind} {label or ''}".strip() + f" by {operator}" + (f": {comment}" if comment else "")
        found.append((time, "operator", text))
    for time, event, endpoint, status, attempts in deliveries:
        found.append((time, "webhook", f"{event} to {endpoint}: {status} after {attempts} attempts"))
    return [{"time": clock(time, zone), "what": what, "text": text} for time, what, text in sorted(found, reverse=True)]
