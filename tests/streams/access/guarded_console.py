"""A service with a guarded console in a process of its own: a process has one console.

Prints its address; a line on standard input moves its clock on by so many seconds; ends with standard input.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors.history.database import History
from connectors.sources.memory import MemorySource
from streams.access.tokens import token_hash
from streams.configuration import Configuration
from streams.console.pages import attach_console
from streams.http import HttpServer, create_application
from streams.service import Service
from tests.streams.plant import document, messages, stream


def main(folder, *tokens):
    ahead = timedelta()
    path = Path(folder) / "h.duckdb"
    entries = [
        {"name": f"the {role}", "role": role, "hash": token_hash(token)}
        for role, token in zip(("viewer", "operator"), tokens, strict=True)
    ]
    with History(path) as history:
        service = Service(
            Configuration.model_validate(
                document(path, streams=[stream(detectors=["robust"])], http={"tokens": entries, "session": "1h"})
            ),
            MemorySource({"plant": messages()}),
            history,
            now=lambda: datetime.now(UTC) + ahead,
        )
        service.start()
        service.wait(60)
        app = create_application(service)
        attach_console(app, service)
        server = HttpServer(app, "127.0.0.1", 0)
        server.start()
        sys.stdout.write(f"http://127.0.0.1:{server.port}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            ahead += timedelta(seconds=float(line))
        server.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
