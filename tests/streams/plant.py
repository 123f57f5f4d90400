"""A small plant for the daemon's tests: messages with planted faults, and what a history holds."""

import json

import numpy as np

START = 1_750_000_000_000  # ms
CHANNELS = ["flow", "pressure"]
SECRET = "whsec_" + "A" * 43 + "="


def messages(rows=400, assets=2, seed=0):
    """Wide messages of `assets` pumps in time order; each has a fault of its own after row 250."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, assets, 2)).astype(np.float32)
    for asset in range(assets):
        values[280 + 10 * asset : 300 + 10 * asset, asset, 0] += 15
    return [
        json.dumps(
            {
                "time": START + 1000 * row,
                "asset": f"pump-{asset}",
                "values": {name: float(str(values[row, asset, c])) for c, name in enumerate(CHANNELS)},
            }
        ).encode()
        for row in range(rows)
        for asset in range(assets)
    ]


def event_messages(n=1500, seed=0):
    """Events of four users with habits, which some break after event 900; from event 1,200 on they come in a flood."""
    rng = np.random.default_rng(seed)
    who, host = rng.integers(0, 4, n), rng.integers(0, 2, n)
    odd = (np.arange(n) > 900) & (rng.random(n) < 0.01)
    gap = np.where(np.arange(n) < 1200, 800, 80)
    return [
        json.dumps(
            {"time": START + int(time), "user": f"u{w}", "host": "vault" if o else f"h{2 * w + h}", "detail": [1]}
        ).encode()
        for time, w, h, o in zip(np.cumsum(gap), who, host, odd, strict=True)
    ]


def event_stream(**changes):
    return {
        "kind": "events",
        "name": "access",
        "topic": "plant.access",
        "scoring": {
            "attributes": ["user", "host"],
            "asset": "user",
            "detectors": ["pairwise-conditional", "rarity"],
            "train_events": 600,
            "learn_events": 400,
            "alarm": {"false_alarms_per_day": 100, "off_delay": "30s"},
        },
        "rate": {"step": "5s", "train_rows": 90, "alarm": {"false_alarms_per_day": 200}},
        **changes,
    }


def stream(**changes):
    return {
        "kind": "numeric",
        "name": "pumps",
        "topic": "plant",
        "step": 1,
        "train_rows": 200,
        # A prefix this short would otherwise have to vouch for 86,400 rows.
        "alarm": {"false_alarms_per_day": 20},
        "history": {"keep": "full"},
        **changes,
    }


def document(path, *, webhook=None, **changes):
    hooks = [{"name": "room", "url": webhook, "secrets": [SECRET]}] if webhook else []
    return {
        "source": {"kind": "kafka", "bootstrap": ["127.0.0.1:1"]},
        "streams": [stream()],
        "history": {"path": str(path)},
        "http": {"enabled": False},
        "webhooks": hooks,
        **changes,
    }


QUERIES = {
    "samples": """SELECT s.name, r.asset, epoch_ns(x.time), x."values", x.flags, x.scores, x.verdict, x.p_value,
        x.threshold, x.alarm, x.reason, x.partition, x.record_offset FROM samples x JOIN streams s USING (stream_id)
        JOIN series r USING (stream_id, series)""",
    "rollups": """SELECT s.name, r.asset, u.channel, epoch_ns(u.minute), u.count, u.low, u.high, u.mean,
        u.lowest_p_value FROM rollups u JOIN streams s USING (stream_id) JOIN series r USING (stream_id, series)""",
    "delayed_scores": """SELECT s.name, r.asset, epoch_ns(d.time), d.delay, d.score, d.level FROM delayed_scores d
        JOIN streams s USING (stream_id) JOIN series r USING (stream_id, series)""",
    "episodes": "SELECT * FROM episodes",
    "transitions": "SELECT * FROM alarm_transitions",
    "outbox": "SELECT webhook_id, endpoint, alarm_id, transition_seq, event_type, body FROM outbox",
    "dead_letters": "SELECT topic, partition, record_offset, reason, detail, payload FROM dead_letters",
    "events": """SELECT epoch_ns(time), payload, partition, record_offset, scores, verdict, p_value, threshold, odd,
        unseen FROM events""",
    "conditions": "SELECT * FROM alarm_conditions",
    "positions": "SELECT * FROM positions",
    "counters": "SELECT * FROM counters",
    "fits": "SELECT stream, asset, epoch_ns(time), rows, problem FROM fits",
}


def contents(history):
    """Everything in a history that must not depend on how the work was cut up, sorted."""
    with history.cursor() as cursor:
        return {name: sorted(map(repr, cursor.execute(query).fetchall())) for name, query in QUERIES.items()}
