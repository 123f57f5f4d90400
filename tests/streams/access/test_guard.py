"""The HTTP door on a real server: who is let in, for what, how often, with how much; and what is written down."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.access.limits import RateLimiter
from streams.access.settings import HttpSettings
from streams.access.tokens import new_token, token_hash
from streams.configuration import Configuration
from streams.errors import StreamsError
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.streams.plant import document, messages, stream

TOKENS = {role: new_token() for role in ("viewer", "operator", "admin")}
EXPIRED = new_token()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def token_settings():
    entries = [{"name": f"the {role}", "role": role, "hash": token_hash(token)} for role, token in TOKENS.items()]
    past = (NOW - timedelta(seconds=1)).isoformat()
    return [*entries, {"name": "old", "role": "admin", "hash": token_hash(EXPIRED), "expires": past}]


class Clock:
    def __init__(self):
        self.moment, self.seconds = NOW, 0.0

    def now(self):
        return self.moment

    def monotonic(self):
        return self.seconds


@pytest.fixture
def door(tmp_path):
    """Opens doors with settings of the test's: (clock, client) of a plant with an alarm."""
    opened = []

    def open_door(tls=None, verify=True, **settings):
        clock = Clock()
        path = tmp_path / f"{len(opened)}.duckdb"
        history = History(path)
        configuration = Configuration.model_validate(
            document(path, streams=[stream(detectors=["robust"])], http={"tls": tls, **settings})
        )
        service = Service(configuration, MemorySource({"plant": messages()}), history, now=clock.now)
        service.start()
        assert service.wait(60)
        app = create_application(service, monotonic=clock.monotonic)
        server = HttpServer(app, "127.0.0.1", 0, tls=configuration.http.tls)
        server.start()
        scheme = "https" if tls else "http"
        client = httpx.Client(base_url=f"{scheme}://127.0.0.1:{server.port}", trust_env=False, verify=verify)
        opened.append((server, client, history))
        return clock, client

    yield open_door
    for server, client, history in opened:
        client.close()
        server.stop()
        history.close()


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_a_role_may_do_what_it_is_for_and_no_more(door):
    _, client = door(tokens=token_settings())
    alarm = client.get("/api/v1/alarms", headers=bearer(TOKENS["viewer"])).json()[0]["alarm_id"]
    comment = f"/api/v1/alarms/{alarm}/comment"
    replay = {"webhook_ids": []}
    expected = {
        "viewer": (200, 403, 403, 403, 403),
        "operator": (200, 200, 403, 403, 403),
        "admin": (200, 200, 200, 200, 200),
    }
    for role, statuses in expected.items():
        got = (
            client.get("/metrics", headers=bearer(TOKENS[role])).status_code,
            client.post(comment, json={"comment": "seen"}, headers=bearer(TOKENS[role])).status_code,
            client.post("/api/v1/webhooks/replay", json=replay, headers=bearer(TOKENS[role])).status_code,
            client.get("/api/v1/audit", headers=bearer(TOKENS[role])).status_code,
            client.get("/api/v1/configuration", headers=bearer(TOKENS[role])).status_code,
        )
        assert got == statuses, role
    trail = client.get(f"/api/v1/alarms/{alarm}", headers=bearer(TOKENS["viewer"])).json()["actions"]
    assert [one["operator"] for one in trail] == ["the admin", "the operator"]


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "there is no Authorization header"),
        (bearer("tsad_wrong"), "the token is not known"),
        ({"authorization": "Bearer"}, "there is no Authorization header"),
        ({"authorization": f"Basic {TOKENS['admin']}"}, "must be 'Bearer TOKEN'"),
        (bearer(EXPIRED), "the token of 'old' expired at 2025-12-31T23:59:59"),
        ({"cookie": "tsad_session=guessed"}, "there is no Authorization header"),
    ],
)
def test_who_is_not_let_in_is_told_why_and_written_down(door, headers, why):
    _, client = door(tokens=token_settings())
    answer = client.get("/api/v1/alarms", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert why in answer.json()["error"]
    [entry] = client.get("/api/v1/audit", headers=bearer(TOKENS["admin"])).json()
    assert (entry["principal"], entry["path"], entry["status"]) == (None, "/api/v1/alarms", 401)
    assert why in entry["detail"]
    assert client.get("/healthz").json() == {"alive": False}  # its source has ended; nobody is asked for a token


def test_a_token_expires_while_the_service_runs(door):
    tokens = token_settings()
    tokens[0]["expires"] = (NOW + timedelta(hours=1)).isoformat()
    clock, client = door(tokens=tokens)
    assert client.get("/metrics", headers=bearer(TOKENS["viewer"])).status_code == 200
    clock.moment += timedelta(hours=1)
    assert client.get("/metrics", headers=bearer(TOKENS["viewer"])).status_code == 401


def test_callers_are_slowed_down_one_by_one(door):
    clock, client = door(tokens=token_settings(), requests_per_minute=3)
    viewer, operator = bearer(TOKENS["viewer"]), bearer(TOKENS["operator"])
    assert [client.get("/metrics", headers=viewer).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert client.get("/metrics", headers=viewer).headers["retry-after"] == "21"
    assert client.get("/metrics", headers=operator).status_code == 200
    clock.seconds += 20
    assert [client.get("/metrics", headers=viewer).status_code for _ in range(2)] == [200, 429]


def test_refusals_do_not_fill_the_audit_log_and_do_not_lock_out_who_has_a_token(door):
    _, client = door(tokens=token_settings())
    statuses = [client.get("/metrics", headers=bearer("wrong")).status_code for _ in range(30)]
    assert statuses == [401] * 10 + [429] * 20
    assert len(client.get("/api/v1/audit", headers=bearer(TOKENS["admin"])).json()) == 10


def test_a_body_is_no_larger_than_it_may_be_however_it_comes(door):
    _, client = door(largest_body=1000)
    whole = client.post("/api/v1/webhooks/replay", content=b"x" * 1001)
    in_pieces = client.post("/api/v1/webhooks/replay", content=iter([b"x" * 600, b"x" * 600]))
    for answer in (whole, in_pieces):
        assert answer.status_code == 413
        assert "larger than 1000 bytes" in answer.json()["error"]
    assert client.post("/api/v1/webhooks/replay", json={"webhook_ids": []}).status_code == 200


def test_a_page_of_somebody_else_gets_nothing_by_another_name(door):
    _, client = door()
    assert client.get("/metrics").status_code == 200
    for name in ("attacker.example", "attacker.example:80", "[::1", ""):
        assert client.get("/metrics", headers={"host": name}).status_code in {400, 421}
    assert client.get("/metrics", headers={"host": "localhost:1"}).status_code == 200
    _, named = door(hosts=["plant.example"])
    assert named.get("/metrics", headers={"host": "plant.example"}).status_code == 200


def test_every_answer_has_its_safety_headers_and_none_opens_other_origins(door):
    _, client = door(tokens=token_settings())
    for path, status in (("/healthz", 503), ("/metrics", 401), ("/console/login", 200), ("/nowhere", 401)):
        answer = client.get(path, headers={"origin": "https://attacker.example"})
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_logging_in_opens_the_console_alone_and_logging_out_closes_it(door):
    clock, client = door(tokens=token_settings(), session="1h")
    assert client.post("/console/login", data={"token": "wrong"}).status_code == 401
    answer = client.post("/console/login", data={"token": TOKENS["operator"]})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    # Logged in, the path is looked for; this door has no console behind it.
    assert client.get("/console/").status_code == 404
    assert client.get("/api/v1/alarms").status_code == 401
    clock.moment += timedelta(hours=1)
    assert client.get("/console/").status_code == 401
    assert client.get("/console/", headers={"accept": "text/html"}).headers["location"] == "/console/login"
    client.post("/console/login", data={"token": TOKENS["operator"]})
    assert client.get("/console/logout").status_code == 303
    assert client.get("/console/").status_code == 401


def test_guessing_at_the_log_in_page_is_slowed_down(door):
    clock, client = door(tokens=token_settings())
    statuses = [client.post("/console/login", data={"token": "guess"}).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    clock.seconds += 6
    assert client.post("/console/login", data={"token": TOKENS["viewer"]}).status_code == 303


def test_tls_serves_what_the_certificate_is_for(door, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    issued.private_key_pem.write_to_path(key)
    for part in issued.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = {"certificate": str(certificate), "key": str(key)}
    _, client = door(tls=tls, verify=context, tokens=token_settings())
    answer = client.post("/console/login", data={"token": TOKENS["viewer"]})
    assert "secure" in answer.headers["set-cookie"].lower()
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(client.base_url, trust_env=False)
    with pytest.raises(StreamsError, match=r"http\.tls: the certificate and its key cannot be used"):
        door(tls={"certificate": str(key), "key": str(certificate)}, verify=context)


def test_raw_nonsense_is_answered_and_the_door_stays_open(door):
    _, client = door(tokens=token_settings())
    for garbage in (b"GET /../../etc/passwd HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", b"\x16\x03\x01\x00\xff\r\n\r\n"):
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=5) as raw:
            raw.sendall(garbage)
            assert raw.recv(100).split()[1] in {b"400", b"401"}
    assert "alive" in client.get("/healthz").json()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"host": "0.0.0.0"}, r"http\.tokens names nobody"),
        ({"tokens": [{"name": "a", "role": "king", "hash": token_hash("x")}]}, "role"),
        ({"tokens": [{"name": "a", "role": "viewer", "hash": "tsad_the-token-itself"}]}, "hash"),
        ({"tokens": [{"name": n, "role": "viewer", "hash": token_hash(n)} for n in "aa"]}, "the name 'a' stands twice"),
        ({"tokens": [{"name": n, "role": "viewer", "hash": token_hash("x")} for n in "ab"]}, "the hash .* twice"),
        ({"tls": {"certificate": "nowhere.crt", "key": "nowhere.key"}}, "certificate nowhere.crt is not there"),
    ],
)
def test_settings_that_would_leave_the_door_open_stop_the_start(settings, problem):
    with pytest.raises(ValidationError, match=problem):
        HttpSettings.model_validate(settings)


@given(
    per_minute=st.integers(1, 100),
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60),
)
def test_no_stretch_of_time_lets_more_through_than_a_burst_and_the_rate(per_minute, gaps):
    clock = Clock()
    limiter = RateLimiter(per_minute, clock.monotonic)
    passed = []
    for gap in gaps:
        clock.seconds += gap
        wait = limiter.wait("caller")
        if wait == 0:
            passed.append(clock.seconds)
        else:
            assert limiter.exhausted("caller") == wait
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= per_minute + (passed[last] - start) * per_minute / 60 + 1e-6


def test_a_limiter_remembers_no_more_callers_than_it_may():
    limiter = RateLimiter(5, lambda: 0.0, most_callers=3)
    for caller in range(100):
        limiter.wait(str(caller))
    assert len(limiter._buckets) == 3
