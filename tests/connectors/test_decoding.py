import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.decoding import MessageMapping, NumericDecoder, decode_time
from connectors.sources.base import RecordBatch
from tsad.series import SeriesTable

NOW = 1_700_000_000_000


def batch(values):
    n = len(values)
    return RecordBatch("t", 3, values, np.arange(100, 100 + n), np.full(n, 7, np.int64))


def decode(values, channels=None, **mapping):
    table = SeriesTable(channels)
    return NumericDecoder(MessageMapping(**mapping), table).decode(batch(values)), table


def wide(**fields):
    return json.dumps({"time": NOW, "asset": "pump-1", "values": {"flow": 1.5}, **fields}).encode()


def reasons(decoded):
    return [(r.index, r.reason) for r in decoded.rejected]


def test_wide_message_with_declared_channels():
    decoded, table = decode([wide(), wide(values={"pressure": 2, "flow": None})], channels=["flow", "pressure"])

    found = decoded.observations
    np.testing.assert_array_equal(found.values, np.array([[1.5, np.nan], [np.nan, 2.0]], np.float32))
    assert found.times.tolist() == [NOW * 1_000_000] * 2
    assert (found.partitions == 3).all()
    assert found.offsets.tolist() == [100, 101]
    assert table.assets == ("pump-1",)
    assert not decoded.rejected


def test_wide_message_that_brings_its_channels():
    decoded, table = decode([wide(), wide(values={"pressure": 2.0})])

    assert table.channel_names(0) == ("flow", "pressure")
    np.testing.assert_array_equal(decoded.observations.values, np.array([[1.5, np.nan], [np.nan, 2.0]], np.float32))


def test_long_messages():
    values = [
        json.dumps({"ts": NOW / 1000, "node": "n1", "tag": tag, "v": v}).encode() for tag, v in (("a", 1), ("b", 2.5))
    ]
    mapping = {"layout": "long", "time": "ts", "time_unit": "s", "asset": "node", "channel": "tag", "value": "v"}
    decoded, table = decode(values, **mapping)

    assert decoded.observations.channels.tolist() == [0, 1]
    assert decoded.observations.values[:, 0].tolist() == [1.0, 2.5]
    assert decoded.observations.times[0] == NOW * 1_000_000
    assert table.channel_names(0) == ("a", "b")


def test_long_message_of_one_channel():
    decoded, table = decode([b'{"time": 1700000000000, "asset": "s1", "value": 4}'], layout="long")

    assert table.channel_names(0) == ("value",)
    assert decoded.observations.values.tolist() == [[4.0]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "malformed_json"),
        (b"", "empty_message"),
        (None, "empty_message"),
        (b"   ", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"[1, 2]", "wrong_type"),
        (wide(time="soon"), "wrong_type"),
        (wide(values={"flow": "high"}), "wrong_type"),
        (wide(values={"flow": True}), "wrong_type"),
        (wide(values=[1.0]), "wrong_type"),
        (wide(asset=7), "wrong_type"),
        (wide(asset=""), "missing_field"),
        (b'{"time": 1700000000000, "values": {}}', "missing_field"),
        (wide(time=-5), "bad_time"),
        (wide(time=NOW * 1_000_000), "bad_time"),
        (wide(time=10**400), "bad_time"),
        (b"[" * 100_000, "wrong_type"),
        (b'{"extra": ' + b"[" * 100_000, "malformed_json"),
    ],
)
@pytest.mark.parametrize("channels", [None, ("flow",)])
def test_bad_records_are_set_aside_and_their_neighbours_kept(value, reason, channels):
    decoded, _ = decode([wide(), value, wide()], channels=channels)

    assert reasons(decoded) == [(1, reason)]
    assert decoded.rejected[0].detail
    assert decoded.observations.offsets.tolist() == [100, 102]


def test_nan_and_infinity_tokens_mean_no_value():
    decoded, _ = decode([b'{"time": 1700000000000, "asset": "a", "values": {"flow": NaN, "p": -Infinity, "q": 1}}'])

    assert not decoded.rejected
    np.testing.assert_array_equal(decoded.observations.values, np.array([[np.nan, np.nan, 1.0]], np.float32))


def test_a_number_too_large_for_float32_becomes_infinite_without_warning():
    decoded, _ = decode([wide(values={"flow": 1e300})])

    assert np.isinf(decoded.observations.values).all()


def test_lines_within_a_record_are_not_taken_for_records():
    # One record holds two documents, the other none: the counts agree, the records do not.
    decoded, _ = decode([wide() + b"\n" + wide(), b" ", wide()])

    assert reasons(decoded) == [(0, "malformed_json"), (1, "malformed_json")]
    assert decoded.observations.offsets.tolist() == [102]


