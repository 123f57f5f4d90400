"""The Kafka sources against a broker."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from connectors.sources.confluent import ConfluentSource
from connectors.sources.kafka import KafkaSource
from connectors.sources.kafka_records import _fast, read_fast

SOURCES = [KafkaSource]
try:
    import confluent_kafka  # noqa: F401

    SOURCES.append(ConfluentSource)
except ImportError:
    pass


def read(source, n, deadline=20):
    """Poll until `n` records have come."""
    batches, end = [], time.monotonic() + deadline
    while sum(len(b) for b in batches) < n:
        batches += source.poll(0.2)
        assert time.monotonic() < end, f"{source.health}; got {sum(len(b) for b in batches)} of {n}"
    return batches


@pytest.fixture(params=SOURCES, ids=lambda s: s.__name__)
def make_source(request):
    made = []

    def make(*arguments, **options):
        made.append(request.param(*arguments, **options))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
def test_hands_over_every_record_once_in_order(kafka_bootstrap, make_topic, produce, make_source, codec):
    topic = make_topic(kafka_bootstrap, partitions=3)
    produce(kafka_bootstrap, topic, [(i % 3, b"%d" % i) for i in range(300)], compression_type=codec)
    source = make_source([kafka_bootstrap], [topic])
    source.open({})

    batches = read(source, 300)

    for partition in range(3):
        own = [v for b in batches if b.partition == partition for v in b.values]
        assert own == [b"%d" % i for i in range(300) if i % 3 == partition]
        offsets = [o for b in batches if b.partition == partition for o in b.offsets.tolist()]
        assert offsets == list(range(100))
    assert all(abs(b.arrivals / 1e9 - time.time()).max() < 3600 for b in batches)


def test_begins_at_stored_positions(kafka_bootstrap, make_topic, produce, make_source):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, b"%d" % i) for i in range(10)])
    source = make_source([kafka_bootstrap], [topic])
    source.open({(topic, 0): 7})

    assert [v for b in read(source, 3) for v in b.values] == [b"7", b"8", b"9"]


def test_latest_passes_over_what_is_there(kafka_bootstrap, make_topic, produce, make_source):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, b"old")])
    source = make_source([kafka_bootstrap], [topic], start="latest")
    source.open({})
    end = time.monotonic() + 20
    while not source.health.connected:
        assert source.poll(0.1) == []
        assert time.monotonic() < end
    produce(kafka_bootstrap, topic, [(0, b"new")])

    assert [v for b in read(source, 1) for v in b.values] == [b"new"]


def test_expired_records_are_told_and_reading_goes_on(kafka_bootstrap, make_topic, produce, make_source):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, b"%d" % i) for i in range(5)])
    source = make_source([kafka_bootstrap], [topic])
    source.open({(topic, 0): 1000})  # beyond the end: the topic was made anew

    assert len([v for b in read(source, 5) for v in b.values]) == 5
    assert [(g.expected, g.found) for g in source.take_gaps()] == [(1000, 0)]
    assert source.take_gaps() == []


def test_paused_source_hands_over_nothing(kafka_bootstrap, make_topic, produce, make_source):
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, b"1")])
    source = make_source([kafka_bootstrap], [topic])
    source.open({})
    read(source, 1)
    source.set_paused(True)
    produce(kafka_bootstrap, topic, [(0, b"2")])
    assert [source.poll(0.2) for _ in range(5)] == [[]] * 5
    source.set_paused(False)

    assert [v for b in read(source, 1) for v in b.values] == [b"2"]


def test_topic_that_does_not_exist_yet_is_waited_for(kafka_bootstrap, make_topic, produce):
    source = KafkaSource([kafka_bootstrap], ["not-there-yet", make_topic(kafka_bootstrap)])
    source.open({})
    end = time.monotonic() + 20
    while "waiting for topic 'not-there-yet'" not in source.health.detail:
        source.poll(0.1)
        assert time.monotonic() < end
    source.close()


def test_broker_that_is_away_is_said_and_tried_again(restartable_broker, make_topic, produce):
    broker = restartable_broker
    topic = make_topic(broker.bootstrap)
    produce(broker.bootstrap, topic, [(0, b"1")])
    broker.stop()
    source = KafkaSource([broker.bootstrap], [topic])
    source.open({})
    source.poll(0.1)
    assert not source.health.connected
    assert broker.bootstrap in source.health.detail
    broker.start()

    assert [v for b in read(source, 1, deadline=40) for v in b.values] == [b"1"]
    assert source.health.connected
    source.close()


def test_broker_that_vanishes_is_noticed_and_its_return_too(restartable_broker, make_topic, produce):
    broker = restartable_broker
    topic = make_topic(broker.bootstrap)
    produce(broker.bootstrap, topic, [(0, b"1")])
    source = KafkaSource([broker.bootstrap], [topic])
    source.open({})
    read(source, 1)
    broker.stop()
    end = time.monotonic() + 40
    while source.health.connected:
        source.poll(0.2)
        assert time.monotonic() < end
    broker.start()
    produce(broker.bootstrap, topic, [(0, b"2")])

    assert [v for b in read(source, 1, deadline=60) for v in b.values] == [b"2"]
    source.close()


def test_aborted_transactions_are_not_seen(kafka_bootstrap, make_topic):
    topic = make_topic(kafka_bootstrap)
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=f"tx-{topic}", linger_ms=0)
    producer.init_transactions()
    for value, commit in ((b"kept", True), (b"dropped", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.send(topic, value, partition=0)
        producer.commit_transaction() if commit else producer.abort_transaction()
    producer.close(10)
    source = KafkaSource([kafka_bootstrap], [topic])
    source.open({})

    assert [v for b in read(source, 2) for v in b.values] == [b"kept", b"kept too"]
    source.close()


records = st.lists(
    st.tuples(
        st.one_of(st.none(), st.binary(max_size=200)),
        st.one_of(st.none(), st.binary(max_size=400)),
        st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=4)), max_size=3),
        st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=20,
)


def build(rows, compression=0):
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 20,
    )  # fmt: skip
    for offset, (key, value, headers, time_ms) in enumerate(rows):
        builder.append(offset, time_ms, key, value, headers)
    return bytes(builder.build())


@given(records, st.sampled_from([0, 1, 2, 3, 4]))
def test_fast_records_equal_those_of_kafka_python(rows, compression):
    data = build(rows, compression)
    expected = [(r.offset, r.timestamp, r.value) for r in DefaultRecordBatch(data)]

    assert [tuple(r) for r in _fast(DefaultRecordBatch(data))] == expected


@given(records, st.data())
def test_damaged_batches_never_crash_the_reader(rows, data):
    from kafka.errors import CorruptRecordError

    damaged = bytearray(build(rows))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(61, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = list(_fast(DefaultRecordBatch(bytes(damaged))))
    except CorruptRecordError:
        return
    assert len(found) == len(rows)


def test_an_unknown_client_is_left_as_it_is(kafka_bootstrap, monkeypatch):
    monkeypatch.delattr(DefaultRecordBatch, "_maybe_uncompress")
    assert read_fast(object()) is False


def test_fast_and_plain_reading_agree_on_a_broker(kafka_bootstrap, make_topic, produce):
    topic = make_topic(kafka_bootstrap)
    values = [np.random.default_rng(i).bytes(i % 50) for i in range(200)]
    produce(kafka_bootstrap, topic, [(0, v) for v in values], compression_type="lz4")
    source = KafkaSource([kafka_bootstrap], [topic])
    source.open({})
    fast = [v for b in read(source, 200) for v in b.values]
    source.close()
    consumer = KafkaConsumer(bootstrap_servers=kafka_bootstrap, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    plain = []
    end = time.monotonic() + 20
    while len(plain) < 200 and time.monotonic() < end:
        plain += [r.value for found in consumer.poll(500).values() for r in found]
    consumer.close(autocommit=False, timeout_ms=2000)

    assert fast == plain == values


def test_a_missing_crc32c_is_said(monkeypatch):
    from structlog.testing import capture_logs

    from connectors.sources import kafka as module

    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with capture_logs() as logs:
        KafkaSource(["127.0.0.1:1"], ["t"])
    assert "five times slower" in logs[0]["event"]
    assert "kafka-python[crc32c]" in logs[0]["remedy"]
