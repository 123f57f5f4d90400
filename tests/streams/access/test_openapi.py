"""The API fuzzed by its own description: whatever a client sends, no answer is 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.access.tokens import new_token, token_hash
from streams.configuration import Configuration
from streams.http import create_application
from streams.service import Service
from tests.streams.plant import document, event_messages, event_stream, messages, stream

TOKEN = new_token()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "h.duckdb"
    tokens = [{"name": "fuzz", "role": "admin", "hash": token_hash(TOKEN)}]
    with History(path) as history:
        service = Service(
            Configuration.model_validate(
                document(
                    path,
                    history={"path": str(path), "exports": str(path.parent / "exports")},
                    streams=[stream(detectors=["robust"]), event_stream(rate=None)],
                    http={"tokens": tokens, "requests_per_minute": 10**6, "hosts": ["testserver"]},
                )
            ),
            MemorySource({"plant": messages(), "plant.access": event_messages()}),
            history,
        )
        service.start()
        assert service.wait(60)
        yield schemathesis.openapi.from_asgi(
            "/api/v1/openapi.json", create_application(service), headers={"authorization": f"Bearer {TOKEN}"}
        )


def test_no_request_is_answered_by_a_server_error(api):
    asked = 0
    for found in api.get_all_operations():
        operation = found.ok()
        if operation.path in {"/healthz", "/readyz"}:
            continue  # its source has ended: health says so by 503, as it should

        @given(case=operation.as_strategy())
        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def fuzz(case):
            case.headers = {**(case.headers or {}), "authorization": f"Bearer {TOKEN}"}
            case.call_and_validate(checks=[schemathesis.checks.not_a_server_error])

        fuzz()
        asked += 1
    assert asked >= 20


def test_the_description_names_every_door_and_how_to_come_in(api):
    raw = api.raw_schema
    assert raw["security"] == [{"token": []}]
    assert {"/api/v1/alarms/{alarm_id}/acknowledge", "/api/v1/values", "/api/v1/audit"} <= set(raw["paths"])
    undescribed = [
        (path, method)
        for path, methods in raw["paths"].items()
        for method, operation in methods.items()
        if not operation.get("description")
    ]
    assert undescribed == []
    bodies = [name for name in raw["components"]["schemas"] if name.endswith("Request")]
    assert bodies
    without = [name for name in bodies if not raw["components"]["schemas"][name].get("examples")]
    assert without == []


def test_no_two_models_share_a_name(api):
    """A model named like another's would be listed under its module's path, which is nobody's business."""
    assert [name for name in api.raw_schema["components"]["schemas"] if "__" in name] == []
