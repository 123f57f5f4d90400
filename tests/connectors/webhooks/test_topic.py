"""Alarms on a topic of a real broker."""

import time

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from kafka import KafkaConsumer, TopicPartition

from connectors.alarm_event import alarm_event, encode_event
from connectors.errors import ConnectorSettingsError
from connectors.webhooks import Outcome, TopicEndpoint, WebhookSender, deliveries_for
from tests.connectors.encoders.events import transition


def topic_endpoint(bootstrap, topic, **more):
    return TopicEndpoint("alarms", (bootstrap,), topic, "urn:tsad:plant-1", **more)


def put(store, clock, endpoint, *transitions):
    for one in transitions:
        store.put(
            *deliveries_for(
                [endpoint], alarm_id=one.alarm_id, transition_seq=one.transition_seq, event_type=one.kind,
                body=encode_event(alarm_event(one)), created_at=clock.now,
            )
        )  # fmt: skip


def records(bootstrap, topic, count, partitions):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    consumer.seek_to_beginning()
    found, end = [], time.monotonic() + 30
    while len(found) < count and time.monotonic() < end:
        found += [record for batch in consumer.poll(500).values() for record in batch]
    consumer.close(autocommit=False, timeout_ms=2000)
    return found


def test_transitions_stand_in_the_topic_in_order_per_alarm(store, clock, kafka_bootstrap, make_topic):
    topic = make_topic(kafka_bootstrap, partitions=3)
    endpoint = topic_endpoint(kafka_bootstrap, topic)
    sender = WebhookSender(store.outbox, [endpoint], clock=clock)
    for seq in range(1, 5):
        kind = "alarm.raised" if seq % 2 else "alarm.cleared"
        put(store, clock, endpoint, *(transition(kind, alarm_id=f"alm_{n}", transition_seq=seq) for n in range(6)))
    while sender.run_once(clock.now):
        pass
    sender.stop()

    found = records(kafka_bootstrap, topic, 24, 3)
    assert len(found) == 24
    by_alarm = {}
    for record in found:
        event = from_kafka_event(KafkaMessage(dict(record.headers), record.key, record.value))
        assert record.key.decode() == event.get_attributes()["partitionkey"]
        by_alarm.setdefault(record.key, []).append(
            (record.partition, event.get_type(), event.get_attributes()["sequence"])
        )
    assert len(by_alarm) == 6
    for told in by_alarm.values():
        assert len({partition for partition, _, _ in told}) == 1
        assert [kind for _, kind, _ in told] == ["tsad.alarm.raised", "tsad.alarm.cleared"] * 2
        assert [sequence for _, _, sequence in told] == sorted(sequence for _, _, sequence in told)
    assert {str(entry.status) for entry in store.outbox.list()} == {"delivered"}


def test_a_broker_that_was_away_gets_everything_once_it_is_back(store, clock, restartable_broker, make_topic):
    topic = make_topic(restartable_broker.bootstrap)
    endpoint = topic_endpoint(restartable_broker.bootstrap, topic, timeout_seconds=3.0, retry_waits=(5.0,) * 9)
    sender = WebhookSender(store.outbox, [endpoint], clock=clock)
    put(store, clock, endpoint, transition(transition_seq=1))
    sender.run_once(clock.now)
    # Told to stop, and not killed, the broker writes what it has acknowledged to its disk.
    restartable_broker.stop()
    put(store, clock, endpoint, transition("alarm.cleared", transition_seq=2))
    sender.run_once(clock.now)
    waiting = store.outbox.list()[0]
    assert (waiting.event_type, str(waiting.status)) == ("alarm.cleared", "pending")
    assert store.outbox.attempts(waiting.webhook_id)[0].outcome is Outcome.RETRY
    restartable_broker.start()

    sender.run_once(clock.advance(6))
    sender.stop()

    assert str(store.outbox.list()[0].status) == "delivered"
    found = [dict(record.headers)["ce_type"].decode() for record in records(restartable_broker.bootstrap, topic, 2, 1)]
    assert found[0] == "tsad.alarm.raised"
    assert set(found[1:]) == {"tsad.alarm.cleared"}


@pytest.mark.parametrize(
    ("changes", "message"), [({"bootstrap": ()}, "bootstrap is empty"), ({"topic": ""}, "topic must have")]
)
def test_settings_that_cannot_be(changes, message):
    values = {"name": "alarms", "bootstrap": ("h:1",), "topic": "t", "source": "urn:x"} | changes
    with pytest.raises(ConnectorSettingsError, match=message):
        TopicEndpoint(**values)


def test_passwords_are_masked():
    endpoint = topic_endpoint("h:1", "t", options={"sasl_plain_password": "hunter2hunter2"})
    assert "hunter2" not in repr(endpoint)
    assert endpoint.masked("login with hunter2hunter2 failed") == "login with *** failed"
