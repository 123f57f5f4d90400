"""What a quality code makes of its value, by coding and by layout."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.decoding import MessageMapping, NumericDecoder
from connectors.sources.base import RecordBatch
from tsad.series import SeriesTable

NOW = 1_700_000_000_000
TABLE = [
    ("opc_ua", 0x00000000, "good"),
    ("opc_ua", 0x00000480, "good"),  # limit bits with an info type
    ("opc_ua", 0x40A40000, "uncertain"),
    ("opc_ua", 0x80000000, "bad"),
    ("opc_ua", 0x808A0000, "bad"),
    ("opc_ua", 0xC0000000, "bad"),
    ("opc_ua", 192, "unknown"),  # a gateway that still speaks OPC DA
    ("opc_ua", 64, "unknown"),
    ("opc_ua", -1, "unknown"),
    ("opc_ua", 1 << 40, "unknown"),
    ("opc_da", 192, "good"),
    ("opc_da", 216, "good"),
    ("opc_da", 64, "uncertain"),
    ("opc_da", 0, "bad"),
    ("opc_da", 24, "bad"),
    ("opc_da", 128, "unknown"),
    ("opc_da", 0x80000000, "unknown"),
    ("sparkplug", 192, "good"),
    ("sparkplug", 0, "bad"),
    ("sparkplug", 500, "stale"),
    ("sparkplug", 64, "unknown"),
    ("text", "Good", "good"),
    ("text", " uncertain", "uncertain"),
    ("text", "BAD", "bad"),
    ("text", "stale", "stale"),
    ("text", "fine", "unknown"),
]


def decode(messages, channels=None, **mapping):
    n = len(messages)
    values = [json.dumps(message).encode() for message in messages]
    batch = RecordBatch("t", 3, values, np.arange(100, 100 + n), np.full(n, 7, np.int64))
    return NumericDecoder(MessageMapping(**mapping), SeriesTable(channels)).decode(batch)


def wide(quality=None, **values):
    said = {} if quality is None else {"quality": quality}
    return {"time": NOW, "asset": "p", "values": values, **said}


@pytest.mark.parametrize(("coding", "code", "quality"), TABLE)
@pytest.mark.parametrize("layout", ["wide", "by channel", "long"])
def test_a_code_decides_whether_its_value_counts(coding, code, quality, layout):
    mapping = {"quality": {"coding": coding}}
    if layout == "long":
        message = {"time": NOW, "asset": "p", "value": 1.5, "quality": code}
        found = decode([message], layout="long", **mapping)
        value = found.observations.values[0, 0]
    else:
        found = decode([wide({"a": code} if layout == "by channel" else code, a=1.5)], **mapping)
        value = found.observations.values[0, 0]
    assert not found.rejected
    assert found.ignored == {f"quality_{quality}": 1}
    assert (value == np.float32(1.5)) if quality in {"good", "uncertain"} else np.isnan(value)


@pytest.mark.parametrize("channels", [None, ("a", "b")])
def test_codes_by_channel_leave_the_others_alone(channels):
    found = decode([wide({"a": 0, "c": 0}, a=1.0, b=2.0), wide(a=3.0, b=4.0)], channels, quality={"coding": "opc_da"})

    np.testing.assert_array_equal(found.observations.values, np.array([[np.nan, 2], [3, 4]], np.float32))
    assert found.ignored == {"quality_bad": 1, "quality_good": 3}


def test_what_is_missing_anyway_is_not_counted():
    found = decode([wide(0, a=None)], quality={"coding": "opc_da"})

    assert found.ignored == {}


def test_a_code_of_another_type_is_a_dead_letter():
    sent = [wide("Good", a=1.0), wide([1], a=1.0), wide({"a": "x"}, a=1.0), wide(1.5, a=1.0), wide(192, a=1.0)]
    found = decode(sent, quality={"coding": "opc_da"})

    assert [(r.index, r.reason) for r in found.rejected] == [(i, "wrong_type") for i in range(4)]
    assert found.observations.offsets.tolist() == [104]


def test_the_field_has_a_name_of_its_own():
    with pytest.raises(ValueError, match="must differ"):
        MessageMapping(quality={"field": "time", "coding": "text"})


@given(st.lists(st.tuples(st.integers(-(2**40), 2**40), st.booleans()), max_size=8))
def test_every_value_is_counted_once_and_messages_do_not_know_each_other(codes):
    sent = [wide({"a": code, "b": 0} if each else code, a=1.0, b=2.0) for code, each in codes]
    found = decode(sent, ("a", "b"), quality={"coding": "opc_ua"})
    alone = [decode([message], ("a", "b"), quality={"coding": "opc_ua"}) for message in sent]

    assert sum(found.ignored.values()) == 2 * len(codes)
    for row, one in zip(found.observations.values, alone, strict=True):
        np.testing.assert_array_equal(row, one.observations.values[0])
