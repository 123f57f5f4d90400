"""What the command line says where no daemon, or something else, answers."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.streams.plant import document, stream
from tests.tsad_cli.command_line import tsad


class Greeting(BaseHTTPRequestHandler):
    """Some other server, that has no JSON to say."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>welcome</h1>")

    def log_message(self, *arguments):
        """Nothing."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tsad.yaml"

    def at(port):
        lines = document(tmp_path / "h.duckdb", streams=[stream(detectors=["robust"])])
        path.write_text(yaml.safe_dump({**lines, "http": {"port": port}}))
        return path

    return at


@pytest.fixture
def stranger():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Greeting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


COMMANDS = [("maintenance", "list"), ("alarms", "list"), ("snapshots", "list")]


@pytest.mark.parametrize(("command", "subcommand"), COMMANDS)
def test_a_silent_port_is_told_under_the_name_of_the_command(file, command, subcommand):
    silent = 1  # nothing that answers HTTP may listen there without root
    result = tsad(command, subcommand, file(silent))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tsad {command}")
    assert "no daemon answers" in result.stderr
    assert "tsad run" in result.stderr


@pytest.mark.parametrize(("command", "subcommand"), COMMANDS)
def test_an_answer_that_is_no_json_is_told(file, stranger, command, subcommand):
    result = tsad(command, subcommand, file(stranger))
    assert result.exit_code == 1
    assert "no JSON" in result.stderr
    assert "http.port" in result.stderr
