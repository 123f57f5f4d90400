"""What deploy/ ships, with the real tools: Prometheus scrapes a real service, promtool and systemd check the files."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.configuration import Configuration
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.conftest import free_port
from tests.streams.plant import document, messages, stream

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus-rules.yaml"
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="there is no Prometheus to scrape with: apt-get install --no-install-recommends prometheus",
)


def expressions():
    """Every expression of the dashboard and the rules."""
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return [one.replace("$instance", ".*") for one in found] + [rule["expr"] for rule in rules]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("scraped") / "h.duckdb"
    hook = "http://127.0.0.1:9/hook"
    with History(path) as history:
        service = Service(
            Configuration.model_validate(document(path, webhook=hook, streams=[stream(detectors=["robust"])])),
            MemorySource({"plant": [*messages(), b"{"]}),
            history,
        )
        service.start()
        assert service.wait(60)
        server = HttpServer(create_application(service), "127.0.0.1", 0)
        server.start()
        yield f"127.0.0.1:{server.port}"
        server.stop()


def test_every_metric_that_is_drawn_or_watched_is_there(address):
    there = set(
        re.findall(r"^# TYPE (\w+)", httpx.get(f"http://{address}/metrics", trust_env=False).text, re.MULTILINE)
    )
    there |= {f"{name}_total" for name in there}
    # Counters are typed with their suffix; a source of memory has a lag.
    asked = set(re.findall(r"\b((?:tsad|process)_\w+)\b", " ".join(expressions())))
    assert asked
    assert asked <= there


@needs_prometheus
def test_promtool_finds_no_fault_in_rules_and_metrics(address, tmp_path):
    subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True)
    metrics = httpx.get(f"http://{address}/metrics", trust_env=False).content
    checked = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, check=False)
    # A most of bytes is a setting, no count of something.
    assert (checked.returncode, checked.stderr.decode()) == (0, "")
    tests = (Path(__file__).parent / "rules_test.yaml").read_text().replace("RULES", str(RULES))
    (tmp_path / "tests.yaml").write_text(tests)
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "tests.yaml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@needs_prometheus
def test_prometheus_scrapes_and_evaluates_every_expression(address, tmp_path):
    settings = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
    settings["scrape_configs"][0]["static_configs"][0]["targets"] = [address]
    settings["scrape_configs"][0]["scrape_interval"] = "1s"
    settings["rule_files"] = [str(RULES)]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    port = free_port()
    command = [
        "prometheus", f"--config.file={tmp_path / 'prometheus.yaml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False) as client:

            def query(expression):
                answer = client.get("/query", params={"query": expression}).json()
                assert answer["status"] == "success", (expression, answer)
                return [one["value"][1] for one in answer["data"]["result"]]

            end = time.monotonic() + 30
            found = []
            while found != ["1"]:
                assert time.monotonic() < end
                try:
                    found = query('up{job="tsad"}')
                except (httpx.TransportError, json.JSONDecodeError):
                    continue
            assert query("tsad_records_total") == ["801"]
            assert query('tsad_dead_letters_total{reason="malformed_json"}') == ["1"]
            for expression in expressions():
                query(expression)
            health = client.get("/rules").json()["data"]["groups"][0]["rules"]
            assert len(health) == len(yaml.safe_load(RULES.read_text())["groups"][0]["rules"])
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze: apt-get install systemd"
)
def test_systemd_takes_the_unit(tmp_path):
    unit = (DEPLOY / "tsad.service").read_text().replace("/opt/tsad/.venv/bin/tsad", sys.executable)
    (tmp_path / "tsad.service").write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "tsad.service"],
        capture_output=True,
        check=False,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "tsad.service" in line]
    assert complaints == []


def test_the_container_has_every_package_and_nothing_that_is_not_there():
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]}
    root = DEPLOY.parent
    assert all(list(root.glob(one)) for one in copied)
    packages = {path.parent.name for path in root.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= copied
