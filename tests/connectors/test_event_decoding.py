import json

import numpy as np
import pytest

from connectors.event_decoding import EventDecoder
from connectors.sources.base import RecordBatch

ARRIVAL = 1_750_000_000_000


def decode(values, attributes=("user", "port"), **changes):
    n = len(values)
    records = [v if v is None or isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    batch = RecordBatch("events", 3, records, np.arange(10, 10 + n), np.full(n, ARRIVAL * 10**6))
    return EventDecoder("time", "ms", attributes, **changes).decode(batch)


def test_values_become_texts():
    found = decode(
        [{"time": ARRIVAL, "user": "ann", "port": port} for port in (22, "22", 1.5, True, None)] + [{"time": ARRIVAL}]
    )

    assert found.columns["port"] == ["22", "22", "1.5", "true", None, None]
    assert found.columns["user"][-1] is None
    assert found.times.tolist() == [ARRIVAL * 10**6] * 6
    assert json.loads(found.payloads[0]) == {"time": ARRIVAL, "user": "ann", "port": 22}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "empty_message"),
        (b"", "empty_message"),
        (b"{", "malformed_json"),
        (b"\xff{}", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b"[1]", "wrong_type"),
        (b"{}", "missing_field"),
        ({"time": "soon"}, "bad_time"),
        ({"time": 10**40}, "bad_time"),
        ({"time": ARRIVAL, "user": ["ann"]}, "wrong_type"),
        ({"time": ARRIVAL, "user": {"name": "ann"}}, "wrong_type"),
        ({"time": ARRIVAL + 301_000, "user": "ann"}, "time_in_future"),
    ],
)
def test_bad_records_are_set_aside_and_their_neighbours_used(record, reason):
    found = decode([{"time": ARRIVAL, "user": "ann"}, record, {"time": ARRIVAL, "user": "bob"}])

    assert [(r.index, r.reason) for r in found.rejected] == [(1, reason)]
    assert found.kept.tolist() == [0, 2]
    assert found.columns["user"] == ["ann", "bob"]


def test_without_attributes_only_the_time_counts():
    found = decode([{"time": ARRIVAL, "user": ["ann"]}], attributes=())
    assert (len(found.times), found.columns) == (1, {})
