import threading

import pytest

from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_feed import NANOSECONDS, Outgoing
from tsad_cli.demo_publisher import Pace, Publisher


class Future:
    def __init__(self, exception=None):
        self.is_done, self.exception = True, exception


class FakeProducer:
    """Keeps what it is given, with the time; fails from a record on when told to."""

    def __init__(self, clock, fail_at=None):
        self.clock, self.fail_at = clock, fail_at
        self.sent, self.flushed, self.closed = [], False, threading.Event()

    def send(self, topic, value, key):
        self.sent.append((self.clock(), topic, key, value))
        return Future(OSError("gone") if self.fail_at is not None and len(self.sent) > self.fail_at else None)

    def flush(self, timeout):
        self.flushed = True

    def close(self, timeout):
        self.closed.set()


class FakeClock:
    """Jumps ahead whenever it is asked, so that nothing waits for long."""

    def __init__(self, step):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def records(n):
    return [Outgoing("plant.pumps", b"pump-1", str(i).encode(), i * NANOSECONDS) for i in range(n)]


def test_event_time_runs_evenly_over_the_seconds_given():
    pace = Pace(100 * NANOSECONDS, 300 * NANOSECONDS, 10.0)
    assert pace.due(100 * NANOSECONDS) == 0.0
    assert pace.due(200 * NANOSECONDS) == 5.0
    assert pace.due(300 * NANOSECONDS) == 10.0


def test_everything_is_sent_in_order_and_never_before_it_is_due():
    clock = FakeClock(0.2)
    producer = FakeProducer(lambda: clock.now)
    publisher = Publisher(producer, records(20), Pace(0, 20 * NANOSECONDS, 2.0), clock=clock)
    publisher.start()
    assert producer.closed.wait(10)
    publisher.stop()
    assert publisher.finished
    assert [int(value) for *_, value in producer.sent] == list(range(20))
    began = 0.2
    assert all(at - began >= int(value) * 0.1 - 1e-9 for at, *_, value in producer.sent)
    assert publisher.sent == {"plant.pumps": 20}
    assert publisher.total == 20
    assert publisher.reached == 19 * NANOSECONDS
    assert producer.flushed


def test_a_publisher_that_is_stopped_flushes_and_is_not_finished():
    producer = FakeProducer(lambda: 0.0)
    publisher = Publisher(producer, records(3), Pace(0, 3 * NANOSECONDS, 3000.0), clock=lambda: 0.0)
    publisher.start()
    publisher.stop()
    assert not publisher.finished
    assert producer.flushed
    assert producer.closed.is_set()


def test_a_record_that_cannot_be_delivered_is_not_passed_over():
    clock = FakeClock(1.0)
    producer = FakeProducer(lambda: clock.now, fail_at=2)
    publisher = Publisher(producer, records(5), Pace(0, 5 * NANOSECONDS, 1.0), clock=clock)
    publisher.start()
    assert producer.closed.wait(10)
    publisher.stop()
    with pytest.raises(DemoError, match="gone"):
        _ = publisher.finished