def test_pretty_printed_records_are_fine():
    pretty = json.dumps(json.loads(wide()), indent=2).encode()
    decoded, _ = decode([pretty, wide()])

    assert len(decoded.observations) == 2
    assert not decoded.rejected


@pytest.mark.parametrize(
    ("policy", "rejected", "ignored"), [("ignore", [], 1), ("dead_letter", [(1, "unknown_asset")], 0)]
)
def test_unknown_assets_by_policy(policy, rejected, ignored):
    decoded, table = decode([wide(), wide(asset="pump-9")], assets=["pump-1"], unknown={"asset": policy})

    assert reasons(decoded) == rejected
    assert decoded.ignored["unknown_asset"] == ignored
    assert table.assets == ("pump-1",)
    assert decoded.observations.offsets.tolist() == [100]


def test_unknown_channel_of_a_wide_message_can_be_set_aside():
    values = [wide(), wide(values={"flow": 1, "level": 2})]
    strict, _ = decode(values, channels=["flow"], unknown={"channel": "dead_letter"})
    lenient, _ = decode(values, channels=["flow"])

    assert reasons(strict) == [(1, "unknown_channel")]
    assert len(lenient.observations) == 2


@pytest.mark.parametrize(
    ("policy", "rejected", "ignored"), [("ignore", [], 1), ("dead_letter", [(1, "unknown_channel")], 0)]
)
def test_unknown_channel_of_a_long_message_by_policy(policy, rejected, ignored):
    values = [json.dumps({"time": NOW, "asset": "a", "channel": c, "value": 1}).encode() for c in ("flow", "level")]
    decoded, _ = decode(values, channels=["flow"], layout="long", channel="channel", unknown={"channel": policy})

    assert reasons(decoded) == rejected
    assert decoded.ignored["unknown_channel"] == ignored
    assert len(decoded.observations) == 1


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1_700_000_000, "s", NOW * 1_000_000),
        (1_700_000_000.25, "s", NOW * 1_000_000 + 250_000_000),
        (NOW, "ms", NOW * 1_000_000),
        (NOW * 1000, "us", NOW * 1_000_000),
        (NOW * 1_000_000 + 1, "ns", NOW * 1_000_000 + 1),
        ("2023-11-14T22:13:20Z", "iso", NOW * 1_000_000),
        ("2023-11-14T23:13:20.000001+01:00", "iso", NOW * 1_000_000 + 1000),
        ("2023-11-14T22:13:20", "iso", NOW * 1_000_000),
    ],
)
def test_times_in_every_unit(value, unit, expected):
    assert decode_time(value, unit) == expected
    message = json.dumps({"time": value, "asset": "a", "values": {"x": 1}}).encode()
    decoded, _ = decode([message, message], time_unit=unit)
    assert decoded.observations.times.tolist() == [expected] * 2


@pytest.mark.parametrize(
    ("value", "unit"), [(math.nan, "s"), ("yesterday", "iso"), (1, "iso"), (True, "ms"), (10**30, "ns")]
)
def test_impossible_times_are_refused(value, unit):
    with pytest.raises(ValueError):
        decode_time(value, unit)


documents = st.one_of(
    st.builds(
        lambda asset, flow, time: json.dumps({"time": time, "asset": asset, "values": {"flow": flow}}).encode(),
        st.sampled_from(["a", "b", ""]),
        st.one_of(st.floats(width=32), st.none(), st.text(max_size=3), st.integers(-5, 5)),
        st.one_of(st.integers(0, 10**16), st.floats(), st.text(max_size=3)),
    ),
    st.binary(max_size=12),
    st.none(),
)


@given(st.lists(documents, max_size=12))
def test_every_record_is_either_used_or_set_aside_whatever_it_holds(values):
    together, _ = decode(values)
    used = set((together.observations.offsets - 100).tolist())

    assert used | {r.index for r in together.rejected} == set(range(len(values)))
    assert used.isdisjoint(r.index for r in together.rejected)
    # One by one gives the same verdicts as all at once.
    assert used == {i for i, value in enumerate(values) if len(decode([value])[0].observations)}


def test_mapping_refuses_a_field_twice():
    with pytest.raises(ValueError, match="must differ"):
        MessageMapping(time="t", asset="t")


def test_values_arrive_as_the_float32_that_was_sent():
    numbers = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    values = [msgspec.json.encode({"time": NOW, "asset": "a", "values": {"x": float(str(v))}}) for v in numbers]
    decoded, _ = decode(values)

    np.testing.assert_array_equal(decoded.observations.values[:, 0], numbers)
